"""Score predictions from outside by our protocol: `python -m rumorlib score predictions.csv --labels labels.csv`.

Predictions, csv or csv.gz: `post_id` or `row_key` (`keys.row_key`), `prob_rumor` in [0, 1], and if there are several
runs `seed`. A column `corpus` may name the corpus; other columns are not read. Every post of a split that is scored
must be there once per seed; posts of train are passed over.

Labels come from the corpus itself (--corpus, --data), or from a file (--labels): `post_id` or `row_key`, `label` (1 =
rumor), `split`, and if known `image_group` and `event`, the groups that intervals and tests take whole. The
predictions.csv of a run of ours serves as labels and as a rival.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rumorlib import config as cfg
from rumorlib import drops, evaluation, files, inputs, statistics, tables
from rumorlib.commands import parameters
from rumorlib.data import keys, split_files
from rumorlib.data.posts import PostsError, of_texts
from rumorlib.studies.scores import comparison
from rumorlib.studies.trust import calibration

KEYS = ("post_id", "row_key")
WITH_INTERVAL = ("accuracy", "balanced_accuracy", "f1_macro", "auc", "brier")
UNSCORED = ("train", "", "unassigned")
GROUPS = ("image_group", "event")
OF_TEXTS = "text_group"  # in place of image_group where there are no pictures, as in our own tables


class ScoreError(cfg.SettingError):
    """A file cannot be scored; the message names file, row and remedy."""


# --- reading ------------------------------------------------------------------------------------


def read_predictions(path: Path) -> pd.DataFrame:
    """A predictions file, checked by itself: key column, prob_rumor (float), seed (text), line.

    Raises: ScoreError: no file, a column is missing, a probability is no number in [0, 1], a post is there twice
        for one seed.
    """
    frame = _read(path, ("prob_rumor",))
    prob = pd.to_numeric(frame["prob_rumor"], errors="coerce")
    wrong = frame[~((prob >= 0) & (prob <= 1))]
    if len(wrong):
        first = wrong.iloc[0]
        raise ScoreError(
            f"{path.name}, line {first['line']}: prob_rumor is {first['prob_rumor']!r}, which is no number in [0, 1] "
            f"({len(wrong)} such rows); write the probability of label 1, e.g. the sigmoid of a logit"
        )
    frame = frame.assign(prob_rumor=prob, seed=frame.get("seed", "0"))
    return _once(frame, path, [_key(frame), "seed"])


def read_labels(path: Path) -> pd.DataFrame:
    """A labels file, checked: key column, label (0 or 1), split, and the GROUPS it has (OF_TEXTS without image_group).

    Raises: ScoreError: as `read_predictions`; or a label is neither 0 nor 1.
    """
    frame = _read(path, ("label", "split"))
    frame = _once(frame, path, [_key(frame)])
    wrong = frame[~frame["label"].isin(["0", "1"])]
    if len(wrong):
        first = wrong.iloc[0]
        raise ScoreError(
            f"{path.name}, line {first['line']}: label is {first['label']!r}; write 1 for rumor and 0 for non-rumor"
        )
    groups = [group for group in GROUPS if group in frame]
    groups += [OF_TEXTS] * (OF_TEXTS in frame and "image_group" not in frame)
    kept = [_key(frame), "label", "split", *groups]
    return frame[kept].astype({"label": int})


def corpus_labels(name: str, settings: cfg.Settings, protocol: str = "") -> pd.DataFrame:
    """Labels, splits and groups of a corpus of ours, with post_id and row_key."""
    posts = inputs.corpus(name, settings, protocol=protocol).posts
    print(f"{name}: {len(posts)} posts, split {split_files.split_hash(posts)[:12]}")
    groups = ["event", OF_TEXTS] if of_texts(posts) else list(GROUPS)
    groups = [group for group in groups if (posts[group] != "").any()]
    named = [keys.row_key(name, post_id) for post_id in posts["post_id"]]
    return posts[["post_id", "label", "split", *groups]].assign(row_key=named)


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Cells as text, with the line each stands on. Raises ScoreError: not a csv with a key and `columns`."""
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise ScoreError(f"{path}: {error}; give a csv file with a header line") from error
    missing = [column for column in columns if column not in frame]
    missing += ["post_id or row_key"] * (not any(key in frame for key in KEYS))
    if missing:
        have = ", ".join(frame.columns)
        raise ScoreError(f"{path.name}, line 1: no column {', '.join(missing)}; it has {have}; add what is missing")
    if frame.empty:
        raise ScoreError(f"{path.name}: no row below the header; write one row per post")
    return frame.assign(line=np.arange(2, len(frame) + 2))


def _key(frame: pd.DataFrame) -> str:
    return next(key for key in KEYS if key in frame)


