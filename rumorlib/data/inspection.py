"""What a folder holds and what of it can be used: counted, decoded and listed before anything is trained on it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from rumorlib.config import OnMissing
from rumorlib.data.dates import offset_hours, parse_dates
from rumorlib.data.images import ImageError, Images
from rumorlib.data.posts import DROPPED_COLUMNS, CaptionCorpus, Corpus, PostsError, check_splits, doubtful_names
from rumorlib.data.readers import captions, layouts
from rumorlib.data.scripts import script
from rumorlib.data.splitting import protocols
from rumorlib.data.splitting.groups import linked_texts
from rumorlib.data.splitting.splits import crossings

MAX_GUESSED = 20_000  # texts whose script is looked at; more are counted from an even sample
VERDICTS = ("usable", "usable, with problems", "not usable")  # by Inspection.code
_FIRST = ("train", "dev", "test")


@dataclass(frozen=True)
class Inspection:
    """The findings of `inspect_folder`, every table a frame that a notebook can show.

    splits: one row per split and one for all, columns see `_count`. languages: language, posts, share, basis.
    crossings: `splits.crossings` of near-duplicate texts and of events; pictures are compared byte by byte alone.
    left_out: post_id, source, row, reason, status, split of every post that training cannot use, or not with a picture.
    problems: what is lost or would leak, in words; notes: what is odd but costs nothing; usable: what can be done with
    the folder; code: 0 usable, 1 usable with problems, 2 not usable.
    """

    folder: Path
    layout: str
    name: str
    label_means: str
    splits: pd.DataFrame
    languages: pd.DataFrame
    crossings: pd.DataFrame
    left_out: pd.DataFrame
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    usable: tuple[str, ...]
    code: int

    @property
    def verdict(self) -> str:
        """The code in words."""
        return VERDICTS[self.code]


def inspect_folder(
    folder: Path | str,
    layout: str | None = None,
    on_missing_image: OnMissing = "drop",
    decode: bool = True,
    progress: bool = True,
) -> Inspection:
    """Read the corpus in `folder` and every picture of it, and say what of it can be used.

    Args: layout, on_missing_image: as `layouts.open_folder`. decode: read every distinct picture to its end; False:
        pictures are only looked for, and unreadable and duplicate_images are None. progress: a bar on stderr while
        decoding, where that is a terminal.
    Raises: PostsError: no layout is recognised, or the corpus cannot be read as asked.
    """
    found, place = layouts.find(folder, *([layout] if layout else []))
    everything = found.read(place, "keep")
    images, kept = everything.images, everything
    if images is not None and on_missing_image != "keep":
        kept = found.read(place, on_missing_image)
    table = _table(everything)
    bad, hashes = _decode(images, table, progress) if decode and images else ({}, {})
    table["dropped"] = ~table["row_name"].isin(set(_table(kept)["row_name"]))
    table["no_image"] = (table["image"] == "") & (images is not None)
    table["missing"] = _missing(images, table["image"])
    table["unreadable"] = table["image"].isin(set(bad)) & ~table["dropped"]
    table["usable"] = ~table["dropped"] & ~table["unreadable"]
    table["content"] = [hashes.get(key, "") for key in table["image"]]
    table["time"] = parse_dates(table["created_at"], offset_hours(table["language"]))
    splits = _splits(table, len(everything.dropped))
    splits = splits if decode else splits.assign(unreadable=None, duplicate_images=None)
    what = "posts" if isinstance(kept, Corpus) else "captions"
    crossing = _crossings(table) if isinstance(kept, Corpus) else pd.DataFrame()
    problems, notes = _problems(table, splits, crossing, what), _notes(table, splits, what)
    notes += captions.twin_notes(kept) if isinstance(kept, CaptionCorpus) else ()
    usable, code = _verdict(table, kept, problems)
    return Inspection(
        folder=Path(place), layout=found.name, name=kept.name, label_means=getattr(kept, "label_means", ""),
        splits=splits, languages=_languages(table), crossings=crossing, left_out=_left_out(table, kept.dropped, bad),
        problems=problems, notes=notes, usable=usable, code=code,
    )  # fmt: skip


# --- pictures -------------------------------------------------------------------------------


def _table(corpus: Corpus | CaptionCorpus) -> pd.DataFrame:
    """Posts, or captions as posts without label and date; row_name is unique, also with captions in two languages."""
    if isinstance(corpus, Corpus):
        return corpus.posts.assign(row_name=corpus.posts["post_id"]).reset_index(drop=True)
    names = corpus.captions["image"] + "#" + corpus.captions["caption_id"].astype(str)
    own = names + " " + corpus.captions["language"]
    return corpus.captions.assign(post_id=names, row_name=own, label=-1, created_at="").reset_index(drop=True)


def _missing(images: Images | None, keys: pd.Series) -> pd.Series:
    """Whether a post names a picture that does not exist."""
    there = {key: images is None or not key or images.has(key) for key in keys.unique()}
    return ~keys.map(there).astype(bool)


def _decode(images: Images, table: pd.DataFrame, progress: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Every distinct picture read to its end. Returns: error by key, content hash by key of those without one."""
    keys = [key for key in table["image"].unique() if key and images.has(key)]

    def read(key: str) -> tuple[str, str]:
        try:
            images.pixels(key, 32)
            return "", images.content_hash(key)
        except ImageError as error:
            return str(error), ""

    workers = min(4, os.cpu_count() or 1)  # the decoders leave Python; four of the largest pictures fit in memory
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")  # Pillow's remarks on odd pictures; what it cannot decode it raises
        found = list(
            tqdm(pool.map(read, keys), total=len(keys), desc="images", unit="image", disable=None if progress else True)
        )
    bad = {key: error for key, (error, _) in zip(keys, found, strict=True) if error}
    return bad, {key: content for key, (_, content) in zip(keys, found, strict=True) if content}


