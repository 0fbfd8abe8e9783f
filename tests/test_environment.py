"""One list of requirements, said three times (pyproject, environment.yml, lock); the Makefile's promises."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import rumorlib
from rumorlib import config as cfg

ROOT = cfg.PROJECT_ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {
    name: lines for name, lines in PROJECT["optional-dependencies"].items() if name not in ("cluster", "export")
}  # asked for
DECLARED = [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
LOCKED = [Requirement(line) for line in LOCK.splitlines() if re.match(r"[a-zA-Z]", line)]


def locked(name: str) -> Version:
    """Version of a package in the lock for this interpreter."""
    wanted = name.lower().replace("_", "-")
    fitting = [r for r in LOCKED if r.name.lower() == wanted and (r.marker is None or r.marker.evaluate())]
    assert len(fitting) == 1, f"{name}: {len(fitting)} lines in requirements.lock"
    return Version(next(iter(fitting[0].specifier)).version)


def test_the_conda_file_says_the_same() -> None:
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    pip = next(entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    assert pip == DECLARED
    assert conda["channels"] == ["conda-forge", "nodefaults"]
    assert f"python{PROJECT['requires-python']}" in conda["dependencies"]


def test_the_lock_satisfies_the_lower_bounds() -> None:
    wanted = [Requirement(line) for line in DECLARED]
    assert not [str(one) for one in wanted if {part.operator for part in one.specifier} != {">="}], "lower bounds only"
    assert not [str(one) for one in wanted if locked(one.name) not in one.specifier]


def test_the_lock_names_no_machine_and_no_local_build() -> None:
    code = "\n".join(line for line in LOCK.splitlines() if not line.strip().startswith("#"))
    assert not re.search(r"://|file:|@ |\+cpu|\+cu|--(extra-)?index|--find-links", code)


def test_torch_and_torchvision_are_a_pair_that_works() -> None:
    assert locked("torch") >= Version("2.14"), "2.13 exists as a CPU build that no torchvision fits"
    assert locked("torchvision") >= Version("0.29")
    wanted = [Requirement(line) for line in importlib.metadata.requires("torchvision") or []]
    installed = Version(importlib.metadata.version("torch")).base_version
    assert all(installed in r.specifier for r in wanted if r.name == "torch" and r.marker is None)


@pytest.mark.skipif(not (Path(sys.prefix) / ".installed").exists(), reason="not the environment of `make install`")
def test_this_environment_is_the_locked_one() -> None:
    installed = {Requirement(line).name: importlib.metadata.version(Requirement(line).name) for line in DECLARED}
    assert {name: str(locked(name)) for name in installed} == installed


def test_the_version_is_said_once() -> None:
    assert "version" in PROJECT["dynamic"] and re.fullmatch(r"\d+\.\d+\.\d+", rumorlib.__version__)


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_make_lists_its_targets_and_refuses_an_old_python(tmp_path: Path) -> None:
    def make(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        return subprocess.run(["make", *words], cwd=ROOT, env=environment, capture_output=True, text=True)

    shown = make().stdout
    assert all(
        f"  {target} " in shown for target in ("help", "install", "demo", "laptop", "paper", "test", "lint", "lab")
    )
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.1 && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = make("install", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert done.returncode != 0 and "is Python 3.9.1; Python 3.11 or newer is needed" in done.stderr


def test_the_gate_is_one_script() -> None:
    gate = ROOT / ".ci" / "run"
    assert os.access(gate, os.X_OK) and "set -e" in gate.read_text() and "make test" in gate.read_text()
    assert ".ci/run" in (ROOT / ".github/workflows/ci.yml").read_text()
