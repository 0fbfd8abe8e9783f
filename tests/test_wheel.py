"""The package as it is installed: a wheel with all its files, which needs none of the notebooks' libraries."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from test_use import drawn_posts

import rumorlib
from rumorlib import config as cfg

EXTRAS = ("captum", "IPython", "ipykernel", "ipywidgets", "jupyterlab", "nbclient", "nbformat", "papermill", "seaborn",
          "torchao", "pytest")  # fmt: skip
BLOCKED = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS!r}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocker())
import json, rumorlib
from rumorlib.__main__ import main
assert rumorlib.__file__.startswith(sys.argv[1]), rumorlib.__file__
for words in json.loads(sys.argv[2]):
    print("exit code", main(words), flush=True)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network of a copy: a build leaves files beside its source."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(
        cfg.PROJECT_ROOT / "rumorlib", folder / "source" / "rumorlib", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(cfg.PROJECT_ROOT / "pyproject.toml", folder / "source")
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q", "-w"]
    done = subprocess.run([*pip, str(folder), str(folder / "source")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return made


def test_it_holds_every_module_and_data_file_and_the_command(wheel: Path) -> None:
    assert wheel.name.startswith(f"rumorlib-{rumorlib.__version__}-py3-none-any")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        points = archive.read(f"rumorlib-{rumorlib.__version__}.dist-info/entry_points.txt").decode()
    ours = {path.relative_to(cfg.PROJECT_ROOT).as_posix() for path in (cfg.PROJECT_ROOT / "rumorlib").rglob("*")
            if path.is_file() and path.suffix not in (".pyc", ".md")}  # fmt: skip
    assert ours - names == set() and "rumorlib/data/drawn.json" in names
    assert "rumorlib = rumorlib.__main__:command" in points
    changes = (cfg.PROJECT_ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {rumorlib.__version__}\n" in changes


def test_it_trains_predicts_and_explains_without_the_notebooks_libraries(wheel: Path, tmp_path: Path) -> None:
    site, folder = tmp_path / "site", tmp_path / "mine"
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    posts = drawn_posts()
    posts.to_csv(folder / "posts.csv", index=False)
    text = posts["text"][0]

    words = [["--help"], ["train", "posts.csv", "--out", "d", "--model", "tfidf-lr"],
             ["predict", "d", "--text", text, "--json"],
             ["explain", "d", "--text", text, "-o", "why.png"]]  # fmt: skip
    asked = [sys.executable, "-c", BLOCKED, str(site), json.dumps(words)]
    environment = {"PYTHONPATH": str(site), "PATH": "", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    done = subprocess.run(asked, cwd=folder, env=environment, capture_output=True, text=True)
    codes = [line for line in done.stdout.splitlines() if line.startswith("exit code")]
    assert codes == [f"exit code {code}" for code in (0, 1, 0, 0)], done.stdout + done.stderr
    assert "saved: d" in done.stdout and "written: why.png" in done.stdout
    made = {path.name for path in folder.iterdir()}
    assert made == {"posts.csv", "d", "why.png", "output"} | (made & {".cache"}), "all of it in the working folder"
    assert not (site / "output").exists() and not (site / ".cache").exists()
