"""Make missing runs, then run the notebooks: `python -m rumorlib run [01 03 ...] --profile laptop --data DIR`.

Runs are made side by side (`results.making`); the notebooks then read them, in order. papermill runs them. Around it:
parameters are checked before anything starts, the working folder is fixed, the kernel is this environment's own, the
data folder reaches the kernel by environment and never a stored file, and an executed copy appears in
results/<profile>/notebooks only when the notebook ran to its end.
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rumorlib import config as cfg
from rumorlib.commands import parameters, planning
from rumorlib.commands.planning import duration
from rumorlib.data import files
from rumorlib.results import artifacts, runs

if TYPE_CHECKING:
    from nbformat import NotebookNode
    from traitlets.config import Config

NOTEBOOKS = cfg.PROJECT_ROOT / "notebooks"
SHOWN_LINES = 12  # of the failing cell and of its error
_COLOR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class NotebookFailed(RuntimeError):
    """A notebook stopped; the message shows the cell and the error."""


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what: nothing here can change a number."""

    notebooks: Path = NOTEBOOKS  # folder of the sources and working folder of the kernels
    start_timeout_s: int = 120
    verbose: bool = False  # show what the cells print while they run


def execute(names: Sequence[str], given: dict[str, Any], options: Options) -> list[Path]:
    """Run notebooks one after the other; stop at the first that fails.

    Args:
        names: beginnings of file names ("03"); none means all.
        given: parameters; text values are read by the type the notebook declares.
        options: see `Options`.
    Returns: the tables, figures and executed copies written, in the order of their paths.
    Raises: parameters.ParameterError: before anything ran. NotebookFailed. FileNotFoundError: no such notebook.
    """
    chosen = find(names, options.notebooks)
    prepared = [(path, _typed(path, given)) for path in chosen]
    profile = str(given.get("profile", "demo"))
    begun, started = time.time(), time.perf_counter()
    for position, (path, values) in enumerate(prepared):
        print(f"[{position + 1}/{len(prepared)}] {path.stem} ...", flush=True)
        one = time.perf_counter()
        _run_one(path, values, profile, options)
        elapsed = time.perf_counter() - started
        left = elapsed / (position + 1) * (len(prepared) - position - 1)
        more = f", about {duration(left)} left" if position + 1 < len(prepared) else ""
        print(f"      {duration(time.perf_counter() - one)}; {duration(elapsed)} so far{more}", flush=True)
    return _written_since(begun, profile)


def find(names: Sequence[str], folder: Path) -> list[Path]:
    """Notebooks whose file names begin so, in file order. Raises FileNotFoundError: none or several match a name."""
    everything = sorted(folder.glob("[0-9]*.ipynb"))
    chosen = set(everything) if not names else set()
    for name in names:
        matching = [path for path in everything if path.stem == name or path.stem.startswith(name.split(".")[0])]
        if len(matching) != 1:
            listed = ", ".join(path.stem for path in everything) or "none"
            raise FileNotFoundError(f"{len(matching)} notebooks match {name!r}; {folder.name}/ has {listed}")
        chosen.add(matching[0])
    if not chosen:
        raise FileNotFoundError(f"no notebook in {folder}")
    return [path for path in everything if path in chosen]


def notebooks_of(ids: Sequence[str]) -> list[str]:
    """Names of the notebooks that write these artifacts.

    Raises: KeyError: an id that is not in results/index.csv. FileNotFoundError: no notebook writes it.
    """
    names = {artifact: artifacts.index_row(artifact)["notebook"] for artifact in ids}
    if without := [artifact for artifact, name in names.items() if not name]:
        raise FileNotFoundError(f"no notebook writes {', '.join(without)}; see the reason in results/index.csv")
    return sorted(set(names.values()))


