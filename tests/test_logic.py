"""Where the logic chain starts: from BERT it is BERT until it looks at an image; from stage 1 its look compares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from conftest import instead
from transformers import BertConfig, BertModel, BertTokenizerFast

from rumorlib import config as cfg
from rumorlib import inputs
from rumorlib.config import DMFLConfig, RunConfig, Settings, TextConfig, Word2VecConfig
from rumorlib.data import posts
from rumorlib.data.batches import Batch
from rumorlib.encoders.vocabulary import PAD
from rumorlib.models.dmfl import DMFL
from rumorlib.models.logic import LogicChain, bert_names
from rumorlib.training import dmfl_runs, loop

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "flew", "away", "##s"]
SMALL = DMFLConfig(
    d_model=12, n_heads=2, d_head=4, logic_width=8, logic_depth=2, logic_heads=2,
    word2vec=Word2VecConfig(d_word=5, epochs=1, max_length=6), parts="text_transformer", alignment="none",
)  # fmt: skip

TINY = TextConfig(kind="frozen", weights="tiny-bert", max_length=6)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A data folder whose weights/tiny-bert is a BERT of two layers with random weights."""
    folder = tmp_path / "weights" / "tiny-bert"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **sizes)
    model = BertModel(config)
    for parameter in model.parameters():  # biases and norms are 0 and 1 in a fresh BERT, and a mix-up would not show
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return tmp_path


@pytest.fixture
def corpus() -> posts.Corpus:
    texts = ["a cat flew away", "cats", "a cat a cat a cat a cat a cat", "away"]
    table = pd.DataFrame({"post_id": list("1234"), "text": texts, "label": [0, 1, 0, 1], "image": "",
                          "split": ["train", "train", "dev", "dev"]})  # fmt: skip
    return posts.Corpus("pheme-text", posts.check(table, "test"), None, "")


def on_posts(bert: Path, corpus: posts.Corpus, monkeypatch: pytest.MonkeyPatch, **changes):
    detector = replace(SMALL, logic_init="bert", logic_text=TINY, **changes)
    config = RunConfig("dmfl", "pheme-text", profile="paper", detector=detector)
    instead(monkeypatch, inputs.corpus_of, lambda *_: corpus)
    rows = torch.randn(1, 9, 7), torch.zeros(4, dtype=torch.long)
    monkeypatch.setattr(dmfl_runs, "image_rows", lambda *_: rows)
    settings = Settings("paper", ("pheme",), (0,), data_root=bert)
    return dmfl_runs.on_posts(config, settings, None)


def test_without_an_image_the_chain_is_bert(bert: Path, corpus: posts.Corpus, monkeypatch) -> None:
    model, tensors, _, _ = on_posts(bert, corpus, monkeypatch)
    batch = tensors.batch(torch.arange(4))
    assert batch.pieces.shape == (4, 6)  # cut at max_length
    theirs = BertModel.from_pretrained(bert / "weights" / "tiny-bert", add_pooling_layer=False).eval()
    mask = batch.pieces != PAD
    with torch.no_grad():
        expected = theirs(input_ids=batch.pieces, attention_mask=mask.long()).last_hidden_state
        ours = model.eval().logic.hidden(batch.pieces, mask, None).rows
    torch.testing.assert_close(ours[mask], expected[mask], rtol=1e-4, atol=1e-4)
    assert model.prob_rumor(batch).shape == (4,)


def test_only_what_bert_made_learns_slowly(bert: Path, corpus: posts.Corpus, monkeypatch) -> None:
    model, *_ = on_posts(bert, corpus, monkeypatch, parts="logic_only")
    groups = loop._optimizer(model, cfg.TrainConfig(lr=1e-2, tower_lr_scale=0.1)).param_groups
    names = {id(p): n for n, p in model.named_parameters()}
    slow, new = ({names[id(p)] for group in groups if group["lr"] == pytest.approx(rate) for p in group["params"]}
                 for rate in (1e-3, 1e-2))  # fmt: skip
    assert slow == {f"logic.{name}" for name in bert_names(2)} and slow | new == set(names.values())
    assert {n for n in new if "cross_attention" in n} and not any("self_attention" in n for n in new)


def test_the_full_model_reads_words_in_one_chain_and_pieces_in_the_other(bert: Path, corpus, monkeypatch) -> None:
    model, tensors, _, _ = on_posts(bert, corpus, monkeypatch, parts="full", alignment="forward")
    batch = tensors.batch(torch.arange(4))
    model.training_loss(batch)["loss"].backward()
    assert model.logic.token.weight.grad.any() and model.word_vectors.weight.grad.any()
    with pytest.raises(ValueError, match="word pieces"):
        model(batch._replace(pieces=None))


