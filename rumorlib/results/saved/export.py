"""A small detector's network as an ONNX file, which answers as the network does, and the same in eight bits.

Encoders stay where they are: the file begins where `Reader.batch` ends. Needs `pip install rumorlib[export]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rumorlib.data.batches import CPU, Aligned, Batch
from rumorlib.results.saved.models import Part

INPUTS = ("text_ids", "text_mask", "text_features", "images", "pieces", "hidden", "towers")  # of a Batch
OF_ANY_LENGTH = ("text_ids", "text_mask", "pieces", "hidden")


class _LogOdds(nn.Module):
    """A model as a function of tensors."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, tuple(names)

    def forward(self, *given: Tensor) -> Tensor:
        known = dict(zip(self.names, given, strict=True))
        n, row = len(given[0]), torch.arange(len(given[0]))
        columns = {"n_columns": known["text_mask"].shape[1]} if "text_mask" in known else {}
        columns |= {"n_pieces": known["pieces"].shape[1]} if "pieces" in known else {}
        blank = dict.fromkeys((name for name in INPUTS if name not in known))
        batch = Batch(**blank | known | columns, label=torch.zeros(n), weight=torch.ones(n), row=row)
        return self.model.log_odds(batch)


def inputs_of(batch: Batch) -> dict[str, Tensor]:
    """What the file is fed of a batch: the tensors it has, under their names. Raises: ValueError: aligned patches."""
    if isinstance(batch.images, Aligned):
        raise ValueError("patches that were aligned beforehand are no input of one post; read it with a Reader")
    return {name: getattr(batch, name) for name in INPUTS if getattr(batch, name) is not None}


def to_onnx(part: Part, path: Path, texts: list[str], pictures: list[Any], int8: bool = False) -> list[str]:
    """Write a part's network to `path`; it maps the tensors of `Reader.batch` to log-odds of rumor, (B,).

    Any number of posts may be asked at once, of any length that the model reads; other sizes are those of the example.

    Args:
        texts, pictures: two posts or more, as an example.
        int8: weights of the products in eight bits each (onnxruntime's dynamic quantisation).
    Returns: the names of the inputs, in order.
    Raises: ValueError: a row of scikit-learn, which is no network. ImportError: the extra `export` is not installed.
    """
    if not isinstance(part.model, nn.Module):
        raise ValueError(f"{part.config.name} is a row of scikit-learn; only networks become ONNX files")
    known = inputs_of(part.reader.batch(texts, pictures))
    model = _LogOdds(part.model.to(CPU), list(known)).eval()
    free = torch.export.Dim.DYNAMIC
    sizes = tuple({0: free} | ({1: free} if name in OF_ANY_LENGTH else {}) for name in known)
    torch.onnx.export(model, tuple(known.values()), path, input_names=list(known), output_names=["log_odds"],
                      dynamic_shapes=(sizes,), dynamo=True, external_data=False, verbose=False)  # fmt: skip
    if int8:
        from onnxruntime.quantization import quantize_dynamic

        quantize_dynamic(path, path)
    return list(known)
