"""One notebook executed by papermill, and its copy.

The working folder is fixed, the kernel is this environment's own, the data folder reaches it by environment and never a
stored file, and a copy appears in results/<profile>/notebooks only when the notebook ran to its end.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rumorlib import config as cfg
from rumorlib.data import files
from rumorlib.results import circumstances, provenance

if TYPE_CHECKING:
    from nbformat import NotebookNode
    from traitlets.config import Config

SHOWN_LINES = 12  # of the failing cell and of its error
SOCKET_PATH = 95  # bytes; the least any system grants is 104, and "-1" to "-5" is added
_COLOR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class NotebookFailed(RuntimeError):
    """A notebook stopped; the message shows the cell and the error."""


def notebook(
    path: Path, values: dict[str, Any], profile: str, start_timeout_s: int, verbose: bool = False, quiet: bool = False
) -> None:
    """Execute one notebook in a scratch file; publish the copy if it ran to its end, keep it as *.failed if not.

    Args: values: its parameters. start_timeout_s: of its kernel. verbose: show what cells print. quiet: draw no bar.
    Raises: NotebookFailed.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    shown = sys.stdout if verbose else None
    target = cfg.output_root().resolve() / "results" / profile / "notebooks" / path.name
    failed = target.with_suffix(".failed.ipynb")
    # "python3" means this environment's kernel even where the user has registered another of that name
    with tempfile.TemporaryDirectory() as scratch, cfg.environment(JUPYTER_PREFER_ENV_PATH="1"):
        draft = Path(scratch) / path.name
        problem = None
        try:
            papermill.execute_notebook(
                path.resolve(), draft, values, kernel_name="python3", cwd=path.parent.resolve(),
                start_timeout=start_timeout_s,
                progress_bar=sys.stderr.isatty() and not (verbose or quiet),
                stdout_file=shown, stderr_file=shown, config=_sockets(Path(scratch)),
                extra_arguments=["--log-level=CRITICAL"],  # an interrupted kernel would print its own traceback
            )  # fmt: skip
            problem = _early_exit(nbformat.read(draft, as_version=4))
        except PapermillExecutionError as error:
            problem = _explain(error.cell_index, error.source, error.traceback or [error.ename, error.evalue])
        except (DeadKernelError, CellTimeoutError) as error:
            problem = f"the kernel died or hung (out of memory?): {error}"
        except RuntimeError as error:  # nbclient's, for a kernel that did not come up
            problem = f"the kernel did not start, or broke: {type(error).__name__}: {error}"
        finished = failed if problem else target
        if draft.exists():
            _publish(nbformat.read(draft, as_version=4), finished)
    if problem:
        raise NotebookFailed(f"{path.name} failed; executed so far: {finished}\n{problem}")
    failed.unlink(missing_ok=True)


def unchanged(path: Path, values: dict[str, Any], profile: str) -> bool:
    """Whether this demo notebook has run to its end with these parameters, and neither it, the package, the committed
    results nor any finished run is another since, and what it wrote is still there. Other profiles read corpora, which
    are too large to be compared: always False."""
    told = files.read_json(_stamp(path, profile))
    asked = profile == "demo" and values.get("train", "missing") == "missing"
    return asked and isinstance(told, dict) and told == _state(path, values, profile)


def stamp(path: Path, values: dict[str, Any], profile: str) -> None:
    """Note the state in which a notebook ran, for `unchanged`. After all notebooks: none reads what another writes, but
    one may have made a run."""
    if profile == "demo":
        files.write_json(_stamp(path, profile), _state(path, values, profile))


def _stamp(path: Path, profile: str) -> Path:
    return cfg.output_root() / "results" / profile / "notebooks" / f".{path.stem}.json"


