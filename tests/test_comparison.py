"""Tables, controls and verdicts from stored predictions: every number checked against one computed by hand."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.data.posts import Corpus
from rumorlib.experiments import corpus_name, model_name, names, rivals
from rumorlib.metrics import estimates
from rumorlib.studies.scores import comparison, controls, differences, sweeps, verdicts

DEMO = cfg.resolve("demo", datasets=["demo-en"])
N = 60  # posts per split


def predictions(strength: float, seed: int = 0) -> pd.DataFrame:
    """Two splits of balanced posts; probabilities that separate the classes the better the larger `strength`."""
    random = np.random.default_rng(seed)
    label = np.tile([0, 1], N)
    frame = pd.DataFrame({
        "post_id": [f"p{i:03d}" for i in range(2 * N)], "label": label, "split": ["dev"] * N + ["test"] * N,
        "event": "event-0", "image_group": [f"g{i // 2}" for i in range(2 * N)],
        "conflict": np.where(label == 0, "none", np.where(np.arange(2 * N) % 4 == 1, "colour", "place")),
    })  # fmt: skip
    noise = random.normal(size=2 * N)
    return frame.assign(prob_rumor=1 / (1 + np.exp(-(strength * (label - 0.5) + noise))))


def report(folder: Path, config: cfg.RunConfig, frame: pd.DataFrame, pointing: float | None = None) -> results.Report:
    """A finished run on disk, as `results` would read it."""
    place = folder / config.path
    (place / "extras").mkdir(parents=True)
    made = {"predictions.csv" if config.profile == "demo" else "predictions.csv.gz": frame}
    made["history.csv"] = pd.DataFrame({"epoch": [1, 2], "train_loss": [1.0, 0.5], "dev_loss": [1.0, 0.8]})
    if pointing is not None:
        rows = [
            (s, 100, pointing, 0.1, pointing, 0.2, "fine-tuned", *of)
            for s in ("16", "pooled") for of in (("all", ""), ("clutter", "3"))
        ]  # fmt: skip
        made["extras/pointing.csv"] = pd.DataFrame(
            rows,
            columns=[
                "scale",
                "n_reachable",
                "pointing",
                "chance",
                "recall",
                "recall_chance",
                "stage",
                "factor",
                "level",
            ],
        )
    for name, content in made.items():
        content.to_csv(place / name, index=False)
    hashes = {name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in made}
    return results.Report(config, {"train": {"accuracy": 1.0}}, place, {}, hashes)


def several(folder: Path, config: cfg.RunConfig, strength: float, first: int = 0) -> list[results.Report]:
    """Four seeds of a model that was trained."""
    configs = [dataclasses.replace(config, seed=seed) for seed in range(4)]
    return [report(folder, one, predictions(strength, first + one.seed), pointing=0.8) for one in configs]


@pytest.fixture
def main(tmp_path: Path) -> list[results.Report]:
    """Three MICC variants, the literal one no better than the baselines, which are all at chance."""
    inputs = {"default": (0.0, 2), "product": (6.0, 1), "relevance": (6.0, 1)}  # strength, seed
    made = [report(tmp_path, c, predictions(*inputs[c.variant]), pointing=0.8) for c in experiments.micc_main(DEMO)]
    return made + [report(tmp_path, c, predictions(0.0, 2)) for c in experiments.baselines(DEMO)]


def test_main_table_recomputes_every_score_from_predictions(main: list[results.Report]) -> None:
    table = comparison.main_table(main)
    assert len(table) == 2 * len(main) and list(table["split"].unique()) == ["dev", "test"]
    assert table["model"].head(6).unique().tolist() == [
        "MICC (literal)", "MICC (product input)", "MICC (relevance input)",
    ]  # fmt: skip
    frame = main[1].predictions().query("split == 'test'")
    row = table[(table["variant"] == "product") & (table["split"] == "test")].iloc[0]
    assert row["accuracy"] == pytest.approx(((frame["prob_rumor"] >= 0.5) == frame["label"]).mean())
    assert (table["acc_low"] <= table["accuracy"]).all() and (table["accuracy"] <= table["acc_high"]).all()
    assert (table["primary"] == "accuracy").all() and (table["n"] == N).all() and (table["n_seeds"] == 1).all()


def test_seeds_of_one_model_make_one_row(tmp_path: Path) -> None:
    configs = [experiments.micc(DEMO, "demo-en", seed) for seed in (0, 1, 2)]
    runs = [report(tmp_path, c, predictions(1.0, c.seed)) for c in configs]
    row = comparison.main_table(runs, ["test"]).iloc[0]
    each = [comparison.main_table([run], ["test"])["auc"].iloc[0] for run in runs]
    assert row["n_seeds"] == 3 and row["auc"] == pytest.approx(np.mean(each))


def test_on_twitter_every_picture_counts_once(tmp_path: Path) -> None:
    """Nine posts of one picture, all wrong, weigh as much as one post that is right."""
    laptop = dataclasses.replace(DEMO, profile="laptop", datasets=("twitter",), train="none")
    label = [1] * 10 + [0] * 10
    prob = [0.1] * 9 + [0.9] + [0.9] * 9 + [0.1]
    groups = ["a"] * 9 + ["b"] + ["c"] * 9 + ["d"]
    events = ["x"] * 12 + ["y", "z", "u", "v"] * 2
    frame = pd.DataFrame({"row_key": [f"k{i}" for i in range(20)], "label": label, "prob_rumor": prob,
                          "split": "test", "event": events, "image_group": groups})  # fmt: skip
    run = report(tmp_path, experiments.micc(laptop, "twitter"), frame)
    row = comparison.main_table([run], ["test"]).iloc[0]
    assert row["primary"] == "image-macro balanced accuracy"
    assert row["primary_value"] == pytest.approx(0.5) and row["accuracy"] == pytest.approx(0.1)
    by_picture, by_event = (estimates.score(frame, "accuracy", [how]) for how in ("image_group", "event"))
    assert row["acc_high"] == pytest.approx(max(by_picture.high, by_event.high)), "the wider of pictures and events"
    few = report(tmp_path / "few", run.config, frame.assign(event="one"))
    assert comparison.main_table([few], ["test"])["acc_high"].iloc[0] == pytest.approx(by_picture.high)


def test_bars_carry_the_intervals(main: list[results.Report]) -> None:
    table = comparison.main_table(main[:1])
    bars = comparison.bars(table, "test", ("primary_value", "auc"))
    assert bars["metric"].tolist() == ["accuracy", "auc"] and bars[["low", "high"]].notna().all(axis=None)


def test_auc_by_conflict_sets_each_kind_against_the_matching_posts(main: list[results.Report]) -> None:
    frame = comparison.auc_by(main[1:2], "conflict")
    assert set(frame["conflict"]) == {"colour", "place"}
    assert (frame["n"] - frame["n_rumor"] == N / 2).all() and frame["n_rumor"].sum() == N / 2
    assert comparison.auc_by(main[1:2], "distance").empty


def test_the_rival_is_chosen_on_dev_and_the_difference_taken_on_test(tmp_path: Path) -> None:
    good = predictions(6.0, 3)
    dev_only = good.assign(prob_rumor=np.where(good["split"] == "dev", good["prob_rumor"], 1 - good["prob_rumor"]))
    plans = {c.variant: c for c in experiments.baselines(DEMO)}
    runs = [
        *several(tmp_path, experiments.micc(DEMO, "demo-en"), 3.0, 4),
        report(tmp_path, plans["majority"], predictions(0.0, 5)),
        report(tmp_path, plans["tfidf_lr"], dev_only),
    ]
    found = differences.compare(runs, ("micc", "default"), verdicts.BASELINES).iloc[0]
    assert found["rival"] == "TF-IDF + LR" and found["ours"] > found["theirs"]
    assert found["difference"] == pytest.approx(found["ours"] - found["theirs"]) and found["p_holm"] < 0.05


def test_single_trainings_are_compared_and_ensembles_have_a_row_of_their_own(tmp_path: Path) -> None:
    rival = report(tmp_path, experiments.baselines(DEMO)[0], predictions(0.5, 9))
    runs = [*several(tmp_path, experiments.micc(DEMO, "demo-en"), 1.5), rival]
    line = differences.compare(runs, ("micc", "default"), verdicts.BASELINES).iloc[0]
    single = comparison.main_table(runs[:4], ["test"])["accuracy"].iloc[0]
    assert line["ours"] == pytest.approx(single) and line["difference"] == pytest.approx(single - line["theirs"])
    frames = [predictions(1.5, seed) for seed in range(4)]
    mean = frames[0].assign(prob_rumor=np.mean([frame["prob_rumor"] for frame in frames], axis=0))
    mean = mean[mean["split"] == "test"]
    averaged = ((mean["prob_rumor"] >= 0.5) == mean["label"]).mean()
    assert line["ensembles"] == 4 and abs(averaged - single) > 0.02
    assert line["ensembles_difference"] == pytest.approx(averaged - line["theirs"])
    told = verdicts.claims(runs, "MICC").set_index("claim").loc["MICC is ahead of the baseline that is best on dev"]
    assert told["quantity"].tolist() == ["difference of test accuracy", "difference of test accuracy, ensembles"]
    assert f"{single:.3f}" in told["why"].iloc[0] and told["ours"].iloc[0] == line["difference"]
    once = verdicts.claims([runs[0], rival], "MICC").set_index("claim")
    line = once.loc["MICC is ahead of the baseline that is best on dev"]
    assert line["verdict"] == "inconclusive" and np.isnan(line["low"]), "one training decides nothing"


def test_ahead_of_every_baseline_is_not_said_when_one_that_dev_did_not_choose_is_higher(tmp_path: Path) -> None:
    good, best = predictions(3.0, 4), predictions(8.0, 5)
    dev, bad = good["split"] == "dev", 0.5 * np.ones(len(good))
    plans = {c.variant: c for c in experiments.baselines(DEMO)}
    runs = [
        *several(tmp_path, experiments.micc(DEMO, "demo-en"), 3.0, 4),
        report(tmp_path, plans["tfidf_lr"], good.assign(prob_rumor=np.where(dev, good["label"], bad))),
        report(tmp_path, plans["majority"], best.assign(prob_rumor=np.where(dev, bad, best["prob_rumor"]))),
    ]
    told = verdicts.claims(runs, "MICC").set_index("claim").loc["MICC is ahead of the baseline that is best on dev"]
    line = told.iloc[0]
    assert line["low"] > 0, "it is ahead of the one that dev chose"
    assert line["verdict"] == "inconclusive" and "highest on test majority" in line["why"]


def test_gaps_are_printed_on_the_papers_corpus_only(main: list[results.Report], tmp_path: Path) -> None:
    beside = comparison.against_reported(main, "m_e2")
    assert (beside["verdict"] == "untestable here: other corpus").all() and beside["gap"].isna().all()
    assert set(beside["our_metric"]) == {"accuracy", "f1_rumor", "f1_macro", "f1_weighted"}
    paper = dataclasses.replace(DEMO, profile="paper", datasets=("weibo",), train="none")
    run = report(tmp_path, experiments.micc(paper, "weibo"), predictions(0.0, 6).rename(columns={"post_id": "row_key"}))
    same = comparison.against_reported([run], "m_e2").query("corpus == 'weibo' and metric == 'accuracy'").iloc[0]
    assert same["gap"] == pytest.approx(same["ours"] - same["reported"]) and same["verdict"] == "not reproduced"
    others = comparison.against_reported(main, "d_e1")
    assert others.empty or set(others["verdict"]) == {"untestable here: not run"}
    mfan = report(tmp_path, rivals.rival(DEMO, "demo-en", "mfan"), predictions(1.0, 5))
    named = comparison.against_reported([*main, mfan], "d_e1").query("row == 'MFAN'")
    assert set(named["our_model"]) == {"MFAN (no graph)"} and named["gap"].isna().all()
    assert set(named["verdict"]) == {"untestable here: other corpus"}


def test_a_run_has_one_name() -> None:
    """The single scale is not called CLIP; an exchange of inputs is called after what reads them."""
    (single,) = rivals.single_scale(DEMO)
    assert model_name(single) == "MICC-SCLIP, single scale [32]"
    assert model_name(experiments.micc(DEMO, "demo-en", variant="top_k=4", top_k=4)) == "MICC, top_k=4"
    assert model_name(experiments.dmfl(DEMO, "demo-en", variant="A", alignment="none")) == "DMFL-A"
    exchanged = map(model_name, experiments.exchanged_runs(DEMO, "demo-en"))
    assert list(exchanged) == ["LR, frozen text and image", "MICC (product input)"]


def test_orders_among_rivals_are_tested_on_our_corpora(tmp_path: Path) -> None:
    strength = {"safe": 4.0, "carmn": 0.0, "mfan": 0.0}
    plans = {name: rivals.rival(DEMO, "demo-en", name) for name in strength}
    runs = [run for name, s in strength.items() for run in several(tmp_path, plans[name], s)]
    table = verdicts.claims(runs, "DMFL")
    table = table[~table["quantity"].str.contains("ensembles")].set_index("claim")
    assert table.loc["SAFE above CARMN", "verdict"] == "reproduced" and table.loc["SAFE above CARMN", "p_holm"] < 0.05
    assert table.loc["CARMN above SAFE", "verdict"] == "not reproduced"
    assert table.loc["MFAN best baseline", "verdict"] == "not reproduced"
    assert table.loc["SAFE above CARMN", "corpus"] == "demo-en" and "pheme" in table.loc["SAFE above CARMN", "why"]
    nothing = verdicts.claims([], "DMFL").set_index("claim")
    assert set(nothing.loc[["SAFE above CARMN", "MFAN best baseline"], "verdict"]) == {"untestable here"}


def test_claims_name_their_numbers_and_know_when_nothing_can_be_said(tmp_path: Path) -> None:
    strength = {"default": 0.0, "product": 6.0, "relevance": 6.0}
    main = [run for c in experiments.micc_main(DEMO) for run in several(tmp_path, c, strength[c.variant])]
    main += [report(tmp_path, c, predictions(0.0, 2)) for c in experiments.baselines(DEMO)]
    table = verdicts.claims(main, "MICC")
    table = table[~table["quantity"].str.contains("ensembles")].set_index("claim")
    assert set(table["verdict"]) <= {"reproduced", "not reproduced", "inconclusive", "untestable here"}
    assert table.loc["the product input is ahead of the literal model", "verdict"] == "reproduced"
    assert table.loc["MICC is ahead of the baseline that is best on dev", "verdict"] == "inconclusive"
    assert table.loc["Top-K keeps the region the text speaks of", "verdict"] == "reproduced"
    assert table.loc["MICC reaches 0.938", "verdict"] == "untestable here"
    without_boxes = [
        dataclasses.replace(r, hashes={k: v for k, v in r.hashes.items() if "extras" not in k}) for r in main
    ]
    silent = verdicts.claims(without_boxes, "MICC").set_index("claim")
    assert silent.loc["Top-K keeps the region the text speaks of", "verdict"] == "untestable here"


def test_claims_about_minimal_pairs_are_of_the_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choice C5 predicts chance for the literal model there and not for ours; pairs are the clusters, not posts."""
    runs = []
    for variant, strength in (("default", 0.0), ("product", 6.0), ("relevance", 0.0)):
        for seed in range(4):
            frame = predictions(strength, seed=len(variant) + seed)
            pairs = frame[frame["split"] == "test"].assign(split="pairs", image_group="")
            pairs["post_id"], pairs["pair"] = "q" + pairs["post_id"], [f"pair-{i // 2}" for i in range(len(pairs))]
            whole = pd.concat([frame.assign(pair=""), pairs], ignore_index=True)
            runs.append(report(tmp_path, experiments.micc(DEMO, "demo-en", seed, variant=variant), whole))

    def said(runs: list[results.Report]) -> pd.DataFrame:
        table = verdicts.claims(runs, "MICC")
        return table[~table["quantity"].str.contains("ensembles")].set_index("claim")

    table = said(runs)
    chance = "the literal model is at chance on minimal pairs, within 5 points"
    assert table.loc[chance, "verdict"] == "inconclusive", "sixty posts do not show that it is"
    monkeypatch.setattr(verdicts, "CHANCE", 0.3)
    assert said(runs).loc[chance.replace("5", "30"), "verdict"] == "reproduced"
    monkeypatch.undo()
    ours = table.loc["the product input is ahead of the literal model on minimal pairs"]
    assert ours["verdict"] == "reproduced" and ours["low"] > 0.2
    assert table.loc["the relevance input is ahead of the literal model on minimal pairs", "verdict"] == "inconclusive"
    others = {"default": "product", "product": "default", "relevance": "relevance"}
    swapped = [dataclasses.replace(r, config=dataclasses.replace(r.config, variant=others[r.config.variant]))
               for r in runs]  # fmt: skip
    assert said(swapped).loc[chance, "verdict"] == "not reproduced"


