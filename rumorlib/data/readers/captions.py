"""Caption corpora of stage 1: the table they all become, our own captions_<language>.csv, and Chinese-CLIP's files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rumorlib.config import OnMissing
from rumorlib.data import keys, photo, posts
from rumorlib.data.images import FolderImages, ImageError, Images
from rumorlib.data.keys import cell
from rumorlib.data.posts import CaptionCorpus, Corpus, PostsError
from rumorlib.data.readers import missing
from rumorlib.data.readers.packed_images import PackedImages
from rumorlib.data.readers.tables import each_once, need, read_csv, read_lines

COLUMNS = ["image", "caption_id", "text", "split", "language"]
LANGUAGES = ("en", "zh")


def build(
    name: str,
    table: pd.DataFrame,
    images: Images,
    source: str,
    on_missing_image: OnMissing,
    places: Sequence[tuple[str, int]] | None = None,
    left_out: pd.DataFrame | None = None,
) -> CaptionCorpus:
    """A caption corpus from rows of COLUMNS, sorted by image, language and caption_id.

    Split names of other projects are translated (val: dev); "" = no split of its own. Dropped and reported: empty
    captions, and captions whose picture is missing, as `on_missing_image` says (blank counts as drop: a caption without
    a picture teaches nothing).

    Raises: PostsError: a caption repeats its id, an image stands in two splits, a split name is unknown, or no picture.
    """
    if table.empty:
        raise PostsError(f"{source}: no captions; use the file as published")
    table = table[COLUMNS].reset_index(drop=True)
    table["split"] = table["split"].map(lambda split: posts.SPLIT_SYNONYMS.get(split, split))
    table["text"] = table["text"].str.strip()
    if (twice := table.duplicated(["image", "language", "caption_id"])).any():
        row = int(twice.argmax()) + 1
        raise PostsError(f"{posts.place(source, row, places)}: image and caption_id repeat; remove one")
    if (torn := table.groupby("image")["split"].nunique() > 1).any():
        raise PostsError(f"{source}: {torn.idxmax()} stands in two splits; keep an image's captions together")
    if (odd := ~table["split"].isin(posts.SPLITS)).any():
        row = int(odd.argmax())
        where = posts.place(source, row + 1, places)
        raise PostsError(f"{where}: unknown split {table['split'][row]!r}; write 'train', 'dev' or 'test'")
    reasons = ["" if text else "empty caption" for text in table["text"]]
    places = places or [(source, row) for row in range(1, len(table) + 1)]
    table, places, empty = missing.leave_out(table, reasons, source, places)
    rule = "drop" if on_missing_image == "blank" else on_missing_image
    table, gone = missing.settle(table, images, source, rule, places)
    dropped = [part for part in (left_out, empty, gone) if part is not None and len(part)]
    return CaptionCorpus(
        name,
        table.sort_values(["image", "language", "caption_id"], kind="stable").reset_index(drop=True),
        images,
        pd.concat(dropped, ignore_index=True) if dropped else posts.no_drops(),
    )


def of_posts(corpus: Corpus, language: str) -> CaptionCorpus:
    """Train and dev posts as captions of their pictures; a picture with near-duplicates is one, with all their texts.

    Labels play no part, and test posts are left out: a stage 1 on the detector's own corpus.
    """
    chosen = corpus.posts[corpus.posts["split"].isin(["train", "dev"]) & corpus.posts["image"].ne("")]
    picture = chosen["image"].where(chosen["image_group"].eq(""), chosen["image_group"])
    table = chosen.assign(image=chosen.groupby(picture)["image"].transform("first"), language=language)
    table = table.drop_duplicates(["image", "text"])
    table = table.assign(caption_id=table.groupby("image").cumcount())
    return build(f"{corpus.name}-train-{language}", table, corpus.images, corpus.name, "drop")


def train_pictures(captions: pd.DataFrame, n: int | None = None) -> set[str]:
    """Pictures of the train split, or `n` of them, drawn so that fewer are a part of more.

    Raises: ValueError: there are fewer than `n`.
    """
    pictures = np.unique(captions.loc[captions["split"] == "train", "image"].to_numpy(str))
    if n is None:
        return set(pictures.tolist())
    if n > len(pictures):
        raise ValueError(f"n_train is {n}, but there are {len(pictures)} train pictures")
    return set(np.random.default_rng(0).permutation(pictures)[:n].tolist())


def twin_notes(corpus: CaptionCorpus) -> tuple[str, ...]:
    """Captions of the same words, which no model can tell apart; and what the photo tier made of them, where its pairs
    are of these pictures."""
    found = []
    sides = corpus.captions[corpus.captions["split"].isin(photo.SPLITS)]
    for language, part in sides.groupby("language"):
        code = keys.word_codes(part["text"].tolist())
        share = (part.groupby(["split", code])["image"].transform("nunique") > 1).groupby(part["split"]).mean()
        if share.any():
            said = ", ".join(f"{100 * share[side]:.1f} % of {side}" for side in photo.SPLITS if side in share)
            found.append(f"{language} captions that stand word for word at several pictures: {said}")
    for version in photo.PAIRS:
        path = photo.pairs_path("laptop", version)
        pairs = photo.read_pairs(path) if path.is_file() else None
        if pairs is None or not set(pairs["image"]) <= set(sides["image"]):
            continue
        for language, part in sides.groupby("language"):
            tier = photo.build(replace(corpus, captions=part), pairs, str(language), version)
            rumors = tier.posts[tier.posts["label"] == 1]
            if (wrong := rumors[rumors["own_caption"]]["split"].value_counts()).any():
                told = ", ".join(f"{side} {wrong[side]}" for side in photo.SPLITS if side in wrong)
                found.append(
                    f"{tier.name}: {wrong.sum()} of {len(rumors)} posts called rumors carry one of their picture's own "
                    f"captions ({told})"
                )
    return tuple(found)


# --- our own table --------------------------------------------------------------------------


def recognise(folder: Path) -> bool:
    """A folder with captions_en.csv or captions_zh.csv."""
    return any((folder / f"captions_{language}.csv").is_file() for language in LANGUAGES)


def read(folder: Path, on_missing_image: OnMissing = "drop") -> CaptionCorpus:
    """The captions of every language there is, in one table; see `read_language`."""
    found = [language for language in LANGUAGES if (folder / f"captions_{language}.csv").is_file()]
    parts = [read_language(folder, language, on_missing_image) for language in found]
    if len(parts) == 1:
        return parts[0]
    table = pd.concat([part.captions for part in parts]).sort_values(["image", "language", "caption_id"], kind="stable")
    if (torn := table.groupby("image")["split"].nunique() > 1).any():
        raise PostsError(f"{folder.name}: {torn.idxmax()} stands in other splits in another language; use one split")
    dropped = pd.concat([part.dropped for part in parts], ignore_index=True)
    return CaptionCorpus(folder.name, table.reset_index(drop=True), parts[0].images, dropped)


def read_language(folder: Path, language: str, on_missing_image: OnMissing = "drop") -> CaptionCorpus:
    """captions_<language>.csv (image, caption_id, caption, split) and its images. Raises: PostsError, as `build`."""
    source = folder / f"captions_{language}.csv"
    frame = read_csv(source)
    need(frame, ("image", "caption_id", "caption", "split"), source)
    ids = pd.to_numeric(frame["caption_id"], errors="coerce")
    if ids.isna().any() or (ids % 1 != 0).any():
        row = int((ids.isna() | (ids % 1 != 0)).argmax())
        raise PostsError(
            f"{source.name}, row {row + 1}: caption_id {frame['caption_id'][row]!r} is no whole number; number the "
            "captions of an image from 0"
        )
    table = frame.assign(text=frame["caption"], caption_id=ids.astype(int), language=language)
    return build(f"{folder.name}-{language}", table, FolderImages(folder), source.name, on_missing_image)


# --- Chinese-CLIP's form --------------------------------------------------------------------

SPLIT_FILES = (("train", "train"), ("valid", "dev"), ("val", "dev"), ("test", "test"))


def recognise_packed(folder: Path) -> bool:
    """A folder with <split>_imgs.tsv and <split>_texts.jsonl."""
    return any(
        (folder / f"{name}_imgs.tsv").is_file() and (folder / f"{name}_texts.jsonl").is_file()
        for name, _ in SPLIT_FILES
    )


def read_packed(folder: Path, on_missing_image: OnMissing = "drop") -> CaptionCorpus:
    """Chinese-CLIP's form: <split>_imgs.tsv (id, base64 picture) and <split>_texts.jsonl (text_id, text, image_ids).

    caption_id = position among the captions of the image in its file.

    Raises: PostsError: a line is no JSON object with text and image_ids, or no base64 picture; an id is there twice.
    """
    rows, places, files = [], [], []
    for name, split in SPLIT_FILES:
        texts, pictures = folder / f"{name}_texts.jsonl", folder / f"{name}_imgs.tsv"
        if not (texts.is_file() and pictures.is_file()):
            continue
        files.append(pictures)
        count: dict[str, int] = {}
        known: dict[str, int] = {}  # text_id -> its row
        for number, line in enumerate(read_lines(texts), 1):
            found = _text(texts, number, line)
            name = cell(found.get("text_id"))
            if name and known.setdefault(name, number) != number:
                raise PostsError(
                    f"{texts}, row {number}: text_id {name!r} stands on row {known[name]} already; keep one"
                )
            for key in map(cell, found["image_ids"]):
                position = count[key] = count.get(key, -1) + 1
                rows.append((key, position, found["text"], split, "zh"))
                places.append((texts.name, number))
    try:
        images = PackedImages(files)
    except ImageError as error:
        raise PostsError(f"{error}; restore the file") from None
    table = pd.DataFrame(rows, columns=COLUMNS)
    return build("coco-cn-zh", table, images, folder.name, on_missing_image, places)


def _text(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line, object_pairs_hook=each_once)
        if isinstance(found["text"], str) and isinstance(found["image_ids"], list):
            return found
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise PostsError(f"{path}, row {number}: expected an object with text and image_ids; restore the row")
