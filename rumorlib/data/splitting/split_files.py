"""Splits on disk: a table of posts and sides, a hash, and the counts that say what the split allows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rumorlib.data import files
from rumorlib.data.keys import effective_number, guard_cell, row_key
from rumorlib.data.posts import SPLITS, PostsError
from rumorlib.data.readers.tables import read_csv

_COLUMNS = (["post_id", "split"], ["row_key", "split"])


def split_hash(posts: pd.DataFrame) -> str:
    """sha256 (hex) of the sorted (post_id, split) pairs: changes when any post changes side."""
    lines = sorted(f"{post_id}\t{split}\n" for post_id, split in zip(posts["post_id"], posts["split"], strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def split_counts(posts: pd.DataFrame) -> pd.DataFrame:
    """Posts per split and class; train, dev and test come first.

    Returns: split, non_rumor, rumor, posts, share_rumor, and the effective number of pictures of each class (images_
        non_rumor, images_rumor): 1 / sum of squared shares of its posts, so 10.0 = as spread as ten equal pictures;
        0 where a class has no picture.
    """
    counts = pd.crosstab(posts["split"], posts["label"]).reindex(columns=[0, 1], fill_value=0)
    first = [name for name in ("train", "dev", "test") if name in counts.index]
    counts = counts.loc[[*first, *(name for name in counts.index if name not in first)]]
    counts.columns = ["non_rumor", "rumor"]
    counts["posts"] = counts["non_rumor"] + counts["rumor"]
    counts["share_rumor"] = counts["rumor"] / counts["posts"]
    for label, name in enumerate(("images_non_rumor", "images_rumor")):
        own = posts[(posts["label"] == label) & (posts["image_group"] != "")]
        spread = {side: effective_number(names) for side, names in own.groupby("split")["image_group"]}
        counts[name] = [spread.get(side, 0.0) for side in counts.index]
    return counts.rename_axis("split").reset_index()


def write_split(posts: pd.DataFrame, path: Path, corpus: str = "", facts: Mapping[str, Any] | None = None) -> None:
    """Write the split as a table sorted by its first column, so that equal splits give equal files, and a .json beside.

    Args:
        path: ends in .csv or .csv.gz.
        corpus: name of a real corpus: posts stand under `keys.row_key`; "": under their own ids.
        facts: what the .json says besides the number of posts, their counts and `split_hash`.
    """
    table = _keyed(posts, corpus).assign(split=posts["split"]).sort_values("key")
    files.write_csv(path, table.rename(columns={"key": "row_key" if corpus else "post_id"}))
    counts = split_counts(posts)[["split", "non_rumor", "rumor"]].to_dict("records")
    own = {"n_posts": len(posts), "split_hash": split_hash(posts), "counts": counts}
    files.write_json(facts_path(path), {**(facts or {}), **own})


def read_split(posts: pd.DataFrame, path: Path, corpus: str = "") -> pd.DataFrame:
    """`posts` with the splits of a file: columns post_id, split, or row_key, split as `write_split` writes them.

    Args: corpus: name of the corpus, needed for files of row keys.
    Raises: PostsError: other columns, an unknown split, other posts than `posts`, or not the split that the .json
        beside it was written for.
    """
    frame = read_csv(path)
    columns = list(frame.columns)
    if columns not in _COLUMNS or frame[columns[0]].duplicated().any():
        raise PostsError(f"{path}: expected columns post_id, split with each post once; write it with write_split")
    unknown = ~frame["split"].isin(SPLITS) & ~frame["split"].str.startswith(("test_", "pairs"))
    if unknown.any():
        row = int(unknown.to_numpy().argmax())
        raise PostsError(f"{path}, row {row + 1}: unknown split {frame['split'][row]!r}; write train, dev or test")
    if columns[0] == "row_key" and not corpus:
        raise PostsError(f"{path} names its posts by row_key; say which corpus it belongs to")
    named = dict(zip(frame[columns[0]], frame["split"], strict=True))
    own = _keyed(posts, corpus if columns[0] == "row_key" else "")["key"].tolist()
    if odd := set(own) ^ set(named):
        raise PostsError(
            f"{path}: {len(odd)} posts differ from the corpus ({len(set(named) - set(own))} only in the file, "
            f"{len(set(own) - set(named))} only in the corpus), e.g. {min(odd)}; remove the file to write it anew"
        )
    result = posts.assign(split=[named[key] for key in own])
    if facts_path(path).is_file():
        _check_hash(result, path)
    return result


def facts_path(path: Path) -> Path:
    """The .json beside a split file: x.csv.gz -> x.json."""
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".csv") + ".json")


def fact(path: Path, name: str) -> Any:
    """One entry of the .json beside a split file; None without it. Raises PostsError: it is damaged."""
    about = facts_path(path)
    return _facts(path).get(name) if about.is_file() else None


def _facts(path: Path) -> dict[str, Any]:
    found = files.read_object(facts_path(path))
    if "split_hash" not in found:
        raise PostsError(f"{facts_path(path)} is damaged; remove it and {path.name} to write both anew")
    return found


def _check_hash(posts: pd.DataFrame, path: Path) -> None:
    if _facts(path)["split_hash"] != split_hash(posts):
        raise PostsError(f"{path} is not the split {facts_path(path).name} was written for; restore or remove both")


def _keyed(posts: pd.DataFrame, corpus: str) -> pd.DataFrame:
    ids = posts["post_id"]
    keys = [row_key(corpus, post_id) for post_id in ids] if corpus else [guard_cell(post_id) for post_id in ids]
    table = pd.DataFrame({"key": keys}, index=posts.index)
    if table["key"].duplicated().any():
        twice = ids[table["key"].duplicated(keep=False)].tolist()[:2]
        raise PostsError(f"posts {' and '.join(twice)} have one key in a split file; rename one of them")
    return table
