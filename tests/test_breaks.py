"""Break conditions: CKA's invariances, a gap's interval, and the decomposition that adds up to the weights."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rumorlib.config import MICCConfig, SCLIPConfig, TextConfig, VisionConfig
from rumorlib.data.batches import Texts
from rumorlib.encoders.sclip import SCLIP
from rumorlib.models.micc import MICC
from rumorlib.studies.sight import breaks


def test_the_interval_of_a_gap_holds_the_gap() -> None:
    random = np.random.default_rng(0)
    text, image = random.normal(size=(300, 6)) * 0.1, random.normal(size=(300, 6)) * 0.1 + 0.5
    low, high = breaks._gap_interval(text, image)
    assert low < np.linalg.norm(text.mean(0) - image.mean(0)) < high < low + 0.2


def test_a_ratio_of_means_has_an_interval_around_it() -> None:
    random = np.random.default_rng(0)
    before = random.random(200) + 1
    found = breaks._ratio(before * 0.4 + random.normal(size=200) * 0.05, before)
    assert found["value"] == pytest.approx(0.4, abs=0.02) and found["low"] < found["value"] < found["high"]


def test_the_parts_of_a_weight_add_up_to_its_logarithm() -> None:
    torch.manual_seed(0)
    text = TextConfig(max_length=8, width=16, depth=1, n_heads=2)
    vision = VisionConfig(image_size_px=32, receptive_fields=(8, 16), width=16, depth=1, n_heads=2)
    sclip = SCLIP(SCLIPConfig((("en", text),), vision, d_joint=16, dropout=0.0), {"en": 20})
    config = MICCConfig(width=8, dropout=0.0, fusion_weight=0.3)
    model = MICC(config, sclip, "en").eval()
    ids = torch.randint(4, 20, (6, 5))
    tokens = torch.randn(6, 20, 16)
    one = SimpleNamespace(
        model=model, texts=Texts(ids, ids > 0), tokens=SimpleNamespace(images=tokens),
        bench=SimpleNamespace(rows=torch.arange(6)), config=SimpleNamespace(detector=config),
    )  # fmt: skip
    relevance, weight, semantic, total = breaks.decomposition(one)
    np.testing.assert_allclose(total, 0.3 * semantic + 0.7 * relevance, rtol=1e-5)
    for row in range(6):
        kept = weight[row] > 0
        log = np.log(weight[row, kept])
        np.testing.assert_allclose(log - log.mean(), total[row, kept] - total[row, kept].mean(), atol=1e-5)
        assert kept.sum() == 4
