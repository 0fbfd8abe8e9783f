"""Pictures packed as base64 lines of text files: the form Chinese-CLIP hands COCO-CN out in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rumorlib.data.images import MAX_PIXELS, ImageError, decode

MAX_BYTES = 50_000_000  # longest line read: a picture of 37 MB


class PackedImages:
    """Lines `<id><TAB><base64>` of one or more files; read once for their places, then one line per picture.

    Args: files: the .tsv files. max_pixels: larger pictures are refused before they are decoded.
    Raises: ImageError: a line has no tab or is longer than MAX_BYTES, or an id is there twice.
    """

    def __init__(self, files: Sequence[Path], max_pixels: int = MAX_PIXELS) -> None:
        self.root = files[0].parent
        self.max_pixels = max_pixels
        self._at: dict[str, tuple[Path, int, int]] = {}  # key -> file, first byte and number of its line
        for path in files:
            with path.open("rb") as file:
                number, start = 1, 0
                while line := file.readline(MAX_BYTES):
                    key, tab, _ = line.partition(b"\t")
                    if not tab or (len(line) == MAX_BYTES and not line.endswith(b"\n")):
                        raise ImageError(f"{path}, row {number}: expected an id, a tab and a base64 picture")
                    name = key.decode("utf-8", errors="replace").strip()
                    if name in self._at:
                        other, _, row = self._at[name]
                        raise ImageError(f"{path}, row {number}: the id {name!r} stands in {other.name}, row {row} "
                                         "already; keep one")  # fmt: skip
                    self._at[name] = (path, start, number)
                    start, number = file.tell(), number + 1

    def has(self, key: str) -> bool:
        return key in self._at

    def content_hash(self, key: str) -> str:
        return hashlib.sha256(self._bytes(key)).hexdigest()

    def pixels(self, key: str, size_px: int) -> np.ndarray:
        content = self._bytes(key)
        path, _, number = self._at[key]
        return decode(io.BytesIO(content), f"{path}, row {number}", size_px, self.max_pixels)

    def _bytes(self, key: str) -> bytes:
        if key not in self._at:
            raise ImageError(f"no picture {key!r} in the .tsv files of {self.root}; restore it or remove its captions")
        path, start, number = self._at[key]
        with path.open("rb") as file:
            file.seek(start)
            line = file.readline(MAX_BYTES)
        try:  # both alphabets are in use: Chinese-CLIP writes the URL-safe one
            return base64.b64decode(line.partition(b"\t")[2].strip(), altchars=b"-_")
        except binascii.Error as error:
            raise ImageError(f"{path}, row {number}: not base64 ({error}); restore the line") from None
