"""SpotFake: a multi-modal framework for fake news detection (Singhal et al., BigMM 2019).

Frozen text features and frozen image features, two layers on each, joined and classified. Differences from the paper
are choice C34.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rumorlib.config.checks import Count, Rate
from rumorlib.data.batches import Batch
from rumorlib.models.named import Given
from rumorlib.models.others.pieces import Classifier


class SpotFake(Classifier):
    """Layers on frozen features.

    Args: given: see `Given`. d_hidden, d_model: first and second layer of each modality; these defaults are those of
        FaKnow's re-implementation.
    """

    reads = "frozen vectors"

    def __init__(self, given: Given, d_hidden: Count = 2742, d_model: Count = 32, d_fusion: Count = 35,
                 dropout: Rate = 0.4) -> None:  # fmt: skip
        super().__init__()
        self.text, self.image = (_branch(d, d_hidden, d_model, dropout) for d in (given.d_text, given.d_image))
        self.fuse = nn.Linear(2 * d_model, d_fusion)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(d_fusion, 2)

    def logits(self, batch: Batch) -> Tensor:
        """(B, 2) from text_features (B, d_text) and images (B, N, d_image), read as their mean."""
        image = batch.images.float().mean(dim=1)
        joined = torch.cat([self.text(batch.text_features.float()), self.image(image)], dim=-1)
        return self.classifier(self.dropout(F.relu(self.fuse(joined))))


def _branch(d_in: int, d_hidden: int, d_model: int, dropout: float) -> nn.Sequential:
    """Two layers, each with ReLU and dropout; LayerNorm first, for towers of different scale (C34)."""
    layers = nn.Linear(d_in, d_hidden), nn.ReLU(), nn.Dropout(dropout)
    more = nn.Linear(d_hidden, d_model), nn.ReLU(), nn.Dropout(dropout)
    return nn.Sequential(nn.LayerNorm(d_in), *layers, *more)
