"""Pictures by key: files in a folder, or arrays in memory; always fully decoded RGB of a fixed size."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

import numpy as np
from PIL import Image, ImageOps

from rumorlib.data import files

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")  # nothing else is handed to a decoder
EXTENSIONS = ("", ".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")  # of files taken for pictures
MAX_PIXELS = 50_000_000  # largest picture decoded: 150 MB as RGB
MAX_SIDE_PX = 65_535  # JPEG's own limit; resizing takes memory by the longer side, whatever the other
MAX_BYTES = 256 * 2**20  # largest file read: MAX_PIXELS at four bytes each, and room
# Where Pillow keeps what it would write back after turning a picture upright: there a tag of the wrong type stops it.
_WRITTEN_BACK = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")


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
        """File of `key`. Raises ImageError when the key leads out of the folder, or nowhere."""
        parts = PurePosixPath(key).parts
        if not parts or key.startswith("/") or ".." in parts or set(key) & set("\\\0") or ":" in parts[0]:
            raise ImageError(
                f"image key {key!r} is not a path below {self.root}; use a relative path with '/', without '..'"
            )
        path = self.root.joinpath(*parts)
        # A linked folder is the owner's choice of disk; a link in the place of a picture may point at any file.
        try:
            leaves = path.is_symlink() and not path.resolve().is_relative_to(self.root.resolve())
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise ImageError(f"image key {key[:60]!r}... is no file name ({error.strerror}); shorten it") from None
            raise _unread(path, error) from None
        except RuntimeError:  # Path.resolve
            raise ImageError(f"{path} is a link that leads to itself; put the picture itself there") from None
        if leaves:
            raise ImageError(f"{path} is a link that leaves {self.root}; put the picture itself there")
        return path

    def has(self, key: str) -> bool:
        try:
            return files.is_regular(self.path(key))
        except ImageError:
            return False

    def header(self, key: str) -> tuple[int, int, str] | None:
        """Width, height (pixels) and format as the file begins, nothing decoded; None: no picture that can be used."""
        try:
            with self._file(key) as file, opened(file, key, self.max_pixels) as image:
                return image.width, image.height, str(image.format)
        except ImageError:
            return None

    def content_hash(self, key: str) -> str:
        with self._file(key) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def pixels(self, key: str, size_px: int) -> np.ndarray:
        with self._file(key) as file:
            return decode(file, str(self.path(key)), size_px, self.max_pixels)

    def _file(self, key: str) -> BinaryIO:
        """The file of `key`, opened. Raises ImageError: there is none, it is no regular file, or it is too long."""
        path = self.path(key)
        try:
            file = files.open_regular(path)
        except FileNotFoundError:
            raise ImageError(f"{path} does not exist; restore the picture or remove its posts") from None
        except OSError as error:
            raise _unread(path, error) from None
        if (size := os.fstat(file.fileno()).st_size) > MAX_BYTES:
            file.close()
            raise ImageError(f"{path} has {size:,} bytes, more than {MAX_BYTES:,}; shrink it")
        return file


def _unread(path: Path, error: OSError) -> ImageError:
    return ImageError(f"{path} cannot be read ({error}); restore the picture or remove its posts")


def files_by_stem(folder: Path) -> dict[str, str]:
    """Name without extension -> path below `folder`, for files whose published name differs in its extension.

    All folders below are searched; names that start with a dot (AppleDouble, .DS_Store) and what is no regular file are
    passed over. Of two files with one stem the one that sorts last is kept (.png after .jpg).
    """
    found: dict[str, str] = {}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        below = Path(place).relative_to(folder)
        for name in sorted(names):
            taken = not name.startswith(".") and PurePosixPath(name).suffix.lower() in EXTENSIONS
            if taken and files.is_regular(Path(place) / name):
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


@contextmanager
def opened(file: BinaryIO, name: str, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The picture that `file` begins with, nothing of it decoded yet, and an ImageError for whatever it does inside.

    A picture from outside can raise anything (TypeError, struct.error, RecursionError ...), and is then a bad picture.

    Raises: ImageError, which names it `name`: no picture of FORMATS, more than max_pixels, a side above MAX_SIDE_PX, or
        Pillow fails. MemoryError passes: the next picture would fail too.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > max_pixels or max(image.size) > MAX_SIDE_PX:
                limit = f"{max_pixels:,}, or than {MAX_SIDE_PX:,} on a side"
                raise ImageError(f"{name} has {image.width}x{image.height} pixels, more than {limit}; shrink it")
            yield image
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise ImageError(
            f"{name} cannot be decoded ({str(error) or type(error).__name__}); replace it by a whole "
            f"{'/'.join(FORMATS)} or remove its posts"
        ) from error


def decode(file: BinaryIO, name: str, size_px: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The whole picture in `file`, of a moving one the first frame: uint8 (size_px, size_px, 3) RGB.

    Raises: ImageError, as `opened`.
    """
    with opened(file, name, max_pixels) as image:
        image.draft("RGB", (size_px, size_px))  # JPEG only: decode at 1/2, 1/4 or 1/8, never below the target
        image.load()  # the whole file: verify() passes half a JPEG
        return _to_array(image, size_px)


def squared(image: Image.Image, size_px: int, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """A picture in memory as `decode` gives one of a file. Raises: ImageError, as `opened`."""
    if image.width * image.height > max_pixels or max(image.size) > MAX_SIDE_PX:
        raise ImageError(f"{name} has {image.width}x{image.height} pixels, more than {max_pixels:,}; shrink it")
    try:
        return _to_array(image.copy(), size_px)
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError(f"{name} cannot be read ({str(error) or type(error).__name__}); give a whole one") from error


def edge_density(pixels: np.ndarray) -> float:
    """Mean length of a picture's grey gradient (Gaussian, one pixel), for how cluttered it looks; 0 of a blank one.

    Args: pixels: (H, W, 3) uint8.
    """
    from scipy.ndimage import gaussian_gradient_magnitude

    return float(gaussian_gradient_magnitude(pixels.mean(axis=2) / 255, 1.0).mean())


def _to_array(image: Image.Image, size_px: int) -> np.ndarray:
    """Decoded picture -> upright RGB on white, squashed to a square (aspect ratio is not kept)."""
    image.getexif()  # read here once and for all: the orientation is known without what is dropped next
    for name in _WRITTEN_BACK:
        image.info.pop(name, None)
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16-bit grey: convert() would clip it to white
        upright = Image.fromarray((np.asarray(upright).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    rgb = upright.convert("RGB")
    return np.asarray(rgb.resize((size_px, size_px), Image.Resampling.BICUBIC))
