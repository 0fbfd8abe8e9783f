"""CARMN: crossmodal attention residual and multichannel convolutions (Song, Ning, Zhang, Wu, IPM 58(1) 2021).

Each modality takes from the other by attention and keeps what is its own through a residual; convolutions then read the
original and the fused words side by side, as two channels. Differences from the paper are choice C31.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rumorlib.config.checks import Count, Rate, Several
from rumorlib.data.batches import Batch
from rumorlib.models.attention import MultiHeadAttention, masked_mean
from rumorlib.models.dmfl import TextCNN
from rumorlib.models.named import Given
from rumorlib.models.others.pieces import Classifier, ImageRows, Words


class AttentionResidual(nn.Module):
    """CARN: rows of a target modality enriched by a source, LN(X + MHA(X, S, S)), then LN(· + FFN(·)).

    With the target as its own source it is the self-attention that reads the text first.
    """

    def __init__(self, d_model: int, n_heads: int, d_head: int) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(d_model, d_model, d_model, n_heads, d_head)
        self.norm, self.ffn_norm = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        layers = nn.Linear(d_model, 2 * d_model), nn.ReLU(), nn.Linear(2 * d_model, d_model)
        self.ffn = nn.Sequential(*layers)

    def forward(self, target: Tensor, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """(B, Q, d) target and (B, K, d) source with (B, K) mask to (B, Q, d)."""
        rows = self.norm(target + self.attention(target, source, source_mask).rows)
        return self.ffn_norm(rows + self.ffn(rows))


class CARMN(Classifier):
    """Self-attention on words, crossmodal attention both ways, multichannel convolutions, a classifier.

    Args: given: see `Given`. d_head: width of a head, as DMFL's (C12). The other defaults are choice C31.
    """

    reads = "words, image rows"

    def __init__(
        self, given: Given, kernel_sizes: Several[Count] = (3, 4, 5), d_model: Count = 300, n_heads: Count = 8,
        d_head: Count = 16, dropout: Rate = 0.5,
    ) -> None:  # fmt: skip
        super().__init__()
        d, block = d_model, (d_model, n_heads, d_head)
        self.words = Words(given.word_vectors)
        self.text_rows, self.image_rows = nn.Linear(self.words.width, d), ImageRows(given.d_image, d)
        self.self_attention = AttentionResidual(*block)
        self.text_from_image, self.image_from_text = AttentionResidual(*block), AttentionResidual(*block)
        self.convolutions = TextCNN(2 * d, d, kernel_sizes)  # over two channels at once
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(2 * d, 2)

    def logits(self, batch: Batch) -> Tensor:
        """(B, 2) from the multichannel text features and the mean of the fused image rows."""
        words, mask = self.words(batch)
        text, image = self.text_rows(words), self.image_rows(batch.images)  # (B, L, d), (B, N, d)
        text = self.self_attention(text, text, mask)
        fused_text = self.text_from_image(text, image)
        fused_image = self.image_from_text(image, text, mask)
        channels = torch.cat([text, fused_text], dim=-1)  # (B, L, 2d)
        features = self.convolutions(channels, mask).amax(dim=1)  # (B, d); ReLU >= 0: masked zeros never win
        return self.classifier(self.dropout(torch.cat([features, masked_mean(fused_image, None)], dim=-1)))
