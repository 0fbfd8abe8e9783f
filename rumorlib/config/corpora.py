"""One record of facts per corpus, and posts of one's own as such a record."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rumorlib.config.checks import Checked, Count, SettingError, Weight, nearest
from rumorlib.config.paths import levels

Language = Literal["en", "zh"]  # languages with text towers and words


@dataclass(frozen=True)
class CorpusRecord(Checked):
    """What is known of a corpus before it is read. Code asks the record; nothing compares names.

    Posts of one's own are such a record too (`own_corpus`); its fields may stand in a corpus.toml beside them. The
    caption corpus of a stage 1 is the profile's for the record's language (profiles.py: STAGE1).
    """

    name: str
    kind: Literal["posts", "photo", "drawn", "captions"] = "posts"  # photo: made of captions; drawn: scenes, no file
    folder: str | None = None  # below the data folder; "": that folder itself; an absolute one: posts of one's own
    layouts: tuple[str, ...] = ()  # it may have there (data/readers/layouts.py), the first that fits; (): any
    language: Language = "en"
    label_means: str = ""  # label 1; "": as its reader says, and of captions, which have no label
    pictures: bool = True  # False: a corpus of texts, whatever lies there
    events: bool = False  # its posts belong to events that a discriminator can learn
    replies: bool = False  # published as threads
    dates: bool = False  # its posts say when they were published
    shared_pictures: bool = False  # many posts share one: each picture counts once, in training and in the main score
    same_pictures: str = ""  # corpora in several languages that show the same pictures share this name
    protocol: str = ""  # how it is split unless another way is asked for (`protocols.parse`); "": as its posts allow
    dev_by_event: bool = False  # dev is whole train events (splits.twitter_folds), else near-duplicate groups
    boxed: bool = False  # drawn scenes as true object boxes show them
    version: Count = 1  # of the recipe that photo posts are drawn by
    posts_of: str = ""  # of captions: the corpus whose train posts they are
    reported: Literal["", "pheme", "weibo"] = ""  # corpus of the papers whose printed rows stand beside; "": language's
    lambda_c: Weight | None = None  # DMFL's (§6.3): 1.2 on Weibo and what stands in for it, 1.8 on PHEME; None: so
    printed: str = ""  # name in tables; "": name

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", self.name):
            raise SettingError(f"a corpus is named by letters, digits, _, . and -; got {self.name!r}")
        usual = {"en": ("pheme", 1.8), "zh": ("weibo", 1.2)}[self.language]
        object.__setattr__(self, "reported", self.reported or usual[0])
        object.__setattr__(self, "lambda_c", usual[1] if self.lambda_c is None else self.lambda_c)
        object.__setattr__(self, "printed", self.printed or self.name)

    @property
    def own(self) -> bool:
        """Whether these are posts of the user's own, in a folder of their own."""
        return self.folder is not None and Path(self.folder).is_absolute()


_DRAWN = "1 = the claim contradicts the picture, cannot be, or speaks of a pasted-in object (drawn scenes)"
_REPLIES = "1 = a reply contradicts the post, which says what its picture shows (drawn scenes)"
_PHOTO = "out of context: the text is the caption of another photograph (0 = its own caption)"
_TWITTER = "fake media: the attached picture is fake or misused for the event (0 = real media)"
_WEIBO = "debunked: a post the platform's rumor board refuted (0 = a news post of a verified outlet)"
_CED = "debunked: a post the platform's rumor board refuted (0 = a post it did not)"
_PHEME = "rumor at posting time: unverified when posted, whether it proved true or not (0 = no rumor)"
CORPORA: dict[str, CorpusRecord] = {
    one.name: one
    for one in (
        CorpusRecord("demo-en", "drawn", label_means=_DRAWN, events=True, same_pictures="demo"),
        # 1.8 on demo-zh, photo-zh and weibo-text: as their stored runs were made
        CorpusRecord("demo-zh", "drawn", None, (), "zh", _DRAWN, events=True, same_pictures="demo", lambda_c=1.8),
        CorpusRecord("demo-boxes", "drawn", label_means=_DRAWN, events=True, boxed=True),
        CorpusRecord("demo-replies", "drawn", label_means=_REPLIES, replies=True),
        CorpusRecord("photo-en", "photo", "flickr8k", label_means=_PHOTO, same_pictures="photo"),
        CorpusRecord("photo-zh", "photo", "flickr8k", (), "zh", _PHOTO, same_pictures="photo", lambda_c=1.8),
        CorpusRecord("photo2-en", "photo", "flickr8k", label_means=_PHOTO, same_pictures="photo2", version=2),
        CorpusRecord("photo2-zh", "photo", "flickr8k", (), "zh", _PHOTO, same_pictures="photo2", version=2),
        CorpusRecord("twitter", "posts", "twitter_mediaeval2016", ("twitter-table", "mediaeval"), "en", _TWITTER,
                     events=True, dates=True, shared_pictures=True, dev_by_event=True),
        CorpusRecord("weibo", "posts", "weibo_jin2017", ("weibo17",), "zh", _WEIBO, dates=True),
        CorpusRecord("weibo-text", "posts", "weibo_jin2017", ("weibo17",), "zh", _WEIBO, False, dates=True,
                     lambda_c=1.8),
        CorpusRecord("mfan-weibo", "posts", "mfan_weibo", ("manifest", "mfan-weibo"), "zh", _CED,
                     protocol="published"),
        CorpusRecord("ced-text", "posts", "ced", ("ced",), "zh", _CED, False, dates=True),
        CorpusRecord("pheme", "posts", "pheme", ("pheme",), "en", _PHEME, events=True, replies=True, dates=True,
                     protocol="event:charliehebdo"),
        CorpusRecord("pheme-text", "posts", "pheme_text", ("pheme-table", "pheme"), "en", _PHEME, False, events=True,
                     dates=True, protocol="event:charliehebdo"),
        CorpusRecord("mfan-pheme", "posts", "mfan_pheme", ("manifest", "mfan-pheme"), "en", _PHEME, events=True,
                     dates=True, protocol="published"),
        CorpusRecord("manifest", "posts", "", ("manifest",)),
        CorpusRecord("demo-captions-en", "captions"),
        CorpusRecord("demo-captions-zh", "captions", language="zh"),
        CorpusRecord("demo-boxes-captions-en", "captions", boxed=True),
        CorpusRecord("demo-boxes-captions-zh", "captions", language="zh", boxed=True),
        CorpusRecord("flickr8k-en", "captions", "flickr8k", ("captions", "flickr8k")),
        CorpusRecord("flickr8k-zh", "captions", "flickr8k", ("captions", "flickr8k-cn"), "zh"),
        CorpusRecord("flickr30k-en", "captions", "flickr30k", ("flickr30k",)),
        CorpusRecord("coco-cn-zh", "captions", "coco_cn", ("coco-cn", "chinese-clip"), "zh"),
        CorpusRecord("twitter-train", "captions", posts_of="twitter"),
    )
}  # fmt: skip
RECORD_FILE = "corpus.toml"  # what a folder of posts says of itself


