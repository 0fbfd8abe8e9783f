"""EANN: event adversarial neural networks (Wang et al., KDD 2018).

A detector and an event discriminator read the same features; the gradient of the discriminator is turned round on its
way back, so that what tells events apart is unlearnt. Differences from the paper are choice C33.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rumorlib.config.checks import Count, Rate, Several, Weight
from rumorlib.data.batches import Batch
from rumorlib.models.dmfl import TextCNN
from rumorlib.models.named import Given
from rumorlib.models.others.pieces import Classifier, ImageRows, Words, cross_entropy, weighted_mean


class ReverseGradient(torch.autograd.Function):
    """The identity forward, -lambda times the gradient backward."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, reverse_lambda: float) -> Tensor:
        """Features as they are."""
        ctx.reverse_lambda = reverse_lambda
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """-lambda dL/dR (the paper's minimax game, played in one pass)."""
        return -ctx.reverse_lambda * gradient, None


class EANN(Classifier):
    """Text CNN and image layer, a detector on both, and an adversary where the corpus has events.

    Args: given: see `Given`.
        kernel_sizes, n_filters: windows and filters of each; paper. d_model: of each modality, as FaKnow
        re-implements it. reverse_lambda: paper. adversary: the event discriminator; needs train events to learn.
    """

    reads = "words, image vector"
    training_only = ("discriminator.",)  # a saved detector has no adversary

    def __init__(
        self, given: Given, kernel_sizes: Several[Count] = (1, 2, 3, 4), n_filters: Count = 20, d_model: Count = 32,
        reverse_lambda: Weight = 1.0, adversary: bool = True, dropout: Rate = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.reverse_lambda, self.adversary, d = reverse_lambda, adversary, d_model
        self.words = Words(given.word_vectors)
        n_filters = n_filters * len(kernel_sizes)
        self.text_cnn = TextCNN(self.words.width, n_filters, kernel_sizes)
        self.text_out, self.image_out = nn.Linear(n_filters, d), ImageRows(given.d_image, d)
        self.dropout = nn.Dropout(dropout)
        self.detector = nn.Linear(2 * d, 2)
        self.discriminator, events = None, given.events if adversary else None
        self.register_buffer("events", events, persistent=False)
        if events is not None:
            n_events = int(events.max()) + 1
            self.discriminator = nn.Sequential(nn.Linear(2 * d, d), nn.LeakyReLU(), nn.Linear(d, n_events))

    def features(self, batch: Batch) -> Tensor:
        """R_F = [text ‖ image]: (B, 2d)."""
        words, mask = self.words(batch)
        text = F.leaky_relu(self.text_out(self.text_cnn(words, mask).amax(dim=1)))
        image = F.leaky_relu(self.image_out(batch.images).mean(dim=1))
        return torch.cat([text, image], dim=-1)

    def logits(self, batch: Batch) -> Tensor:
        """The detector's (B, 2)."""
        return self.detector(self.dropout(self.features(batch)))

    def training_loss(self, batch: Batch) -> dict[str, Tensor]:
        """L_d + L_e behind the reversal, which makes it L_d - lambda L_e for the features.

        L_e is over posts with a train event; on dev it is 0, so the detection loss alone chooses the epoch.

        Raises: ValueError: an adversary without events.
        """
        if self.adversary and self.discriminator is None:
            raise ValueError("EANN needs two train events, or adversary=False")
        features = self.features(batch)
        detection = cross_entropy(self.detector(self.dropout(features)), batch)
        if self.discriminator is None:
            return {"loss": detection}
        event = self.events[batch.row]  # (B,)
        scores = self.discriminator(ReverseGradient.apply(features, self.reverse_lambda)).float()
        errors = F.cross_entropy(scores, event, reduction="none", ignore_index=-1)  # (B,), 0 where ignored
        adversary = weighted_mean(errors, batch.weight * (event >= 0))
        return {"loss": detection + adversary, "detection": detection, "event": adversary}
