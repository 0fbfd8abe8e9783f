"""Detectors of one file (models/named.py), those of other authors among them: the tensors each reads, and the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rumorlib import inputs
from rumorlib.config import RunConfig, Settings
from rumorlib.data import social_graph
from rumorlib.data.batches import PostTensors, Texts, array, device, sent
from rumorlib.data.posts import Corpus
from rumorlib.encoders.vision import grid_sides
from rumorlib.encoders.vocabulary import Vocabulary
from rumorlib.inputs import Source, dmfl_inputs, features
from rumorlib.models import named
from rumorlib.models.named import Conversation, Given
from rumorlib.models.others.muse import similarity_features
from rumorlib.training import loop
from rumorlib.training.fitting import Outcome, fit_detector


def run(config: RunConfig, settings: Settings, checkpoint: Path | None = None) -> Outcome:
    """A detector of one file, trained and scored."""
    source = Source(config, inputs.corpus_of(config, settings), settings, checkpoint)
    model, tensors, facts = on_posts(source)
    outcome = fit_detector(config, model, tensors, source.corpus.posts)
    return dataclasses.replace(outcome, facts=outcome.facts | facts)


class Read(NamedTuple):
    """What a detector reads of its corpus, what its class is built for, and facts for the report."""

    tensors: PostTensors
    given: Given
    facts: dict[str, Any]


class Built(NamedTuple):
    """A detector before training, its tensors, and facts for the report."""

    model: nn.Module
    tensors: PostTensors
    facts: dict[str, Any]


def on_posts(source: Source) -> Built:
    """The detector of a run, seeded, with the tensors of its corpus.

    Raises: ValueError: it needs replies that the corpus does not have; or as `named.build`.
    """
    tensors, given, facts = READERS[source.config.detector.reads](source)
    loop.seed_everything(source.config.seed)  # whatever the reading drew
    return Built(named.build(source.config.detector, given._replace(events=_events(source.corpus))), tensors, facts)


def words(source: Source, one_vector: bool = False) -> Read:
    """Word ids with [CLS] and [SEP], and image rows, as DMFL reads them.

    Args:
        one_vector: the mean of an image's rows in their place, made once per image.
    """
    config, corpus, settings, _ = source
    lexicon, vectors, coverage = dmfl_inputs.word_vectors(corpus, config.detector.word2vec, config.seed, settings)
    longest = config.detector.word2vec.max_length + 2
    ids, mask = lexicon.encode(corpus.posts["text"].tolist(), longest, cls=True, sep=True)
    longest = int(mask.sum(1).max())
    images, image_row = dmfl_inputs.image_rows(source)
    if one_vector:
        rows = images.flatten(2).transpose(1, 2) if images.ndim == 4 else images
        images = torch.cat([part.float().mean(dim=1, keepdim=True) for part in rows.split(256)])  # (I, 1, D)
    tensors = inputs.post_tensors(corpus.posts, Texts(ids[:, :longest], mask[:, :longest]), images, image_row)
    facts = {"word2vec_coverage": coverage, "n_words": len(lexicon)}
    vectors = torch.tensor(vectors)
    replies = partial(_conversation, corpus, lexicon, vectors, config.detector.word2vec.max_length)
    return Read(tensors, Given(vectors, 0, tuple(images.shape[1:]), conversation=replies), facts)


def _words_and_sentences(source: Source) -> Read:
    config, corpus, settings, checkpoint = source
    tensors, given, facts = words(source)
    vectors = inputs.text_vectors(corpus, config.stage1, checkpoint, config.language, settings).features.float()
    ids, mask, *_ = tensors.texts
    return Read(
        dataclasses.replace(tensors, texts=Texts(ids, mask, vectors)), given._replace(d_text=vectors.shape[1]), facts
    )


def _frozen_vectors(source: Source) -> Read:
    text = torch.from_numpy(features.frozen_texts(source))
    image, row = features.frozen_images(source)
    images = torch.from_numpy(image).unsqueeze(1)  # (I, 1, D)
    tensors = inputs.post_tensors(source.corpus.posts, Texts(None, None, text), images, row)
    train = text[inputs.rows_of(source.corpus.posts, "train")]
    return Read(tensors, Given(named.NO_WORDS, text.shape[1], tuple(images.shape[1:]), features=train), {})


@torch.inference_mode()
def _similar(source: Source) -> Tensor:
    config, corpus, settings, checkpoint = source
    text = inputs.joint_texts(corpus, config.stage1, checkpoint, config.language, settings)
    patches, row = inputs.joint_patches(corpus, config.stage1, checkpoint, settings)
    n_patches = [side * side for side in grid_sides(config.stage1.sclip.vision)]
    made, where = [], device()
    for block in torch.arange(len(text)).split(512):
        read = sent(text[block], where), sent(patches[row[block]], where).float()
        made.append(similarity_features(*read, n_patches).cpu())
    return torch.cat(made)


def _similarities(source: Source) -> Read:
    posts, similar = source.corpus.posts, _similar(source).clone()
    nothing = torch.zeros(1, 1, 1), torch.zeros(len(posts), dtype=torch.long)  # the features hold the picture
    tensors = inputs.post_tensors(posts, Texts(None, None, similar), *nothing)
    train = similar[inputs.rows_of(posts, "train")]
    return Read(tensors, Given(named.NO_WORDS, similar.shape[1], (1, 1), features=train), {})


READERS: dict[str, Callable[[Source], Read]] = {
    "words, sentences, image rows": _words_and_sentences, "words, image rows": words,
    "words, image vector": partial(words, one_vector=True), "frozen vectors": _frozen_vectors,
    "similarities": _similarities,
}  # fmt: skip


def _events(corpus: Corpus) -> Tensor | None:
    """(n,) number of each train post's event, -1 for other posts and without one; None: fewer than two."""
    if "event" not in corpus.posts:
        return None
    of_train = corpus.posts["event"].where(corpus.posts["split"].eq("train"), "")
    numbers = {name: number for number, name in enumerate(sorted(set(of_train) - {""}))}
    return torch.tensor([numbers.get(name, -1) for name in of_train]) if len(numbers) > 1 else None


def _conversation(corpus: Corpus, lexicon: Vocabulary, vectors: Tensor, max_length: int) -> Conversation:
    """Posts, comments and users; a text is the mean of its word vectors."""
    social = social_graph.build(corpus.posts)
    ids, mask = lexicon.encode(social.texts, max_length)
    kept = mask.unsqueeze(-1)
    means = (vectors[ids] * kept).sum(1) / kept.sum(1).clamp(min=1)
    nodes = torch.from_numpy(social_graph.node_features(social, array(means)))
    return Conversation(nodes, torch.from_numpy(social.edges), social.n_posts)
