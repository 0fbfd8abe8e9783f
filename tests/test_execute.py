"""The executor: wrong parameters stop before anything runs, failures are shown, copies tell nothing of the machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from conftest import instead

from rumorlib import __main__
from rumorlib import config as cfg
from rumorlib.commands import execute, executed, parameters
from rumorlib.results import artifacts

PARAMETERS = """
profile: str = "demo"  # a comment
datasets: list[str] | None = None
seeds: list[int] | None = None
train: str = "missing"
lr: float = 0.1
"""
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def write_notebook(folder: Path, name: str, *cells: str, parameters_cell: str = PARAMETERS) -> Path:
    """A small notebook as ours are: a tagged parameters cell, then `cells`."""
    first = nbformat.v4.new_code_cell(parameters_cell.strip(), metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[first, *(nbformat.v4.new_code_cell(cell) for cell in cells)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder for notebooks, used by the command line instead of the project's."""
    place = tmp_path / "notebooks"
    place.mkdir()
    monkeypatch.setattr(execute, "NOTEBOOKS", place)
    monkeypatch.setattr(execute.Options, "__init__", _options_in(place))
    for name in ("RUMORLIB_DATA", "RUMORLIB_CACHE"):
        monkeypatch.setenv(name, "")  # restored afterwards, whatever main sets
    return place


def _options_in(place: Path):
    original = execute.Options.__init__

    def init(self, notebooks: Path = place, **more: object) -> None:
        original(self, notebooks, **more)

    return init


# --- parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5), ("1.0e-4", 1e-4), ("-.5", -0.5), ("3", 3), ("010", "010"), ("no", "no"), ("on", "on"),
        ("true", True), ("null", None), ("None", None), ("2026-11-22", "2026-11-22"), ("1:30", "1:30"),
        ("[0, 1e-3]", [0, 1e-3]), ("[demo-en, demo-zh]", ["demo-en", "demo-zh"]), ("a b", "a b"),
    ],
)  # fmt: skip
def test_values_are_yaml_1_2(text: str, value: object) -> None:
    parsed = parameters.parse_value(text)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize(
    ("value", "annotation", "fits"),
    [
        (None, "list[int] | None", True), ([1, 2], "list[int] | None", True), ([1, "a"], "list[int] | None", False),
        (1, "float", True), (1.0, "int", False), (True, "int", False), ("a", "str", True), (3, "str", False),
        ({"a": 1}, "dict[str, int]", True), (object(), "", True),
    ],
)  # fmt: skip
def test_types_are_checked(value: object, annotation: str, fits: bool) -> None:
    assert parameters.fits(value, annotation) is fits


def test_unions_in_annotations_are_seen(tmp_path: Path) -> None:
    known = parameters.declared(write_notebook(tmp_path, "01_a"))
    assert known["seeds"] == "list[int] | None" and list(known) == ["profile", "datasets", "seeds", "train", "lr"]


