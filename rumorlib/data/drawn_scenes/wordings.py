"""The words of the drawn corpora in English and Chinese: the same claims, in several wordings.

A relation is plausible or not by a fixed table in which every shape has two plausible verbs of four and every
verb suits three shapes of six, so neither the noun nor the verb alone tells anything.
"""

from __future__ import annotations

from typing import NamedTuple

N_TEMPLATES = 4
VERBS = ("rolling", "standing", "flying", "glowing")
_PLAUSIBLE = {  # by index into scenes.SHAPES: ball, wheel, tent, barrel, lantern, star
    0: (0, 2),
    1: (0, 1),
    2: (1, 3),
    3: (0, 1),
    4: (2, 3),
    5: (2, 3),
}

_WORDS = {
    "en": {
        "shapes": ("ball", "wheel", "tent", "barrel", "lantern", "star"),
        "colours": ("red", "green", "blue", "yellow", "purple", "cyan"),
        "verbs": VERBS,
        "places": ("top left", "top centre", "top right", "middle left", "middle centre", "middle right",
                   "bottom left", "bottom centre", "bottom right"),
        "counts": ("", "one", "two", "three"),
        "events": ("harbour", "market", "bridge", "stadium", "station", "festival", "garden", "airport"),
        "alarm": "BREAKING!! share now: ",
        "thing": "a {colour} {shape}",
        "things": "{count} {colour} {shape}s",
        "posts": (
            "#{event} {thing} is {verb} at the {place}",
            "at the {place} of the photo {thing} is {verb} #{event}",
            "look {thing} {verb} at the {place} near the {event}",
            "news from the {event} : {thing} was seen {verb} , {place}",
        ),
        "count_posts": (
            "#{event} {things} {verb} in this photo",
            "in this photo {things} are {verb} #{event}",
            "look {things} {verb} near the {event}",
            "news from the {event} : {things} were seen {verb}",
        ),
        "captions": ("{thing} at the {place}", "at the {place} {thing} {verb}", "{thing} {verb} at the {place}",
                     "{place} : {thing}"),
        "count_captions": ("{things}", "there are {things} {verb}", "{things} {verb}", "a picture of {things}"),
    },
    "zh": {
        "shapes": ("球", "轮子", "帐篷", "木桶", "灯笼", "星星"),
        "colours": ("红色", "绿色", "蓝色", "黄色", "紫色", "青色"),
        "verbs": ("滚动", "站立", "飞行", "发光"),
        "places": ("左上角", "上方中间", "右上角", "左侧中部", "正中央", "右侧中部", "左下角", "下方中间", "右下角"),
        "counts": ("", "一个", "两个", "三个"),
        "events": ("港口", "集市", "大桥", "体育场", "车站", "庙会", "花园", "机场"),
        "alarm": "突发！！速转：",
        "thing": "一个{colour}{shape}",
        "things": "{count}{colour}{shape}",
        "posts": (
            "#{event}# {thing}正在{place}{verb}",
            "照片{place}有{thing}在{verb} #{event}#",
            "快看，{event}附近{place}{thing}在{verb}",
            "{event}消息：有人看到{thing}在{verb}，{place}",
        ),
        "count_posts": (
            "#{event}# 照片里{things}在{verb}",
            "这张照片有{things}在{verb} #{event}#",
            "快看，{event}附近{things}在{verb}",
            "{event}消息：有人看到{things}在{verb}",
        ),
        "captions": ("{place}有{thing}", "{place}{thing}在{verb}", "{thing}在{place}{verb}", "{place}：{thing}"),
        "count_captions": ("{things}", "有{things}在{verb}", "{things}在{verb}", "图中有{things}"),
    },
}  # fmt: skip
LANGUAGES = tuple(_WORDS)


class Wording(NamedTuple):
    """What a post's text is made of, as `post` takes it; all but alarm are indices."""

    shape: int
    colour: int
    place: int  # -1: a claim about a count
    count: int
    verb: int
    event: int
    alarm: bool
    template: int


# values of the fields that stand for a word of a claim about a place
N_VALUES = {field: len(_WORDS["en"][f"{field}s"]) for field in ("shape", "colour", "place", "verb", "event")}


def plausible_verbs(shape: int) -> tuple[int, ...]:
    """Indices of the verbs that suit a shape."""
    return _PLAUSIBLE[shape]


def implausible_verbs(shape: int) -> tuple[int, ...]:
    """Indices of the verbs that do not (DMFL §1: a cat cannot fly away)."""
    return tuple(verb for verb in range(len(VERBS)) if verb not in _PLAUSIBLE[shape])


def _phrase(language: str, kind: str, shape: int, colour: int, place: int, count: int, verb: int, template: int,
            event: int = 0) -> str:  # fmt: skip
    if language not in _WORDS:
        raise ValueError(f"drawn corpora speak {', '.join(_WORDS)}; got {language!r}")
    words = _WORDS[language]
    parts = {"colour": words["colours"][colour], "shape": words["shapes"][shape], "count": words["counts"][count]}
    things = words["things"].format(**parts)
    if language == "en" and count == 1:
        things = things.removesuffix("s")
    patterns = words[f"count_{kind}"] if place < 0 else words[kind]
    return patterns[template].format(
        thing=words["thing"].format(**parts),
        things=things,
        verb=words["verbs"][verb],
        place=words["places"][place],
        event=words["events"][event],
    )


def post(language: str, shape: int, colour: int, place: int, count: int, verb: int, event: int, alarm: bool,
         template: int) -> str:  # fmt: skip
    """Text of a post; all arguments but language and alarm are indices, place -1 makes it a claim about a count."""
    text = _phrase(language, "posts", shape, colour, place, count, verb, template, event)
    return _WORDS[language]["alarm"] + text if alarm else text


def caption(language: str, shape: int, colour: int, place: int, count: int, verb: int, template: int) -> str:
    """A stage-1 caption: one thing and its place, or how many there are."""
    return _phrase(language, "captions", shape, colour, place, count, verb, template)


def claim_words(language: str, shape: str, colour: str) -> tuple[str, str]:
    """The words for the claimed shape and colour in `language`, of their English names: the words that bear evidence.

    English shapes also occur with a plural s; a Chinese segmentation may join the two.
    """
    english, words = _WORDS["en"], _WORDS[language]
    return (
        words["shapes"][english["shapes"].index(shape)],
        words["colours"][english["colours"].index(colour)],
    )
