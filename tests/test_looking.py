"""DMFL's maps against exact effects: the plumbing on a model whose effects are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from rumorlib import config as cfg
from rumorlib import experiments
from rumorlib.config import DMFLConfig, Word2VecConfig
from rumorlib.data.batches import Batch
from rumorlib.encoders.vocabulary import CLS, SEP
from rumorlib.models.dmfl import DMFL
from rumorlib.results import Report
from rumorlib.studies.explanations import looking
from rumorlib.studies.scores import verdicts

L, N, D = 7, 4, 10
TINY = DMFLConfig(
    word2vec=Word2VecConfig(d_word=8, max_length=L), d_model=12, n_heads=2, logic_width=12, logic_depth=1, logic_heads=3
)


def batch(n: int) -> Batch:
    ids = torch.tensor([[CLS, 5 + i, 6, 7, SEP] for i in range(n)])
    images = torch.randn(n, N, D, generator=torch.Generator().manual_seed(1))
    return Batch(**dict.fromkeys(Batch._fields) | {
        "text_ids": ids, "text_mask": ids > 0, "images": images, "label": torch.zeros(n), "weight": torch.ones(n),
        "row": torch.arange(n),
    })  # fmt: skip


def test_each_picture_is_read_with_its_own_text() -> None:
    torch.manual_seed(0)
    model, posts = DMFL(TINY, torch.randn(30, 8), d_image=D).eval(), batch(6)
    post = torch.tensor([3, 0, 3, 5])
    found = looking.logit(model, posts, posts.images[post], post)
    with torch.no_grad():
        one_by_one = model(posts).logits
    assert torch.allclose(found, (one_by_one[:, 1] - one_by_one[:, 0])[post], atol=1e-5)


def test_a_map_of_the_effects_scores_highest_and_says_so() -> None:
    config = experiments.map_runs(cfg.resolve(train="none"))[0]
    effects = np.array([[0.1, -2.0, 0.5], [1.0, 0.2, np.nan]])
    touches = np.zeros((2, 3, N), bool)
    touches[:, [0, 1, 2], [0, 1, 2]] = True
    touches[1, 2] = False
    right = np.array([[0.1, 2.0, 0.5, 0], [1.0, 0.2, 0, 0]])
    report = Report(config, {"dev": {"accuracy": 0.9}}, folder=None)
    line = {"map": "logic", "mass": 0.4, "low": 0.35, "high": 0.45, "chance": 0.05, "other_words": 0.1}
    scores = {"logic, the claim's words": right, "wrong": -right}
    made = looking.Looked(report, effects, touches, scores, pd.DataFrame([line]))
    frame = looking.table([made]).set_index("explanation").rename({"logic, the claim's words": "right"})
    assert (frame.loc["right", "rank"], frame.loc["right", "pointing"]) == (1, 1)
    assert (frame.loc["wrong", "rank"], frame.loc["wrong", "pointing"]) == (-1, 0)
    assert frame["pointing_chance"].tolist() == [1 / N, 1 / N] and set(frame["dev_accuracy"]) == {0.9}
    said = looking.claims([made])
    assert list(said) == verdicts.COLUMNS and said["ours"].tolist() == [0.4, 1.0]
    assert said["verdict"].tolist() == ["reproduced", "reproduced"]
    assert "3000 train posts" in said["corpus"].iloc[0] and "dev accuracy 0.900" in said["why"].iloc[0]


def test_only_drawn_scenes_are_asked() -> None:
    for profile in cfg.PROFILES:
        plans = experiments.asked_runs(cfg.resolve(profile, train="none"))
        assert bool(plans) == (profile == "demo")
        assert looking.table([]).empty and looking.claims([]).empty
    assert {c.n_train for c in experiments.asked_runs(cfg.resolve(train="none", grid="full"))} >= {None, 12_000}
