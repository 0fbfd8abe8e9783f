"""Detectors of other authors, from a run's config: the model and the tensors it reads.

Three ways to read a post: words and image rows (DMFL, SAFE, CARMN) or words and one image vector (EANN, MFAN); frozen
text and image vectors (SpotFake); similarities in the joint space of stage 1 (MUSE-style).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rumorlib import inputs
from rumorlib.config import ReadingConfig, RunConfig, Settings
from rumorlib.data import social_graph
from rumorlib.data.batches import PostTensors, Texts, array, device, sent
from rumorlib.data.posts import Corpus
from rumorlib.encoders.vision import grid_sides
from rumorlib.encoders.vocabulary import Vocabulary
from rumorlib.inputs import dmfl_inputs, features
from rumorlib.models.others.carmn import CARMN
from rumorlib.models.others.eann import EANN
from rumorlib.models.others.mfan import MFAN, Graph, neighbours
from rumorlib.models.others.muse import MUSE, similarity_features
from rumorlib.models.others.safe import SAFE
from rumorlib.models.others.spotfake import SpotFake
from rumorlib.training import loop
from rumorlib.training.fitting import Outcome, fit_detector


def run(config: RunConfig, settings: Settings, checkpoint: Path | None = None) -> Outcome:
    """A detector of other authors: what it reads and how it is built stands in BUILDERS."""
    corpus = inputs.corpus_of(config, settings)
    model, tensors, facts = on_posts(config, corpus, settings, checkpoint)
    outcome = fit_detector(config, model, tensors, corpus.posts)
    return dataclasses.replace(outcome, facts=outcome.facts | facts)


class Words(NamedTuple):
    """A corpus as ids and image rows, and what the ids stand for."""

    tensors: PostTensors
    lexicon: Vocabulary
    vectors: Tensor  # (V, d_word)
    facts: dict[str, Any]

    @property
    def d_image(self) -> int:
        """Width of the image rows."""
        images = self.tensors.images
        return images.shape[-1] if images.ndim == 3 else images.shape[1]


class Built(NamedTuple):
    """A detector before training, its tensors, and facts for the report."""

    model: nn.Module
    tensors: PostTensors
    facts: dict[str, Any]


def on_posts(config: RunConfig, corpus: Corpus, settings: Settings, checkpoint: Path | None) -> Built:
    """The detector of `config`, one of BUILDERS, seeded, with the tensors of its corpus.

    Raises: ValueError: it needs events or replies that the corpus does not have.
    """
    return BUILDERS[config.model](config, corpus, settings, checkpoint)


def words(
    config: RunConfig, corpus: Corpus, settings: Settings, checkpoint: Path | None, one_vector: bool = False
) -> Words:
    """Word ids with [CLS] and [SEP], and image rows, as DMFL and the baselines of its kind read them.

    Args:
        one_vector: the mean of an image's rows in their place, made once per image.
    """
    detector: ReadingConfig = config.detector
    lexicon, vectors, coverage = dmfl_inputs.word_vectors(corpus, detector.word2vec, config.seed, settings)
    longest = detector.word2vec.max_length + 2
    ids, mask = lexicon.encode(corpus.posts["text"].tolist(), longest, cls=True, sep=True)
    longest = int(mask.sum(1).max())
    images, image_row = dmfl_inputs.image_rows(config, corpus, settings, checkpoint)
    if one_vector:
        rows = images.flatten(2).transpose(1, 2) if images.ndim == 4 else images
        images = torch.cat([part.float().mean(dim=1, keepdim=True) for part in rows.split(256)])  # (I, 1, D)
    tensors = inputs.post_tensors(corpus.posts, Texts(ids[:, :longest], mask[:, :longest]), images, image_row)
    facts = {"word2vec_coverage": coverage, "n_words": len(lexicon)}
    loop.seed_everything(config.seed)  # whatever the reading drew
    return Words(tensors, lexicon, torch.tensor(vectors), facts)


def _safe(config: RunConfig, *where: Any) -> Built:
    read = words(config, *where)
    return Built(SAFE(config.detector, read.vectors, read.d_image), read.tensors, read.facts)


def _carmn(config: RunConfig, *where: Any) -> Built:
    read = words(config, *where)
    return Built(CARMN(config.detector, read.vectors, read.d_image), read.tensors, read.facts)


def _eann(config: RunConfig, corpus: Corpus, *where: Any) -> Built:
    read, events = words(config, corpus, *where, one_vector=True), None
    if config.detector.adversary:
        named = corpus.posts["event"].where(corpus.posts["split"].eq("train"), "")
        names = sorted(set(named) - {""})
        if len(names) < 2:
            raise ValueError(f"{corpus.name} has {len(names)} train events; EANN needs two, or adversary=False")
        events = torch.tensor([{name: i for i, name in enumerate(names)}.get(name, -1) for name in named])
    facts = read.facts | {"n_train_events": 0 if events is None else int(events.max()) + 1}
    return Built(EANN(config.detector, read.vectors, read.d_image, events), read.tensors, facts)


def _mfan(config: RunConfig, corpus: Corpus, *where: Any) -> Built:
    read, graph, facts = words(config, corpus, *where, one_vector=True), None, {}
    if config.detector.graph:
        graph, facts = _graph(config, corpus, read)
    return Built(MFAN(config.detector, read.vectors, read.d_image, graph), read.tensors, read.facts | facts)


def _graph(config: RunConfig, corpus: Corpus, read: Words) -> tuple[Graph, dict[str, int]]:
    """Posts, comments and users, a text being the mean of its word vectors, with hidden links inferred."""
    social = social_graph.build(corpus.posts)
    ids, mask = read.lexicon.encode(social.texts, config.detector.word2vec.max_length)
    kept = mask.unsqueeze(-1)
    means = (read.vectors[ids] * kept).sum(1) / kept.sum(1).clamp(min=1)
    nodes = torch.from_numpy(social_graph.node_features(social, array(means)))
    limits = config.detector.link_threshold, config.detector.max_neighbours
    table = neighbours(nodes, torch.from_numpy(social.edges), social.n_posts, *limits)
    return Graph(nodes, table), {"n_nodes": social.n_nodes, "n_edges": len(social.edges)}


def _spotfake(config: RunConfig, corpus: Corpus, settings: Settings, checkpoint: Path | None) -> Built:
    text, (image, row) = (
        torch.from_numpy(features.frozen_texts(config, settings, checkpoint, corpus)),
        features.frozen_images(config, settings, checkpoint, corpus),
    )
    images = torch.from_numpy(image).unsqueeze(1)  # (I, 1, D)
    tensors = inputs.post_tensors(corpus.posts, Texts(None, None, text), images, row)
    loop.seed_everything(config.seed)
    return Built(SpotFake(config.detector, text.shape[1], images.shape[-1]), tensors, {})


@torch.inference_mode()
def _similarities(config: RunConfig, corpus: Corpus, settings: Settings, checkpoint: Path | None) -> Tensor:
    text = inputs.joint_texts(corpus, config.stage1, checkpoint, config.language, settings)
    patches, row = inputs.joint_patches(corpus, config.stage1, checkpoint, settings)
    n_patches = [side * side for side in grid_sides(config.stage1.sclip.vision)]
    made, where = [], device()
    for block in torch.arange(len(text)).split(512):
        given = sent(text[block], where), sent(patches[row[block]], where).float()
        made.append(similarity_features(*given, n_patches).cpu())
    return torch.cat(made)


def _muse(config: RunConfig, corpus: Corpus, settings: Settings, checkpoint: Path | None) -> Built:
    similar = _similarities(config, corpus, settings, checkpoint).clone()
    nothing = torch.zeros(1, 1, 1), torch.zeros(len(corpus.posts), dtype=torch.long)  # the features hold the picture
    tensors = inputs.post_tensors(corpus.posts, Texts(None, None, similar), *nothing)
    loop.seed_everything(config.seed)
    return Built(MUSE(config.detector, similar[inputs.rows_of(corpus.posts, "train")]), tensors, {})


BUILDERS: dict[str, Callable[..., Built]] = {
    "safe": _safe, "carmn": _carmn, "mfan": _mfan, "eann": _eann, "spotfake": _spotfake, "muse": _muse
}  # fmt: skip
