"""Every corpus by name: folder below the data root, reader, pictures, and what its label means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rumorlib import config
from rumorlib.data import readers
from rumorlib.data.images import FolderImages
from rumorlib.data.posts import CaptionCorpus, Corpus, PostsError

FOLDERS = {"twitter": "twitter_mediaeval2016", "weibo": "weibo_jin2017", "pheme": "pheme_text", "flickr8k": "flickr8k"}
# What label 1 stands for; the constructs differ, so no table averages over corpora (spec §15).
LABEL_MEANS = {
    "twitter": "fake media: the attached picture is fake or misused for the event (0 = real media)",
    "weibo": "debunked: a post the platform's rumor board refuted (0 = a news post of a verified outlet)",
    "pheme": "rumor at posting time: unverified when posted, whether it proved true or not (0 = no rumor)",
    "photo": "out of context: the text is the caption of another photograph (0 = its own caption)",
    "manifest": "label 1 of the given manifest",
}
MANIFEST_NAMES = ("manifest.csv", "manifest.json", "manifest.jsonl")


def load(name: str, settings: config.Settings, corpus_seed: int = 0) -> Corpus:
    """The corpus called `name` (a key of LOADERS) with the splits it is published with; `splits.add_dev` adds dev.

    Args: settings: data_root says where the raw corpora lie (else RUMORLIB_DATA). corpus_seed: drawn scenes only.
    Raises: PostsError: unknown name, or files that are not as published. FileNotFoundError: no data folder.
    """
    return _pick(LOADERS, name)(settings, corpus_seed)


def load_captions(name: str, settings: config.Settings, corpus_seed: int = 0) -> CaptionCorpus:
    """The caption corpus called `name` (a key of CAPTION_LOADERS). Arguments and errors as `load`."""
    return _pick(CAPTION_LOADERS, name)(settings, corpus_seed)


def read_manifest(path: Path | str) -> Corpus:
    """The posts of a manifest file of the user's own (.csv, .json, .jsonl); images relative to the manifest."""
    path = Path(path)
    table, dropped = readers.read_manifest(path)
    images = FolderImages(path.parent) if table["image"].any() else None
    return Corpus("manifest", table, images, LABEL_MEANS["manifest"], dropped)


def _pick(loaders: dict[str, Callable], name: str) -> Callable:
    if name not in loaders:
        raise PostsError(f"no corpus called {name!r}; there are {', '.join(loaders)}")
    return loaders[name]


def _folder(settings: config.Settings, corpus: str) -> Path:
    folder = config.data_root(settings.data_root) / FOLDERS[corpus]
    if not folder.is_dir():
        raise PostsError(f"{folder} does not exist; put the {corpus} files there, see the data guide in README.md")
    return folder


def _drawn(language: str) -> Callable[[config.Settings, int], Corpus]:
    def loader(settings: config.Settings, corpus_seed: int) -> Corpus:
        from rumorlib.data import drawn  # draws pictures: only when asked for

        return drawn.load(language, corpus_seed)

    return loader


def _drawn_captions(language: str) -> Callable[[config.Settings, int], CaptionCorpus]:
    def loader(settings: config.Settings, corpus_seed: int) -> CaptionCorpus:
        from rumorlib.data import drawn

        return drawn.load_captions(language, corpus_seed)

    return loader


def _photo(language: str) -> Callable[[config.Settings, int], Corpus]:
    def loader(settings: config.Settings, corpus_seed: int) -> Corpus:
        from rumorlib.data import photo  # photo reads its captions through this module

        return photo.load(language, settings)

    return loader


def _flickr8k(language: str) -> Callable[[config.Settings, int], CaptionCorpus]:
    def loader(settings: config.Settings, corpus_seed: int) -> CaptionCorpus:
        folder = _folder(settings, "flickr8k")
        captions, dropped = readers.read_captions(folder, language)
        return CaptionCorpus(f"flickr8k-{language}", captions, FolderImages(folder), dropped)

    return loader


def _twitter(settings: config.Settings, corpus_seed: int) -> Corpus:
    folder = _folder(settings, "twitter")
    table, dropped = readers.read_twitter(folder)
    return Corpus("twitter", table, FolderImages(folder), LABEL_MEANS["twitter"], dropped)


def _weibo_text(settings: config.Settings, corpus_seed: int) -> Corpus:
    table, dropped = readers.read_weibo(_folder(settings, "weibo"))
    return Corpus("weibo-text", table, None, LABEL_MEANS["weibo"], dropped)


def _weibo(settings: config.Settings, corpus_seed: int) -> Corpus:
    folder = _folder(settings, "weibo")
    table, dropped = readers.read_weibo(folder, image_folders=True)
    return Corpus("weibo", table, FolderImages(folder), LABEL_MEANS["weibo"], dropped)


def _pheme_text(settings: config.Settings, corpus_seed: int) -> Corpus:
    table, dropped = readers.read_pheme(_folder(settings, "pheme"))
    return Corpus("pheme-text", table, None, LABEL_MEANS["pheme"], dropped)


def _manifest(settings: config.Settings, corpus_seed: int) -> Corpus:
    root = config.data_root(settings.data_root)
    for name in MANIFEST_NAMES:
        if (root / name).is_file():
            return read_manifest(root / name)
    raise PostsError(f"none of {', '.join(MANIFEST_NAMES)} lies in {root}; put your manifest there")


LOADERS: dict[str, Callable[[config.Settings, int], Corpus]] = {
    "demo-en": _drawn("en"),
    "demo-zh": _drawn("zh"),
    "photo-en": _photo("en"),
    "photo-zh": _photo("zh"),
    "twitter": _twitter,
    "weibo-text": _weibo_text,
    "weibo": _weibo,
    "pheme-text": _pheme_text,
    "manifest": _manifest,
}
CAPTION_LOADERS: dict[str, Callable[[config.Settings, int], CaptionCorpus]] = {
    "demo-captions-en": _drawn_captions("en"),
    "demo-captions-zh": _drawn_captions("zh"),
    "flickr8k-en": _flickr8k("en"),
    "flickr8k-zh": _flickr8k("zh"),
}