def test_objects_cannot_come_in_by_yaml() -> None:
    with pytest.raises(parameters.ParameterError):
        parameters.parse_value("!!python/object/apply:os.system ['true']")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-p", "sedes=[1]"], "no parameter sedes; it has profile: str, datasets"),
        (["-p", "seeds=[a]"], "seeds must be list[int] | None, got ['a']"),
        (["-p", "seeds=1"], "write a list as [a, b]"),
        (["-p", "lr=fast"], "lr must be float"),
        (["-p", "lr"], "write name=value"),
        (["-p", "lr=1", "-p", "lr=2"], "given twice"),
        (["-p", "profile=big"], "profile must be one of 'demo', 'laptop', 'paper'; got 'big'"),
        (["--grid", "full"], "no parameter grid"),
        (["09"], "0 notebooks match '09'"),
        (["--profile", "laptop", "--data", "nowhere"], "does not exist"),
        (["--profile", "laptop"], "no data folder given"),
        (["--output", ""], "--output: name a folder"),
        (["--data", ""], "--data: name a folder"),
        (["--only", "m_e99"], "not in index.csv"),
        (["--only", "d_fig1"], "no notebook writes d_fig1"),
    ],
)
def test_wrong_arguments_stop_before_anything_runs(
    folder: Path, output: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    write_notebook(folder, "01_a", "raise SystemExit('must not run')")
    assert execute.main(words) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_only_chooses_the_notebooks_of_the_artifacts() -> None:
    assert execute.notebooks_of(["m_e2", "d_e1"]) == ["03_micc", "04_dmfl"]


# --- running ------------------------------------------------------------------------------------


def test_a_run_end_to_end(
    folder: Path, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUMORLIB_DATA", str(tmp_path / "corpora"))
    table = (
        "import os, pandas as pd\nfrom pathlib import Path\nfrom rumorlib.results import artifacts\n"
        "artifacts.save_table(pd.DataFrame({'a': [lr]}), 'm_e2', [], profile)\n"
        "print(os.environ['RUMORLIB_DATA'], Path.cwd().name, type(lr).__name__, seeds)"
    )
    write_notebook(folder, "02_second", table)
    write_notebook(folder, "01_first", "import sys\nprint(sys.executable)")
    params = tmp_path / "params.yaml"
    params.write_text("lr: 1e-5\nseeds: [7]\n")
    assert execute.main(["-f", str(params), "-p", "seeds=[0, 1]"]) == 0
    shown = capsys.readouterr().out
    assert "[1/2] 0" in shown and "01_first" in shown and "left" in shown and "results/demo/tables/m_e2.csv" in shown
    assert (output / "results/demo/tables/m_e2.csv").read_text() == "a\n1e-05\n"
    copies = output / "results/demo/notebooks"
    assert sorted(path.name for path in copies.glob("*.ipynb")) == ["01_first.ipynb", "02_second.ipynb"]
    text = (copies / "02_second.ipynb").read_text()
    assert "<data> notebooks float [0, 1]" in text
    assert not any(word in text for word in (str(tmp_path), "papermill", "start_time", str(cfg.PROJECT_ROOT)))
    assert "<environment>" in (copies / "01_first.ipynb").read_text()  # this environment's kernel
    first = (copies / "02_second.ipynb").read_bytes()
    assert execute.main(["02", "-f", str(params), "-p", "seeds=[0, 1]", "--again"]) == 0
    assert (copies / "02_second.ipynb").read_bytes() == first and "[1/1]" in capsys.readouterr().out


def test_a_notebook_that_would_show_the_same_is_not_run_again(
    folder: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_notebook(folder, "01_first", "print(lr)")

    def ran(*words: str) -> bool:
        assert execute.main(["01", *words]) == 0
        return "[1/1] 01_first" in capsys.readouterr().out

    assert ran() and not ran() and ran("--again") and not ran()
    assert ran("-p", "lr=0.2") and not ran("-p", "lr=0.2")  # other parameters
    (output / "results/demo/notebooks/01_first.ipynb").write_text("{}")
    assert ran("-p", "lr=0.2")  # what it wrote was changed
    done = output / "results/demo/runs/micc/demo-en/default/seed0/DONE"
    done.parent.mkdir(parents=True)
    done.touch()
    assert ran("-p", "lr=0.2")  # a run was made
    write_notebook(folder, path.stem, "print(lr + 1)")
    assert ran("-p", "lr=0.2") and not ran("-p", "lr=0.2")


def test_an_executed_copy_shows_the_pictures_of_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, cfg.PROJECT_ROOT, tmp_path / "project")
    for folder, root in (("project/output/results/demo/notebooks", "../../../.."), ("elsewhere", "..")):
        cells = [nbformat.v4.new_markdown_cell("![map](../figures/demo/x_fig1.png)")]
        executed._publish(nbformat.v4.new_notebook(cells=cells), tmp_path / folder / "01_a.ipynb")
        assert f"({root}/figures/demo/x_fig1.png)" in (tmp_path / folder / "01_a.ipynb").read_text()


def test_posts_of_ones_own_reach_the_kernel_by_name(
    folder: Path, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    instead(monkeypatch, cfg.CORPORA, dict(cfg.CORPORA))
    monkeypatch.setenv("RUMORLIB_CORPORA", "")
    monkeypatch.chdir(tmp_path)  # the folder is meant from here, the kernel works elsewhere
    (tmp_path / "posts").mkdir()
    code = (
        "from rumorlib import config\nprint(config.resolve(profile, datasets).datasets, config.record('mine').folder)"
    )
    write_notebook(folder, "01_a", code)
    for words in (["--corpus", "mine=posts"], ["-p", "datasets=[mine=posts, demo-en]"]):
        assert execute.main(words) == 0
        assert "  results/demo/notebooks/01_a.ipynb\n" in capsys.readouterr().out, "what it shows may stand there alone"
        copy = (output / "results/demo/notebooks/01_a.ipynb").read_text()
        assert "('mine'" in copy and "<mine>" in copy and str(tmp_path) not in copy
    assert execute.main(["--corpus", "mine=posts", "-p", "datasets=[demo-en]"]) == 2


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("x = 1\nraise ValueError('broken ' + 'here')", "ValueError: broken here"),
        ("import sys\nsys.exit(0)", "SystemExit"),
        ("%nosuchmagic", "nosuchmagic"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "kernel died"),
    ],
)
def test_a_failure_is_shown_and_the_copy_is_not_taken_for_a_result(
    folder: Path, output: Path, capsys: pytest.CaptureFixture[str], cell: str, message: str
) -> None:
    write_notebook(folder, "01_bad", cell)
    write_notebook(folder, "02_next", "print('must not run')")
    assert execute.main(["--workers", "1"]) == 1
    shown = capsys.readouterr()
    assert "01_bad.ipynb failed" in shown.err and message in shown.err and "\x1b[" not in shown.err
    assert "cell 1" in shown.err or "kernel" in shown.err
    assert "02_next" not in shown.out
    assert not (output / "results/demo/notebooks/01_bad.ipynb").exists()


def test_success_removes_the_copy_of_an_earlier_failure(folder: Path, output: Path) -> None:
    write_notebook(folder, "01_a", "1 / 0")
    assert execute.main([]) == 1
    copies = output / "results/demo/notebooks"
    assert [path.name for path in copies.glob("*.ipynb")] == ["01_a.failed.ipynb"]
    write_notebook(folder, "01_a", "1 / 1")
    assert execute.main([]) == 0
    assert [path.name for path in copies.glob("*.ipynb")] == ["01_a.ipynb"]


def test_pictures_are_not_rewritten_when_folders_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executed, "_private_folders", lambda: [("/secret", "<x>")])
    content = {"data": {"image/png": "ab/secret", "text/plain": "in /secret/a"}, "traceback": ["/secret"]}
    changed = executed._without_folders(content)
    assert changed == {"data": {"image/png": "ab/secret", "text/plain": "in <x>/a"}, "traceback": ["<x>"]}


