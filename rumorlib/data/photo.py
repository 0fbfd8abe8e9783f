"""Photo tier: out-of-context posts from any caption corpus, balanced so that one modality says nothing.

Images of a split are paired, and the two captions of a pair are swapped: each image and each caption then stands in
exactly one matched and one mismatched post of its distance. Whatever function of the text alone, or of the image
alone, is used as a score, its distributions over both labels are equal: accuracy and AUC are .500 by construction.
Only image names and caption positions are kept in the repository, never a text.

Pairs are drawn once and stored; a corpus is a language and a version of them. Version 1 (`photo-en`, `photo-zh`) kept
two swapped captions from reading the same, but not a swapped caption from reading like another one of its new picture:
such a post is called a rumor and is none (column `own_caption`). Version 2 (`photo2-en`, `photo2-zh`) has no such pair.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from rumorlib import config
from rumorlib.data import keys, posts
from rumorlib.data.posts import CaptionCorpus, Corpus, PostsError
from rumorlib.data.readers.tables import read_csv

DISTANCES = ("random", "50th", "nearest")  # distance k uses caption k of every image
SPLITS = ("train", "dev", "test")
RANK = 50  # of distance "50th": 1 is the nearest text
BLOCK = 1000  # rows of similarities held at once
COLUMNS = ["split", "distance", "pair", "image", "partner", "caption", "rank", "similarity"]
PAIRS = {1: "photo_pairs.csv.gz", 2: "photo_pairs_2.csv.gz"}  # by version, below results/<profile>/splits
LABEL_MEANS = config.CORPORA["photo-en"].label_means

_log = logging.getLogger(__name__)


def name(language: str, version: int) -> str:
    """The corpus's name: photo-en, photo2-en."""
    return f"photo{version if version > 1 else ''}-{language}"


def load(language: str, profile: str, read: Callable[[str], CaptionCorpus], version: int) -> Corpus:
    """The posts of a language and version; the same pairs of images in every language.

    Pairs are read from results/<profile>/splits. `pair_recipe` makes pairs of other captions, for `write_pairs`.

    Args: read: the captions of a language.
    Raises: PostsError: no captions, no pair file, or pairs of another corpus.
    """
    # pairs made by another recipe would be another corpus under the same name
    if not (path := pairs_path(profile, version)).is_file():
        raise PostsError(f"{path} does not exist; it decides which posts there are: restore it (git checkout)")
    return build(read(language), read_pairs(path), language, version)


def build(corpus: CaptionCorpus, pairs: pd.DataFrame, language: str, version: int = 2) -> Corpus:
    """Four posts per pair: two matched (label 0), two with swapped captions (label 1).

    Columns besides COLUMNS of the posts table: distance, pair, caption_image (whose caption the text is), own_caption
    (whether it reads like any of the picture's own captions). image_group = the image. text_group is empty: captions
    tie every image to three others, so groups by text would be whole splits; what matters, that no image and no caption
    crosses splits, holds because images do not.
    A pair is dropped whole, and reported, when a picture or a caption is missing, both captions read the same or, from
    version 2 on, one of them reads like a caption of the other picture.

    Raises: PostsError: no pair of `pairs` fits the captions.
    """
    text_of, code_of = _positions(corpus.captions), _codes(corpus.captions)
    own = {(image, code) for (image, _), code in code_of.items()}
    splits = corpus.captions.drop_duplicates("image").set_index("image")["split"].to_dict()
    rows, dropped = [], []
    for row, pair in enumerate(pairs.itertuples(index=False), 1):
        captions = [text_of.get((image, pair.caption)) for image in (pair.image, pair.partner)]
        reason = _unfit(pair, captions, splits)
        made = [] if reason else _posts_of(pair, captions)
        for post in made:
            post["own_caption"] = (post["image"], code_of[post["caption_image"], pair.caption]) in own
            if version > 1 and post["own_caption"] and post["label"] == 1:
                reason = f"{post['image']} has a caption of the same words as {post['caption_image']}'s {pair.caption}"
        if reason:
            dropped.append((f"{pair.split}-{pair.distance}-{pair.pair:05d}", "photo_pairs", row, reason))
        else:
            rows += made
    if not rows:
        raise PostsError(f"none of {len(pairs)} photo pairs fits {corpus.name}; restore the pair file (git checkout)")
    table = pd.DataFrame(rows).assign(language=language, event="", created_at="")
    if dropped:
        _log.warning("%s, version %d: %d of %d pairs dropped", corpus.name, version, len(dropped), len(pairs))
    return Corpus(
        name(language, version),
        posts.check(table, f"photo pairs of {corpus.name}"),
        corpus.images,
        LABEL_MEANS,
        pd.DataFrame(dropped, columns=list(posts.DROPPED_COLUMNS)),
    )


