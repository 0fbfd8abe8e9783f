"""A saved detector's folder: config.json, model.safetensors, words, README.md; whole, of this version, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

import rumorlib
from rumorlib import config as cfg
from rumorlib.data import files, sealed
from rumorlib.inputs import content

FORMAT, READ = 2, (1, 2)  # 2: several parts have weights
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"


class SavedDetectorError(ValueError):
    """A folder is no saved detector that can be used; the message names it, what is wrong and the remedy."""


def write(folder: Path, about: dict[str, Any], tensors: dict[str, Tensor], words: dict[str, Any], card: str) -> None:
    """Write a detector: words as <name>.json, hashes of all files in config.json, which is written last.

    The card has no hash: people may add to it. Raises: SavedDetectorError: something else lies there.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / CONFIG).is_file())):
        raise SavedDetectorError(f"{folder} is there and no saved detector; name a folder that is not there yet")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)  # a detector that is half written is none
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    contents = {WEIGHTS: weights} | {f"{name}.json": files.json_bytes(value) for name, value in words.items()}
    files.write_bytes(folder / CARD, card.encode())
    sealed.write(folder / CONFIG, about | {"format": FORMAT, "rumorlib": rumorlib.__version__}, contents)


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """config.json, tensors and words of a detector, each checked against its sha256.

    Raises: SavedDetectorError: no detector, of another version, a file is missing or differs.
    """
    about = files.read_json(folder / CONFIG)
    if not isinstance(about, dict) or "format" not in about or "files" not in about:
        raise SavedDetectorError(f"{folder} holds no saved detector ({CONFIG} is missing, cut short or another "
                                 "program's); make one: python -m rumorlib train POSTS --out FOLDER")  # fmt: skip
    if about["format"] not in READ:
        raise SavedDetectorError(
            f"{folder} was saved by rumorlib {about.get('rumorlib')} in format {about['format']}, this is "
            f"{rumorlib.__version__} with format {FORMAT}; install that version, or train the detector again"
        )
    again = "copy the folder again, or train the detector again"
    try:
        _, content = sealed.read(folder / CONFIG, about)
    except sealed.Damaged as error:
        raise SavedDetectorError(f"{error}; {again}") from None
    try:
        tensors = load(content.pop(WEIGHTS))
    except (KeyError, SafetensorError) as error:
        raise SavedDetectorError(f"{folder / WEIGHTS} cannot be read ({error}); {again}") from None
    return about, tensors, {name.removesuffix(".json"): json.loads(text) for name, text in content.items()}


def weights_of(needed: list[dict[str, str]], data: str | Path | None) -> Callable[[str], Path]:
    """Name -> folder of an encoder, whose bytes are those the detector was trained with."""
    known = {one["name"]: one for one in needed}

    def find(name: str) -> Path:
        one, root = known[name], None
        try:
            root = cfg.weights_place(name, cfg.data_root(data))
        except FileNotFoundError as error:
            problem = str(error)
        else:
            problem = "" if root.is_dir() else f"{root} does not exist"
        if problem:
            raise SavedDetectorError(f"the detector reads {one['reads']} with {name} ({one['where']}): put its folder "
                                     f"into <data>/weights and give --data <data> ({problem})")  # fmt: skip
        if content.of_weights(root) != one["sha256"]:
            raise SavedDetectorError(f"{root} holds other weights than the detector was trained with; restore those "
                                     "(sha256 in its config.json), or train it again on these")  # fmt: skip
        return root

    return find
