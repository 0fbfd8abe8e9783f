"""Shapes of curves: what counts as one peak, what as tortuous, and when nothing may be said."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from rumorlib import config as cfg
from rumorlib.metrics import curves
from rumorlib.studies.scores import sensitivity


def test_one_peak_explains_a_hill_and_not_a_zigzag() -> None:
    hill, zigzag = np.array([1, 2, 4, 7, 5, 3, 1.0]), np.array([1, 5, 1, 5, 1, 5, 1.0])
    assert curves.unimodality(hill) == (1.0, 3)
    assert curves.unimodality(zigzag)[0] < 0.6
    assert curves.unimodality(np.arange(6.0)) == (1.0, 5) and curves.unimodality(np.arange(6.0)[::-1]) == (
        1.0,
        0,
    )


def test_roughness_is_zero_on_a_line_and_grows_with_zigzag() -> None:
    line, hill, zigzag = np.arange(7.0), np.array([0, 1, 2, 3, 2, 1, 0.0]), np.array([0, 3, 0, 3, 0, 3, 0.0])
    at = np.arange(len(line))
    assert curves.roughness(at, line) == 0 < curves.roughness(at, hill) < curves.roughness(at, zigzag)
    assert curves.roughness(at, hill) == pytest.approx(curves.roughness(2 * at + 1, 10 * hill + 3))
    assert np.isnan(curves.roughness(at, np.ones(len(line))))
    uneven = np.array([0.4, 1.2, 2.4, 2.8, 4.0])
    assert curves.roughness(uneven, 3 * uneven) == pytest.approx(0, abs=1e-9)


def sweep(dataset: str, accuracy: dict[float, float], n: int = 2000, seeds: int = 3) -> list[SimpleNamespace]:
    """Runs of each value, right on the first accuracy * n of n posts, a seed on a post or two more."""
    made = []
    for value, share in accuracy.items():
        for seed in range(seeds):
            label = np.arange(n) % 2
            right = np.random.default_rng(0).permutation(n) < share * n + seed
            frame = pd.DataFrame({"post_id": [f"p{i}" for i in range(n)], "label": label, "split": "dev",
                                  "prob_rumor": np.where(right, label, 1 - label).astype(float),
                                  "image_group": [f"g{i}" for i in range(n)]})  # fmt: skip
            variant, detector = f"lambda_a={value}", cfg.DMFLConfig(lambda_a=value)
            config = cfg.RunConfig("dmfl", dataset, variant, seed, detector=detector)
            made.append(SimpleNamespace(config=config, name="x", facts={}, predictions=lambda frame=frame: frame))
    return made


def test_a_hill_is_reproduced_a_slope_is_not_and_few_points_are_untestable() -> None:
    hill = sweep("demo-en", {0.4: 0.6, 0.8: 0.66, 1.2: 0.72, 1.6: 0.79, 2.0: 0.74, 2.4: 0.68, 2.8: 0.62})
    slope = sweep("demo-zh", {0.4: 0.5, 0.8: 0.55, 1.2: 0.6, 1.6: 0.65, 2.0: 0.7, 2.4: 0.75, 2.8: 0.8})
    verdict = sensitivity.peak_claims(hill + slope, "lambda_a").set_index("corpus")["verdict"]
    assert verdict.to_dict() == {"demo-en": "reproduced", "demo-zh": "not reproduced"}
    assert sensitivity.peak_claims(hill[:9], "lambda_a")["verdict"].tolist() == ["untestable here"]
    single = sensitivity.peak_claims([run for run in hill if not run.config.seed], "lambda_a").iloc[0]
    assert single["verdict"] == "inconclusive" and "one seed" in single["why"]
    flat = sweep("demo-en", {0.4 * (i + 1): 0.7 for i in range(7)})
    assert sensitivity.peak_claims(flat, "lambda_a")["verdict"].tolist() == ["inconclusive"], (
        "a flat curve denies nothing"
    )


def test_a_perfect_hill_of_the_fewest_points_can_be_reproduced_and_one_of_fewer_not() -> None:
    for m, expected in ((curves.FEWEST, "reproduced"), (curves.FEWEST - 1, "untestable here")):
        heights = [0.8 - 0.08 * abs(i - m // 2) + 0.01 * i for i in range(m)]
        hill = sweep("demo-en", {0.4 * (i + 1): height for i, height in enumerate(heights)})
        assert sensitivity.peak_claims(hill, "lambda_a")["verdict"].tolist() == [expected]


def test_roughness_is_shown_but_not_judged() -> None:
    values = [0.4 * i for i in range(1, 8)]
    smooth = sweep("demo-zh", dict(zip(values, [0.6, 0.65, 0.7, 0.75, 0.7, 0.65, 0.6], strict=True)))
    rough = sweep("demo-en", dict(zip(values, [0.6, 0.75, 0.6, 0.75, 0.6, 0.75, 0.6], strict=True)))
    claim = sensitivity.tortuosity_claim(rough + smooth, "lambda_a", "demo-en", "demo-zh").iloc[0]
    assert claim["verdict"] == "untestable here" and claim["ours"] > 0 and "noise" in claim["why"]
    alone = sensitivity.tortuosity_claim(rough, "lambda_a", "demo-en", "demo-zh").iloc[0]
    assert alone["verdict"] == "untestable here" and np.isnan(alone["ours"])


def test_the_best_ratio_is_told_where_the_curve_has_a_peak() -> None:
    """lambda_c stays at 1.8 here: ratios of 2.25, 1.5, 1.125, .75, .6 and .45."""
    low = sweep("demo-en", {0.8: 0.6, 1.2: 0.65, 1.6: 0.66, 2.4: 0.7, 3.0: 0.8, 4.0: 0.7})
    high = sweep("demo-zh", {0.8: 0.7, 1.2: 0.8, 1.6: 0.72, 2.4: 0.7, 3.0: 0.65, 4.0: 0.6})
    found = sensitivity.ratio_claims(low + high, "demo-zh", "demo-en")
    assert found["corpus"].tolist() == ["demo-en", "demo-zh", "demo-zh, demo-en"]
    assert found["ours"].tolist() == [0.6, 1.5, 0.9]
    assert found["verdict"].tolist() == ["reproduced", "not reproduced", "reproduced"]
    flat = sweep("demo-en", {0.8: 0.7, 1.2: 0.7, 1.6: 0.7, 2.4: 0.7, 3.0: 0.7, 4.0: 0.7})
    for seed, run in enumerate(flat):  # coins
        frame = run.predictions()
        frame["prob_rumor"] = np.random.default_rng(seed).uniform(size=len(frame))
    few = sensitivity.ratio_claims(flat + high[:9], "demo-en", "demo-zh")
    assert few["verdict"].tolist() == ["inconclusive", "untestable here", "untestable here"]


def test_the_second_step_lies_around_the_best_on_dev_and_asks_for_nothing_twice() -> None:
    runs = sweep("demo-en", {0.4: 0.6, 0.8: 0.7, 1.2: 0.8, 1.4: 0.79, 1.6: 0.7}, seeds=1)
    full, reduced = (cfg.resolve("demo", grid=grid) for grid in ("full", "reduced"))
    assert [c.detector.lambda_a for c in sensitivity.halved(runs, "lambda_a", full)] == [1.0]  # 1.4 is there
    assert sensitivity.halved(runs, "lambda_a", reduced) == []
    edge = sensitivity.halved(sweep("demo-en", {0.2: 0.8, 0.6: 0.7}, seeds=1), "lambda_a", full)
    assert [c.variant for c in edge] == ["lambda_a=0.4"]