def _once(frame: pd.DataFrame, path: Path, unique: list[str]) -> pd.DataFrame:
    twice = frame[frame.duplicated(unique, keep="first")]
    if len(twice):
        again = twice.iloc[0]
        same = (frame[unique] == again[unique]).all(axis=1)
        raise ScoreError(
            f"{path.name}, line {again['line']}: {unique[0]} {again[unique[0]]} stands on line "
            f"{frame.loc[same, 'line'].iloc[0]} already ({len(twice)} such rows); keep one row per post, or add a "
            "column seed if these are several runs"
        )
    return frame


# --- joining ------------------------------------------------------------------------------------


def join(predictions: pd.DataFrame, labels: pd.DataFrame, name: str, corpus: str = "") -> pd.DataFrame:
    """The predictions of every scored split with labels, splits and groups; `post_id` names the posts.

    Args:
        name: of the predictions file, for messages.
        corpus: lets post_id and row_key find each other.
    Raises: ScoreError: posts that the labels do not know, a split with some of its posts missing, or none to score.
    """
    key = next((key for key in KEYS if key in predictions and key in labels), "")
    if not key:
        if not corpus:
            raise ScoreError(
                f"{name} names posts by {_key(predictions)}, the labels by {_key(labels)}; add --corpus NAME"
            )
        which = predictions if "post_id" in predictions else labels
        hashed = which.assign(row_key=[keys.row_key(corpus, post_id) for post_id in which["post_id"]])
        predictions, labels = (hashed, labels) if which is predictions else (predictions, hashed)
        key = "row_key"
    unknown = predictions[~predictions[key].isin(labels[key])]
    if len(unknown):
        first = unknown.iloc[0]
        raise ScoreError(
            f"{name}, line {first['line']}: {key} {first[key]} is no post of the labels ({len(unknown)} such rows); "
            "take the row out, or score it against the corpus and version it was made for"
        )
    scored = labels[~labels["split"].isin(UNSCORED)]
    made = scored.merge(predictions[[key, "prob_rumor", "seed"]], on=key)  # in the labels' order, so are resamples
    _need_whole_splits(made, scored, sorted(set(predictions["seed"])), key, name)
    return made.assign(post_id=made[key]).drop(columns=[k for k in KEYS if k != "post_id" and k in made])


def _need_whole_splits(made: pd.DataFrame, scored: pd.DataFrame, seeds: list[str], key: str, name: str) -> None:
    for split, part in scored.groupby("split"):
        for seed in seeds:
            found = made[(made["split"] == split) & (made["seed"] == seed)]
            absent = part[~part[key].isin(found[key])]
            begun = (made["split"] == split).any()
            if len(absent) and (begun or split == "test"):
                raise ScoreError(
                    f"{name}: {len(absent)} of {len(part)} posts of {split} lack a prediction at seed {seed}: "
                    f"{key} {', '.join(absent[key].head(3))}; predict every post, .5 where nothing can be said"
                )


# --- scoring ------------------------------------------------------------------------------------


