"""Posts as somebody hands them over: a dict, a list of dicts or a frame -> texts, pictures, and what is missing."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from rumorlib.data import files, images, keys
from rumorlib.data.images import FolderImages, ImageError, Images
from rumorlib.data.readers.mapping import names_in

HAN = 0.2  # share of Han characters among letters that tells Chinese posts from others
MOST_BYTES = images.MAX_BYTES


class Picture:
    """One picture, decoded when it is asked for, once per size. Args: source: path, bytes, PIL image or (H, W, 3) uint8
    array; or a key of `below`."""

    def __init__(self, source: Any, below: Images | None = None) -> None:
        self.source, self.below, self._made = source, below, {}

    def pixels(self, size_px: int) -> np.ndarray:
        """uint8 (size_px, size_px, 3) RGB. Raises: ImageError: it cannot be used."""
        if size_px not in self._made:
            self._made[size_px] = self._decode(size_px)
        return self._made[size_px]

    def _decode(self, size_px: int) -> np.ndarray:
        source = self.source
        if self.below is not None:
            return self.below.pixels(source, size_px)
        if isinstance(source, np.ndarray):
            if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or not source.size:
                raise ImageError(f"an array of {source.dtype} {source.shape} is no picture; give uint8 (H, W, 3)")
            source = Image.fromarray(source)
        if isinstance(source, Image.Image):
            return images.squared(source, size_px, "the picture given")
        if isinstance(source, (bytes, bytearray, memoryview)):
            if len(source) > MOST_BYTES:
                raise ImageError(f"the picture given has more than {MOST_BYTES:,} bytes; shrink it")
            return images.decode(io.BytesIO(bytes(source)), "the picture given", size_px)
        path = Path(source)
        try:
            with files.open_regular(path) as file:
                if path.stat().st_size > MOST_BYTES:
                    raise ImageError(f"{path} has more than {MOST_BYTES:,} bytes; shrink it")
                return images.decode(file, str(path), size_px)
        except (OSError, ValueError) as error:
            if isinstance(error, ImageError):
                raise
            raise ImageError(f"{path} cannot be read ({error}); name a picture") from None


@dataclass(frozen=True, eq=False)
class Given:
    """n posts: texts ("" = none), pictures (None = none that can be used), what each lacks, and the frame's index."""

    texts: list[str]
    pictures: list[Picture | None]
    missing: list[list[str]]
    index: pd.Index

    def __len__(self) -> int:
        return len(self.texts)


def posts_of(
    asked: Mapping[str, Any] | Sequence[Mapping[str, Any]] | pd.DataFrame, root: Path | None = None, decode: int = 0
) -> Given:
    """Posts with `text`, `image` or both; other fields are not read.

    Args:
        root: folder below which pictures are named (a file of posts); None: a name is a path, wherever it leads.
        decode: side in pixels that pictures are decoded to here, so that one that does not open counts as missing; 0:
            pictures are not read.
    Raises: ValueError: not posts, or no post has text or image.
    """
    if isinstance(asked, pd.DataFrame):
        names, index = set(asked.columns), asked.index
        column = {name: asked[name] for name in ("text", "image") if name in names}
    else:  # without a frame: for one post it would take a millisecond
        rows = [asked] if isinstance(asked, Mapping) else list(asked)
        if not all(isinstance(row, Mapping) for row in rows):
            raise ValueError("posts are a dict, a list of dicts or a DataFrame, with text, image or both")
        names, index = set().union(*rows), pd.RangeIndex(len(rows))
        column = {name: [row.get(name) for row in rows] for name in ("text", "image")}
    if len(index) and not {"text", "image"} & names:
        raise ValueError(f"posts have text, image or both; got {', '.join(sorted(map(str, names))) or 'nothing'}")
    blank = [None] * len(index)
    texts = [text_of(value) for value in column.get("text", blank)]
    below = FolderImages(root) if root else None
    found = [picture_of(value, below, decode) for value in column.get("image", blank)]
    missing = [["text"] * (not text) + ([why] if why else []) for text, (_, why) in zip(texts, found)]
    return Given(texts, [picture for picture, _ in found], missing, index)


def text_of(value: Any) -> str:
    """The text of a cell; "" where nothing in it can be seen."""
    text = keys.cell(value).encode("utf-8", "replace").decode()  # half a surrogate pair becomes a question mark
    return text if any(unicodedata.category(c)[0] not in "ZC" for c in text) else ""


def picture_of(value: Any, below: FolderImages | None, decode: int) -> tuple[Picture | None, str]:
    """The picture of a cell, and what to say where there is none that opens."""
    if value is None or (pd.api.types.is_scalar(value) and not isinstance(value, bytes) and pd.isna(value)):
        return None, "picture"
    if isinstance(value, (str, Path)) and not str(value).strip():
        return None, "picture"
    if isinstance(value, (str, Path)) and below is not None:
        name = (names_in(str(value)) or [""])[0]
        picture = Picture(name, below)
    elif isinstance(value, (str, Path, bytes, bytearray, memoryview, np.ndarray, Image.Image)):
        picture = Picture(value)
    else:
        return None, f"picture: a {type(value).__name__} is none"
    if decode:
        try:
            picture.pixels(decode)
        except ImageError as error:
            return None, f"picture: {error}"
    return picture, ""


def wrong_language(text: str, language: str) -> bool:
    """Whether a text is Chinese where another language is read, or the other way round; never for few letters."""
    letters = [c for c in keys.normalise_text(text[:2000]) if c.isalpha()]
    if len(letters) < 5:
        return False
    share = sum("\u4e00" <= c <= "\u9fff" for c in letters) / len(letters)
    return share < HAN if language == "zh" else share > HAN
