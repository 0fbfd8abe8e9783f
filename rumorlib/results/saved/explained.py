"""Why a detector answered so: what it says without each word and without the picture, and the maps that models have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import expit
from torch import Tensor, nn

from rumorlib.data.batches import Batch, array, device, moved
from rumorlib.encoders.vision import grid_sides
from rumorlib.encoders.vocabulary import CLS, SEP, spans
from rumorlib.models.attention import Attended
from rumorlib.models.dmfl import DMFL
from rumorlib.models.micc import MICC
from rumorlib.models.others.carmn import CARMN
from rumorlib.results.saved.given import Given
from rumorlib.results.saved.models import Part

MOST_WORDS = 200  # of a text, each an answer of its own
WORDS = ["word", "start", "end", "effect", "without"]
PATCHES = ["model", "map", "scale", "patch", "x0", "y0", "x1", "y1", "value", "kept", "weight"]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why one post got its answer. Effects are in calibrated log-odds of label 1: with it minus without it.

    answer: its row of `Detector.predict`.
    words: word, its place start:end in the text, effect, without (calibrated probability if it is left out); of every
        detector, as nothing but answers is read. Words that only count together show small effects.
    picture_effect, text_effect: against the same post without a picture (its features are zeros, as the models were
        trained to read such posts), without a text; nan where it has none or the detector reads none.
    patches: a row per model, map, scale and patch: its box in pixels of `pixels`, value; MICC: kept, weight in fusion.
    attention: of models that have one, (patches, tokens) weights of Eq 12, mean over heads.
    pixels: uint8 (H, H, 3), the picture as it is read; None without one.
    nearest: labels of the training posts with the nearest words and pictures (`Novelty.nearest`), never more of them.
    flags: what could not be explained, and why.
    """

    answer: pd.Series
    nearest: pd.DataFrame
    words: pd.DataFrame
    picture_effect: float
    text_effect: float
    patches: pd.DataFrame
    attention: dict[str, pd.DataFrame]
    pixels: np.ndarray | None
    flags: list[str]


def explanation(
    parts: Sequence[Part], asked: Given, answer: pd.Series, nearest: pd.DataFrame,
    says: Callable[[Given], np.ndarray], size_px: int,
) -> Explanation:  # fmt: skip
    """Explain one post.

    Args:
        asked: it alone. answer: its row of `predict`. nearest: see there. says: posts -> (n,) calibrated log-odds.
        size_px: side of `pixels`; 0: no model reads pictures.
    """
    text, picture = asked.texts[0], asked.pictures[0] if size_px else None
    reads_text = any(part.reader.reads_text for part in parts)
    told: dict[str, Any] = {"nearest": nearest, "pixels": picture.pixels(size_px) if picture is not None else None}
    flags = [f"words: {why}" for why in ["the detector reads none"] * (not reads_text) or ["no text"] * (not text)]
    flags += [f"picture: {why}" for why in ["the detector reads none"] * (not size_px) or ["none"] * (picture is None)]
    if answer.isna()["calibrated"]:
        empty = {"words": pd.DataFrame(columns=WORDS), "picture_effect": np.nan, "text_effect": np.nan}
        return Explanation(answer, patches=pd.DataFrame(columns=PATCHES), attention={}, flags=flags, **empty, **told)
    places = spans(text) if reads_text and text else []
    if len(places) > MOST_WORDS:
        flags.append(f"words: the first {MOST_WORDS} of {len(places):,}")
        places = places[:MOST_WORDS]
    texts = [text, *(_without(text, *place) for place in places), text, ""]
    pictures = [*[picture] * (1 + len(places)), None, picture]
    index = pd.RangeIndex(len(texts))
    whole, *without, no_picture, no_text = says(Given(texts, pictures, [[] for _ in texts], index)).tolist()
    rows = [(text[a:b], a, b, whole - z, float(expit(z))) for (a, b), z in zip(places, without)]
    told |= {"words": pd.DataFrame(rows, columns=WORDS),
             "picture_effect": whole - no_picture if picture is not None else np.nan,
             "text_effect": whole - no_text if reads_text and text else np.nan}  # fmt: skip
    frames, attention = [pd.DataFrame(columns=PATCHES)], {}
    for part in parts if text and picture is not None else ():
        found, grid, why = _maps(part, text, picture)
        flags += [f"map of {part.config.model}: {why}"] * bool(why)
        frames += [found] if found is not None else []
        attention |= {part.config.model: grid} if grid is not None else {}
    if (text == "") != (picture is None) and any(part.config.model in ("micc", "dmfl", "carmn") for part in parts):
        flags.append("map: only of a post with text and picture")
    return Explanation(answer, patches=pd.concat(frames[1:] or frames, ignore_index=True), attention=attention,
                       flags=flags, **told)  # fmt: skip


