"""Literal readings of the papers, statements that only they ask, and the recurrent rows of the related work."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import few_scenes

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.config import Settings
from rumorlib.data.batches import Batch
from rumorlib.data.drawn_scenes import drawn
from rumorlib.encoders.vocabulary import CLS, SEP
from rumorlib.experiments import literal, papers
from rumorlib.models.attention import AttentionBlock
from rumorlib.models.named import Given, log_odds
from rumorlib.models.others import recurrent
from rumorlib.studies.protocol import counterfactuals
from rumorlib.studies.scores import literal as study
from rumorlib.studies.scores import verdicts
from rumorlib.training import evidence
from rumorlib.training.exchange_runs import (
    BLANKED,
    DOSES,
    EMPTIED,
    WORDS,
    damage_reading,
    damaged,
    head_reading,
)


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
    one, two, whitened = literal.stage1(laptop, "mfan-pheme").values()
    assert one.sclip.vision.depth == 1 and one.sclip.head == "mlp" and two.sclip.vision.kind == "patch_conv"
    assert two.sclip.vision.receptive_fields == (32, 64) and not two.sclip.vision.weights
    assert replace(whitened.sclip, whiten_text=False) == papers.stage1_of(laptop, "mfan-pheme").sclip != whitened.sclip
    for profile, names in (
        ("laptop", {"text-top", "end-to-end"}),
        ("paper", {"text-top"}),
    ):  # whose tower learns anyway
        given = cfg.resolve(profile, ["mfan-pheme"], [0, 1], train="none")
        learning = [run for run in literal.micc(given) if run.variant in ("text-top", "end-to-end")]
        assert {run.variant for run in learning} == names and len(learning) == 2 * len(names)
        assert all(run.detector.text_layers == 2 and run.train.tower_lr_scale == 0.03 for run in learning)


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
    assert set(found["verdict"]) <= set(verdicts.SAID) and len(found) >= 3 + 2 + 4 + 5 + 3
    _check_damage(made["micc"], made["damaged"])
    _check_heads(found, made["headless"], settings)
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


def _check_heads(found: pd.DataFrame, reports: list, settings: Settings) -> None:
    """With all heads it answers as before, and what one costs is the mean over seeds and heads of what it takes."""
    names, drops, shared = [head_reading(head) for head in range(reports[0].config.detector.n_heads)], [], []
    for report in reports:
        parent, answers = results.run_or_load(report.config.parent, settings).predictions(), report.predictions()
        own = answers[answers["split"] == "test"].set_index("post_id")["log_odds"]
        whole = parent[parent["split"] == "test"].set_index("post_id")["log_odds"]
        pd.testing.assert_series_equal(own, whole[own.index], atol=1e-4)
        right = ((answers["log_odds"] >= 0) == answers["label"]).groupby(answers["split"]).mean()
        drops.append(right["test"] - right[names].mean())
        looks = report.extra("heads")
        assert looks[["entropy", "overlap"]].stack().between(0, 1 + 1e-6).all() and len(looks) == 2 * len(names)
        shared.append(looks.loc[looks["stage"] == "after", "overlap"].mean())
    said = found.set_index("claim")["ours"]
    assert said["heads of Eq 12 count: without one of them accuracy falls"] == pytest.approx(np.mean(drops))
    assert said[said.index.str.startswith("heads look at")].item() == pytest.approx(np.mean(shared))


def test_a_head_that_is_removed_leaves_the_others_and_all_leave_the_residual() -> None:
    torch.manual_seed(0)
    block = AttentionBlock(8, n_heads=2, d_head=4, ffn=False)
    query, key = torch.randn(3, 5, 8), torch.randn(3, 6, 8)
    whole = block(query, key).rows
    parts = []
    for gone in ([0], [1], [0, 1]):
        with block.attention.without(gone):
            parts.append(block(query, key).rows)
    torch.testing.assert_close(parts[0] + parts[1], whole)
    assert (parts[2] == 0).all() and torch.equal(block(query, key).rows, whole), "and comes back"


def _check_damage(micc: list, reports: list) -> None:
    """Undamaged posts are answered as before, and a dose's cost is the mean over seeds of what it takes."""
    parents = {report.config: report for report in micc}
    lost = []
    for report in reports:
        answers = report.predictions()
        clean = answers[answers["split"] == "test"]["log_odds"].to_numpy()
        before = parents[report.config.parent].predictions().query("split == 'test'")
        np.testing.assert_allclose(clean, before["log_odds"], atol=1e-3)
        right = (answers["log_odds"] >= 0) == answers["label"]
        lost.append([right[answers["split"] == name].mean() for name in ("test", damage_reading("other texts", 1.0))])
    row = counterfactuals.damage(reports).query("noise == 'other texts' and dose == 1").iloc[0]
    assert len(lost) == 2 and row["lost"] == pytest.approx(-np.diff(np.mean(lost, axis=0))[0])
    assert row["relevance"] != row["relevance_clean"]


