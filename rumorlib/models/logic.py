"""DMFL's logic chain (§4.5, Eqs 13-14): BERT's layers with a look at the image in each, from scratch or not.

Shapes: B posts, L tokens, N image patches, D = d_image, W = logic_width, d = d_model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rumorlib.config import DMFLConfig
from rumorlib.encoders.vocabulary import PAD
from rumorlib.models.attention import Attended, MultiHeadAttention

BERT_EPS = 1e-12  # of BERT's LayerNorms


class LogicLayer(nn.Module):
    """Bi-SA, then CA to the image, then FFN, each with residual and LayerNorm after it (Eq. 14; BERT/BLIP)."""

    def __init__(self, width: int, n_heads: int, sees_image: bool, bias: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        heads = n_heads, width // n_heads
        self.self_attention = MultiHeadAttention(width, width, width, *heads, bias)
        self.self_norm = nn.LayerNorm(width, eps)
        self.cross_attention = MultiHeadAttention(width, width, width, *heads, bias) if sees_image else None
        self.cross_norm = nn.LayerNorm(width, eps) if sees_image else None
        inner, outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.ffn = nn.Sequential(inner, nn.GELU(), outer)
        self.ffn_norm = nn.LayerNorm(width, eps)

    def forward(self, rows: Tensor, mask: Tensor, patches: Tensor | None, need_map: bool) -> Attended:
        """Rows (B, L, W), mask (B, L), patches (B, N, W) to new rows and the cross-attention's weights."""
        rows = self.self_norm(rows + self.self_attention(rows, rows, mask).rows)  # u = BiSA(E)
        weights = None
        if self.cross_attention is not None:
            crossed = self.cross_attention(rows, patches, need_weights=need_map)
            rows, weights = self.cross_norm(rows + crossed.rows), crossed.weights  # u' = CA(u, image)
        return Attended(self.ffn_norm(rows + self.ffn(rows)), weights=weights)  # E <- FFN(u')


