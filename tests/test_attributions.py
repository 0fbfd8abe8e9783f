"""Explanations on a small MICC have the properties their authors prove: completeness, additivity, 0 where unread."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rumorlib.config import MICCConfig, SCLIPConfig, TextConfig, VisionConfig
from rumorlib.data.batches import Texts
from rumorlib.encoders.sclip import SCLIP
from rumorlib.models.micc import MICC
from rumorlib.studies.explanations import attributions

N_PATCHES = [16, 4]  # 32 px, receptive fields 8 and 16
n = 5


def new_micc(**changes) -> MICC:
    torch.manual_seed(0)
    text = TextConfig(max_length=8, width=16, depth=1, n_heads=2)
    vision = VisionConfig(image_size_px=32, receptive_fields=(8, 16), width=16, depth=1, n_heads=2)
    sclip = SCLIP(SCLIPConfig((("en", text),), vision, d_joint=16, dropout=0.0), {"en": 20})
    return MICC(MICCConfig(width=8, dropout=0.0, **changes), sclip, "en").eval()


@pytest.fixture
def posts() -> tuple[Texts, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(2)
    ids = torch.randint(4, 20, (n, 6), generator=g)
    ids[:, 0], ids[0, 4:] = 2, 0  # [CLS], padding
    pixels = torch.randint(0, 256, (n, 3, 32, 32), generator=g, dtype=torch.uint8)
    return Texts(ids, ids != 0), pixels, torch.arange(n)


def test_integrated_gradients_add_up_to_the_change_of_the_logit(posts) -> None:
    """Completeness; with every patch kept the logit is smooth, so that few steps suffice."""
    from captum.attr import IntegratedGradients

    texts, pixels, rows = posts
    model = attributions.FromPixels(new_micc(alignment="all_patches"))
    given = pixels.float().requires_grad_()
    grey = torch.full_like(given, attributions.GREY)
    extra = (texts.ids, texts.mask, rows)
    found = IntegratedGradients(model).attribute(given, grey, additional_forward_args=extra, n_steps=20)
    with torch.no_grad():
        change = model(given, *extra) - model(grey, *extra)
    found = found.float()
    torch.testing.assert_close(found.flatten(1).sum(1), change, rtol=0.02, atol=1e-3)
    per_scale = attributions.per_patch(found, (4, 2)).split(N_PATCHES, dim=1)
    for part in per_scale:  # every pixel belongs to one patch of each scale
        torch.testing.assert_close(part.sum(1), found.flatten(1).sum(1))


def test_every_explanation_has_a_number_per_patch_and_the_models_own_are_its_own(posts) -> None:
    texts, pixels, rows = posts
    model = new_micc(top_k=2)
    with torch.no_grad():
        tokens = model.sclip.image_tower(pixels)
        output = attributions.read(model, texts, tokens, rows)
    found = attributions.patch_scores(model, texts, pixels, tokens, rows)
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(found, (n, 20))
    assert all(np.isfinite(values).all() for values in found.values())
    np.testing.assert_allclose(found["relevance"], output.relevance.numpy())
    np.testing.assert_allclose(found["fusion weight"].sum(1), 1, rtol=1e-5)
    kept = np.zeros((n, 20), bool)
    np.put_along_axis(kept, output.indices.numpy(), True, axis=1)
    assert (found["fusion weight"][~kept] == 0).all()
    assert (found["gradient x token"][~kept] == 0).all() and (found["gradient x token"][kept] > 0).any()


def test_the_explained_logit_is_the_models(posts) -> None:
    texts, pixels, rows = posts
    model = new_micc()
    with torch.no_grad():
        tokens = model.sclip.image_tower(pixels)
        expected = attributions.read(model, texts, tokens, rows).logit
        for given, wrapped in ((pixels, attributions.FromPixels(model)), (tokens, attributions.FromTokens(model))):
            torch.testing.assert_close(wrapped(given, texts.ids, texts.mask, rows), expected)


def test_runs_without_frozen_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="freeze their tokens"):
        attributions.FromPixels(new_micc(freeze="nothing"))


def test_contrast_is_the_standard_deviation_of_a_patch(posts) -> None:
    _, pixels, _ = posts
    found = attributions.contrast(pixels, (4, 2))
    np.testing.assert_allclose(found[0, 5], pixels[0, :, 8:16, 8:16].float().std(correction=0), rtol=1e-3)
    flat = torch.full((1, 3, 32, 32), 77, dtype=torch.uint8)
    np.testing.assert_allclose(attributions.contrast(flat, (4, 2)), 0, atol=0.05)


def test_word_scores_ignore_padding_and_left_out_is_the_exact_change(posts) -> None:
    texts, pixels, rows = posts
    model = new_micc(classifier_input="product")
    with torch.no_grad():
        tokens = model.sclip.image_tower(pixels)
    found = attributions.word_scores(model, texts, tokens, rows)
    assert set(found) == {"integrated gradients", "gradient x input", "left out"}
    for values in found.values():
        assert values.shape == (n, 6) and (values[0, 4:] == 0).all() and (values[1:] > 0).any()
    ids = texts.ids.clone()
    ids[:, 3] = 1
    with torch.no_grad():
        change = [attributions.read(model, Texts(i, texts.mask), tokens, rows).logit for i in (texts.ids, ids)]
    np.testing.assert_allclose(found["left out"][:, 3], (change[0] - change[1]).abs().numpy(), atol=1e-5)