def test_where_posts_share_pictures_micc_stands_beside_frozen_images(tmp_path: Path) -> None:
    laptop = cfg.Settings("laptop", ("twitter",), (0,), "none")
    lr = next(c for c in experiments.baselines(laptop) if c.variant == "image_lr")
    named = {"post_id": "row_key"}
    runs = [report(tmp_path, experiments.micc(laptop, "twitter", seed), predictions(0.0, seed).rename(columns=named))
            for seed in range(4)]  # fmt: skip
    runs.append(report(tmp_path, lr, predictions(6.0).rename(columns=named)))
    found = verdicts.claims(runs, "MICC").set_index("claim")
    line = found.loc["MICC (default) is ahead of a logistic regression on frozen images"].iloc[0]
    assert line["quantity"] == "difference of test balanced accuracy" and line["verdict"] == "not reproduced"
    assert line["low"] < line["ours"] < line["high"] < 0 and "LR, frozen image" in line["why"]


def test_bounds_call_a_leak_a_leak(tmp_path: Path) -> None:
    fits = experiments.single_modality_fits(DEMO)
    text, image = (next(c for c in fits if c.variant.startswith(name)) for name in ("text", "image"))
    runs = [report(tmp_path, text, predictions(8.0)), report(tmp_path, image, predictions(0.0))]
    runs.append(report(tmp_path, experiments.micc(DEMO, "demo-en"), predictions(8.0, 1)))
    table = controls.bounds_table(runs).set_index("model")
    assert "leak" in table.loc["trees on text, by heart", "reading"]
    assert table.loc["trees on frozen image, by heart", "reading"] == "knows train by heart; not above its bound"
    assert table.loc["MICC (literal)", "reading"] == "above both one-modality bounds"
    assert table.loc["rule oracle", "bound"] == 1.0 and table.loc["MICC (literal)", "classifier_input"] == "concat"


