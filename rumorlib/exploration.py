"""What is in the corpora beyond counts: effective numbers, picture sizes, and the leakage audit of each (c_5 to c_7).

Frames hold numbers only: no text, no picture and no id of a post.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from PIL import Image

from rumorlib import audit, inputs
from rumorlib.config import Settings
from rumorlib.data.dates import offset_hours, parse_dates
from rumorlib.data.images import FORMATS, ArrayImages, FolderImages, ImageError
from rumorlib.data.keys import effective_number
from rumorlib.data.posts import Corpus
from rumorlib.models import baselines
from rumorlib.profiles import SIZES

# Drawn texts come from a few wordings and drawn scenes from a few objects: only copies are near-duplicates there.
DRAWN_AUDIT = {"min_jaccard": 0.8, "min_correlation": 0.98, "crops": False}


def effective_numbers(loaded: Sequence[Corpus]) -> pd.DataFrame:
    """How many independent events and pictures a split amounts to: 1 / sum of squared shares of its posts (c_7).

    Returns: dataset, split, posts, events, effective_events, images, effective_images, languages (the three most
        frequent with their shares), first_day and last_day of publishing; empty where a corpus does not tell.
    """
    rows = []
    for corpus in loaded:
        for split, part in corpus.posts[corpus.posts["split"].isin(audit.USED)].groupby("split", sort=False):
            row = {"dataset": corpus.name, "split": split or "(none)", "posts": len(part)}
            for kind, column in (("events", "event"), ("images", "image_group")):
                names = part.loc[part[column] != "", column]
                row |= {kind: names.nunique(), f"effective_{kind}": effective_number(names)}
            shares = part["language"].replace("", "?").value_counts(normalize=True).head(3)
            row["languages"] = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
            days = parse_dates(part["created_at"], offset_hours(part["language"])).dropna()
            row |= {"first_day": f"{days.min():%Y-%m-%d}" if len(days) else "",
                    "last_day": f"{days.max():%Y-%m-%d}" if len(days) else ""}  # fmt: skip
            rows.append(row)
    return pd.DataFrame(rows)


def picture_sizes(loaded: Sequence[Corpus]) -> pd.DataFrame:
    """Width and height of the distinct picture files, read from their headers.

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
    return pd.DataFrame(rows)


def _size(images: FolderImages | ArrayImages, key: str) -> tuple[int, int, str] | None:
    """Width, height and format of one picture; None if its header cannot be read."""
    if isinstance(images, ArrayImages):
        height, width = images.array.shape[1:3]
        return width, height, "drawn"
    try:
        with Image.open(images.path(key), formats=FORMATS) as image:
            return *image.size, image.format
    except (ImageError, OSError, ValueError, SyntaxError):
        return None


def audited(loaded: Sequence[Corpus], settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The leakage audit of several corpora: what shortcuts score (c_5), and twins across splits (c_6).

    Pictures are compared with the features of the profile's frozen encoder where it has one. Corpora that show the same
    pictures (English and Chinese) have them compared once.
    """
    scores, leaks, seen = [], [], {}
    for corpus in loaded:
        features = None
        if corpus.images is not None and SIZES[settings.profile].vision.kind == "feature_map":
            features = _pooled_features(corpus, settings)
        options = DRAWN_AUDIT if corpus.name.startswith("demo-") else {}
        same = corpus.name.removesuffix("-zh").removesuffix("-en")  # one set of pictures, two languages
        evidence = audit.gather(corpus, features, known_pairs=seen.get(same), **options)
        if same != corpus.name and "image" in evidence.pairs:
            seen[same] = evidence.pairs["image"]
        scores.append(audit.shortcut_scores(evidence))
        leaks.append(audit.leaks(evidence))
    return pd.concat(scores, ignore_index=True), pd.concat(leaks, ignore_index=True)


def _pooled_features(corpus: Corpus, settings: Settings) -> dict[str, np.ndarray]:
    """Image key -> mean of its frozen feature map."""
    maps, rows = inputs.images_of(corpus, SIZES[settings.profile].vision, settings)
    means = baselines.pooled(maps)
    return {key: means[row] for key, row in zip(corpus.posts["image"], rows.tolist()) if key}


def shortcut_bars(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of c_5 as `plots.shortcut_scores` draws them, a colour per protocol: accuracy, every post counting once."""
    of_posts = scores[scores["unit"] == "post"]
    return of_posts.assign(metric=of_posts["protocol"] + " split")[
        ["dataset", "shortcut", "metric", "estimate", "low", "high", "known", "n"]
    ]
