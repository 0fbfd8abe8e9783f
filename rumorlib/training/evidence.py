"""What a model looked at: pointing accuracy, relevance maps, attention maps (DMFL §6.4)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy.special import log_softmax
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score, roc_auc_score
from torch import Tensor

from rumorlib.config import ControlConfig, MICCConfig, RunConfig
from rumorlib.data.batches import Batch, CaptionTensors, PostTensors, Texts, array, picker, sent, where_is
from rumorlib.data.drawn_scenes.claims import TEXT_IMAGE_CONFLICTS
from rumorlib.encoders.sclip import SCLIP
from rumorlib.encoders.vision import patch_boxes
from rumorlib.encoders.vocabulary import CLS, SEP
from rumorlib.metrics import evaluation
from rumorlib.models import named
from rumorlib.models.attention import masked_mean
from rumorlib.models.dmfl import DMFL
from rumorlib.models.micc import MICC, align

N_POSTS = 4  # posts whose maps are stored for the pictures
KEPT_WORDS = (5, 10, 20, 50, 100)  # at which texts are cut to see what a model needs of them
SELECTIONS, KEPT_PATCHES = ("relevance", "random"), (2, 8)  # of `information`
TENTHS, FEWEST_EVENTS = 10, 5  # of `blocks`
FACTORS = ("clutter", "evidence_px")  # of drawn scenes, by which pointing is broken down


@torch.inference_mode()
def pointing(model: MICC, tensors: PostTensors, posts: pd.DataFrame, config: RunConfig, stage: str) -> pd.DataFrame:
    """Does the most relevant patch lie on the claimed object, and do the top K reach it? Dev posts.

    Matching posts with one support box. Columns of `evaluation.pointing_accuracy`, stage, and factor, level: "all", or
    the posts of one clutter (objects in the scene) or one evidence_px (side of the claimed object).
    """
    chosen = posts["split"].eq("dev") & posts["label"].eq(0) & posts["support_x0"].ge(0)
    relevance, part = _relevance(model, tensors, chosen), posts[chosen]
    vision, frames = config.stage1.sclip.vision, []
    boxes = [box.numpy() for box in patch_boxes(vision)]
    support = part[["support_x0", "support_y0", "support_x1", "support_y1"]].to_numpy()
    for factor in ("all", *FACTORS):
        levels = part[factor] if factor != "all" else pd.Series("", index=part.index)
        for level in sorted(levels.unique()):
            rows = (levels == level).to_numpy()
            scores = [scale[rows] for scale in relevance]
            fields, k = list(vision.receptive_fields), config.detector.top_k
            frame = evaluation.pointing_accuracy(scores, boxes, support[rows], fields, k)
            frames.append(frame.assign(stage=stage, factor=factor, level=str(level)))
    return pd.concat(frames, ignore_index=True)


@torch.inference_mode()
def abstention(model: MICC, tensors: PostTensors, posts: pd.DataFrame, config: RunConfig, stage: str) -> pd.DataFrame:
    """Does low relevance say that nothing shown supports the claim? Dev posts.

    Score: minus the highest relevance of a scale, without any training on labels.

    Returns: stage, conflict, factor, level, scale, n, auc: n rumors of one conflict against all matching posts (factor
        "all"); and of every conflict between text and picture against the matching posts of one clutter, or of one
        size of the object at the claimed place. 0.5 = the level of relevance says nothing, as at random.
    """
    chosen = posts["split"].eq("dev")
    relevance, part = _relevance(model, tensors, chosen), posts[chosen]
    match = part["label"].eq(0)
    kinds = sorted(part.loc[~match, "conflict"].unique())
    groups = {(kind, "all", ""): match | part["conflict"].eq(kind) for kind in kinds}
    against = match | part["conflict"].isin((*TEXT_IMAGE_CONFLICTS, "count"))
    groups |= {("text against image", factor, str(level)): against & part[factor].eq(level)
               for factor in FACTORS for level in sorted(part.loc[against, factor].unique())}  # fmt: skip
    rows = []
    for about, asked in groups.items():
        label = part.loc[asked, "label"].to_numpy()
        for field, scores in zip(config.stage1.sclip.vision.receptive_fields, relevance, strict=True):
            doubt = 1 / (1 + np.exp(scores[asked.to_numpy()].max(1)))  # any falling function: AUC reads the order
            auc = roc_auc_score(label, doubt) if 0 < label.sum() < len(label) else np.nan
            rows.append((stage, *about, str(field), int(label.sum()), auc))
    frame = pd.DataFrame(rows, columns=["stage", "conflict", "factor", "level", "scale", "n", "auc"])
    return frame.dropna(subset="auc", ignore_index=True)


@torch.inference_mode()
def kept_by_clutter(model: MICC, tensors: PostTensors, posts: pd.DataFrame) -> pd.DataFrame:
    """How many patches have a weight where a rule that looks at the post decides (C36), test posts.

    Returns: clutter ("all" or a level), n, kept (mean per post, all scales).
    """
    model.eval()
    rows = torch.from_numpy(np.flatnonzero(posts["split"].eq("test").to_numpy()))
    batches = tensors.in_order(rows, where=where_is(model))
    kept = pd.Series(array(torch.cat([(model(batch).weights > 0).sum(1) for batch in batches])))
    level = posts["clutter"].to_numpy()[rows.numpy()]
    found = [("all", kept), *((str(one), kept[level == one]) for one in np.unique(level))]
    return pd.DataFrame([(name, len(part), part.mean()) for name, part in found], columns=["clutter", "n", "kept"])


def _relevance(model: MICC, tensors: PostTensors, chosen: pd.Series) -> list[np.ndarray]:
    """Relevance of the chosen posts, per scale (n, N_s)."""
    model.eval()
    rows = torch.from_numpy(np.flatnonzero(chosen.to_numpy()))
    batches = tensors.in_order(rows, where=where_is(model))
    relevance = array(torch.cat([model(batch).relevance.float() for batch in batches]))
    return np.split(relevance, np.cumsum(model.sclip.n_patches)[:-1], axis=1)


@torch.inference_mode()
def relevance_of_posts(model: MICC, tensors: PostTensors, posts: pd.DataFrame) -> pd.DataFrame:
    """Relevance, rank among the kept and fusion weight of every patch of a few matching dev posts."""
    chosen = posts["split"].eq("dev") & posts.get("support_x0", pd.Series(-1, index=posts.index)).ge(0)
    rows = torch.from_numpy(np.flatnonzero(chosen.to_numpy()))[:N_POSTS]
    output = model(tensors.batch(rows, where_is(model)))
    relevance = array(output.relevance)
    kept, weights = (None if part is None else array(part) for part in (output.indices, output.weights))
    frames = []
    for i, row in enumerate(rows.tolist()):
        frame = pd.DataFrame({"relevance": relevance[i], "weight": 0.0, "kept": False})
        if kept is not None:
            frame.loc[kept[i], "kept"] = True
            if weights is not None:
                frame.loc[kept[i], "weight"] = weights[i]
        scale = np.repeat(np.arange(len(model.sclip.n_patches)), model.sclip.n_patches)
        frames.append(frame.assign(post_id=posts["post_id"].iloc[row], scale=scale, patch=np.arange(len(frame))))
    return pd.concat(frames, ignore_index=True)


def blocks(posts: pd.DataFrame) -> dict[int, np.ndarray]:
    """Rows of posts without each of their blocks, for a jackknife; -1: all of them. A block is an event, or, where
    there are fewer than five, a tenth of the pictures."""
    events = posts["event"] if "event" in posts else pd.Series("", index=posts.index)
    named = events.fillna("").astype(str).to_numpy()
    codes = pd.factorize(named if len(set(named) - {""}) >= FEWEST_EVENTS else posts["image_group"])[0]
    codes = codes if codes.max() < TENTHS else codes % TENTHS
    return {-1: np.arange(len(posts))} | {block: np.flatnonzero(codes != block) for block in range(codes.max() + 1)}


@torch.inference_mode()
def information(model: MICC, tensors: PostTensors, posts: pd.DataFrame, others: np.ndarray) -> pd.DataFrame:
    """What the mean of the kept patches tells of text and picture, beside as many patches drawn at random (MICC §3.3:
    Top-K is to keep what text and picture share and to drop the rest). Test posts.

    Patches that are chosen by a text resemble it, whatever the picture shows. So all of it is told once more with the
    pictures exchanged between posts, and the difference counts.

    Args: tensors: with the patches of every picture, not yet aligned. others: (n,) row of the post whose picture each
        post gets, of its own split.
    Returns: pictures (own, exchanged), selection, k, without (a block of posts, see `blocks`), bound (of the mutual
        information of text and kept patches, in nats: InfoNCE, at most the log of the number of posts, its temperature
        fitted on train), rest (R² of a ridge regression, fitted on train, from the kept patches to the mean of those
        that are not kept).
    """
    model.eval()
    batches = tensors.in_order(torch.arange(len(posts)), where=where_is(model))
    read = [(model._text(batch), model._patches(batch.images), batch.row) for batch in batches]
    text, patches, row = (torch.cat(parts) for parts in zip(*read, strict=True))
    train, test = (np.flatnonzero(posts["split"] == name) for name in ("train", "test"))
    left = {block: test[rows] for block, rows in blocks(posts.iloc[test]).items()}
    words, lines = array(text), []
    for pictures, shown in (("own", patches), ("exchanged", patches[torch.from_numpy(others).to(patches.device)])):
        for selection, k in itertools.product(SELECTIONS, KEPT_PATCHES):
            config = MICCConfig(top_k=k, controls=ControlConfig(selection))
            parts = zip(text.split(512), shown.split(512), row.split(512), strict=True)
            chosen = [align(config, model.sclip.n_patches, *one).patches for one in parts]
            kept, total = array(torch.cat([one.sum(1) for one in chosen])), array(shown.sum(1))
            n, of = chosen[0].shape[1], shown.shape[1]
            rest, kept = (total - kept) / max(of - n, 1), kept / n
            found = RidgeCV(np.logspace(-2, 3, 6)).fit(kept[train], rest[train]).predict(kept)
            scale = max(np.logspace(-1, 3, 25), key=lambda one, kept=kept: _bound(words, kept, train[: len(test)], one))
            lines += [{"pictures": pictures, "selection": selection, "k": k, "without": block,
                       "bound": _bound(words, kept, rows, scale),
                       "rest": float(r2_score(rest[rows], found[rows], multioutput="variance_weighted"))}
                      for block, rows in left.items()]  # fmt: skip
    return pd.DataFrame(lines)


def _bound(text: np.ndarray, kept: np.ndarray, rows: np.ndarray, scale: float) -> float:
    """InfoNCE's bound, the mean of both ways."""
    scores = scale * text[rows] @ kept[rows].T
    both = [np.diag(log_softmax(scores, axis=axis)).mean() for axis in (0, 1)]
    return float(np.log(len(rows)) + np.mean(both))