def test_damage_is_of_one_thing_grows_with_the_dose_and_is_the_same_at_every_call() -> None:
    corpus = drawn.load("en", 0, few_scenes())
    for noise, doses in DOSES.items():
        far = []
        for dose in doses:
            one, again = (damaged(corpus, noise, dose) for _ in range(2))
            assert one.posts.equals(again.posts)
            key = corpus.posts["image"].iloc[0]
            if noise in WORDS:
                assert one.images is corpus.images
                far.append((one.posts["text"] != corpus.posts["text"]).mean())
            else:
                assert one.posts is corpus.posts and one.images.content_hash(key) == again.images.content_hash(key)
                pixels = [images.pixels(key, 96).astype(float) for images in (one.images, again.images, corpus.images)]
                assert pixels[0].shape == pixels[2].shape and (pixels[0] == pixels[1]).all()
                far.append(np.abs(pixels[0] - pixels[2]).mean())
        assert 0 < far[0] < far[-1] and sorted(far) == far, noise
    hashes = {damaged(corpus, "blur", dose).images.content_hash(key) for dose in (1, 2)}
    assert len(hashes | {corpus.images.content_hash(key)}) == 3, "the store would give one the features of the other"
    assert (damaged(corpus, "other texts", 1.0).posts["text"] != corpus.posts["text"]).mean() > 0.9


def test_patches_chosen_by_a_text_that_has_nothing_to_do_with_them_are_no_shared_information() -> None:
    generator = torch.Generator().manual_seed(0)

    class Made:  # of a trained MICC what `information` asks
        sclip = SimpleNamespace(n_patches=[49, 16])
        eval = staticmethod(lambda: None)
        parameters = staticmethod(lambda: iter([torch.zeros(1)]))

        def __init__(self, shared: float) -> None:
            normed = torch.nn.functional.normalize
            self.texts = normed(torch.randn(300, 24, generator=generator), dim=-1)
            noise = torch.randn(300, 65, 24, generator=generator)
            noise[:, :2] += shared * 24**0.5 * self.texts[:, None]
            self.patches = normed(noise, dim=-1)

        def _text(self, batch: SimpleNamespace) -> torch.Tensor:
            return self.texts[batch.row]

        def _patches(self, images: torch.Tensor) -> torch.Tensor:
            return self.patches[images]

    posts = pd.DataFrame({"split": ["train"] * 200 + ["test"] * 100, "image_group": [f"g{n}" for n in range(300)]})
    tensors = SimpleNamespace(in_order=lambda rows, where: [SimpleNamespace(row=rows, images=rows)])
    others = np.r_[np.roll(np.arange(200), 7), 200 + np.roll(np.arange(100), 7)]
    found = {}
    for shared in (0.0, 3.0):
        frame = evidence.information(Made(shared), tensors, posts, others)
        assert sorted(frame["without"].unique()) == list(range(-1, evidence.TENTHS))
        found[shared] = counterfactuals._of_blocks(_more(frame))
    assert found[0.0].low < 0 < found[0.0].high and found[3.0].low > 0


def _more(table: pd.DataFrame) -> np.ndarray:
    """The first claim of `information_claims`, for one training asked twice."""
    bound = table.set_index(["pictures", "selection", "k", "without"]).sort_index()["bound"]
    own = [bound.loc["own", how, 2] - bound.loc["exchanged", how, 2] for how in ("relevance", "random")]
    return np.stack([(own[0] - own[1]).to_numpy()] * 2)