def _unfit(pair, captions: list[str | None], splits: dict[str, str]) -> str:
    """Why a pair cannot be used; "" when it can."""
    if {splits.get(pair.image), splits.get(pair.partner)} != {pair.split}:
        return f"{pair.image} or {pair.partner} is not in split {pair.split}"
    if None in captions:
        return f"{pair.image} or {pair.partner} has no caption {pair.caption}"
    if keys.normalise_text(captions[0]) == keys.normalise_text(captions[1]):
        return f"{pair.image} and {pair.partner} have the same caption {pair.caption}"
    return ""


def _posts_of(pair, captions: list[str]) -> list[dict[str, object]]:
    images = (pair.image, pair.partner)
    pair_name = f"{pair.split}-{pair.distance}-{pair.pair:05d}"
    return [
        {
            "post_id": f"{pair_name}-{i}{j}",
            "text": captions[j],
            "label": int(i != j),
            "split": pair.split,
            "image": images[i],
            "image_group": images[i],
            "text_group": "",
            "distance": pair.distance,
            "pair": pair_name,
            "caption_image": images[j],
        }
        for i, j in ((0, 0), (1, 1), (0, 1), (1, 0))
    ]


def _positions(captions: pd.DataFrame) -> dict[tuple[str, int], str]:
    """(image, position) -> text; position 0 is the image's first caption, whatever its id is."""
    ordered = captions.sort_values(["image", "caption_id"], kind="stable")
    position = ordered.groupby("image").cumcount()
    return dict(zip(zip(ordered["image"], position, strict=True), ordered["text"], strict=True))


def _codes(captions: pd.DataFrame) -> dict[tuple[str, int], int]:
    """(image, position) -> number, equal for captions of the same words."""
    return _positions(captions.assign(text=keys.word_codes(captions["text"].tolist())))


def trained_on(table: pd.DataFrame, pictures: set[str], known: bool) -> pd.DataFrame:
    """The posts without those train posts whose pair has a picture outside `pictures` (not known: one of `pictures`).

    Whole pairs stay or go, so every caption and picture is still matched as often as not.
    """
    outside = table["image"].isin(pictures) != known
    gone = outside.groupby(table["pair"]).transform("any") & (table["split"] == "train")
    return table[~gone].reset_index(drop=True)


# --- the recipe -----------------------------------------------------------------------------


def pair_recipe(
    captions: pd.DataFrame, vectors: np.ndarray, also: Sequence[pd.DataFrame] = (), seed: int = 0
) -> pd.DataFrame:
    """Pair the images of every split at every distance, as version 2 has it.

    Images with fewer than three captions are left out, so is one image of a split with an odd number. A caption is
    never swapped to an image that has one of the same words (`keys.word_codes`; here, or in a table of `also`, the
    other language), whichever of its captions it is: the post would be called a rumor and be none.

    Args:
        captions: table of a CaptionCorpus (image, caption_id, text, split).
        vectors: (n, d) one row per row of `captions`, any length; similarity is the cosine.
        also: captions of the same images in other languages.
        seed: orders the images for "random" and "50th".
    Returns: one row per pair, COLUMNS: caption = position of the captions swapped, rank = place of the partner among
        the image's text neighbours of its split (1 = nearest), similarity in [-1, 1].
    Raises: ValueError: `vectors` has another number of rows.
    """
    if vectors.ndim != 2 or len(vectors) != len(captions):
        raise ValueError(f"expected ({len(captions)}, d) vectors, one per caption, got {vectors.shape}")
    row_of = _positions(captions.assign(text=np.arange(len(captions))))
    codes = [_codes(table) for table in (captions, *also)]
    split_of = captions.drop_duplicates("image").set_index("image")["split"]
    unit = vectors.astype(np.float32)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    found = []
    for split in SPLITS:
        images = [i for i in sorted(split_of.index[split_of == split]) if (i, len(DISTANCES) - 1) in row_of]
        images.sort(key=lambda image: hashlib.sha256(f"{seed} {image}".encode()).hexdigest())
        for position, distance in enumerate(DISTANCES):
            own = unit[[row_of[image, position] for image in images]]
            alike = _alike(images, codes, position)
            if distance == "nearest":
                matched = _nearest_pairs(own, alike)
            else:
                matched = _ordered_pairs(own, alike, RANK if distance == "50th" else None)
            pairs = sorted(sorted((images[a], images[b])) for a, b in matched)
            index = {image: row for row, image in enumerate(images)}
            for number, (image, partner) in enumerate(pairs):
                rank, similarity = _rank(own, index[image], index[partner])
                found.append((split, distance, number, image, partner, position, rank, round(similarity, 4)))
    return pd.DataFrame(found, columns=COLUMNS)


