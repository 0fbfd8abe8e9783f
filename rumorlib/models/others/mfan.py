"""MFAN: multi-modal feature-enhanced attention networks (Zheng et al., IJCAI 2022).

Text, image and the graph of posts, comments and users are one vector each; one attention block, shared, serves every
pair of them. Without replies in the corpus the graph branch is left out, and rows say "no graph". Differences from the
paper are choice C32.

Shapes: B posts, V graph nodes, M neighbours of a post, H heads, d width.
"""

from __future__ import annotations

from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rumorlib.config.checks import Cosine, Count, Rate, Several, Weight
from rumorlib.data.batches import Batch
from rumorlib.models.attention import AttentionBlock
from rumorlib.models.dmfl import TextCNN, has_picture
from rumorlib.models.named import Given
from rumorlib.models.others.pieces import Classifier, ImageRows, Words, cross_entropy, weighted_mean


def hidden_links(nodes: Tensor, features: Tensor, threshold: float) -> Tensor:
    """Links the data do not show: e_ij = 1 where the cosine of two nodes' features exceeds the threshold.

    Args:
        nodes: (m,) long, rows of interest. features: (V, d). threshold: in (-1, 1); the paper has 0.5.
    Returns: (m, V) bool; no node links itself.
    """
    unit = F.normalize(features.float(), dim=-1)
    links = unit[nodes] @ unit.T > threshold
    links[torch.arange(len(nodes)), nodes] = False
    return links


def neighbours(features: Tensor, edges: Tensor, n_posts: int, threshold: float, most: int) -> Tensor:
    """Neighbours of every post in the completed graph A ∪ E: (n_posts, M) long, padded with -1, M <= most + 1.

    Args:
        features: (V, d). edges: (E, 2) long, the links of the data.
        most: neighbours kept (C32): links of the data first, then hidden ones, the most similar first.
    """
    unit = F.normalize(features.float(), dim=-1)
    table = torch.full((n_posts, min(most, len(features) - 1) + 1), -1)
    for block in torch.arange(n_posts).split(256):
        known = torch.zeros(len(block), len(features), dtype=torch.bool)
        for a, b in (edges.T, edges.T.flip(0)):
            here = (a >= block[0]) & (a <= block[-1])
            known[a[here] - block[0], b[here]] = True
        found = known | hidden_links(block, features, threshold)
        rank = (unit[block] @ unit.T + 4 * known).masked_fill(~found, -torch.inf)  # cosines lie in [-1, 1]
        best = rank.topk(table.shape[1] - 1, dim=1)
        table[block, 0] = block
        table[block, 1:] = torch.where(best.values.isfinite(), best.indices, -1)
    return table


