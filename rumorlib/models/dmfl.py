"""DMFL: dual-chain multimodal feature learning (Mathematics 13(11) 1731, §4), Eqs 3-21 in the paper's order.

Shapes: B posts, L text positions, N image patches, H heads, d = d_model, D = d_image, W = logic_width. Elsewhere: Eq. 1
(never used by the model), Eq. 2 (`encoders.word2vec`), Eqs 7-9 (the image encoder, whose rows arrive here).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rumorlib.config import DMFLConfig
from rumorlib.data.batches import Batch, FeatureMap, Patches, used_columns
from rumorlib.encoders.vocabulary import CLS, PAD, SEP
from rumorlib.models.attention import Attended, AttentionBlock, masked_mean
from rumorlib.models.logic import LogicChain


class DMFLOutput(NamedTuple):
    """Result of one pass; the maps only when asked for and when the variant has them."""

    logits: Tensor  # (B, 2), class 1 = rumor
    alignment_loss: Tensor  # (B,) Eq. 17 of each post; zeros without alignment
    scores: Tensor | None = None  # (B, H, N, L) raw scores of Eq. 12 (query rows x key rows; swap_query: L, N)
    weights: Tensor | None = None  # (B, H, N, L) their softmax over the words
    swapped: Tensor | None = None  # (B, H, L, N) the same scores, softmax over the patches for each word
    logic_map: Tensor | None = None  # (B, logic_heads, L, N) last cross-attention of the logic chain


class Rows(NamedTuple):
    """Features of a post in rows, and which rows are real."""

    values: Tensor  # (B, R, d)
    mask: Tensor | None = None  # (B, R) bool; None: all real


class TextCNN(nn.Module):
    """Convolutions over k words side by side (Eqs 4-6), d / len(kernel_sizes) filters each.

    Choice C11: windows are centred on each word, zeros outside the text, so there is one row per word; Eq. 5 is their
    maximum over the real words. (The paper's L-k+1 windows would depend on the amount of padding.)
    """

    def __init__(self, d_word: int, d_model: int, kernel_sizes: tuple[int, ...]) -> None:
        super().__init__()
        if d_model % len(kernel_sizes):
            raise ValueError(f"d_model {d_model} is not a multiple of the {len(kernel_sizes)} kernel sizes")
        n_filters = d_model // len(kernel_sizes)
        self.convs = nn.ModuleList(nn.Conv1d(d_word, n_filters, k) for k in kernel_sizes)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """Words (B, L, d_word) and mask (B, L) to (B, L, d), zero where masked."""
        kept = mask.unsqueeze(-1).to(words.dtype)
        columns = (words * kept).transpose(1, 2)  # (B, d_word, L)
        # Explicit padding: padding="same" copies, and warns, for even kernels.
        sizes = [conv.kernel_size[0] for conv in self.convs]
        padded = (F.pad(columns, ((k - 1) // 2, k // 2)) for k in sizes)
        maps = [conv(x).relu() for conv, x in zip(self.convs, padded, strict=True)]  # Eq. 4: (B, d/3, L)
        return torch.cat(maps, dim=1).transpose(1, 2) * kept  # (B, L, d)


def _without_padding(batch: Batch) -> Batch:
    """Drop the columns where no text of the batch has a token: nothing depends on them, and tweets are short."""
    length = used_columns(batch.text_mask, batch.n_columns)
    return batch._replace(text_ids=batch.text_ids[:, :length], text_mask=batch.text_mask[:, :length])


def after_first(mark: Tensor) -> Tensor:
    """(B, L) bool: which places come after a row's first mark."""
    return mark.cumsum(1) - mark.long() > 0


def has_picture(images: Tensor) -> Tensor:
    """(B,) bool: which posts have image rows; those of a post without a picture are zeros (choice C26)."""
    return images.flatten(1).any(dim=1)


def _full_precision(x: Tensor) -> Tensor:
    """At least float32: under autocast, losses and probabilities are not computed in bf16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class DMFL(nn.Module):
    """The whole model; `config.parts` and the other switches give its ablations, which build only what they use.

    Args:
        config: see `DMFLConfig`.
        word_vectors: (V, d_word) rows of `train_word2vec` or `load_vectors`; fine-tuned, as in MFAN.
        d_image: D, width of the image rows (channels of a feature map).
        n_patches: N, read where `config.image_positions` asks for learned positions (C37).
        n_tokens: rows of the logic chain's own token table, where `config.logic_init` gives it one.
        d_hidden: width of the rows of BERT's frozen layers, where `config.logic_frozen` names some.
        image_encoder: an encoder that learns (Eqs 7-10): of what posts bring it makes rows or a map of width D.
    Raises: ValueError: widths that do not divide; positions without n_patches.
    """

    def __init__(
        self,
        config: DMFLConfig,
        word_vectors: Tensor,
        d_image: int,
        n_patches: int | None = None,
        n_tokens: int | None = None,
        d_hidden: int | None = None,
        image_encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        word_vectors = torch.as_tensor(word_vectors)
        if config.image_positions and not n_patches:
            raise ValueError("image_positions needs n_patches, the number of patches")
        self.config, self.d_image, self.image_encoder = config, d_image, image_encoder
        d_word, d = word_vectors.shape[1], config.d_model
        self.has_semantic = config.parts in ("full", "semantic_only")
        self.has_logic = config.parts in ("full", "logic_only", "text_transformer")
        sees_image = config.parts not in ("text_cnn", "text_transformer")
        sees_patches = config.parts in ("full", "logic_only") or (self.has_semantic and config.granularity == "token")
        own_tokens = config.logic_init != "scratch"  # the logic chain has a token table of its own
        if config.parts != "image" and (self.has_semantic or config.parts == "text_cnn" or not own_tokens):
            self.word_vectors = nn.Embedding.from_pretrained(word_vectors.clone(), freeze=False, padding_idx=0)
        if self.has_semantic or config.parts == "text_cnn":
            self.text_cnn = TextCNN(d_word, d, config.kernel_sizes)
        self.image_norm = nn.LayerNorm(d_image) if sees_image else None
        # From zero: at first the model is the one without positions.
        positions = nn.Parameter(torch.zeros(n_patches, d_image)) if sees_patches and config.image_positions else None
        self.register_parameter("image_positions", positions)
        if self.has_semantic or config.parts == "image":
            self.image_projection = nn.Linear(d_image, d)
        block = d, config.n_heads, config.d_head, config.attention_ffn, config.attention_norm
        self.attention = nn.ModuleDict({name: AttentionBlock(*block) for name in self._attentions()})
        if self.has_semantic and config.alignment != "none":
            self.align_text = nn.Linear(d, d, bias=False)  # W_t
            self.align_image = nn.Linear(d, d, bias=False)  # W_i
        if self.has_logic:
            tokens = {"d_word": d_hidden} if config.logic_frozen else {"n_tokens": n_tokens}
            tokens = tokens if own_tokens else {"d_word": d_word}
            self.logic = LogicChain(config, d_image if sees_image else None, **tokens)
        if config.parts == "full":
            self.fusion_logits = nn.Parameter(torch.zeros(2))  # C16: w1 = w2 = 1/2 at first
        if config.reply_hours and config.logic_init == "bert":
            self.register_buffer("sep_piece", torch.tensor(0))  # id of [SEP] in its word pieces; set with its weights
        self.dropout = nn.Dropout(config.dropout)  # MFAN drops here and nowhere else
        self.classifier = nn.Linear(d, 2)

    @property
    def pretrained(self) -> tuple[str, ...]:
        """How names of parameters begin that another training has made: they may learn more slowly."""
        logic = [f"logic.{name}" for name in self.logic.taken] if self.has_logic else []
        return (*logic, *["image_encoder."] * bool(self.config.image_layers))

    def _attentions(self) -> tuple[str, ...]:
        """Names of the attention blocks of this variant; `share_attention` is MFAN's single block."""
        if not self.has_semantic:
            return ()
        if self.config.share_attention:
            return ("shared",)
        fuses = self.config.parts == "full" and self.config.fusion == "attention"
        return ("text", "image", "text_image") + (("fusion_semantic", "fusion_logic") if fuses else ())

    def _attend(self, name: str, query: Tensor, key: Rows, need_weights: bool = False) -> Attended:
        block = self.attention["shared" if self.config.share_attention else name]
        return block(query, key.values, key.mask, need_weights)

    def forward(self, batch: Batch, need_maps: bool = False) -> DMFLOutput:
        """Classify posts (Eqs 3-19).

        Args:
            batch: text_ids (B, L) with [CLS] and [SEP], text_mask (B, L); images (B, N, D), with `image_cls` (B, 1 + N,
                D), or a map (B, D, h, w); zeros where a post has none. Other fields are not read.
            need_maps: also return the attention maps.
        Raises: ValueError: shapes that do not fit the model.
        """
        patches = cls_row = semantic = logic = logic_map = None
        extras: dict[str, Tensor] = {}
        if self.image_norm is not None:
            patches, cls_row = self.read_images(batch.images)  # Eqs 7, 10: (B, N, D), (B, 1, D)
        if self.config.parts == "image":
            semantic = Rows(self.image_projection(cls_row))  # R_v alone
        else:
            batch = batch if need_maps else _without_padding(batch)
            words = (
                self.word_vectors(batch.text_ids) if hasattr(self, "word_vectors") else None
            )  # Eq. 3: (B, L, d_word)
        if self.config.parts == "text_cnn":
            semantic = Rows(self.text_rows(words, batch).values.amax(dim=1, keepdim=True))  # R_t alone: Eqs 5-6
        elif self.has_semantic:
            semantic, extras = self.semantic_chain(words, patches, cls_row, batch, need_maps)  # Eqs 4-6, 11-12, 15-17
        if self.has_logic:
            tokens, mask = self.logic_tokens(words, batch)
            rows, _, logic_map = self.logic(tokens, mask, patches, need_maps, self._second(batch, mask))  # Eqs 13-14
            is_pooled = self.config.granularity == "pooled"
            logic = Rows(rows[:, :1]) if is_pooled else Rows(rows, mask)  # F_l
        logits = _full_precision(self.classifier(self.dropout(self.fuse(semantic, logic))))  # Eqs 18-19: (B, 2)
        extras.setdefault("alignment_loss", logits.new_zeros(len(logits)))
        return DMFLOutput(logits, logic_map=logic_map, **extras)

    def read_images(self, images: FeatureMap | Patches) -> tuple[Tensor, Tensor]:
        """Image rows as Eq. 10 leaves them, R_v = LN(z); zeros before the norm for a post without a picture.

        Returns: patches (B, N, D), and the [CLS] row (B, 1, D), which is their mean where the encoder has none (C37).
        """
        given = images if self.image_encoder is None else self.image_encoder(images)
        rows = given.flatten(2).transpose(1, 2) if given.dim() == 4 else given  # (B, N, D)
        if self.image_encoder is not None:
            rows = rows * has_picture(images)[:, None, None]
        if rows.dim() != 3 or rows.shape[-1] != self.d_image:
            raise ValueError(f"images must be (B, N, {self.d_image}) or a map of it, got {tuple(images.shape)}")
        rows = self.image_norm(rows.to(self.image_norm.weight.dtype))  # frozen features arrive as fp16
        cls = self.config.image_cls
        cls_row, patches = (rows[:, :1], rows[:, 1:]) if cls else (rows.mean(dim=1, keepdim=True), rows)
        if self.image_positions is None:
            return patches, cls_row
        if patches.shape[1] != len(self.image_positions):
            raise ValueError(f"the model has {len(self.image_positions)} positions, the images {patches.shape[1]}")
        return patches + self.image_positions, cls_row

    def logic_tokens(self, words: Tensor | None, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the logic chain reads (C17), and which of it is real: word vectors, ids into its own token table, or
        rows of frozen layers.

        Raises: ValueError: BERT's word pieces are asked for and the batch has none.
        """
        if self.config.logic_init != "bert":
            return (words if self.config.logic_init == "scratch" else batch.text_ids), batch.text_mask
        if batch.pieces is None or (self.config.logic_frozen and batch.hidden is None):
            raise ValueError("logic_init='bert' reads word pieces, and the batch has none")
        pieces = batch.pieces[:, : used_columns(batch.pieces != PAD, batch.n_pieces)]
        if self.config.logic_frozen:
            return batch.hidden[:, : pieces.shape[1]].float(), pieces != PAD
        return pieces, pieces != PAD

    def _second(self, batch: Batch, mask: Tensor) -> Tensor | None:
        """(B, L) bool: which tokens of the logic chain belong to replies, the second segment (§4.5)."""
        if not self.config.reply_hours:
            return None
        is_bert = self.config.logic_init == "bert"
        ids, sep = (batch.pieces, self.sep_piece) if is_bert else (batch.text_ids, SEP)
        return after_first(ids == sep)[:, : mask.shape[1]]

    def text_rows(self, words: Tensor, batch: Batch) -> Rows:
        """Convolution maps (B, L, d) of Eq. 4; [CLS], [SEP] and replies are padding here, they belong to the logic
        chain."""
        ids = batch.text_ids
        mask = batch.text_mask & (ids != CLS) & (ids != SEP)
        mask = mask & ~after_first(ids == SEP) if self.config.reply_hours else mask
        return Rows(self.text_cnn(words, mask), mask)

    def semantic_chain(
        self, words: Tensor, patches: Tensor, cls_row: Tensor, batch: Batch, need_maps: bool
    ) -> tuple[Rows, dict[str, Tensor]]:
        """Basic semantic features F_b (§4.2-4.4, §4.6) with the alignment loss and the map of Eq. 12.

        Choice C11: `token` keeps one row per word and per patch; `pooled` is one row each, and all weights are 1.
        """
        pooled, alignment = self.config.granularity == "pooled", self.config.alignment
        text = self.text_rows(words, batch)  # Eq. 4: (B, L, d)
        if pooled:
            text = Rows(text.values.amax(dim=1, keepdim=True))  # Eqs 5-6; ReLU >= 0, so masked zeros never win
        image = Rows(self.image_projection(cls_row if pooled else patches))  # (B, N, d)
        text = Rows(self._attend("text", text.values, text).rows, text.mask)  # Eq. 11
        image = Rows(self._attend("image", image.values, image).rows, image.mask)
        extras = {}
        if alignment != "none":
            aligned_text = Rows(self.align_text(text.values), text.mask)  # Eq. 15
            aligned_image = Rows(self.align_image(image.values), image.mask)  # Eq. 16
            distance = _full_precision(masked_mean(*aligned_text) - masked_mean(*aligned_image))  # (B, d)
            extras["alignment_loss"] = distance.square().mean(dim=1)  # Eq. 17: (B,)
            if alignment == "forward":  # C13: what is aligned is also what is fused
                text, image = aligned_text, aligned_image
        query, key = (text, image) if self.config.swap_query else (image, text)
        crossed = self._attend("text_image", query.values, key, need_maps)  # Eq. 12
        if need_maps:
            swapped = crossed.scores.transpose(-1, -2)
            if query.mask is not None:
                swapped = swapped.masked_fill(~query.mask[:, None, None, :], torch.finfo(swapped.dtype).min)
            extras |= {"scores": crossed.scores, "weights": crossed.weights, "swapped": swapped.softmax(dim=-1)}
        return Rows(crossed.rows, query.mask), extras

    def fuse(self, semantic: Rows | None, logic: Rows | None) -> Tensor:
        """F = w1 G1 + w2 G2 (Eq. 18), each averaged over its real rows first; one chain alone is its average."""
        if semantic is None or logic is None:
            return masked_mean(*(logic if semantic is None else semantic))
        g1, g2 = semantic.values, logic.values
        if self.config.fusion == "attention":
            g1 = self._attend("fusion_semantic", semantic.values, logic).rows
            g2 = self._attend("fusion_logic", logic.values, semantic).rows
        w1, w2 = self.fusion_logits.softmax(dim=0)  # C16
        return w1 * masked_mean(g1, semantic.mask) + w2 * masked_mean(g2, logic.mask)  # (B, d)

    def training_loss(self, batch: Batch) -> dict[str, Tensor]:
        """L = lambda_c L_c + lambda_a L_a (Eqs 17, 20, 21).

        Choice C14: the alignment error is the mean over posts and features. `batch.weight` (B,) weighs the posts in
        both means; None weighs them alike. A post without a picture has nothing to align and adds 0.
        """
        output = self(batch)
        weight = torch.ones_like(output.alignment_loss) if batch.weight is None else batch.weight
        errors = F.cross_entropy(output.logits, batch.label.long(), reduction="none")  # Eq. 20: (B,)
        classification = (weight * errors).mean()
        alignment = (weight * output.alignment_loss * has_picture(batch.images)).mean()
        loss = self.config.lambda_c * classification + self.config.lambda_a * alignment  # Eq. 21
        return {"loss": loss, "classification": classification, "alignment": alignment}

    def log_odds(self, batch: Batch) -> Tensor:
        """(B,) log-odds of class 1, the difference of Eq. 19's two logits; call in eval mode for predictions."""
        logits = self(batch).logits
        return logits[:, 1] - logits[:, 0]

    def prob_rumor(self, batch: Batch) -> Tensor:
        """Probability of class 1 (Eq. 19), (B,) in [0, 1]; float32 says 1 from log-odds of 17 on."""
        return self.log_odds(batch).sigmoid()
