"""Every folder layout we read: recognised from the files in it, or named (spec §6; the README's data guide)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rumorlib.data import manifest, weibo
from rumorlib.data.missing import OnMissing
from rumorlib.data.posts import CaptionCorpus, Corpus, PostsError

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
        Layout("manifest", "manifest.csv, manifest.json or manifest.jsonl", manifest.recognise, manifest.read),
        Layout("weibo17", "{train,test}_{rumor,nonrumor}.txt", weibo.recognise, weibo.read),
    )
}


def detect(folder: Path | str) -> Layout:
    """The layout of `folder`. Raises: PostsError, as `find` does."""
    return find(folder)[0]


def find(folder: Path | str, layout: str | None = None) -> tuple[Layout, Path]:
    """The layout and the folder that has it: `folder` itself, else one up to DEPTH levels below it.

    Args: layout: a key of LAYOUTS, which is then the only one looked for; None: any.
    Raises: PostsError: no such folder or layout, nothing fits, two layouts fit one folder, or several folders fit.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PostsError(f"{folder} is no folder; give the folder of a corpus, see the data guide in README.md")
    if layout is not None and layout not in LAYOUTS:
        raise PostsError(f"no layout called {layout!r}; there are {', '.join(LAYOUTS)}")
    wanted = [LAYOUTS[layout]] if layout else list(LAYOUTS.values())
    level = [folder]
    for _ in range(DEPTH + 1):
        found = [(candidate, place) for place in level for candidate in wanted if candidate.recognise(place)]
        if found:
            return _only(folder, found)
        level = [entry for place in level for entry in _folders(place)]
    looked = "; ".join(f"{candidate.name}: {candidate.what}" for candidate in wanted)
    raise PostsError(f"{folder} has no layout we know, nor has a folder below it. Looked for {looked}")


def open_folder(
    folder: Path | str, layout: str | None = None, on_missing_image: OnMissing = "drop"
) -> Corpus | CaptionCorpus:
    """The corpus in `folder`, in whatever known layout it is; layout: its name, if detection should not decide.

    Args: on_missing_image: see `missing.ON_MISSING`. A layout with no folder of pictures at all is read as texts.
    Raises: PostsError: as `find`, or a file that is not as published; the message names file, row and remedy.
    """
    found, place = find(folder, layout)
    return found.read(place, on_missing_image)


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


def _folders(place: Path) -> list[Path]:
    return sorted(entry for entry in place.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__MACOSX")))
