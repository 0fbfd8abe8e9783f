"""Dev splits and cross-fit folds that keep near-duplicates together, and the audit of any split.

Test is never moved. A group is what must not cross: `keys.group_key` (same picture or same text, in steps), events
where the protocol says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from rumorlib.data.keys import components, group_key, image_weights, normalise_text, smallest_ids
from rumorlib.data.posts import PostsError

# PHEME: the five large events are test folds in turn; dev is the next one, the four small events only train.
PHEME_DEV = {
    "charliehebdo": "ferguson",
    "ferguson": "germanwings-crash",
    "germanwings-crash": "ottawashooting",
    "ottawashooting": "sydneysiege",
    "sydneysiege": "charliehebdo",
}
SHARES = {"train": 0.7, "dev": 0.1, "test": 0.2}  # choice: the shares MFAN uses, for every split made here
CROSSINGS = ("kind", "groups", "crossing", "posts", "share_of_test")  # columns of `crossings`
TWITTER_DEV_FOLD = 0  # the single dev, where one is asked for: fold 0 of twitter_folds with its defaults


def grouped_dev(posts: pd.DataFrame, share: float = 0.1, seed: int = 0, name: str = "dev") -> pd.DataFrame:
    """Move whole groups, about `share` of each class, from train to split `name` (Weibo: 10 %).

    Groups come in an order drawn from `seed`; one that would overfill a class is passed over, so the largest groups
    stay in train.

    Returns: a copy of `posts`. Raises: PostsError: the groups are too few or too large for a split with both classes.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie in (0, 1), got {share}")
    train = posts["split"] == "train"
    keys = group_key(posts)[train]
    counts = pd.crosstab(keys, posts.loc[train, "label"]).reindex(columns=[0, 1], fill_value=0)
    room = np.ceil(share * counts.sum().to_numpy())
    chosen = []
    for key in sorted(counts.index, key=lambda key: shuffled(seed, key)):
        size = counts.loc[key].to_numpy()
        if (size <= room).all():
            room = room - size
            chosen.append(key)
    dev = keys.index[keys.isin(chosen)]
    if posts.loc[dev, "label"].nunique() < 2:
        raise PostsError(
            f"no {name} split with both classes: {len(counts)} training groups at share {share}; raise the share"
        )
    return _with_split(posts, dev, name)


def event_fold(posts: pd.DataFrame, test: str, dev: str = "") -> pd.DataFrame:
    """Leave-one-event-out: event `test` is test, event `dev` is dev, all others train; then `separate`d by group.

    Without a dev event, dev is an eighth of the posts of the other events, in whole groups. Posts that a published
    split leaves out serve here too (choice C41).
    """
    named = {test: "test", dev: "dev"} if dev else {test: "test"}
    apart = separate(posts.assign(split=[named.get(name, "train") for name in posts["event"]]))
    return apart if dev else grouped_dev(apart, share=1 / 8)