# The fields it may name: those that show in a run's config or in the hash of its posts, or change no number.
OF_RECORD_FILE = ("label_means", "language", "pictures", "events", "dates", "replies", "protocol", "layouts",
                  "lambda_c", "reported", "printed")  # fmt: skip


_PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")


def record(name: str) -> CorpusRecord:
    """The record of a corpus. Raises SettingError: no corpus has that name."""
    if name not in CORPORA:
        raise SettingError(f"no corpus called {name!r}; there are {', '.join(CORPORA)}{nearest(name, CORPORA)}")
    return CORPORA[name]


_UNKNOWN = CorpusRecord("unknown")


def about(name: str) -> CorpusRecord:
    """The record of a corpus that a run or a table names; one that has no record here gets the defaults."""
    return CORPORA.get(name) or next((one for one in CORPORA.values() if one.printed == name), _UNKNOWN)


def printed(name: str) -> str:
    """`CorpusRecord.printed` of a corpus; of one that has no record here its name."""
    return CORPORA[name].printed if name in CORPORA else name


def is_real(profile: str, dataset: str) -> bool:
    """Whether what is stored of a corpus may name no post: every corpus but drawn scenes."""
    return profile != "demo" or about(dataset).own


def same_pictures(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of the corpora named that show the same pictures, with English and with Chinese texts."""
    shown = {(one.same_pictures, one.language): one.name for one in map(about, names) if one.same_pictures}
    sets = dict.fromkeys(name for name, _ in shown)
    return [(shown[name, "en"], shown[name, "zh"]) for name in sets if {(name, "en"), (name, "zh")} <= set(shown)]


def own_corpus(name: str, folder: str | Path) -> CorpusRecord:
    """Make the posts in `folder` a corpus called `name`, for this process: they are then a dataset like any other.

    What its corpus.toml does not say: English, of texts if no picture lies in the folder or up to two folders below.
    Raises: SettingError: no such folder, the name is taken, or the file names no field of a record, or a wrong value.
    """
    place = Path(folder).expanduser().absolute()
    if not str(folder):
        raise SettingError(f"corpus {name}: write {name}=<folder>")
    if not place.exists():
        raise SettingError(f"corpus {name}: {place} does not exist")
    known = CORPORA.get(name)
    if known and known.folder != str(place):
        where = f"the posts in {known.folder}" if known.own else "another corpus"
        raise SettingError(f"corpus {name}={place}: {name} is {where}; choose another name")
    told = record_file(place)
    told.setdefault("pictures", has_pictures(place))
    try:
        CORPORA[name] = CorpusRecord(**{"name": name, "folder": str(place), **told})
    except SettingError as error:
        raise SettingError(f"corpus {name}, {place / RECORD_FILE}: {error}") from error
    return CORPORA[name]


def has_pictures(folder: Path) -> bool:
    """Whether a picture lies in a folder or up to two folders below."""
    return any(path.suffix.lower() in _PICTURES for level in levels(folder, 2) for paths in level.values()
               for path in paths)  # fmt: skip


def own_folders() -> dict[str, str]:
    """Name -> folder of the posts of one's own that this process knows."""
    return {one.name: one.folder for one in CORPORA.values() if one.own}


def record_file(folder: Path) -> dict[str, Any]:
    """What the corpus.toml in a folder says, {} without one. Raises SettingError: not TOML, or no field of a record."""
    file = folder / RECORD_FILE
    if not file.is_file():
        return {}
    try:
        told = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # TOMLDecodeError is one
        raise SettingError(f'{file}: {error}; write lines like label_means = "..."') from error
    if unknown := [name for name in told if name not in OF_RECORD_FILE]:
        guess = nearest(unknown[0], OF_RECORD_FILE)
        raise SettingError(f"{file}: no field {unknown[0]!r}{guess}; it may name {', '.join(OF_RECORD_FILE)}")
    if "label_means" in told:
        means = told["label_means"]
        if not isinstance(means, str) or not means.strip():
            raise SettingError(f'{file}: label_means is {means!r}; say in words what label 1 means, e.g. "fake news"')
        told["label_means"] = means.strip()
    return told
