"""Multi-head attention with a fixed width per head: DMFL's Eqs 11, 12, 14 and 18.

Shapes: B posts, Q query rows, K key rows, H heads, E width per head (d_head).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attended(NamedTuple):
    """What one attention gives; scores and weights only when asked for."""

    rows: Tensor  # (B, Q, d_out)
    scores: Tensor | None = None  # (B, H, Q, K) scaled products before the softmax, padding not masked
    weights: Tensor | None = None  # (B, H, Q, K) each row sums to 1 over the real keys


def masked_mean(rows: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the real rows of each post.

    Args:
        rows: (B, N, D).
        mask: (B, N) bool, True = real row; None: all are.
    Returns: (B, D); zeros for a post without real rows.
    """
    if mask is None:
        return rows.mean(dim=1)
    kept = mask.unsqueeze(-1).to(rows.dtype)  # (B, N, 1)
    return (rows * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)


class MultiHeadAttention(nn.Module):
    """softmax(Q_h K_h^T / sqrt(E)) V_h, heads side by side, then W^O (DMFL §4.4, Eqs 11-12).

    Choice C12: each head is `d_head` wide whatever H is, and W^O maps H * d_head to d_out. No biases: the equations
    have none, and a bias on the keys changes no softmax. (BERT's weights come with biases.)

    Args:
        d_query: width of the query rows.
        d_key: width of the key/value rows.
        d_out: width of the result.
        n_heads: H.
        d_head: E.
        bias: biases in all four maps.
    """

    def __init__(self, d_query: int, d_key: int, d_out: int, n_heads: int, d_head: int, bias: bool = False) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(d_query, n_heads * d_head, bias=bias)
        self.key = nn.Linear(d_key, n_heads * d_head, bias=bias)
        self.value = nn.Linear(d_key, n_heads * d_head, bias=bias)
        self.out = nn.Linear(n_heads * d_head, d_out, bias=bias)
        for linear in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(linear.weight)

    def forward(
        self, query: Tensor, key: Tensor, key_mask: Tensor | None = None, need_weights: bool = False
    ) -> Attended:
        """Attend from `query` rows to `key` rows, which also give the values.

        Args:
            query: (B, Q, d_query).
            key: (B, K, d_key).
            key_mask: (B, K) bool, True = real key. A post without any gets zeros, not NaN.
            need_weights: also return scores and weights (slower; same rows).
        Raises: ValueError: shapes disagree.
        """
        self._check(query, key, key_mask)
        q, k, v = self._heads(self.query(query)), self._heads(self.key(key)), self._heads(self.value(key))
        mask = has_key = None
        if key_mask is not None:
            has_key = key_mask.any(dim=1)[:, None, None, None]  # (B, 1, 1, 1)
            mask = key_mask[:, None, None, :] | ~has_key  # (B, 1, 1, K) never all False
        scores = weights = None
        # Plain products where asked for, and on a CPU in bf16, where torch's attention takes twice as long on a few
        # dozen rows: the fused kernel's backward pass as well as the other's safe softmax.
        if need_weights or (q.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5  # (B, H, Q, K)
            weights = (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(dim=-1)
            weights = weights if has_key is None else weights * has_key
            heads = weights.to(v.dtype) @ v  # (B, H, Q, E)
            if not need_weights:
                scores = weights = None
        else:
            heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            heads = heads if has_key is None else heads * has_key
        rows = self.out(heads.transpose(1, 2).flatten(2))  # (B, Q, d_out)
        return Attended(rows, scores, weights)

    @contextmanager
    def without(self, heads: Sequence[int]) -> Iterator[None]:
        """Some heads say nothing for a while: the columns of W^O that read them are zero."""
        learned = self.out.weight.detach().clone()
        with torch.no_grad():
            self.out.weight.unflatten(1, (self.n_heads, -1))[:, list(heads)] = 0  # (d_out, H, E)
        try:
            yield
        finally:
            self.out.weight.data.copy_(learned)

    def _heads(self, rows: Tensor) -> Tensor:
        """(B, N, H * E) to (B, H, N, E)."""
        return rows.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    @staticmethod
    def _check(query: Tensor, key: Tensor, key_mask: Tensor | None) -> None:
        if query.dim() != 3 or key.dim() != 3 or len(query) != len(key):
            raise ValueError(f"query and key must be (B, N, D), got {tuple(query.shape)} and {tuple(key.shape)}")
        if key_mask is not None and key_mask.shape != key.shape[:2]:
            raise ValueError(f"key_mask {tuple(key_mask.shape)} does not fit key {tuple(key.shape)}")


class AttentionBlock(nn.Module):
    """Attention as DMFL's semantic chain and Eq. 18 use it.

    Choice C15: `ffn=True` is MFAN's block, x = query + attention, then x + Linear-ReLU-Linear(x), no LayerNorm;
    `ffn=False` is the attention alone, as the paper prints it.

    Args:
        d_model: width of rows in and out.
        n_heads, d_head: as `MultiHeadAttention`.
        ffn: residuals and feed-forward network around the attention.
        norm: LayerNorm of what the attention reads, not of the residual (C15, ours).
    """

    def __init__(self, d_model: int, n_heads: int, d_head: int, ffn: bool = True, norm: bool = False) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(d_model, d_model, d_model, n_heads, d_head)
        self.query_norm, self.key_norm = (nn.LayerNorm(d_model) if norm else nn.Identity() for _ in range(2))
        self.ffn = None
        if ffn:
            layers = nn.Linear(d_model, d_model), nn.ReLU(), nn.Linear(d_model, d_model)
            self.ffn = nn.Sequential(*layers)

    def forward(
        self, query: Tensor, key: Tensor, key_mask: Tensor | None = None, need_weights: bool = False
    ) -> Attended:
        """As `MultiHeadAttention.forward`; rows are (B, Q, d_model)."""
        attended = self.attention(self.query_norm(query), self.key_norm(key), key_mask, need_weights)
        if self.ffn is None:
            return attended
        rows = query + attended.rows
        return attended._replace(rows=rows + self.ffn(rows))
