"""The splits a corpus can be given, by name: who trains, who is dev, who is test, and what may cross.

In official, grouped and event no near-duplicate group crosses, or the crossings of the published split are counted;
in random and chronological they cross freely and are counted. Every split depends on the posts and the seed only, not
on their order.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rumorlib import config
from rumorlib.data import keys
from rumorlib.data.dates import offset_hours, parse_dates
from rumorlib.data.keys import components
from rumorlib.data.posts import Corpus, PostsError
from rumorlib.data.splitting import split_files, splits
from rumorlib.data.splitting.split_files import split_counts
from rumorlib.data.splitting.splits import SHARES

PROTOCOLS = ("official", "file", "grouped", "event", "random", "chronological", "cross-fit", "folds", "published",
             "published-apart", "resplit")  # fmt: skip
_WITH_FOLD = ("cross-fit", "folds")
MADE_OF_PUBLISHED = ("published", "published-apart", "resplit")  # all three sides, as published or drawn again
# Below these a side's class is too rare, or is too few pictures, to compare models on: counts, no model.
MIN_CLASS_SHARE, MIN_IMAGES = 0.05, 10.0  # images: effective number, as in split_counts


class DegenerateSplit(PostsError):
    """A side is (nearly) without one class, or has it from a few pictures only; the message holds the counts."""


@dataclass(frozen=True)
class Protocol:
    """How a corpus is split.

    name: one of PROTOCOLS. seed: of grouped, event, random and resplit. event: the test event of a leave-one-event-out
    fold; "" with protocol event: whole events, dealt out to all three sides. fold: which fold is dev, 0..4, of
    cross-fit and folds. file: of protocol file: columns post_id, split.
    """

    name: str
    seed: int = 0
    event: str = ""
    fold: int = 0
    file: Path | None = None

    def __post_init__(self) -> None:
        if self.name not in PROTOCOLS:
            raise ValueError(f"no protocol called {self.name!r}; there are {', '.join(PROTOCOLS)}")
        if (self.name == "file") != (self.file is not None):
            raise ValueError("protocol file, and no other, takes a split file: file=<path>")
        if self.event and self.name != "event":
            raise ValueError(f"protocol {self.name} takes no test event; use Protocol('event', event=...)")
        if self.fold and self.name not in _WITH_FOLD:
            raise ValueError(f"protocol {self.name} takes no fold; use Protocol('cross-fit', fold=...)")

    @property
    def label(self) -> str:
        """Part of a file name: the protocol and what it was told, safe on any disk."""
        if self.event:
            plain = re.sub(r"[^A-Za-z0-9_-]+", "_", self.event)
            if plain != self.event:  # two events must not share a file
                plain += "-" + hashlib.sha256(self.event.encode()).hexdigest()[:8]
            return f"event-{plain}"
        if self.file is not None:  # two split files must not share one, nor two versions of one
            return f"file-{hashlib.sha256(Path(self.file).read_bytes()).hexdigest()[:8]}"
        if self.name in _WITH_FOLD:
            return f"{self.name}-{self.fold}"
        return f"{self.name}-seed{self.seed}" if self.seed else self.name


def parse(words: str) -> Protocol:
    """A protocol in a word: "random", "random:1" (seed), "event:ferguson" (test event), "cross-fit:3", "file:a.csv".

    Raises: ValueError: no such protocol, or what follows the colon is not what it takes.
    """
    name, _, detail = words.partition(":")
    if not detail:
        return Protocol(name)
    if name in ("event", "file"):
        return Protocol(name, event=detail) if name == "event" else Protocol(name, file=Path(detail))
    if not detail.isdigit():
        raise ValueError(f"protocol {words!r}: write a whole number after the colon")
    return Protocol(name, fold=int(detail)) if name in _WITH_FOLD else Protocol(name, seed=int(detail))


def usual(corpus: Corpus) -> Protocol:
    """The protocol a corpus is scored by unless another is asked for: what its record says, else its published test
    posts, else one large event held out (PHEME), else whole groups."""
    known, sides = config.about(corpus.name), set(corpus.posts["split"])
    told = parse(known.protocol) if known.protocol else None
    possible = told and (told.name not in MADE_OF_PUBLISHED or {"train", "dev", "test"} <= sides)
    if possible and (known.own or not told.event):
        return told
    if "train" in sides and any(side.startswith("test") for side in sides):
        return Protocol("official")
    if set(splits.PHEME_DEV) <= set(corpus.posts["event"]):
        return Protocol("event", event=next(iter(splits.PHEME_DEV)))
    return Protocol("grouped")


def split(corpus: Corpus, protocol: Protocol) -> pd.DataFrame:
    """The posts of `corpus` with the splits of `protocol`; use `stored_split` where the split must stay the same.

    Returns: a copy of corpus.posts; posts that can be on no side are "unassigned".
    Raises: PostsError: the corpus lacks what the protocol needs (a published split, events, dates, both classes).
        DegenerateSplit: chronological, and a side has less than MIN_CLASS_SHARE of one class, or has it from less than
        MIN_IMAGES effective pictures.
    """
    posts, name = corpus.posts, protocol.name
    if name == "official":
        return _official(corpus, protocol.seed)
    if name == "file":
        return split_files.read_split(posts, Path(str(protocol.file)), corpus.name)
    if name == "cross-fit":
        return splits.twitter_dev(posts, protocol.fold)
    if name == "folds":
        return splits.stratified_fold(_published(corpus), protocol.fold)
    if name in MADE_OF_PUBLISHED:
        return _of_published(corpus, protocol)
    if name == "grouped":
        units = components([posts["image_group"], posts["text_group"], posts["event"]], len(posts))
        return _both_classes(splits.dealt(posts, units, protocol.seed), corpus.name)
    if name == "event":
        return _both_classes(_by_event(posts, protocol), corpus.name)
    if name == "random":
        return _both_classes(_random(posts, protocol.seed), corpus.name)
    result = chronological(posts)
    if trouble := _degenerate(result):
        raise DegenerateSplit(
            f"{corpus.name}, {name}: {trouble}; report the counts, train no model on it\n{_shown(split_counts(result))}"
        )
    return result


def stored_split(corpus: Corpus, protocol: Protocol, profile: str, mark: str = "") -> pd.DataFrame:
    """`split`, from results/<profile>/splits/<corpus>-<protocol>.csv[.gz] where that exists, else written there.

    Files of real corpora name posts by `keys.row_key` only. The counts and crossings are printed.

    A stored split stays as it is: finished runs rest on it. If other posts are near-duplicates today than when it was
    made, what crosses now is printed beside what crossed then.

    Args: mark: part of the file's name that tells forms of one corpus apart (another corpus seed, kept posts).
    Raises: PostsError: as `split`; or the file's posts are not the posts of `corpus`.
    """
    real = config.is_real(profile, corpus.name)
    path, grouped = split_path(corpus.name, protocol, profile, mark), keys.groups_hash(corpus.posts)
    if path.is_file():
        posts = split_files.read_split(corpus.posts, path, corpus.name)
        about = split_files.stored_facts(path)
        if about.get("groups_hash") != grouped:
            print(f"{path.name} was made when other posts were near-duplicates, and is kept. Then crossed")
            then = pd.DataFrame(about.get("crossings"), columns=list(splits.CROSSINGS))
            print(_shown(then), "and now", sep="\n")
    else:
        posts = split(corpus, protocol)
        facts = {"corpus": corpus.name, "protocol": protocol.label, "seed": protocol.seed, "groups_hash": grouped,
                 "crossings": splits.crossings(posts).to_dict("records")}  # fmt: skip
        split_files.write_split(posts, path, corpus.name if real else "", facts)
    print(describe(posts, f"{corpus.name}, {protocol.label}"))
    return posts


def split_path(corpus: str, protocol: Protocol, profile: str, mark: str = "") -> Path:
    """Where `stored_split` keeps a split: the committed file, or the output folder's."""
    suffix = ".csv.gz" if config.is_real(profile, corpus) else ".csv"
    name = "-".join(filter(None, [corpus, mark, protocol.label]))
    return config.stored(Path("results", profile, "splits", f"{name}{suffix}"))