def test_on_frozen_layers_the_chain_goes_on_where_they_end(bert: Path, corpus, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("RUMORLIB_CACHE", str(tmp_path / "cache"))
    model, tensors, _, _ = on_posts(bert, corpus, monkeypatch, logic_frozen=1, logic_depth=1)
    batch = tensors.batch(torch.arange(4))
    theirs = BertModel.from_pretrained(bert / "weights" / "tiny-bert", add_pooling_layer=False).eval()
    tokens = BertTokenizerFast.from_pretrained(bert / "weights" / "tiny-bert")(
        corpus.posts["text"].tolist(), padding=True, truncation=True, max_length=6, return_tensors="pt"
    )
    with torch.no_grad():
        expected = theirs(**tokens).last_hidden_state
        rows, mask = model.eval().logic_tokens(None, batch)
        ours = model.logic.hidden(rows, mask, None).rows
    torch.testing.assert_close(ours[mask], expected[mask], rtol=1e-2, atol=1e-2)  # rows are stored in half precision
    assert set(model.logic.taken) == set(bert_names(1, 1)) and not hasattr(model.logic, "position")
    with pytest.raises(ValueError, match="2 layers"):
        on_posts(bert, corpus, monkeypatch, logic_frozen=3)


def test_on_a_whole_frozen_encoder_new_layers_of_any_width_learn(bert: Path, corpus, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("RUMORLIB_CACHE", str(tmp_path / "cache"))
    changes = {"parts": "full", "alignment": "forward", "logic_frozen": 2, "logic_width": 4, "logic_depth": 1}
    model, tensors, _, _ = on_posts(bert, corpus, monkeypatch, **changes)
    batch = tensors.batch(torch.arange(4))
    model.training_loss(batch)["loss"].backward()
    assert model.pretrained == () and model.logic.token.weight.grad.any()
    alone = model.eval().prob_rumor(tensors.batch(torch.tensor([1])))
    torch.testing.assert_close(alone, model.prob_rumor(batch)[1:2])  # padding of longer posts plays no part
    with pytest.raises(ValueError, match="word pieces"):
        model(batch._replace(hidden=None))


def test_sizes_that_are_not_berts_are_refused(bert: Path, corpus: posts.Corpus, monkeypatch) -> None:
    with pytest.raises(ValueError, match="logic chain's"):
        on_posts(bert, corpus, monkeypatch, logic_width=16)
    with pytest.raises(ValueError, match="missing"):
        on_posts(bert, corpus, monkeypatch, logic_depth=3)


def test_from_stage_1_a_word_asks_for_the_patches_that_show_it() -> None:
    torch.manual_seed(0)
    config = replace(SMALL, logic_init="stage1", logic_width=32, parts="logic_only", logic_depth=1)
    joint = F.normalize(torch.randn(20, 32), dim=-1)
    joint[PAD] = 0
    chain = LogicChain(config, d_image=32, n_tokens=20)
    chain.start_from_joint(joint)
    shown = torch.arange(4, 12)
    patches = F.layer_norm(joint[shown], (32,))[None]  # (1, 8, 32): eight words, each shown by one patch
    ids = shown[torch.randperm(8)][None]
    _, _, weights = chain(ids, torch.ones_like(ids, dtype=torch.bool), patches, need_map=True)
    assert (weights[0].mean(0).argmax(-1) == (ids[0] - 4)).float().mean() >= 0.75  # (L, N), chance 1/8
    with pytest.raises(ValueError, match="do not fit"):
        chain.start_from_joint(torch.randn(20, 16))


def test_a_stage1_chain_has_its_own_words_and_the_other_chain_word2vec() -> None:
    config = replace(SMALL, logic_init="stage1", logic_width=32, parts="full", alignment="forward")
    model = DMFL(config, torch.randn(20, 5), d_image=32, n_tokens=20)
    ids = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])
    batch = Batch(ids, ids != 0, None, torch.randn(2, 9, 32), torch.tensor([0.0, 1.0]), torch.ones(2), torch.arange(2))
    model.training_loss(batch)["loss"].backward()
    assert model.logic.token.weight.shape == (20, 32) and model.word_vectors.weight.shape == (20, 5)
    assert model.logic.token.weight.grad[5].any() and model.word_vectors.weight.grad[5].any()