def test_pointing_is_empty_without_truth_boxes(main: list[results.Report]) -> None:
    table = controls.pointing_table(main)
    assert len(table) == 6 and table.loc[table["scale"] == "pooled", "low"].isna().all()
    assert controls.pointing_table(main[3:]).empty


def test_retrieval_stands_beside_chance(tmp_path: Path) -> None:
    values = {"n_texts": 8, "n_images": 4, "t2i_median_rank": 2.0, "i2t_median_rank": 2.0}
    values |= {f"{way}_recall_at_{k}": 0.5 for way in ("t2i", "i2t") for k in (1, 5)}
    run = results.Report(experiments.sclip(DEMO, "en"), {"dev": {"en": values}}, tmp_path)
    frame = controls.retrieval_frame([run])
    assert frame.loc[frame["direction"] == "text to image", "chance"].tolist() == pytest.approx([1 / 4, 1.0])
    either = 1 - 6 / 8  # one draw of 8 texts, 2 of them right
    either_of_five = 1 - (6 * 5 * 4 * 3 * 2) / (8 * 7 * 6 * 5 * 4)
    assert frame.loc[frame["direction"] == "image to text", "chance"].tolist() == pytest.approx(
        [either, either_of_five]
    )


def test_retrieval_with_twins_stands_beside_the_fields_and_is_empty_where_it_was_not_stored(tmp_path: Path) -> None:
    values = {"n_texts": 8, "n_images": 4, "t2i_median_rank": 2.0, "i2t_median_rank": 2.0}
    values |= {f"{way}_recall_at_1": 0.5 for way in ("t2i", "i2t")}
    twins = {"t2i_twins_recall_at_1": 0.75, "i2t_twins_recall_at_1": 1.0, "t2i_twins_median_rank": 1.0}
    plan = experiments.sclip(DEMO, "en")
    old, new = (results.Report(plan, {"dev": {"en": given}}, tmp_path) for given in (values, values | twins))
    frame = controls.retrieval_frame([old, new])
    assert frame["recall"].tolist() == [0.5] * 4
    assert frame["recall_twins"].isna().tolist() == [True, True, False, False]
    assert frame["recall_twins"].tolist()[2:] == [0.75, 1.0]


