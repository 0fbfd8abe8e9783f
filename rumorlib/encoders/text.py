"""Text towers of SCLIP behind one interface (MICC §3.2.1, M1): texts in, one vector per text out."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rumorlib.config import TextConfig
from rumorlib.data.batches import Texts
from rumorlib.encoders.vocabulary import PAD

# B texts, L tokens, D width

SMALLEST = 1e-2  # of the largest variance: what whitening takes for noise


def transformer(width: int, depth: int, n_heads: int, dropout: float) -> nn.Module:
    """Pre-norm GELU Transformer encoder with a final norm, used by both towers from scratch; depth 0: none."""
    if depth == 0:
        return nn.Identity()
    layer = nn.TransformerEncoderLayer(
        width, n_heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
    )
    return ShortSequenceEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)


def plain_attention_on_cpu(tokens: Tensor) -> AbstractContextManager:
    """Attention as plain matrix products on a CPU: in bf16, on sequences of tens of tokens, the fused kernel's backward
    pass costs twice as much (measured: benchmarks/attention_backend.py)."""
    in_bf16 = tokens.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    return sdpa_kernel(SDPBackend.MATH) if in_bf16 else nullcontext()


class ShortSequenceEncoder(nn.TransformerEncoder):
    """TransformerEncoder for short sequences."""

    def forward(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """(B, L, D) → (B, L, D); padding (B, L) bool, True = ignore."""
        with plain_attention_on_cpu(tokens):
            return super().forward(tokens, src_key_padding_mask=padding)


def mlp(d_in: int, d_hidden: int, d_out: int, dropout: float = 0.0, kind: str = "mlp") -> nn.Module:
    """Linear-GELU-Linear, the MLP of M2, M5, M11 and Eq 23; kind="linear": one Linear."""
    if kind == "linear":
        return nn.Linear(d_in, d_out)
    return nn.Sequential(nn.Linear(d_in, d_hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(d_hidden, d_out))


class TransformerText(nn.Module):
    """A small Transformer from scratch over our own vocabulary (profiles demo, and laptop in Chinese)."""

    def __init__(self, config: TextConfig, n_words: int, dropout: float) -> None:
        super().__init__()
        self.pool, self.width = config.pool, config.width
        self.embed = nn.Embedding(n_words, config.width, padding_idx=0)
        self.position = nn.Parameter(torch.randn(config.max_length, config.width) * 0.02)
        self.layers = transformer(config.width, config.depth, config.n_heads, dropout)

    def forward(self, texts: Texts) -> Tensor:
        """(B, D) text vectors, not yet projected (M1); as they are where a frozen tower made them once."""
        if texts.features is not None:
            return texts.features.float()
        _, L = texts.ids.shape
        tokens = self.embed(texts.ids) + self.position[:L]  # (B, L, D)
        tokens = self.layers(tokens, ~texts.mask)  # (B, L, D)
        if self.pool == "cls":
            return tokens[:, 0]
        kept = texts.mask[..., None].to(tokens.dtype)
        return (tokens * kept).sum(1) / kept.sum(1).clamp(min=1)  # (B, D)


class FrozenText(nn.Module):
    """A pretrained sentence encoder whose features were computed once and cached (encoders/frozen.py); or `top`, its
    last layers, that train above cached rows of those below (encoders/fine_tuned.py)."""

    def __init__(self, width: int, dropout: float = 0.0, whiten: bool = False) -> None:
        super().__init__()
        self.width, self.whiten = width, whiten
        self.top: nn.Module | None = None
        self.dropout = nn.Dropout(dropout)
        if whiten:
            self.register_buffer("mean", torch.zeros(width))
            self.register_buffer("map", torch.eye(width))

    @torch.no_grad()
    def whiten_by(self, features: Tensor) -> None:
        """Turn features so that over these (n, D) none of their directions stands out (ZCA), and small ones are not
        blown up. Those of an encoder such as e5 all point one way, and a linear head has to unlearn that first."""
        features = features.double().to(self.mean.device)
        self.mean.copy_(features.mean(0))
        value, vector = torch.linalg.eigh(torch.cov(features.T))
        self.map.copy_(vector @ torch.diag((value + SMALLEST * value.max()).rsqrt()) @ vector.T)

    def forward(self, texts: Texts) -> Tensor:
        """(B, D) the cached features, or what `top` makes of the rows below it; whitened if asked."""
        made = (texts.features if self.top is None else self.top(texts.hidden, texts.pieces != PAD)).float()
        return self.dropout((made - self.mean) @ self.map if self.whiten else made)
