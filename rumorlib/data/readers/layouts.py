"""Every folder layout we read: recognised from the files in it, or named (README.md beside this file)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rumorlib.config import OnMissing, levels
from rumorlib.data.posts import CaptionCorpus, Corpus, PostsError, check_splits
from rumorlib.data.readers import captions, ced, coco_cn, flickr, manifest, mediaeval, pheme, weibo
from rumorlib.data.splitting import groups

DEPTH = 2  # folders below the given one that are looked into


@dataclass(frozen=True)
class Layout:
    """One way to lay out a corpus. recognise: does the folder have its files; read: the folder as a corpus."""

    name: str
    what: str
    recognise: Callable[[Path], bool]
    read: Callable[[Path, OnMissing], Corpus | CaptionCorpus]


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "manifest",
            "manifest.csv, .json or .jsonl, or such a file per split: train, dev or val, test",
            manifest.recognise,
            manifest.read,
        ),
        Layout("weibo17", "{train,test}_{rumor,nonrumor}.txt, here or in tweets/", weibo.recognise, weibo.read),
        Layout("ced", "original-microblog/ with rumor-repost/ and non-rumor-repost/", ced.recognise, ced.read),
        Layout("mfan-weibo", "weibocontentwithimage/weibo_content.csv", ced.recognise_mfan_weibo, ced.read_mfan_weibo),
        Layout("mfan-pheme", "content.csv and pheme_image/", ced.recognise_mfan_pheme, ced.read_mfan_pheme),
        Layout("pheme", "<event>/{rumours,non-rumours}/<thread>/", pheme.recognise, pheme.read),
        Layout("pheme-table", "posts.csv with a column veracity", pheme.recognise_table, pheme.read_table),
        Layout("mediaeval", "devset/ and testset/ with posts.txt or tweets.txt", mediaeval.recognise, mediaeval.read),
        Layout(
            "twitter-table", "posts.csv with columns image and lang", mediaeval.recognise_table, mediaeval.read_table
        ),
        Layout(
            "flickr30k",
            "dataset_flickr30k.json, flickr_annotations_30k.csv, results_20130124.token or results.csv",
            flickr.recognise_30k,
            flickr.read_30k,
        ),
        Layout("flickr8k", "Flickr8k.token.txt", flickr.recognise_8k, flickr.read_8k),
        Layout(
            "flickr8k-cn", "a .txt of lines <picture>.jpg#zhc#<k> <caption>", flickr.recognise_8k_cn, flickr.read_8k_cn
        ),
        Layout("captions", "captions_en.csv or captions_zh.csv", captions.recognise, captions.read),
        Layout("coco-cn", "imageid.human-written-caption.txt and coco-cn_*.txt", coco_cn.recognise, coco_cn.read),
        Layout(
            "chinese-clip",
            "<split>_imgs.tsv and <split>_texts.jsonl",
            captions.recognise_packed,
            captions.read_packed,
        ),
    )
}


def find(folder: Path | str, *names: str) -> tuple[Layout, Path]:
    """The layout and the folder that has it: `folder` itself, else one up to DEPTH levels below it.

    A .csv, .json or .jsonl given instead of a folder is a manifest, whatever its name.

    Args: names: keys of LAYOUTS, which are then the only ones looked for; none: all.
    Raises: PostsError: no such folder or layout, nothing fits, two layouts fit one folder, or several folders fit.
    """
    folder = Path(folder)
    if folder.is_file() and folder.suffix in manifest.SUFFIXES and (not names or "manifest" in names):
        return LAYOUTS["manifest"], folder
    if not folder.is_dir():
        what = "is a file: unpack it and" if folder.is_file() else "is no folder;"
        raise PostsError(f"{folder} {what} give the folder of a corpus, see rumorlib/data/README.md")
    if unknown := [name for name in names if name not in LAYOUTS]:
        raise PostsError(f"no layout called {unknown[0]!r}; there are {', '.join(LAYOUTS)}")
    wanted = [LAYOUTS[name] for name in names or LAYOUTS]
    for level in levels(folder, DEPTH):
        found = [(candidate, place) for place in level for candidate in wanted if candidate.recognise(place)]
        if found:
            return _only(folder, found)
    looked = "; ".join(f"{candidate.name}: {candidate.what}" for candidate in wanted)
    tables = sorted(path.name for path in folder.iterdir() if path.suffix in manifest.SUFFIXES)
    hint = f" If {tables[0]} is a list of posts, give the file itself." if tables else ""
    raise PostsError(
        f"{folder} has no layout we know, nor has a folder up to {DEPTH} levels below it; arrange its files as one of "
        f"these, or write a manifest.csv.{hint} Looked for: {looked}"
    )


def open_folder(
    folder: Path | str, layout: str | None = None, on_missing_image: OnMissing = "drop"
) -> Corpus | CaptionCorpus:
    """The corpus in `folder`, in whatever known layout it is; layout: its name, if detection should not decide.

    Args: on_missing_image: see `config.ON_MISSING`. A layout with no folder of pictures at all is read as texts.
    Raises: PostsError: as `find`, or a file that is not as published; the message names file, row and remedy.
    """
    found, place = find(folder, *([layout] if layout else []))
    corpus = found.read(place, on_missing_image)
    if isinstance(corpus, Corpus):
        corpus = groups.link_duplicates(corpus, on_missing_image)
        check_splits(corpus, str(place))
    return corpus


def _only(folder: Path, found: list[tuple[Layout, Path]]) -> tuple[Layout, Path]:
    places = list(dict.fromkeys(place for _, place in found))
    names = list(dict.fromkeys(layout.name for layout, _ in found))
    if len(places) > 1:
        listed = ", ".join(f"{place.relative_to(folder)} ({layout.name})" for layout, place in found)
        raise PostsError(f"{folder} holds several corpora: {listed}; give the folder of one of them")
    if len(names) > 1:
        raise PostsError(
            f"{places[0]} fits {' and '.join(names)}; say which one it is, e.g. layout={names[0]!r} "
            f"(check-data: --layout {names[0]})"
        )
    return found[0]
