"""What becomes of a post whose picture is missing (choice C26): kept, dropped, blanked, or an error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rumorlib.config import ON_MISSING, OnMissing
from rumorlib.data import files, posts
from rumorlib.data.images import FolderImages, ImageError, Images
from rumorlib.data.posts import PostsError


def settle(
    table: pd.DataFrame,
    images: Images,
    source: str,
    on_missing_image: OnMissing = "drop",
    places: Sequence[tuple[str, int]] | None = None,
    headers: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Do with every post without a picture what `on_missing_image` says (choice C26).

    Args:
        table: posts (post_id) or captions (image, caption_id), index 0..n-1; `image` "" = none was given.
        images: where the keys lead. Existence is checked, decoding is not: `check-data` does.
        source: file the rows come from; places: (file, row) of every row, where there are several files.
        headers: a file that does not begin like a picture counts as missing too (one file opened per key).
    Returns: the table, index 0..m-1, and the dropped rows (DROPPED_COLUMNS), whose reason names the key.
    Raises: PostsError: a picture is missing and the rule is "error", or every picture is missing and it is "drop".
    """
    if on_missing_image not in ON_MISSING:
        raise PostsError(f"on_missing_image {on_missing_image!r} is none of {', '.join(ON_MISSING)}")
    if on_missing_image == "keep":
        return table, posts.no_drops()
    reason_of = {key: _problem(images, key, headers) for key in table["image"].unique()}
    root = getattr(images, "root", "the pictures")
    if on_missing_image == "drop" and reason_of and all(reason_of.values()):
        raise PostsError(
            f"{source}: none of {len(reason_of)} pictures exists below {root} ({next(iter(reason_of.values()))}); "
            "put them there, or read with on_missing_image='keep' to use the texts alone"
        )
    if on_missing_image == "error":  # the message says where it was looked for
        reason_of = {key: reason and f"{reason} below {root}" for key, reason in reason_of.items()}
    return settle_reasons(table, table["image"].map(reason_of), source, on_missing_image, places)


def settle_reasons(
    table: pd.DataFrame,
    reasons: pd.Series,
    source: str,
    on_missing_image: OnMissing,
    places: Sequence[tuple[str, int]] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`settle` where it is known already what is wrong with each row's picture: reasons (n,), "" = nothing.

    Returns and Raises: as `settle`.
    """
    gone = (reasons != "").to_numpy()
    if not gone.any() or on_missing_image == "keep":
        return table, posts.no_drops()
    if on_missing_image == "blank":
        return table.assign(image=table["image"].where(~gone, "")), posts.no_drops()
    if on_missing_image == "error":
        row = int(gone.argmax())
        raise PostsError(
            f"{posts.place(source, row + 1, places)}: {reasons.iloc[row]}; "
            "restore it, remove the row, or read with on_missing_image='drop'"
        )
    return table[~gone].reset_index(drop=True), dropped_rows(table, gone, reasons, source, places)


def dropped_rows(
    table: pd.DataFrame,
    gone: np.ndarray,
    reasons: pd.Series,
    source: str,
    places: Sequence[tuple[str, int]] | None = None,
) -> pd.DataFrame:
    """The rows `gone` (n,) bool of `table` as a table of dropped rows; an image and caption_id name a caption."""
    rows = np.flatnonzero(gone)
    part = table.iloc[rows]
    names = part["post_id"] if "post_id" in part else part["image"] + "#" + part["caption_id"].astype(str)
    found = [places[row] if places else (source, int(row) + 1) for row in rows]
    return pd.DataFrame(
        {
            "post_id": names.tolist(),
            "source": [name for name, _ in found],
            "row": [row for _, row in found],
            "reason": reasons.iloc[rows].tolist(),
        },
        columns=list(posts.DROPPED_COLUMNS),
    )


def leave_out(
    table: pd.DataFrame, reasons: Sequence[str], source: str, places: Sequence[tuple[str, int]]
) -> tuple[pd.DataFrame, list[tuple[str, int]], pd.DataFrame]:
    """Rows without a reason "" and their places, and the others as dropped rows; before `posts.check`."""
    gone = np.array([bool(reason) for reason in reasons], bool)
    dropped = dropped_rows(table, gone, pd.Series(list(reasons), dtype=object), source, places)
    kept = [place for place, out in zip(places, gone, strict=True) if not out]
    return table[~gone].reset_index(drop=True), kept, dropped


def repeats(names: Sequence[str]) -> list[str]:
    """For every name "", or which row (1 = first) it repeats: published files hold some posts twice."""
    first: dict[str, int] = {}
    found = [first.setdefault(name, row) for row, name in enumerate(names, 1)]
    return [f"id repeats that of post {row}" if row != own else "" for own, row in enumerate(found, 1)]


def _problem(images: Images, key: str, headers: bool) -> str:
    """Why there is no picture for `key`; "" when there is one."""
    if not key:
        return "no image"
    if isinstance(images, FolderImages):
        try:
            path = images.path(key)
        except ImageError as error:  # a key out of the folder
            return str(error)
        exists = files.is_regular(path)
        if not exists and path.exists():
            return f"image {key} is no file that can be read"
        if exists and headers and not images.header(key):
            return f"image {key} is no picture that can be opened"
    else:
        exists = images.has(key)
    return "" if exists else f"image {key} does not exist"