def describe(posts: pd.DataFrame, title: str) -> str:
    """Counts and crossings of a split as text, without any post's text or id."""
    tables = _shown(split_counts(posts)), _shown(splits.crossings(posts))
    return "\n".join([f"{title}: split {split_files.split_hash(posts)[:12]}", *tables])


def event_folds(posts: pd.DataFrame) -> dict[str, str]:
    """Leave-one-event-out folds: test event -> dev event.

    PHEME's nine events have their fixed table of five; elsewhere the events with both classes, in order of their names,
    each with the next one as dev. Five events or fewer have no dev event, which would cost a quarter of train: their
    dev, "" here, is an eighth of the other events' posts.

    Raises: PostsError: fewer than three events have both classes.
    """
    events = set(posts["event"]) - {""}
    if set(splits.PHEME_DEV) < events:
        return dict(splits.PHEME_DEV)
    classes = posts[posts["event"] != ""].groupby("event")["label"].nunique()
    ring = sorted(classes.index[classes == 2])
    if len(ring) < 3:
        raise PostsError(f"{len(ring)} events have both classes; folds by event need three: use grouped or random")
    if len(events) <= len(splits.PHEME_DEV):
        return dict.fromkeys(ring, "")
    return dict(zip(ring, ring[1:] + ring[:1], strict=True))


