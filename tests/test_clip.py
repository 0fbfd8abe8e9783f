"""SCLIP started from CLIP: the same tokens as CLIP's at its own kernel, and enlarged patches that look the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rumorlib import inputs
from rumorlib.config import MICCConfig, RunConfig, SCLIPConfig, Settings, TextConfig, VisionConfig
from rumorlib.data.batches import CaptionBatch, Texts
from rumorlib.encoders import clip, frozen, pretrained
from rumorlib.encoders.sclip import SCLIP
from rumorlib.encoders.vision import ImageTower, unfold
from rumorlib.models.micc import MICC

WIDTH, KERNEL, SIDE = 16, 8, 48
TOWER = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TEXT = TOWER | {"hidden_size": 12, "vocab_size": 30}
VISION = VisionConfig(weights="x", image_size_px=SIDE, receptive_fields=(KERNEL,), width=WIDTH, n_heads=2)


@pytest.fixture(scope="module", params=["clip", "chinese-clip"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random CLIP or Chinese-CLIP of kernel 8 and images of 48 pixels, as their folders lie on disk."""
    from transformers import ChineseCLIPConfig, ChineseCLIPModel, CLIPConfig, CLIPModel

    made = tmp_path_factory.mktemp("weights") / request.param
    kinds = {"clip": (CLIPConfig, CLIPModel), "chinese-clip": (ChineseCLIPConfig, ChineseCLIPModel)}
    config, model = kinds[request.param]
    torch.manual_seed(0)
    images = TOWER | {"image_size": SIDE, "patch_size": KERNEL}
    network = model(config(text_config=TEXT, vision_config=images, projection_dim=8))
    torch.nn.init.normal_(network.vision_model.embeddings.position_embedding.weight)  # its own are nearly 0
    network.save_pretrained(made)
    scaling = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    scaling |= {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
    (made / "preprocessor_config.json").write_text(json.dumps(scaling))
    return made


def tower(folder: Path, **changes) -> ImageTower:
    torch.manual_seed(1)
    made = ImageTower(dataclasses.replace(VISION, **changes), None, dropout=0.0).eval()
    clip.start_from(made, folder)
    return made


def pixels(size: int = SIDE, n: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def scaled(shown: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.48, 0.46, 0.41], [0.27, 0.26, 0.28]))
    return (shown.float() / 255 - mean) / std


@pytest.mark.parametrize("size", [SIDE, 96])
@torch.no_grad()
def test_tokens_are_clips_own(folder: Path, size: int) -> None:
    """Also at another image size, where positions are interpolated."""
    from transformers import AutoModel

    own = AutoModel.from_pretrained(folder).eval().vision_model
    expected = own(pixel_values=scaled(pixels(size)), interpolate_pos_encoding=True).last_hidden_state[:, 1:]
    found = tower(folder, image_size_px=size)(pixels(size))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("field", [48, 64])
def test_an_enlarged_patch_has_the_same_embedding(field: int) -> None:
    """<resize(w), upsample(x)> = <w, x> for CLIP ViT-B/32's kernel and the paper's larger fields."""
    torch.manual_seed(0)
    weight, patch = torch.randn(5, 3, 32, 32, dtype=torch.double), torch.randn(4, 3, 32, 32, dtype=torch.double)
    larger = F.interpolate(patch, size=(field, field), mode="bilinear", align_corners=False)
    found = torch.einsum("dcij,bcij->bd", clip.resize_kernel(weight, field), larger)
    torch.testing.assert_close(found, torch.einsum("dcij,bcij->bd", weight, patch), atol=1e-7, rtol=1e-7)
    plain = F.interpolate(weight, size=(field, field), mode="bilinear", align_corners=False)
    assert not torch.allclose(
        torch.einsum("dcij,bcij->bd", plain, larger), found, rtol=0.1
    )  # enlarging w does not do it


def test_the_folders_own_kernel_stays_and_a_smaller_one_fits_best() -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 3, 32, 32, dtype=torch.double)
    torch.testing.assert_close(clip.resize_kernel(weight, 32), weight)
    smaller = clip.resize_kernel(weight, 24)
    down = F.interpolate(torch.eye(32, dtype=torch.double)[:, None], size=24, mode="linear")[:, 0].T  # (24, 32)

    def error(w: torch.Tensor) -> float:
        return float((down.T @ w @ down - weight).square().sum())

    nudge = torch.randn_like(smaller)
    assert all(error(smaller) < error(smaller + step * nudge) for step in (1e-2, -1e-2))


