"""A MUSE-style row: similarities of frozen encoders and a small classifier.

After MUSE (Papadopoulos et al., "Similarity over Factuality", WACV 2025; arXiv 2407.13488), which classifies cosine
similarities of CLIP features of a pair and of external evidence. Here: no evidence, and frozen SCLIP (choice C35).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rumorlib.config.checks import Count, Rate
from rumorlib.data.batches import Batch
from rumorlib.models.named import Given
from rumorlib.models.others.pieces import Classifier


def similarity_features(text: Tensor, patches: Tensor, n_patches: list[int]) -> Tensor:
    """How a text and a picture agree in the joint space of stage 1.

    Args:
        text: (B, D) unit length. patches: (B, N, D) unit length, scale after scale. n_patches: N_s of every scale.
    Returns: (B, 3S + 2D): per scale the cosine of the text with the mean patch, the maximum and the mean relevance
        over its patches; then product and absolute difference of text and mean patch.
    """
    columns, means = [], []
    for part in patches.split(n_patches, dim=1):
        relevance = torch.einsum("bnd,bd->bn", part, text)
        means.append(F.normalize(part.mean(dim=1), dim=-1))
        columns += [(means[-1] * text).sum(-1), relevance.amax(dim=1), relevance.mean(dim=1)]
    image = F.normalize(torch.stack(means).mean(dim=0), dim=-1)  # (B, D)
    return torch.cat([torch.stack(columns, dim=-1), text * image, (text - image).abs()], dim=-1)


class MUSE(Classifier):
    """One hidden layer on the similarity features.

    Args: given: see `Given`; features of the train posts set their scale. d_model: hidden units (C35).
    """

    reads = "similarities"

    def __init__(self, given: Given, d_model: Count = 64, dropout: Rate = 0.2) -> None:
        super().__init__()
        features = torch.zeros(2, given.d_text) if given.features is None else given.features
        self.register_buffer("mean", features.mean(dim=0))
        self.register_buffer("spread", features.std(dim=0, correction=0).clamp(min=1e-6))
        hidden = nn.Linear(given.d_text, d_model), nn.ReLU(), nn.Dropout(dropout)
        self.layers = nn.Sequential(*hidden, nn.Linear(d_model, 2))

    def logits(self, batch: Batch) -> Tensor:
        """(B, 2) from text_features (B, F), which are `similarity_features` of the post."""
        return self.layers((batch.text_features.float() - self.mean) / self.spread)
