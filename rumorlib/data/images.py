"""Pictures by key: files in a folder, or arrays in memory; always fully decoded RGB of a fixed size."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")  # nothing else is handed to a decoder
EXTENSIONS = ("", ".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")  # of files taken for pictures
MAX_PIXELS = 50_000_000  # largest picture decoded: 150 MB as RGB
_UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)  # fmt: skip


class ImageError(ValueError):
    """A picture cannot be used; the message names the file and what to do."""


class Images(Protocol):
    """Pictures of a corpus, by key."""

    def pixels(self, key: str, size_px: int) -> np.ndarray:
        """uint8 (size_px, size_px, 3), RGB. Raises ImageError naming the file and the remedy."""
        ...

    def content_hash(self, key: str) -> str:
        """sha256 (hex) of the content: two keys with one hash show the same picture."""
        ...

    def has(self, key: str) -> bool:
        """Whether the picture exists (it may still fail to decode)."""
        ...


class FolderImages:
    """Files below `root`; a key is a relative path with forward slashes, extension or not.

    Args: root: folder of the pictures. max_pixels: larger pictures are refused before they are decoded.
    """

    def __init__(self, root: Path | str, max_pixels: int = MAX_PIXELS) -> None:
        self.root = Path(root)
        self.max_pixels = max_pixels

    def path(self, key: str) -> Path:
        """File of `key`. Raises ImageError when the key leads out of the folder."""
        parts = PurePosixPath(key).parts
        if not parts or key.startswith("/") or ".." in parts or set(key) & set("\\\0") or ":" in parts[0]:
            raise ImageError(
                f"image key {key!r} is not a path below {self.root}; use a relative path with '/', without '..'"
            )
        path = self.root.joinpath(*parts)
        # A linked folder is the owner's choice of disk; a link in the place of a picture may point at any file.
        try:
            leaves = path.is_symlink() and not path.resolve().is_relative_to(self.root.resolve())
        except OSError as error:  # a name the disk refuses, e.g. longer than 255 bytes
            raise ImageError(f"image key {key[:60]!r}... is no file name ({error.strerror}); shorten it") from None
        if leaves:
            raise ImageError(f"{path} is a link that leaves {self.root}; put the picture itself there")
        return path

    def has(self, key: str) -> bool:
        try:
            return self.path(key).is_file()
        except ImageError:
            return False

    def opens(self, key: str) -> bool:
        """Whether the file begins like a picture of FORMATS; the rest is not decoded."""
        try:
            with Image.open(self.path(key), formats=FORMATS) as image:
                return image.width * image.height <= self.max_pixels
        except (ImageError, *_UNREADABLE):
            return False

    def content_hash(self, key: str) -> str:
        return hashlib.sha256(self._read(key)).hexdigest()

    def pixels(self, key: str, size_px: int) -> np.ndarray:
        path = self.path(key)
        if not path.is_file():
            raise ImageError(f"{path} does not exist; restore the picture or remove its posts")
        return decode(path, str(path), size_px, self.max_pixels)

    def _read(self, key: str) -> bytes:
        path = self.path(key)
        try:
            return path.read_bytes()
        except OSError as error:
            raise ImageError(f"{path} cannot be read ({error}); restore the picture or remove its posts") from error


def files_by_stem(folder: Path) -> dict[str, str]:
    """Name without extension -> path below `folder`, for files whose published name differs in its extension.

    All folders below are searched; names that start with a dot (AppleDouble, .DS_Store) are passed over. Of two files
    with one stem the one that sorts last is kept (.png after .jpg).
    """
    found: dict[str, str] = {}
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        below = Path(place).relative_to(folder)
        for name in sorted(files):
            if not name.startswith(".") and PurePosixPath(name).suffix.lower() in EXTENSIONS:
                found[name.rsplit(".", 1)[0] if "." in name else name] = (below / name).as_posix()
    return found


class ArrayImages:
    """Pictures held in memory.

    Args: keys: n distinct names. array: (n, H, W, 3) uint8 RGB.
    Raises: ValueError: shape or type differ, or a key repeats.
    """

    def __init__(self, keys: Sequence[str], array: np.ndarray) -> None:
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3 or len(keys) != len(array):
            raise ValueError(f"expected {len(keys)} uint8 pictures (n, H, W, 3), got {array.dtype} {array.shape}")
        self.keys = tuple(keys)
        self.array = array
        self._row = {key: row for row, key in enumerate(self.keys)}
        if len(self._row) != len(self.keys):
            raise ValueError("picture keys must be distinct")

    def has(self, key: str) -> bool:
        return key in self._row

    def content_hash(self, key: str) -> str:
        pixels = self._pixels(key)
        return hashlib.sha256(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()

    def pixels(self, key: str, size_px: int) -> np.ndarray:
        pixels = self._pixels(key)
        if pixels.shape[:2] == (size_px, size_px):
            return pixels.copy()
        return _to_array(Image.fromarray(pixels), size_px)

    def _pixels(self, key: str) -> np.ndarray:
        if key not in self._row:
            raise ImageError(f"no picture {key!r} among the {len(self.keys)} in memory; use one of their keys")
        return self.array[self._row[key]]


def decode(file: Path | BinaryIO, name: str, size_px: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The whole picture in `file`, uint8 (size_px, size_px, 3) RGB. Raises: ImageError, which names it `name`."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise ImageError(f"{name} has {image.width}x{image.height} pixels, more than {max_pixels:,}; shrink it")
            image.draft("RGB", (size_px, size_px))  # JPEG only: decode at 1/2, 1/4 or 1/8, never below the target
            image.load()  # the whole file: verify() passes half a JPEG
            return _to_array(image, size_px)
    except ImageError:
        raise
    except _UNREADABLE as error:
        raise ImageError(
            f"{name} cannot be decoded ({error}); replace it by a whole {'/'.join(FORMATS)} or remove its posts"
        ) from error


def _to_array(image: Image.Image, size_px: int) -> np.ndarray:
    """Decoded picture -> upright RGB on white, squashed to a square (aspect ratio is not kept)."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16-bit grey: convert() would clip it to white
        upright = Image.fromarray((np.asarray(upright).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    rgb = upright.convert("RGB")
    return np.asarray(rgb.resize((size_px, size_px), Image.Resampling.BICUBIC))