@pytest.mark.slow
def test_interrupt_ends_cleanly(folder: Path, output: Path) -> None:
    marker = output / "started"
    for name in ("01_long", "02_long"):  # side by side where there are two cores
        write_notebook(folder, name, f"open({str(marker)!r}, 'w').close()\nimport time\ntime.sleep(120)")
    output.mkdir()
    code = (
        "import pathlib, sys; from rumorlib import __main__; from rumorlib.commands import execute as e; "
        f"e.NOTEBOOKS = pathlib.Path({str(folder)!r}); "
        "e.Options.__init__.__defaults__ = (e.NOTEBOOKS, 120, False, None, True); sys.exit(__main__.main(['run']))"
    )
    environment = os.environ | {"PYTHONPATH": str(cfg.PROJECT_ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not marker.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert below and not psutil.wait_procs(below, timeout=30)[1], "workers and kernels end, too"
    assert process.returncode == 130, errors
    assert "finished runs are kept" in errors and "Traceback" not in errors


def test_the_command_line_lists_its_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main([]) == 2 and __main__.main(["--help"]) == 0
    assert "run " in capsys.readouterr().out


def test_every_notebook_of_the_index_is_named_as_the_executor_finds_it() -> None:
    with artifacts.INDEX.open(encoding="utf-8") as file:
        lines = file.read().splitlines()
    assert lines[0].startswith("id,paper,printed,caption,notebook,kind")
    present = {path.stem for path in execute.NOTEBOOKS.glob("[0-9]*.ipynb")}
    for path in present:
        assert json.loads((execute.NOTEBOOKS / f"{path}.ipynb").read_text(encoding="utf-8"))["nbformat"] == 4


@pytest.mark.skipif(os.name != "posix", reason="sockets are files on POSIX alone")
def test_a_kernel_needs_no_port_that_another_may_take(folder: Path) -> None:
    """Jupyter looks for a free port, and the kernel takes it later: of kernels started side by side one died."""
    asked = "from ipykernel.kernelapp import IPKernelApp\nassert IPKernelApp.instance().transport == 'ipc'"
    write_notebook(folder, "01_kernel", asked)
    assert execute.main(["--workers", "1"]) == 0


def test_a_kernel_that_does_not_come_up_fails_its_notebook_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import papermill

    def dead(*args: object, **named: object) -> None:
        raise RuntimeError("Kernel died before replying to kernel_info")

    write_notebook(folder, "01_kernel", "x = 1")
    monkeypatch.setattr(papermill, "execute_notebook", dead)
    assert execute.main(["--workers", "1"]) == 1
    shown = capsys.readouterr().err
    assert "01_kernel.ipynb failed" in shown and "did not start" in shown and "Traceback" not in shown