def twitter_folds(
    posts: pd.DataFrame, n_folds: int = 5, cut_events: Sequence[str] = ("sandy",), seed: int = 0
) -> pd.Series:
    """Cross-fit fold of every training post: whole events, except that Sandy is cut by group.

    10 of 15 training events have one class and Sandy has 74 % of the posts, so Sandy's pictures (those that share a
    text word for word stay together) even out the classes. What is balanced is the number of images per class, the
    weight the posts are fitted with; no image or uncut event stands in two folds. Texts that are alike but not equal
    may: they would tie all of Sandy together. `twitter_dev` takes them out of dev.

    Returns: int64, 0..n_folds-1 for training posts and -1 for others. Raises: PostsError: a fold has one class.
    """
    train = posts["split"] == "train"
    own = posts[train]
    events = own["event"].where(~own["event"].isin(cut_events), "")
    texts = own["text"].map(normalise_text)
    unit = pd.Series(components([own["image_group"], texts, events], len(own)), index=own.index)
    load = pd.DataFrame({"unit": unit, "label": own["label"], "weight": image_weights(own)})
    table = load.pivot_table(index="unit", columns="label", values="weight", aggfunc="sum", fill_value=0.0)
    table = table.reindex(columns=[0, 1], fill_value=0.0)
    names = own["post_id"].groupby(unit).min()
    order = sorted(table.index, key=lambda u: (-round(table.loc[u].sum(), 6), shuffled(seed, names[u])))
    filled = np.zeros((n_folds, 2))
    total = np.maximum(table.sum().to_numpy(), 1e-9)
    fold_of: dict[int, int] = {}
    for u in order:
        size = table.loc[u].to_numpy() / total
        fold_of[u] = int(np.argmin(((filled + size) ** 2).sum(1) - (filled**2).sum(1)))
        filled[fold_of[u]] += size
    if (filled <= 0).any():
        raise PostsError(f"{n_folds} folds cannot all have both classes; use fewer folds or cut another event")
    folds = pd.Series(-1, index=posts.index, name="fold", dtype=np.int64)
    folds[train] = unit.map(fold_of)
    return folds


def twitter_dev(posts: pd.DataFrame, fold: int = TWITTER_DEV_FOLD) -> pd.DataFrame:
    """Fold `fold` of `twitter_folds` as dev; the default is the single dev of the selection table.

    It shares no image and no near-duplicate text with train: posts of the fold whose `text_group` train holds too are
    "unassigned". Sandy stands on both sides, with different pictures.

    Raises: PostsError: no such fold, or the folds cannot be made.
    """
    folds = twitter_folds(posts)
    if not 0 <= fold <= folds.max():
        raise PostsError(f"no cross-fit fold {fold}; there are 0..{folds.max()}")
    own = folds == fold
    in_train = posts["text_group"].isin(set(posts.loc[(folds >= 0) & ~own, "text_group"]) - {""})
    return _with_split(_with_split(posts, posts.index[own], "dev"), posts.index[own & in_train], "unassigned")


def stratified_fold(posts: pd.DataFrame, fold: int, n_folds: int = 5) -> pd.DataFrame:
    """Fold `fold` of a cross-validation over the published train and dev posts as dev, the other folds as train.

    Stratified by label, otherwise at random over posts, as split files of this field are made: near-duplicates cross.
    Published test posts are on no side ("unassigned"), so no run on a fold reads them.

    Raises: PostsError: no such fold.
    """
    if not 0 <= fold < n_folds:
        raise PostsError(f"no fold {fold}; there are 0..{n_folds - 1}")
    own = posts[posts["split"].isin(["train", "dev"])]
    order = own.assign(key=own["post_id"].map(lambda name: shuffled(0, name))).sort_values(["label", "key"]).index
    side = pd.Series("unassigned", index=posts.index)
    side[order] = np.where(np.arange(len(order)) % n_folds == fold, "dev", "train")
    return posts.assign(split=side)


