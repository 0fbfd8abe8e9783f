"""Inputs of a run: each distinct picture goes through a trained tower once, whatever asks for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import instead
from safetensors.torch import save_file

from rumorlib import config, experiments, inputs
from rumorlib.config import ControlConfig, DMFLConfig, MICCConfig, RunConfig, VisionConfig, Word2VecConfig
from rumorlib.data import posts
from rumorlib.data.batches import Aligned, Batch, Texts
from rumorlib.data.images import ArrayImages
from rumorlib.encoders.sclip import SCLIP
from rumorlib.encoders.vocabulary import Vocabulary
from rumorlib.inputs import dmfl_inputs, encoded, micc_inputs
from rumorlib.inputs import sclip as stage1_sclip
from rumorlib.models.micc import MICC
from rumorlib.training import dmfl_runs

SETTINGS = config.resolve("demo")
STAGE1 = experiments.sclip(SETTINGS, "en")
KEYS = ["a", "b", "", "a"]  # the third post has no picture, the fourth shows the first one's


@pytest.fixture
def tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[SCLIP, Path, posts.Corpus]:
    """An untrained SCLIP, its checkpoint, and a corpus of four posts in the place of the drawn one."""
    monkeypatch.setenv("RUMORLIB_CACHE", str(tmp_path / "cache"))
    size = STAGE1.sclip.vision.image_size_px
    pictures = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    table = pd.DataFrame({"post_id": list("1234"), "text": "a", "label": [0, 1, 0, 1], "image": KEYS})
    corpus = posts.Corpus("demo-en", posts.check(table, "test"), ArrayImages(["a", "b"], pictures), "")
    model = SCLIP(STAGE1.sclip, {"en": 9, "zh": 9}).eval()
    instead(monkeypatch, inputs.new_sclip, lambda *_: SCLIP(STAGE1.sclip, {"en": 9, "zh": 9}))
    checkpoint = tmp_path / "checkpoint.safetensors"
    save_file(model.state_dict(), checkpoint)
    inputs.patch_tokens.cache_clear()
    inputs.images_of.cache_clear()
    yield model, checkpoint, corpus
    inputs.patch_tokens.cache_clear()
    inputs.images_of.cache_clear()


def test_patch_tokens_are_the_towers_one_row_per_distinct_picture(tower: tuple[SCLIP, Path, posts.Corpus]) -> None:
    model, checkpoint, corpus = tower
    tokens, rows = inputs.patch_tokens(corpus, STAGE1, checkpoint, SETTINGS)
    images, image_rows = inputs.images_of(corpus, STAGE1.sclip.vision, SETTINGS)
    assert torch.equal(rows, image_rows) and rows.tolist() == [0, 1, 2, 0]
    with torch.inference_mode():
        expected = model.image_tower(images).half()
    assert tokens.shape == (3, sum(model.n_patches), STAGE1.sclip.vision.width)
    assert torch.allclose(tokens.float(), expected.float(), atol=2e-3)
    tokens[0].clone().float().requires_grad_().sum().backward()  # out of inference mode: training may use them


def test_stored_tokens_are_read_not_computed_and_other_weights_have_their_own(
    tower: tuple[SCLIP, Path, posts.Corpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, checkpoint, corpus = tower
    first, _ = inputs.patch_tokens(corpus, STAGE1, checkpoint, SETTINGS)
    calls: list[int] = []
    real = stage1_sclip._tokens
    monkeypatch.setattr(stage1_sclip, "_tokens", lambda tower, images: calls.append(len(images)) or real(tower, images))
    inputs.patch_tokens.cache_clear()
    again, _ = inputs.patch_tokens(corpus, STAGE1, checkpoint, SETTINGS)
    assert torch.equal(first, again) and calls == [1]  # the blank row only
    other = checkpoint.with_name("other.safetensors")
    save_file({name: value + 0.01 for name, value in model.state_dict().items()}, other)
    changed, _ = inputs.patch_tokens(corpus, STAGE1, other, SETTINGS)
    assert calls == [1, 2, 1] and not torch.equal(first, changed)


def test_joint_vectors_are_what_sclip_makes_of_each_post(
    tower: tuple[SCLIP, Path, posts.Corpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, checkpoint, corpus = tower
    words = Vocabulary.build(["a"], "word")
    instead(monkeypatch, inputs.vocabulary, lambda *_: words)
    patches, rows = inputs.joint_patches(corpus, STAGE1, checkpoint, SETTINGS)
    images, _ = inputs.images_of(corpus, STAGE1.sclip.vision, SETTINGS)
    text = inputs.joint_texts(corpus, STAGE1, checkpoint, "en", SETTINGS)
    ids, mask = words.encode(["a"], 32, cls=True)
    with torch.no_grad():
        expected = model.encode_image(images)  # the blank row too
        assert torch.allclose(patches.float(), expected, atol=3e-3) and rows.tolist() == [0, 1, 2, 0]
        one = model.encode_text(Texts(ids, mask), "en")
    assert torch.allclose(text, one.expand(4, -1), atol=1e-5)
    assert not text.is_inference() and not patches.is_inference()


@pytest.mark.parametrize("changes", [{}, {"controls": ControlConfig("random")}, {"alignment": "global"}])
def test_alignment_of_a_corpus_is_the_alignment_of_its_posts(
    tower: tuple[SCLIP, Path, posts.Corpus], monkeypatch: pytest.MonkeyPatch, changes: dict
) -> None:
    """The same logits whether posts bring all their patches or only those kept; too many to hold come whole."""
    sclip, checkpoint, corpus = tower
    instead(monkeypatch, inputs.vocabulary, lambda *_: Vocabulary.build(["a"], "word"))
    how = MICCConfig(freeze="sclip", width=8, classifier_input="relevance", **changes)
    given = corpus, STAGE1, checkpoint
    patches, image_row = inputs.joint_patches(*given, SETTINGS)
    text = inputs.joint_texts(*given, "en", SETTINGS)
    aligned, rows = micc_inputs.aligned(*given, "en", SETTINGS, how)
    assert isinstance(aligned, Aligned) and rows.tolist() == [0, 1, 2, 3] and len(aligned.patches) == 4
    model, none = MICC(how, sclip, "en").eval(), torch.zeros(4)
    with torch.no_grad():
        expected = model(Batch(None, None, text, patches[image_row], none, none, rows))
        found = model(Batch(None, None, text, aligned, none, none, rows))
    torch.testing.assert_close(found.logit, expected.logit, atol=1e-5, rtol=0)
    monkeypatch.setattr(micc_inputs, "LARGEST_BYTES", 10)
    assert torch.equal(micc_inputs.aligned(*given, "en", SETTINGS, how)[0], patches)


@pytest.fixture
def vit(tmp_path: Path) -> config.Settings:
    """Settings whose data folder holds weights/tiny-vit: 4 patches of 16 px, width 16."""
    from transformers import ViTConfig, ViTModel

    folder = tmp_path / "weights" / "tiny-vit"
    folder.mkdir(parents=True)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    ViTModel(ViTConfig(**sizes, image_size=32, patch_size=16)).save_pretrained(folder)
    scaling = {"do_rescale": True, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(scaling))
    return replace(SETTINGS, profile="paper", data_root=tmp_path)


def test_dmfl_reads_a_vits_cls_row_and_gives_its_patches_places(
    tower: tuple[SCLIP, Path, posts.Corpus], vit: config.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, corpus = tower
    instead(monkeypatch, inputs.corpus_of, lambda *_: corpus)
    image = VisionConfig(kind="feature_map", weights="tiny-vit", image_size_px=32)
    words = Word2VecConfig(d_word=5, epochs=1, max_length=4)
    sizes = {"d_model": 12, "n_heads": 2, "d_head": 4, "logic_width": 8, "logic_depth": 1, "logic_heads": 2}
    detector = DMFLConfig(words, image=image, image_cls=True, image_positions=True, **sizes)
    run = RunConfig("dmfl", "pheme", profile="paper", detector=detector)
    corpus.posts[["split", "text"]] = "train", "a b"
    model, tensors, *_ = dmfl_runs.on_posts(run, vit, None)
    batch = tensors.batch(torch.arange(4))
    assert batch.images.shape == (4, 1 + 4, 16) and not batch.images[2].any() and model.image_positions.shape == (4, 16)
    patches, cls_row = model.eval().read_images(batch.images)
    torch.testing.assert_close(cls_row, model.image_norm(batch.images[:, :1].float()))
    torch.testing.assert_close(patches, model.image_norm(batch.images[:, 1:].float()))  # positions start at zero
    assert model.prob_rumor(batch).isfinite().all()
    reduced = replace(run, detector=replace(detector, image_components=4))
    with pytest.raises(ValueError, match="image_cls needs a ViT"):
        dmfl_inputs.image_rows(inputs.Source(reduced, corpus, vit))


def test_captions_are_known_by_their_words_in_each_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """Case, spaces, hyphens and punctuation make no other words; a caption without words equals none."""
    said = {"en": ["A dog rock-climbing .", "?", "a  dog rock climbing", "!", "A dog climbs", "two dogs"],
            "zh": ["狗在跑。", "猫", "狗在跑", "猫", "狗 在跑", "鸟"]}  # fmt: skip

    def captions(name: str, language: str, *_) -> posts.CaptionCorpus:
        table = pd.DataFrame({"image": list("aabbcc"), "caption_id": [0, 1] * 3, "text": said[language],
                              "split": "train", "language": language})  # fmt: skip
        return posts.CaptionCorpus(name, table, None)

    instead(monkeypatch, inputs.captions, captions)
    instead(monkeypatch, inputs.encode_texts, lambda texts, *_: Texts(None, None, torch.zeros(len(texts), 2)))
    instead(monkeypatch, inputs.encode_images, lambda _, names, *__, **___: torch.zeros(len(names), 3, 4, 4))
    tensors, _ = inputs.caption_tensors(STAGE1, SETTINGS)
    rows = torch.arange(6), torch.arange(3)
    english, chinese = (tensors.belongs(language, *rows).int().tolist() for language in ("en", "zh"))
    assert english == [[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]
    assert chinese == [[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 1, 0], [1, 1, 1], [0, 0, 1]]


def test_an_encoder_is_read_where_it_is_found_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, more = tmp_path / "data", tmp_path / "more"
    monkeypatch.setenv("RUMORLIB_WEIGHTS", str(more))
    settings = replace(config.resolve("laptop", train="none"), data_root=data)
    with pytest.raises(FileNotFoundError, match=r"data/weights/e5 does not exist.*RUMORLIB_WEIGHTS"):
        inputs.weights_folder("e5", settings)
    (more / "e5").mkdir(parents=True)
    assert inputs.weights_folder("e5", settings) == more / "e5"
    (data / "weights" / "e5").mkdir(parents=True)
    assert inputs.weights_folder("e5", settings) == data / "weights" / "e5"


def test_a_frozen_tower_reads_texts_with_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, encoded.weights_folder, lambda name, settings: Path(name))
    instead(monkeypatch, encoded.frozen.text_features, lambda texts, *_, **__: texts)
    laptop = config.resolve("laptop", ["mfan-pheme", "mfan-weibo"], train="none")
    found = [encoded.encode_texts(["a"], experiments.stage1_of(laptop, name), language, laptop).features
             for name, language in (("mfan-pheme", "en"), ("mfan-weibo", "zh"))]  # fmt: skip
    assert found == [["a"], ["query: a"]]


def test_only_mfans_corpora_have_towers_and_lengths_of_their_own() -> None:
    laptop = config.resolve("laptop", ["mfan-pheme", "photo-en", "twitter"], train="none")
    own, *others = (experiments.micc(laptop, name) for name in laptop.datasets)
    assert own.stage1.sclip.vision.weights == "tf_efficientnet_lite2" and own.train.steps and own.train.steps_per_pass
    assert {one.stage1.name for one in others} == {"sclip/flickr8k/default-en/seed0"} != {own.stage1.name}
    assert [one.train.steps for one in others] == [None, None]


def test_an_encoder_is_looked_for_where_no_data_folder_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUMORLIB_WEIGHTS", raising=False)
    assert config.weights_place("e5", None) == Path("weights/e5")
    monkeypatch.setenv("RUMORLIB_WEIGHTS", str(tmp_path))
    assert config.weights_place("e5", None) == tmp_path / "e5"
