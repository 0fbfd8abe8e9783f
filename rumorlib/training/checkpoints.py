"""A training that was stopped goes on where it stood: its state on disk every few minutes, removed when it is done.

A checkpoint is a safetensors file and a JSON that seals it (`data/sealed.py`). It counts for the run that wrote it:
same config, data, weights it starts from, code and libraries. On the CPU the resumed run equals the uninterrupted one
bit by bit; on a GPU with RUMORLIB_DETERMINISTIC=1.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from rumorlib.data import files, processes, sealed
from rumorlib.data.posts import PostsError

_log = logging.getLogger(__name__)
FORMAT, KEPT = 1, 2
MOST_SHARE = 0.02  # of the time, that writing may take
OFTEN = 10  # looks at dev write after this part of the time between checkpoints
# Rooms whose code decides a run's numbers.
ROOMS = ("config", "data", "encoders", "models", "metrics", "inputs", "training")


class Stateful(Protocol):
    """Has a state of dicts, lists, numbers, words, tensors, arrays and frames, and takes it back."""

    def state_dict(self) -> Any:
        """What it is now."""

    def load_state_dict(self, state: Any) -> Any:
        """Be that again."""


class Learned:
    """What training changes of a model: parameters that learn, and buffers. The others are as the run built them."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._fixed = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}

    def state_dict(self) -> dict[str, Tensor]:
        """Copies, where the model is."""
        every = self._model.state_dict().items()
        return {name: value.detach().clone() for name, value in every if name not in self._fixed}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put them back. Raises: RuntimeError: of another model."""
        missing, unknown = self._model.load_state_dict(state, strict=False)
        if unknown or set(missing) - self._fixed:
            raise RuntimeError(f"weights of another model: {[*unknown, *missing][:4]}")


class Generators:
    """The generators of torch that dropout draws from, on the CPU and on every GPU. Nothing draws from NumPy's own."""

    def state_dict(self) -> dict[str, Any]:
        """Their states."""
        gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {"cpu": torch.get_rng_state(), "gpus": gpus}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Draw on from there."""
        torch.set_rng_state(state["cpu"])
        if state["gpus"]:
            torch.cuda.set_rng_state_all(state["gpus"])


class Changed(RuntimeError):
    """What a run is of changed while it was made."""


class Place:
    """The folder of a run's checkpoints while the run is made.

    Args:
        belongs: what a checkpoint must be of, as name -> hash; asked for at the beginning and before each is written.
        every_s: seconds between checkpoints; a tenth of it at looks at dev. A run that ends before writes none.
    """

    def __init__(self, folder: Path, belongs: Callable[[], Mapping[str, str]], every_s: float) -> None:
        self.folder, self.every_s = folder, every_s
        self.spent_s, self.resumed = 0.0, 0  # by the processes before this one; how often a process went on
        self._belongs = belongs
        self._began = self._last = time.monotonic()
        self._took = 0.0

    def is_due(self, at_look: bool = False) -> bool:
        """Whether to write now: time enough since the last one, and many times as long as writing took then."""
        passed = time.monotonic() - self._last
        return passed >= self.every_s / (OFTEN if at_look else 1) and passed >= self._took / MOST_SHARE

    @cached_property
    def of(self) -> dict[str, str]:
        """What the run is of: the hashes as they were when first asked for, before anything is read."""
        return dict(self._belongs())

    def check(self) -> None:
        """Raises Changed: the run is of something else than when it was begun; its checkpoints are gone."""
        try:
            now = dict(self._belongs())
        except (FileNotFoundError, PostsError) as error:
            now = {f"the data ({error})": ""}
        if other := sorted(name for name in now.keys() | self.of.keys() if now.get(name) != self.of.get(name)):
            self.remove()
            raise Changed(f"{self.folder}: {', '.join(other)} changed while the run was made; nothing of it is kept, "
                          "the same command makes it anew")  # fmt: skip

    def write(self, step: int, parts: Mapping[str, Stateful]) -> None:
        """Put a checkpoint beside the one before. A disk without room stops no training: it is said, and tried again
        later. Raises: as `check`."""
        begun = time.monotonic()
        self.check()
        tensors: dict[str, Tensor] = {}
        state = {name: packed(part.state_dict(), tensors) for name, part in parts.items()}
        about = {"format": FORMAT, "belongs": self.of, "step": step, "state": state,
                 "spent_s": self.spent_s + begun - self._began, "resumed": self.resumed}  # fmt: skip
        name = f"step{step:010}"
        try:
            sealed.write(self.folder / f"{name}.json", about, {f"{name}.safetensors": save(tensors)})
            for old in self._found()[KEPT:]:
                self._delete(old)
        except OSError as error:
            self._delete(self.folder / f"{name}.json")
            _log.warning("no checkpoint at step %d (%s); training goes on, free some space", step, error)
        self._last = time.monotonic()
        self._took = self._last - begun

    def restore(self, parts: Mapping[str, Stateful]) -> bool:
        """Put the newest whole checkpoint of this run into `parts`, if there is one. What is damaged or of another run
        is said, and removed."""
        for seal in self._found():
            try:
                about, contents = sealed.read(seal)
                tensors = load(contents[f"{seal.stem}.safetensors"])
            except (sealed.Damaged, OSError) as error:
                _log.warning("%s; taking the checkpoint before it, or starting anew", error)
                self._delete(seal)
                continue
            belongs = self.of if about.get("format") == FORMAT else {}
            if other := sorted(name for name in belongs.keys() | about["belongs"].keys()
                               if belongs.get(name) != about["belongs"].get(name)):  # fmt: skip
                _log.warning("%s was written with other %s; starting anew", seal, ", ".join(other))
                self.remove()
                return False
            for name, part in parts.items():
                part.load_state_dict(unpacked(about["state"][name], tensors))
            self.spent_s, self.resumed = about["spent_s"], about["resumed"] + 1
            _log.warning("%s: going on from step %d", self.folder, about["step"])
            return True
        return False

    def remove(self) -> None:
        """Delete the folder and what it holds."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _found(self) -> list[Path]:
        return sorted(self.folder.glob("step*.json"), reverse=True)

    @staticmethod
    def _delete(seal: Path) -> None:
        with contextlib.suppress(OSError):  # the seal first: weights without one are no checkpoint
            seal.unlink(missing_ok=True)
            seal.with_suffix(".safetensors").unlink(missing_ok=True)


