"""Whatever a post is made of, it gets an answer and a word of what is missing; no other post's answer moves."""

from __future__ import annotations

import csv
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import forget, use_few_scenes
from PIL import Image

from rumorlib import __main__, experiments
from rumorlib import config as cfg
from rumorlib.results.saved.detector import Detector

TEXT = "the red lantern stands beside the bridge"

# Text of a post -> what `missing` says of it ("" = nothing: it is read).
TEXTS: dict[str, tuple[Any, str]] = {
    "empty": ("", "text"),
    "blanks": (" \t\n ", "text"),
    "None": (None, "text"),
    "nan": (float("nan"), "text"),
    "zero width alone": ("\u200b\u200d\ufeff", "text"),
    "control bytes alone": ("\x00\x01\x02", "text"),
    "zero width inside": ("la\u200bntern", ""),
    "10,000 characters": ("lantern " * 1250, ""),
    "a million characters": ("lantern " * 125_000, ""),
    "one word of 10,000": ("a" * 10_000, ""),
    "right to left": ("\u202elantern\u202c \u05e9\u05dc\u05d5\u05dd", ""),
    "arabic": ("\u0645\u0631\u062d\u0628\u0627", ""),
    "HTML": ("<script>alert(1)</script><b>lantern</b>", ""),
    "entities": ("&lt;lantern&gt; &#x1F600;", ""),
    "NUL inside": ("lan\x00tern", ""),
    "escape codes": ("\x1b[31mlantern\x1b[0m", ""),
    "bell": ("lantern\x07", ""),
    "emoji": ("\U0001f525\U0001f525", ""),
    "emoji joined": ("\U0001f468\u200d\U0001f469\u200d\U0001f467", ""),
    "combining marks": ("la" + "\u0301" * 500 + "ntern", ""),
    "half a surrogate pair": ("lantern \ud83d", ""),
    "private use": ("\ue000\ue001 lantern", ""),
    "beyond the first plane": ("\U00020000\U00020001", ""),
    "a formula": ('=HYPERLINK("http://x","y")', ""),
    "a command": ("+cmd|' /C calc'!A0", ""),
    "at": ("@SUM(A1)", ""),
    "quotes": ('"la"",""ntern"', ""),
    "line ends": ("a\r\nb\rc\nd\u2028e\u2029f\x85g", ""),
    "tabs": ("\tlantern", ""),
    "links only": ("https://t.co/abc http://x.y/z", ""),
    "mentions only": ("@a @b @c", ""),
    "punctuation": ("!!! ???", ""),
    "full width": ("\uff2c\uff41\uff4e\uff54\uff45\uff52\uff4e", ""),
    "SQL": ("'; DROP TABLE posts; --", ""),
    "a format": ("%s {0} {lantern} $HOME `ls`", ""),
    "JSON": ('{"label": 1}', ""),
    "special words": ("[CLS] [SEP] <unk>", ""),
    "a number": (12345678901234567890, ""),
    "a float": (1.5, ""),
    "true": (True, ""),
    "a list": (["a", "b"], ""),
    "Chinese": ("今天洪水淹没了城市的街道", "language: trained on en"),
}


def picture(**save: Any) -> Callable[[Path], bytes]:
    """A function that makes the bytes of a small picture of some mode, size and format."""
    mode, size = save.pop("mode", "RGB"), save.pop("size", (40, 30))

    def make(_: Path) -> bytes:
        made = io.BytesIO()
        Image.new(mode, size, 1 if mode in ("1", "P") else None).save(made, **{"format": "PNG"} | save)
        return made.getvalue()

    return make


def rotated(_: Path) -> bytes:
    made, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30), "red").save(made, "JPEG", exif=exif)
    return made.getvalue()


def animated(_: Path) -> bytes:
    made, frames = io.BytesIO(), [Image.new("RGB", (9, 9), color) for color in ("red", "blue", "green")]
    frames[0].save(made, "GIF", save_all=True, append_images=frames[1:])
    return made.getvalue()