def _state(path: Path, values: dict[str, Any], profile: str) -> dict[str, Any]:
    root, copy = cfg.output_root(), _stamp(path, profile).with_name(path.name)
    tops = [root / "results" / profile / "tables", root / "figures" / profile]
    mine = [(top, one) for top in tops for one in provenance.entries(top).values() if one["notebook"] == path.stem]
    wrote = [top / name for top, one in mine for name in one["files"]]
    wrote += [tops[1] / f"{one['id']}.png" for top, one in mine if top == tops[1]]  # not among `files`: fonts differ
    read = [path, *sorted((cfg.PROJECT_ROOT / "results").glob("*.csv")), copy, *wrote]
    hashes = {str(one): files.file_hash(one) if one.is_file() else "" for one in read}
    return {
        "values": files.plain(values), "files": hashes,
        "package": files.state(cfg.PROJECT_ROOT / "rumorlib", "*.py"),
        "runs": files.state(root / "results" / profile / "runs", "DONE"),
        "libraries": circumstances.library_versions(),
    }  # fmt: skip


def _sockets(folder: Path) -> Config:
    """How to speak with the kernel: by sockets that are files of a folder only this user can read. A port that Jupyter
    finds free can be taken, by a kernel started beside this one, before its own kernel holds it. Where sockets cannot
    be files there (Windows, a long path) ports remain, encrypted where the installed Jupyter can."""
    from jupyter_client.manager import KernelManager
    from traitlets.config import Config

    address = folder / "kernel"
    if os.name == "posix" and len(os.fsencode(address)) < SOCKET_PATH:
        return Config({"KernelManager": {"transport": "ipc", "ip": str(address)}})
    able = "transport_encryption" in KernelManager.class_trait_names()
    return Config({"KernelManager": {"transport_encryption": "auto"}} if able else {})


def _early_exit(notebook: NotebookNode) -> str | None:
    """papermill takes sys.exit(0) in a cell for success; for us the notebook did not reach its end."""
    for position, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return _explain(position, cell.source, [f"{output.ename}: {output.evalue}"])
    return None


def _explain(position: int, source: str, traceback: Sequence[str]) -> str:
    """Cell number (from 0, as papermill counts), the end of the cell and the end of the error."""
    code = source.splitlines()[-SHOWN_LINES:]
    error = _COLOR.sub("", "\n".join(traceback)).splitlines()[-SHOWN_LINES:]
    return "\n".join([f"cell {position}:", *(f"    {line}" for line in code), "error:", *(f"    {e}" for e in error)])


def _publish(notebook: NotebookNode, target: Path) -> None:
    """Write the executed copy without times, kernels, widgets and folders of this machine; its pictures are found."""
    import nbformat

    root = os.path.relpath(cfg.PROJECT_ROOT, target.parent) if target.is_relative_to(cfg.PROJECT_ROOT) else ".."
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for position, cell in enumerate(notebook.cells):
        cell.id = f"cell-{position}"  # papermill gives new cells random ids
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        cell.update({"outputs": [_without_folders(output) for output in cell.outputs]} if "outputs" in cell else {})
        cell.source = cell.source.replace("](../", f"]({root}/") if cell.cell_type == "markdown" else cell.source
    files.write_bytes(target, f"{nbformat.writes(notebook, version=4).rstrip()}\n".encode())


def _without_folders(content: Any) -> Any:
    """An output with the machine's folders renamed in its text; pictures untouched (base64 may hold any letters)."""
    if isinstance(content, str):
        for folder, name in _private_folders():
            content = content.replace(folder, name)
    elif isinstance(content, list):
        content[:] = [_without_folders(item) for item in content]
    elif isinstance(content, dict):
        content.update({k: v if k.startswith("image/") else _without_folders(v) for k, v in content.items()})
    return content


def _private_folders() -> list[tuple[str, str]]:
    """Folders of this machine that outputs may name, and what stands for them; the longest first."""
    named = {
        os.environ.get("RUMORLIB_DATA", ""): "<data>",
        str(cfg.output_root().resolve()): "<output>",
        str(cfg.cache_root().resolve()): "<cache>",
        str(cfg.PROJECT_ROOT): "<project>",
        sys.prefix: "<environment>",
        sys.base_prefix: "<python>",
        str(Path.home()): "~",
        tempfile.gettempdir(): "<temporary>",
        **{folder: f"<{name}>" for name, folder in cfg.own_folders().items()},
    }
    return sorted(((f, n) for f, n in named.items() if len(f) > 1 and f != "/usr"), key=lambda pair: -len(pair[0]))
