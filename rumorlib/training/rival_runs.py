"""Detectors of other authors, and of one file, from a run's config: the model and the tensors it reads.

Four ways to read a post: words and image rows (DMFL, SAFE, CARMN) or words and one image vector (EANN, MFAN); frozen
text and image vectors (SpotFake); similarities in the joint space of stage 1 (MUSE-style); words, sentence vectors and
image rows (a detector of one file, models/named.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rumorlib import inputs
from rumorlib.config import DetectorConfig, MFANConfig, ReadingConfig, RunConfig, Settings
from rumorlib.data import social_graph
from rumorlib.data.batches import PostTensors, Texts, array, device, sent
from rumorlib.data.posts import Corpus
from rumorlib.encoders.vision import grid_sides
from rumorlib.encoders.vocabulary import Vocabulary
from rumorlib.inputs import Source, dmfl_inputs, features
from rumorlib.models import named
from rumorlib.models.others.carmn import CARMN
from rumorlib.models.others.eann import EANN
from rumorlib.models.others.mfan import MFAN, Graph, neighbours
from rumorlib.models.others.muse import MUSE, similarity_features
from rumorlib.models.others.safe import SAFE
from rumorlib.models.others.spotfake import SpotFake
from rumorlib.training import loop
from rumorlib.training.fitting import Outcome, fit_detector


def run(config: RunConfig, settings: Settings, checkpoint: Path | None = None) -> Outcome:
    """A detector: what it reads and how it is built stands in BUILDERS."""
    source = Source(config, inputs.corpus_of(config, settings), settings, checkpoint)
    model, tensors, facts = on_posts(source)
    outcome = fit_detector(config, model, tensors, source.corpus.posts)
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


def on_posts(source: Source) -> Built:
    """The detector of a run, one of BUILDERS, seeded, with the tensors of its corpus.

    Raises: ValueError: it needs events or replies that the corpus does not have.
    """
    return BUILDERS[source.config.model](source)


def words(source: Source, one_vector: bool = False) -> Words:
    """Word ids with [CLS] and [SEP], and image rows, as DMFL and the baselines of its kind read them.

    Args:
        one_vector: the mean of an image's rows in their place, made once per image.
    """
    config, corpus, settings, _ = source
    detector: ReadingConfig | DetectorConfig = config.detector
    lexicon, vectors, coverage = dmfl_inputs.word_vectors(corpus, detector.word2vec, config.seed, settings)
    longest = detector.word2vec.max_length + 2
    ids, mask = lexicon.encode(corpus.posts["text"].tolist(), longest, cls=True, sep=True)
    longest = int(mask.sum(1).max())
    images, image_row = dmfl_inputs.image_rows(source)
    if one_vector:
        rows = images.flatten(2).transpose(1, 2) if images.ndim == 4 else images
        images = torch.cat([part.float().mean(dim=1, keepdim=True) for part in rows.split(256)])  # (I, 1, D)
    tensors = inputs.post_tensors(corpus.posts, Texts(ids[:, :longest], mask[:, :longest]), images, image_row)
    facts = {"word2vec_coverage": coverage, "n_words": len(lexicon)}
    loop.seed_everything(config.seed)  # whatever the reading drew
    return Words(tensors, lexicon, torch.tensor(vectors), facts)


def _safe(source: Source) -> Built:
    read = words(source)
    return Built(SAFE(source.config.detector, read.vectors, read.d_image), read.tensors, read.facts)


def _carmn(source: Source) -> Built:
    read = words(source)
    return Built(CARMN(source.config.detector, read.vectors, read.d_image), read.tensors, read.facts)


def _eann(source: Source) -> Built:
    read, detector, corpus, events = words(source, one_vector=True), source.config.detector, source.corpus, None
    if detector.adversary:
        named = corpus.posts["event"].where(corpus.posts["split"].eq("train"), "")
        names = sorted(set(named) - {""})
        if len(names) < 2:
            raise ValueError(f"{corpus.name} has {len(names)} train events; EANN needs two, or adversary=False")
        events = torch.tensor([{name: i for i, name in enumerate(names)}.get(name, -1) for name in named])
    facts = read.facts | {"n_train_events": 0 if events is None else int(events.max()) + 1}
    return Built(EANN(detector, read.vectors, read.d_image, events), read.tensors, facts)


def _mfan(source: Source) -> Built:
    read, detector, graph, facts = words(source, one_vector=True), source.config.detector, None, {}
    if detector.graph:
        graph, facts = _graph(detector, source.corpus, read)
    return Built(MFAN(detector, read.vectors, read.d_image, graph), read.tensors, read.facts | facts)


def _graph(detector: MFANConfig, corpus: Corpus, read: Words) -> tuple[Graph, dict[str, int]]:
    """Posts, comments and users, a text being the mean of its word vectors, with hidden links inferred."""
    social = social_graph.build(corpus.posts)
    ids, mask = read.lexicon.encode(social.texts, detector.word2vec.max_length)
    kept = mask.unsqueeze(-1)
    means = (read.vectors[ids] * kept).sum(1) / kept.sum(1).clamp(min=1)
    nodes = torch.from_numpy(social_graph.node_features(social, array(means)))
    limits = detector.link_threshold, detector.max_neighbours
    table = neighbours(nodes, torch.from_numpy(social.edges), social.n_posts, *limits)
    return Graph(nodes, table), {"n_nodes": social.n_nodes, "n_edges": len(social.edges)}


def _spotfake(source: Source) -> Built:
    config, text = source.config, torch.from_numpy(features.frozen_texts(source))
    image, row = features.frozen_images(source)
    images = torch.from_numpy(image).unsqueeze(1)  # (I, 1, D)
    tensors = inputs.post_tensors(source.corpus.posts, Texts(None, None, text), images, row)
    loop.seed_everything(config.seed)
    return Built(SpotFake(config.detector, text.shape[1], images.shape[-1]), tensors, {})


@torch.inference_mode()
def _similarities(source: Source) -> Tensor:
    config, corpus, settings, checkpoint = source
    text = inputs.joint_texts(corpus, config.stage1, checkpoint, config.language, settings)
    patches, row = inputs.joint_patches(corpus, config.stage1, checkpoint, settings)
    n_patches = [side * side for side in grid_sides(config.stage1.sclip.vision)]
    made, where = [], device()
    for block in torch.arange(len(text)).split(512):
        given = sent(text[block], where), sent(patches[row[block]], where).float()
        made.append(similarity_features(*given, n_patches).cpu())
    return torch.cat(made)


def _muse(source: Source) -> Built:
    config, posts, similar = source.config, source.corpus.posts, _similarities(source).clone()
    nothing = torch.zeros(1, 1, 1), torch.zeros(len(posts), dtype=torch.long)  # the features hold the picture
    tensors = inputs.post_tensors(posts, Texts(None, None, similar), *nothing)
    loop.seed_everything(config.seed)
    return Built(MUSE(config.detector, similar[inputs.rows_of(posts, "train")]), tensors, {})


def _of_one_file(source: Source) -> Built:
    config, corpus, settings, checkpoint = source
    read = words(source)
    vectors = inputs.text_vectors(corpus, config.stage1, checkpoint, config.language, settings).features.float()
    ids, mask, *_ = read.tensors.texts
    tensors = dataclasses.replace(read.tensors, texts=Texts(ids, mask, vectors))
    loop.seed_everything(config.seed)
    given = named.Given(read.vectors, vectors.shape[1], tuple(read.tensors.images.shape[1:]))
    return Built(named.build(config.detector, given), tensors, {})


BUILDERS: dict[str, Callable[[Source], Built]] = {
    "safe": _safe, "carmn": _carmn, "mfan": _mfan, "eann": _eann, "spotfake": _spotfake, "muse": _muse,
    "detector": _of_one_file,
}  # fmt: skip
