"""DMFL's attention as an explanation: one unit per post over the patches, whatever the padding holds."""

from __future__ import annotations

import numpy as np
import torch

from rumorlib import config, dmfl_explanations


def test_attention_is_a_distribution_over_patches_that_padding_does_not_touch() -> None:
    g = torch.Generator().manual_seed(0)
    weights = torch.rand(3, 2, 5, 36, generator=g).softmax(-1)  # posts, heads, words, patches
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]], dtype=torch.bool)
    found = dmfl_explanations.attention(weights, mask)
    assert found.shape == (3, 36)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    other = weights.clone()
    other[1, :, 3:], other[2, :, 2:] = 9.0, -4.0
    np.testing.assert_allclose(dmfl_explanations.attention(other, mask), found)
    np.testing.assert_allclose(found[2], weights[2, :, :2].mean((0, 1)).numpy(), rtol=1e-5)


def test_one_model_of_the_first_corpus_is_explained_and_none_where_scenes_are_not_drawn() -> None:
    assert [c.dataset for c in dmfl_explanations.models(config.resolve("demo", grid="full"))] == ["demo-en"]
    assert dmfl_explanations.models(config.resolve("laptop", train="none")) == []
