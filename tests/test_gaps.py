"""The gap between text and image, on runs written by the test: each verdict where the answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.figures import curves
from rumorlib.metrics import modalities
from rumorlib.results import runs
from rumorlib.studies.explanations import gaps
from rumorlib.studies.scores import verdicts

DEMO = cfg.resolve(train="none", grid="full", seeds=[0])


def finished(config: cfg.RunConfig, extras: dict[str, pd.DataFrame]) -> results.Report:
    predictions = pd.DataFrame({"post_id": ["test-0"], "label": [1], "split": ["test"], "log_odds": [0.7]})
    history, facts = pd.DataFrame({"epoch": [1]}), {"split_hash": "ab"}
    outcome = SimpleNamespace(
        metrics={"test": {"accuracy": 0.75}},
        history=history,
        predictions=predictions,
        extras=extras,
        state=None,
        facts=facts,
    )
    runs.write_run(results.run_folder(config), config, outcome, 1.0)
    return results.run_or_load(config, replace(DEMO, profile=config.profile))


def cloud(seed: int, shift: float = 0.0, scale: float = 1.0, of: np.ndarray | None = None) -> np.ndarray:
    """A cloud of its own, or one near `of`."""
    noise = np.random.default_rng(seed).normal(size=(60, 5))
    return scale * ((noise if of is None else of + 0.3 * noise) + shift)


def sides(text: np.ndarray, image: np.ndarray, moment: str, place: str) -> dict:
    return {"moment": moment, "place": place} | modalities.measure(text, image)


@pytest.fixture
def gap(output: Path) -> pd.DataFrame:
    """forward aligns pairs; side shrinks to a point; without, a gap stays: 3 in English, 6 in Chinese."""
    reports = []
    for config in experiments.alignment_runs(replace(DEMO, seeds=(0, 1))):
        kind, far = config.detector.alignment, 3 if config.dataset == "demo-en" else 6
        text, image = cloud(1), cloud(2, shift=far)
        rows = [sides(text, image, moment, "attended") for moment in ("before", "after")]
        if kind != "none":
            after = {"forward": (0.2 * text, cloud(3, scale=0.2, of=text)), "side": (1e-3 * text, 1e-3 * cloud(2))}[
                kind
            ]
            rows += [sides(text, image, "before", "aligned"), sides(*after, "after", "aligned")]
        reports.append(finished(config, {"modalities": pd.DataFrame(rows)}))
    return gaps.table(reports)


def test_the_table_says_what_is_fused(gap: pd.DataFrame) -> None:
    assert set(gap["alignment"]) == {"forward", "side", "none"} and set(gap["test_accuracy"]) == {0.75}
    fused = gap[gap["fused"]].groupby("alignment")["place"].unique().map(list)
    assert fused.to_dict() == {"forward": ["aligned"], "side": ["attended"], "none": ["attended"]}


def test_alignment_and_collapse_are_told_apart(gap: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "ALIKE", 0.3)  # what sixty posts can show
    frame = gaps.claims(gap)
    assert list(frame) == verdicts.COLUMNS
    said = frame.set_index(["corpus", "claim"])["verdict"]
    for corpus in ("demo-en", "demo-zh"):
        assert said[corpus, "alignment (forward) brings a post's text and image together"] == "reproduced"
        assert said[corpus, "alignment (side) brings a post's text and image together"] == "inconclusive"
        assert said[corpus, "alignment (side) lowers its loss and tells no pair from another"] == "reproduced"
        assert said[corpus, "alignment (forward) lowers its loss and tells no pair from another"] == "not reproduced"
        assert said[corpus, "alignment reduces the difference of the two modalities"] == "reproduced"


def test_the_papers_two_sentences_on_the_gap_cannot_both_hold(gap: pd.DataFrame) -> None:
    said = gaps.claims(gap).set_index(["corpus", "claim"])["verdict"]
    pair = "demo-en, demo-zh"
    assert said[pair, "Pheme has the larger modality gap"] == "not reproduced"
    assert said[pair, "Weibo has the larger modality gap"] == "reproduced"
    alone = gaps.claims(gap[gap["dataset"] == "demo-en"])
    assert alone[alone["claim"].str.contains("has the larger")]["verdict"].tolist() == ["untestable here"] * 2


def test_an_older_run_is_measured_from_its_weights(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = finished(experiments.dmfl(DEMO, "demo-en"), {})
    posts = pd.DataFrame({"split": "dev", "label": 0, "image": [str(i) for i in range(60)]})
    asked = []

    def given(config, settings, at_start):
        asked.append(at_start)
        return None, None, posts

    def made(model, tensors, posts, moment):
        return pd.DataFrame([sides(cloud(1), cloud(2), moment, "attended")])

    monkeypatch.setattr(gaps.trained, "dmfl", given)
    monkeypatch.setattr(gaps.modalities, "of_model", made)
    done = gaps.measured(report, DEMO)
    assert asked == [True, False] and done.extra("modalities")["moment"].tolist() == ["before", "after"]
    again = results.run_or_load(report.config, DEMO)
    assert again.fingerprint == report.fingerprint and gaps.measured(again, DEMO) is again  # tables keep their source
    assert again.extra("modalities")["ratio"].notna().all()
    with pytest.raises(ValueError, match="there already"):
        results.add_extra(again, "modalities", pd.DataFrame({"n": [1]}))
    with pytest.raises(ValueError, match="may not be kept"):
        results.add_extra(again, "more", pd.DataFrame({"text": ["a"]}))


def test_runs_without_sides_are_left_out(output: Path) -> None:
    report = finished(experiments.dmfl(DEMO, "demo-en"), {})
    nothing = gaps.table([report])
    assert nothing.empty and set(gaps.claims(nothing)["verdict"]) == {"untestable here"}


def test_the_gap_is_drawn_with_its_reference(gap: pd.DataFrame) -> None:
    drawn = gaps.panels(gap)
    figure = curves.measures(drawn, "Gap")
    assert [axes.get_xlabel().replace("\n", " ") for axes in figure.axes] == list(gaps.MEASURES.values())
    assert len(set(drawn["row"])) == 6 and not drawn.duplicated(["dataset", "row", "measure"]).any()
    with pytest.raises(ValueError, match="empty"):
        curves.measures(drawn.iloc[:0])