@torch.no_grad()
def test_an_enlarged_picture_looks_the_same_to_a_larger_field(folder: Path) -> None:
    """Kernel 16 on a picture whose patches are twice as large = kernel 8 on the picture."""
    small, large = tower(folder), tower(folder, image_size_px=2 * SIDE, receptive_fields=(2 * KERNEL,))
    shown, side = pixels().float(), SIDE // KERNEL
    patches = unfold(shown, side).view(-1, 3, KERNEL, KERNEL)
    doubled = F.interpolate(patches, scale_factor=2, mode="bilinear", align_corners=False)
    rows = doubled.view(len(shown), side, side, 3, 2 * KERNEL, 2 * KERNEL).permute(0, 3, 1, 4, 2, 5)
    doubled = rows.reshape(len(shown), 3, 2 * SIDE, 2 * SIDE)
    torch.testing.assert_close(large(doubled), small(shown), atol=1e-3, rtol=1e-3)


def test_a_frozen_tower_stays_as_it_was_and_stage_2_may_train_it(folder: Path) -> None:
    text = TextConfig(max_length=8, width=16, depth=1, n_heads=2)
    two = dataclasses.replace(VISION, receptive_fields=(KERNEL, 2 * KERNEL))
    sclip = SCLIP(SCLIPConfig((("en", text),), two, d_joint=16, dropout=0.0), {"en": 20})
    clip.start_from(sclip.image_tower, folder)
    assert not any(p.requires_grad for p in sclip.image_tower.parameters())
    before = {name: p.clone() for name, p in sclip.named_parameters()}
    ids = torch.randint(4, 20, (3, 6))
    shown = CaptionBatch(pixels(), {"en": Texts(ids, ids > 0)}, torch.arange(3))
    optimizer = torch.optim.AdamW([p for p in sclip.parameters() if p.requires_grad], lr=0.1)
    sclip.training_loss(shown)["loss"].backward()
    optimizer.step()
    moved = {name.split(".")[0] for name, p in sclip.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"text_towers", "text_heads", "image_head", "logit_scale"}
    for freeze, trains in (("tokens", False), ("nothing", True)):
        model = MICC(MICCConfig(width=8, freeze=freeze), sclip, "en")
        assert all(p.requires_grad == trains for p in model.sclip.image_tower.parameters())
    thawed = dataclasses.replace(two, freeze_towers=False)
    assert all(p.requires_grad for p in tower(folder, **vars(thawed)).parameters())


def test_a_run_names_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A config with weights is enough; texts from the same folder are as wide as its text tower."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "x").symlink_to(folder)
    texts = (("en", TextConfig(kind="frozen", weights="x")),)
    run = RunConfig("sclip", "flickr8k", profile="laptop", sclip=SCLIPConfig(texts, VISION, d_joint=24))
    model = inputs.new_sclip(run, Settings("laptop", ("photo-en",), (0,), data_root=tmp_path)).eval()
    assert model.text_heads["en"][0].in_features == TEXT["hidden_size"] == pretrained.width_of(folder, "text")
    with torch.no_grad():
        torch.testing.assert_close(model.image_tower(pixels()), tower(folder)(pixels()))


def test_other_widths_and_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="16 wide"):
        tower(folder, width=32)
    with pytest.raises(FileNotFoundError, match="preprocessor_config"):
        tower(tmp_path)


def test_the_frozen_map_of_a_clip_folder_is_its_last_hidden_state(folder: Path, tmp_path: Path) -> None:
    """The other way in, kind="feature_map": profile paper's default."""
    from transformers import AutoModel

    class Drawn:
        def pixels(self, key: str, size_px: int) -> np.ndarray:
            return pixels(size_px, 1)[0].permute(1, 2, 0).numpy()

        def content_hash(self, key: str) -> str:
            return key

    found = frozen.image_maps(Drawn(), ["a"], folder, SIDE, tmp_path, progress=False)
    with torch.no_grad():
        own = AutoModel.from_pretrained(folder).eval().vision_model(pixel_values=scaled(pixels(SIDE, 1)))
    side = SIDE // KERNEL
    expected = own.last_hidden_state[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    torch.testing.assert_close(found.float(), expected, atol=5e-3, rtol=5e-3)