def bomb(_: Path) -> bytes:
    """A PNG whose header says 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def cut(make: Callable[[Path], bytes], share: float = 0.5) -> Callable[[Path], bytes]:
    return lambda folder: make(folder)[: int(len(make(folder)) * share)]


def noise(size: tuple[int, int]) -> Callable[[Path], bytes]:
    def make(_: Path) -> bytes:
        made = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)).save(made, "JPEG")
        return made.getvalue()

    return make


# What lies in the file of a post's picture -> whether it is read, or what `missing` says.
FILES: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "CMYK": (picture(mode="CMYK", format="JPEG"), ""),
    "palette": (picture(mode="P"), ""),
    "16 bit": (picture(mode="I;16"), ""),
    "grey": (picture(mode="L"), ""),
    "one bit": (picture(mode="1"), ""),
    "grey, transparent": (picture(mode="LA"), ""),
    "transparent": (picture(mode="RGBA"), ""),
    "palette, transparent": (picture(mode="P", transparency=0), ""),
    "animated": (animated, ""),
    "turned by EXIF": (rotated, ""),
    "WebP": (picture(format="WEBP"), ""),
    "BMP": (picture(format="BMP"), ""),
    "1 x 1": (picture(size=(1, 1)), ""),
    "20,000 x 2": (picture(size=(20_000, 2)), ""),
    "2 x 20,000": (picture(size=(2, 20_000)), ""),
    "TIFF": (picture(format="TIFF"), "cannot be decoded"),
    "ICO": (picture(format="ICO"), "cannot be decoded"),
    "an HTML page": (lambda _: b"<!doctype html><html>", "cannot be decoded"),
    "empty": (lambda _: b"", "cannot be decoded"),
    "text": (lambda _: b"not a picture", "cannot be decoded"),
    "zeros": (lambda _: b"\0" * 5000, "cannot be decoded"),
    "half a JPEG": (cut(noise((99, 99))), "cannot be decoded"),
    "half a PNG": (cut(picture(size=(300, 300)), 0.6), "cannot be decoded"),
    "header alone": (cut(noise((99, 99)), 0.1), "cannot"),
    "SVG": (lambda _: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "cannot be decoded"),
    "PDF": (lambda _: b"%PDF-1.7\n", "cannot"),
    "a bomb": (bomb, "decompression bomb"),
    "too wide": (picture(size=(70_000, 1)), "more than"),
}
# Names in a post's image cell that lead to no picture below the folder -> what `missing` says.
NAMES: dict[str, tuple[Any, str]] = {
    "missing file": ("gone.jpg", "does not exist"),
    "out of the folder": ("../secret.png", "is not a path below"),
    "absolute": ("/etc/hostname", "is not a path below"),
    "a link out": ("link.png", "leaves"),
    "a link to itself": ("loop.png", "leads to itself"),
    "a folder": ("sub", "cannot be read"),
    "a pipe": ("pipe", "cannot be read"),
    "NUL in its name": ("a\0b.png", "is not a path below"),
    "a long name": ("a" * 5000, "no file name"),
    "blanks": ("  ", "picture"),
    "a URL": ("https://example.org/a.jpg", "is not a path below|does not exist"),
    "a number": (3, "a int is none"),
    "a dict": ({"a": 1}, "a dict is none"),
    "None": (None, "picture"),
    "an empty array": (np.zeros((0, 0, 3), np.uint8), "no picture"),
    "a float array": (np.zeros((4, 4, 3)), "no picture"),
    "a mode nobody knows": (Image.new("F", (5, 5)), ""),
    "no bytes": (b"", "cannot be decoded"),
}


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory, few_runs: Path):
    """DMFL on few scenes: it reads words and pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUMORLIB_OUTPUT", str(few_runs / "output"))
        patch.setenv("RUMORLIB_CACHE", str(few_runs / "cache"))
        use_few_scenes(patch)
        settings = cfg.resolve("demo", ["demo-en"])
        made = Detector.from_runs([experiments.dmfl(settings, "demo-en")], settings)
        yield Detector.from_pretrained(made.save_pretrained(tmp_path_factory.mktemp("hostile") / "d"))
    forget()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("posts") / "pictures"
    (place / "sub").mkdir(parents=True)
    (place / "good.png").write_bytes(picture()(place))
    (place.parent / "secret.png").write_bytes(picture()(place))
    (place / "link.png").symlink_to(place.parent / "secret.png")
    (place / "loop.png").symlink_to(place / "loop.png")
    os.mkfifo(place / "pipe")
    return place


def answer(detector: Detector, folder: Path, post: dict[str, Any]) -> pd.Series:
    """The answer to a post that stands between two others, whose answers may not move."""
    others = [{"text": TEXT, "image": "good.png"}, {"text": "a blue boat", "image": None}]
    said = detector.predict([others[0], post, others[1]], root=folder)
    alone = detector.predict(others, root=folder)
    assert len(said) == 3
    np.testing.assert_allclose(said["calibrated"].iloc[[0, 2]], alone["calibrated"], atol=1e-5)
    assert said["missing"].iloc[[0, 2]].tolist() == ["", "picture"]
    return said.iloc[1]


def check(said: pd.Series, missing: str) -> None:
    if missing:
        assert pd.Series([said["missing"]]).str.contains(missing).all(), said["missing"]
    else:
        assert said["missing"] == ""
    assert 0 <= said["calibrated"] <= 1 and said["label"] in (0, 1)  # the other half of the post is there


def test_the_table_is_long_enough() -> None:
    assert len(TEXTS) + len(FILES) + len(NAMES) >= 60


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str, detector: Detector, folder: Path) -> None:
    text, missing = TEXTS[name]
    check(answer(detector, folder, {"text": text, "image": "good.png"}), missing)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", FILES)
def test_pictures(name: str, detector: Detector, folder: Path) -> None:
    make, missing = FILES[name]
    (folder / "this.jpg").write_bytes(content := make(folder))
    for image in ("this.jpg", folder / "this.jpg", content):
        root = folder if isinstance(image, str) else None
        said = detector.predict({"text": TEXT, "image": image}, root=root).iloc[0]
        check(said, missing)
    check(answer(detector, folder, {"text": TEXT, "image": "this.jpg"}), missing)


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str, detector: Detector, folder: Path) -> None:
    image, missing = NAMES[name]
    check(answer(detector, folder, {"text": TEXT, "image": image}), missing)


def test_all_of_them_in_one_file(detector: Detector, folder: Path, tmp_path: Path, capsys) -> None:
    place = detector.save_pretrained(tmp_path / "d")
    texts = {
        name: text for name, (text, _) in TEXTS.items() if isinstance(text, str) and name != "a million characters"
    }
    posts = folder.parent / "posts.csv"
    with posts.open("w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows([["name", "text", "image"], *([n, t, "good.png"] for n, t in texts.items())])
    arguments = ["predict", str(place), str(posts), "-o", str(tmp_path / "s.csv"), "--images", str(folder)]
    assert __main__.main(arguments) == 0, capsys.readouterr().out
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8") as file:
        made = list(csv.DictReader(file))
    assert [row["name"] for row in made] == list(texts), "every row, in its order"
    assert not [row for row in made if row["text"].startswith(("=", "+", "-", "@", "\t", "\r"))]
    for row in made:
        assert row["missing"] == TEXTS[row["name"]][1] and 0 <= float(row["calibrated"]) <= 1, row["name"]
