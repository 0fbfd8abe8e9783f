"""Break conditions: a gap's interval, relevance that knows colour alone, and parts that add up to the weights."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from rumorlib.config import MICCConfig, SCLIPConfig, TextConfig, VisionConfig
from rumorlib.data.batches import Texts
from rumorlib.data.drawn_scenes import drawn, scenes
from rumorlib.data.drawn_scenes.claims import DrawnConfig
from rumorlib.encoders.sclip import SCLIP
from rumorlib.encoders.vision import patch_boxes
from rumorlib.models.micc import MICC
from rumorlib.results.provenance import RUNS
from rumorlib.studies.explanations import breaks, interventions, predictions

FIELDS = (16, 32)
SMALL = DrawnConfig(n_caption_scenes=10, n_train=20, n_dev=120, n_test=4, n_unseen=2, n_pairs=2, n_undetectable=4,
                    n_fingerprint=4)  # fmt: skip


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


class ColourBlindToShape:
    """A space of colours alone: a patch is how many of its pixels have each colour, and a little ground."""

    def __init__(self) -> None:
        self.image_tower = SimpleNamespace(sides=tuple(96 // field for field in FIELDS))
        self.n_patches = [side**2 for side in self.image_tower.sides]

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        hue = torch.nn.functional.normalize(torch.from_numpy(scenes._RGB).float(), dim=1)
        pixels = images.float().permute(0, 2, 3, 1)  # (n, H, H, 3)
        coloured = pixels.amax(3) - pixels.amin(3) > 70
        match = torch.nn.functional.normalize(pixels, dim=3) @ hue.T
        share = torch.nn.functional.one_hot(match.argmax(3), len(hue)).float() * coloured[..., None]
        grid = share.permute(0, 3, 1, 2)
        parts = [torch.nn.functional.avg_pool2d(grid, f).flatten(2).transpose(1, 2) for f in FIELDS]
        whole = torch.cat(parts, dim=1)
        return torch.nn.functional.normalize(torch.cat([whole, torch.full_like(whole[..., :1], 0.05)], -1), dim=-1)


def test_a_space_of_colours_alone_is_found_out() -> None:
    """Another colour takes all relevance away and a decoy gets the top patch; another shape goes unnoticed."""
    known, posts = drawn.scenes_of(SMALL), drawn.load("en", config=SMALL).posts
    part = posts[(posts["split"] == "dev") & (posts["label"] == 0)].reset_index(drop=True)
    posed = interventions.of_scenes(part, torch.arange(len(part)), [known[key] for key in part["image"]])
    role = interventions.roles(posed)
    colour = [next((o.colour for o, r in zip(scene.objects, row) if r == "evidence"), 0)
              for scene, row in zip(posed.scenes, role)]  # fmt: skip
    boxes = torch.cat(patch_boxes(VisionConfig(image_size_px=96, receptive_fields=FIELDS))).numpy()
    text = torch.nn.functional.one_hot(torch.tensor(colour), len(scenes.COLOURS) + 1).float()
    state = breaks.State("made", ColourBlindToShape(), (), text, torch.empty(0))
    one = SimpleNamespace(posed=posed, touches=interventions.touches(posed.boxes, boxes))
    found = {row["quantity"]: row for row in breaks._follows(state, one)}
    assert found["relevance that stays with another colour"]["value"] < 0.2
    assert found["relevance that stays with another shape"]["value"] > 0.9
    decoy = found["top patch goes to a decoy of the claimed colour"]
    assert decoy["value"] > 0.5 > 2 * decoy["reference"] and decoy["n"] > 10


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
        posed=SimpleNamespace(rows=torch.arange(6)), config=SimpleNamespace(detector=config),
    )  # fmt: skip
    relevance, weight, semantic, total = breaks.decomposition(one)
    np.testing.assert_allclose(total, 0.3 * semantic + 0.7 * relevance, rtol=1e-5)
    for row in range(6):
        kept = weight[row] > 0
        log = np.log(weight[row, kept])
        np.testing.assert_allclose(log - log.mean(), total[row, kept] - total[row, kept].mean(), atol=1e-5)
        assert kept.sum() == 4


# --- Verdicts on predictions: what the bar of each is.


def explanation(weights: str, rank: float, name: str = "relevance", half: float = 0.05) -> dict:
    row = {
        RUNS: (weights,),
        "model": "M",
        "weights": weights,
        "explanation": name,
        "field_px": 16,
        "pointing_chance": 0.1,
    }
    for score in ("rank", "pointing"):
        row |= {score: rank, f"{score}_low": rank - half, f"{score}_high": rank + half}
    return row


def test_an_explanation_that_needs_no_training_fails_the_sanity_check() -> None:
    table = pd.DataFrame([
        explanation("trained", 0.7), explanation("stage 1 only", 0.68), explanation("untrained", 0.0),
        explanation("none", 0.3, "contrast of the pixels"),
    ])  # fmt: skip
    found = pd.DataFrame(predictions._sanity(table, "patches")).set_index("prediction")["verdict"]
    assert found["depends on more than the untrained weights (patches)"] == "reproduced"
    assert found["depends on more than the stage 1 only weights (patches)"] == "inconclusive"
    pointing = pd.DataFrame(predictions._pointing(table))
    assert pointing["against"].tolist() == [0.3], "the better of chance and contrast"


def test_one_model_above_chance_breaks_the_undetectable_set() -> None:
    row = {
        "model": "M",
        "split": "undetectable",
        "accuracy": 0.52,
        "low": 0.46,
        "high": 0.54,
        "p_holm": 1.0,
        RUNS: ("a",),
    }
    table = pd.DataFrame([row | {"reading": "not above .5"}, row | {"reading": "not above .5", "model": "N"}])
    assert next(predictions._undetectable(table))["verdict"] == "reproduced"
    table.loc[1, "reading"] = "above .5"
    assert next(predictions._undetectable(table))["verdict"] == "not reproduced"


def test_keeping_the_mark_less_often_than_blindly_is_throwing_it_away() -> None:
    def line(model: str, kept: float, weight: float) -> dict:
        row = {RUNS: (model,), "model": model, "kept_chance": 0.4, "kept_without_mark": kept}
        for name, value in (("kept", kept), ("weight", weight), ("effect", weight)):
            row |= {name: value, f"{name}_low": value - 0.05, f"{name}_high": value + 0.05}
        return row

    table = pd.DataFrame([line("MICC (literal)", 0.2, 0.05), line("MICC-A/γ", 1.0, 0.2)])
    found = [row["verdict"] for row in predictions._fingerprint(table)]
    assert found == ["reproduced", "reproduced", "reproduced"]
    runs = [row[RUNS] for row in predictions._fingerprint(table)]
    assert runs == [("MICC (literal)",), *[("MICC-A/γ", "MICC (literal)")] * 2], "both sides of a comparison"
