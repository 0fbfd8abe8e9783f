"""Several processes, a GPU each, that train one run together, as `accelerate launch -m rumorlib run ...` starts them.

Process 0 does all that a command does, alone: it plans, holds locks, writes, and runs the notebooks. The others wait
for runs to help with (`results/produced.py`). While one is trained, each takes its share of every batch (`shares`), the
losses and gradients are added up (`add_up`), and a contrastive loss sees the features of all (`whole`). So a run of one
config is one computation, on however many processes: its gradients are one process's up to rounding, where nothing is
drawn at random; dropout draws in each its own.
"""

from __future__ import annotations

import atexit
import itertools
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

STARTED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")  # a launcher's variables, not for our own children
PATIENCE = timedelta(days=30)  # how long others wait: process 0 makes rows without a network, and notebooks, meanwhile
_joined: list[Any] = []  # accelerate's state, and the group for words between processes


def join() -> None:
    """Become one of the processes of a launch that started this one: each has a GPU of its own, or none has."""
    if os.environ["RANK"] != "0":
        os.environ["TQDM_DISABLE"] = "1"  # one bar is enough
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
    words = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)  # whose waiting keeps no GPU busy
    _joined[:] = [state, words]
    atexit.register(leave)
    for name in STARTED:
        os.environ.pop(name, None)


def leave() -> None:
    """End the group: its threads, left to the end of Python, now and then abort a process that has done its work."""
    import torch

    _joined.clear()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def count() -> int:
    """How many processes there are."""
    return _joined[0].num_processes if _joined else 1


def index() -> int:
    """Which one this is, from 0."""
    return _joined[0].process_index if _joined else 0


def agreed(value: Any = None) -> Any:
    """What process 0 gave, on every process."""
    import torch

    if count() == 1:
        return value
    box = [value]
    torch.distributed.broadcast_object_list(box, src=0, group=_joined[1])
    return box[0]


def shares(n: int, parts: int = 1) -> list[tuple[slice, float]]:
    """What this process takes of a batch of n posts, in so many parts one after the other, and the part of the batch
    that each is. A batch of fewer posts than there are processes is taken whole by each."""
    parts = max(1, min(parts, n // count()))
    if n < count():
        return [(slice(0, n), 1 / count())]
    cuts = [n * i // (count() * parts) for i in range(index() * parts, (index() + 1) * parts + 1)]
    return [(slice(start, stop), (stop - start) / n) for start, stop in itertools.pairwise(cuts)]


def whole(own: Tensor, at: slice, n: int) -> Tensor:
    """Features of a whole batch, of which this process has made some.

    Args: own: (m, ...), rows `at` of n. Returns: (n, ...). Each process computes the loss of the whole; the mean over
        processes of its gradients is that of one process.
    """
    import torch

    if len(own) == n:
        return own
    found = own.new_zeros(n, *own.shape[1:])
    found[at] = own.detach()
    torch.distributed.all_reduce(found)
    known = own.detach()
    mine = known + count() * (own - known)  # a mean of gradients follows, in which the other processes have none of it
    return torch.cat([found[: at.start], mine, found[at.stop :]])


def add_up(model: nn.Module, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Sum the gradients of all processes, in place, and their losses, in one message. A parameter that no process has a
    gradient of has none after."""
    import torch

    if count() == 1:
        return dict(losses)
    learned = [p for p in model.parameters() if p.requires_grad]
    values = torch.stack([value.detach().float() for value in losses.values()])
    some = torch.tensor([float(p.grad is not None) for p in learned], device=values.device)
    flat = [(torch.zeros_like(p) if p.grad is None else p.grad).detach().flatten().float() for p in learned]
    message = torch.cat([*flat, values, some])
    torch.distributed.all_reduce(message)
    *gradients, values, some = message.split([*(p.numel() for p in learned), len(values), len(some)])
    for parameter, gradient, there in zip(learned, gradients, some.tolist(), strict=True):
        parameter.grad = gradient.view_as(parameter).to(parameter.dtype) if there else None
    return dict(zip(losses, values.unbind(), strict=True))
