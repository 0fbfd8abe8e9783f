"""Files that belong together: a JSON beside them, written last, holds their sha256 and its own. Whole, or refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rumorlib.data import files


class Damaged(ValueError):
    """A file is missing or is not what was written; the message says which."""


def write(seal: Path, about: Mapping[str, Any], contents: Mapping[str, bytes]) -> None:
    """Write files into the folder of `seal`, then `seal` itself: `about` with their hashes and its own."""
    hashes = {name: files.write_bytes(seal.with_name(name), content) for name, content in contents.items()}
    whole = files.plain({**about, "files": hashes})
    files.write_json(seal, whole | {"sha256": _digest(whole)})


def read(seal: Path, about: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What was written, each file checked. Args: about: the content of `seal` if it was read already.

    Raises: Damaged.
    """
    about = files.read_json(seal) if about is None else about
    if not isinstance(about, dict) or not isinstance(about.get("files"), dict):
        raise Damaged(f"{seal} is missing or cut short")
    if _digest({name: value for name, value in about.items() if name != "sha256"}) != about.get("sha256"):
        raise Damaged(f"{seal} was changed after it was saved")
    contents = {}
    for name, wanted in about["files"].items():
        path = seal.with_name(Path(name).name)
        if not files.is_regular(path):
            raise Damaged(f"{path} is missing")
        contents[name] = path.read_bytes()
        if hashlib.sha256(contents[name]).hexdigest() != wanted:
            raise Damaged(f"{path} was changed after it was saved (its sha256 differs)")
    return about, contents


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
