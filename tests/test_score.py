"""`python -m rumorlib score`: an outside file gets the numbers a run of ours gets, or an error that can be mended."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import instead
from sklearn.metrics import roc_auc_score

from rumorlib.commands import score
from rumorlib.data import keys
from rumorlib.metrics import estimates, evaluation
from rumorlib.results import store
from rumorlib.studies.protocol import calibration
from rumorlib.studies.scores import comparison


def posts(n: int = 120, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    label = random.integers(0, 2, n)
    return pd.DataFrame({
        "post_id": [f"p{i:03d}" for i in range(n)],
        "label": label,
        "split": np.where(np.arange(n) < 40, "train", np.where(np.arange(n) < 70, "dev", "test")),
        "image_group": [f"g{i // 3}" for i in range(n)],
        "event": [f"e{i % 4}" for i in range(n)],
        "prob_rumor": np.clip(0.35 * label + 0.65 * random.random(n), 0, 1).round(4),
    })  # fmt: skip


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """The floor of calibration, simulated a tenth as often: its tests are its own."""
    instead(monkeypatch, calibration.perfect_labels, partial(calibration.perfect_labels, n=20))


@pytest.fixture
def table() -> pd.DataFrame:
    return posts()


def written(folder: Path, name: str, frame: pd.DataFrame) -> Path:
    frame.to_csv(folder / name, index=False)
    return folder / name


def run(folder: Path, predictions: pd.DataFrame, labels: pd.DataFrame, *more: str) -> int:
    given = [str(written(folder, "predictions.csv", predictions)), "--labels", str(written(folder, "l.csv", labels))]
    return score.main([*given, *more])


def test_the_numbers_are_those_of_our_own_tables(table: pd.DataFrame, tmp_path: Path, capsys) -> None:
    shuffled = table.sample(frac=1, random_state=1)[["post_id", "prob_rumor"]]
    labels = table.drop(columns="prob_rumor")
    assert run(tmp_path, shuffled, labels, "--output", str(tmp_path / "scores.csv")) == 0
    found = pd.read_csv(tmp_path / "scores.csv").set_index(["split", "metric"])
    test = table[table["split"] == "test"].reset_index(drop=True)
    expected = evaluation.classification_metrics(test["label"], test["prob_rumor"])
    for metric in ("accuracy", "f1_rumor", "f1_weighted", "auc", "brier", "log_loss"):
        assert found.loc[("test", metric), "value"] == pytest.approx(expected[metric], rel=1e-5)
    interval = estimates.score(test, "accuracy", comparison.clusterings("", test))
    assert found.loc[("test", "accuracy"), ["low", "high"]].tolist() == pytest.approx([*interval][1:], rel=1e-5)
    assert set(found.index.get_level_values(0)) == {"dev", "test"}, "train is no score"


def test_posts_without_pictures_are_drawn_by_near_duplicate_texts(table: pd.DataFrame, tmp_path: Path) -> None:
    told = table.assign(text_group=table["event"])
    assert "text_group" not in score.read_labels(written(tmp_path, "l.csv", told)), "pictures come first"
    labels = told.drop(columns=["prob_rumor", "image_group"])
    assert run(tmp_path, table[["post_id", "prob_rumor"]], labels, "--output", str(tmp_path / "scores.csv")) == 0
    found = pd.read_csv(tmp_path / "scores.csv").set_index(["split", "metric"])
    test = told[told["split"] == "test"].reset_index(drop=True)
    interval = estimates.score(test, "accuracy", comparison.clusterings("", test.drop(columns="image_group")))
    assert found.loc[("test", "accuracy"), ["low", "high"]].tolist() == pytest.approx([*interval][1:], rel=1e-5)


def test_row_keys_and_post_ids_find_each_other(table: pd.DataFrame, tmp_path: Path, capsys) -> None:
    hidden = table.assign(row_key=[keys.row_key("twitter", name) for name in table["post_id"]])
    one = hidden[["row_key", "prob_rumor"]]
    labels = table.drop(columns="prob_rumor")
    assert run(tmp_path, one, labels) == 2
    assert "add --corpus NAME" in capsys.readouterr().err
    assert run(tmp_path, one, labels, "--corpus", "twitter") == 0
    shown = capsys.readouterr().out
    assert "image_macro_balanced_accuracy" in shown, "Twitter's primary score"
    assert run(tmp_path, table[["post_id", "prob_rumor"]], hidden.drop(columns=["post_id", "prob_rumor"]), "--corpus",
               "twitter") == 0  # fmt: skip
    assert capsys.readouterr().out == shown


def test_several_seeds_are_averaged_and_drawn(table: pd.DataFrame, tmp_path: Path) -> None:
    both = pd.concat([table.assign(seed=0), table.assign(seed=1, prob_rumor=posts(seed=0)["prob_rumor"] * 0.9)])
    assert run(tmp_path, both[["post_id", "prob_rumor", "seed"]], table, "--output", str(tmp_path / "s.csv")) == 0
    found = pd.read_csv(tmp_path / "s.csv").set_index(["split", "metric"])
    test = both[both["split"] == "test"]
    mean = np.mean([((p["prob_rumor"] >= 0.5) == p["label"]).mean() for _, p in test.groupby("seed")])
    assert found.loc[("test", "accuracy"), "value"] == pytest.approx(mean, rel=1e-5)
    assert found.loc[("test", "accuracy"), "n_seeds"] == 2


def test_a_second_file_is_compared_seed_means_and_one_seed_decides_nothing(table, tmp_path: Path, capsys) -> None:
    labels = score.read_labels(written(tmp_path, "l.csv", table))
    noise = [np.random.default_rng(seed).random(len(table)) for seed in range(4)]
    frames = [table.assign(seed=str(s), prob_rumor=(0.3 * table["label"] + 0.7 * n)) for s, n in enumerate(noise)]
    ours = pd.concat(frames)[["post_id", "seed", "prob_rumor"]]
    rival = written(tmp_path, "rival.csv", ours.assign(prob_rumor=1 - ours["prob_rumor"]))
    assert run(tmp_path, ours, table, "--against", str(rival)) == 0
    told = capsys.readouterr().out
    assert f"predictions.csv against {rival}" in told and "One seed" not in told
    paths = tmp_path / "predictions.csv", rival
    joined = [score.join(score.read_predictions(p), labels, p.name) for p in paths]
    for line in score.compare(*joined).itertuples():
        assert line.difference == pytest.approx(line.first - line.second, abs=1e-12), line.metric
        assert line.low < line.difference < line.high and line.p_value < 0.05
    same = score.compare(joined[0], joined[0]).iloc[0]
    assert same["difference"] == 0 and same["p_value"] == 1
    one = written(tmp_path, "one.csv", frames[0][["post_id", "prob_rumor"]])
    assert run(tmp_path, ours, table, "--against", str(one)) == 0
    assert "One seed says nothing of training" in capsys.readouterr().out
    alone = score.compare(joined[0], score.join(score.read_predictions(one), labels, "one.csv"))
    assert alone["difference"].notna().all() and alone[["low", "high", "p_value"]].isna().all(axis=None)


def test_drawn_scenes_need_no_profile_and_no_data(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUMORLIB_DATA", raising=False)
    few = written(tmp_path, "p.csv", pd.DataFrame({"post_id": ["dev-03000"], "prob_rumor": [0.5]}))
    assert score.main([str(few), "--corpus", "demo-en"]) == 2, "posts are missing"
    told = capsys.readouterr()
    assert "demo-en: " in told.out and "data folder" not in told.err


def test_a_run_of_ours_is_labels_and_rival_at_once() -> None:
    from rumorlib import config as cfg

    path = Path("baseline/twitter/text_image_lr/seed0")
    frame = score.join(score.read_predictions(path), score.read_labels(path), path.name)
    found = score.score(frame, "twitter").set_index(["split", "metric"])["value"]
    stored = store.frame(cfg.PROJECT_ROOT / "results/laptop/store", path.as_posix(), store.PREDICTIONS)
    stored = evaluation.with_prob(stored)
    primary = comparison.score("twitter", stored[stored["split"] == "test"].assign(seed=0))
    assert found["test", "image_macro_balanced_accuracy"] == pytest.approx(primary.value)


BROKEN = {
    "nan": ({"prob_rumor": [0.5, "", 0.1]}, "line 3: prob_rumor is ''.*number in \\[0, 1\\].*log_odds"),
    "logit": ({"prob_rumor": [0.5, 0.5, 2.5]}, "line 4: prob_rumor is '2.5'"),
    "word": ({"prob_rumor": ["high", 0.5, 0.5]}, "line 2: prob_rumor is 'high'"),
    "infinite": ({"log_odds": [0.5, "inf", 0.1]}, "line 3: log_odds is 'inf' .*finite number"),
    "two answers": ({"log_odds": [0, 0, 1.0]}, "line 4: prob_rumor is '0.5' .*log_odds say otherwise: keep one"),
    "twice": ({"post_id": ["a", "b", "a"]}, "line 4: post_id a stands on line 2 already.*column seed"),
    "unknown": ({"post_id": ["a", "b", "z"]}, "line 4: post_id z is no post of the labels"),
    "missing": ({"post_id": ["a", "b", "t"]}, "1 of 3 posts of test lack a prediction at seed 0: post_id c"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_error_names_file_row_and_remedy(name: str, tmp_path: Path, capsys) -> None:
    change, message = BROKEN[name]
    frame = pd.DataFrame({"post_id": ["a", "b", "c"], "prob_rumor": [0.5, 0.5, 0.5]}).assign(**change)
    labels = pd.DataFrame({"post_id": ["a", "b", "c", "t"], "label": [0, 1, 0, 1], "split": ["test"] * 3 + ["train"]})
    assert run(tmp_path, frame, labels) == 2
    error = capsys.readouterr().err
    assert error.startswith("predictions.csv")
    assert re.search(message, error), error


def test_log_odds_are_scored_as_they_are(table: pd.DataFrame, tmp_path: Path, capsys) -> None:
    said = table.assign(log_odds=(60 + 10 * table["prob_rumor"]).round(4)).drop(columns="prob_rumor")
    assert run(tmp_path, said[["post_id", "log_odds"]], table, "--output", str(tmp_path / "s.csv")) == 0
    found = pd.read_csv(tmp_path / "s.csv").set_index(["split", "metric"])["value"]
    test = said[said["split"] == "test"]
    assert found["test", "auc"] == pytest.approx(roc_auc_score(test["label"], test["log_odds"]), abs=1e-5)
    assert found["test", "log_loss"] == pytest.approx(test["log_odds"].where(test["label"] == 0, 0).mean(), abs=1e-4)
    assert found["test", "accuracy_dev_threshold"] > found["test", "accuracy"] == test["label"].mean()
    labels = score.read_labels(tmp_path / "l.csv")
    both = [written(tmp_path, "log_odds.csv", said), written(tmp_path, "prob.csv", table)]
    compared = score.compare(*(score.join(score.read_predictions(path), labels, path.name) for path in both))
    assert compared.set_index("metric")["difference"]["auc"] == 0, "the same ranking"


def with_names(table: pd.DataFrame, **names: str) -> pd.DataFrame:
    return table.assign(split=table["split"].map(lambda name: names.get(name, name)))


def test_splits_are_called_as_manifests_may_call_them(table: pd.DataFrame, tmp_path: Path, capsys) -> None:
    rival = written(tmp_path, "hard.csv", table.assign(prob_rumor=table["label"])[["post_id", "prob_rumor"]])
    answers = table[["post_id", "prob_rumor"]]
    assert run(tmp_path, answers, table, "--against", str(rival)) == 0
    shown = capsys.readouterr().out
    for names in ({"dev": "val", "test": "Test", "train": "Train"}, {"dev": " Validation", "train": "TRAINING"}):
        assert run(tmp_path, answers, with_names(table, **names), "--against", str(rival)) == 0
        assert capsys.readouterr().out == shown and "accuracy_dev_threshold" in shown
    assert run(tmp_path, answers, with_names(table, test="tset")) == 2
    assert re.search(r"l.csv, line \d+: split is 'tset' .*did you mean 'test'", capsys.readouterr().err)


def test_a_comparison_needs_test_posts_and_says_so(table: pd.DataFrame, tmp_path: Path, capsys) -> None:
    answers = table[["post_id", "prob_rumor"]]
    rival = written(tmp_path, "rival.csv", answers)
    assert run(tmp_path, answers, with_names(table, test="dev"), "--against", str(rival)) == 2
    assert "no post of test to compare on; the labels have dev" in capsys.readouterr().err
    assert run(tmp_path, answers, with_names(table, test="train", dev="train")) == 2
    assert "none of its posts is of a split that is scored" in capsys.readouterr().err


@pytest.mark.parametrize("column", ["prob_rumor", " Prob_Rumor", "post_id", "label", "split "])
def test_two_columns_of_one_name_are_refused(column: str, table: pd.DataFrame, tmp_path: Path, capsys) -> None:
    name = column.strip().lower()
    files = {"p.csv": table[["post_id", "prob_rumor"]], "l.csv": table[["post_id", "label", "split"]]}
    for file, frame in files.items():
        if name in frame:
            frame = pd.concat([frame, frame[[name]].set_axis([column], axis=1)], axis=1)
        written(tmp_path, file, frame)
    assert score.main([str(tmp_path / "p.csv"), "--labels", str(tmp_path / "l.csv")]) == 2
    assert f"more than one column could be {name}; keep one" in capsys.readouterr().err


def test_dev_of_one_class_gives_no_threshold_and_says_why(table: pd.DataFrame, tmp_path: Path, capsys) -> None:
    kept = table[(table["split"] != "dev") | (table["label"] == 0)]
    answers = kept[["post_id", "prob_rumor"]]
    assert run(tmp_path, answers, kept, "--output", str(tmp_path / "s.csv")) == 0
    assert re.search(r"accuracy_dev_threshold is left out: all \d+ dev posts have label 0", capsys.readouterr().out)
    assert "accuracy_dev_threshold" not in set(pd.read_csv(tmp_path / "s.csv")["metric"])
    kept = table[table["split"] != "dev"]
    assert run(tmp_path, kept[["post_id", "prob_rumor"]], kept) == 0
    assert "accuracy_dev_threshold is left out: there are no dev posts" in capsys.readouterr().out
    assert run(tmp_path, table[["post_id", "prob_rumor"]], table) == 0
    assert "left out" not in capsys.readouterr().out


def test_answers_for_the_other_label_are_hinted_at(table: pd.DataFrame, tmp_path: Path, capsys) -> None:
    for answers, hinted in (
        (table["prob_rumor"], False),
        (1 - table["prob_rumor"], True),
        (table["label"] * 0.0, False),
    ):
        assert run(tmp_path, table.assign(prob_rumor=answers)[["post_id", "prob_rumor"]], table) == 0
        assert ("are these answers for label 0? Label 1 is rumor here" in capsys.readouterr().out) == hinted


def test_files_that_are_no_such_files(table: pd.DataFrame, tmp_path: Path, capsys) -> None:
    assert run(tmp_path, table[["prob_rumor"]], table) == 2
    assert "no column post_id or row_key among prob_rumor; add it" in capsys.readouterr().err
    assert run(tmp_path, table[["post_id", "prob_rumor"]], table.assign(label=2)) == 2
    assert "l.csv, line 2: label is '2'" in capsys.readouterr().err
    assert score.main([str(tmp_path / "absent.csv"), "--labels", str(tmp_path / "l.csv")]) == 2
    assert "absent.csv" in capsys.readouterr().err
    assert score.main([str(tmp_path), "--labels", str(tmp_path / "l.csv")]) == 2, "a folder is no file"
    capsys.readouterr()
    assert score.main([str(tmp_path / "predictions.csv")]) == 2
    assert "give --labels FILE, or --corpus NAME" in capsys.readouterr().err
    assert run(tmp_path, table[["post_id", "prob_rumor"]].assign(corpus=["a"] * 60 + ["b"] * 60), table) == 2
    assert "several corpora, a, b" in capsys.readouterr().err
