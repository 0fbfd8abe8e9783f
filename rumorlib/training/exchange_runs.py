"""Runs in which a finished model reads test posts with another picture or other words, or damaged, or without a head.

Exchanges keep the set of pictures: each test post gets that of another one. Labels and weights stay the post's own.
Damage comes in doses (MICC, §3.3: its relevance, a dot product, is said to withstand noise).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageFilter
from torch import nn

from rumorlib import inputs
from rumorlib.config import BaselineConfig, RunConfig, Settings
from rumorlib.data.batches import PostTensors, Texts, array, where_is
from rumorlib.data.images import Images
from rumorlib.data.posts import Corpus
from rumorlib.inputs import fixed_features, micc_inputs
from rumorlib.inputs.fixed_features import Bench
from rumorlib.metrics import evaluation
from rumorlib.models import baselines
from rumorlib.models.dmfl import DMFL
from rumorlib.models.micc import MICC
from rumorlib.training import bench_runs, dmfl_runs, evidence, fitting, micc_runs

AS_IT_IS = "as it is"
EXCHANGES = {  # intervention -> (column within which pictures are exchanged, column that must differ)
    "pictures across events": ("", "event"),
    "pictures within event": ("event", "image_group"),
    "pictures within label": ("label", "image_group"),
}
BLANKED, EMPTIED, TRAINED = "picture blanked", "text emptied", "trained on exchanged pictures"


INTERVENTIONS = (AS_IT_IS, *EXCHANGES, BLANKED, EMPTIED, TRAINED)
OTHER_TEXTS = "other texts"
WORDS = ("typos", OTHER_TEXTS)
# Noise -> doses, the least first: a blur's standard deviation in pixels of the picture as its encoder sees it; the
# quality of a JPEG; the share of each side that is kept; of letters that are swapped, doubled or lost; of posts that
# have the text of another one.
DOSES: dict[str, tuple[float, ...]] = {
    "blur": (1, 2, 4), "jpeg": (50, 20, 5), "crop": (0.9, 0.7, 0.5), "typos": (0.05, 0.1, 0.2),
    OTHER_TEXTS: (0.1, 0.3, 1.0),
}  # fmt: skip
VERSION = "damaged 1"  # of what `Damaged` does: features of an older one are never read
SAID = ("post_id", "label", "event", "image_group")  # of a post, beside its answer
Asked = Iterator[tuple[str, pd.DataFrame, float]]  # intervention, test posts with log_odds, share exchanged


def of_regression(config: RunConfig, settings: Settings) -> fitting.Outcome:
    """Logistic regression on frozen text and picture, under every intervention."""
    bench = fixed_features.of_corpus(config.dataset, settings)
    return outcome(bench.posts, _of_regression(bench, config.detector))


def of_micc(config: RunConfig, settings: Settings, stage1: Path, parent: Path) -> fitting.Outcome:
    """A finished MICC, whose weights are `parent`, under every intervention; stage 2 is not trained anew."""
    posts, made = _of_micc(config.parent, settings, stage1, parent)
    return outcome(posts, made)


def reading(intervention: str) -> str:
    """Name of the reading of test in the stored predictions."""
    return "test" if intervention == AS_IT_IS else f"test_{intervention.replace(' ', '_')}"


def outcome(posts: pd.DataFrame, made: Asked) -> fitting.Outcome:
    """What a run leaves: a reading per intervention, and the share exchanged in each. posts: all, with their sides."""
    read, shares = [], {}
    for intervention, frame, share in made:
        kept = frame[[column for column in SAID if column in frame]]
        log_odds = evaluation.to_store(frame["log_odds"])
        read.append(kept.assign(log_odds=log_odds, seed=0, split=reading(intervention), row=range(len(kept))))
        shares[intervention] = share
    return bench_runs.outcome(posts, read, exchanged=shares)


def _of_regression(bench: Bench, config: BaselineConfig) -> Asked:
    """Intervention, test predictions, share exchanged; fitted on train as it is, and once on exchanged pictures."""
    side = bench.posts["split"].to_numpy()
    train, test = np.flatnonzero(side == "train"), np.flatnonzero(side == "test")
    posts, own = bench.posts.iloc[test].reset_index(drop=True), bench.image[test]
    weight = None if "weight" not in bench.posts else bench.posts["weight"].to_numpy()[train]
    asked = {AS_IT_IS: (bench.text[test], own)}
    shares = dict.fromkeys((AS_IT_IS, BLANKED, EMPTIED), 0.0)
    for name, how in EXCHANGES.items():
        found = fitting.partners(posts, *how)
        asked[name], shares[name] = (bench.text[test], own[found]), _exchanged(posts, found)
    nothing = bench.image[train].mean(0), bench.text[train].mean(0)  # zero once standardised
    asked[BLANKED] = bench.text[test], np.broadcast_to(nothing[0], own.shape)
    asked[EMPTIED] = np.broadcast_to(nothing[1], (len(test), bench.text.shape[1])), own
    sets = {name: baselines.Features(posts["label"], None, *pair) for name, pair in asked.items()}
    label, order = bench.label[train], np.random.default_rng(0).permutation(train)
    fits = [(sets, train, ""), ({AS_IT_IS: sets[AS_IT_IS]}, order, TRAINED)]
    for wanted, pictures, name in fits:
        known = baselines.Features(label, None, bench.text[train], bench.image[pictures], weight=weight)
        for intervention, log_odds in baselines.fit_predict(config, known, wanted).items():
            yield name or intervention, posts.assign(log_odds=log_odds), shares[intervention]


def _of_micc(config: RunConfig, settings: Settings, stage1: Path, weights: Path) -> tuple[pd.DataFrame, Asked]:
    """The same for a trained MICC, after its posts."""
    from safetensors.torch import load_file

    model, tensors, table = micc_runs.on_posts(config, settings, stage1)
    model.load_state_dict(load_file(weights))
    corpus = inputs.corpus_of(config, settings)
    tensors = micc_runs.apart(tensors, lambda: inputs.joint_patches(corpus, config.stage1, stage1, settings))
    test = np.flatnonzero((table["split"] == "test").to_numpy())
    posts, own = table.iloc[test].reset_index(drop=True), tensors.part(torch.from_numpy(test))
    blank = torch.cat([own.images, torch.zeros_like(own.images[:1])])
    asked = {AS_IT_IS: (own, 0.0)}
    for name, how in EXCHANGES.items():
        found = fitting.partners(posts, *how)
        asked[name] = replace(own, image_row=own.image_row[torch.tensor(found)]), _exchanged(posts, found)
    asked[BLANKED] = replace(own, images=blank, image_row=torch.full_like(own.image_row, len(own.images))), 0.0
    asked[EMPTIED] = replace(own, texts=_emptied(own.texts, model.sclip.text_towers[config.language])), 0.0
    return table, (
        (name, posts.assign(log_odds=fitting.predict(model, changed)), share)
        for name, (changed, share) in asked.items()
    )


def _emptied(texts: Texts, tower: nn.Module) -> Texts:
    """Texts without a word: the first token ([CLS]) alone, or a vector of zeros, which whitening would make of its
    mean."""
    if texts.ids is None:
        features = torch.zeros_like(texts.features)
        if getattr(tower, "whiten", False):
            features += tower.mean.to(features)
        if texts.pieces is None:
            return Texts(None, None, features)
        first = torch.zeros_like(texts.pieces)
        first[:, 0] = 1
        return Texts(None, None, features, pieces=texts.pieces * first, hidden=texts.hidden)
    mask = torch.zeros_like(texts.mask)
    mask[:, 0] = True
    return Texts(texts.ids * mask, mask)


def _exchanged(posts: pd.DataFrame, found: np.ndarray) -> float:
    groups = posts["image_group"].to_numpy()
    return float((groups != groups[found]).mean())


# --- damage ---------------------------------------------------------------------------------------


def damage_reading(noise: str, dose: float) -> str:
    """Name of the reading of test in the stored predictions."""
    return f"test_{noise.replace(' ', '_')}_{dose:g}"


@dataclass(frozen=True)
class Damaged:
    """Pictures of a corpus under a noise of DOSES; as `data.images.Images`."""

    images: Images
    noise: str
    dose: float

    def has(self, key: str) -> bool:
        return self.images.has(key)

    def content_hash(self, key: str) -> str:
        return hashlib.sha256(
            f"{self.images.content_hash(key)} {VERSION} {self.noise} {self.dose:g}".encode()
        ).hexdigest()

    def pixels(self, key: str, size_px: int) -> np.ndarray:
        picture = Image.fromarray(self.images.pixels(key, size_px))
        if self.noise == "blur":
            picture = picture.filter(ImageFilter.GaussianBlur(self.dose))
        elif self.noise == "jpeg":
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=int(self.dose))
            picture = Image.open(file).convert("RGB")
        else:
            edge = size_px * (1 - self.dose) / 2
            picture = picture.resize((size_px, size_px), box=(edge, edge, size_px - edge, size_px - edge))
        return np.asarray(picture)


def with_typos(text: str, share: float, rng: np.random.Generator) -> str:
    """A text in which that share of letters is lost, doubled, or swapped with the next one."""
    letters = list(text)
    for at in np.flatnonzero(rng.random(len(letters)) < share):
        how = rng.integers(3)
        if how == 2 and at + 1 < len(letters):
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
        else:
            letters[at] = letters[at] * 2 if how else ""
    return "".join(letters)


def damaged(corpus: Corpus, noise: str, dose: float) -> Corpus:
    """The corpus with one thing of every post, or of a share of posts, damaged; the same at every call."""
    if noise not in WORDS:
        return replace(corpus, images=Damaged(corpus.images, noise, dose))
    rng, texts = np.random.default_rng(0), corpus.posts["text"].tolist()
    if noise == "typos":
        texts = [with_typos(text, dose, rng) for text in texts]
    else:
        others = fitting.partners(corpus.posts, "", "text_group" if "text_group" in corpus.posts else "post_id")
        for at in rng.permutation(len(texts))[: round(dose * len(texts))]:
            texts[at] = corpus.posts["text"].iloc[others[at]]
    return replace(corpus, posts=corpus.posts.assign(text=texts))


def of_damaged(config: RunConfig, settings: Settings, stage1: Path, parent: Path) -> fitting.Outcome:
    """A finished MICC, whose weights are `parent`, on test posts as they are and under every noise and dose.

    Extras: information: `evidence.information`. relevance: reading, without (a block of posts, `evidence.blocks`),
    relevance (mean cosine of a post's kept patches with its text), moved (how far it lies from that of the undamaged
    post, absolute; both means over posts).
    """
    from safetensors.torch import load_file

    model, tensors, table = micc_runs.on_posts(config.parent, settings, stage1)
    model.load_state_dict(load_file(parent))
    whole = inputs.corpus_of(config.parent, settings)
    tensors = micc_runs.apart(tensors, lambda: inputs.joint_patches(whole, config.stage1, stage1, settings))
    told = evidence.information(model, tensors, table, fitting.partners(table, "split", "image_group"))
    test = replace(whole, posts=whole.posts[whole.posts["split"] == "test"].reset_index(drop=True))
    asked = {"test": test} | {
        damage_reading(noise, dose): damaged(test, noise, dose) for noise, doses in DOSES.items() for dose in doses
    }
    read, found, parts = [], {}, evidence.blocks(test.posts)
    for name, corpus in asked.items():
        texts, images, image_row = micc_inputs.read(inputs.Source(config.parent, corpus, settings, stage1))
        tensors = inputs.post_tensors(corpus.posts, texts, images, image_row)
        log_odds = evaluation.to_store(fitting.predict(model, tensors))
        kept = test.posts[[column for column in SAID if column in test.posts]]
        read.append(kept.assign(log_odds=log_odds, seed=0, split=name, row=range(len(kept))))
        found[name] = np.concatenate(list(_relevance(model, tensors)))
    moved = {name: np.abs(values - found["test"]) for name, values in found.items()}
    lines = [(name, block, found[name][rows].mean(), moved[name][rows].mean())
             for name in found for block, rows in parts.items()]  # fmt: skip
    frame = pd.DataFrame(lines, columns=["reading", "without", "relevance", "moved"])
    return replace(bench_runs.outcome(table, read), extras={"information": told, "relevance": frame.round(6)})


@torch.inference_mode()
def _relevance(model: MICC, tensors: PostTensors) -> Iterator[np.ndarray]:
    """(B,) mean relevance of each post's kept patches."""
    model.eval()
    for batch in tensors.in_order(torch.arange(len(tensors.label)), where=where_is(model)):
        output = model(batch)
        yield array(output.relevance.gather(1, output.indices).mean(1))


