"""Compressed and distilled models: what changes, what must not, and that the report recomputes from stored runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.data.batches import Batch
from rumorlib.figures import fronts
from rumorlib.models.micc import MICC
from rumorlib.studies.cost import costs, lightweight, timing
from rumorlib.training import compression_runs

SETTINGS = cfg.resolve("demo", ["demo-en"], train="none")
BOTH, SINGLE, STUDENT = experiments.micc_sizes(SETTINGS, "demo-en", 0, "product")


def model_and_post() -> tuple[MICC, Batch]:
    torch.manual_seed(0)
    model, post = costs.untrained_micc(BOTH)
    with torch.no_grad():  # a picture of zeros would hide most weights
        post.images.copy_(torch.randint(0, 256, post.images.shape))
    return compression_runs.one_language(model), post


@pytest.fixture
def shrunk(request: pytest.FixtureRequest) -> tuple[MICC, MICC, Batch, cfg.CompressionConfig]:
    """The whole model, the same one compressed by the name given, a post, and the config."""
    how = experiments.COMPRESSIONS[request.param]
    whole, post = model_and_post()
    other, _ = model_and_post()
    if request.param == "int8":
        pytest.importorskip("torchao")
    return whole, compression_runs.compressed(other, how), post, how


# --- what compression does ------------------------------------------------------------------------


@pytest.mark.parametrize("shrunk", ["pruned-50", "pruned-80"], indirect=True)
def test_pruning_zeroes_the_smallest_weights_of_the_network(shrunk) -> None:
    whole, model, _, how = shrunk
    matrices = [n for n, p in whole.named_parameters() if p.ndim > 1 and "position" not in n and "embed" not in n
                and n != "sclip.image_tower.scale"]  # fmt: skip
    before = torch.cat([whole.get_parameter(name).flatten() for name in matrices])
    after = torch.cat([model.get_parameter(name).flatten() for name in matrices])
    assert (after == 0).float().mean().item() == pytest.approx(how.pruned, abs=1e-3)
    assert before[after == 0].abs().max() <= before[after != 0].abs().min()
    assert torch.equal(before[after != 0], after[after != 0])
    others = {n for n, _ in whole.named_parameters()} - set(matrices)
    assert others and all(torch.equal(whole.get_parameter(n), model.get_parameter(n)) for n in others)


@pytest.mark.parametrize(("shrunk", "at_most"), [("fp32", 0), ("bf16", 0.05), ("int8", 0.05)], indirect=["shrunk"])
def test_fewer_digits_change_the_answer_a_little(shrunk, at_most: float) -> None:
    whole, model, post, how = shrunk
    with torch.inference_mode(), compression_runs.in_precision(how):
        answer = model.prob_rumor(post)
    with torch.inference_mode():
        change = (answer - whole.prob_rumor(post)).abs().item()
    assert change <= at_most and (change > 0) == (at_most > 0)


def test_bytes_are_those_of_the_numbers() -> None:
    pytest.importorskip("torchao")
    facts = {}
    for name, how in experiments.COMPRESSIONS.items():
        facts[name] = compression_runs.model_facts(compression_runs.compressed(model_and_post()[0], how), how)
    assert len({f["n_parameters"] for f in facts.values()}) == 1
    assert facts["bf16"]["n_bytes"] / facts["fp32"]["n_bytes"] == pytest.approx(0.5, abs=0.02)
    share = facts["int8"]["n_int8"] / facts["int8"]["n_parameters"]
    assert share > 0.7 and facts["int8"]["n_bytes"] / facts["fp32"]["n_bytes"] == pytest.approx(
        1 - 0.75 * share, abs=0.03
    )
    assert facts["pruned-80"]["n_bytes"] == facts["fp32"]["n_bytes"]  # zeros take their place unless packed
    assert facts["pruned-80"]["n_bytes_packed"] < 0.4 * facts["fp32"]["n_bytes_packed"]
    assert facts["pruned-80"]["n_nonzero"] < facts["pruned-50"]["n_nonzero"] < facts["fp32"]["n_nonzero"]


def test_one_language_keeps_the_answer_and_drops_the_other_tower() -> None:
    model, post = costs.untrained_micc(BOTH)
    with torch.inference_mode():
        before = model.prob_rumor(post)
        assert torch.equal(compression_runs.one_language(model).prob_rumor(post), before)
    assert list(model.sclip.text_towers) == list(model.sclip.text_heads) == ["en"]


# --- distillation -----------------------------------------------------------------------------------


def student(share: float) -> tuple[MICC, Batch]:
    torch.manual_seed(0)
    model, post = costs.untrained_micc(
        dataclasses.replace(SINGLE, detector=dataclasses.replace(SINGLE.detector, dropout=0.0))
    )
    model.learn_from(torch.tensor([1.5]), cfg.DistillationConfig(share))
    return model, post


def test_a_students_loss_is_labels_and_softened_answers() -> None:
    model, post = student(0.25)
    model.train()
    z, heat = model(post).logit, model.distillation.temperature
    labels = nn.functional.binary_cross_entropy_with_logits(z, post.label)
    soft = torch.sigmoid(torch.tensor(1.5) / heat)
    q = torch.sigmoid(z / heat)
    answers = -(soft * q.log() + (1 - soft) * (1 - q).log()) * heat**2
    torch.testing.assert_close(model.training_loss(post)["loss"], 0.75 * labels + 0.25 * answers.squeeze())


def test_dev_is_judged_by_labels_alone() -> None:
    model, post = student(0.5)
    plain, _ = student(0.0)
    model.eval(), plain.eval()
    torch.testing.assert_close(model.training_loss(post)["loss"], plain.training_loss(post)["loss"])


# --- runs and report ----------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", cfg.PROFILES)
def test_a_compressed_run_differs_from_its_parent_in_what_it_compresses(profile: str) -> None:
    given = cfg.resolve(profile, train="none", grid="full")
    runs = experiments.compression_runs(given)
    assert len({c.path for c in runs}) == len(runs)
    for config in runs:
        name = next(n for n in experiments.COMPRESSIONS if config.variant.endswith(f"-{n}"))
        assert config.compression == experiments.COMPRESSIONS[name] and config.distillation is None
        assert config.detector == dataclasses.replace(config.parent.detector, freeze="nothing")
        assert config.stage1 == config.parent.stage1 and config.train.epochs == 0
    mains = set(experiments.micc_main(given))
    assert {c.parent for c in runs if not c.variant.startswith(("fields", "distilled"))} <= mains


@pytest.fixture
def reports(few_drawn: cfg.Settings, monkeypatch: pytest.MonkeyPatch) -> list[results.Report]:
    """Every run of the report on some hundred scenes."""
    pytest.importorskip("torchao")
    monkeypatch.setattr("rumorlib.results.reports._TRAINED", set())
    return [results.run_or_load(config, few_drawn) for config in experiments.compression_runs(few_drawn)]


def test_the_report_is_made_of_stored_runs_alone(reports: list[results.Report], few_drawn: cfg.Settings) -> None:
    table = lightweight.report(reports)
    assert len(table) == 4 and table["model"].is_unique
    whole = table.iloc[0]
    assert whole["loss"] == whole["changed"] == 0
    parent = results.run_or_load(reports[0].config.parent, dataclasses.replace(few_drawn, train="none"))
    for split in compression_runs.ANSWERED:  # patch tokens were rounded to fp16 where stage 2 was trained
        assert reports[0].metrics[split]["auc"] == pytest.approx(parent.metrics[split]["auc"], abs=0.01)
    for report in reports:  # tables are made again without any weights
        for weights in (report.folder.parent.parent).rglob("*.safetensors"):
            weights.unlink()
    again = [results.run_or_load(r.config, dataclasses.replace(few_drawn, train="none")) for r in reports]
    pd.testing.assert_frame_equal(lightweight.report(again), table)
    assert all(set(r.predictions()["split"]) == {"dev", "test"} for r in reports)
    fronts.front(table)


def test_cost_per_scale_adds_up() -> None:
    table = lightweight.per_scale(SETTINGS).set_index("receptive_fields")
    parts = table[["text", "image_tower", "projection", "decision"]]
    assert (parts.sum(axis=1) == table["n_macs"]).all() and (parts > 0).all(axis=None)
    both = table.loc[["[32]", "[64]"]].sum()
    assert table.loc["[32,64]", "image_tower"] == both["image_tower"]  # the shared layers see each scale by itself


# --- timing ---------------------------------------------------------------------------------------------


def test_paths_run_in_turns_and_ratios_are_within_rounds() -> None:
    calls: list[str] = []
    times = timing.in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, passes=2)
    assert calls == ["a", "b"] * 6 and len(times) == 8  # one round to warm up
    made = pd.DataFrame({"round": [0, 0, 1, 1], "path": ["a", "b"] * 2, "time_s": [1.0, 2.0, 3.0, 3.0]})
    assert timing.ratios(made, "a", "b") == [0.5, 1.0]
    assert timing.summary([0.5, 1.0, 9.0]) == {"median": 1.0, "low": 0.5, "high": 9.0}


def test_memory_counts_what_is_alive_at_once() -> None:
    def path() -> None:
        for _ in range(3):
            torch.ones(2**18) + torch.ones(2**18)  # three tensors of one MiB, freed each time

    assert lightweight.peak_mib(path) == pytest.approx(3, abs=1.1)


def test_front_keeps_what_no_other_row_beats() -> None:
    frame = pd.DataFrame({"n_macs": [10, 5, 5, 20], "test_accuracy": [0.9, 0.8, 0.7, 0.9]})
    assert fronts.not_beaten(frame, "n_macs") == [True, True, False, False]


def test_models_that_cost_the_same_have_a_line_each() -> None:
    frame = pd.DataFrame(
        {"dataset": "demo-en", "classifier_input": "product", "model": list("abcd"), "n_macs": [10, 5, 5, 20],
         "test_accuracy": [0.9, 0.8, 0.7, 0.9], "loss_low": -0.01, "loss_high": 0.01}
    )  # fmt: skip
    accuracy, macs = fronts.front(frame, {"n_macs": "multiply-adds"}).axes
    dots = next(line for line in accuracy.lines if line.get_marker() == "o")
    assert (list(dots.get_ydata()), list(dots.get_xdata())) == ([0, 1, 2, 3], [0.9, 0.8, 0.7, 0.9])
    assert [bar.get_width() for bar in macs.patches] == [10, 5, 5, 20]
    colours = [bar.get_facecolor() for bar in macs.patches]
    assert colours[0] == colours[1] != colours[2] == colours[3], "two models are beaten"


def test_timed_has_every_model_on_every_thread_count(output: Path) -> None:
    configs = [experiments.compressed(BOTH, "fp32"), experiments.compressed(SINGLE, "fp32")]
    frame = lightweight.timed(configs, rounds=1, passes=1, on_threads=(1, 2))
    assert len(frame) == 4 and np.isfinite(frame.drop(columns="model")).all(axis=None)
    assert frame["weights_mib"].iloc[0] > frame["weights_mib"].iloc[1] > 0 and (frame["peak_mib"] > 0).all()
    assert frame.groupby("model")["ratio"].first()["[32,64], fp32"] == 1