def _left_out(table: pd.DataFrame, dropped: pd.DataFrame, bad: dict[str, str]) -> pd.DataFrame:
    """Dropped posts as the reader reports them, then kept ones whose picture is absent or cannot be decoded."""
    troubled = ~table["dropped"] & (table["no_image"] | table["missing"] | table["unreadable"])
    rest = table[troubled]
    reasons = [bad.get(key) or (f"image {key} does not exist" if key else "no image") for key in rest["image"]]
    status = np.where(rest["unreadable"], "unreadable", "kept without picture")
    more = {"post_id": rest["post_id"].tolist(), "source": "", "row": "", "reason": reasons, "status": status}
    both = [*dropped.assign(status="dropped").to_dict("records"), *pd.DataFrame(more).to_dict("records")]
    split_of = dict(zip(table["post_id"], table["split"], strict=True))
    result = pd.DataFrame(both, columns=[*DROPPED_COLUMNS, "status"])
    return result.assign(split=[split_of.get(post_id, "") for post_id in result["post_id"]])


def _crossings(table: pd.DataFrame) -> pd.DataFrame:
    """`Inspection.crossings` of the usable posts."""
    good = table[table["usable"]].reset_index(drop=True)
    found = crossings(good.assign(text_group=linked_texts(good)))
    return found[found["kind"] != "image_group"].reset_index(drop=True)


# --- counts ---------------------------------------------------------------------------------


def _splits(table: pd.DataFrame, n_refused: int) -> pd.DataFrame:
    """`_count` of every split and of all; n_refused posts were dropped before they had a split."""
    names = sorted(set(table["split"]) - set(_FIRST))
    names = [name for name in _FIRST if (table["split"] == name).any()] + names
    rows = [{"split": name or "(none)"} | _count(table[table["split"] == name]) for name in names]
    total = {"split": "all"} | _count(table)
    total |= {"posts": total["posts"] + n_refused, "dropped": total["dropped"] + n_refused}
    return pd.DataFrame([*rows, total])


def _count(part: pd.DataFrame) -> dict[str, Any]:
    """One row of `Inspection.splits`.

    dropped, no_image, missing, unreadable, usable: posts (a dropped post may count under no_image or missing too);
    non_rumor, rumor: of the usable ones; images: distinct ones; duplicate_texts, duplicate_images: posts and picture
    files beyond the first with that text or those bytes; text_median, text_max: characters; first, last: days (UTC);
    no_time: posts with a created_at that cannot be read.
    """
    row: dict[str, Any] = {"posts": len(part)}
    for name in ("dropped", "no_image", "missing", "unreadable", "usable"):
        row[name] = int(part[name].sum())
    labels = part.loc[part["usable"], "label"]
    if not (labels < 0).any():  # captions have no label
        row |= {"non_rumor": int((labels == 0).sum()), "rumor": int((labels == 1).sum())}
        row["share_rumor"] = round(float(labels.mean()), 3) if len(labels) else 0.0
    files = part[part["content"] != ""].drop_duplicates("image")["content"]
    row["images"] = part.loc[part["image"] != "", "image"].nunique()
    row["duplicate_images"] = int(files.duplicated().sum())
    texts = part["text"].str.strip()
    lengths, no_texts = texts[texts != ""].str.len(), {"text_median": 0, "text_max": 0}
    row |= {"duplicate_texts": int(texts[texts != ""].duplicated().sum()), "empty_texts": int((texts == "").sum())}
    row |= {"text_median": int(lengths.median()), "text_max": int(lengths.max())} if len(lengths) else no_texts
    known = part["time"].dropna()
    row |= {
        name: f"{day:%Y-%m-%d}" if len(known) else "" for name, day in (("first", known.min()), ("last", known.max()))
    }
    return row | {"no_time": int((part["time"].isna() & (part["created_at"].str.strip() != "")).sum())}


