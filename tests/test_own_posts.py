"""Rows on a published split, on draws of the same sizes, and with events held out."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from rumorlib import config as cfg
from rumorlib import results
from rumorlib.data import keys
from rumorlib.data.batches import PostTensors, Texts
from rumorlib.experiments import papers
from rumorlib.inputs import corpora
from rumorlib.metrics import evaluation
from rumorlib.studies.protocol import own_posts
from rumorlib.studies.scores import recommended
from rumorlib.training import baseline_runs, micc_runs


@pytest.fixture
def own(tmp_path):
    """60 posts of five events whose label a word tells, published in three sides; two test posts repeat train posts."""
    rows = ["id,text,label,split,event"]
    side = ("train", "train", "train", "dev", "test", "test")
    for i in range(60):
        text = f"{'odd' if i % 2 else 'even'} {hashlib.sha256(str(i).encode()).hexdigest()[:24]}"
        rows.append(f"p{i},{text},{i % 2},{side[i // 2 % 6]},event {i % 5}")
    rows += [f"twin{i},{rows[1 + i].split(',')[1]},{i % 2},test,event 0" for i in (0, 1)]
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "corpus.toml").write_text('protocol = "published"\nevents = true\n', encoding="utf-8")
    yield tmp_path
    cfg.CORPORA.pop("made", None)


def test_rows_are_scored_on_every_protocol_and_twins_are_counted(own, output, monkeypatch):
    monkeypatch.setattr(baseline_runs, "N_DRAWS", {"posts": 3})
    settings = cfg.resolve("laptop", [f"made={own}"])
    rows = [papers.baseline(settings, "made", kind) for kind in ("majority", "tfidf_lr")]
    trained = [results.run_or_load(run, settings) for run in rows]
    draws = [results.run_or_load(replace(run, kind="draws", variant=f"{run.variant}-draws"), settings) for run in rows]
    table = own_posts.page(trained, draws).set_index("model")
    words, majority = table.loc["TF-IDF + LR"], table.loc["majority"]
    assert words["n_test"] - words["n_apart"] == 2, "two test posts are in train, too"
    assert words["accuracy"] == words["apart"] == 1 and words["n_dealt"] == 3
    assert trained[1].predictions()["n_chars"].between(24, 32).all(), "the length of a text outlives it"
    assert words["dealt_most"] >= words["dealt"] and np.isnan(words.get("pictures", np.nan))
    assert majority["ahead"] == pytest.approx(majority["accuracy"] - 1) and majority["ahead_high"] < 0
    assert majority["accuracy"] <= 0.6 and majority["f1_macro"] < 0.5 and majority["event_gain"] <= 0
    found = draws[1].extra("draws")
    sizes = found.set_index("protocol")["n_test"]
    assert set(sizes.index) == {
        "published",
        *(f"resplit:{k}" for k in range(3)),
        *(f"event:event {i}" for i in range(5)),
    }
    assert sizes["resplit:0"] == sizes["published"]


def test_a_reported_score_has_the_interval_of_a_share_of_as_many_posts(own, output, monkeypatch):
    table = pd.DataFrame(
        {"dataset": "mfan-pheme", "model": ["DMFL", "TF-IDF + LR"], "accuracy": [0.85, 0.9], "n_test": 385}
    )
    dmfl = own_posts.reported(table).set_index(["paper", "row"]).loc[("DMFL", "DMFL")]
    assert (round(dmfl["low"], 3), round(dmfl["high"], 3)) == (0.853, 0.916)  # 342 of 385
    assert dmfl["gap"] == pytest.approx(0.85 - 0.8883) and dmfl["above"] == "TF-IDF + LR"


def test_the_recommended_detector_joins_standardised_log_odds_and_is_calibrated_on_dev():
    rng = np.random.default_rng(0)
    label = np.tile([0, 1], 100)
    split = np.repeat(["dev", "test"], 100)
    weak = pd.DataFrame(
        {"row_key": range(200), "split": split, "label": label, "log_odds": label - 0.5 + rng.normal(size=200)}
    )
    strong = weak.assign(log_odds=40 + 100 * (label - 0.5) + 60 * rng.normal(size=200))
    others = strong[split == "test"].assign(split="test_others", log_odds=-1000.0)
    made = recommended.joined_log_odds([weak, pd.concat([strong, others], ignore_index=True)])
    own, exchanged = made[made["split"] == "test"], made[made["split"] == "test_others"]
    alone = max(((one["log_odds"][100:] >= shift) == label[100:]).mean() for one, shift in ((weak, 0), (strong, 40)))
    assert ((own["log_odds"] >= 0) == own["label"]).mean() >= alone - 0.02, "neither scale nor offset of a part decides"
    assert len(exchanged) == 100 and (exchanged["log_odds"] < 0).all(), "words read test as it is, pictures the others'"
    prob = weak.assign(prob_rumor=evaluation.prob_of(weak["log_odds"])).drop(columns="log_odds")
    of_before = recommended.joined_log_odds([prob, strong])
    np.testing.assert_allclose(of_before["log_odds"], made["log_odds"][:200], atol=2e-3)
    scaled = recommended.joined_log_odds([weak, strong.assign(log_odds=strong["log_odds"] * 7 - 3)])
    np.testing.assert_allclose(scaled["log_odds"], made["log_odds"][:200], atol=2e-3)


def test_with_the_picture_of_another_post_come_its_patches_and_its_part_of_the_towers():
    towers = torch.tensor([[i, i, 10 * i] for i in range(4)])  # two columns are the text's
    one = torch.ones(4)
    tensors = PostTensors(Texts(None, None, one[:, None], towers=towers), one[:, None], torch.arange(4), one, one)
    made = micc_runs.exchanged(tensors, torch.tensor([1, 2]), torch.tensor([3, 1]), 2, lambda: None)
    assert made.image_row.tolist() == [3, 1] and made.texts.towers.tolist() == [[1, 1, 30], [2, 2, 10]]


def test_an_event_that_only_a_training_holds_out_is_not_lost_beside_the_draws():
    part = pd.DataFrame({"protocol": ["published", "resplit:0"], "accuracy": 0.5, "macro_f1": 0.5, "majority": 0.5})
    draws = SimpleNamespace(extra=lambda _: part.assign(row="tfidf_lr", n_test=4), config=SimpleNamespace(dataset="d"))
    ((_, found),) = own_posts._linear([draws]).items()
    assert "event_f1" not in found and found["dealt"] == 0.5


def test_fewer_train_posts_are_always_among_more_and_the_other_sides_stay(own, output):
    settings = cfg.resolve("laptop", [f"made={own}"])
    runs = [replace(run, n_train=n) for run in [papers.baseline(settings, "made", "tfidf_lr")] for n in (8, 20, None)]
    few, more, whole = (corpora.corpus_of(run, settings).posts for run in runs)
    assert [(part["split"] == "train").sum() for part in (few, more)] == [8, 20]
    assert set(few.index[few["split"] == "train"]) < set(more.index[more["split"] == "train"])
    for part in (few, more):
        others = whole["split"] != "train"
        assert part["split"][others].equals(whole["split"][others]) and keys.posts_hash(part) == keys.posts_hash(whole)
    made = results.run_or_load(runs[0], settings)
    assert made.metrics["train"]["n"] == 8 and set(made.predictions()["split"]) == {"dev", "test"}
    assert results.run_or_load(runs[0], replace(settings, train="none")).metrics == made.metrics, (
        "its split is no file's"
    )
    with pytest.raises(ValueError, match="4100, and there are"):
        corpora.with_fewer(whole, 4100)
