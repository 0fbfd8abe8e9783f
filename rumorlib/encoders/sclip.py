"""SCLIP: two towers, one joint space, one contrastive loss (MICC §3.2, M1-M7)."""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rumorlib.config import SCLIPConfig
from rumorlib.data import processes
from rumorlib.data.batches import CaptionBatch, FeatureMap, Pixels, Texts
from rumorlib.encoders.text import FrozenText, TransformerText, mlp
from rumorlib.encoders.vision import ImageTower

# T texts, I images, S scales, N_s patches of scale s, N = sum of N_s, D joint width

MAX_LOGIT_SCALE = 100.0  # CLIP


def patch_similarity(dots: Tensor, n_patches: list[int], how: str, beta: float, top_k: int = 2) -> Tensor:
    """Similarity of texts and images at every scale from text-patch dot products (M6, choice C3).

    lse: beta · (logsumexp_j(dot_j / beta) − log N_s), a soft maximum: as stage 2 ranks patches;
    topk: mean of the top_k dot products. ("mean" pools patches before the dot product: see SCLIP.similarity.)

    Args:
        dots: (…, N) dot products in [-1, 1], scales one after the other.
    Returns: (…, S), in [-1, 1].
    """
    scales = dots.float().split(n_patches, dim=-1)
    if how == "lse":
        return torch.stack([beta * (torch.logsumexp(d / beta, -1) - math.log(d.shape[-1])) for d in scales], -1)
    if how == "topk":
        return torch.stack([d.topk(min(top_k, d.shape[-1]), -1).values.mean(-1) for d in scales], -1)
    raise ValueError(f"similarity must be lse or topk here, got {how!r}")


def info_nce(logits: Tensor, owner: Tensor, belongs: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE in which captions of one image are never negatives of each other (M7), nor a text and an image
    that has a caption of the same words (C40): no model can tell which of the two a sentence was written for.

    Args:
        logits: (T, I) text-image similarities over temperature.
        owner: (T,) the image of each text.
        belongs: (T, I) bool, whether image i has a caption that reads like text t, which its owner has; None: no other.
    Returns: scalar, nats: ½(text→image + image→text).
    """
    own = owner[:, None] == torch.arange(logits.shape[1], device=owner.device)
    belongs = own if belongs is None else belongs
    text_to_image = F.cross_entropy(logits.masked_fill(belongs & ~own, -torch.inf), owner)
    by_pair = logits[:, owner].T  # (T, T): row = the image of pair t, column = text u
    same = belongs[:, owner].T & ~torch.eye(len(owner), dtype=torch.bool, device=owner.device)
    pairs = torch.arange(len(owner), device=owner.device)
    image_to_text = F.cross_entropy(by_pair.masked_fill(same, -torch.inf), pairs)
    return (text_to_image + image_to_text) / 2


class SCLIP(nn.Module):
    """Scale-aware Contrastive Language-Image Projection.

    Args:
        config: towers, joint width, similarity.
        n_words: vocabulary size per language with a from-scratch text tower; 1 for one of kind "clip".
        d_text: feature width per language with a frozen text tower.
        d_map: channels of the frozen image map, for vision.kind="feature_map".
    """

    def __init__(
        self,
        config: SCLIPConfig,
        n_words: dict[str, int],
        d_text: dict[str, int] | None = None,
        d_map: int | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        towers: dict[str, nn.Module] = {}
        for language, text in config.texts:
            if text.kind == "frozen":
                towers[language] = FrozenText((d_text or {})[language], config.feature_dropout, config.whiten_text)
            else:  # of kind "clip" only until `clip.start` puts the folder's tower there
                towers[language] = TransformerText(text, n_words[language], config.dropout)
        self.text_towers = nn.ModuleDict(towers)
        d = config.d_joint
        head = partial(mlp, d_hidden=d, d_out=d, dropout=config.dropout, kind=config.head)
        if config.head == "clip":
            head = partial(nn.Linear, out_features=d, bias=False)
        self.text_heads = nn.ModuleDict({language: head(tower.width) for language, tower in towers.items()})  # MLP_t
        self.image_tower = ImageTower(config.vision, d_map, config.dropout, config.feature_dropout)
        self.image_head = head(config.vision.width)  # MLP_v
        if config.head == "clip":  # whose projection follows a norm
            self.image_head = nn.Sequential(nn.LayerNorm(config.vision.width), self.image_head)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / config.temperature_init)))

    @property
    def n_patches(self) -> list[int]:
        """N_s of every scale."""
        return self.image_tower.n_patches

    def encode_text(self, texts: Texts, language: str) -> Tensor:
        """T = norm(MLP_t(pool(TextEnc))) (M1, M2): (T, D), unit length."""
        return F.normalize(self.text_heads[language](self.text_towers[language](texts)).float(), dim=-1)

    def project_patches(self, tokens: Tensor) -> Tensor:
        """M_s = norm(MLP_v(Z_s)) (M5): (I, N, d_v) tokens → (I, N, D), unit length."""
        return F.normalize(self.image_head(tokens).float(), dim=-1)

    def encode_image(self, images: Pixels | FeatureMap) -> Tensor:
        """Patch features of all scales, one after the other (M3-M5): (I, N, D), unit length."""
        return self.project_patches(self.image_tower(images))

    def similarity(self, text_features: Tensor, patches: Tensor) -> Tensor:
        """All-pairs similarity per scale (M6): (T, D), (I, N, D) → (T, I, S). Retrieval ranks by its mean over S."""
        if self.config.similarity == "mean":
            pooled = [F.normalize(part.mean(1), dim=-1) for part in patches.split(self.n_patches, dim=1)]
            return torch.stack([text_features @ image.T for image in pooled], dim=-1)
        I, N, D = patches.shape  # noqa: E741
        dots = (text_features @ patches.reshape(I * N, D).T).view(-1, I, N)
        return patch_similarity(dots, self.n_patches, self.config.similarity, self.config.beta)

    def training_loss(self, batch: CaptionBatch) -> dict[str, Tensor]:
        """L_con = mean over languages and scales of InfoNCE (M7); among several processes of all their pairs."""
        n_texts = len(batch.owner)
        at, captions, n_images = batch.own or (slice(None), slice(None), len(batch.images))
        # (I, N, D): one image pass serves every language
        patches = processes.whole(self.encode_image(batch.images), at, n_images)
        scale = self.logit_scale.exp()
        losses = {}
        for language, texts in batch.texts.items():
            text_features = processes.whole(self.encode_text(texts, language), captions, n_texts)
            similarity = scale * self.similarity(text_features, patches)  # (T, I, S)
            belongs = batch.belongs[language] if batch.belongs and self.config.mask_twins else None
            per_scale = [info_nce(logits, batch.owner, belongs) for logits in similarity.unbind(-1)]
            losses[language] = torch.stack(per_scale).mean()
        return {"loss": torch.stack(list(losses.values())).mean(), **losses}

    @torch.no_grad()
    def after_step(self) -> None:
        """Clamp the learned temperature, as CLIP does: after the step, for inside the loss its gradient would be 0 for
        ever once it is beyond the limit."""
        self.logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))