def stand_alike(parts: Mapping[str, Stateful], resumed: bool) -> None:
    """Where process 0 goes on from a checkpoint, the others that train with it do, too; they look for none."""
    tensors: dict[str, Tensor] = {}
    state = processes.agreed(resumed) and {name: packed(part.state_dict(), tensors) for name, part in parts.items()}
    if not state:
        return
    state, tensors = processes.agreed((state, tensors))
    if processes.index():
        for name, part in parts.items():
            part.load_state_dict(unpacked(state[name], tensors))


_place: ContextVar[Place | None] = ContextVar("place", default=None)


@contextlib.contextmanager
def kept_in(place: Place) -> Iterator[None]:
    """The training of a `with` block has its checkpoints there."""
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def place() -> Place | None:
    """Where the run that is being made has its checkpoints; None where nobody asked for any."""
    return _place.get()


@lru_cache(maxsize=1)
def code() -> str:
    """sha256 of the sources that decide a run's numbers."""
    found, package = hashlib.sha256(), Path(__file__).parents[1]
    for room in ROOMS:
        for path in sorted((package / room).rglob("*.py")):
            found.update(f"{path.relative_to(package).as_posix()} {files.file_hash(path)}\n".encode())
    return found.hexdigest()


# --- states as JSON and tensors -------------------------------------------------------------------


def packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A state as JSON; its tensors, arrays and columns of frames go to `tensors`, by number, as copies on the CPU.

    Raises: TypeError: it holds something else.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"number": str(value)}
    if isinstance(value, Tensor | np.ndarray):
        kind, name = "tensor" if isinstance(value, Tensor) else "array", str(len(tensors))
        made = value.detach().cpu() if kind == "tensor" else torch.from_numpy(np.array(value))
        tensors[name] = made.clone(memory_format=torch.contiguous_format)  # as safetensors wants them
        return {kind: name}
    if isinstance(value, pd.DataFrame):
        columns = [(name, column.tolist() if column.dtype.kind not in "fiub" else column.to_numpy())
                   for name, column in value.items()]  # fmt: skip
        return {"frame": packed(columns, tensors)}
    if isinstance(value, Mapping):
        return {"dict": [[packed(key, tensors), packed(each, tensors)] for key, each in value.items()]}
    if isinstance(value, list | tuple):
        return [packed(each, tensors) for each in value]
    raise TypeError(f"{type(value).__name__} is no state of a training")


def unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What `packed` was given; tuples come back as lists."""
    if isinstance(value, list):
        return [unpacked(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    (kind, held), *_ = value.items()
    if kind == "number":
        return float(held)
    if kind in ("tensor", "array"):
        return tensors[held] if kind == "tensor" else tensors[held].numpy()
    if kind == "frame":
        return pd.DataFrame(dict(unpacked(held, tensors)))
    return {unpacked(key, tensors): unpacked(each, tensors) for key, each in held}
