"""The corpus of a run, read once: posts with their splits, and captions."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rumorlib import config as cfg
from rumorlib.config import OnMissing, RunConfig, Settings
from rumorlib.data import corpora, files, photo
from rumorlib.data.drawn_scenes import drawn
from rumorlib.data.drawn_scenes.claims import DrawnConfig
from rumorlib.data.posts import CaptionCorpus, Corpus
from rumorlib.data.readers import captions as caption_tables
from rumorlib.data.splitting import protocols
from rumorlib.encoders.vocabulary import TURN

N_MARKED = 1000  # train posts that only a mark betrays, a quarter of all


def corpus(
    dataset: str, settings: Settings, corpus_seed: int = 0, protocol: str = "", on_missing_image: OnMissing = "drop"
) -> Corpus:
    """Posts of `dataset` with train, dev and test by `protocol`, written on first use and reused while no file changes.

    Args:
        corpus_seed: drawn scenes only.
        protocol: as `protocols.parse` reads it; "": what its record says, its own three sides, else its usual one.
        on_missing_image: what becomes of posts without a picture (C26).
    """
    return _corpus(dataset, settings, corpus_seed, protocol, on_missing_image, state_of(dataset, settings))


def state_of(corpus: str, settings: Settings) -> str:
    """State of the files of a corpus, `files.state`; "" for drawn scenes."""
    place = corpora.place_of(corpus, settings)
    return files.state(place if place.is_dir() else place.parent) if place else ""


@lru_cache(maxsize=2)  # near-duplicates are searched once, however many ways the posts are split
def _loaded(dataset: str, settings: Settings, corpus_seed: int, on_missing_image: OnMissing, _: str) -> Corpus:
    return corpora.load(dataset, settings, corpus_seed, on_missing_image)


@lru_cache(maxsize=4)
def _corpus(
    dataset: str, settings: Settings, corpus_seed: int, protocol: str, on_missing_image: OnMissing, state: str
) -> Corpus:
    loaded = _loaded(dataset, settings, corpus_seed, on_missing_image, state)
    if not (protocol or cfg.about(dataset).protocol) and (loaded.posts["split"] == "dev").any():
        return loaded
    chosen = protocols.parse(protocol) if protocol else protocols.usual(loaded)
    marks = [f"corpus{corpus_seed}"] * bool(corpus_seed) + [on_missing_image] * (on_missing_image != "drop")
    mark = "-".join(marks)
    posts = protocols.stored_split(loaded, chosen, settings.profile, mark)
    return replace(loaded, posts=posts, split_file=protocols.split_path(dataset, chosen, settings.profile, mark).name)


class Source(NamedTuple):
    """What a run reads: its posts, and the weights of its stage 1 where it has one."""

    config: RunConfig
    corpus: Corpus
    settings: Settings
    checkpoint: Path | None = None


def corpus_of(config: RunConfig, settings: Settings) -> Corpus:
    """The corpus a run is trained and scored on; posts with their replies where its detector reads these."""
    hours = getattr(config.detector, "reply_hours", None)
    return with_replies(posts_of(config, settings), hours) if hours else posts_of(config, settings)


@lru_cache(maxsize=2)
def with_replies(loaded: Corpus, hours: float) -> Corpus:
    """Texts with what was replied within so many hours after the post, in the order of time, after a `TURN` (§4.5).

    A reply whose time, or whose post's, is not known is left out: it may tell what came out later.
    Raises: ValueError: the corpus has no replies.
    """
    posts = loaded.posts
    if "replies" not in posts or not posts["replies"].map(bool).any():
        raise ValueError(f"{loaded.name} has no replies (column replies, as PHEME's threads); set reply_hours=None")
    until = pd.to_datetime(posts["created_at"], utc=True, format="mixed", errors="coerce") + pd.Timedelta(hours=hours)
    texts = []
    for text, told, last in zip(posts["text"], posts["replies"], until, strict=True):
        replies = json.loads(told) if told else []
        told_at = [reply.get("created_at") for reply in replies]
        times = pd.to_datetime(told_at, utc=True, format="mixed", errors="coerce")
        in_time = sorted((time, number) for number, time in enumerate(times) if time <= last)
        said = [str(replies[number].get("text", "")).replace(TURN, " ") for _, number in in_time]
        texts.append(text.replace(TURN, " ") + (TURN + " ".join(said)) * bool(said))
    return replace(loaded, posts=posts.assign(text=texts))


def posts_of(config: RunConfig, settings: Settings) -> Corpus:
    """The same without replies in the texts."""
    if config.n_train is not None and cfg.about(config.dataset).kind == "drawn":
        return _drawn_corpus(config.dataset, config.corpus_seed, config.n_train)
    if config.train_on == "marked":
        return _marked_corpus(config.dataset, config.corpus_seed)
    whole = corpus(config.dataset, settings, config.corpus_seed, config.protocol, config.on_missing_image)
    if config.train_on != "all":
        known = train_pictures(config.stage1, settings)
        whole = replace(whole, posts=photo.trained_on(whole.posts, known, config.train_on == "known"))
    if config.n_train is not None:  # sides that no file has
        whole = replace(whole, posts=with_fewer(whole.posts, config.n_train), split_file="")
    return whole


def with_fewer(posts: pd.DataFrame, n_train: int) -> pd.DataFrame:
    """The posts with `n_train` of the train posts on that side, the others on none; fewer are always among more.

    Raises: ValueError: not so many.
    """
    train = np.flatnonzero((posts["split"] == "train").to_numpy())
    if n_train > len(train):
        raise ValueError(f"n_train = {n_train}, and there are {len(train)} train posts")
    split = posts["split"].to_numpy(copy=True)
    split[np.random.default_rng(0).permutation(train)[n_train:]] = ""
    return posts.assign(split=split)


def rows_of(frame: pd.DataFrame, split: str) -> Tensor:
    """Row numbers of a split, (n,) long."""
    return torch.from_numpy(np.flatnonzero(frame["split"].to_numpy() == split))


def train_pictures(stage1: RunConfig, settings: Settings) -> set[str]:
    """Pictures that a stage-1 run is trained on."""
    table = captions(stage1.dataset, stage1.language, settings, stage1.corpus_seed).captions
    return caption_tables.train_pictures(table, stage1.n_train)


@lru_cache(maxsize=1)  # 30 KB a picture
def _drawn_corpus(dataset: str, seed: int, n_train: int) -> Corpus:
    return drawn.load(dataset.removeprefix("demo-"), config=DrawnConfig(seed=seed, n_train=n_train))


@lru_cache(maxsize=1)
def _marked_corpus(dataset: str, seed: int) -> Corpus:
    """Drawn scenes whose first marked posts (split "fingerprint") are train posts; the others are asked about."""
    n_asked = DrawnConfig.n_fingerprint
    loaded = drawn.load(dataset.removeprefix("demo-"), config=DrawnConfig(seed=seed, n_fingerprint=N_MARKED + n_asked))
    rows = np.flatnonzero(loaded.posts["split"] == "fingerprint")[:N_MARKED]
    split = loaded.posts["split"].to_numpy(copy=True)
    split[rows] = "train"
    return replace(loaded, posts=loaded.posts.assign(split=split))


@lru_cache(maxsize=4)
def captions(dataset: str, language: str, settings: Settings, corpus_seed: int = 0) -> CaptionCorpus:
    """Captions of stage-1 corpus `dataset` in one language, or the posts it is made of (CorpusRecord.posts_of)."""
    if of := cfg.about(dataset).posts_of:
        return caption_tables.of_posts(corpus(of, settings), language)
    return corpora.load_captions(f"{dataset}-{language}", settings, corpus_seed)
