"""Linear rows over draws of a published split."""

import hashlib

import pytest

from rumorlib import config as cfg
from rumorlib.studies.protocol import draws


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
    monkeypatch.setattr(draws, "ROWS", ("majority", "tfidf_lr"))
    monkeypatch.setattr(draws, "_kinds", lambda *_: draws.ROWS)
    table = draws.linear_rows(cfg.resolve("laptop", [f"made={own}"]), n_draws=3).set_index(["row", "protocol"])
    words = table.loc["tfidf_lr"]
    assert set(words.index) == {"published", "published-apart", "resplit", *(f"event:event {i}" for i in range(5))}
    assert words["n_test"]["published"] - words["n_test"]["published-apart"] == 2
    assert words["accuracy"]["published"] == 1 and words["draws"]["resplit"] == 3
    assert words["highest"]["resplit"] >= words["accuracy"]["resplit"] and 0 <= words["reached"]["resplit"] <= 1
    assert words["n_test"]["resplit"] == words["n_test"]["published"]
    majority = table.loc["majority"]
    assert majority["accuracy"]["published"] <= majority["majority"]["published"] and majority["macro_f1"].max() < 0.5
