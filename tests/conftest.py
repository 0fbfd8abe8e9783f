"""What all tests share: real corpora are opt-in, and the summary says how many tests that left out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import rumorlib  # noqa: F401  before torch: it decides how torch's threads wait
from rumorlib import inputs
from rumorlib.config import Settings, resolve
from rumorlib.data.drawn_scenes import drawn
from rumorlib.data.drawn_scenes.claims import DrawnConfig

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
    count = sum("real_data" in report.keywords for report in skipped)
    if count:
        terminalreporter.write_line(f"real_data: {count} tests skipped; set RUMORLIB_DATA=<folder> to run them")


def instead(monkeypatch: pytest.MonkeyPatch, original: Any, value: Any) -> None:
    """Put `value` in the place of a function or constant of the package in every module that imported it."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "rumorlib":
            for attribute in [key for key, held in vars(module).items() if held is original]:
                monkeypatch.setattr(module, attribute, value)


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty place for results/ and figures/, so that no test touches the committed ones."""
    folder = tmp_path / "output"
    monkeypatch.setenv("RUMORLIB_OUTPUT", str(folder))
    yield folder


@pytest.fixture
def few_drawn(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Demo settings in which the drawn corpora hold some hundred scenes: whole runs take seconds."""
    sizes = {"n_test": 60, "n_unseen": 10, "n_pairs": 5, "n_undetectable": 10, "n_fingerprint": 10}
    few = DrawnConfig(n_caption_scenes=100, n_train=200, n_dev=60, **sizes)
    monkeypatch.setenv("RUMORLIB_CACHE", str(tmp_path / "cache"))
    instead(monkeypatch, inputs.corpus, cache(lambda name, *_: drawn.load(name[-2:], config=few)))
    instead(monkeypatch, inputs.captions, cache(lambda _, language, *rest: drawn.load_captions(language, config=few)))
    inputs.vocabulary.cache_clear()
    yield resolve("demo", ["demo-en"])
    inputs.vocabulary.cache_clear()
