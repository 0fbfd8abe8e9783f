"""Files written whole or not at all, and equal content as equal bytes."""

from __future__ import annotations

import contextlib
import csv
import errno
import gzip
import hashlib
import io
import json
import math
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def write_bytes(path: Path, content: bytes) -> str:
    """Write a file atomically (draft beside it, fsync, rename, fsync of the folder); return its sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_of(path)
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync(path.parent)
    except OSError as error:
        error.filename = error.filename or str(path)  # a disk that is full does not say where
        raise
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return hashlib.sha256(content).hexdigest()


def draft_of(path: Path) -> Path:
    """A name beside `path` that nobody else has: on a shared disk process ids are no names."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def write_json(path: Path, content: Any) -> str:
    """Write `json_bytes`; return their sha256."""
    return write_bytes(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    """Sorted, indented JSON without NaN."""
    text = json.dumps(plain(content), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def write_csv(path: Path, frame: pd.DataFrame, above: str = "") -> str:
    """Write a frame without its index, LF line ends; `.gz` without a time stamp, so equal frames give equal bytes.

    Args: above: a line above the header. Returns: sha256 of the file.
    """
    content = frame.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_MINIMAL).encode()
    content = f"{above}\n".encode() + content if above else content
    if path.suffix == ".gz":
        buffer = io.BytesIO()
        with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0, compresslevel=9) as file:
            file.write(content)
        content = buffer.getvalue()
    return write_bytes(path, content)


def stored_array(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """An array that is made once and mapped from `path` (.npy) from then on, read-only: processes share its memory.

    It counts once `path`.json, with its sha256, is there; one that is damaged is made again. Where the folder cannot
    be written the array stays in memory.
    """
    import numpy as np

    about = path.with_suffix(".json")
    told = read_json(about)
    if not isinstance(told, dict) or not path.is_file() or told.get("sha256") != file_hash(path):
        made = make()
        draft = draft_of(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                np.save(file, made, allow_pickle=False)
            digest = file_hash(draft)
            about.unlink(missing_ok=True)
            draft.replace(path)
            write_json(about, {"sha256": digest})
        except OSError:  # no room, or not ours
            return made
        finally:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def is_regular(path: Path) -> bool:
    """Whether a file lies there, itself or behind links: no folder, pipe or device."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def open_regular(path: Path) -> BinaryIO:
    """A file opened for reading. Raises: OSError: there is none, or it is no regular file (a pipe would never open)."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(handle, "rb")


def read_json(path: Path) -> Any:
    """The content of a JSON file; None of one that is not there or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; {} of one that is not there or holds something else."""
    found = read_json(path)
    return found if isinstance(found, dict) else {}


def file_hash(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state(folder: Path, pattern: str = "*") -> str:
    """sha256 (hex) of the names, sizes and times of all files below a folder whose names fit: another one once a file
    was touched."""
    found = []
    for path in folder.rglob(pattern):
        with contextlib.suppress(OSError):  # gone meanwhile
            if path.is_file():
                about = path.stat()
                found.append(f"{path.relative_to(folder).as_posix()}\t{about.st_size}\t{about.st_mtime_ns}")
    lines = "\n".join(sorted(found))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def plain(value: Any) -> Any:
    """JSON types: mappings and sequences walked, numpy and torch scalars unpacked, NaN and infinity become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if not isinstance(value, (str, bool, int, float, type(None))):
        value = value.tolist() if hasattr(value, "tolist") else str(value)  # numpy, torch; dates, paths
        return plain(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of nested dicts, keys joined by dots."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            leaves |= flatten(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def sync(path: Path) -> None:
    """Wait until a file or a folder's entries are on the disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some network file systems sync files and no folders
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
