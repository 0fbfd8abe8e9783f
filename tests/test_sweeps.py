"""Frames of ablations, sweeps, cost and heat maps, on runs written by the test: nothing is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.experiments import paper_fields
from rumorlib.metrics import evaluation
from rumorlib.results import runs
from rumorlib.studies.cost import costs
from rumorlib.studies.explanations import maps
from rumorlib.studies.scores import grids, sweeps

DEMO = cfg.resolve(train="none")
N = 120


def posts(n_right: int, split: str = "test", label_of=lambda i: i % 2) -> pd.DataFrame:
    """N posts, two per image, of which the first n_right are called right."""
    label = np.array([label_of(i) for i in range(N)])
    right = np.arange(N) < n_right
    return evaluation.with_prob(pd.DataFrame({
        "post_id": [f"{split}-{i:04d}" for i in range(N)], "label": label, "split": split,
        "image_group": [f"{split}-{i // 2}" for i in range(N)],
        "log_odds": np.where(right == (label == 1), 1.4, -0.8),
    }))  # fmt: skip


def finished(config: cfg.RunConfig, n_right: int = 90, extras: dict | None = None, n_dev: int = 80) -> results.Report:
    """A run on disk that called n_right of N test posts right."""
    predictions = pd.concat([posts(n_dev, "dev"), posts(n_right)], ignore_index=True)
    history = pd.DataFrame({"epoch": [1, 5, 7, 10], "train_loss": 0.5, "dev_loss": [0.6, 0.4, 0.3, 0.5]})
    facts = {"n_parameters": 2000, "n_trainable": 1000 + n_right, "best_epoch": 1, "split_hash": "ab"}
    outcome = SimpleNamespace(
        metrics={}, history=history, predictions=predictions, extras=extras or {}, state=None, facts=facts
    )
    runs.write_run(results.run_folder(config), config, outcome, 1.0)
    return results.run_or_load(config, replace(DEMO, profile=config.profile))


# --- scores ---------------------------------------------------------------------------------------


def test_scores_are_those_of_the_predictions(output: Path) -> None:
    given = replace(DEMO, datasets=("demo-en",), seeds=(0, 1))
    reports = [finished(config, 80 + 10 * config.seed) for config in experiments.dmfl_main(given)]
    frame = sweeps.scores(reports).set_index(["split", "metric"])
    assert frame.loc[("test", "accuracy"), "estimate"] == pytest.approx(85 / N)
    assert frame.loc[("test", "accuracy"), "low"] < 85 / N < frame.loc[("test", "accuracy"), "high"]
    assert set(frame["n_seeds"]) == {2} and set(frame["model"]) == {"DMFL"}
    assert frame.loc[("dev", "accuracy"), "estimate"] == pytest.approx(80 / N)


def test_real_predictions_keep_their_opaque_keys_as_post_ids(output: Path) -> None:
    given = cfg.resolve("laptop", ["photo-en"], train="none")
    report = finished(experiments.micc(given, "photo-en"))
    frame = sweeps.predictions([report], "test")
    assert len(frame) == N and frame["post_id"].is_unique and "row_key" not in frame
    assert sweeps.scores([report])["estimate"].notna().all()


def test_groups_keep_seeds_together_and_corpora_apart(output: Path) -> None:
    given = replace(DEMO, seeds=(0, 1))
    reports = [finished(config) for config in experiments.dmfl_main(given)]
    groups = sweeps.by_variant([*reports, reports[0]])
    assert {key: len(seeds) for key, seeds in groups.items()} == {("demo-en", "default"): 2, ("demo-zh", "default"): 2}
    longer = [finished(replace(config, variant="longer")) for config in experiments.dmfl_main(given)]
    assert list(sweeps.by_variant(longer)) == list(groups)
    with pytest.raises(ValueError, match="shorter or longer"):
        sweeps.by_variant([*reports, *longer])


# --- differences ----------------------------------------------------------------------------------


def test_variants_are_compared_by_the_primary_metric_of_their_corpus(output: Path) -> None:
    """On Twitter each picture counts once: here every picture has two posts of both labels, so both metrics agree."""
    given = replace(DEMO, seeds=(0, 1, 2))
    full = [finished(config, 100 + config.seed) for config in experiments.dmfl_main(given)]
    other = [finished(replace(config, variant="A"), 80 + config.seed) for config in experiments.dmfl_main(given)]
    compared = sweeps.Compared([*full, *other])
    found = compared.ahead("demo-en", "default", "A")
    assert found.value == pytest.approx(20 / N) and 0 < found.low < found.value < found.high and found.p_value() < 0.05
    assert compared.metric("demo-en") == "accuracy" and compared.metric("twitter") == "image-macro balanced accuracy"
    alone = sweeps.Compared([full[0], other[0]]).ahead("demo-en", "default", "A")
    assert alone.value == pytest.approx(20 / N) and np.isnan(alone.low), "one seed against one decides nothing"


# --- tables ---------------------------------------------------------------------------------------


def test_the_micc_ablation_table(output: Path) -> None:
    given = replace(DEMO, datasets=("demo-en", "demo-zh"), grid="full")
    full = [finished(c, 100) for c in experiments.micc_main(given) if c.variant == "default"]
    variants = [finished(c, 88) for c in experiments.micc_ablations(given)]
    table = sweeps.ablation_table(full, variants)
    assert table["dataset"].tolist() == ["demo-en"] * 9 + ["demo-zh"] * 9
    english = table[table["dataset"] == "demo-en"].set_index("model")
    assert np.isnan(english.loc["MICC (literal)", "drop"]) and english.loc["MICC-A/γ", "drop"] == pytest.approx(10)
    # 8 to 20 points without alignment, 1 to 3 with one scale, nothing said about fusion
    assert english.loc["MICC-A/δ", ["reported_low", "reported_high"]].tolist() == pytest.approx([8, 20])
    assert english.loc["MICC-SCLIP, single scale [32]", ["reported_low", "reported_high"]].tolist() == pytest.approx(
        [1, 3]
    )
    assert english.loc["MICC-Ms/α", ["reported_low", "reported_high"]].isna().all()
    assert len(sweeps.bars(table)) == 2 * len(table)


def test_the_dmfl_ablation_table_holds_both_readings(output: Path) -> None:
    given = replace(DEMO, grid="full")  # the reduced grid ablates on the first dataset only
    full = [finished(c, 100) for c in experiments.dmfl_main(given)]
    variants = [finished(c, 90) for c in experiments.dmfl_ablations(given)]
    table = sweeps.ablation_table(full, variants).set_index(["dataset", "variant"])
    readings = table[["reported_as_printed", "reported_swapped"]]
    assert readings.loc[("demo-en", "TCNN")].tolist() == pytest.approx([2.26, 3.23])
    assert readings.loc[("demo-zh", "TCNN")].tolist() == pytest.approx([3.23, 2.26])
    assert readings.loc[("demo-en", "A")].tolist() == pytest.approx([2.71, 2.71])
    assert readings.loc[("demo-en", "TB")].tolist() == pytest.approx([2.73, 2.73])  # from the level alone
    assert readings.loc[("demo-zh", "TB")].tolist() == pytest.approx([1.6, 1.6])
    assert readings.loc[("demo-en", "TL")].isna().all()


def test_changed_fields_name_what_the_variant_is(output: Path) -> None:
    given = replace(DEMO, datasets=("demo-en",))
    full = [finished(c, 100) for c in experiments.dmfl_main(given)]
    frame = sweeps.changed_fields(full, [finished(c, 90) for c in experiments.dmfl_ablations(given)]).set_index("model")
    assert frame.loc["DMFL", "changes"] == "" and frame.loc["DMFL", "difference"] == 0
    assert frame.loc["DMFL-ATT", "changes"] == "detector.fusion: attention -> weighted_sum"
    assert frame.loc["DMFL-A", "difference"] == -10


def test_a_sweep_is_sorted_and_chosen_on_dev(output: Path) -> None:
    given = replace(DEMO, datasets=("demo-en",))
    on_dev = {1: 90, 2: 70, 8: 80}
    chosen = [finished(c, 60 + 5 * c.detector.top_k, n_dev=on_dev[c.detector.top_k])
              for c in experiments.micc_top_k(given)]  # fmt: skip
    frame = sweeps.sweep(chosen[::-1], "top_k")
    assert list(dict.fromkeys(frame["top_k"])) == [1, 2, 8]
    assert set(frame.loc[frame["best_on_dev"], "top_k"]) == {1}  # though K = 8 is best on test
    wide = sweeps.wide(frame, "top_k")
    assert len(wide) == 6 and {"accuracy", "acc_low", "acc_high", "auc", "auc_low", "auc_high"} <= set(wide)
    assert grids.grid_note(frame, "top_k") == "Points of top_k: 1, 2, 8, too few for the shape of a curve."
    many = pd.DataFrame({"dataset": "a", "k": [5, 4, 3, 2, 1, 0]})
    assert grids.grid_note(many, "k") == "Points of k: 0, 1, 2, 3, 4, 5."
    both = pd.concat([many, pd.DataFrame({"dataset": "b", "k": [2, 1]})])
    told = "Points of k: 0, 1, 2, 3, 4, 5 on a; 1, 2 on b, too few for the shape of a curve."
    assert grids.grid_note(both, "k") == told


def test_receptive_fields_are_named_in_the_papers_pixels() -> None:
    given = replace(DEMO, datasets=("demo-en",), grid="full")
    names = [paper_fields(config) for config in experiments.micc_receptive_fields(given)]
    assert names == ["[32]", "[64]", "[32,32]", "[64,64]", "[32,64]", "[24,32,64]", "[24,32,48,64]"]


def test_ratio_of_the_loss_weights(output: Path) -> None:
    given = replace(DEMO, datasets=("demo-en",), grid="full")
    frames = [
        sweeps.sweep([finished(c) for c in experiments.dmfl_loss_weights(given, name)], name, "ratio")
        for name in ("lambda_c", "lambda_a")
    ]
    both = sweeps.stacked(frames)
    assert "lambda_c" not in both and {"ratio", "estimate"} <= set(both)
    assert set(both.loc[both["variant"] == "default", "ratio"]) == {0.75}
    assert set(both.loc[both["variant"] == "lambda_a=0.4", "ratio"]) == {4.5}


def test_reported_optima_follow_the_language() -> None:
    datasets = ("demo-en", "demo-zh", "twitter")
    assert sweeps.reported_best("m_e3", datasets) == dict.fromkeys(datasets, "[32,64]")
    assert sweeps.reported_best("m_e4", datasets) == dict.fromkeys(datasets, 2)
    assert sweeps.reported_best("m_e5", datasets) == dict.fromkeys(datasets, 0.65)
    assert sweeps.reported_best("d_e3", datasets) == {"demo-en": 1.8, "demo-zh": 1.2, "twitter": 1.8}
    assert sweeps.reported_best("d_e4", datasets) == dict.fromkeys(datasets, 2.4)


# --- cost -----------------------------------------------------------------------------------------


def test_multiply_adds_are_those_of_the_formula() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3, bias=False))
    assert costs.macs(model, torch.zeros(2, 7)) == 2 * (7 * 5 + 5 * 3)
    layer = torch.nn.TransformerEncoderLayer(8, 2, 32, batch_first=True).eval()  # its fused kernel hides the products
    L, d = 6, 8
    assert costs.macs(layer, torch.zeros(1, L, d)) == L * (4 * d * d + 2 * d * 32) + 2 * L * L * d


def test_one_scale_costs_less_than_two(output: Path) -> None:
    given = replace(DEMO, datasets=("demo-en",))
    cost = costs.micc_cost([finished(c) for c in experiments.micc_receptive_fields(given)]).set_index(
        "receptive_fields"
    )
    assert cost.loc["[32]", "n_patches"] == 36 and cost.loc["[32,64]", "n_patches"] == 45
    assert 0 < cost.loc["[32]", "n_macs"] < cost.loc["[32,64]", "n_macs"]


@pytest.mark.parametrize("profile", ["laptop", "paper"])
def test_cost_needs_no_data_at_any_profile(profile: str) -> None:
    given = cfg.resolve(profile, train="none")
    for dataset in given.datasets:
        config = experiments.micc(given, dataset)
        for _, text in config.stage1.sclip.texts:
            assert text.kind == "transformer" or text.weights in costs.FROZEN_WIDTHS
        assert config.stage1.sclip.vision.weights in costs.FROZEN_WIDTHS


def test_latency_is_a_positive_median() -> None:
    assert costs.latency_ms(torch.nn.Linear(2, 2), torch.zeros(1, 2), repeats=3) > 0


# --- heat maps ------------------------------------------------------------------------------------


def test_relevance_is_read_scale_by_scale(output: Path) -> None:
    config = experiments.micc(DEMO, "demo-en")
    n_patches = [36, 9]
    frame = pd.DataFrame({
        "relevance": np.linspace(-1, 1, 45), "weight": np.where(np.arange(45) % 44 == 0, 0.5, 0.0),
        "kept": np.arange(45) % 44 == 0, "post_id": "dev-00000", "scale": np.repeat([0, 1], n_patches),
        "patch": np.arange(45),
    })  # fmt: skip
    relevance = maps.relevance([finished(config, extras={"relevance": frame})])
    assert relevance.groupby("scale")["patch"].agg(["min", "max"]).to_numpy().tolist() == [[0, 35], [0, 8]]
    table = maps.relevance_statistics(relevance).set_index("field")
    assert list(table.index) == [16, 32] and table["scale_weight"].tolist() == [0.5, 0.5]
    assert table.loc[32, "best_relevance"] == pytest.approx(1)


def test_runs_without_maps_give_an_empty_frame_and_no_picture(output: Path) -> None:
    given = cfg.resolve("laptop", ["photo-en"], train="none")
    report = finished(experiments.micc(given, "photo-en"))
    assert maps.relevance([report]).empty and maps.pointing([report]).empty
    assert maps.relevance_statistics(maps.relevance([report])).empty
    with pytest.raises(ValueError, match="drawn"):
        maps.relevance_panels([report], given)
