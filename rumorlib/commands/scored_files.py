"""The files of `rumorlib score`, read and checked: predictions from outside, and the labels they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rumorlib import config as cfg
from rumorlib import inputs
from rumorlib.data import keys, posts
from rumorlib.data.readers.tables import once, plain_names, read_csv, refuse
from rumorlib.data.splitting import split_files
from rumorlib.metrics import evaluation
from rumorlib.results import store

KEYS, ANSWERS = ("post_id", "row_key"), ("log_odds", "prob_rumor")
UNSCORED = ("train", "", "unassigned")
GROUPS = ("image_group", "event")
SPLIT_WORDS = ("train", "dev", "test")
SAME_PROB = 1e-3  # between a probability that was rounded and the sigmoid of its log-odds
OF_TEXTS = "text_group"  # in place of image_group where there are no pictures, as in our own tables


class ScoreError(cfg.SettingError):
    """A file cannot be scored; the message names file, row and remedy."""


def read_predictions(path: Path) -> pd.DataFrame:
    """A predictions file, checked by itself: key column, prob_rumor (float), log_odds if given, seed (text), line.

    Raises: ScoreError: no file, a column is missing or there twice, an answer is no such number, log_odds and
        prob_rumor say two things, a post is there twice for one seed.
    """
    frame = _read(path, ())
    said = {name: pd.to_numeric(frame[name], errors="coerce") for name in ANSWERS if name in frame}
    if not said:
        raise ScoreError(f"{path.name}, line 1: no column log_odds or prob_rumor; add one")
    if "prob_rumor" in said:
        remedy = "write the probability of label 1, a number in [0, 1], or its log-odds, the logit, as column log_odds"
        refuse(path, frame, ~said["prob_rumor"].between(0, 1), "prob_rumor", remedy)
    if "log_odds" in said:
        refuse(path, frame, ~np.isfinite(said["log_odds"]), "log_odds", "write a finite number: the logit of label 1")
    made = evaluation.with_prob(frame.assign(**said, seed=frame.get("seed", "0")))
    if len(said) == 2:
        apart = (made["prob_rumor"] - said["prob_rumor"]).abs() > SAME_PROB
        refuse(path, frame, apart, "prob_rumor", "log_odds say otherwise: keep one of the two columns")
    return once(path, made, [key_of(frame), "seed"])


def read_labels(path: Path) -> pd.DataFrame:
    """A labels file, checked: key column, label (0 or 1), split, and the GROUPS it has (OF_TEXTS without image_group).

    Raises: ScoreError: as `read_predictions`; or a label is neither 0 nor 1, or a split has a name we do not know.
    """
    frame = _read(path, ("label", "split"))
    frame = once(path, frame, [key_of(frame)])
    refuse(path, frame, ~frame["label"].isin(["0", "1"]), "label", "write 1 for rumor and 0 for non-rumor")
    unknown = ~frame["split"].map(lambda name: posts.is_split(posts.split_name(name)))
    guess = cfg.nearest(frame["split"][unknown].min(), (*SPLIT_WORDS, *posts.SPLIT_SYNONYMS))
    refuse(path, frame, unknown, "split", f"write {', '.join(SPLIT_WORDS)}{guess}")
    frame["split"] = frame["split"].map(posts.split_name)
    groups = [group for group in GROUPS if group in frame]
    groups += [OF_TEXTS] * (OF_TEXTS in frame and "image_group" not in frame)
    kept = [key_of(frame), "label", "split", *groups]
    return frame[kept].astype({"label": int})


def corpus_labels(name: str, settings: cfg.Settings, protocol: str = "") -> pd.DataFrame:
    """Labels, splits and groups of a corpus of ours, with post_id and row_key."""
    table = inputs.corpus(name, settings, protocol=protocol).posts
    print(f"{name}: {len(table)} posts, split {split_files.split_hash(table)[:12]}")
    groups = ["event", OF_TEXTS] if posts.of_texts(table) else list(GROUPS)
    groups = [group for group in groups if (table[group] != "").any()]
    named = [keys.row_key(name, post_id) for post_id in table["post_id"]]
    return table[["post_id", "label", "split", *groups]].assign(row_key=named)


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Cells as text, with the line each stands on. Raises ScoreError: no key, or a column is missing."""
    frame = plain_names(_table(path), {}, path)
    missing = [column for column in columns if column not in frame]
    missing += ["post_id or row_key"] * (not any(key in frame for key in KEYS))
    if missing:
        raise ScoreError(f"{path.name}, line 1: no column {', '.join(missing)} among {', '.join(frame)}; add it")
    if frame.empty:
        raise ScoreError(f"{path.name}: no row below the header; write one row per post")
    return frame.assign(line=range(2, len(frame) + 2))


def _table(path: Path) -> pd.DataFrame:
    """The cells of a csv file, or of the predictions of a committed run that is named as tables name it."""
    if not path.exists():
        for place in (cfg.stored(f"results/{profile}/store") for profile in ("laptop", "paper")):
            if path.as_posix() in store.entries(place):
                cells = store.frame(place, path.as_posix(), store.PREDICTIONS)
                return cells.astype(object).where(cells.notna(), "").map(str)
    return read_csv(path)


def key_of(frame: pd.DataFrame) -> str:
    """The column that names the posts, of KEYS."""
    return next(key for key in KEYS if key in frame)
