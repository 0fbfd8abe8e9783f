"""The leakage audit: how much of a score is the split (c_5, c_6, c_fig3).

For every corpus and split protocol: what each shortcut of `shortcuts` alone scores on the test posts, and how many test
posts have a twin in train. Tables hold counts and scores only, never a text, a picture or an id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rumorlib import config
from rumorlib.data import keys
from rumorlib.data.dates import offset_hours, parse_dates
from rumorlib.data.posts import Corpus
from rumorlib.data.splitting import protocols as data_protocols
from rumorlib.data.splitting import splits
from rumorlib.data.splitting.duplicates import MIN_CORRELATION, Pairs, image_pairs, thumbnails
from rumorlib.data.splitting.text_duplicates import MIN_JACCARD, text_pairs
from rumorlib.metrics import statistics
from rumorlib.studies.corpus import shortcuts
from rumorlib.studies.corpus.shortcuts import Answer, Fold

USED = ("train", "dev", "test", "unassigned", "")
POSTS_PER_IMAGE = 2.0  # from here on a corpus is also audited with every picture counting once
TREE_DEPTH = 3
SCORE_COLUMNS = (
    "dataset", "protocol", "unit", "shortcut", "metric", "estimate", "low", "high", "known", "estimate_known",
    "n_train", "n", "clusters", "n_clusters",
)  # fmt: skip
LEAK_COLUMNS = (
    "dataset", "protocol", "kind", "groups", "pairs", "crossing", "n_test", "test_posts", "share_of_test", "same_label",
)  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """A corpus as the audit sees it: equal things as codes (-1: none), and which of them are near-duplicates."""

    name: str
    posts: pd.DataFrame  # the posts of train, dev and test, index 0..n-1
    language: str
    codes: dict[str, np.ndarray]  # event, author, image, text, image_group -> (n,)
    pairs: dict[str, Pairs]  # image, text -> rows of their codes
    numbers: dict[str, np.ndarray]  # publish time, attached images -> (n,), nan where unknown
    folds: dict[str, list[tuple[np.ndarray, np.ndarray]]]  # of `protocols`, drawn once for scores and twins


def gather(
    corpus: Corpus,
    features: Mapping[str, np.ndarray] | None = None,
    min_jaccard: float = MIN_JACCARD,
    min_correlation: float = MIN_CORRELATION,
    crops: bool = True,
    known_pairs: Pairs | None = None,
) -> Evidence:
    """What the shortcuts of a corpus need: groups, near-duplicates, times.

    Args:
        corpus: posts and pictures; columns `author` and `n_images`, where the files tell, are audited too. Probe splits
            are left aside.
        features: image key -> pooled feature of a frozen encoder; None: pictures are compared by pixels alone.
        min_jaccard, min_correlation, crops: see `duplicates`.
        known_pairs: of an earlier call with the same pictures in the same order, which then are not compared again.
    """
    table = corpus.posts[corpus.posts["split"].isin(USED)].reset_index(drop=True)
    group = table["image_group"].where(table["image"] != "", "")  # a post without its picture shows none
    text = table["text"].map(keys.normalise_text)
    columns = {"event": table["event"], "author": table.get("author"), "image": table["image"], "text": text,
               "image_group": group.where(group != "", table["image"])}  # fmt: skip
    codes = {name: _codes(column) for name, column in columns.items() if column is not None}
    distinct = list(dict.fromkeys(value for value in text if value))
    pairs = {"text": text_pairs(distinct, min_jaccard)}
    if corpus.images is not None and (table["image"] != "").any():
        pictured = table.assign(code=codes["image"])[table["image"] != ""]
        first = pictured.drop_duplicates("code").sort_values("code")
        shown = first["image"].tolist()
        if known_pairs is None:
            grey, _ = thumbnails(corpus.images, shown)  # one that cannot be read is flat, and in no pair
            pooled = None if features is None else np.stack([features[key] for key in shown])
            known_pairs = image_pairs(grey, pooled, min_correlation, crops)
        pairs["image"] = known_pairs
    times = parse_dates(table["created_at"], offset_hours(table["language"]))
    numbers = {"publish time": np.where(times.isna(), np.nan, times.astype("int64") / 1e9)}  # seconds since 1970
    if "n_images" in table:
        numbers["attached images"] = table["n_images"].to_numpy(float)
    languages = table["language"].value_counts()
    language = "zh" if len(languages) and languages.index[0].startswith("zh") else "en"
    return Evidence(corpus.name, table, language, codes, pairs, numbers, protocols(table, corpus.name))


def _codes(names: pd.Series) -> np.ndarray:
    """0, 1, ... in order of appearance; -1 for ""."""
    names = names.fillna("").astype(str)
    return pd.factorize(names.where(names != ""))[0]


# --- protocols ----------------------------------------------------------------------------------


def protocols(posts: pd.DataFrame, name: str = "") -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Ways to part a corpus: protocol -> (train rows, test rows) of each fold; dev counts as train.

    event: each large event of PHEME in turn, twins taken out of train. published, official: the split the corpus comes
    with.
    random: protocol random of `data.protocols`.
    """
    made: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    if set(splits.PHEME_DEV) <= set(posts["event"]):
        folds = data_protocols.event_folds(posts)
        made["event"] = [_rows(splits.event_fold(posts, event, dev)["split"]) for event, dev in folds.items()]
    published = config.about(name).protocol == "published"
    if (posts["split"] == "test").any() and (published or not made):  # else test is an event held out by us
        made["published" if published else "official"] = [_rows(posts["split"])]
    corpus = Corpus(name, posts, None, "")
    made["random"] = [_rows(data_protocols.split(corpus, data_protocols.Protocol("random"))["split"])]
    return made