def test_corpus_counts_count_pictures_not_posts() -> None:
    posts = pd.DataFrame({"text": ["a", "bb", "bb", "cccc"], "label": [0, 1, 1, 1], "split": "train", "event": "",
                          "image": ["x", "y", "z", ""], "image_group": ["x", "y", "y", ""]})  # fmt: skip
    frame = controls.corpus_counts(posts, "toy").set_index("label")
    assert frame.loc[1, ["posts", "images", "without_image", "texts"]].tolist() == [3, 1, 1, 2]
    assert frame.loc[1, "posts_per_image"] == 2 and frame.loc[1, "chars_median"] == 2


def test_only_drawn_scenes_may_be_shown() -> None:
    with pytest.raises(ValueError, match="only drawn scenes"):
        controls.example_scenes(Corpus("twitter", pd.DataFrame(), None, ""), {})


def test_every_stated_name_is_printed_once() -> None:
    printed = [name for (model, _), name in names.NAMES.items() if model != "sclip"]
    assert len(set(printed)) == len(printed)
    second = experiments.micc(DEMO, "demo-en", corpus_seed=1)
    assert corpus_name(second) == "demo-en (corpus 1)" and model_name(second) == "MICC (literal)"


def test_runs_on_other_posts_do_not_stand_in_one_table(main: list[results.Report]) -> None:
    """A corpus made anew under an old name once put two corpora into one ablation table."""
    first, second, *_ = main
    here, there = (dataclasses.replace(r, facts=r.facts | {"posts_hash": h}) for r, h in ((first, "a"), (second, "b")))
    comparison.need_same_posts([here, second])  # earlier runs do not say
    with pytest.raises(ValueError, match="was run on other posts than"):
        comparison.main_table([here, there])
    with pytest.raises(ValueError, match="was run on other posts than"):
        sweeps.by_variant([here, there])
