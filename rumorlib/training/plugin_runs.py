"""Runs of a detector of one's own (models/named.py), on what MICC and DMFL read."""

from __future__ import annotations

from pathlib import Path

import torch

from rumorlib import inputs
from rumorlib.config import DetectorConfig, RunConfig, Settings
from rumorlib.data.batches import Texts
from rumorlib.inputs import dmfl_inputs
from rumorlib.models import named
from rumorlib.training import loop
from rumorlib.training.fitting import Outcome, fit_detector


def run(config: RunConfig, settings: Settings, checkpoint: Path | None = None) -> Outcome:
    """A detector of one file, on the words, sentence vectors and image rows that MICC and DMFL read."""
    detector: DetectorConfig = config.detector
    corpus = inputs.corpus_of(config, settings)
    lexicon, vectors, _ = dmfl_inputs.word_vectors(corpus, detector.word2vec, config.seed, settings)
    ids, mask = lexicon.encode(corpus.posts["text"].tolist(), detector.word2vec.max_length + 2, cls=True, sep=True)
    sentences = inputs.text_vectors(corpus, config.stage1, checkpoint, config.language, settings).features.float()
    images, image_row = dmfl_inputs.image_rows(config, corpus, settings, checkpoint)
    tensors = inputs.post_tensors(corpus.posts, Texts(ids, mask, sentences), images, image_row)
    loop.seed_everything(config.seed)
    model = named.build(detector, named.Given(torch.tensor(vectors), sentences.shape[1], tuple(images.shape[1:])))
    return fit_detector(config, model, tensors, corpus.posts)