@torch.inference_mode()
def truncated(model: DMFL, tensors: PostTensors, posts: pd.DataFrame, keep: Sequence[int] = KEPT_WORDS) -> pd.DataFrame:
    """Dev and test scores when a trained model sees a text's first words only: n_words, split, accuracy, auc.

    The last n is the first that cuts no text, if any.
    """
    model.eval()
    longest = tensors.texts.ids.shape[1] - 2  # without [CLS] and [SEP]
    rows = []
    for n in keep[: 1 + sum(n < longest for n in keep)]:
        cut = replace(tensors, texts=first_words(tensors.texts, n))
        for split in ("dev", "test"):
            chosen = torch.from_numpy(np.flatnonzero(posts["split"].eq(split).to_numpy()))
            parts = cut.in_order(chosen, where=where_is(model))
            log_odds = array(torch.cat([named.log_odds(model, batch) for batch in parts]))
            metrics = evaluation.classification_metrics(posts["label"].to_numpy()[chosen], None, log_odds=log_odds)
            rows.append((n, split, metrics["accuracy"], metrics["auc"]))
    return pd.DataFrame(rows, columns=["n_words", "split", "accuracy", "auc"])


def first_words(texts: Texts, n: int) -> Texts:
    """Texts of ids cut to [CLS], their first n words and [SEP]."""
    ids, mask = texts.ids[:, : n + 2].clone(), texts.mask[:, : n + 2]
    if ids.shape[1] == n + 2:
        ids[mask[:, n + 1], n + 1] = SEP
    return Texts(ids, mask, *texts[2:])