def score(frame: pd.DataFrame, dataset: str = "") -> pd.DataFrame:
    """Every metric of every split of joined predictions, as in our own tables.

    Args:
        frame: of `join`.
        dataset: a corpus whose primary score counts each picture once (comparison.IMAGE_MACRO) gets that score too.
    Returns: split, metric, value (mean over seeds), low, high (95 %, clusters and seeds drawn; empty where none is
        given), n, n_seeds.
    """
    rows: list[dict[str, Any]] = []
    for split, part in frame.groupby("split"):
        part = part.reset_index(drop=True)
        n_seeds = part["seed"].nunique()
        about = {"split": split, "n": len(part) // n_seeds, "n_seeds": n_seeds}
        for metric, value, low, high in _metrics(part, frame[frame["split"] == "dev"], dataset):
            rows.append({"split": split, "metric": metric, "value": value, "low": low, "high": high} | about)
    return pd.DataFrame(rows)


def _metrics(part: pd.DataFrame, dev: pd.DataFrame, dataset: str) -> list[tuple[str, float, float, float]]:
    clusters = comparison.clusters_of(part)
    rows: list[tuple[str, float, float, float]] = []
    if dataset in comparison.IMAGE_MACRO and clusters:
        rows.append(("image_macro_balanced_accuracy", *comparison.primary_interval(dataset, part)))
    rows += [(metric, *statistics.cluster_bootstrap(part, metric, clusters)) for metric in WITH_INTERVAL]
    if "event" in part and part["event"].nunique() > 1:
        rows.append(("accuracy, events drawn", *statistics.cluster_bootstrap(part, "accuracy", "event")))
    runs = [run for _, run in part.groupby("seed")]
    points = [evaluation.classification_metrics(run["label"], run["prob_rumor"]) for run in runs]
    trust = [calibration.summary(run, clusters) for run in runs]
    if len(dev):
        rows.append(("accuracy_dev_threshold", calibration.accuracy_at_dev_threshold(dev, part), np.nan, np.nan))
    for found in (points, trust):
        for metric in found[0]:
            if metric not in (*WITH_INTERVAL, "n"):
                rows.append((metric, float(np.mean([one[metric] for one in found])), np.nan, np.nan))
    return rows


def compare(ours: pd.DataFrame, theirs: pd.DataFrame, dataset: str = "", split: str = "test") -> pd.DataFrame:
    """Two systems on the same posts: paired over clusters, two-sided. Every number is of probabilities averaged over
    the seeds, so first - second = difference.

    Returns: split, metric, first, second, difference, low, high (of accuracy, 95 %, clusters drawn), p_value,
        n_clusters.
    """
    both = (comparison.weighted(f[f["split"] == split].reset_index(drop=True)) for f in (ours, theirs))
    a, b = (statistics.seed_mean(frame).assign(seed=0).reset_index() for frame in both)
    clusters, rows = comparison.clusters_of(a), []
    asked = [("accuracy", None), ("auc", None)]
    asked += [("balanced_accuracy", "image_weight")] * (dataset in comparison.IMAGE_MACRO)
    for metric, weight in asked:
        test = statistics.paired_permutation(a, b, clusters, metric, weight=weight)
        values = [statistics.cluster_bootstrap(f, metric, clusters, n=2, weight=weight).estimate for f in (a, b)]
        drop = drops.paired_drop(a, b, clusters or "") if metric == "accuracy" else (np.nan,) * 3
        name = metric if weight is None else "image_macro_balanced_accuracy"
        rows.append({"split": split, "metric": name, "first": values[0], "second": values[1],
                     "difference": test.difference, "low": drop[1], "high": drop[2], "p_value": test.p_value,
                     "n_clusters": test.n_clusters})  # fmt: skip
    return pd.DataFrame(rows)


# --- command line -------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """The verb `score`. Returns 0, or 2 after an error that the user can mend."""
    parser = parameters.Parser(prog="python -m rumorlib score", description=__doc__.split("\n")[0])
    parser.add_argument("predictions", type=Path, help="csv: post_id or row_key, prob_rumor, [seed], [corpus]")
    parser.add_argument("--labels", type=Path, help="csv: post_id or row_key, label, split, [image_group], [event]")
    parser.add_argument("--corpus", default="", help="a corpus of ours instead of --labels, e.g. twitter")
    parser.add_argument("--protocol", default="", help="how the corpus is split; its usual way unless given")
    parser.add_argument("--profile", choices=cfg.PROFILES, help="whose splits: laptop, of drawn scenes demo")
    parser.add_argument("--data", help="folder of the raw corpora; else RUMORLIB_DATA")
    parser.add_argument("--against", type=Path, help="a second predictions file: paired comparison")
    parser.add_argument("--output", type=Path, help="also write the scores to this csv")
    given = parser.parse_args(arguments)
    try:
        _run(given)
    except (cfg.SettingError, PostsError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _run(given: argparse.Namespace) -> None:
    predictions = read_predictions(given.predictions)
    corpus = given.corpus or _corpus_named(predictions, given.predictions)
    if given.labels:
        labels = read_labels(given.labels)
    elif corpus:
        profile = given.profile or ("demo" if corpus.startswith("demo-") else "laptop")
        labels = corpus_labels(corpus, cfg.resolve(profile, data=given.data), given.protocol)
    else:
        raise ScoreError("nothing says what is right: give --labels FILE, or --corpus NAME with --data FOLDER")
    ours = join(predictions, labels, given.predictions.name, corpus)
    scores = score(ours, corpus)
    print(f"{given.predictions.name}\n{_shown(scores)}")
    if given.against:
        theirs = join(read_predictions(given.against), labels, given.against.name, corpus)
        print(f"\n{given.predictions} against {given.against}\n{_shown(compare(ours, theirs, corpus))}")
    if given.output:
        files.write_csv(given.output, tables.spreadsheet_safe(scores))


def _corpus_named(predictions: pd.DataFrame, path: Path) -> str:
    names = sorted(set(predictions.get("corpus", pd.Series([""]))))
    if len(names) > 1:
        raise ScoreError(f"{path.name}: posts of several corpora, {', '.join(names)}; score one corpus at a time")
    return names[0]


def _shown(frame: pd.DataFrame) -> str:
    return frame.to_string(index=False, float_format="{:.4f}".format, na_rep="")