def _alike(images: list[str], codes: Sequence[dict[tuple[str, int], int]], position: int) -> sparse.csr_array:
    """(n, n) bool: whether the caption at `position` of one image reads like any caption of the other, in any language.

    Args: codes: `_codes` per language. An image is alike itself.
    """
    row_of = {image: row for row, image in enumerate(images)}
    found = sparse.eye_array(len(images), dtype=np.int32, format="csr")
    for code_of in codes:
        held = [(row_of[image], at, code) for (image, at), code in code_of.items() if image in row_of]
        held = np.array(held, int).reshape(-1, 3)
        shape = (len(images), held[:, 2].max(initial=0) + 1)
        every, swapped = (
            sparse.csr_array((np.ones(len(part), np.int32), (part[:, 0], part[:, 2])), shape=shape)
            for part in (held, held[held[:, 1] == position])
        )
        reads = swapped @ every.T
        found = found + reads + reads.T
    return found.astype(bool)


def _nearest_pairs(unit: np.ndarray, alike: sparse.csr_array) -> list[tuple[int, int]]:
    """Greedy matching, most similar pair first: rounds that pair all mutually nearest images of those still free."""
    free = np.arange(len(unit))
    pairs: list[tuple[int, int]] = []
    while len(free) > 1:
        best, value = np.zeros(len(free), int), np.zeros(len(free), np.float32)
        for start in range(0, len(free), BLOCK):
            rows = free[start : start + BLOCK]
            similarity = unit[rows] @ unit[free].T
            similarity[alike[rows][:, free].toarray()] = -np.inf  # itself too
            best[start : start + BLOCK] = similarity.argmax(1)
            value[start : start + BLOCK] = similarity.max(1)
        own = np.arange(len(free))
        mutual = own[(best[best] == own) & (own < best) & np.isfinite(value)]
        if not len(mutual):  # rounding made the similarities of equals disagree, or only texts that are alike are left
            if not np.isfinite(value).any():
                break
            mutual = np.array([value.argmax()])
        pairs += [(int(free[a]), int(free[best[a]])) for a in mutual]
        free = np.delete(free, np.concatenate([mutual, best[mutual]]))
    return pairs


def _ordered_pairs(unit: np.ndarray, alike: sparse.csr_array, rank: int | None) -> list[tuple[int, int]]:
    """In the order given, each free image takes the free image nearest to `rank` (None: the next one)."""
    free = np.ones(len(unit), bool)
    pairs = []
    for row in range(len(unit)):
        if not free[row]:
            continue
        free[row] = False
        allowed = free & ~alike[[row]].toarray()[0]
        if not allowed.any():
            continue
        if rank is None:
            partner = int(allowed.argmax())
        else:
            distance = np.abs(_ranks(unit, row) - rank)
            partner = int(np.where(allowed, distance, len(unit) + rank).argmin())
        free[partner] = False
        pairs.append((row, partner))
    return pairs


def _ranks(unit: np.ndarray, row: int) -> np.ndarray:
    """Place of every other text among the neighbours of `row`: 1 = most similar; 0 = itself."""
    similarity = unit @ unit[row]
    similarity[row] = np.inf
    ranks = np.empty(len(unit), int)
    ranks[np.argsort(-similarity, kind="stable")] = np.arange(len(unit))
    return ranks


def _rank(unit: np.ndarray, row: int, partner: int) -> tuple[int, float]:
    similarity = unit @ unit[row]
    similarity[row] = -np.inf
    return int((similarity > similarity[partner]).sum()) + 1, float(similarity[partner])


def pairs_path(profile: str, version: int) -> Path:
    """The committed pairs of a version, or those of the output folder."""
    return config.stored(Path("results", profile, "splits", PAIRS[version]))


def write_pairs(pairs: pd.DataFrame, path: Path) -> None:
    """Write pairs; equal pairs give equal bytes (no time in the gzip header)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    compression = {"method": "gzip", "compresslevel": 9, "mtime": 0}
    pairs[COLUMNS].to_csv(path, index=False, lineterminator="\n", compression=compression)


def read_pairs(path: Path) -> pd.DataFrame:
    """Pairs as `pair_recipe` returns them. Raises: PostsError: other columns, or a cell that is no number."""
    pairs = read_csv(path)
    if list(pairs.columns) != COLUMNS:
        raise PostsError(f"{path}: expected columns {', '.join(COLUMNS)}; write it with photo.write_pairs")
    try:
        return pairs.astype({"pair": int, "caption": int, "rank": int, "similarity": float})
    except ValueError as error:
        raise PostsError(f"{path}: {error}; write it with photo.write_pairs") from None