# --- heads ----------------------------------------------------------------------------------------

ALL_HEADS = "test_without_all_heads"


def head_reading(head: int) -> str:
    """Name of the reading of test without one head (from 0) in the stored predictions."""
    return f"test_without_head_{head}"


def of_headless(config: RunConfig, settings: Settings, *weights: Path) -> fitting.Outcome:
    """A finished DMFL on test posts as it is, without each head of Eq 12's attention, and without all (§6.3 (4)).

    A head is taken away where W^O reads it. Args: weights: of stage 1, if the run has one, and of the parent.
    Extras: heads: stage (before, after training), head, entropy (of a patch's weights over the words, see
    `watch.entropy`), overlap (share of its attention that lies where another head's does, mean over the others), both
    means over posts. Raises: ValueError: a variant whose Eq 12 has no heads of its own to compare.
    """
    from safetensors.torch import load_file

    how = config.detector
    if (
        how.parts not in ("full", "semantic_only")
        or how.granularity != "token"
        or how.n_heads < 2
        or how.share_attention
        or how.swap_query
    ):
        raise ValueError("heads of Eq 12 are compared where patches ask words, each attention with its own weights")
    stage1, parent = (*[None] * (2 - len(weights)), *weights)
    model, tensors, corpus, _ = dmfl_runs.on_posts(config.parent, settings, stage1)
    posts = corpus.posts[corpus.posts["split"] == "test"]
    rows = torch.from_numpy(np.flatnonzero((corpus.posts["split"] == "test").to_numpy()))
    looks = [_looks(model, tensors, rows).assign(stage="before")]
    model.load_state_dict(load_file(parent))
    looks.append(_looks(model, tensors, rows).assign(stage="after"))
    attention = model.attention["text_image"].attention
    every, kept, read = range(how.n_heads), posts[[name for name in SAID if name in posts]], []
    for name, gone in {"test": [], **{head_reading(h): [h] for h in every}, ALL_HEADS: list(every)}.items():
        with attention.without(gone):
            log_odds = evaluation.to_store(fitting.predict(model, tensors, rows))
        read.append(kept.assign(log_odds=log_odds, seed=0, split=name, row=range(len(kept))))
    frame = pd.concat(looks)[["stage", "head", "entropy", "overlap"]].round(6)
    return replace(bench_runs.outcome(corpus.posts, read), extras={"heads": frame})


@torch.inference_mode()
def _looks(model: DMFL, tensors: PostTensors, rows: torch.Tensor) -> pd.DataFrame:
    """head, entropy, overlap of the heads of Eq 12."""
    model.eval()
    entropy, overlap = [], []
    for batch in tensors.in_order(rows, 64, where_is(model)):
        for weights in model(batch, need_maps=True).weights.float():  # (H, Q, K) of one post
            shown = weights[..., weights.sum((0, 1)) > 0]  # without padding
            if (n := shown.shape[-1]) < 2:
                continue
            entropy.append(-(shown * shown.clamp(min=1e-12).log()).sum(-1).mean(-1) / np.log(n))
            shared = torch.stack([torch.minimum(one, shown).sum(-1).mean(-1) for one in shown])  # (H, H)
            overlap.append((shared.sum(1) - shared.diagonal()) / max(len(shared) - 1, 1))
    means = (array(torch.stack(found).mean(0)) for found in (entropy, overlap))
    return pd.DataFrame(dict(zip(("entropy", "overlap"), means, strict=True))).rename_axis("head").reset_index()
