"""EANN's event ids of Weibo-17: pickled dicts, read by an unpickler that can build nothing but numbers.

`{train,validate,test}_id.pickle` were written by Python 2 on Windows; a copy through git or an editor may have
turned their line ends into \\r\\n, at which numpy's own names fail ("numpy.core.multiarray\\r").
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from pathlib import Path
from typing import Any

from rumorlib.data.posts import PostsError

FILES = (("train_id.pickle", "train"), ("validate_id.pickle", "dev"), ("test_id.pickle", "test"))
MAX_BYTES = 20_000_000  # the published files have less than 1 MB


class _Dtype:
    """What a pickled numpy.dtype says of a number: its code ('i8', 'f8') and byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple) -> None:
        self.order = ">" if state[1] in (">", b">") else "<"


def _scalar(dtype: _Dtype, data: str | bytes) -> int | float:
    """A pickled numpy scalar as a Python number."""
    code = dtype.code if isinstance(dtype.code, str) else dtype.code.decode("latin1")
    letter = {"i8": "q", "i4": "i", "u8": "Q", "u4": "I", "f8": "d", "f4": "f"}.get(code)
    if letter is None:
        raise pickle.UnpicklingError(f"a number of type {code!r}")
    raw = data if isinstance(data, bytes) else data.encode("latin1")
    return struct.unpack(dtype.order + letter, raw)[0]


class _NumbersOnly(pickle.Unpickler):
    """Builds dicts, lists, strings and numbers; any other name in the file is refused before it is looked up."""

    _ALLOWED = {  # noqa: RUF012 (never changed)
        ("numpy", "dtype"): _Dtype,
        ("numpy.core.multiarray", "scalar"): _scalar,
        ("numpy._core.multiarray", "scalar"): _scalar,
        ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),  # bytes, as Python 3 writes them
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"the name {module}.{name}")
        return self._ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("a reference to another file")


def read(path: Path) -> dict[str, str]:
    """Post id -> event id of one of EANN's pickles.

    Raises: PostsError: larger than MAX_BYTES, damaged, holding anything but numbers and strings, or no dict of ids.
    """
    content = path.read_bytes()
    if len(content) > MAX_BYTES:
        raise PostsError(f"{path} has {len(content):,} bytes, EANN's have less than {MAX_BYTES:,}; use the original")
    if not content.startswith(b"\x80"):  # protocol 0 is text: undo a conversion of its line ends
        content = content.replace(b"\r\n", b"\n")
    try:
        found = _NumbersOnly(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle can raise anything; nothing of it has been run
        raise PostsError(
            f"{path} cannot be read safely ({error}); use EANN's original file or remove it, the events are optional"
        ) from None
    plain = isinstance(found, dict) and all(
        isinstance(k, (str, int)) and isinstance(v, (int, float)) and abs(v) != math.inf for k, v in found.items()
    )
    if not plain:
        raise PostsError(f"{path}: expected post ids with an event number each; use EANN's original file or remove it")
    return {str(post_id): str(int(event)) for post_id, event in found.items() if not math.isnan(event)}  # nan: none


def read_folder(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """All pickles of FILES in `folder`: post id -> event id, and post id -> EANN's split (train, dev, test)."""
    events: dict[str, str] = {}
    splits: dict[str, str] = {}
    for name, split in FILES:
        if (folder / name).is_file():
            found = read(folder / name)
            events |= found
            splits |= dict.fromkeys(found, split)
    return events, splits