def _languages(table: pd.DataFrame) -> pd.DataFrame:
    """As the corpus says them, else the script of the texts."""
    if (table["language"] != "").any():
        names, basis = table["language"].replace("", "(not given)"), "given"
    else:
        sample = table["text"].iloc[:: max(1, -(-len(table) // MAX_GUESSED))]
        names, basis = sample.map(script), "guessed from the script"
    counts = names.value_counts()
    return pd.DataFrame({"language": counts.index, "posts": counts.to_numpy(), "share": counts.to_numpy() / len(names),
                         "basis": basis})  # fmt: skip


# --- words ----------------------------------------------------------------------------------


_SAID = {
    "dropped": "dropped",
    "no_image": "without the name of a picture",
    "missing": "whose picture does not exist",
    "unreadable": "whose picture cannot be decoded",
}
_NOTED = {"empty_texts": "without text", "no_time": "with a time that cannot be read"}


def _problems(table: pd.DataFrame, splits: pd.DataFrame, crossing: pd.DataFrame, what: str) -> tuple[str, ...]:
    total = splits.iloc[-1]
    found = [f"{what} {words}: {total[name]:,}" for name, words in _SAID.items() if total[name]]
    good = table[table["usable"]]
    sides = good[~good["split"].isin(["", "unassigned"])]
    if what == "posts":
        for name, labels in sides.groupby("split")["label"]:
            if labels.nunique() < 2:
                found.append(f"split {name} has one class only: {('non-rumor', 'rumor')[labels.iloc[0]]}")
        if n := _torn(sides[sides["text"].str.strip() != ""], "text"):
            found.append(f"texts that stand in several splits, letter by letter: {n:,}")
        for row in crossing[(crossing["kind"] == "text_group") & (crossing["crossing"] > 0)].itertuples():
            found.append(
                f"near-duplicate texts that stand in several splits: {row.crossing:,} groups of {row.posts:,} posts, "
                f"with {row.share_of_test:.1%} of the test posts"
            )
    if n := _torn(sides[sides["content"] != ""], "content"):
        found.append(f"pictures that stand in several splits, byte by byte: {n:,}")
    if what == "captions" and not sides["split"].isin(["train", "dev"]).any():
        found.append("captions without a split: stage 1 needs one, add the layout's split files (see rumorlib/data)")
    return tuple(found)


def _notes(table: pd.DataFrame, splits: pd.DataFrame, what: str) -> tuple[str, ...]:
    """What the published corpora are known to have, too, and what no post is lost by."""
    total, good = splits.iloc[-1], table[table["usable"] & (table["text"].str.strip() != "")]
    found = [f"{what} {words}: {total[name]:,}" for name, words in _NOTED.items() if total[name]]
    if what == "posts" and (n := int((good.groupby("text")["label"].nunique() > 1).sum())):
        found.append(f"texts that stand under both labels: {n:,}")
    return (*found, *(doubtful_names(table) if what == "posts" else ()))


def _torn(posts: pd.DataFrame, column: str) -> int:
    return int((posts.groupby(column)["split"].nunique() > 1).sum())


def _verdict(table: pd.DataFrame, kept: Corpus | CaptionCorpus, problems: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """What the folder is good for, and the exit code; refused is what the loader refuses."""
    good, what = table[table["usable"]], "posts" if isinstance(kept, Corpus) else "captions"
    train = good[good["split"].isin(["train", ""])]
    if train.empty:
        return (f"no {what} are left for training; see the list of those left out",), 2
    if isinstance(kept, Corpus):
        try:
            check_splits(Corpus(kept.name, good, None, ""), "of the posts left")
        except PostsError as error:
            return (str(error),), 2
    counts = good["split"].value_counts()
    sides = sorted(counts.index, key=lambda side: (_FIRST.index(side) if side in _FIRST else len(_FIRST), side))
    listed = ", ".join(f"{counts[side]:,} {side or 'without a split'}" for side in sides)
    lines = [f"{len(good):,} {what}: {listed}"]
    if what == "posts" and (good["split"] == "").all():
        usual = protocols.usual(kept).name
        lines.append(f"no split of its own; runs make one by protocol {usual}, or by another they name")
    return tuple(lines), 1 if problems else 0
