"""Which chain catches what: a claim is told from the posts of its kind, and from no others."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from rumorlib.config import RunConfig
from rumorlib.data.drawn_scenes.claims import TEXT_IMAGE_CONFLICTS
from rumorlib.studies.scores import conflicts


def reports(variant: str, knows: str | None, first: int = 2) -> list[SimpleNamespace]:
    """Three seeds of `report`."""
    return [report(variant, knows, seed) for seed in range(first, first + 3)]


def report(variant: str, knows: str | None, seed: int = 2) -> SimpleNamespace:
    """A run that knows the rumors of one kind and guesses elsewhere, by its seed."""
    kinds = ["none"] * 200 + ["implausible"] * 60 + [TEXT_IMAGE_CONFLICTS[0]] * 60 + ["edited"] * 60
    random = np.random.default_rng(seed)
    prob = random.uniform(0.3, 0.6, len(kinds))
    prob[[kind in conflicts.KINDS and conflicts.KINDS[kind] == knows for kind in kinds]] = 0.9
    frame = pd.DataFrame({"post_id": [f"p{i}" for i in range(len(kinds))], "conflict": kinds, "split": "test",
                          "label": [int(kind != "none") for kind in kinds], "prob_rumor": prob,
                          "image_group": [f"g{i}" for i in range(len(kinds))]})  # fmt: skip
    return SimpleNamespace(config=RunConfig("dmfl", "demo-en", variant, seed), name=variant, facts={},
                           predictions=lambda: frame)  # fmt: skip


def test_the_table_shows_the_kind_a_model_knows() -> None:
    frame = conflicts.table([report("TB", "implausible words"), report("TL", None)])
    known = frame[(frame["variant"] == "TB") & (frame["kind"] == "implausible words")].iloc[0]
    assert known["auc"] == 1 and known["called_rumor"] == 1 and known["n_rumor"] == 60
    assert frame[frame["variant"] == "TL"]["auc"].between(0.3, 0.7).all()


def test_a_claim_is_reproduced_refused_or_left_open() -> None:
    claim = conflicts.CLAIMS[0][0]

    def said(tb: list, tl: list) -> pd.Series:
        return conflicts.claims([*tb, *tl]).set_index("claim").loc[claim]

    knows = "implausible words"
    found = said(reports("TB", knows), reports("TL", None))
    assert found["verdict"] == "reproduced" and found["ours"] > 0.3
    assert said(reports("TB", None), reports("TL", knows))["verdict"] == "not reproduced"
    assert said(reports("TB", None, 5), reports("TL", None))["verdict"] == "inconclusive"
    assert said([report("TB", knows)], [report("TL", None)])["verdict"] == "inconclusive", "one seed against one"