@torch.inference_mode()
def attention_map(model: DMFL, batch: Batch) -> pd.DataFrame:
    """Eq 12's scores and weights of a fixed batch, mean over heads; positions, never words (Figs 10, 11)."""
    model.eval()
    output = model(batch, need_maps=True)
    # (B, patches, words)
    scores, weights = (array(part.float().mean(1)) for part in (output.scores, output.weights))
    words, frames = array(batch.text_mask), []
    for post in range(len(scores)):
        query, key = np.indices(scores[post].shape)
        real = words[post][key.ravel()]
        frame = pd.DataFrame({
            "post": post, "patch": query.ravel(), "position": key.ravel(),
            "score": scores[post].ravel(), "weight": weights[post].ravel(),
        })  # fmt: skip
        frames.append(frame[real])
    return pd.concat(frames, ignore_index=True)


@torch.inference_mode()
def retrieval(model: SCLIP, tensors: CaptionTensors, image_rows: Tensor, language: str) -> dict[str, float]:
    """R@1/5/10 both ways over the images at `image_rows` (M-E1), ranked by the mean similarity over scales; as the
    field counts, and with captions of the same words as hits."""
    where = where_is(model)
    caption_rows = torch.isin(tensors.owner, image_rows).nonzero().squeeze(1)
    new_row = torch.full((len(tensors.images),), -1)
    new_row[image_rows] = torch.arange(len(image_rows))
    shown = (picker(part, where)(tensors.images) for part in image_rows.split(256))
    patches = torch.cat([model.encode_image(images) for images in shown])
    texts = (tensors.texts[language].rows(part, where) for part in caption_rows.split(2048))
    texts = torch.cat([model.encode_text(part, language) for part in texts])
    similarity = torch.cat([model.similarity(part, patches).mean(-1) for part in texts.split(128)])
    owner = array(new_row[tensors.owner[caption_rows]])
    belongs = array(tensors.belongs(language, caption_rows, image_rows))
    return evaluation.retrieval_recall(array(similarity), owner, belongs=belongs)


@torch.inference_mode()
def word_to_patch(model: DMFL, batch: Batch, words: Tensor | None = None) -> dict[str, Tensor]:
    """Where in the image some words of each post look: scores of patches, as any other explanation gives them.

    Eq 12's own weights cannot say it, since each patch spreads the same unit over the words. So the softmax goes over
    the patches: "swapped", Eq 12's scores read the other way, and "logic", the last cross-attention of Eq 14.

    Args:
        words: (B, L) bool, the words that ask; None: every word. [CLS] and [SEP] never ask.
    Returns: name -> (B, N) weights, mean over heads and words, each row sums to 1; zeros for a post without such a
        word. Only the maps the variant has; a logic chain that starts from BERT reads word pieces and gives none.
    """
    model.eval()
    output = model(batch, need_maps=True)
    asking = batch.text_mask & (batch.text_ids != CLS) & (batch.text_ids != SEP)
    asking = asking if words is None else asking & sent(words, asking.device)
    found = {"swapped": output.weights if model.config.swap_query else output.swapped}
    if model.config.logic_init != "bert":  # whose map is over word pieces, and no word is known by its place
        found["logic"] = output.logic_map
    return {name: masked_mean(maps.float().mean(1), asking) for name, maps in found.items() if maps is not None}
