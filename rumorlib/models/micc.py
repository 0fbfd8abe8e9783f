"""MICC's detector: relevance → Top-K alignment → scale-aware fusion → classifier (MICC §3.3-3.4, M8-M12)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rumorlib.config import DistillationConfig, MICCConfig
from rumorlib.data.batches import Aligned, Batch, FeatureMap, Patches, Pixels, Texts, used_columns
from rumorlib.encoders.sclip import SCLIP
from rumorlib.encoders.text import mlp
from rumorlib.encoders.vocabulary import PAD

# B posts, S scales, N_s patches of scale s, N = sum of N_s, K kept per scale, M kept in all, D joint width


class MICCOutput(NamedTuple):
    """What a forward pass computed; None where a variant lacks the step."""

    logit: Tensor  # (B,)
    relevance: Tensor  # (B, N) text-patch relevance D, in [-1, 1]
    indices: Tensor | None  # (B, M) kept patches
    weights: Tensor | None  # (B, M) fusion weights alpha, sum to 1


def ranking(selection: str, relevance: Tensor, patches: Tensor, n_patches: list[int], rows: Tensor) -> Tensor:
    """What Top-K ranks by: relevance as the paper does, or a control that removes the text's say.

    random: drawn once per post, the same for every seed; bottom: least relevant first; saliency: cosine distance of a
    patch from the mean of its scale, so that the image alone decides.

    Args: relevance: (B, N). patches: (B, N, D) unit length. rows: (B,) long, which posts these are.
    Returns: (B, N), larger = kept first.
    """
    if selection == "relevance":
        return relevance
    if selection == "bottom":
        return -relevance
    if selection == "saliency":
        scales = patches.split(n_patches, dim=1)
        return torch.cat([1 - F.cosine_similarity(part, part.mean(1, keepdim=True), dim=-1) for part in scales], dim=1)
    return noise(rows, relevance.shape[1])


def noise(rows: Tensor, n: int) -> Tensor:
    """(B, n) numbers in [0, 1) that depend on the row alone, as a counter-based generator draws them (SplitMix64): a
    post keeps its draw whatever batch it is in."""
    x = (rows[:, None] * n + torch.arange(n, device=rows.device) + 1) * -7046029254386353131  # wraps, as intended
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return ((x >> 11) & ((1 << 53) - 1)).double() / 2**53


def select_top_k(
    relevance: Tensor, patches: Tensor, n_patches: list[int], k: int, rank_by: Tensor | None = None
) -> Aligned:
    """Keep the k most relevant patches of every scale (MICC §3.3, M9). Selection is hard: gradient flows through the
    kept values only.

    Args:
        relevance: (B, N) in [-1, 1], scales one after the other.
        patches: (B, N, D) unit length.
        n_patches: N_s of every scale; a scale with fewer than k patches keeps them all.
        k: patches per scale, at least 1.
        rank_by: (B, N) of `ranking`, for the controls; None: relevance.
    Raises: ValueError: k < 1, or shapes disagree.
    """
    B, N, D = patches.shape
    if k < 1 or relevance.shape != (B, N) or sum(n_patches) != N:
        raise ValueError(f"k={k}, relevance {tuple(relevance.shape)}, patches {tuple(patches.shape)}, N_s {n_patches}")
    indices, start = [], 0
    for part in (relevance if rank_by is None else rank_by).split(n_patches, dim=1):
        indices.append(part.topk(min(k, part.shape[1]), dim=1).indices + start)
        start += part.shape[1]
    kept = torch.cat(indices, dim=1)  # (B, M)
    return Aligned(relevance, patches.gather(1, kept[..., None].expand(-1, -1, D)), relevance.gather(1, kept), kept)


def align(config: MICCConfig, n_patches: list[int], text: Tensor, patches: Tensor, rows: Tensor) -> Aligned:
    """Relevance of every patch, and the patches that go on to fusion (M8, M9 and their ablations).

    Args: text: (B, D). patches: (B, N, D). Both unit length. rows: (B,) long, which posts these are.
    """
    relevance = torch.einsum("bnd,bd->bn", patches, text)  # (B, N), M8: D_s[b, n] = M_s[b, n] · T[b]
    if config.alignment == "top_k":
        rank_by = ranking(config.controls.selection, relevance, patches, n_patches, rows)
        return select_top_k(relevance, patches, n_patches, config.top_k, rank_by)
    if config.alignment == "all_patches":  # MICC-A/γ: fine-grained, unaligned
        return Aligned(relevance, patches, None, None)
    pooled = [F.normalize(part.mean(1), dim=-1) for part in patches.split(n_patches, dim=1)]
    return Aligned(relevance, torch.stack(pooled, dim=1), None, None)  # MICC-A/δ: one global vector per scale


def n_kept(config: MICCConfig, n_patches: list[int]) -> int:
    """M, how many vectors go on to fusion."""
    if config.alignment == "global":
        return len(n_patches)
    return sum(n_patches if config.alignment == "all_patches" else (min(config.top_k, n) for n in n_patches))


def mass_gate(relevance: Tensor, n_patches: list[int], k: int, mass: float, beta: float) -> Tensor:
    """Which of a scale's k most relevant patches are needed for a share `mass` of its relevance (adaptive K).

    Shares are softmax(relevance / beta) over the patches of a scale, beta being the temperature of stage 1's soft
    maximum (M6); patches come, most relevant first, until their shares add up to `mass`.

    Args: relevance: (B, N). mass: in (0, 1]; 1 keeps all k.
    Returns: (B, M) 1 or 0, ordered as `select_top_k` orders; the first of every scale is 1.
    """
    gates = []
    for part in relevance.split(n_patches, dim=1):
        shares = (part / beta).softmax(1).sort(dim=1, descending=True).values
        left = shares.flip(1).cumsum(1).flip(1)[:, :k]  # what a patch and those after it make up
        gates.append(torch.cat([torch.ones_like(left[:, :1], dtype=torch.bool), left[:, 1:] > 1 - mass], dim=1))
    return torch.cat(gates, dim=1).to(relevance.dtype)


class ScaleAwareFusion(nn.Module):
    """Weights kept patches by semantic score and relevance (MICC §3.4, Eqs 23-25)."""

    def __init__(self, d_joint: int, width: int, fusion_weight: float) -> None:
        super().__init__()
        self.score = mlp(d_joint, width, 1)  # FFN of Eq 23
        self.fusion_weight = fusion_weight

    def forward(
        self, patches: Tensor, relevance: Tensor | None, gate: Tensor | None = None, scale: Tensor | float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """(B, M, D) kept patches and their (B, M) relevance → V_refact (B, D) and weights (B, M) that sum to 1.

        Without relevance (alignment removed) the semantic score alone decides: lambda = 1 (choice C10). gate: (B, M)
        1 or 0, patches at 0 have no weight and no part in the softmax. scale: of relevance beside the semantic score.
        """
        semantic = self.score(patches).squeeze(-1).float()  # (B, M), Eq 23: w_i = FFN(M'_i)
        scores = semantic
        if relevance is not None:  # Eq 24: s_i = lambda · w_i + (1 − lambda) · rho_i, rho at its scale (C42)
            scores = self.fusion_weight * semantic + (1 - self.fusion_weight) * scale * relevance
        weights = scores.softmax(-1)  # Eq 25: over all scales jointly (choice C8)
        if gate is not None:
            weights = weights * gate
            weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-12)
        return (weights[..., None] * patches).sum(1), weights


class MICC(nn.Module):
    """The detector of stage 2 on a pretrained SCLIP.

    `config.alignment`, `config.fusion` and `config.classifier_input` are its ablations and our fix of §3.4 (choice C5):
    softmax over scores forgets a constant added to every relevance, so how relevant the best patch is never reaches
    the classifier; "product" and "relevance" hand it over.

    Args:
        language: which of SCLIP's text towers reads the posts.
    """

    def __init__(self, config: MICCConfig, sclip: SCLIP, language: str) -> None:
        super().__init__()
        self.config, self.sclip, self.language = config, sclip, language
        self.distillation: DistillationConfig | None = None
        self.register_buffer("teacher_logit", None, persistent=False)  # (n,) of every post, for a student
        for name, parameter in sclip.named_parameters():  # the other language and the loss's scale play no part here
            other = name.startswith(("text_towers.", "text_heads.")) and name.split(".")[1] != language
            frozen = config.freeze == "sclip" or (name.startswith("image_tower.") and config.freeze == "tokens")
            parameter.requires_grad_(not (other or frozen or name == "logit_scale"))
        d = sclip.config.d_joint
        S, n_patches = len(sclip.n_patches), sclip.n_patches
        if config.fusion == "scale_aware":
            self.fuse = ScaleAwareFusion(d, config.width, config.fusion_weight)
        if config.controls.keep == "threshold":
            self.threshold = nn.Parameter(torch.zeros(S))  # of relevance, per scale; 0: neither like nor unlike
            size = torch.tensor([min(config.top_k, n) for n in n_patches])
            self.register_buffer("n_of_scale", size, persistent=False)
        d_image = n_kept(config, n_patches) * d if config.fusion == "concat" else d
        d_towers = sclip.text_towers[language].width, sclip.config.vision.width
        extra = {"concat": 0, "product": 2 * d, "relevance": 2 * S, "towers": sum(d_towers)}[config.classifier_input]
        self.d_text = d_towers[0]
        if config.classifier_input == "towers":
            self.d_towers = sum(d_towers)
            self.tower_norms = nn.ModuleList(map(nn.LayerNorm, d_towers))  # their features are of any size
        if config.classifier_input == "product" and config.fusion == "concat":
            raise ValueError("classifier_input='product' needs one image vector; fusion='concat' gives several")
        if config.classifier_input == "relevance" and config.alignment != "top_k":
            extra = 0  # the relevance numbers are alignment's: a variant without it loses them too
        self.classifier = mlp(d + d_image + extra, config.width, 1, config.dropout)  # MLP_c

    @property
    def pretrained(self) -> tuple[str, ...]:
        """How names of parameters begin that may learn more slowly: SCLIP's; where layers of published encoders learn,
        these alone, and an image tower that started as CLIP's."""
        config, vision = self.config, self.sclip.config.vision
        names = [f"sclip.text_towers.{self.language}.top."] * bool(config.text_layers)
        names += ["sclip.image_tower.top."] * bool(config.image_layers)
        if names and vision.kind == "patch_conv" and vision.weights:
            names.append("sclip.image_tower.")
        return tuple(names) or ("sclip.",)

    def forward(self, batch: Batch) -> MICCOutput:
        """Logit of rumor, relevance and what was kept."""
        text = self._text(batch)  # (B, D)
        aligned = batch.images  # where nothing before fusion is trained, M8 and M9 were done once, by the same `align`
        if not isinstance(aligned, Aligned):
            aligned = align(self.config, self.sclip.n_patches, text, self._patches(aligned), batch.row)
        if self.config.relevance_scale == "product" and aligned.rho is not None:
            aligned = aligned._replace(rho=aligned.rho * self._lengths(batch).gather(1, aligned.indices))
        gate = self._gate(aligned)
        image, weights = self._fuse(aligned.patches.float(), aligned.rho, gate)
        read = self._classifier_input(text, image, aligned.relevance)
        if self.config.classifier_input == "towers":
            towers = (norm(part) for norm, part in zip(self.tower_norms, self._towers(batch), strict=True))
            read = torch.cat([read, *towers], dim=-1)
        logit = self.classifier(read).squeeze(-1)  # M10-M11
        return MICCOutput(logit.float(), aligned.relevance, aligned.indices, weights)

    def _text(self, batch: Batch) -> Tensor:
        if self.config.reads == "joint":
            return batch.text_features.float()
        return self.sclip.encode_text(self._texts(batch), self.language)

    def _texts(self, batch: Batch) -> Texts:
        """What SCLIP's text tower reads of posts; word pieces without columns that nobody uses."""
        pieces, hidden = batch.pieces, batch.hidden
        if self.config.text_layers:
            n = used_columns(pieces != PAD, batch.n_pieces)
            pieces, hidden = pieces[:, :n], hidden[:, :n]
        return Texts(batch.text_ids, batch.text_mask, batch.text_features, pieces, hidden)

    def _patches(self, images: Pixels | FeatureMap | Patches) -> Tensor:
        if self.config.reads == "joint":
            return images.float()
        tokens = images.float() if self.config.reads == "tokens" else self.sclip.image_tower(images)
        return self.sclip.project_patches(tokens)

    def _lengths(self, batch: Batch) -> Tensor:
        """(B, N) of every patch its length times the text's, before M2 and M5 cut both to 1; heads with dropout draw it
        anew."""
        text, tokens = self._before_heads(batch)
        text, patches = self.sclip.text_heads[self.language](text), self.sclip.image_head(tokens)
        return patches.float().norm(dim=-1) * text.float().norm(dim=-1, keepdim=True)

    def _gate(self, aligned: Aligned) -> Tensor | None:
        """(B, M) 1 for kept patches that stay, 0 for others (adaptive K); None: all stay."""
        n_patches, k, beta = self.sclip.n_patches, self.config.top_k, self.sclip.config.beta
        if self.config.controls.keep == "mass":
            return mass_gate(aligned.relevance, n_patches, k, self.config.controls.relevance_mass, beta)
        if self.config.controls.keep == "threshold":
            size = self.n_of_scale
            limits = self.threshold.repeat_interleave(size, output_size=aligned.rho.shape[1])
            over = aligned.rho - limits  # (B, M)
            hard = (over > 0).index_fill(1, size.cumsum(0) - size, True).to(over.dtype)  # never none
            soft = (over / beta).sigmoid()
            return hard + soft - soft.detach()  # straight-through: 1 or 0 forwards, a sigmoid's slope backwards
        return None

    def _fuse(self, kept: Tensor, rho: Tensor | None, gate: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """One image vector, and the weights that made it (Eqs 23-25 and its ablations)."""
        if self.config.fusion == "scale_aware":
            by_temperature = self.config.relevance_scale == "temperature"
            return self.fuse(kept, rho, gate, self.sclip.logit_scale.exp() if by_temperature else 1.0)
        if self.config.fusion == "concat":  # MICC-Ms/α
            return kept.flatten(1), None
        return kept.mean(1), kept.new_full(kept.shape[:2], 1 / kept.shape[1])  # MICC-Ms/β

    def _towers(self, batch: Batch) -> tuple[Tensor, ...]:
        """What the towers say before the joint space: the text's vector (B, d_t), and the mean patch token (B, d_v)."""
        sizes = [norm.normalized_shape[0] for norm in self.tower_norms]
        if self.config.reads == "joint":
            return batch.towers.float().split(sizes, dim=1)
        text, tokens = self._before_heads(batch)
        return text, tokens.mean(1)

    def _before_heads(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The text tower's vector (B, d_t) and the patch tokens (B, N, d_v), of tokens or images."""
        text = self.sclip.text_towers[self.language](self._texts(batch))
        return text, batch.images.float() if self.config.reads == "tokens" else self.sclip.image_tower(batch.images)

    def _classifier_input(self, text: Tensor, image: Tensor, relevance: Tensor) -> Tensor:
        """[T ‖ V] (M10), or with T⊙V and |T − V|, or with max and mean relevance per scale (choice C5)."""
        parts = [text, image]
        if self.config.classifier_input == "product":
            parts += [text * image, (text - image).abs()]
        if self.config.classifier_input == "relevance" and self.config.alignment == "top_k":
            for part in relevance.split(self.sclip.n_patches, dim=1):
                parts += [part.max(1, keepdim=True).values, part.mean(1, keepdim=True)]
        return torch.cat(parts, dim=-1)

    def learn_from(self, logit: Tensor, how: DistillationConfig) -> None:
        """Train on a finished model's answers, too. Args: logit: (n,) of every post that batches name as `row`."""
        self.distillation, self.teacher_logit = how, logit

    def training_loss(self, batch: Batch) -> dict[str, Tensor]:
        """L = BCE(sigmoid(logit), label), weighted mean over posts (M12); while a student trains, mixed with its
        teacher's answers: (1 - a) · BCE(z, y) + a · T² · BCE(z / T, sigmoid(z_teacher / T)) (Hinton et al. 2015)."""
        logit, how = self(batch).logit, self.distillation
        losses = F.binary_cross_entropy_with_logits(logit, batch.label, reduction="none")
        if self.training and how:
            share, heat = how.weight, how.temperature
            soft = (self.teacher_logit[batch.row] / heat).sigmoid()
            soft_losses = F.binary_cross_entropy_with_logits(logit / heat, soft, reduction="none")
            losses = (1 - share) * losses + share * heat**2 * soft_losses
        return {"loss": (losses * batch.weight).mean()}

    def log_odds(self, batch: Batch) -> Tensor:
        """(B,) log-odds of rumor: the logit that M11's sigmoid reads; call in eval mode for predictions."""
        return self(batch).logit

    def prob_rumor(self, batch: Batch) -> Tensor:
        """(B,) probability of rumor in [0, 1]; float32 says 1 from log-odds of 17 on."""
        return self.log_odds(batch).sigmoid()
