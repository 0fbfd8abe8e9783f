"""Which chain catches what: a claim is told from the posts of its kind, and from no others."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from rumorlib.config import RunConfig
from rumorlib.data.drawn_scenes.claims import TEXT_IMAGE_CONFLICTS
from rumorlib.studies.scores import conflicts


def report(variant: str, knows: str | None, seed: int = 2) -> SimpleNamespace:
    """A run that knows the rumors of one kind and guesses elsewhere, by its seed."""
    kinds = ["none"] * 200 + ["implausible"] * 60 + [TEXT_IMAGE_CONFLICTS[0]] * 60 + ["edited"] * 60
    random = np.random.default_rng(seed)
    prob = random.uniform(0.3, 0.6, len(kinds))
    prob[[kind in conflicts.KINDS and conflicts.KINDS[kind] == knows for kind in kinds]] = 0.9
    frame = pd.DataFrame({"post_id": [f"p{i}" for i in range(len(kinds))], "conflict": kinds, "split": "test",
                          "label": [int(kind != "none") for kind in kinds], "prob_rumor": prob,
                          "image_group": [f"g{i}" for i in range(len(kinds))]})  # fmt: skip
    return SimpleNamespace(config=RunConfig("dmfl", "demo-en", variant), name=variant, facts={},
                           predictions=lambda: frame)  # fmt: skip


def test_the_table_shows_the_kind_a_model_knows() -> None:
    frame = conflicts.table([report("TB", "implausible words"), report("TL", None)])
    known = frame[(frame["variant"] == "TB") & (frame["kind"] == "implausible words")].iloc[0]
    assert known["auc"] == 1 and known["called_rumor"] == 1 and known["n_rumor"] == 60
    assert frame[frame["variant"] == "TL"]["auc"].between(0.3, 0.7).all()


def test_a_claim_is_reproduced_refused_or_left_open() -> None:
    runs = [report("TB", "implausible words"), report("TL", None)]
    claim = conflicts.CLAIMS[0][0]
    found = conflicts.claims(runs, n=200).set_index("claim")
    assert found.loc[claim, "verdict"] == "reproduced" and found.loc[claim, "ours"] > 0.3
    other_way = [report("TL", "implausible words"), report("TB", None)]
    assert conflicts.claims(other_way, n=200).set_index("claim").loc[claim, "verdict"] == "not reproduced"
    neither = [report("TB", None, seed=3), report("TL", None)]
    assert conflicts.claims(neither, n=200).set_index("claim").loc[claim, "verdict"] == "inconclusive"
    same = [report("TB", None), report("TL", None)]
    assert conflicts.claims(same, n=200).set_index("claim").loc[claim, "verdict"] == "not reproduced"
