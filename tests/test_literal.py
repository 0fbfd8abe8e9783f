"""Literal readings of the papers, statements that only they ask, and the recurrent rows of the related work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.config import Settings
from rumorlib.data.batches import Batch
from rumorlib.encoders.vocabulary import CLS, SEP
from rumorlib.experiments import literal
from rumorlib.models.named import Given, log_odds
from rumorlib.models.others import recurrent
from rumorlib.studies.scores import literal as study
from rumorlib.studies.scores import verdicts
from rumorlib.training.exchange_runs import BLANKED, EMPTIED


def batch(*texts: list[int], length: int) -> Batch:
    ids = torch.tensor([[CLS, *text, SEP, *[0] * (length - len(text) - 2)] for text in texts])
    n = len(texts)
    return Batch(ids, ids > 0, None, torch.zeros(n, 1, 1), torch.zeros(n), torch.ones(n), torch.arange(n))


@pytest.mark.parametrize("kind", [recurrent.GRU, recurrent.HAN])
def test_recurrent_rows_read_the_words_and_nothing_else(kind: type) -> None:
    torch.manual_seed(0)
    model = kind(Given(torch.randn(30, 5), 0, (1, 1)), width=4).eval()
    words = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
    alone, padded = batch(words, length=14), batch(words, words[::-1], [], length=25)
    found = log_odds(model, padded)
    torch.testing.assert_close(found[:1], log_odds(model, alone))
    assert found.isfinite().all() and abs(found[0] - found[1]) > 1e-6, "the order of words counts"
    model.train().training_loss(padded)["loss"].backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_each_reading_of_dmfl_is_another_model_beside_a_row_that_is_run() -> None:
    laptop = cfg.resolve("laptop", ["mfan-pheme"], [0], train="none")
    runs = {run.variant: run for run in literal.dmfl(laptop)}
    assert len({run.detector for run in runs.values()}) == len(runs)
    assert {beside for beside, _ in literal.OF_DMFL.values()} <= set(runs)
    assert set(study.WHAT) >= {run.variant for run in literal.readings(laptop)}
    one, two = literal.stage1(laptop, "mfan-pheme").values()
    assert one.sclip.vision.depth == 1 and one.sclip.head == "mlp" and two.sclip.vision.kind == "patch_conv"
    assert two.sclip.vision.receptive_fields == (32, 64) and not two.sclip.vision.weights


@pytest.fixture
def asked(few_untrained: Settings, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, dict[str, list]]:
    monkeypatch.setattr(literal, "_posts", lambda settings: ["demo-en"])
    settings = replace(few_untrained, seeds=(0, 1))
    return settings, literal.asked(settings) | {"others": []}


def test_statements_are_judged_from_runs_and_left_out_where_one_is_missing(asked) -> None:
    settings, plans = asked
    none = replace(settings, train="none")
    assert results.all_or_none(plans["micc"], none) == []
    made = {name: results.all_or_none(runs, settings) for name, runs in plans.items()}
    heads = [results.run_or_load(experiments.dmfl(settings, "demo-en", seed, f"n={n}", n_heads=n), settings)
             for n in (1, 2) for seed in (0, 1)]  # fmt: skip
    found = study.claims(**made, heads=heads, weights={"lambda_c": heads})
    assert set(found["verdict"]) <= set(verdicts.SAID) and len(found) >= 3 + 2 + 4 + 3
    row = found[found["claim"].str.startswith("MICC (literal) loses more without its text")].iloc[0]
    told = []
    for report in (one for one in made["exchanged"] if one.config.variant == "default-exchanged"):
        answers = report.predictions()
        right = (answers["log_odds"] >= 0) == answers["label"]
        told.append([right[answers["split"] == study.reading(name)].mean() for name in (EMPTIED, BLANKED)])
    assert len(told) == 2 and row["ours"] == pytest.approx(np.diff(np.mean(told, axis=0))[0])
    gap = [np.mean([r.metrics["train"]["accuracy"] - r.metrics["test"]["accuracy"] for r in part])
           for part in (heads[2:], heads[:2])]  # fmt: skip
    assert found.loc[found["claim"] == "more heads overfit more", "ours"].item() == pytest.approx(gap[0] - gap[1])
