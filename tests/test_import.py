"""`rumorlib import`: foreign columns, encodings and shapes become a manifest, and what is in doubt writes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rumorlib import __main__
from rumorlib.data.readers import layouts, manifest
from rumorlib.data.readers.tables import PostsError

ROWS = [("1", "Flood water in the city", "fake"), ("2", "Rain; and wind, too", "real")]
ZH = "编号;微博正文;标签\n1;今天洪水淹没了城市;谣言\n2;明天下雨;非谣言\n"


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str]:
    code = __main__.main(["import", *map(str, arguments)])
    return code, capsys.readouterr().out


def posts(place: Path):
    return manifest.read_file(place, "keep").posts


def lines(separator: str, header: tuple[str, ...] = ("id", "tweet_text", "verdict")) -> str:
    return "\n".join(separator.join(f'"{cell}"' for cell in row) for row in (header, *ROWS)) + "\n"


READABLE = {
    "semicolon": ("p.csv", lines(";").encode()),
    "tab": ("p.tsv", lines("\t").encode()),
    "bar, BOM": ("p.txt", lines("|").encode("utf-8-sig")),
    "UTF-16": ("p.csv", lines(",").encode("utf-16")),
    "UTF-16 without its mark": ("p.csv", lines("\t").encode("utf-16-be")),
    "JSON": ("p.json", json.dumps([dict(zip(("id", "tweet_text", "verdict"), row)) for row in ROWS]).encode()),
    "wrapped": ("p.json", json.dumps({"n": 2, "data": [{"text": t, "label": v} for _, t, v in ROWS]}).encode()),
    "by id": ("p.json", json.dumps({i: {"text": t, "label": v} for i, t, v in ROWS}).encode()),
    "lines": ("p.data", "\n".join(json.dumps({"text": t, "label": v}) for _, t, v in ROWS).encode()),
}


@pytest.mark.parametrize("name", READABLE)
def test_a_foreign_file_becomes_the_manifest_that_says_the_same(name: str, tmp_path: Path, capsys) -> None:
    file, content = READABLE[name]
    (tmp_path / file).write_bytes(content)
    code, out = run(capsys, tmp_path / file)
    assert code == 0, out
    made = posts(tmp_path / "manifest.csv")
    assert made["text"].tolist() == [row[1] for row in ROWS] and made["label"].tolist() == [1, 0]
    assert made["post_id"].tolist() == ["1", "2"]


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8", "utf-16"])
def test_chinese_words_columns_and_language(encoding: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "p.csv").write_bytes(ZH.encode(encoding))
    code, _ = run(capsys, tmp_path / "p.csv", "--means", "refuted")
    assert code == 0 and posts(tmp_path / "manifest.csv")["label"].tolist() == [1, 0]
    assert (tmp_path / "corpus.toml").read_text(encoding="utf-8") == 'label_means = "refuted"\nlanguage = "zh"\n'


DOUBTS = {
    "no column for text": ("a,label\nx,1\ny,0\n", [], "--text COLUMN"),
    "two columns for text": ("tweet,body,label\nx,y,1\nx,y,0\n", [], "--text tweet"),
    "true of what": ("text,label\nx,true\ny,false\n", [], "--rumor"),
    "an unknown word": ("text,label\nx,fake\ny,real\nz,unverified\n", [], "'unverified'"),
    "two words left": ("text,label\nx,a\ny,b\nz,c\n", ["--rumor", "a"], "--leave-out"),
    "a word that is not there": ("text,label\nx,fake\ny,real\n", ["--rumor", "fals"], "no such word"),
    "a column that is not there": ("text,label\nx,1\ny,0\n", ["--text", "t"], "no such column"),
    "one class": ("text,label\nx,1\ny,1\n", [], "both classes"),
    "uneven rows": ("text,label\nx,1\ny\n", [], "line 3 has 1 cells"),
    "neither encoding": ("text,label\ncaf\xe9 noir,1\nth\xe9,0\n".encode("latin-1"), [], "--encoding cp1252"),
    "no picture found": ("text,label,image\nx,1,a.jpg\ny,0,b.jpg\n", [], "--images FOLDER"),
    "two ids alike": ("id,text,label\n1,x,1\n1,y,0\n", ["--id", "id"], "ids must be unique"),
    "an unknown split": ("text,label,split\nx,1,train\ny,0,later\n", [], "unknown split"),
    "one object": ('{"text": "x", "label": 1}', [], "both classes"),
    "no objects": ("[1, 2]", [], "expected objects"),
}


@pytest.mark.parametrize("name", DOUBTS)
def test_in_doubt_nothing_is_written_and_the_remedy_is_said(name: str, tmp_path: Path, capsys) -> None:
    content, options, remedy = DOUBTS[name]
    (tmp_path / "p.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    code, out = run(capsys, tmp_path / "p.csv", *options)
    assert code == 2 and "nothing written" in out and remedy in out
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]


def test_pictures_are_found_under_other_names(tmp_path: Path, capsys) -> None:
    data, out = tmp_path / "data", tmp_path / "mine" / "manifest.csv"
    (data / "sub").mkdir(parents=True)
    for name in ("one.JPG", "sub/two.png", "three.jpeg", "four.jpg"):
        Image.new("RGB", (8, 8), "red").save(data / name, "PNG")
    (data / "broken.jpg").write_text("<html>")
    named = ["one.jpg", "two", "broken.jpg|three.jpeg", "/old/place/FOUR.JPG", "['broken.jpg', 'one']", "gone.jpg", ""]
    rows = [{"text": f"t{i}", "label": i % 2, "img_path": name} for i, name in enumerate(named)]
    (tmp_path / "p.json").write_text(json.dumps({"posts": rows}))
    code, said = run(capsys, tmp_path / "p.json", "--images", data, "--root", "/old/place", "--out", out)
    assert code == 1 and "1 pictures are missing, first in row 6: gone.jpg" in said and "2 posts name several" in said
    wanted = ["one.JPG", "sub/two.png", "three.jpeg", "four.jpg", "one.JPG", "", ""]
    assert [key.removeprefix("images/") for key in posts(out)["image"]] == wanted
    assert len(manifest.read_file(out, "drop").posts) == 5, "the link beside the manifest leads to the pictures"


def test_words_said_by_the_user_count_and_an_existing_manifest_stays(tmp_path: Path, capsys) -> None:
    text = "text,verdict\nx,False\ny,mostly\nz,true\nv,\nw,=cmd()\n"
    (tmp_path / "p.csv").write_text(text)
    options = (tmp_path / "p.csv", "--rumor", "false,mostly", "--non-rumor", "true", "--leave-out", "=cmd()")
    code, out = run(capsys, *options, "--dry-run")
    assert code == 1 and not (tmp_path / "manifest.csv").exists()
    code, out = run(capsys, *options)
    assert code == 1 and "2 of 5 rows are left out" in out
    assert posts(tmp_path / "manifest.csv")["label"].tolist() == [1, 1, 0]
    code, out = run(capsys, *options, "--json")
    assert code == 2 and "there already" in json.loads(out)["reason"]


def test_what_is_shown_can_do_nothing_to_a_terminal_or_a_spreadsheet(tmp_path: Path, capsys) -> None:
    (tmp_path / "p.csv").write_text("text,label\n=1+1,fake\n\x1b[31mred,real\n")
    _, out = run(capsys, tmp_path / "p.csv")
    assert "\x1b" not in out and "'=1+1" in out
    assert posts(tmp_path / "manifest.csv")["text"].tolist() == ["=1+1", "\x1b[31mred"], "the posts stay as they are"


@pytest.mark.parametrize("content", ["t;label\nx;1\n", "tweet,label\nx,1\ny,0\n", "text,label\nx,yes\ny,no\n",
                                     "text,label\n\xe9,1\n".encode("latin-1")])  # fmt: skip
def test_what_the_reader_refuses_names_the_way(content: str | bytes, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PostsError, match="python -m rumorlib import"):
        layouts.open_folder(tmp_path)


def test_verite_comes_with_its_own_columns_and_words_with_pictures_or_without(tmp_path: Path, capsys) -> None:
    rows = ["true", "miscaptioned", "out-of-context", "true"]
    lines = [f'{i},"A caption, number {i}",images/{i}.jpg,{label}' for i, label in enumerate(rows)]
    (tmp_path / "VERITE.csv").write_text("\n".join([",caption,image_path,label", *lines]) + "\n")
    asked = tmp_path / "VERITE.csv", "--rumor", "miscaptioned,out-of-context", "--non-rumor", "true"
    code, said = run(capsys, *asked)
    assert code == 2 and "--texts-only" in said
    assert run(capsys, *asked, "--texts-only", "--dry-run")[0] == 0
    (tmp_path / "images").mkdir()
    for i in range(4):
        Image.new("RGB", (8, 8), (i * 60, 0, 0)).save(tmp_path / "images" / f"{i}.jpg")
    assert run(capsys, *asked)[0] == 0
    made = posts(tmp_path / "manifest.csv")
    assert made["label"].tolist() == [0, 1, 1, 0] and made["image"].tolist() == [f"images/{i}.jpg" for i in range(4)]
