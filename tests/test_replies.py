"""Replies as a second segment (DMFL §4.5): who reads them in time, where they begin, and who must not see them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from test_logic import SMALL, bert, on_posts  # noqa: F401  a fixture, and what reads it
from transformers import BertModel, BertTokenizerFast

from rumorlib import config as cfg
from rumorlib import inputs
from rumorlib.config import DMFLConfig, RunConfig, SettingError
from rumorlib.data import posts
from rumorlib.data.batches import Batch
from rumorlib.data.drawn_scenes import replies
from rumorlib.encoders.vocabulary import CLS, SEP, TURN, Vocabulary
from rumorlib.inputs.corpora import with_replies
from rumorlib.models.dmfl import DMFL, after_first
from rumorlib.results.saved import models


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(replies, "SIZES", {"train": 200, "dev": 40, "test": 40})
    replies.load.cache_clear()
    yield replies.load()
    replies.load.cache_clear()


def test_a_drawn_reply_contradicts_rumors_alone_and_the_late_one_tells(told: posts.Corpus) -> None:
    table = told.posts
    assert table["label"].mean() == pytest.approx(0.5, abs=0.1) and set(table["conflict"]) > {"none", "colour"}
    for row in table.itertuples():
        first, late = json.loads(row.replies)
        assert late["text"] == replies.OUTCOMES[row.label] and first["created_at"] < late["created_at"]
        shared = set(first["text"].split()) & set(row.text.split())
        assert row.label or len(shared - {"a", "at", "the"}) >= 4, "it says the same"
    again = replies.load(1).posts
    assert not again["text"].equals(table["text"])


def test_neither_the_post_nor_the_reply_tells_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "SIZES", {"train": 2000, "dev": 800})
    replies.load.cache_clear()
    table = replies.load().posts
    replies.load.cache_clear()
    first = table["replies"].map(lambda told: json.loads(told)[0]["text"])
    train = (table["split"] == "train").to_numpy()
    for texts in (table["text"], first):
        model = make_pipeline(TfidfVectorizer(ngram_range=(1, 3)), LogisticRegression(max_iter=1000))
        model.fit(texts[train], table["label"][train])
        assert abs(model.score(texts[~train], table["label"][~train]) - 0.5) < 0.06


def threads(**changes) -> posts.Corpus:
    said = [{"id": "2", "created_at": "2015-01-07T13:00:00Z", "text": "no"},
            {"id": "3", "created_at": "Wed Jan 07 12:00:00 +0000 2015", "text": f"really{TURN}?"},
            {"id": "4", "created_at": "2015-01-09T12:00:00Z", "text": "debunked"},
            {"id": "5", "text": "when was this"}]  # fmt: skip
    table = pd.DataFrame({"post_id": ["1", "2"], "text": [f"a cat{TURN} flew", "dogs"], "label": [1, 0],
                          "split": "train", "image": "", "created_at": "2015-01-07T11:00:00Z",
                          "replies": [json.dumps(said), ""]} | changes)  # fmt: skip
    return posts.Corpus("threads", posts.check(table, "test"), None, "")


def test_replies_in_time_follow_the_post_and_others_do_not() -> None:
    texts = with_replies(threads(), 24.0).posts["text"].tolist()
    assert texts == [f"a cat  flew{TURN}really ? no", "dogs"], "in the order of time; a late and an undated one are out"
    assert with_replies(threads(), 72.0).posts["text"][0].endswith("no debunked")
    assert with_replies(threads(created_at=""), 24.0).posts["text"].tolist() == ["a cat  flew", "dogs"]
    with pytest.raises(ValueError, match="no replies"):
        with_replies(threads(replies=["", ""]), 24.0)


def test_a_turn_is_a_separator_and_nothing_else_changes() -> None:
    words = Vocabulary.build(["a cat flew", "no cat"])
    ids, mask = words.encode([f"a cat{TURN}no cat", "a cat"], 9, cls=True, sep=True)
    a, cat, no = (words.index[word] for word in ("a", "cat", "no"))
    assert ids[0].tolist() == [CLS, a, cat, SEP, no, cat, SEP, 0, 0] and mask[0].sum() == 7
    assert ids[1].tolist() == [CLS, a, cat, SEP, 0, 0, 0, 0, 0]
    assert words.encode([f"a cat{TURN}no cat"], 4)[0][0].tolist() == [a, cat, no, cat]
    assert after_first(ids == SEP)[0].tolist() == [False] * 4 + [True] * 5


def test_the_semantic_chain_reads_the_post_and_the_logic_chain_both() -> None:
    torch.manual_seed(0)
    config = replace(SMALL, parts="full", alignment="forward", reply_hours=24.0, n_heads=2)
    model = DMFL(config, torch.randn(12, 5), d_image=6).eval()
    ids = torch.tensor([[CLS, 5, 6, SEP, 7, 8, SEP], [CLS, 5, 6, SEP, 9, 10, SEP]])
    batch = Batch(ids, ids > 0, None, torch.randn(1, 4, 6).expand(2, -1, -1), torch.tensor([0.0, 1.0]), torch.ones(2),
                  torch.arange(2))  # fmt: skip
    words = model.word_vectors(ids)
    rows = model.text_rows(words, batch)
    torch.testing.assert_close(rows.values[0, :4], rows.values[1, :4])
    assert not rows.mask[:, 4:].any() and not torch.equal(*model(batch).logits)
    model.training_loss(batch)["loss"].backward()
    assert model.logic.reply_segment.grad.any() and model.logic.segment.grad.any()
    assert "logic.reply_segment" not in DMFL(replace(config, reply_hours=None), torch.randn(12, 5), 6).state_dict()


def test_from_bert_the_two_segments_are_its_own(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    text = f"a cat{TURN}cats flew away"
    table = pd.DataFrame({"post_id": list("1234"), "text": [text, "cats", "away", "a"], "label": [0, 1, 0, 1],
                          "image": "", "split": ["train", "train", "dev", "dev"]})  # fmt: skip
    corpus = posts.Corpus("pheme-text", posts.check(table, "test"), None, "")
    tower = cfg.TextConfig(kind="frozen", weights="tiny-bert", max_length=12)
    from test_logic import dmfl_runs

    detector = replace(SMALL, logic_init="bert", logic_text=tower, reply_hours=24.0)
    config = RunConfig("dmfl", "pheme-text", profile="paper", detector=detector)
    monkeypatch.setattr(inputs, "corpus_of", lambda *_: corpus)
    monkeypatch.setattr(dmfl_runs, "image_rows", lambda *_: (torch.randn(1, 9, 7), torch.zeros(4, dtype=torch.long)))
    settings = cfg.Settings("paper", ("pheme",), (0,), data_root=bert)
    model, tensors, _, _ = dmfl_runs.on_posts(config, settings, None)
    batch = tensors.batch(torch.arange(4))
    folder = bert / "weights" / "tiny-bert"
    pair = BertTokenizerFast.from_pretrained(folder)("a cat", "cats flew away", return_tensors="pt")
    assert batch.pieces[0].tolist()[: pair["input_ids"].shape[1]] == pair["input_ids"][0].tolist()
    theirs = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.no_grad():
        expected = theirs(**pair).last_hidden_state[0]
        mask = batch.pieces != 0
        ours = model.eval().logic.hidden(batch.pieces, mask, None, second=model._second(batch, mask)).rows[0]
    torch.testing.assert_close(ours[: len(expected)], expected, rtol=1e-4, atol=1e-4)


def test_what_cannot_read_replies_says_so() -> None:
    for how in ({"logic_frozen": 2, "logic_init": "bert"}, {"parts": "text_cnn"}):
        with pytest.raises(SettingError, match="reply_hours"):
            DMFLConfig(reply_hours=24.0, **how)
    run = RunConfig("dmfl", "demo-replies", detector=replace(SMALL, reply_hours=24.0))
    with pytest.raises(ValueError, match="reads replies"):
        models.of_run(run, cfg.resolve("demo"))
