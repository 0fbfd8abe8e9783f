"""How far a training has come, and which batch comes next: what it needs to go on after a stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Progress:
    """Where a training stands, beside the states of model, optimiser, schedule and generators."""

    step: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)  # of the history
    best: float = math.inf
    best_state: dict[str, Tensor] | None = None
    best_row: int = 0
    best_step: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)  # of losses since the last look at dev
    n_posts: int = 0  # since then
    n_seen: int = 0  # batches since then
    rate: float = 0.0  # of the last step

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand there again."""
        vars(self).update(state)

    def count(self, losses: dict[str, Tensor], n_posts: int, rate: float) -> None:
        """A step was made. Sums are tensors, so that no step waits for a number."""
        self.sums = {key: self.sums[key].to(value.device) + value.detach() * n_posts if self.n_seen
                     else value.detach() * n_posts for key, value in losses.items()}  # fmt: skip
        self.step, self.n_posts, self.n_seen = self.step + 1, self.n_posts + n_posts, self.n_seen + 1
        self.rate = rate

    def look(self, epoch: float, dev: dict[str, float]) -> None:
        """Dev was looked at: a row of the history, and the sums begin anew."""
        figures = {**self.means(), **{f"dev_{key}": value for key, value in dev.items()}}
        self.rows.append({"epoch": epoch, "step": self.step, **figures, "lr": self.rate})
        self.sums, self.n_posts, self.n_seen = {}, 0, 0

    def means(self) -> dict[str, float]:
        """Mean of each loss over the posts since the last look at dev, as the history names it."""
        return {f"train_{key}": float(value) / self.n_posts for key, value in self.sums.items()}


class Passes:
    """One pass over the batches after the other; any batch of any pass can be come back to."""

    def __init__(self, batches: Callable[[torch.Generator], Iterable], generator: torch.Generator, most: int) -> None:
        self._batches, self._generator, self._most = batches, generator, most
        self._begun = self._taken = 0  # passes; batches of this one
        self._start = generator.get_state()  # before this pass drew anything
        self._left: Iterator = iter(())

    def begin(self) -> bool:
        """Begin the next pass; False: there is none."""
        if self._begun == self._most:
            return False
        self._begun, self._taken, self._start = self._begun + 1, 0, self._generator.get_state()
        self._left = iter(self._batches(self._generator))
        return True

    def take(self, most: int, across: bool) -> Iterator[Any]:
        """At most so many batches: of this pass, or `across` passes."""
        for _ in range(most):
            batch = next(self._left, None)
            while batch is None and across and self.begin():
                batch = next(self._left, None)
            if batch is None:
                return
            self._taken += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Which batch comes next."""
        return {"begun": self._begun, "taken": self._taken, "start": self._start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Draw the pass anew and skip what was taken."""
        self._generator.set_state(state["start"])
        self._begun = state["begun"] - 1
        self.begin()
        self._taken = state["taken"]
        for _ in range(self._taken):
            next(self._left)
