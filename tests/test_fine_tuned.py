"""Last layers of pretrained encoders that learn: cut and joined they are the encoder, and nothing below them moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import MobileNetV2Config, MobileNetV2Model, ViTConfig, ViTModel

import rumorlib
from rumorlib import config as cfg
from rumorlib import experiments, inputs, results
from rumorlib.config import DMFLConfig, MICCConfig, SCLIPConfig, SettingError, TextConfig, VisionConfig
from rumorlib.data.batches import Texts
from rumorlib.encoders import fine_tuned, frozen, pretrained
from rumorlib.encoders.text import FrozenText
from rumorlib.results.saved.detector import Detector
from tests import rehearsal

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def vit() -> nn.Module:
    return ViTModel(ViTConfig(**SIZES, image_size=32, patch_size=16), add_pooling_layer=False).eval()


def lite() -> nn.Module:
    return timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()


@pytest.mark.parametrize(("make", "n", "side"), [(vit, 3, 32), (lite, 8, 64)])
def test_below_and_top_are_the_encoder(make: Any, n: int, side: int) -> None:
    model, pixels = make(), torch.randn(2, 3, side, side)
    whole = model(pixel_values=pixels).last_hidden_state if make is vit else model.forward_features(pixels)
    for trained in range(1, n + 1):
        below, top = fine_tuned.cut(model, trained)
        torch.testing.assert_close(top(below(pixels)), whole)
    assert not list(below.parameters()), "all of it is trained"
    for wrong in (0, n + 1):
        with pytest.raises(pretrained.WeightsError, match=f"{n} layers"):
            fine_tuned.cut(model, wrong)


def test_other_architectures_are_refused_by_name() -> None:
    with pytest.raises(pretrained.WeightsError, match="MobileNetV2Model is not cut"):
        fine_tuned.cut(MobileNetV2Model(MobileNetV2Config(depth_multiplier=0.35)), 1)


def test_batch_norm_keeps_the_published_statistics() -> None:
    top = fine_tuned.ImageTop(fine_tuned.cut(lite(), 2)[1], None, False).train()
    before = {name: value.clone() for name, value in top.named_buffers()}
    x = torch.randn(4, 112, 4, 4)
    torch.testing.assert_close(top(x), top.eval()(x))
    assert all(torch.equal(value, before[name]) for name, value in top.named_buffers()) and before


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of profile paper's formats, small; and a ViT of 96 px, the drawn scenes' size."""
    root = tmp_path_factory.mktemp("data") / "weights"
    rehearsal.weights(root, tiny=True)
    torch.manual_seed(1)
    rehearsal._images(root / "vit-96", ViTModel(ViTConfig(**SIZES, image_size=96, patch_size=16)), [0.5] * 3, [0.5] * 3)
    return root


def test_a_text_top_starts_as_the_encoder_and_alone_learns(folders: Path, tmp_path: Path) -> None:
    weights, texts = folders / "bert-base-uncased", ["police fire man", "storm", "city school today water news 1 2 3"]
    for pool in ("mean", "cls"):
        whole = frozen.text_features(texts, weights, tmp_path, precision="fp32", pool=pool)
        for trained in (1, 2):
            real, rows = frozen.text_rows(texts, weights, tmp_path, 2 - trained, 128)
            tower = FrozenText(32)
            tower.top = fine_tuned.text_top(weights, trained, pool)
            read = Texts(None, None, whole, pieces=real.long(), hidden=rows)
            torch.testing.assert_close(tower(read), whole.float(), atol=5e-3, rtol=5e-3)  # rows in half precision
            tower(read).square().sum().backward()
            assert len(tower.top.layers) == trained and all(p.grad is not None for p in tower.top.parameters())
    with pytest.raises(pretrained.WeightsError, match="2 layers"):
        fine_tuned.text_top(weights, 3, "mean")


def test_settings_that_cannot_hold_together_are_refused() -> None:
    for made, told in (
        (lambda: MICCConfig(freeze="sclip", text_layers=1), "freeze='tokens'"),
        (lambda: MICCConfig(freeze="tokens", image_layers=1), "freeze='nothing'"),
        (lambda: DMFLConfig(image_layers=1), "name it in `image`"),
        (lambda: DMFLConfig(image=VisionConfig(), image_components=4), "image_components=None"),
        (lambda: DMFLConfig(image=VisionConfig(), image_layers=1), "learns as a whole"),
        (lambda: SCLIPConfig(whiten_text=True), "frozen text towers"),
    ):
        with pytest.raises(SettingError, match=told):
            made()


