"""Every corpus by name, read as its record (config/corpora.py) says: from which folder, in which layouts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from rumorlib import config
from rumorlib.config import OnMissing
from rumorlib.data import keys, photo
from rumorlib.data.drawn_scenes import drawn, replies
from rumorlib.data.posts import CaptionCorpus, Corpus, PostsError, check_splits
from rumorlib.data.readers import captions, layouts
from rumorlib.data.splitting import groups


def load(name: str, settings: config.Settings, corpus_seed: int = 0, on_missing_image: OnMissing = "drop") -> Corpus:
    """The corpus called `name` with the splits it is published with; `inputs.corpus` adds dev.

    Args:
        settings: data_root says where the raw corpora lie (else RUMORLIB_DATA).
        corpus_seed: drawn scenes only.
        on_missing_image: what becomes of a post without its picture (choice C26); corpora of texts keep all.
    Raises: config.SettingError: unknown name. PostsError: files that are not as published. FileNotFoundError: no data
        folder.
    """
    record = config.record(name)
    if record.kind == "captions":
        raise PostsError(f"{name} holds captions, no posts; load_captions reads it")
    if record.kind == "drawn" and record.replies:
        return replies.load(corpus_seed)
    if record.kind == "drawn":
        return drawn.load(record.language, corpus_seed, boxed=record.boxed)
    if record.kind == "photo":
        return photo.load(record.language, settings.profile, partial(_captions_in, record.folder, settings),
                          record.version)  # fmt: skip
    return _posts(record, settings, on_missing_image)


def _captions_in(folder: str, settings: config.Settings, language: str) -> CaptionCorpus:
    return load_captions(f"{folder}-{language}", settings)


def load_captions(
    name: str, settings: config.Settings, corpus_seed: int = 0, on_missing_image: OnMissing = "drop"
) -> CaptionCorpus:
    """The caption corpus called `name`. Arguments and errors as `load`."""
    record = config.record(name)
    if record.kind != "captions" or record.posts_of:
        raise PostsError(f"{name} is no corpus of captions")
    if record.folder is None:
        return drawn.load_captions(record.language, corpus_seed, boxed=record.boxed)
    return _captions(record, settings, on_missing_image)


def place_of(name: str, settings: config.Settings) -> Path | None:
    """Folder of a corpus on this machine; None: drawn, no file. Raises FileNotFoundError: no data folder."""
    folder = config.record(name).folder
    if folder is None or Path(folder).is_absolute():
        return folder and Path(folder)
    return config.data_root(settings.data_root) / folder


def _find(record: config.CorpusRecord, settings: config.Settings) -> tuple[layouts.Layout, Path]:
    """The layout and folder of a corpus; where its folder fits two of its layouts, the first."""
    folder = place_of(record.name, settings)
    if not folder.exists():
        raise PostsError(f"{folder} does not exist; put the {record.name} files there, see rumorlib/data/README.md")
    fits = [layouts.LAYOUTS[name] for name in record.layouts if layouts.LAYOUTS[name].recognise(folder)]
    return (fits[0], folder) if fits else layouts.find(folder, *record.layouts)


def _posts(record: config.CorpusRecord, settings: config.Settings, on_missing_image: OnMissing) -> Corpus:
    layout, folder = _find(record, settings)
    corpus = layout.read(folder, on_missing_image if record.pictures else "keep")
    if isinstance(corpus, CaptionCorpus):
        raise PostsError(f"{folder} holds captions, no posts with labels")
    posts, name = corpus.posts, record.name
    if not record.pictures:
        posts = posts.assign(image="", n_chars=posts["text"].str.len())  # length outlives the text
        corpus = replace(corpus, images=None)
    elif corpus.images is None and record.folder:  # a manifest in the data folder itself may be one of texts
        texts = "pictures = false in its corpus.toml" if record.own else f"or load {name.split('-')[0]}-text"
        raise PostsError(f"{folder} has no pictures; put them there, {texts}")
    if (posts["split"] != "").any():  # a published split that leaves posts out
        posts = posts.assign(split=posts["split"].replace("", "unassigned"))
    means = record.label_means or corpus.label_means
    corpus = groups.link_duplicates(replace(corpus, name=name, posts=posts, label_means=means), on_missing_image)
    if record.shared_pictures:
        corpus = replace(corpus, posts=corpus.posts.assign(weight=keys.image_weights(corpus.posts)))
    check_splits(corpus, str(folder))
    return corpus


def _captions(record: config.CorpusRecord, settings: config.Settings, on_missing_image: OnMissing) -> CaptionCorpus:
    layout, folder = _find(record, settings)
    if layout.name == "captions":
        corpus = captions.read_language(folder, record.language, on_missing_image)
    else:
        corpus = layout.read(folder, on_missing_image)
    if not corpus.captions["split"].isin(["train", "dev"]).any():
        raise PostsError(f"{folder}: captions have no split; add the layout's split files (rumorlib/data/README.md)")
    return replace(corpus, name=record.name)