def _rows(split: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    return np.flatnonzero(split.isin(["train", "dev"])), np.flatnonzero(split == "test")


# --- what a shortcut scores -----------------------------------------------------------------------


def answers(evidence: Evidence, fold: Fold) -> Iterator[tuple[str, Answer]]:
    """Every shortcut the corpus has the data for, by its printed name."""
    codes, pairs = evidence.codes, evidence.pairs
    yield "majority", shortcuts.prior(fold)
    for name in ("event", "author"):
        if name in codes and (codes[name] >= 0).any():
            yield name, shortcuts.look_up(fold, codes[name])
    for name, printed in (("image", "picture"), ("text", "text")):
        if (codes[name] >= 0).any():
            yield f"same {printed}", shortcuts.look_up(fold, codes[name])
            if name in pairs:
                yield f"near-duplicate {printed}", shortcuts.look_up(fold, codes[name], pairs[name])
    for name, values in evidence.numbers.items():
        if np.isfinite(values).any():
            yield f"{name}, threshold", shortcuts.threshold(fold, values)
            yield f"{name}, tree", shortcuts.threshold(fold, values, TREE_DEPTH)
    texts = evidence.posts["text"].tolist()
    yield "surface counts", shortcuts.of_words(fold, "surface_lr", texts, evidence.language)
    yield "TF-IDF", shortcuts.of_words(fold, "tfidf_lr", texts, evidence.language)


def shortcut_scores(evidence: Evidence, n_resamples: int = 1000) -> pd.DataFrame:
    """What each shortcut alone scores on each split of a corpus (c_5).

    Unit "post": fitted and scored with every post counting once, accuracy. Unit "image", where pictures carry several
    posts: fitted and scored with every picture counting once, balanced accuracy (the primary metric of Twitter).

    Args: n_resamples: of the cluster bootstrap.
    Returns: SCORE_COLUMNS; known: share of test posts the shortcut has an answer for (elsewhere it says the prior);
        estimate_known: the metric on these posts alone; clusters: what was resampled.
    """
    group = evidence.codes["image_group"]
    pictured = group[group >= 0]
    units = ["post"]
    if len(pictured) and len(pictured) / len(np.unique(pictured)) >= POSTS_PER_IMAGE:
        units.append("image")
    rows = []
    for protocol, folds in evidence.folds.items():
        for unit in units:
            rows += [
                {"dataset": evidence.name, "protocol": protocol, "unit": unit} | row
                for row in _scores(evidence, folds, protocol, unit, n_resamples)
            ]
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def _scores(evidence: Evidence, folds: list, protocol: str, unit: str, n_resamples: int) -> Iterator[dict]:
    clusters, cluster_codes = _clusters(evidence, protocol)
    label = evidence.posts["label"].to_numpy()
    metric = "accuracy" if unit == "post" else "balanced_accuracy"
    found: dict[str, list[pd.DataFrame]] = {}
    for train, test in folds:
        both = [np.ones(len(rows)) if unit == "post" else _image_weight(evidence, rows) for rows in (train, test)]
        for name, answer in answers(evidence, Fold(label, train, test, both[0])):
            columns = {"label": label[test], "prob_rumor": answer.prob, "known": answer.known, "weight": both[1]}
            found.setdefault(name, []).append(pd.DataFrame(columns | {"cluster": cluster_codes[test]}))
    n_train = round(float(np.mean([len(train) for train, _ in folds])))
    for name, parts in found.items():
        posts = pd.concat(parts, ignore_index=True)
        posts["cluster"] = posts["cluster"].where(posts["cluster"] >= 0, "")
        score = statistics.cluster_bootstrap(posts, metric, "cluster", n_resamples, weight="weight")
        of_known = posts[posts["known"]]
        alone = statistics.cluster_bootstrap(of_known, metric, None, 1, weight="weight")[0] if len(of_known) else np.nan
        yield {
            "shortcut": name, "metric": metric, **score._asdict(), "known": float(posts["known"].mean()),
            "estimate_known": alone, "n_train": n_train, "n": len(posts), "clusters": clusters,
            "n_clusters": int(posts["cluster"][posts["cluster"] != ""].nunique() + (posts["cluster"] == "").sum()),
        }  # fmt: skip


def _image_weight(evidence: Evidence, rows: np.ndarray) -> np.ndarray:
    codes = evidence.codes["image"][rows]
    named = pd.DataFrame({"image_group": np.where(codes >= 0, codes.astype(str), "")})
    return keys.image_weights(named).to_numpy()


def _clusters(evidence: Evidence, protocol: str) -> tuple[str, np.ndarray]:
    """What is not independent of what: events where they are held out whole, pictures where posts have them, else
    groups of near-duplicate texts."""
    if protocol == "event":
        return "event", evidence.codes["event"]
    if "image" in evidence.pairs:
        return "picture", evidence.codes["image_group"]
    return "text group", _codes(evidence.posts["text_group"])


# --- what crosses -------------------------------------------------------------------------------


def leaks(evidence: Evidence) -> pd.DataFrame:
    """Twins of test posts in train, per protocol and kind (c_6).

    Returns: LEAK_COLUMNS; groups: distinct pictures, texts, ...; pairs: near-duplicate pairs of them in the corpus;
        crossing: pairs (or, of one group, groups) with one side in test and one in train; test_posts: test posts with
        a twin in train; same_label: share of these whose twins mostly have their label.
    """
    label = evidence.posts["label"].to_numpy()
    kinds = [(f"same {name}", name, None) for name in ("event", "author", "image", "text") if name in evidence.codes]
    kinds += [(f"near-duplicate {name}", name, pairs) for name, pairs in evidence.pairs.items()]
    rows = []
    for protocol, folds in evidence.folds.items():
        for kind, name, pairs in kinds:
            codes = evidence.codes[name]
            if not (codes >= 0).any():
                continue
            counts = np.array([_crossing(label, codes, pairs, *fold) for fold in folds]).sum(axis=0)
            crossing, n_test, twins, agree = counts.tolist()
            rows.append({
                "dataset": evidence.name, "protocol": protocol, "kind": kind.replace("image", "picture"),
                "groups": int(codes.max()) + 1, "pairs": 0 if pairs is None else len(pairs.left), "crossing": crossing,
                "n_test": n_test, "test_posts": twins, "share_of_test": twins / max(n_test, 1),
                "same_label": agree / twins if twins else np.nan,
            })  # fmt: skip
    return pd.DataFrame(rows, columns=list(LEAK_COLUMNS))


def _crossing(
    label: np.ndarray, codes: np.ndarray, pairs: Pairs | None, train: np.ndarray, test: np.ndarray
) -> tuple[int, int, int, int]:
    """Crossing groups or pairs, test posts, those with a twin in train, and those whose twins agree with them."""
    inside = np.zeros((2, int(codes.max()) + 1), bool)
    for side, rows in enumerate((train, test)):
        inside[side, codes[rows][codes[rows] >= 0]] = True
    crossing = int((inside[0] & inside[1]).sum())
    if pairs is not None:
        ends = inside[:, pairs.left], inside[:, pairs.right]
        crossing = int(((ends[0][0] & ends[1][1]) | (ends[0][1] & ends[1][0])).sum())
    answer = shortcuts.look_up(Fold(label, train, test, np.ones(len(train))), codes, pairs)
    agree = answer.known & ((answer.prob >= 0.5) == (label[test] == 1))
    return crossing, len(test), int(answer.known.sum()), int(agree.sum())