def chronological(posts: pd.DataFrame) -> pd.DataFrame:
    """Oldest 70 % train, next 10 % dev, newest 20 % test; posts without a readable time are "unassigned".

    Times without an offset are local: China's for Chinese posts, else UTC. Never refuses a lopsided result: on Weibo
    and Twitter the counts are what there is to report.

    Raises: PostsError: no post has a readable time.
    """
    times = parse_dates(posts["created_at"], offset_hours(posts["language"]))
    order = pd.DataFrame({"time": times, "post_id": posts["post_id"]}).dropna().sort_values(["time", "post_id"])
    if order.empty:
        raise PostsError("no post has a readable time in created_at; use another protocol")
    sides = pd.Series("unassigned", index=posts.index)
    sides[order.index] = _cut(len(order))
    return posts.assign(split=sides)


def _published(corpus: Corpus) -> pd.DataFrame:
    if not corpus.posts["split"].isin(["train"]).any() or not corpus.posts["split"].str.startswith("test").any():
        raise PostsError(f"{corpus.name} is published without train and test; use grouped, event or random")
    return corpus.posts


def _of_published(corpus: Corpus, protocol: Protocol) -> pd.DataFrame:
    posts = corpus.posts
    if not {"train", "dev", "test"} <= set(posts["split"]):
        raise PostsError(f"{corpus.name} is not published with train, dev and test; use official, grouped or random")
    if protocol.name == "resplit":
        return splits.resplit(posts, protocol.seed)
    return splits.without_twins(posts) if protocol.name == "published-apart" else posts


def _official(corpus: Corpus, seed: int) -> pd.DataFrame:
    if (_published(corpus)["split"] == "dev").any():
        return corpus.posts
    by_event = config.about(corpus.name).dev_by_event
    return splits.twitter_dev(corpus.posts) if by_event else splits.grouped_dev(corpus.posts, 0.1, seed)


def _by_event(posts: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    if not (posts["event"] != "").any():
        raise PostsError("no post names its event; use grouped or random")
    if not protocol.event:
        units = components([posts["event"]], len(posts))
        return splits.separate(splits.dealt(posts, units, protocol.seed))
    folds = event_folds(posts)
    if protocol.event not in folds:
        raise PostsError(f"{protocol.event!r} is no test event; there are {', '.join(folds)}")
    return splits.event_fold(posts, protocol.event, folds[protocol.event])


def _random(posts: pd.DataFrame, seed: int) -> pd.DataFrame:
    sides = pd.Series("", index=posts.index)
    for _, part in posts.groupby("label"):
        order = part["post_id"].map(lambda post_id: splits.shuffled(seed, post_id)).sort_values().index
        sides[order] = _cut(len(order))
    return posts.assign(split=sides)


def _cut(n: int) -> np.ndarray:
    """(n,) sides of n ordered posts in the shares of SHARES; test and dev are rounded up."""
    n_test = int(np.ceil(round(SHARES["test"] * n, 6)))
    n_dev = min(int(np.ceil(round(SHARES["dev"] * n, 6))), n - n_test)
    return np.repeat(list(SHARES), [n - n_dev - n_test, n_dev, n_test])


def _both_classes(posts: pd.DataFrame, corpus: str) -> pd.DataFrame:
    classes = posts.groupby("split")["label"].nunique().reindex(list(SHARES), fill_value=0)
    if (classes < 2).any():
        raise PostsError(
            f"{corpus}: {', '.join(classes.index[classes < 2])} would lack a class, as posts nearly the same, or "
            "of one event, stay together, and their groups are too few or too large; add posts that differ, or write "
            f"a column split (train, dev, test) beside them; in Python protocol='random' is open, too\n"
            f"{_shown(split_counts(posts))}"
        )
    return posts


def _degenerate(posts: pd.DataFrame) -> str:
    """What makes a split useless, in words; "" for nothing."""
    counts = split_counts(posts[posts["split"] != "unassigned"])
    found = [f"{side} is empty" for side in SHARES if side not in set(counts["split"])]
    for side in counts.itertuples():
        if min(side.share_rumor, 1 - side.share_rumor) < MIN_CLASS_SHARE:
            found.append(f"{side.split} has {side.non_rumor:,} non-rumor, {side.rumor:,} rumor")
        elif 0 < (least := min(side.images_non_rumor, side.images_rumor)) < MIN_IMAGES:
            found.append(f"{side.split} has one class from effectively {least:.1f} pictures")
    return "; ".join(found)


def _shown(table: pd.DataFrame) -> str:
    return table.to_string(index=False, float_format="{:.3f}".format)