def _typed(notebook: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Values for one notebook, checked."""
    known = parameters.declared(notebook)
    values = {
        name: parameters.typed(value, known.get(name, "")) if isinstance(value, str) else value
        for name, value in given.items()
    }
    parameters.check(notebook.stem, values, known)
    cfg.resolve(**{name: value for name, value in values.items() if name in inspect.signature(cfg.resolve).parameters})
    return values


def _run_one(path: Path, values: dict[str, Any], profile: str, options: Options) -> None:
    """Execute one notebook in a scratch file; publish the copy if it ran to its end, keep it as *.failed if not."""
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    shown = sys.stdout if options.verbose else None
    target = cfg.output_root().resolve() / "results" / profile / "notebooks" / path.name
    failed = target.with_suffix(".failed.ipynb")
    with tempfile.TemporaryDirectory() as scratch, _own_kernel():
        draft = Path(scratch) / path.name
        problem = None
        try:
            papermill.execute_notebook(
                path.resolve(), draft, values, kernel_name="python3", cwd=path.parent.resolve(),
                start_timeout=options.start_timeout_s, progress_bar=sys.stderr.isatty() and not options.verbose,
                stdout_file=shown, stderr_file=shown, config=_encrypted(),
                extra_arguments=["--log-level=CRITICAL"],  # an interrupted kernel would print its own traceback
            )  # fmt: skip
            problem = _early_exit(nbformat.read(draft, as_version=4))
        except PapermillExecutionError as error:
            problem = _explain(error.cell_index, error.source, error.traceback or [error.ename, error.evalue])
        except (DeadKernelError, CellTimeoutError) as error:
            problem = f"the kernel died or hung (out of memory?): {error}"
        finished = failed if problem else target
        if draft.exists():
            _publish(nbformat.read(draft, as_version=4), finished)
    if problem:
        raise NotebookFailed(f"{path.name} failed; executed so far: {finished}\n{problem}")
    failed.unlink(missing_ok=True)


def _encrypted() -> Config:
    """Encrypt the local sockets to the kernel where the installed Jupyter can: others may share the machine."""
    from jupyter_client.manager import KernelManager
    from traitlets.config import Config

    able = "transport_encryption" in KernelManager.class_trait_names()
    return Config({"KernelManager": {"transport_encryption": "auto"}} if able else {})


@contextmanager
def _own_kernel() -> Iterator[None]:
    """Let "python3" mean this environment's kernel even where the user has registered another of that name."""
    before = os.environ.get("JUPYTER_PREFER_ENV_PATH")
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    try:
        yield
    finally:
        os.environ.pop("JUPYTER_PREFER_ENV_PATH")
        if before is not None:
            os.environ["JUPYTER_PREFER_ENV_PATH"] = before


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


def _written_since(begun: float, profile: str) -> list[Path]:
    root = cfg.output_root()
    kinds = (f"results/{profile}/tables/*.csv", f"figures/{profile}/*.png", f"results/{profile}/notebooks/*.ipynb")
    found = [path for kind in kinds for path in root.glob(kind)]
    return sorted(path for path in found if path.stat().st_mtime >= begun - 1)


def parser(verb: str, description: str) -> argparse.ArgumentParser:
    """What is said of notebooks and their parameters, to `run` and to `plan`."""
    parser = parameters.Parser(prog=f"python -m rumorlib {verb}", description=description)
    parser.add_argument("notebooks", nargs="*", help='beginnings of names, e.g. "01 03"; none: all')
    parser.add_argument("--profile", choices=cfg.PROFILES, help="default: the notebooks' own, demo")
    parser.add_argument("--train", choices=cfg.TRAIN_MODES, help="default: missing, runs that are not on disk")
    parser.add_argument("--grid", choices=cfg.GRIDS, help="default: reduced, few seeds and points")
    parser.add_argument("--data", help="folder of the real corpora (or RUMORLIB_DATA); not needed at demo")
    parser.add_argument("--corpus", nargs="+", metavar="NAME[=FOLDER]", help="datasets: corpora, or posts of your own")
    parser.add_argument("--output", help="folder for results/ and figures/ (or RUMORLIB_OUTPUT); default: output/")
    parser.add_argument("--only", nargs="+", metavar="ID", help="the notebooks that write these tables and figures")
    parser.add_argument("-p", action="append", default=[], metavar="NAME=VALUE", help='e.g. -p "seeds=[0, 1]"')
    parser.add_argument("-f", type=Path, metavar="FILE.yaml", help="parameters as a YAML mapping; flags and -p win")
    parser.add_argument("--workers", type=int, metavar="N", help="runs side by side; default: as cores and memory fit")
    return parser


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    known = parser("run", __doc__.split("\n")[0])
    known.add_argument("--runs-only", action="store_true", help="make the runs that are missing, and no notebook")
    known.add_argument("--set", nargs="+", default=[], metavar="MODEL.FIELD=VALUE,...", dest="variants",
                       help="instead of notebooks, train variants: all combinations, a row each")  # fmt: skip
    known.add_argument("--start-timeout", type=int, default=120, metavar="S", help="seconds a kernel may take to start")
    known.add_argument("-v", "--verbose", action="store_true", help="show what the cells print")
    return known.parse_args(words)


def asked(arguments: argparse.Namespace) -> tuple[list[str], dict[str, Any]]:
    """Names of the notebooks and their parameters, checked; folders reach workers and kernels by environment.

    Raises: SettingError, KeyError, FileNotFoundError: as `find` and `notebooks_of`.
    """
    given = parameters.given(arguments)
    if empty := [name for name in ("output", "data") if getattr(arguments, name) == ""]:  # of a shell's unset variable
        raise cfg.SettingError(f"--{empty[0]}: name a folder")
    if arguments.output:
        os.environ["RUMORLIB_OUTPUT"] = arguments.output
    for name in ("RUMORLIB_OUTPUT", "RUMORLIB_CACHE", "RUMORLIB_DATA"):  # the kernels work in another folder
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).expanduser().absolute())
    cfg.check("--workers", arguments.workers, cfg.Count | None)
    parameters.settle_folders(given, arguments.data)
    names = [*arguments.notebooks, *(notebooks_of(arguments.only) if arguments.only else [])]
    chosen = find(names, NOTEBOOKS)
    typed: dict[str, Any] = {}
    for path in chosen:
        typed |= _typed(path, given)
    return [path.stem for path in chosen], typed


