"""Disk store of frozen features: one folder per (weights, preprocessing), one row per distinct content.

A shard is `<name>.safetensors` with one fp16 tensor and `<name>.json` with its sha256 and the content hash of each row.
A shard counts only once its JSON exists: a killed run continues where it stopped, and two processes can share a store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor
from tqdm import tqdm

from rumorlib.data import files

FORMAT = 1  # part of every store's key: raise it when the same input would give other features
WEIGHT_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")  # what from_pretrained can read here


class CorruptShard(RuntimeError):
    """A stored shard is not what was written; the message names the file and the remedy."""


def open_store(cache: Path, weights: Path, preprocessing: dict[str, Any]) -> Store:
    """The store of these weights (all files' contents, not their place) and this preprocessing.

    Args:
        cache: root of the disk cache; the store is `cache/features/<key>`.
        weights: local Hugging Face folder.
        preprocessing: everything else that decides the features, as JSON types.
    Raises: FileNotFoundError: the folder holds no safetensors weights.
    """
    folder = Path(weights)
    sources = sorted({file for pattern in WEIGHT_FILES for file in folder.glob(pattern)})
    if not any(file.suffix == ".safetensors" for file in sources):
        raise FileNotFoundError(f"no safetensors weights in {folder}; see rumorlib/data/README.md")
    about = {"format": FORMAT, **preprocessing, "files": {file.name: files.file_hash(file) for file in sources}}
    name = _sha256(json.dumps(about, sort_keys=True).encode())[:16]
    store = Store(Path(cache) / "features" / name)
    files.write_bytes(store.folder / "about.txt", json.dumps(about, indent=1, sort_keys=True).encode())
    return store


@dataclass(frozen=True)
class Store:
    """Shards of one cache folder."""

    folder: Path

    def index(self) -> dict[str, tuple[Path, int]]:
        """Content hash -> (index file of its shard, row)."""
        found = {}
        for file in sorted(self.folder.glob("*.json")):
            if file.with_suffix(".safetensors").is_file():  # a deleted shard is simply computed again
                rows = _about(file)["rows"]
                found.update({content: (file, row) for row, content in enumerate(rows)})
        return found

    def missing(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """The part of {content hash: input} that is not stored, in the same order."""
        have = self.index()
        return {content: value for content, value in wanted.items() if content not in have}

    def write(self, hashes: list[str], features: Tensor) -> None:
        """One shard, then its JSON: a shard without JSON was cut short and is never read."""
        name = self.folder / _sha256("".join(hashes).encode())[:16]
        digest = files.write_bytes(name.with_suffix(".safetensors"), save({"features": features}))
        files.write_json(name.with_suffix(".json"), {"sha256": digest, "rows": hashes})

    def fill(
        self, batches: Iterator[tuple[list[str], Tensor]], size: int, total: int, what: str, progress: bool
    ) -> None:
        """Write (hashes, fp16 features) batches as shards of about `size` rows; a bar shows what remains of `total`."""
        hashes: list[str] = []
        parts: list[Tensor] = []
        with tqdm(total=total, desc=what, unit="", disable=not progress) as bar:
            for batch_hashes, features in batches:
                hashes += batch_hashes
                parts.append(features)
                bar.update(len(batch_hashes))
                if len(hashes) >= size:
                    self.write(hashes, torch.cat(parts))
                    hashes, parts = [], []
            if hashes:
                self.write(hashes, torch.cat(parts))

    def gather(self, hashes: Sequence[str]) -> Tensor:
        """Rows of `hashes` in order; every shard read is checked against its sha256."""
        if not hashes:
            raise ValueError("nothing to encode: the list of keys or texts is empty")
        have = self.index()
        wanted: dict[Path, list[tuple[int, int]]] = {}
        for place, content in enumerate(hashes):
            file, row = have[content]
            wanted.setdefault(file, []).append((place, row))
        result: Tensor | None = None
        for file, pairs in wanted.items():  # one shard in memory at a time
            features = _verified(file)
            if result is None:
                result = features.new_empty((len(hashes), *features.shape[1:]))
            places, rows = torch.tensor(pairs).T
            result[places] = features[rows]
        return result


def _verified(file: Path) -> Tensor:
    """Features of the shard described by `file`; raises CorruptShard."""
    shard = file.with_suffix(".safetensors")
    data = shard.read_bytes()
    if _sha256(data) != _about(file)["sha256"]:
        raise CorruptShard(f"cached features {shard} are damaged (sha256 differs): delete it, it is computed again")
    return load(data)["features"]


def _about(file: Path) -> dict[str, Any]:
    """What a shard's JSON says. Raises CorruptShard."""
    about = files.read_object(file)
    if not isinstance(about.get("rows"), list) or not isinstance(about.get("sha256"), str):
        raise CorruptShard(f"{file} is damaged: delete it, its features are computed again")
    return about


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
