"""Two text-only rows of the papers' related work, each read from word vectors as DMFL's text CNN reads them.

GRU: Ma et al., IJCAI 2016, here over the words of one post instead of over the posts of an event. HAN: Yang et al.,
NAACL 2016, attention over words, then over sentences. The words come without punctuation, so a sentence is a block of
BLOCK words. KMGCN (Wang et al., ICMR 2020) is left out: its graph needs entities of a knowledge base that no corpus
here brings.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rumorlib.data.batches import Batch
from rumorlib.models.named import Given
from rumorlib.models.others.pieces import Classifier, Words

BLOCK = 10  # words

# B posts, L words, S blocks, H hidden units of one direction


class GRU(Classifier):
    """One gated recurrent layer over the words, its last state classified (Ma et al. 2016).

    Args: given: see `Given`. width: H. dropout: before the classifier.
    """

    def __init__(self, given: Given, width: int = 100, dropout: float = 0.5) -> None:
        super().__init__()
        self.words = Words(given.word_vectors)
        self.gru = nn.GRU(self.words.width, width, batch_first=True)
        self.dropout, self.classifier = nn.Dropout(dropout), nn.Linear(width, 2)

    def logits(self, batch: Batch) -> Tensor:
        """(B, 2); of a text without words from a state of zeros."""
        words, mask = _in_front(*self.words(batch))
        states = F.pad(self.gru(words)[0], (0, 0, 1, 0))  # (B, 1 + L, H): after no word, one, two, ...
        last = states[torch.arange(len(states), device=states.device), mask.sum(1)]
        return self.classifier(self.dropout(last))


class HAN(Classifier):
    """Bidirectional GRUs with attention over the words of each block and over the blocks (Yang et al. 2016).

    Args: given: see `Given`. width: H. dropout: before the classifier.
    """

    def __init__(self, given: Given, width: int = 50, dropout: float = 0.5) -> None:
        super().__init__()
        self.words = Words(given.word_vectors)
        self.of_words, self.of_blocks = _Attending(self.words.width, width), _Attending(2 * width, width)
        self.dropout, self.classifier = nn.Dropout(dropout), nn.Linear(2 * width, 2)

    def logits(self, batch: Batch) -> Tensor:
        """(B, 2)."""
        words, mask = _in_front(*self.words(batch))
        more = -words.shape[1] % BLOCK
        words = F.pad(words, (0, 0, 0, more)).unflatten(1, (-1, BLOCK)).flatten(0, 1)  # (B S, BLOCK, d)
        mask = F.pad(mask, (0, more)).unflatten(1, (-1, BLOCK)).flatten(0, 1)
        blocks = self.of_words(words, mask).unflatten(0, (len(batch.text_ids), -1))  # (B, S, 2H)
        has_words = mask.any(1).unflatten(0, (len(batch.text_ids), -1))
        return self.classifier(self.dropout(self.of_blocks(blocks, has_words)))


class _Attending(nn.Module):
    """A bidirectional GRU and the mean of its states, weighted by their product with a learned context vector."""

    def __init__(self, d_in: int, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(d_in, width, batch_first=True, bidirectional=True)
        self.hidden, self.context = nn.Linear(2 * width, 2 * width), nn.Linear(2 * width, 1, bias=False)

    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        """(B, N, d_in) to (B, 2H); zeros where nothing is real."""
        states = self.gru(rows * mask[..., None].to(rows.dtype))[0]
        scores = self.context(self.hidden(states).tanh()).squeeze(-1).masked_fill(~mask, -1e9)
        weights = scores.softmax(-1) * mask
        return (weights[..., None] * states).sum(1)


def _in_front(words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The real words before all others, in their order: [CLS] stands before them and is none."""
    order = (~mask).to(torch.int8).argsort(dim=1, stable=True)
    return words.gather(1, order[..., None].expand_as(words)), mask.gather(1, order)