def _sweep(arguments: argparse.Namespace, given: dict[str, Any]) -> int:
    from rumorlib.commands import sweep

    if arguments.notebooks or arguments.only:
        raise cfg.SettingError("--set trains variants in the place of notebooks; leave their names out")
    planned = sweep.planned(parameters.settings(arguments.variants), given)
    problem = planning.make(planned, arguments.workers)
    print("\n".join(filter(None, [problem, sweep.table(planned)])))
    return 1 if problem else 0


def main(words: Sequence[str]) -> int:
    """Command line; returns the exit code: 0, 1 a notebook failed, 2 wrong arguments or stale runs."""
    arguments = _arguments(words)
    try:
        names, given = asked(arguments)
        cfg.check("--start-timeout", arguments.start_timeout, cfg.Count)
        if arguments.variants:
            return _sweep(arguments, given)
        if problem := planning.make(planning.planned(names, given), arguments.workers):
            print(problem, file=sys.stderr)
            return 1
        if arguments.runs_only:
            return 0
        options = Options(start_timeout_s=arguments.start_timeout, verbose=arguments.verbose)
        written = execute(names, given, options)
    except (cfg.SettingError, KeyError, FileNotFoundError, runs.RunError) as error:
        print(error.args[0] if isinstance(error, KeyError) else error, file=sys.stderr)
        return 2
    except NotebookFailed as error:
        print(error, file=sys.stderr)
        return 1
    root = cfg.output_root()
    print("\n".join([f"written to {root}:", *(f"  {path.relative_to(root)}" for path in written)]))
    return 0