# --- runs --------------------------------------------------------------------------------------------


MAP = VisionConfig(kind="feature_map", weights="vit-96", image_size_px=96, receptive_fields=(16, 32), width=32, depth=0)
SCRATCH = VisionConfig(image_size_px=96, receptive_fields=(16,), width=24, depth=1, n_heads=4)
SHORT = {"epochs": 1, "steps": 3, "batch_size": 16, "tower_lr_scale": 0.03}


def micc(settings: cfg.Settings) -> cfg.RunConfig:
    """MICC end to end on pretrained towers, drawn scenes."""
    run = experiments.micc(settings, "demo-en", variant="end-to-end", freeze="nothing", text_layers=1, image_layers=2)
    texts = (("en", TextConfig(kind="frozen", weights="bert-base-uncased")),)
    sclip = replace(run.stage1.sclip, texts=texts, vision=MAP)
    stage1 = replace(run.stage1, variant="pretrained", sclip=sclip, train=replace(run.stage1.train, epochs=1))
    return replace(run, stage1=stage1, train=replace(run.train, **SHORT))


def dmfl(settings: cfg.Settings, image: VisionConfig, **changes: Any) -> cfg.RunConfig:
    run = experiments.dmfl(settings, "demo-en", variant="vit", image=image, image_components=None, **changes)
    return replace(run, stage1=None, train=replace(run.train, **SHORT))


MAKE = {
    "micc": micc,
    "dmfl, last block": lambda s: dmfl(s, MAP, image_layers=1),
    "dmfl, whole, its [CLS]": lambda s: dmfl(s, MAP, image_layers=3, image_cls=True),
    "dmfl, ViT from scratch": lambda s: dmfl(s, SCRATCH),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKE)
def test_the_encoder_learns_with_its_detector_and_answers_when_saved(
    name: str, folders: Path, few_untrained: cfg.Settings, tmp_path: Path
) -> None:
    settings = replace(few_untrained, data_root=folders.parent)
    run = MAKE[name](settings)
    report = results.run_or_load(run, settings)
    if run.model == "micc":
        after = report.extra("retrieval")
        assert list(after["stage"]) == ["stage 1 only", "fine-tuned"] and after["t2i_recall_at_1"].notna().all()
    made = Detector.from_runs([run], settings)
    state = made.parts[0].model.state_dict()
    moved = [value for key, value in state.items() if ".top." in key or key.startswith("image_encoder.layers")]
    published = {tuple(t.flatten()[:5].tolist()) for name in ("vit-96", "bert-base-uncased")
                 for t in load_file(folders / name / "model.safetensors").values()}  # fmt: skip
    assert moved and not {tuple(t.flatten()[:5].tolist()) for t in moved} & published, "a tensor that never moved"
    test = inputs.corpus_of(run, settings)
    asked = test.posts[test.posts["split"] == "test"].head(12)
    shown = [test.images.pixels(key, 96) for key in asked["image"]]
    posts = pd.DataFrame({"text": [*asked["text"], "no picture"], "image": [*shown, None]})
    first = made.predict(posts)
    again = rumorlib.Detector.from_pretrained(made.save_pretrained(tmp_path / "saved"), data=folders.parent)
    pd.testing.assert_frame_equal(again.predict(posts), first, check_exact=True)
    said = np.log(first["probability"] / (1 - first["probability"]))[:-1]
    stored = report.predictions().query("split == 'test'")["log_odds"].head(12)
    np.testing.assert_allclose(said, stored, atol=5e-3, err_msg="as its run said")


REFUSED = {
    "a text tower from scratch": lambda s: replace(experiments.micc(s, "demo-en"), detector=MICCConfig(text_layers=1)),
    "a tower that learns anyway": lambda s: experiments.micc(s, "demo-en", freeze="nothing", image_layers=1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_layers_that_are_not_there_are_refused(name: str, few_untrained: cfg.Settings) -> None:
    with pytest.raises(ValueError, match=r"of a frozen text tower|of a feature_map's encoder"):
        results.run_or_load(REFUSED[name](few_untrained), few_untrained)
