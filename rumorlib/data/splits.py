"""Dev splits and cross-fit folds that keep near-duplicates together (spec §15), and the audit of any split.

Test is never moved. A group is what must not cross: `keys.group_key` (same picture or same text, in steps), events
where the protocol says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from rumorlib.data.keys import components, group_key, image_weights
from rumorlib.data.posts import PostsError

# PHEME: the five large events are test folds in turn; dev is the next one, the four small events only train.
PHEME_DEV = {
    "charliehebdo": "ferguson",
    "ferguson": "germanwings-crash",
    "germanwings-crash": "ottawashooting",
    "ottawashooting": "sydneysiege",
    "sydneysiege": "charliehebdo",
}
TWITTER_DEV_FOLD = 0  # the single dev, where one is asked for: fold 0 of twitter_folds with its defaults


def add_dev(name: str, posts: pd.DataFrame, seed: int = 0, test_event: str = "charliehebdo") -> pd.DataFrame:
    """The dev split the protocol gives to corpus `name`; a table that has dev rows is returned as it is.

    A corpus without any split (a manifest) first gets a test split of 20 % of its groups.

    Args: test_event: fold of PHEME. Returns: a copy of `posts` with `split` changed in training rows only (PHEME: all).
    """
    if (posts["split"] == "dev").any():
        return posts
    if name.startswith("pheme"):
        return pheme_fold(posts, test_event)
    if name == "twitter":
        return twitter_dev(posts)
    if (posts["split"] == "").all():
        posts = grouped_dev(posts.assign(split="train"), 0.2, seed, "test")
    return grouped_dev(posts, 0.1, seed)


def grouped_dev(posts: pd.DataFrame, share: float = 0.1, seed: int = 0, name: str = "dev") -> pd.DataFrame:
    """Move whole groups, about `share` of each class, from train to split `name` (Weibo: 10 %, spec §15).

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


def pheme_fold(posts: pd.DataFrame, event: str) -> pd.DataFrame:
    """PHEME fold: test = `event`, dev = PHEME_DEV[event], train = all other events; then `separate`d by group.

    Raises: PostsError: `event` is not one of the five large events, or the corpus lacks it or its dev event.
    """
    if event not in PHEME_DEV:
        raise PostsError(f"{event!r} is no PHEME test fold; the folds are {', '.join(PHEME_DEV)}")
    if absent := {event, PHEME_DEV[event]} - set(posts["event"]):
        raise PostsError(f"no posts of event {', '.join(sorted(absent))}; give the PHEME corpus with all its events")
    return event_fold(posts, event, PHEME_DEV[event])


def event_fold(posts: pd.DataFrame, test: str, dev: str) -> pd.DataFrame:
    """Leave-one-event-out: event `test` is test, event `dev` is dev, all others train; then `separate`d by group."""
    named = {test: "test", dev: "dev"}
    return separate(posts.assign(split=[named.get(name, "train") for name in posts["event"]]))


def twitter_folds(
    posts: pd.DataFrame, n_folds: int = 5, cut_events: Sequence[str] = ("sandy",), seed: int = 0
) -> pd.Series:
    """Cross-fit fold of every training post (spec §15): whole events, except that Sandy is cut by group.

    10 of 15 training events have one class and Sandy has 74 % of the posts, so Sandy's groups (pictures linked by
    shared pictures or texts) even out the classes. What is balanced is the number of images per class, the weight the
    posts are fitted with; no image, text or uncut event stands in two folds.

    Returns: int64, 0..n_folds-1 for training posts and -1 for others. Raises: PostsError: a fold has one class.
    """
    train = posts["split"] == "train"
    own = posts[train]
    events = own["event"].where(~own["event"].isin(cut_events), "")
    unit = pd.Series(components([group_key(own), events], len(own)), index=own.index)
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
    """The single dev of the selection table: fold `fold` of `twitter_folds` with its defaults becomes dev.

    It shares no image and no text with train; Sandy stands on both sides, with different pictures.
    """
    folds = twitter_folds(posts)
    return _with_split(posts, posts.index[folds == fold], "dev")


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
    return pd.DataFrame(rows, columns=["kind", "groups", "crossing", "posts", "share_of_test"])


def near_duplicates(texts: Sequence[str], min_similarity: float = 0.3, n_chars: int = 5) -> list[str]:
    """Names of near-duplicate text clusters: texts linked, in steps, by Jaccard >= min_similarity of character n-grams.

    Exact, not sampled (9,527 Weibo posts: 2 s). At 0.3 on 5-grams no cluster crosses Weibo's official split.
    A text shorter than n_chars is grouped with equal texts; an empty text is its own group, named "".
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    codes, distinct = pd.factorize(pd.Series(list(texts), dtype=object))
    hashing = HashingVectorizer(
        analyzer="char", ngram_range=(n_chars, n_chars), lowercase=False, binary=True, norm=None,
        alternate_sign=False, n_features=2**22, dtype=np.float32,
    )  # fmt: skip
    grams = hashing.transform(distinct)
    size = np.asarray(grams.sum(axis=1)).ravel()
    left, right = [np.zeros(0, int)], [np.zeros(0, int)]
    for start in range(0, len(distinct), 500):
        shared = (grams[start : start + 500] @ grams.T).tocoo()
        rows = shared.row + start
        alike = shared.data >= min_similarity * (size[rows] + size[shared.col] - shared.data)
        left.append(rows[alike])
        right.append(shared.col[alike])
    edges = (np.concatenate(left), np.concatenate(right))
    graph = coo_matrix((np.ones(len(edges[0]), np.int8), edges), shape=(len(distinct), len(distinct)))
    cluster = connected_components(graph, directed=False)[1]
    return [f"text-{cluster[code]}" if text else "" for code, text in zip(codes, texts, strict=True)]


def _with_split(posts: pd.DataFrame, rows: pd.Index, name: str) -> pd.DataFrame:
    changed = posts.copy()
    changed.loc[rows, "split"] = name
    return changed


def shuffled(seed: int, key: str) -> str:
    """Sort key: an order that depends on the seed and on nothing else, in any version of any library."""
    return hashlib.sha256(f"{seed} {key}".encode()).hexdigest()
