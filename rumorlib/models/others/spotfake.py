"""SpotFake: a multi-modal framework for fake news detection (Singhal et al., BigMM 2019).

Frozen text features and frozen image features, two layers on each, joined and classified. Differences from the paper
are choice C34.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rumorlib.config import SpotFakeConfig
from rumorlib.data.batches import Batch
from rumorlib.models.others.pieces import Classifier


class SpotFake(Classifier):
    """Layers on frozen features.

    Args:
        config: see `SpotFakeConfig`.
        d_text: width of the frozen text features.
        d_image: width of the frozen image vector.
    """

    def __init__(self, config: SpotFakeConfig, d_text: int, d_image: int) -> None:
        super().__init__()
        self.text, self.image = _branch(config, d_text), _branch(config, d_image)
        self.fuse = nn.Linear(2 * config.d_model, config.d_fusion)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.d_fusion, 2)

    def logits(self, batch: Batch) -> Tensor:
        """(B, 2) from text_features (B, d_text) and images (B, N, d_image), read as their mean."""
        image = batch.images.float().mean(dim=1)
        joined = torch.cat([self.text(batch.text_features.float()), self.image(image)], dim=-1)
        return self.classifier(self.dropout(F.relu(self.fuse(joined))))


def _branch(config: SpotFakeConfig, d_in: int) -> nn.Sequential:
    """Two layers, each with ReLU and dropout; LayerNorm first, for towers of different scale (C34)."""
    layers = nn.Linear(d_in, config.d_hidden), nn.ReLU(), nn.Dropout(config.dropout)
    more = nn.Linear(config.d_hidden, config.d_model), nn.ReLU(), nn.Dropout(config.dropout)
    return nn.Sequential(nn.LayerNorm(d_in), *layers, *more)
