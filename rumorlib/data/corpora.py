"""Every corpus by name: the folder below the data root, the layouts it may have, and what its label means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rumorlib import config
from rumorlib.config import OnMissing
from rumorlib.data import captions, ced, drawn, groups, layouts, manifest, mediaeval, pheme, photo, weibo
from rumorlib.data.posts import CaptionCorpus, Corpus, PostsError, check_splits


@dataclass(frozen=True)
class Place:
    """Where a named corpus lies, and how it may be laid out there.

    pictures: True: a folder without pictures is refused; False: the corpus is one of texts, whatever lies there.
    """

    folder: str
    layouts: tuple[str, ...]
    label_means: str = ""  # "" = captions, which have no label
    pictures: bool = True


PLACES: dict[str, Place] = {
    "twitter": Place("twitter_mediaeval2016", ("twitter-table", "mediaeval"), mediaeval.LABEL_MEANS),
    "weibo": Place("weibo_jin2017", ("weibo17",), weibo.LABEL_MEANS),
    "weibo-text": Place("weibo_jin2017", ("weibo17",), weibo.LABEL_MEANS, pictures=False),
    "mfan-weibo": Place("mfan_weibo", ("mfan-weibo",), ced.LABEL_MEANS),
    "ced-text": Place("ced", ("ced",), ced.LABEL_MEANS, pictures=False),
    "pheme": Place("pheme", ("pheme",), pheme.LABEL_MEANS),
    "pheme-text": Place("pheme_text", ("pheme-table", "pheme"), pheme.LABEL_MEANS, pictures=False),
    "mfan-pheme": Place("mfan_pheme", ("mfan-pheme",), pheme.LABEL_MEANS),
    "manifest": Place("", ("manifest",), manifest.LABEL_MEANS),
    "flickr8k-en": Place("flickr8k", ("captions", "flickr8k")),
    "flickr8k-zh": Place("flickr8k", ("captions",)),
    "flickr30k-en": Place("flickr30k", ("flickr30k",)),
    "coco-cn-zh": Place("coco_cn", ("coco-cn", "chinese-clip")),
}
PHOTO = "flickr8k"  # captions that the photo tier is made of


def load(name: str, settings: config.Settings, corpus_seed: int = 0, on_missing_image: OnMissing = "drop") -> Corpus:
    """The corpus called `name` (a key of LOADERS) with the splits it is published with; `inputs.corpus` adds dev.

    Args:
        settings: data_root says where the raw corpora lie (else RUMORLIB_DATA).
        corpus_seed: drawn scenes only.
        on_missing_image: what becomes of a post without its picture (choice C26); corpora of texts keep all.
    Raises: PostsError: unknown name, or files that are not as published. FileNotFoundError: no data folder.
    """
    return _pick(LOADERS, name)(settings, corpus_seed, on_missing_image)


def load_captions(
    name: str, settings: config.Settings, corpus_seed: int = 0, on_missing_image: OnMissing = "drop"
) -> CaptionCorpus:
    """The caption corpus called `name` (a key of CAPTION_LOADERS). Arguments and errors as `load`."""
    return _pick(CAPTION_LOADERS, name)(settings, corpus_seed, on_missing_image)


def label_means(name: str) -> str:
    """What label 1 means on corpus `name`; "" for captions. The constructs differ: no table averages over corpora."""
    made = {"demo": drawn.LABEL_MEANS} | dict.fromkeys(("photo", "photo2"), photo.LABEL_MEANS)
    made = made.get(name.split("-")[0])
    return (made if name in LOADERS and made else PLACES[name].label_means) if name not in CAPTION_LOADERS else ""


def folder_of(name: str) -> str | None:
    """Folder of corpus `name` below the data root, "" = the root itself; None: drawn, no file."""
    if name.startswith("demo-"):
        return None
    return PLACES[f"{PHOTO}-en" if name.startswith("photo") else name].folder


def _pick(loaders: dict[str, Callable], name: str) -> Callable:
    if name not in loaders:
        raise PostsError(f"no corpus called {name!r}; there are {', '.join(loaders)}")
    return loaders[name]


def _find(name: str, settings: config.Settings) -> tuple[layouts.Layout, Path]:
    """The layout and folder of a named corpus; where its folder fits two of its layouts, the first."""
    place = PLACES[name]
    folder = config.data_root(settings.data_root) / place.folder
    if not folder.is_dir():
        raise PostsError(f"{folder} does not exist; put the {name} files there, see rumorlib/data/README.md")
    fits = [layouts.LAYOUTS[layout] for layout in place.layouts if layouts.LAYOUTS[layout].recognise(folder)]
    return (fits[0], folder) if fits else layouts.find(folder, *place.layouts)


def _posts(name: str, settings: config.Settings, corpus_seed: int, on_missing_image: OnMissing) -> Corpus:
    layout, folder = _find(name, settings)
    corpus = layout.read(folder, on_missing_image if PLACES[name].pictures else "keep")
    if not PLACES[name].pictures:
        posts = corpus.posts.assign(image="", n_chars=corpus.posts["text"].str.len())  # length outlives the text
        corpus = replace(corpus, posts=posts, images=None)
    elif corpus.images is None:
        raise PostsError(f"{folder} has no folder of pictures; put them there, or load {name.split('-')[0]}-text")
    corpus = groups.link_duplicates(replace(corpus, name=name), on_missing_image)
    check_splits(corpus, str(folder))
    return corpus


def _captions(name: str, settings: config.Settings, corpus_seed: int, on_missing_image: OnMissing) -> CaptionCorpus:
    layout, folder = _find(name, settings)
    if layout.name == "captions":
        corpus = captions.read_language(folder, name.rsplit("-", 1)[1], on_missing_image)
    else:
        corpus = layout.read(folder, on_missing_image)
    if not corpus.captions["split"].isin(["train", "dev"]).any():
        raise PostsError(f"{folder}: captions have no split; add the layout's split files (rumorlib/data/README.md)")
    return replace(corpus, name=name)


def _manifest(settings: config.Settings, corpus_seed: int, on_missing_image: OnMissing) -> Corpus:
    root = config.data_root(settings.data_root)
    corpus = groups.link_duplicates(manifest.read(root, on_missing_image), on_missing_image)
    check_splits(corpus, str(root))
    return corpus


def _drawn(
    draw: Callable, language: str, settings: config.Settings, corpus_seed: int, on_missing_image: OnMissing
) -> Corpus | CaptionCorpus:
    return draw(language, corpus_seed)


def _photo(
    language: str, version: int, settings: config.Settings, corpus_seed: int, on_missing_image: OnMissing
) -> Corpus:
    def read(name: str) -> CaptionCorpus:
        return load_captions(f"{PHOTO}-{name}", settings)

    return photo.load(language, settings.profile, read, version)


LOADERS: dict[str, Callable[[config.Settings, int, OnMissing], Corpus]] = {
    **{f"demo-{language}": partial(_drawn, drawn.load, language) for language in ("en", "zh")},
    **{photo.name(lang, version): partial(_photo, lang, version) for version in photo.PAIRS for lang in ("en", "zh")},
    **{name: partial(_posts, name) for name, place in PLACES.items() if place.label_means},
    "manifest": _manifest,
}
CAPTION_LOADERS: dict[str, Callable[[config.Settings, int, OnMissing], CaptionCorpus]] = {
    **{f"demo-captions-{language}": partial(_drawn, drawn.load_captions, language) for language in ("en", "zh")},
    **{name: partial(_captions, name) for name, place in PLACES.items() if not place.label_means},
}