def resplit(posts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The published train, dev and test posts dealt anew to sides of the same sizes, at random over posts.

    So MFAN's splits were made; a score over many seeds says what the draw of the published one is worth.
    """
    own = posts.index[posts["split"].isin(["train", "dev", "test"])]
    order = sorted(own, key=lambda row: shuffled(seed, posts.at[row, "post_id"]))
    side = posts["split"].copy()
    side[order] = np.repeat(
        ["train", "dev", "test"], [(posts["split"] == name).sum() for name in ("train", "dev", "test")]
    )
    return posts.assign(split=side)


def without_twins(posts: pd.DataFrame) -> pd.DataFrame:
    """The published split without the test posts whose picture or text train has too, nearly; they are "unassigned".

    Nothing is trained for it: predictions of the published split are read on the test posts that are left.
    """
    train, twin = posts["split"] == "train", pd.Series(False, index=posts.index)
    for kind in ("image_group", "text_group"):
        twin |= posts[kind].isin(set(posts.loc[train, kind]) - {""})
    return _with_split(posts, posts.index[twin & (posts["split"] == "test")], "unassigned")


def dealt(posts: pd.DataFrame, units: np.ndarray, seed: int) -> pd.DataFrame:
    """Whole units dealt to the sides so that each has its share of each class.

    The largest unit first, to the side filled least of those that have room for it; where none has, to the side with
    most room left. Equal sizes come in an order drawn from `seed`. A side that all were too large for gets the smallest
    with both classes from a side that keeps others.
    """
    unit = pd.Series(units, index=posts.index)
    table = pd.crosstab(unit, posts["label"]).reindex(columns=[0, 1], fill_value=0)
    names = smallest_ids(posts, unit)
    sizes = {u: (int(n), int(r)) for u, n, r in table.itertuples()}
    order = sorted(sizes, key=lambda u: (-sum(sizes[u]), shuffled(seed, names[u])))
    totals = [max(int(total), 1) for total in table.sum()]
    room = {side: [share * total for total in totals] for side, share in SHARES.items()}
    left, side_of = {side: list(places) for side, places in room.items()}, {}
    for u in order:
        (a, b), sides = sizes[u], {}
        for side, (x, y) in left.items():
            if a <= x + 1e-9 and b <= y + 1e-9:
                sides[side] = a * x / room[side][0] + b * y / room[side][1]
        sides = sides or {side: a * x + b * y for side, (x, y) in left.items()}
        chosen = max(sides, key=lambda side: sides[side])
        left[chosen] = [left[chosen][0] - a, left[chosen][1] - b]
        side_of[u] = chosen
    for side in (side for side in SHARES if side not in side_of.values()):
        dealt = list(side_of.values())
        spare = [u for u in order if min(sizes[u]) and dealt.count(side_of[u]) > 1]
        side_of |= dict.fromkeys(spare[-1:], side)
    return posts.assign(split=unit.map(side_of))


def separate(posts: pd.DataFrame) -> pd.DataFrame:
    """Take out of train what dev or test also holds, and out of dev what test holds; test stays whole.

    Such posts (same `group_key`) become split "unassigned", so that `crossings` is zero for image and text groups.
    """
    keys = group_key(posts)
    in_test = keys.isin(set(keys[posts["split"].str.startswith("test")]))
    dev = posts["split"] == "dev"
    in_dev = keys.isin(set(keys[dev & ~in_test]))
    leaves = (dev & in_test) | ((posts["split"] == "train") & (in_test | in_dev))
    return _with_split(posts, posts.index[leaves], "unassigned")


def crossings(posts: pd.DataFrame) -> pd.DataFrame:
    """Groups that stand in more than one of train, dev and test...; "unassigned" and "" posts are left aside.

    Returns: one row per kind (image_group, text_group, event): groups, crossing (how many stand in several splits),
    posts (in those), share_of_test (of the test posts, those whose group train or dev also holds; 0 without test).
    """
    used = posts[~posts["split"].isin(["unassigned", ""])]
    test = used["split"].str.startswith("test")
    rows = []
    for kind in ("image_group", "text_group", "event"):
        named = used[used[kind] != ""]
        n_splits = named.groupby(kind)["split"].nunique()
        crossing = n_splits.index[n_splits > 1]
        seen = set(used.loc[~test, kind]) - {""}
        leaked = used.loc[test, kind].isin(seen).sum()
        n_posts = int(named[kind].isin(crossing).sum())
        rows.append((kind, len(n_splits), len(crossing), n_posts, leaked / max(test.sum(), 1)))
    return pd.DataFrame(rows, columns=list(CROSSINGS))


def _with_split(posts: pd.DataFrame, rows: pd.Index, name: str) -> pd.DataFrame:
    changed = posts.copy()
    changed.loc[rows, "split"] = name
    return changed


def shuffled(seed: int, key: str) -> str:
    """Sort key: an order that depends on the seed and on nothing else, in any version of any library."""
    return hashlib.sha256(f"{seed} {key}".encode()).hexdigest()
