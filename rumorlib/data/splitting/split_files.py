"""Splits on disk: a table of posts and sides, and above it a line with its hash and the counts that it allows."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rumorlib.data import files
from rumorlib.data.keys import effective_number, guard_cell, row_key
from rumorlib.data.posts import SPLITS, PostsError
from rumorlib.data.readers.tables import read_csv

ABOVE = "# {"  # begins the line above the header: facts as JSON
LONGEST_LINE = 2**20
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
    """Write the split as a table sorted by its first column, so that equal splits give equal files, below a line
    of facts.

    Args:
        path: ends in .csv or .csv.gz.
        corpus: name of a real corpus: posts stand under `keys.row_key`; "": under their own ids.
        facts: what that line says besides the number of posts, their counts and `split_hash`.
    """
    table = _keyed(posts, corpus).assign(split=posts["split"]).sort_values("key")
    counts = split_counts(posts)[["split", "non_rumor", "rumor"]].to_dict("records")
    own = {"n_posts": len(posts), "split_hash": split_hash(posts), "counts": counts}
    above = "# " + json.dumps(files.plain({**(facts or {}), **own}), sort_keys=True)
    files.write_csv(path, table.rename(columns={"key": "row_key" if corpus else "post_id"}), above)


def read_split(posts: pd.DataFrame, path: Path, corpus: str = "") -> pd.DataFrame:
    """`posts` with the splits of a file: columns post_id, split, or row_key, split as `write_split` writes them.

    Args: corpus: name of the corpus, needed for files of row keys.
    Raises: PostsError: other columns, an unknown split, other posts than `posts`, or not the split that it
        says of itself.
    """
    frame = read_csv(path, ABOVE)
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
    said = facts_of(path).get("split_hash")
    if said and said != split_hash(result):
        raise PostsError(f"{path} holds another split than its first line was written for; restore or remove it")
    return result


def facts_of(path: Path) -> dict[str, Any]:
    """What a stored split says of itself; {} of a file without the line, or of none. Raises PostsError: damaged."""
    try:
        with files.open_regular(path) as stored, gzip.open(stored) if path.suffix == ".gz" else stored as file:
            first = file.readline(LONGEST_LINE).decode("utf-8-sig")
        if not first.startswith(ABOVE):  # a user's own; or ours of before, which has them in a file beside
            return files.read_object(path.with_name(path.name.removesuffix(".gz").removesuffix(".csv") + ".json"))
        found = json.loads(first.removeprefix("# "))
        if isinstance(found, dict) and "split_hash" in found:
            return found
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError, EOFError, OSError, zlib.error):
        pass
    raise PostsError(f"{path} is damaged; restore it, or remove it to write it anew")


def stored_facts(path: Path) -> dict[str, Any]:
    """`facts_of`, of a split that we keep. Raises PostsError: as that; or the file says nothing of itself."""
    if not (found := facts_of(path)) and path.is_file():
        raise PostsError(f"{path} does not say what it holds; restore it, or remove it to write it anew")
    return found


def _keyed(posts: pd.DataFrame, corpus: str) -> pd.DataFrame:
    ids = posts["post_id"]
    keys = [row_key(corpus, post_id) for post_id in ids] if corpus else [guard_cell(post_id) for post_id in ids]
    table = pd.DataFrame({"key": keys}, index=posts.index)
    if table["key"].duplicated().any():
        twice = ids[table["key"].duplicated(keep=False)].tolist()[:2]
        raise PostsError(f"posts {' and '.join(twice)} have one key in a split file; rename one of them")
    return table
