"""Many small classifiers at once: the seeds of one head on fixed features, trained side by side.

S seeds, n posts, d features, E epochs. Seeds differ in their first weights, their order of posts and their dropout.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from rumorlib.config import HeadsConfig
from rumorlib.data.batches import array, device, moved, picker, sent

ROWS_PER_BLOCK = 4096  # posts predicted at once


class Heads(nn.Module):
    """S two-layer classifiers (Linear, ReLU, dropout, Linear) of the same d inputs; weights of seed s are slice s."""

    def __init__(self, d: int, config: HeadsConfig) -> None:
        super().__init__()
        s, h = config.n_seeds, config.width
        self.hidden = nn.Parameter(torch.randn(s, d, h) * (2 / d) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(s, 1, h))
        self.out = nn.Parameter(torch.randn(s, h, 1) * (1 / h) ** 0.5)
        self.offset = nn.Parameter(torch.zeros(s, 1))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(S, B, d) -> (S, B) logits."""
        if x.ndim != 3 or x.shape[2] != self.hidden.shape[1]:
            raise ValueError(f"heads for (S, B, {self.hidden.shape[1]}) were given {tuple(x.shape)}")
        hidden = self.dropout(torch.relu(torch.baddbmm(self.bias, x, self.hidden)))  # (S, B, h)
        return torch.bmm(hidden, self.out).squeeze(-1) + self.offset


def fit_predict(
    features: np.ndarray,
    label: np.ndarray,
    rows: np.ndarray,
    config: HeadsConfig,
    asked: np.ndarray,
    weight: np.ndarray | None = None,
    seed: int = 0,
    where: torch.device | None = None,
) -> np.ndarray:
    """Train S heads on the posts `rows` and predict the posts `asked` after every epoch.

    Args:
        features: (n, d); standardised on `rows`. label: (n,) 1 = rumor. rows, asked: row numbers.
        weight: (n,) of each post in the loss; None: 1.
        seed: of the first head; the others follow. where: they are trained; None: on the GPU if there is one.
    Returns: (E, S, len(asked)) log-odds of rumor.
    Raises: ValueError: one class in `rows`.
    """
    if len(np.unique(label[rows])) < 2:
        raise ValueError("heads need both classes in train")
    mean, scale = features[rows].mean(0), features[rows].std(0)
    where = where or device()
    x = torch.tensor((features - mean) / np.where(scale > 1e-6, scale, 1), dtype=torch.float32).clamp(-10, 10)
    y = torch.tensor(label, dtype=torch.float32)
    w = torch.ones(len(y)) if weight is None else torch.tensor(weight / weight[rows].mean(), dtype=torch.float32)
    torch.manual_seed(seed)
    model = Heads(x.shape[1], config).to(where)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    x, y, w = moved((x, y, w), where)
    train, asked_x, made = torch.tensor(rows), picker(torch.tensor(asked), where)(x), []
    for _ in range(config.epochs):
        model.train()
        orders = torch.stack([train[torch.randperm(len(train))] for _ in range(config.n_seeds)])  # (S, n_train)
        for batch in sent(orders, where).split(config.batch_size, dim=1):
            losses = nn.functional.binary_cross_entropy_with_logits(model(x[batch]), y[batch], reduction="none")
            loss = ((losses * w[batch]).sum(1) / w[batch].sum(1)).sum()  # seeds do not touch each other
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        made.append(_predict(model, asked_x, config.n_seeds))
    return np.stack(made)


@torch.inference_mode()
def _predict(model: Heads, x: Tensor, n_seeds: int) -> np.ndarray:
    """(S, n) log-odds, in evaluation mode."""
    model.eval()
    parts = [model(part.expand(n_seeds, -1, -1)) for part in x.split(ROWS_PER_BLOCK)]
    return array(torch.cat(parts, dim=1))
