"""The benchmarks run, in seconds where they are quick, and their record is what the page shows. No time is asserted."""

from __future__ import annotations

import importlib
from pathlib import Path

import pandas as pd
import pytest

from rumorlib import config as cfg

FOLDER = cfg.PROJECT_ROOT / "benchmarks"
QUICK = ("stage1_step", "feature_cache", "detector_step", "one_post", "word_vectors", "image_decode", "peak_memory")
NUMBERED = {*(f"B{number}" for number in range(1, 9)), "B11"}


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks are scripts that import each other by their names."""
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.mark.parametrize("name", QUICK)
def test_quick_runs_and_prints_a_ratio(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if name == "word_vectors":
        pytest.importorskip("gensim")
    module = importlib.import_module(name)
    if name == "detector_step":
        harness = importlib.import_module("harness")
        made = [harness.main(n, module.__doc__, pairs, ["--quick"]) for n, pairs in
                (("B3", module.pairs_micc), ("B4", module.pairs_dmfl))]  # fmt: skip
        assert made == [0, 0]
    elif name == "peak_memory":
        assert module.main(["--quick"]) == 0
    else:
        harness = importlib.import_module("harness")
        assert harness.main("B0", module.__doc__, module.pairs, ["--quick"]) == 0
    assert "times" in capsys.readouterr().out


def test_an_answer_is_timed_against_its_encoders(capsys: pytest.CaptureFixture[str]) -> None:
    assert importlib.import_module("one_answer").main(["--quick"]) == 0
    assert capsys.readouterr().out.count("the encoders' own forward") == 2


def test_a_sweep_of_made_runs_is_planned_and_tabulated(capsys: pytest.CaptureFixture[str]) -> None:
    assert importlib.import_module("many_runs").main(["--quick"]) == 0
    assert "100 runs, files: 500 files" in capsys.readouterr().out


def test_the_accelerator_script_runs_without_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accelerator = importlib.import_module("accelerator")
    assert accelerator.main(["--quick", "--csv", str(tmp_path / "accelerator.csv")]) == 0
    frame = pd.read_csv(tmp_path / "accelerator.csv")
    assert list(frame.columns) == accelerator.COLUMNS and set(frame["model"]) == set(accelerator.MODELS)
    on_cpu = frame[frame["device"] == "cpu"]
    assert len(on_cpu) == 3 and (on_cpu["times_cpu"] == 1).all() and (frame["tflops"] > 0).all()
    assert ("no GPU" in capsys.readouterr().out) == (len(frame) == 3)


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["demo", "laptop", "paper"])
def test_steps_on_an_accelerator_are_of_the_profiles_sizes(profile: str) -> None:
    """Every model is built at the width of its profile, and its step counted; four posts are a quarter of sixteen."""
    accelerator = importlib.import_module("accelerator")
    for model in accelerator.MODELS[1:]:  # of stage 1 every text meets every picture
        few, more = (accelerator.flops(accelerator.made(profile, model, batch)) for batch in (4, 16))
        assert more == pytest.approx(4 * few, rel=0.01)
    assert accelerator.flops(accelerator.made(profile, "stage 1", 4)) > 0


def test_both_paths_of_stage_1_have_one_loss() -> None:
    """The cached step is the uncached one: the losses of three steps agree."""
    found = importlib.import_module("stage1_step").paths(True)
    for _ in range(3):
        assert found["ours"]() == pytest.approx(found["peer"](), rel=1e-4)


def test_a_quick_run_is_never_recorded(tmp_path: Path) -> None:
    harness = importlib.import_module("harness")
    with pytest.raises(SystemExit):
        harness.main("B1", "about", lambda quick: [], ["--quick", "--record"])


def test_a_record_replaces_its_own_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = importlib.import_module("harness")
    monkeypatch.setattr(harness, "RECORD", tmp_path / "benchmarks.csv")
    monkeypatch.setattr(harness, "RECORD_PAGE", tmp_path / "README.md")
    row = dict.fromkeys(("ours_ms", "times_faster", "low", "high"), 1.0) | {"what": "a", "peer": "b", "rounds": 5,
                                                                            "threads": 2}  # fmt: skip
    for name in ("B10", "B2", "B2"):
        harness.record(name, [row])
    read = pd.read_csv(harness.RECORD)
    assert list(read.columns) == harness.COLUMNS and read["id"].tolist() == ["B2", "B10"]


def test_the_page_shows_the_record() -> None:
    harness = importlib.import_module("harness")
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == harness.page()
    if harness.RECORD.is_file():
        read = pd.read_csv(harness.RECORD)
        assert set(read["id"]) <= NUMBERED and (read["times_faster"] > 0).all() and read["machine"].ne("").all()
        assert (read.loc[read["low"].notna(), "rounds"] >= 5).all()
