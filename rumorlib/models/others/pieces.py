"""What the detectors of other authors share: word vectors, image vectors, weighted losses.

Shapes: B posts, L text positions, N image rows, D width of the image rows, d width of a model.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rumorlib.data.batches import Batch, FeatureMap, Patches, used_columns
from rumorlib.encoders.vocabulary import CLS, SEP
from rumorlib.models.dmfl import Rows


class Words(nn.Module):
    """Word vectors of a text, fine-tuned; the same rows as DMFL's text CNN reads, without [CLS] and [SEP] (Eq. 3).

    Args:
        word_vectors: (V, d_word) of `train_word2vec`.
    """

    def __init__(self, word_vectors: Tensor) -> None:
        super().__init__()
        vectors = torch.as_tensor(word_vectors).clone()
        self.vectors = nn.Embedding.from_pretrained(vectors, freeze=False, padding_idx=0)
        self.width = vectors.shape[1]

    def forward(self, batch: Batch) -> Rows:
        """text_ids and text_mask (B, L) to rows (B, L', d_word) and their mask, without columns that nobody uses."""
        length = used_columns(batch.text_mask, batch.n_columns)
        ids, mask = batch.text_ids[:, :length], batch.text_mask[:, :length]
        return Rows(self.vectors(ids), mask & (ids != CLS) & (ids != SEP))


class ImageRows(nn.Module):
    """Frozen image rows, normalised and projected to d, as DMFL's image branch projects them (Eq. 10).

    Args:
        d_image: D.
        d_model: d.
    """

    def __init__(self, d_image: int, d_model: int) -> None:
        super().__init__()
        self.norm, self.projection = nn.LayerNorm(d_image), nn.Linear(d_image, d_model)

    def forward(self, images: FeatureMap | Patches) -> Tensor:
        """(B, N, D) rows or a (B, D, h, w) map to (B, N, d). Raises ValueError: another width."""
        rows = images.flatten(2).transpose(1, 2) if images.dim() == 4 else images
        if rows.dim() != 3 or rows.shape[-1] != self.norm.normalized_shape[0]:
            raise ValueError(f"images must be (B, N, {self.norm.normalized_shape[0]}), got {tuple(images.shape)}")
        return self.projection(self.norm(rows.to(self.norm.weight.dtype)))


class Classifier(nn.Module):
    """What every detector owes the training loop, for one whose `logits(batch)` are (B, 2), class 1 = rumor."""

    def logits(self, batch: Batch) -> Tensor:
        """(B, 2) scores of the two classes."""
        raise NotImplementedError

    def training_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, weighted by `batch.weight`."""
        return {"loss": cross_entropy(self.logits(batch), batch)}

    def log_odds(self, batch: Batch) -> Tensor:
        """(B,) log-odds of rumor, the difference of the two logits; call in eval mode for predictions."""
        logits = self.logits(batch).float()
        return logits[:, 1] - logits[:, 0]

    def prob_rumor(self, batch: Batch) -> Tensor:
        """(B,) probability of rumor in [0, 1]; float32 says 1 from log-odds of 17 on."""
        return self.log_odds(batch).sigmoid()


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of (B, 2) logits against the labels, posts weighted as the batch says."""
    return weighted_mean(F.cross_entropy(logits.float(), batch.label.long(), reduction="none"), batch.weight)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean over the posts of w v, for (B,) values; w is 1 on average over a split."""
    return (values * weight).mean()