class LogicChain(nn.Module):
    """Text-image logical connection features (§4.5, Eqs 13-14).

    C17, C18: tokens are the word vectors, with [CLS] and [SEP]; every CA reads the patch rows, projected once from D to
    W. A post is one segment, its replies (`reply_hours`) are the second one. `d_image=None` leaves the CA out
    (DMFL-TTRAS).

    Args:
        config: widths, depth, and `logic_init`: where the weights start (choice C28).
        d_image: D.
        d_word: width of the rows it is given, mapped to W: word vectors, or what frozen layers of BERT left of word
            pieces. None where the chain has a token table of its own.
        n_tokens: rows of that table.
    """

    def __init__(
        self, config: DMFLConfig, d_image: int | None, d_word: int | None = None, n_tokens: int | None = None
    ) -> None:
        super().__init__()
        width, bert = config.logic_width, config.logic_init == "bert"
        if width % config.logic_heads:
            raise ValueError(f"logic_width {width} is not a multiple of logic_heads {config.logic_heads}")
        if (d_word is None) == (n_tokens is None):
            raise ValueError(f"logic_init={config.logic_init!r}: give d_word or n_tokens, as the chain's tokens are")
        self.taken: tuple[str, ...] = ()  # parameters that another training has made
        self.on_layers = config.logic_frozen > 0  # rows come from BERT's layers, with positions and segment in them
        if self.on_layers:
            self.token = nn.Identity() if d_word == width else nn.Linear(d_word, width, bias=False)
        else:
            table = nn.Embedding(n_tokens, width, padding_idx=PAD) if n_tokens else None
            self.token = table or nn.Linear(d_word, width, bias=False)
        # A table of unit vectors, read times sqrt(W) as in the first Transformer: so words learn as fast as the rest.
        self.scale = width**0.5 if config.logic_init == "stage1" else 1.0
        eps = BERT_EPS if bert else 1e-5
        if not self.on_layers:
            # + 2: [CLS] and [SEP] around L words
            length = config.logic_text.max_length if bert else config.word2vec.max_length + 2
            self.position = nn.Embedding(length, width)
            self.segment = nn.Parameter(torch.zeros(width))
            if config.reply_hours:
                self.reply_segment = nn.Parameter(torch.zeros(width))
            self.norm = nn.LayerNorm(width, eps)
        self.patches = nn.Linear(d_image, width) if d_image else None
        layer = width, config.logic_heads, d_image is not None, bert, eps
        self.layers = nn.ModuleList(LogicLayer(*layer) for _ in range(config.logic_depth))
        self.out = nn.Linear(width, config.d_model)
        if not self.on_layers:  # after all others: the draws of stored runs
            nn.init.normal_(self.position.weight, std=0.02)  # BERT

    def forward(
        self, words: Tensor, mask: Tensor, patches: Tensor | None, need_map: bool = False, second: Tensor | None = None
    ) -> Attended:
        """Rows (B, L, d_word) or token ids (B, L), mask (B, L), patches (B, N, D) to rows (B, L, d) and the last CA's
        map; second: (B, L) bool, True = the second segment."""
        rows, _, weights = self.hidden(words, mask, patches, need_map, second)
        return Attended(self.out(rows), weights=weights)

    def hidden(
        self, words: Tensor, mask: Tensor, patches: Tensor | None, need_map: bool = False, second: Tensor | None = None
    ) -> Attended:
        """As `forward`, before the projection to d: rows (B, L, W), which are BERT's where it starts from BERT and sees
        no image."""
        rows = self.token(words) if self.on_layers else self._embedded(words, second)  # Eq. 13: (B, L, W)
        patches, weights = None if self.patches is None else self.patches(patches), None  # (B, N, W)
        for layer in self.layers:
            rows, _, weights = layer(rows, mask, patches, need_map and layer is self.layers[-1])  # Eq. 14
        return Attended(rows, weights=weights)

    def _embedded(self, words: Tensor, second: Tensor | None) -> Tensor:
        if words.shape[1] > len(self.position.weight):
            raise ValueError(f"{words.shape[1]} tokens do not fit the config's {len(self.position.weight)} positions")
        segment = self.segment if second is None else torch.where(second[..., None], self.reply_segment, self.segment)
        return self.norm(self.scale * self.token(words) + self.position.weight[: words.shape[1]] + segment)

    @torch.no_grad()
    def start_from_joint(self, tokens: Tensor) -> None:
        """Begin in stage 1's joint space, where a word and a patch that shows it lie close (choice C28).

        The token table holds the words' joint vectors, the patches pass unchanged, and the cross-attention starts as a
        similarity: keys are mapped as queries are, and what is read comes out as it went in.

        Args: tokens: (V, W) joint vectors, unit length. Raises: ValueError: another width than the chain's.
        """
        n, width = tokens.shape
        if (n, width) != self.token.weight.shape or (self.patches and self.patches.in_features != width):
            raise ValueError(f"joint vectors {(n, width)} do not fit a token table of {tuple(self.token.weight.shape)}")
        self.token.weight.copy_(tokens)
        self.position.weight.mul_(0.3)
        if self.patches is not None:
            self.patches.weight.copy_(torch.eye(width))
            self.patches.bias.zero_()
        for layer in self.layers:
            layer.self_attention.out.weight.mul_(0.3)  # words first mean themselves
            if (cross := layer.cross_attention) is not None:
                nn.init.orthogonal_(cross.query.weight)
                cross.key.weight.copy_(cross.query.weight)
                nn.init.orthogonal_(cross.value.weight)
                cross.out.weight.copy_(cross.value.weight.T)

    @torch.no_grad()
    def start_from_bert(self, state: dict[str, Tensor], frozen: int = 0) -> None:
        """Begin as BERT: its token, position and segment rows, its self-attention and feed-forward layers; the
        cross-attention is new, as in BLIP (choice C28).

        Args: state: weights of a `BertModel`, by its names. frozen: its layers below, which rows come from.
        Raises: ValueError: sizes differ, or names are missing.
        """
        own = dict(self.named_parameters())
        taken = bert_names(len(self.layers), frozen)
        self.taken = tuple(taken)
        if missing := sorted({name for name, _ in taken.values()} - set(state)):
            raise ValueError(f"no BERT weights: {', '.join(missing[:3])} missing, of {len(missing)}")
        for name, (theirs, first) in taken.items():
            value = state[theirs][0] if first else state[theirs]
            value = value[: len(own[name])] if name == "position.weight" else value
            if value.shape != own[name].shape:
                raise ValueError(f"{theirs} is {tuple(value.shape)}, the logic chain's {name} {tuple(own[name].shape)}")
            own[name].copy_(value)
        if "reply_segment" in own:
            own["reply_segment"].copy_(state["embeddings.token_type_embeddings.weight"][1])


def bert_names(depth: int, frozen: int = 0) -> dict[str, tuple[str, bool]]:
    """Name of each parameter of a `LogicChain` that BERT has -> BERT's name for it, and whether only its first row is
    meant (a post is segment 0). On `frozen` layers the chain begins with the next one."""
    names, pairs = {}, {}
    if not frozen:
        names |= {"token.weight": ("embeddings.word_embeddings.weight", False)}
        names |= {"position.weight": ("embeddings.position_embeddings.weight", False)}
        names |= {"segment": ("embeddings.token_type_embeddings.weight", True)}
        pairs |= {"norm": "embeddings.LayerNorm"}
    for i in range(depth):
        theirs = f"encoder.layer.{frozen + i}"
        ours = f"layers.{i}"
        parts = {"query": "self.query", "key": "self.key", "value": "self.value", "out": "output.dense"}
        pairs |= {f"{ours}.self_attention.{name}": f"{theirs}.attention.{part}" for name, part in parts.items()}
        pairs |= {f"{ours}.self_norm": f"{theirs}.attention.output.LayerNorm"}
        pairs |= {f"{ours}.ffn.0": f"{theirs}.intermediate.dense", f"{ours}.ffn.2": f"{theirs}.output.dense"}
        pairs |= {f"{ours}.ffn_norm": f"{theirs}.output.LayerNorm"}
    both = {f"{o}.{kind}": (f"{t}.{kind}", False) for o, t in pairs.items() for kind in ("weight", "bias")}
    return names | both
