"""Score predictions from outside by our protocol: `python -m rumorlib score predictions.csv --labels labels.csv`.

Predictions, csv or csv.gz: `post_id` or `row_key` (`keys.row_key`), `log_odds` of rumor or `prob_rumor` in [0, 1], and
if there are several runs `seed`. A column `corpus` may name the corpus; other columns are not read. Every post of a
split that is scored must be there once per seed; posts of train are passed over.

Labels come from the corpus itself (--corpus, --data), or from a file (--labels): `post_id` or `row_key`, `label` (1 =
rumor), `split`, and if known `image_group` and `event`, the groups that intervals and tests take whole. The
predictions.csv of a run of ours serves as labels and as a rival; a committed run is given by its name, e.g.
baseline/twitter/text_image_lr/seed0.
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
from rumorlib.commands import parameters
from rumorlib.commands.scored_files import (
    ANSWERS,
    KEYS,
    UNSCORED,
    ScoreError,
    corpus_labels,
    key_of,
    read_labels,
    read_predictions,
)
from rumorlib.data import files, keys
from rumorlib.data.posts import PostsError
from rumorlib.metrics import estimates, evaluation
from rumorlib.results import artifacts, runs
from rumorlib.studies.protocol import calibration
from rumorlib.studies.scores import comparison

WITH_INTERVAL = ("accuracy", "balanced_accuracy", "f1_macro", "auc", "brier")


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
                f"{name} names posts by {key_of(predictions)}, the labels by {key_of(labels)}; add --corpus NAME"
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
    answers = [name for name in ANSWERS if name in predictions]
    made = scored.merge(predictions[[key, *answers, "seed"]], on=key)  # in the labels' order, so are resamples
    if made.empty:
        raise ScoreError(f"{name}: none of its posts is of a split that is scored, e.g. dev or test; predict those")
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
        dataset: a corpus whose primary score counts each picture once (shared_pictures) gets that score too.
    Returns: split, metric, value (mean over seeds), low, high (95 %, of clusters and seeds; empty where none is
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
    if cfg.about(dataset).shared_pictures and clusters:
        rows.append(("image_macro_balanced_accuracy", *comparison.score(dataset, part)))
    rows += [(metric, *comparison.score(dataset, part, metric)) for metric in WITH_INTERVAL]
    runs = [run for _, run in part.groupby("seed")]
    points = [evaluation.frame_metrics(run) for run in runs]
    trust = [calibration.summary(run, clusters) for run in runs]
    if dev["label"].nunique() == 2:
        rows.append(("accuracy_dev_threshold", calibration.accuracy_at_dev_threshold(dev, part), np.nan, np.nan))
    for found in (points, trust):
        for metric in found[0]:
            if metric not in (*WITH_INTERVAL, "n"):
                rows.append((metric, float(np.mean([one[metric] for one in found])), np.nan, np.nan))
    return rows


def remarks(frame: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    """What a reader of the scores should know: why there is no dev threshold, and what an AUC below one half hints at.

    Args: frame: of `join`. scores: of `score`.
    """
    said, dev = [], frame.loc[frame["split"] == "dev", "label"]
    if dev.nunique() < 2:
        why = f"all {len(dev)} dev posts have label {dev.iloc[0]}" if len(dev) else "there are no dev posts"
        said.append(f"accuracy_dev_threshold is left out: {why}")
    for row in scores[(scores["metric"] == "auc") & (scores["high"] < 0.5)].itertuples():
        said.append(f"AUC of {row.split} is {row.value:.3f} [{row.low:.3f}, {row.high:.3f}], all of it below one half:"
                    " are these answers for label 0? Label 1 is rumor here")  # fmt: skip
    return said


def compare(ours: pd.DataFrame, theirs: pd.DataFrame, dataset: str = "", split: str = "test") -> pd.DataFrame:
    """Two systems on the same posts: the mean of single seeds of each, so first - second = difference.

    Returns: split, metric, first, second, difference, low, high (95 %, posts and seeds), p_value (two-sided); the last
        three empty where a system has one seed, which says nothing of its training.
    Raises: ScoreError: no posts of the split.
    """
    if not (ours["split"] == split).any():
        raise ScoreError(f"no post of {split} to compare on; the labels have {', '.join(sorted(set(ours['split'])))}")
    a, b = (comparison.weighted(f[f["split"] == split].reset_index(drop=True)) for f in (ours, theirs))
    how, rows = comparison.clusterings(dataset, a), []
    asked = [("accuracy", None), ("auc", None)]
    asked += [("balanced_accuracy", "image_weight")] * (cfg.about(dataset).shared_pictures)
    for metric, weight in asked:
        found = estimates.difference(a, b, metric, how, weight)
        first, second = (estimates.score(frame, metric, (), weight).value for frame in (a, b))
        name = metric if weight is None else "image_macro_balanced_accuracy"
        rows.append({"split": split, "metric": name, "first": first, "second": second, "difference": found.value,
                     "low": found.low, "high": found.high,
                     "p_value": np.nan if found.lone else found.p_value()})  # fmt: skip
    return pd.DataFrame(rows)


# --- command line -------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """The verb `score`. Returns 0, or 2 after an error that the user can mend."""
    parser = parameters.Parser(prog="python -m rumorlib score", description=__doc__.split("\n")[0])
    parser.add_argument("predictions", type=Path, help="csv: post_id or row_key, log_odds or prob_rumor, [seed]")
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
    except (cfg.SettingError, PostsError, OSError, runs.RunError) as error:
        print(keys.printable(str(error)), file=sys.stderr)
        return 2
    return 0


def _run(given: argparse.Namespace) -> None:
    predictions = read_predictions(given.predictions)
    corpus = given.corpus or _corpus_named(predictions, given.predictions)
    if given.labels:
        labels = read_labels(given.labels)
    elif corpus:
        profile = given.profile or ("demo" if cfg.about(corpus).kind == "drawn" else "laptop")
        labels = corpus_labels(corpus, cfg.resolve(profile, data=given.data), given.protocol)
    else:
        raise ScoreError("nothing says what is right: give --labels FILE, or --corpus NAME with --data FOLDER")
    ours = join(predictions, labels, given.predictions.name, corpus)
    scores = score(ours, corpus)
    print(keys.printable("\n".join([given.predictions.name, _shown(scores), *remarks(ours, scores)])))
    if given.against:
        theirs = join(read_predictions(given.against), labels, given.against.name, corpus)
        said = f"\n{given.predictions} against {given.against}\n{_shown(compare(ours, theirs, corpus))}"
        print(keys.printable(said))
        if min(frame["seed"].nunique() for frame in (ours, theirs)) == 1:
            print("One seed says nothing of training: give both files several seeds for an interval and a p-value.")
    if given.output:
        files.write_csv(given.output, artifacts.spreadsheet_safe(scores))


def _corpus_named(predictions: pd.DataFrame, path: Path) -> str:
    names = sorted(set(predictions.get("corpus", pd.Series([""]))))
    if len(names) > 1:
        raise ScoreError(f"{path.name}: posts of several corpora, {', '.join(names)}; score one corpus at a time")
    return names[0]


def _shown(frame: pd.DataFrame) -> str:
    return frame.to_string(index=False, float_format="{:.4f}".format, na_rep="")
