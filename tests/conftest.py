"""What all tests share: real corpora are opt-in, and the summary says how many tests that left out."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import rumorlib  # noqa: F401  before torch: it decides how torch's threads wait
from rumorlib import experiments, results
from rumorlib.config import MADE_SINCE, Settings, profiles, resolve
from rumorlib.data.drawn_scenes.claims import DrawnConfig

importlib.import_module("rumorlib.training.kinds")  # a module first imported while a stand-in is in place would keep it

# A slow machine is not a wrong answer: examples have no time limit of their own, tests have pytest-timeout's.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip `real_data` tests when RUMORLIB_DATA names no folder, `gpu` tests where there is none."""
    import torch

    missing = {"gpu": "no GPU"} if not torch.cuda.is_available() else {}
    if not Path(os.environ.get("RUMORLIB_DATA") or "/nonexistent").is_dir():
        missing["real_data"] = "RUMORLIB_DATA is not set"
    for item in items:
        for marker in missing:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"{marker}: {missing[marker]}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests on real corpora were skipped."""
    skipped = terminalreporter.stats.get("skipped", [])
    # a module skipped as a whole reports its collection, which has no keywords
    count = sum("real_data" in getattr(report, "keywords", ()) for report in skipped)
    if count:
        terminalreporter.write_line(f"real_data: {count} tests skipped; set RUMORLIB_DATA=<folder> to run them")


def instead(monkeypatch: pytest.MonkeyPatch, original: Any, value: Any) -> None:
    """Put `value` in the place of a function or constant of the package in every module that imported it."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "rumorlib":
            for attribute in [key for key, held in vars(module).items() if held is original]:
                monkeypatch.setattr(module, attribute, value)


@pytest.fixture(autouse=True)
def no_real_data(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only tests that say so read real corpora: all others mean the same with RUMORLIB_DATA and without."""
    if not request.node.get_closest_marker("real_data"):
        monkeypatch.delenv("RUMORLIB_DATA", raising=False)


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty place for results/ and figures/, so that no test touches the committed ones."""
    folder = tmp_path / "output"
    monkeypatch.setenv("RUMORLIB_OUTPUT", str(folder))
    monkeypatch.setenv(MADE_SINCE, "9")  # as if unset; what a command sets is forgotten after the test
    yield folder


FEW = {"n_caption_scenes": 60, "n_train": 120, "n_dev": 60, "n_test": 60, "n_unseen": 20, "n_pairs": 5,
       "n_undetectable": 20, "n_fingerprint": 20}  # fmt: skip


def few_scenes(**given: Any) -> DrawnConfig:
    """A DrawnConfig of some hundred scenes at most."""
    return DrawnConfig(**given | {name: min(n, given.get(name, n)) for name, n in FEW.items()})


def forget() -> None:
    """Empty what the package keeps in memory of a corpus, a vocabulary, a computation under its name."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("rumorlib.inputs", "rumorlib.training")):
            for held in vars(module).values():
                if hasattr(held, "cache_clear"):
                    held.cache_clear()


def use_few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo profile on drawn corpora of some hundred scenes, with short training: whole runs take a second."""
    usual = profiles.SIZES["demo"]
    trained = {name: replace(getattr(usual, name), epochs=2)
               for name in ("stage1", "micc_train", "dmfl_train", "rivals_train")}  # fmt: skip
    short = replace(usual, dmfl=replace(usual.dmfl, word2vec=replace(usual.dmfl.word2vec, epochs=2)), **trained)
    monkeypatch.setitem(profiles.SIZES, "demo", short)
    monkeypatch.setitem(profiles.HEADS, "demo", replace(profiles.HEADS["demo"], n_seeds=2, epochs=4))
    instead(monkeypatch, DrawnConfig, few_scenes)
    forget()


@pytest.fixture(scope="session")
def few_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage 1, MICC and DMFL on few scenes, with their weights, and what was cached for them: made once."""
    folder = tmp_path_factory.mktemp("few")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUMORLIB_OUTPUT", str(folder / "output"))
        patch.setenv("RUMORLIB_CACHE", str(folder / "cache"))
        use_few_scenes(patch)
        settings = resolve("demo", ["demo-en"])
        for make in (experiments.micc, experiments.dmfl):
            results.run_or_load(make(settings, "demo-en"), settings, checkpoint=True)
    forget()
    return folder


@pytest.fixture
def few_untrained(output: Path, few_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Demo settings on few scenes, without any run."""
    monkeypatch.setenv("RUMORLIB_CACHE", str(few_runs / "cache"))
    use_few_scenes(monkeypatch)
    yield resolve("demo", ["demo-en"])
    forget()


@pytest.fixture
def few_drawn(few_untrained: Settings, few_runs: Path, output: Path) -> Settings:
    """The same; stage 1, MICC and DMFL are trained already."""
    shutil.copytree(few_runs / "output", output)
    return few_untrained