def _without(text: str, start: int, end: int) -> str:
    """The text without a word, and without the blank that would stand twice."""
    before, after = text[:start], text[end:]
    return before + (after.lstrip(" ") if not before or before.endswith(" ") else after)


# --- maps -----------------------------------------------------------------------------------------


@torch.inference_mode()
def _maps(part: Part, text: str, picture: Any) -> tuple[pd.DataFrame | None, pd.DataFrame | None, str]:
    """Patches, attention and why a model has neither."""
    if not isinstance(part.model, (MICC, DMFL, CARMN)):
        return None, None, "it has none" if part.reader.vision is not None else "it reads no picture"
    batch = moved(part.reader.batch([text], [picture]), device())
    if isinstance(part.model, MICC):
        return _relevance(part, part.model(batch)), None, ""
    grids = _of_dmfl(part.model, batch) if isinstance(part.model, DMFL) else _of_carmn(part.model, batch)
    if grids is None:
        return None, None, "this variant has no attention from words to patches"
    of_patches, of_words = (grid[0].float().mean(0) for grid in grids)  # (N, L) over words, (L, N) over patches
    if of_words.shape[-1] < 2:
        return None, None, "it reads the picture as one row, whose weight is 1"
    ids = batch.text_ids[0, : of_words.shape[0]].cpu()
    real = batch.text_mask[0].cpu()[: len(ids)] & (ids != CLS) & (ids != SEP)
    if not real.any():
        return None, None, "no word that it reads"
    names = [part.reader.words.words[i] for i in ids[real].tolist()]
    grid = pd.DataFrame(array(of_patches.cpu()[:, real]), columns=names)
    return _patches(part, "attention", [array(of_words.cpu()[real].mean(0))]), grid, ""


def _of_dmfl(model: DMFL, batch: Batch) -> tuple[Tensor, Tensor] | None:
    """Eq 12 as (1, H, N, L) over the words, and the same scores over the patches (1, H, L, N)."""
    output = model(batch, need_maps=True)
    if output.weights is None or model.config.granularity == "pooled":
        return None
    if model.config.swap_query:
        return output.weights.transpose(-1, -2), output.weights
    return output.weights, output.swapped


def _of_carmn(model: CARMN, batch: Batch) -> tuple[Tensor, Tensor]:
    """Its two cross-attentions, in the same shapes."""
    image, text = model.image_from_text.attention, model.text_from_image.attention
    kept: dict[nn.Module, Attended] = {}
    hooks = [one.register_forward_pre_hook(lambda _, given, named: (given, named | {"need_weights": True}),
                                           with_kwargs=True) for one in (image, text)]  # fmt: skip
    hooks += [one.register_forward_hook(lambda module, _, made: kept.update({module: made})) for one in (image, text)]
    try:
        model.logits(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return kept[image].weights, kept[text].weights


def _relevance(part: Part, output: Any) -> pd.DataFrame:
    values, sides = array(output.relevance[0].float()), grid_sides(part.reader.vision)
    frame = _patches(part, "relevance", np.split(values, np.cumsum([side * side for side in sides])[:-1]))
    if output.indices is not None:
        kept = array(output.indices[0])
        frame.loc[kept, "kept"] = True
        if output.weights is not None:
            frame.loc[kept, "weight"] = array(output.weights[0].float()).astype(float)
    return frame


def _patches(part: Part, name: str, scales: list[np.ndarray]) -> pd.DataFrame:
    """Rows of PATCHES of square grids that cover the picture."""
    frames = []
    for values in scales:
        side = round(len(values) ** 0.5)
        step = part.reader.vision.image_size_px / side
        y, x = np.divmod(np.arange(len(values)), side)
        box = {"x0": x * step, "y0": y * step, "x1": (x + 1) * step, "y1": (y + 1) * step}
        frame = pd.DataFrame({"scale": f"{step:.0f} px", "patch": np.arange(len(values)), **box, "value": values})
        frames.append(frame.assign(model=part.config.model, map=name, kept=False, weight=0.0))
    return pd.concat(frames, ignore_index=True)[PATCHES]
