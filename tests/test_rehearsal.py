"""Profile paper goes through, from folders in the published formats to scored runs (tests/rehearsal.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import rehearsal


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # tiny corpora make scikit-learn's fits complain
def test_one_run_of_each_kind_goes_through_at_profile_paper(tmp_path: Path) -> None:
    with rehearsal.rehearsed(tmp_path, tiny=True) as settings:
        made = rehearsal.table(settings)
    names = made["run"].str.split("/", expand=True)
    assert {"train", "exchange", "compress", "anatomy", "dose"} <= set(made["kind"])
    assert {"sclip", "micc", "dmfl", "safe", "carmn", "mfan", "eann", "spotfake", "muse"} <= set(names[0])
    assert {"weibo", "pheme", "flickr30k", "coco-cn"} <= set(names[1]) and (made["steps"] <= rehearsal.STEPS).all()
    assert made.loc[(made["kind"] == "train") & ~names[0].isin(["baseline", "bench"]), "steps"].eq(5).all()
