"""What is in the corpora beyond counts: their folders checked, effective numbers, picture sizes, crossings, and the
leakage audit of each (c_4 to c_8).

Frames hold numbers only: no text, no picture and no id of a post.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rumorlib import config, inputs
from rumorlib.config import Settings
from rumorlib.config.profiles import SIZES
from rumorlib.data import corpora
from rumorlib.data.dates import offset_hours, parse_dates
from rumorlib.data.images import ArrayImages, FolderImages
from rumorlib.data.inspection import inspect_folder
from rumorlib.data.keys import effective_number
from rumorlib.data.posts import Corpus
from rumorlib.data.splitting import splits
from rumorlib.models import baselines
from rumorlib.studies.corpus import audit

# Drawn texts come from a few wordings and drawn scenes from a few objects: only copies are near-duplicates there.
DRAWN_AUDIT = {"min_jaccard": 0.8, "min_correlation": 0.98, "crops": False}


def effective_numbers(loaded: Sequence[Corpus]) -> pd.DataFrame:
    """How many independent events and pictures a split amounts to: 1 / sum of squared shares of its posts (c_7).

    Returns: dataset, split, posts, events, effective_events, images (0 where posts come without), effective_images,
        languages (the three most frequent with their shares), first_day and last_day of publishing and the middle day
        of each class; empty where a corpus does not tell.
    """
    rows = []
    for corpus in loaded:
        for split, part in corpus.posts[corpus.posts["split"].isin(audit.USED)].groupby("split", sort=False):
            row = {"dataset": corpus.name, "split": split or "(none)", "posts": len(part)}
            for kind, column in (("events", "event"), ("images", "image_group")):
                # a corpus of texts may name pictures that nobody has: they tie posts together but are not counted
                named = (part[column] != "") & ((kind == "events") | (part["image"] != ""))
                names = part.loc[named, column]
                row |= {kind: names.nunique(), f"effective_{kind}": effective_number(names)}
            shares = part["language"].replace("", "?").value_counts(normalize=True).head(3)
            row["languages"] = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
            days = parse_dates(part["created_at"], offset_hours(part["language"]))
            row |= {"first_day": _day(days.min()), "last_day": _day(days.max())}
            for label, name in enumerate(("non_rumor", "rumor")):
                row[f"median_day_{name}"] = _day(days[part["label"] == label].median())
            rows.append(row)
    return pd.DataFrame(rows)


def _day(time: pd.Timestamp) -> str:
    return "" if pd.isna(time) else f"{time:%Y-%m-%d}"


def checked(settings: Settings) -> pd.DataFrame:
    """`check-data` on the folder of every corpus of the profile: what it holds and whether it can be used.

    Returns: folder (below the data root; for posts of one's own their name), layout, posts or captions, and of them
        dropped, missing, unreadable; duplicate_texts, duplicate_images, share_rumor (nan for captions), problems,
        notes, verdict. Empty for drawn corpora, which have no files.
    Raises: PostsError: a folder cannot be read.
    """
    shown = ["posts", "dropped", "missing", "unreadable", "duplicate_texts", "duplicate_images", "share_rumor"]
    rows = []
    named: dict[Path, str] = {}
    for name in settings.datasets:
        if place := corpora.place_of(name, settings):
            known = config.record(name)
            named.setdefault(place, name if known.own else known.folder)
    for place, folder in named.items():
        found = inspect_folder(place, progress=False)
        total = found.splits.iloc[-1].reindex(shown)
        words = {"problems": "; ".join(found.problems), "notes": "; ".join(found.notes)}
        rows.append({"folder": folder, "layout": found.layout, **total, **words, "verdict": found.verdict})
    return pd.DataFrame(rows, columns=["folder", "layout", *shown, "problems", "notes", "verdict"])


def crossings(loaded: Sequence[Corpus], twins: pd.DataFrame) -> pd.DataFrame:
    """Groups that stand in more than one split (c_4), and near-duplicate pictures that no group holds.

    Args: twins: of `audited`.
    Returns: dataset, and the columns of `splits.crossings`; in rows of kind "near_duplicate_pair", of the corpora with
        pictures and a split of their own, groups = pairs of alike pictures, crossing = those with one side in test,
        posts = test posts with a twin on the other side. Where near-duplicates are one image_group these must be 0; the
        photo tier keeps the split of its photographs, and there they are counted.
    """
    frames = [splits.crossings(corpus.posts).assign(dataset=corpus.name) for corpus in loaded]
    alike = twins[twins["protocol"].isin(["official", "published"]) & (twins["kind"] == "near-duplicate picture")]
    pairs = alike.assign(kind="near_duplicate_pair", groups=alike["pairs"], posts=alike["test_posts"])
    frame = pd.concat([*frames, pairs], ignore_index=True)
    order = {corpus.name: row for row, corpus in enumerate(loaded)}
    frame = frame.sort_values("dataset", key=lambda names: names.map(order), kind="stable", ignore_index=True)
    return frame[["dataset", "kind", "groups", "crossing", "posts", "share_of_test"]]


def picture_sizes(loaded: Sequence[Corpus]) -> pd.DataFrame:
    """Width and height of the distinct picture files, read from their headers (c_8).

    Returns: dataset, pictures, unreadable, width_median, height_median, short_side_min, short_side_max (pixels),
        wide_share (share wider than high), and formats with their counts. Corpora without pictures are left out.
    """
    rows = []
    for corpus in loaded:
        keys = [key for key in dict.fromkeys(corpus.posts["image"]) if key]
        if corpus.images is None or not keys:
            continue
        found = [size for size in (_size(corpus.images, key) for key in keys) if size]
        frame = pd.DataFrame(found, columns=["width", "height", "format"])
        short = frame[["width", "height"]].min(axis=1)
        rows.append({
            "dataset": corpus.name, "pictures": len(keys), "unreadable": len(keys) - len(frame),
            "width_median": frame["width"].median(), "height_median": frame["height"].median(),
            "short_side_min": short.min(), "short_side_max": short.max(),
            "wide_share": float((frame["width"] > frame["height"]).mean()),
            "formats": ", ".join(f"{name} {n}" for name, n in frame["format"].value_counts().items()),
        })  # fmt: skip
    columns = ["dataset", "pictures", "unreadable", "width_median", "height_median", "short_side_min", "short_side_max",
               "wide_share", "formats"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _size(images: FolderImages | ArrayImages, key: str) -> tuple[int, int, str] | None:
    """Width, height and format of one picture; None if its header cannot be read."""
    if isinstance(images, ArrayImages):
        height, width = images.array.shape[1:3]
        return width, height, "drawn"
    return images.header(key)


def audited(loaded: Sequence[Corpus], settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The leakage audit of several corpora: what shortcuts score (c_5), and twins across splits (c_6).

    Pictures are compared with the features of the profile's frozen encoder where it has one and the weights are here.
    Corpora that show the same pictures (English and Chinese) have them compared once.
    """
    scores, leaks, seen = [], [], {}
    for corpus in loaded:
        features = _pooled_features(corpus, settings) if corpus.images is not None else None
        known = config.record(corpus.name)
        options = DRAWN_AUDIT if known.kind == "drawn" else {}
        same = known.same_pictures  # one set of pictures, two languages
        evidence = audit.gather(corpus, features, known_pairs=seen.get(same), **options)
        if same and "image" in evidence.pairs:
            seen[same] = evidence.pairs["image"]
        scores.append(audit.shortcut_scores(evidence))
        leaks.append(audit.leaks(evidence))
    return pd.concat(scores, ignore_index=True), pd.concat(leaks, ignore_index=True)


def _pooled_features(corpus: Corpus, settings: Settings) -> dict[str, np.ndarray] | None:
    """Image key -> mean of its frozen feature map; None where the profile has no such encoder, or it is not here."""
    vision = SIZES[settings.profile].vision.as_map
    if vision is None:
        return None
    try:
        inputs.weights_folder(vision.weights, settings)
    except FileNotFoundError as error:
        print(f"{corpus.name}: pictures are compared without frozen features ({error})")
        return None
    maps, rows = inputs.images_of(corpus, vision, settings)
    means = baselines.pooled(maps)
    return {key: means[row] for key, row in zip(corpus.posts["image"], rows.tolist()) if key}


def shortcut_bars(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of c_5 as `plots.shortcut_scores` draws them, a colour per protocol: accuracy, every post counting once."""
    of_posts = scores[scores["unit"] == "post"]
    return of_posts.assign(metric=of_posts["protocol"] + " split")[
        ["dataset", "shortcut", "metric", "estimate", "low", "high", "known", "n"]
    ]
