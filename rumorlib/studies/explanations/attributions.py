"""Explanations of MICC: a number per patch or per token that claims to say what the logit rests on.

MICC offers two of its own, relevance (M8, what Top-K ranks by) and fusion weights (Eq 25); captum brings integrated
gradients (Sundararajan et al. 2017) and Grad-CAM (Selvaraju et al. 2017). Whether any is right is `explanations`' part.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rumorlib.config import IG_STEPS
from rumorlib.data.batches import Batch, Texts, array, moved, sent, where_is
from rumorlib.encoders.vocabulary import SEP, UNK
from rumorlib.models.micc import MICC, MICCOutput

# n posts, N patches of all scales, L tokens

PART = 50  # posts that go through a backward pass together
GREY = 127.5  # the pixel value that an image tower turns into 0: the baseline that shows nothing


def read(model: MICC, texts: Texts, tokens: Tensor, rows: Tensor) -> MICCOutput:
    """The model on (n, N, D) patch tokens and n texts, brought to its device; rows: (n,) of the corpus, for a selection
    drawn per post."""
    texts, tokens, rows = moved((tuple(texts), tokens, rows), where_is(model))
    nothing = torch.zeros(len(rows), device=rows.device)
    return model(Batch(*texts[:3], tokens, nothing, nothing, rows))


class FromPixels(nn.Module):
    """(n, 3, H, H) pixels, then what belongs to each post -> (n,) logits: one call, as captum asks for it.

    Raises: ValueError: the model's run does not read patch tokens.
    """

    def __init__(self, model: MICC) -> None:
        super().__init__()
        if model.config.reads != "tokens":
            raise ValueError(f"explanations are made for runs that freeze their tokens, not {model.config.freeze!r}")
        self.model = model

    def forward(self, pixels: Tensor, ids: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """(n,) logits."""
        tokens = self.model.sclip.image_tower(sent(pixels, where_is(self.model)))
        return read(self.model, Texts(ids, mask), tokens, rows).logit


class FromTokens(nn.Module):
    """(n, N, D) tokens -> (n,) logits, each scale passing as (n, D, N_s) through a layer of its own: for Grad-CAM a
    token's width is what channels are to a CNN."""

    def __init__(self, model: MICC) -> None:
        super().__init__()
        self.model = model
        self.scales = nn.ModuleList(nn.Identity() for _ in model.sclip.n_patches)

    def forward(self, tokens: Tensor, ids: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """(n,) logits."""
        parts = tokens.split(self.model.sclip.n_patches, dim=1)
        passed = [layer(part.transpose(1, 2)).transpose(1, 2) for layer, part in zip(self.scales, parts, strict=True)]
        return read(self.model, Texts(ids, mask), torch.cat(passed, dim=1), rows).logit


# --- patches --------------------------------------------------------------------------------------


@torch.inference_mode()
def of_the_model(model: MICC, texts: Texts, tokens: Tensor, rows: Tensor) -> dict[str, np.ndarray]:
    """MICC's own: "relevance" (n, N), and "fusion weight" (n, N), 0 for patches that were not kept."""
    output = read(model, texts, tokens, rows)
    found = {"relevance": array(output.relevance)}
    if output.weights is not None and model.config.alignment == "top_k":
        spread = torch.zeros_like(output.relevance).scatter(1, output.indices, output.weights)
        found["fusion weight"] = array(spread)
    elif model.config.alignment == "all_patches" and output.weights is not None:
        found["fusion weight"] = array(output.weights)
    return found


def integrated_gradients(model: MICC, texts: Texts, pixels: Tensor, rows: Tensor, steps: int = IG_STEPS) -> np.ndarray:
    """(n, N) |sum of a patch's integrated gradients|, from a grey picture to the (n, 3, H, H) one (captum).

    IG_i = (x_i − x'_i) ∫_0^1 ∂f(x' + a (x − x')) / ∂x_i da: what pixel i adds to the logit on the way from the grey x'
    to the picture x; over all pixels it adds up to f(x) − f(x').
    """
    from captum.attr import IntegratedGradients

    method, parts = IntegratedGradients(FromPixels(model)), []
    for part in torch.arange(len(rows)).split(PART):
        given = pixels[part].float().requires_grad_()
        extra = (texts.ids[part], texts.mask[part], rows[part])
        parts.append(
            method.attribute(given, torch.full_like(given, GREY), additional_forward_args=extra, n_steps=steps)
        )
    return np.abs(array(per_patch(torch.cat(parts).detach(), model.sclip.image_tower.sides)))


def per_patch(attribution: Tensor, sides: tuple[int, ...]) -> Tensor:
    """(n, C, H, H) attributions of pixels -> (n, N) sums over each patch, scale after scale."""
    total = attribution.sum(1, keepdim=True)
    fields = [total.shape[-1] // side for side in sides]
    return torch.cat([F.avg_pool2d(total, field).flatten(1) * field**2 for field in fields], dim=1)


def of_tokens(model: MICC, texts: Texts, tokens: Tensor, rows: Tensor) -> dict[str, np.ndarray]:
    """(n, N) of the patch tokens Z_s, each scale a map of its own (captum).

    "Grad-CAM": |Σ_d (1/N_s Σ_j ∂f/∂z_jd) z_nd|, one weight per channel d for all places, as for a CNN;
    "gradient x token": |Σ_d ∂f/∂z_nd z_nd|, every patch by its own gradient (0 for a patch that was not kept).
    The sign is dropped, as the exact effect's is: a patch may speak for rumor or against it.
    """
    from captum.attr import LayerGradCam, LayerGradientXActivation

    wrapped, found = FromTokens(model), {}
    extra, given = (texts.ids, texts.mask, rows), tokens.float().clone().requires_grad_()
    for name, method in (("Grad-CAM", LayerGradCam), ("gradient x token", LayerGradientXActivation)):
        maps = [method(wrapped, layer).attribute(given, additional_forward_args=extra) for layer in wrapped.scales]
        found[name] = np.abs(array(torch.cat([part.detach().sum(1) for part in maps], dim=1)))  # each (n, D or 1, N_s)
    return found


def patch_scores(model: MICC, texts: Texts, pixels: Tensor, tokens: Tensor, rows: Tensor) -> dict[str, np.ndarray]:
    """Every explanation of patches: name -> (n, N), larger = the model rests more on it."""
    found = of_the_model(model, texts, tokens, rows)
    found["integrated gradients"] = integrated_gradients(model, texts, pixels, rows)
    return found | of_tokens(model, texts, tokens, rows)


def contrast(pixels: Tensor, sides: tuple[int, ...]) -> np.ndarray:
    """(n, N) standard deviation of the pixels of a patch: an explanation that has never seen the model."""
    values = pixels.float()
    mean = per_patch(values, sides) / per_patch(torch.ones_like(values), sides)
    square = per_patch(values**2, sides) / per_patch(torch.ones_like(values), sides)
    return array((square - mean**2).clamp(min=0).sqrt())


# --- words ----------------------------------------------------------------------------------------


def word_scores(
    model: MICC, texts: Texts, tokens: Tensor, rows: Tensor, steps: int = IG_STEPS
) -> dict[str, np.ndarray]:
    """Every explanation of tokens: name -> (n, L), larger = the logit rests more on it.

    "integrated gradients" of the word embeddings, from unknown words to the text; "gradient x input" of the same;
    "left out": |change of the logit| when the token becomes an unknown word.
    """
    from captum.attr import LayerGradientXActivation, LayerIntegratedGradients

    texts, tokens, rows = Texts(*moved(tuple(texts), where := where_is(model))), sent(tokens, where), sent(rows, where)
    embed, wrapped = model.sclip.text_towers[model.language].embed, FromTokens(model)

    def logit(ids: Tensor, mask: Tensor, images: Tensor, at: Tensor) -> Tensor:
        return wrapped(images, ids, mask, at)

    unknown = torch.where(texts.ids > SEP, UNK, texts.ids)  # padding and [CLS] stay
    extra = (texts.mask, tokens.float(), rows)
    along = LayerIntegratedGradients(logit, embed).attribute(
        texts.ids, unknown, additional_forward_args=extra, n_steps=steps
    )
    at_once = LayerGradientXActivation(logit, embed).attribute(texts.ids, additional_forward_args=extra)
    found = {"integrated gradients": along, "gradient x input": at_once}
    scores = {name: np.abs(array(values.detach().sum(-1))) for name, values in found.items()}
    return scores | {"left out": _left_out(model, texts, tokens, rows)}


@torch.inference_mode()
def _left_out(model: MICC, texts: Texts, tokens: Tensor, rows: Tensor) -> np.ndarray:
    (n, L), where = texts.ids.shape, texts.ids.device
    post = torch.arange(n, device=where).repeat_interleave(L)
    one = torch.eye(L, dtype=torch.bool, device=where).repeat(n, 1)
    ids = texts.ids[post].masked_fill(one & texts.mask[post], UNK)
    changed = [
        read(model, Texts(ids[part], texts.mask[post[part]]), tokens[post[part]].float(), rows[post[part]]).logit
        for part in torch.arange(n * L, device=where).split(1024)
    ]
    logits = torch.cat(changed).view(n, L)
    return np.abs(array(read(model, texts, tokens.float(), rows).logit[:, None] - logits))