class SignedAttention(nn.Module):
    """Graph attention with both signs: softmax(e) says who agrees, -softmax(-e) who disagrees; both sums are joined.

    e_ij = LeakyReLU(a · [W n_i ‖ W n_j]) over the neighbours j of post i, then ELU of a linear map back to d.
    """

    def __init__(self, d_node: int, d_model: int, n_heads: int, d_head: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.node = nn.Linear(d_node, n_heads * d_head, bias=False)
        self.own, self.other = (nn.Parameter(torch.empty(n_heads, d_head)) for _ in range(2))  # the two halves of a
        self.out = nn.Linear(2 * n_heads * d_head, d_model)
        nn.init.xavier_uniform_(self.own)
        nn.init.xavier_uniform_(self.other)

    def forward(self, nodes: Tensor, mask: Tensor) -> Tensor:
        """Features (B, M, d_node) of a post (first) and its neighbours, mask (B, M), to (B, d)."""
        rows = self.node(nodes).unflatten(-1, (self.n_heads, -1))  # (B, M, H, E)
        score = (rows[:, :1] * self.own).sum(-1) + (rows * self.other).sum(-1)  # (B, M, H)
        score = F.leaky_relu(score, 0.2)
        gone = ~mask.unsqueeze(-1)
        agree = score.masked_fill(gone, -torch.inf).softmax(dim=1)
        differ = -(-score).masked_fill(gone, -torch.inf).softmax(dim=1)
        sums = [(weight.unsqueeze(-1) * rows).sum(dim=1).flatten(1) for weight in (agree, differ)]
        return F.elu(self.out(torch.cat(sums, dim=-1)))


class MFAN(Classifier):
    """Text CNN, image vector, graph branch where there is one; shared attention; alignment; classifier.

    Args: given: see `Given`.
        d_model: three times 100 filters. d_head, dropout: its code's. lambda_c, lambda_a: the paper's.
        graph: read posts, comments and users; needs a corpus with replies.
        link_threshold: cosine above which a hidden link is inferred (paper).
        max_neighbours: of one post, links of the data first (C32).
    Raises: ValueError: `graph`, and no conversation is given.
    """

    reads = "words, image vector"

    def __init__(
        self, given: Given, kernel_sizes: Several[Count] = (3, 4, 5), d_model: Count = 300, n_heads: Count = 8,
        d_head: Count = 16, lambda_c: Weight = 2.15, lambda_a: Weight = 1.55, dropout: Rate = 0.6, graph: bool = False,
        link_threshold: Cosine = 0.5, max_neighbours: Count = 32,
    ) -> None:  # fmt: skip
        super().__init__()
        if graph and given.conversation is None:
            raise ValueError("MFAN with graph=True reads a conversation, and none is given; use graph=False")
        self.lambda_c, self.lambda_a, d = lambda_c, lambda_a, d_model
        self.words = Words(given.word_vectors)
        self.text_cnn = TextCNN(self.words.width, d, kernel_sizes)
        self.image_rows = ImageRows(given.d_image, d)
        self.attention = AttentionBlock(d, n_heads, d_head)  # one block for every use
        self.align_text, self.align_other = nn.Linear(d, d), nn.Linear(d, d)
        self.social = None
        if graph:
            nodes, edges, n_posts = given.conversation()
            self.register_buffer("nodes", nodes, persistent=False)
            table = neighbours(nodes, edges, n_posts, link_threshold, max_neighbours)
            self.register_buffer("neighbours", table, persistent=False)
            self.social = SignedAttention(nodes.shape[1], d, n_heads, d_head)
        n_pairs = 6 if graph else 2
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(n_pairs * d, d)
        self.classifier = nn.Linear(d, 2)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, 2) logits, and the alignment error of each post (B,)."""
        words, mask = self.words(batch)
        views = {"text": self.text_cnn(words, mask).amax(dim=1), "image": self.image_rows(batch.images).mean(dim=1)}
        if self.social is not None:
            around = self.neighbours[batch.row]  # (B, M)
            views["graph"] = self.social(self.nodes[around.clamp(min=0)], around >= 0)
        views = {name: self._attend(view.unsqueeze(1), view.unsqueeze(1)) for name, view in views.items()}
        views["text"] = self._attend(views["image"], views["text"])  # the enhanced text, from here on
        other = views["image" if self.social is None else "graph"]
        distance = (self.align_text(views["text"]) - self.align_other(other)).float()
        crossed = [self._attend(views[a], views[b]).squeeze(1) for a, b in permutations(views, 2)]
        features = F.relu(self.hidden(torch.cat(crossed, dim=-1)))
        return self.classifier(self.dropout(features)), distance.square().mean(dim=(1, 2))

    def _attend(self, query: Tensor, key: Tensor) -> Tensor:
        return self.attention(query, key).rows  # (B, 1, d): a single key, so every weight is 1

    def logits(self, batch: Batch) -> Tensor:
        """(B, 2)."""
        return self(batch)[0]

    def training_loss(self, batch: Batch) -> dict[str, Tensor]:
        """L = lambda_c L_classify + lambda_a L_align, the latter a mean over posts and features."""
        logits, errors = self(batch)
        if self.social is None:  # else the text is aligned with the graph
            errors = errors * has_picture(batch.images)
        classification, alignment = cross_entropy(logits, batch), weighted_mean(errors, batch.weight)
        loss = self.lambda_c * classification + self.lambda_a * alignment
        return {"loss": loss, "classification": classification, "alignment": alignment}
