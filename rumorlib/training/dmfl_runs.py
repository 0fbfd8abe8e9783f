"""Runs of DMFL: the model as training starts, trained and scored, with what `watch` keeps of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rumorlib import inputs
from rumorlib.config import DMFLConfig, RunConfig, Settings
from rumorlib.data.batches import PostTensors, Texts, device
from rumorlib.data.posts import Corpus
from rumorlib.encoders.vocabulary import tokenize
from rumorlib.encoders.word2vec import closeness
from rumorlib.inputs.dmfl_inputs import BertTexts, bert_texts, image_encoder, image_rows, joint_words, word_vectors
from rumorlib.models.dmfl import DMFL
from rumorlib.training import evidence, loop, watch
from rumorlib.training.fitting import Outcome, fit_detector


def on_posts(
    config: RunConfig, settings: Settings, checkpoint: Path | None
) -> tuple[DMFL, PostTensors, Corpus, dict[str, Any]]:
    """DMFL as training starts, its corpus as tensors (both where it will be trained) and as a table, and facts for the
    report.

    Args: checkpoint: weights of `config.stage1`, where it has one.
    """
    detector: DMFLConfig = config.detector
    corpus = inputs.corpus_of(config, settings)
    lexicon, vectors, coverage = word_vectors(corpus, detector.word2vec, config.seed, settings)
    texts = corpus.posts["text"].tolist()
    ids, mask = lexicon.encode(texts, detector.word2vec.max_length + 2, cls=True, sep=True)
    longest = int(mask.sum(1).max())
    bert = bert_texts(texts, detector, settings) if detector.logic_init == "bert" else BertTexts()
    images, image_row = image_rows(inputs.Source(config, corpus, settings, checkpoint))
    read = Texts(ids[:, :longest], mask[:, :longest], pieces=bert.pieces, hidden=bert.hidden)
    tensors = inputs.post_tensors(corpus.posts, read, images, image_row)
    loop.seed_everything(config.seed)
    encoder = image_encoder(detector, lambda name: inputs.weights_folder(name, settings))
    with torch.no_grad():
        rows = images[:1] if encoder is None else encoder(images[:1])
    d_image = rows.shape[-1] if rows.ndim == 3 else rows.shape[1]
    n_rows = rows.shape[1] if rows.ndim == 3 else rows[0, 0].numel()
    n_tokens = len(bert.state["embeddings.word_embeddings.weight"]) if bert.state else len(lexicon)
    d_hidden = None if bert.hidden is None else bert.hidden.shape[-1]
    model = DMFL(detector, torch.tensor(vectors), d_image, n_rows - detector.image_cls, n_tokens, d_hidden,
                 encoder)  # fmt: skip
    if detector.logic_init == "stage1" and model.has_logic:
        model.logic.start_from_joint(joint_words(lexicon, config, settings, checkpoint))
    if bert.state and model.has_logic:
        model.logic.start_from_bert(bert.state, detector.logic_frozen)
        if detector.reply_hours:
            model.sep_piece.fill_(bert.sep)
    facts = {"word2vec_coverage": coverage, "n_words": len(lexicon)}
    if detector.parts == "text_cnn":  # what the vectors are like, beside what the CNN makes of them
        train = [tokenize(text, lexicon.unit) for text in corpus.posts.loc[corpus.posts["split"] == "train", "text"]]
        facts["closeness"] = [None if np.isnan(value) else value for value in closeness(train, lexicon, vectors)]
    return loop.on_device(model), tensors.on(device()), corpus, facts


def run(config: RunConfig, settings: Settings, checkpoint: Path | None = None) -> Outcome:
    """DMFL, with what `watch` keeps of it; `checkpoint`: of the stage 1 whose patches it reads, if any."""
    model, tensors, corpus, facts = on_posts(config, settings, checkpoint)
    kept = watch.Watch(config, tensors, corpus.posts)
    kept.before(model)
    outcome = fit_detector(config, model, tensors, corpus.posts, kept)
    extras = kept.extras(model)
    if corpus.images is None and config.detector.logic_init != "bert":  # whose word pieces are not cut with the words
        extras["truncated"] = evidence.truncated(model, tensors, corpus.posts)
    return dataclasses.replace(outcome, extras=extras, facts=outcome.facts | facts)
