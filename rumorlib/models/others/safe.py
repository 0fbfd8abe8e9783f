"""SAFE: similarity-aware multi-modal fake news detection (Zhou, Wu, Zafarani, PAKDD 2020; arXiv 2003.04981).

A text CNN reads the words, another one the image; a classifier sees both vectors, and a second loss asks the two to be
similar where the post is true and dissimilar where it is a rumor. Differences from the paper are choice C30.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rumorlib.config.checks import Count, Rate, Several, Weight
from rumorlib.data.batches import Batch
from rumorlib.models.dmfl import TextCNN
from rumorlib.models.named import Given
from rumorlib.models.others.pieces import Classifier, ImageRows, Words, cross_entropy, weighted_mean


def similarity(text: Tensor, image: Tensor) -> Tensor:
    """Modified cosine similarity M_s = (t·v + |t||v|) / (2 |t||v|): (B, d) and (B, d) to (B,) in [0, 1]."""
    return (1 + nn.functional.cosine_similarity(text.float(), image.float(), dim=-1)) / 2


def similarity_loss(similar: Tensor, label: Tensor) -> Tensor:
    """L_s of each post: -(y log(1 - M_s) + (1 - y) log M_s), y = 1 for a rumor. (B,) in, (B,) out, nats.

    M_s is kept 1e-6 away from 0 and 1, where the logarithm ends.
    """
    similar = similar.clamp(1e-6, 1 - 1e-6)
    return -(label * torch.log1p(-similar) + (1 - label) * similar.log())


class SAFE(Classifier):
    """Two text CNNs, a classifier on both vectors, and the similarity loss.

    Args: given: see `Given`. The defaults of sizes are those of FaKnow's re-implementation.
        n_filters: per window. d_reduced: width of words and image rows before the convolutions. d_model: d of t and v.
        alpha, beta: weights of the prediction and of the similarity loss; the paper tunes them per corpus (C30).
    """

    reads = "words, image rows"

    def __init__(
        self, given: Given, kernel_sizes: Several[Count] = (3, 4), n_filters: Count = 128, d_reduced: Count = 32,
        d_model: Count = 200, alpha: Weight = 0.5, beta: Weight = 0.5, dropout: Rate = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.alpha, self.beta, n_filters = alpha, beta, n_filters * len(kernel_sizes)
        self.words = Words(given.word_vectors)
        self.reduce = nn.Linear(self.words.width, d_reduced)
        self.image_rows = ImageRows(given.d_image, d_reduced)
        self.text_cnn = TextCNN(d_reduced, n_filters, kernel_sizes)
        self.image_cnn = TextCNN(d_reduced, n_filters, kernel_sizes)
        self.text_out, self.image_out = (nn.Linear(n_filters, d_model) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(2 * d_model, 2)

    def vectors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """t and v, (B, d) each."""
        words, mask = self.words(batch)
        text = self.text_cnn(self.reduce(words), mask).amax(dim=1)  # ReLU >= 0: masked zeros never win
        rows = self.image_rows(batch.images)  # (B, N, d_reduced)
        image = self.image_cnn(rows, torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device)).amax(dim=1)
        return self.text_out(self.dropout(text)), self.image_out(self.dropout(image))

    def logits(self, batch: Batch) -> Tensor:
        """M_p: (B, 2) from [t ‖ v]."""
        return self.classifier(torch.cat(self.vectors(batch), dim=-1))

    def training_loss(self, batch: Batch) -> dict[str, Tensor]:
        """L = alpha L_p + beta L_s."""
        text, image = self.vectors(batch)
        classification = cross_entropy(self.classifier(torch.cat([text, image], dim=-1)), batch)
        apart = weighted_mean(similarity_loss(similarity(text, image), batch.label), batch.weight)
        loss = self.alpha * classification + self.beta * apart
        return {"loss": loss, "classification": classification, "similarity": apart}
