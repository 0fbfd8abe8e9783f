"""The papers' notation and diagrams, read off the modules: which part runs when, what it is, what it gives.

Nothing is drawn by hand: a hook on every part notes the order of one forward pass and the shapes it leaves, and the
letters of a shape are explained where a model's file explains them.
"""

from __future__ import annotations

import inspect
import re
from types import ModuleType
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

_LEGEND = re.compile(r"(?:^Shapes: |^# )((?:[A-Z][a-z_]*(?:_s)?|d)[ ,=].*?)(?:\.(?: |$)|\n\n|\n[^#\w ])", re.M | re.S)
_SYMBOL = re.compile(r"([A-Z](?:_[a-z])?|d)(?: = |,? )([^,;]+)")


def notation(*modules: ModuleType) -> pd.DataFrame:
    """The letters of each model file's legend (DMFL's Table 1): symbol, meaning, file."""
    rows = []
    for module in modules:
        for legend in _LEGEND.findall(inspect.getsource(module)):
            said = " ".join(legend.replace("\n#", " ").split())
            rows += [(symbol, meaning.strip(), module.__name__.rpartition(".")[2])
                     for symbol, meaning in _SYMBOL.findall(said)]  # fmt: skip
    return pd.DataFrame(rows, columns=["symbol", "meaning", "file"]).drop_duplicates(["symbol", "file"])


@torch.no_grad()
def flow(model: nn.Module, *given: Any, depth: int = 2) -> pd.DataFrame:
    """Parts of a model in the order in which one forward pass runs them (the papers' framework figures).

    Args: given: what `model` is called with. depth: how far below the model names are followed.
    Returns: part, kind (its class), what (first line of what the class says of itself), n_parameters, gives (shape).
    """
    rows: list[tuple] = []

    def note(name: str, part: nn.Module) -> Any:
        own = type(part).__module__.startswith("rumorlib")
        what = (inspect.getdoc(type(part)) or "").split("\n")[0] if own else ""
        n = sum(p.numel() for p in part.parameters())
        return part.register_forward_hook(
            lambda _, __, made: rows.append((name, type(part).__name__, what, n, _shape(made)))
        )

    names = [(name, part) for name, part in model.named_modules()
             if name and name.count(".") < depth and not name.rpartition(".")[2].isdigit()]  # fmt: skip
    held = [note(name, part) for name, part in names if not isinstance(part, (nn.ModuleList, nn.ModuleDict))]
    try:
        model.eval()(*given)
    finally:
        for hook in held:
            hook.remove()
    frame = pd.DataFrame(rows, columns=["part", "kind", "what", "n_parameters", "gives"])
    return frame.drop_duplicates("part", keep="last").reset_index(drop=True)


def _shape(made: Any) -> str:
    first = made if isinstance(made, Tensor) else next((one for one in made if isinstance(one, Tensor)), None)
    return "" if first is None else " × ".join(map(str, first.shape))
