"""How DMFL's cost grows: the formulas are the counted numbers, and their exponents what theory says."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch

from rumorlib import config, experiments
from rumorlib import config as cfg
from rumorlib.figures import curves, diagrams
from rumorlib.models import dmfl
from rumorlib.models.attention import MultiHeadAttention
from rumorlib.models.dmfl import DMFL
from rumorlib.studies.cost import architecture, complexity
from rumorlib.studies.cost.costs import macs, one_post
from rumorlib.training import computation

SMALL = complexity.Sizes(lengths=(4, 8, 16), sides=(2, 3, 4), heads=(1, 2, 4), widths=(24, 48, 96))


@pytest.fixture(scope="module")
def run() -> cfg.RunConfig:
    return experiments.dmfl(cfg.resolve(train="none"), "demo-en")


@pytest.mark.parametrize("profile", cfg.PROFILES)
def test_the_formula_is_the_count_at_the_sizes_of_every_profile(profile: str) -> None:
    given = cfg.resolve(profile, train="none")
    run = experiments.dmfl(given, given.datasets[0])
    d_image = complexity.image_width(run)
    for n_words, n_patches in ((7, 4), (13, 9)):
        assert complexity.counted(run.detector, d_image, n_words, n_patches) == complexity.formulas(
            run.detector, d_image, n_words, n_patches
        )


def test_the_formula_follows_the_switches_it_knows(run: cfg.RunConfig) -> None:
    for changes in ({"attention_ffn": False}, {"n_heads": 3}, {"d_head": 5}, {"logic_depth": 3}):
        config = replace(run.detector, **changes)
        assert complexity.counted(config, 10, 6, 4) == complexity.formulas(config, 10, 6, 4), changes


def test_every_count_of_the_table_was_the_formulas_and_the_parts_are_the_whole(run: cfg.RunConfig) -> None:
    frame = complexity.table(run, SMALL).set_index("part")
    assert frame["equal"].all()
    parts = frame.drop(index="whole model")
    for column in ("macs_smallest", "macs_largest"):
        assert parts[column].sum() == frame.loc["whole model", column]
    assert parts["n_parameters"].sum() < frame.loc["whole model", "n_parameters"]  # norms and weights of the sum
    model = DMFL(run.detector, torch.zeros(8, run.detector.word2vec.d_word), 10)
    assert model.word_vectors.weight.numel() == 8 * run.detector.word2vec.d_word


def test_exponents_are_those_of_the_theory(run: cfg.RunConfig) -> None:
    frame = complexity.table(run, SMALL).set_index("part")
    cnn, words = frame.loc["text CNN, Eq 4"], frame.loc["self-attention of words, Eq 11"]
    assert (cnn["exponent_L"], cnn["L_low"], cnn["L_high"]) == pytest.approx((1, 1, 1), abs=1e-3)
    assert (cnn["exponent_N"], cnn["exponent_heads"]) == pytest.approx((0, 0), abs=1e-6)
    assert 1 < words["exponent_L"] < 2 and words["L_far"] == pytest.approx(2, abs=0.01)  # quadratic only far out
    assert 0 < words["exponent_heads"] < 1 and words["heads_far"] == pytest.approx(1, abs=0.01)
    assert frame.loc["cross-attention, Eq 12", "N_far"] == pytest.approx(1, abs=0.01)  # bilinear: linear in each
    assert frame.loc["alignment of words, Eq 15", "exponent_width"] == pytest.approx(2, abs=0.01)
    assert frame.loc["whole model", "L_far"] == pytest.approx(2, abs=0.01)


def test_attention_alone_tends_to_a_square() -> None:
    """Projections are linear in the length; the products take over once it outgrows the width."""
    torch.manual_seed(0)
    attention = MultiHeadAttention(8, 8, 8, n_heads=2, d_head=4)

    def count(n: int) -> int:
        class Self(torch.nn.Module):
            def forward(self, rows: torch.Tensor) -> torch.Tensor:
                return attention(rows, rows).rows

        return macs(Self(), torch.zeros(1, n, 8))

    sizes = (4, 64, 1024)
    steps = [np.log(count(2 * n) / count(n)) / np.log(2) for n in sizes]
    assert steps[0] < steps[1] < steps[2] < 2 and steps[2] == pytest.approx(2, abs=0.02)


def test_the_fit_finds_a_power_and_says_when_there_is_none() -> None:
    assert complexity.fit([2, 4, 8, 16], [12, 48, 192, 768]) == pytest.approx((2, 2, 2), abs=1e-3)
    exponent, low, high = complexity.fit([2, 4, 8, 16], [100 + n * n for n in (2, 4, 8, 16)])
    assert low < exponent < high and high - low > 0.3


def test_memory_for_training_grows_with_the_maps(run: cfg.RunConfig) -> None:
    torch.manual_seed(0)
    model = DMFL(run.detector, torch.randn(8, run.detector.word2vec.d_word), 10).eval()
    kept = [complexity.kept_bytes(model, one_post(torch.randn(1, n, 10), 8)) for n in (4, 8, 16)]
    assert kept[0] < kept[1] < kept[2]
    per_patch = (kept[1] - kept[0]) / 4
    assert (kept[2] - kept[1]) / 8 > per_patch  # N x N weights of Eq 11: more than linear
    assert complexity.kept_bytes(model, one_post(torch.randn(1, 4, 10), 8)) == kept[0]


def test_growth_is_tidy_and_can_be_drawn(run: cfg.RunConfig) -> None:
    frame = complexity.growth(run, SMALL)
    assert len(frame) == 4 * 3 * 3 and set(frame["axis"]) == set(complexity.AXES)
    slopes = frame.drop_duplicates(["quantity", "axis"]).set_index(["quantity", "axis"])["exponent"]
    assert slopes["parameters", "N"] == 0 and 0 < slopes["multiply-adds", "N"] < 2
    assert 1 < slopes["multiply-adds", "width"] <= 2
    figure = curves.growth(frame, "Growth")
    assert [axes.get_xlabel() for axes in figure.axes] == list(complexity.AXES)
    drawn = figure.axes[0].lines[0].get_ydata()
    assert drawn[0] == 1 and len(drawn) == 3
    timed = complexity.timing(run, SMALL, repeats=1)
    assert (timed["amount"] > 0).all() and set(timed["quantity"]) == {"milliseconds"}


@pytest.mark.parametrize("sizes", [(32, 16, 12, 1, 20), (48, 8, 16, 3, 64)])
def test_the_image_encoders_formula_is_what_torch_counts(sizes: tuple[int, ...]) -> None:
    assert complexity.image_encoder(*sizes) == complexity.counted_image_encoder(*sizes)


# --- Notation and diagrams are the modules' own.


def test_letters_are_those_of_the_models_own_legend() -> None:
    table = architecture.notation(dmfl)
    said = dict(zip(table["symbol"], table["meaning"]))
    assert said == {"B": "posts", "L": "text positions", "N": "image patches", "H": "heads", "d": "d_model",
                    "D": "d_image", "W": "logic_width"}  # fmt: skip


@pytest.mark.parametrize("alignment", ["forward", "none"])
def test_a_diagram_has_the_parts_that_ran_in_the_order_in_which_they_ran(alignment: str) -> None:
    demo = config.resolve("demo")
    run = experiments.dmfl(demo, "demo-en")
    run = dataclasses.replace(run, detector=dataclasses.replace(run.detector, alignment=alignment))
    model, batch = computation.build(run)
    found = architecture.flow(model, batch)
    assert ("align_text" in set(found["part"])) == (alignment == "forward")
    place = {part: i for i, part in enumerate(found["part"])}
    assert place["text_cnn"] < place["attention.text"] < place["attention.text_image"] < place["classifier"]
    assert found.loc[place["classifier"], "gives"] == f"{len(batch.label)} × 2"
    figure = diagrams.diagram(found, "DMFL")
    assert len(figure.axes[0].texts) >= len(found)
