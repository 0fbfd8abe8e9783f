"""check-data: everything in a folder is counted, what cannot be used is listed with its reason; the exit codes."""

import csv
import hashlib
import json
import os

import numpy as np
import pandas as pd
import published
import pytest
from PIL import Image

from rumorlib import __main__ as command
from rumorlib import config
from rumorlib.commands import check_data
from rumorlib.config import Settings
from rumorlib.data import corpora, inspection, photo
from rumorlib.data.posts import PostsError
from rumorlib.data.readers import tables
from rumorlib.data.scripts import script
from rumorlib.data.splitting.splits import PHEME_DEV

HEADER = ("id", "text", "label", "split", "image", "created_at")


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 50, 3), np.uint8)).save(path)


def folder(tmp_path, rows, n_pictures=12):
    """A manifest in a folder, with pictures 0.jpg, 1.jpg, ..."""
    place = tmp_path / "mine"
    for i in range(n_pictures):
        picture(place / "images" / f"{i}.jpg", i)
    with (place / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return place


def good_rows(n=12):
    sides = ("train", "train", "train", "train", "dev", "test")
    labels = [(i + i // 6) % 2 for i in range(n)]
    texts = [f"text number {i} {hashlib.sha256(bytes([i])).hexdigest()}" for i in range(n)]  # no near-duplicates
    return [[f"p{i}", texts[i], labels[i], sides[i % 6], f"images/{i}.jpg", "2014-08-09"] for i in range(n)]


def check(place, tmp_path, capsys, *arguments):
    """Exit code, findings and the rows of the CSV."""
    out = tmp_path / "left_out.csv"
    code = command.main(["check-data", str(place), "--json", "--out", str(out), *arguments])
    found = json.loads(capsys.readouterr().out)
    assert found["code"] == code
    return code, found, pd.read_csv(out, dtype=str, keep_default_na=False) if out.exists() else None


def test_a_whole_folder_is_usable(tmp_path, capsys):
    code, found, left_out = check(folder(tmp_path, good_rows()), tmp_path, capsys)
    assert code == 0 and found["problems"] == [] and found["verdict"] == "usable"
    assert found["layout"] == "manifest" and len(left_out) == 0
    train, dev, test, everything = found["splits"]
    assert [train["split"], dev["split"], test["split"], everything["split"]] == ["train", "dev", "test", "all"]
    assert (train["posts"], dev["posts"], test["posts"], everything["posts"]) == (8, 2, 2, 12)
    assert (everything["rumor"], everything["non_rumor"], everything["images"]) == (6, 6, 12)
    assert everything["first"] == everything["last"] == "2014-08-09"
    assert found["languages"] == [{"language": "Latin", "posts": 12, "share": 1.0, "basis": "guessed from the script"}]


def test_every_kind_of_trouble_is_counted_and_listed(tmp_path, capsys):
    rows = good_rows(16)
    rows[1][4] = "images/gone.jpg"  # train
    rows[2][4] = "../../etc/passwd.jpg"  # train
    rows[3][4] = ""  # train
    rows[6][0], rows[6][4] = "=cmd()", "images/also gone.jpg"  # train
    rows[0][1] = "   "  # train
    rows[7][5] = "23: 59: 22"
    rows[12][1] = rows[4][1]  # train text as in dev, with another label
    rows[12][2] = 1 - rows[4][2]
    place = folder(tmp_path, rows, 16)
    whole = (place / "images" / "8.jpg").read_bytes()
    (place / "images" / "8.jpg").write_bytes(whole[: len(whole) // 2])
    (place / "images" / "9.jpg").write_bytes(b"no picture")
    (place / "images" / "13.jpg").write_bytes((place / "images" / "5.jpg").read_bytes())  # train as test
    code, found, left_out = check(place, tmp_path, capsys)
    assert code == 1 and found["verdict"] == "usable, with problems"
    everything, train = found["splits"][-1], found["splits"][0]
    counts = {name: everything[name] for name in ("posts", "dropped", "no_image", "missing", "unreadable", "usable")}
    assert counts == {"posts": 16, "dropped": 4, "no_image": 1, "missing": 3, "unreadable": 2, "usable": 10}
    assert train["dropped"] == 4 and train["unreadable"] == 2 and everything["duplicate_images"] == 1
    assert found["problems"] == [
        "posts dropped: 4",
        "posts without the name of a picture: 1",
        "posts whose picture does not exist: 3",
        "posts whose picture cannot be decoded: 2",
        "texts that stand in several splits, letter by letter: 1",
        "near-duplicate texts that stand in several splits: 1 groups of 2 posts, with 0.0% of the test posts",
        "pictures that stand in several splits, byte by byte: 1",
    ]
    assert found["notes"] == [
        "posts without text: 1",
        "posts with a time that cannot be read: 1",
        "texts that stand under both labels: 1",
    ]
    assert sorted(left_out["post_id"]) == ["'=cmd()", "p1", "p2", "p3", "p8", "p9"]
    reasons = left_out.set_index("post_id")["reason"]
    assert reasons["p1"] == "image images/gone.jpg does not exist" and reasons["p3"] == "no image"
    assert "is not a path below" in reasons["p2"]
    assert "8.jpg cannot be decoded" in reasons["p8"] and "replace it" in reasons["p9"]
    assert left_out.set_index("post_id")["row"].loc[["p1", "'=cmd()"]].tolist() == ["2", "7"]
    assert set(left_out["split"]) == {"train"}
    assert set(left_out["status"]) == {"dropped", "unreadable"}
    assert sum(found["left_out"].values()) == 6 and not any("gone" in reason for reason in found["left_out"])


def test_what_costs_no_post_is_noted_and_the_folder_is_usable(tmp_path, capsys):
    rows = good_rows()
    rows[0][1], rows[1][5] = "", "23: 59: 22"
    code, found, _ = check(folder(tmp_path, rows), tmp_path, capsys)
    assert code == 0 and found["problems"] == []
    assert found["notes"] == ["posts without text: 1", "posts with a time that cannot be read: 1"]


def test_texts_behind_other_links_cross_and_a_doubtful_name_is_told_of(tmp_path, capsys):
    """Chinese posts go on behind a short link without a space."""
    stories = ["北京地铁今天早上发生火灾多人受伤", "某地超市出售假鸡蛋专家提醒市民", "台风明天登陆沿海各地学校停课一天",
               "男子高速路上倒车被拍网友指责", "明星昨晚机场被围堵现场一片混乱", "专家称红酒治疗近视眼"]  # fmt: skip
    place = tmp_path / "mine"
    rows = ["id,text,label,split,event"]
    for i, story in enumerate(stories):
        rows += [f"{side}{i},http://t.cn/z{side[:2]}{i}{story},{i % 2},{side},NA" for side in ("train", "dev", "test")]
    published.write(place / "manifest.csv", "\n".join(rows) + "\n")
    code, found, _ = check(place, tmp_path, capsys)
    crossing = {row["kind"]: row for row in found["crossings"]}
    assert list(crossing["text_group"].values()) == ["text_group", 6, 6, 18, 1.0]
    assert found["problems"] == [
        "near-duplicate texts that stand in several splits: 6 groups of 18 posts, with 100.0% of the test posts"
    ]
    assert code == 1 and found["languages"][0]["language"] == "Han" and found["languages"][0]["posts"] == 18
    assert found["notes"] == [
        "event 'NA', in 18 posts, is kept as a name; leave the cell empty if it means that there is none"
    ]


def test_the_meaning_of_label_1_can_be_given_and_is_repeated(tmp_path, capsys):
    place = folder(tmp_path, good_rows())
    published.write(place / "corpus.toml", 'label_means = "satire, not news"\n')
    _, found, _ = check(place, tmp_path, capsys)
    assert found["label_means"] == "satire, not news"
    command.main(["check-data", str(place), "--out", str(tmp_path / "x.csv")])
    assert "label 1    satire, not news" in capsys.readouterr().out


def test_captions_without_a_split_are_a_problem(tmp_path, capsys):
    place = published.flickr30k(tmp_path / "flickr", "token")
    code, found, _ = check(place, tmp_path, capsys)
    assert code == 1 and "captions without a split" in found["problems"][0]


def test_captions_of_the_same_words_are_noted_and_what_the_photo_tier_makes_of_them(tmp_path, capsys, monkeypatch):
    place, said = tmp_path / "flickr", ["a dog", "two cats", "a bird", "A dog .", "three men", "a house"]
    for language, texts in (("en", said), ("zh", ["狗", "猫", "鸟", "人", "马", "鱼"])):
        rows = [(f"images/{i // 3}.jpg", i % 3, text, "train") for i, text in enumerate(texts)]
        for side in ("dev", "test"):
            rows += [(f"images/{side}{i // 3}.jpg", i % 3, f"{side} {i}", side) for i in range(6)]
        table = pd.DataFrame(rows, columns=["image", "caption_id", "caption", "split"])
        for seed, name in enumerate(table["image"].unique()):
            picture(place / name, seed)
        table.to_csv(place / f"captions_{language}.csv", index=False)
    assert "same words" not in str(check(place, tmp_path, capsys)[1]["notes"])  # the committed pairs are of others
    monkeypatch.setenv("RUMORLIB_OUTPUT", str(tmp_path))
    pairs = [(side, "nearest", 0, f"images/{name}0.jpg", f"images/{name}1.jpg", 1, 1, 0.5)
             for side, name in (("train", ""), ("dev", "dev"), ("test", "test"))]  # fmt: skip
    pairs.append(("train", "random", 0, "images/0.jpg", "images/1.jpg", 0, 1, 0.5))  # the dog is at both of them
    own = tmp_path / "results" / "laptop" / "splits" / photo.PAIRS[1]  # the output folder's stand before committed ones
    photo.write_pairs(pd.DataFrame(pairs, columns=photo.COLUMNS), own)
    code, found, _ = check(place, tmp_path, capsys)
    assert code == 0 and found["notes"] == [
        "en captions that stand word for word at several pictures: 33.3 % of train, 0.0 % of dev, 0.0 % of test",
        "photo-en: 2 of 8 posts called rumors carry one of their picture's own captions (train 2)",
    ]


def test_the_protocol_a_corpus_without_split_gets(tmp_path, capsys):
    code, found, _ = check(published.pheme(tmp_path / "pheme"), tmp_path, capsys)
    assert code == 0 and "by protocol grouped" in found["usable"][1]
    for event in PHEME_DEV:
        for label in ("rumours", "non-rumours"):
            number = str(9000 + 2 * list(PHEME_DEV).index(event) + (label == "rumours"))
            thread = tmp_path / "pheme" / event / label / number
            published.write(thread / "source-tweet" / f"{number}.json", published.tweet(number, event))
    _, found, _ = check(tmp_path / "pheme", tmp_path, capsys)
    assert "by protocol event" in found["usable"][1]


def test_pictures_may_be_left_alone(tmp_path, capsys):
    place = folder(tmp_path, good_rows())
    (place / "images" / "8.jpg").write_bytes(b"no picture")
    (place / "images" / "9.jpg").unlink()
    _, found, _ = check(place, tmp_path, capsys, "--no-images")
    assert found["splits"][-1]["unreadable"] is None and found["splits"][-1]["missing"] == 1


@pytest.mark.parametrize(("rule", "usable"), [("keep", 11), ("blank", 11), ("drop", 10)])
def test_the_rule_for_missing_pictures_is_followed(tmp_path, capsys, rule, usable):
    place = folder(tmp_path, good_rows())
    (place / "images" / "8.jpg").write_bytes(b"no picture")
    (place / "images" / "9.jpg").unlink()
    code, found, left_out = check(place, tmp_path, capsys, "--on-missing-image", rule)
    assert code == 1 and found["splits"][-1]["usable"] == usable
    assert left_out.set_index("post_id")["status"].to_dict() == {
        "p8": "unreadable", "p9": "dropped" if rule == "drop" else "kept without picture"
    }  # fmt: skip


def test_a_missing_picture_can_be_an_error(tmp_path, capsys):
    place = folder(tmp_path, good_rows())
    (place / "images" / "9.jpg").unlink()
    code, found, _ = check(place, tmp_path, capsys, "--on-missing-image", "error")
    assert code == 2 and "manifest.csv, row 10: image images/9.jpg does not exist" in found["reason"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("id,text\n1,a\n", "column label is missing"),
        ("id,text,label\n", "no posts"),
        ("", "is empty"),
        ("id,text,label\n1,a,1\n1,b,0\n", "row 2: id '1' stands in row 1 already"),
        ("id,text,label\n1,a,1\n2,b,maybe\n", "row 2: label 'maybe' is neither 0 nor 1"),
        ("id,text,label\n1,a,1\n2,b,1\n", "all 2 training posts are rumor"),
        ("id,text,label,split\n1,a,1,train\n2,b,0,trian\n", "row 2: unknown split 'trian'"),
        ("id,text,label,image\n1,a,1,x.jpg\n2,b,0,y.jpg\n", "none of 2 pictures exists"),
        ("id,text,label\n1,\xe9,1\n", "is not UTF-8"),
    ],
)
def test_what_cannot_be_used_says_why_in_one_line(tmp_path, capsys, content, reason):
    place = tmp_path / "mine"
    place.mkdir()
    (place / "manifest.csv").write_bytes(content.encode("latin-1"))
    assert command.main(["check-data", str(place), "--out", str(tmp_path / "x.csv")]) == 2
    printed = capsys.readouterr().out
    assert printed.startswith("not usable: ") and printed.count("\n") == 1 and reason in printed
    assert not (tmp_path / "x.csv").exists()


def test_nothing_to_recognise(tmp_path, capsys):
    assert command.main(["check-data", str(tmp_path / "nowhere")]) == 2
    (tmp_path / "empty").mkdir()
    assert command.main(["check-data", str(tmp_path / "empty")]) == 2
    assert capsys.readouterr().out.count("not usable: ") == 2


@pytest.mark.timeout(60)
def test_one_picture_stops_no_corpus(tmp_path, capsys):
    """A link to itself, a pipe, one that is too long on a side: dropped with a reason, by check-data and the loader."""
    place = folder(tmp_path, good_rows(16), 16)
    for i in (1, 2, 3):
        (place / "images" / f"{i}.jpg").unlink()
    (place / "images" / "1.jpg").symlink_to("1.jpg")
    os.mkfifo(place / "images" / "2.jpg")
    Image.new("L", (1, 70_000)).save(place / "images" / "3.jpg", format="PNG")
    code, found, left_out = check(place, tmp_path, capsys)
    reasons = left_out.set_index("post_id")["reason"]
    assert code == 1 and sorted(reasons.index) == ["p1", "p2", "p3"] and found["splits"][-1]["usable"] == 13
    assert "is a link that leads to itself" in reasons["p1"] and "is no file that can be read" in reasons["p2"]
    assert "3.jpg has 1x70000 pixels, more than" in reasons["p3"]
    assert not any("jpg" in reason for reason in found["left_out"])
    corpus = corpora.load("manifest", Settings("laptop", (), (0,), data_root=place))
    assert len(corpus.posts) == 13 and sorted(corpus.dropped["post_id"]) == ["p1", "p2", "p3"]


def test_only_broken_pictures_leave_nothing(tmp_path, capsys):
    place = folder(tmp_path, good_rows())
    for path in (place / "images").iterdir():
        path.write_bytes(b"no picture")
    code, found, left_out = check(place, tmp_path, capsys)
    assert code == 2 and found["usable"][0].startswith("no posts are left for training") and len(left_out) == 12


def test_what_the_loader_refuses_is_not_usable(tmp_path, capsys):
    rows = good_rows()
    for row in rows:
        row[2] = 1 if row[3] == "test" else row[2]
    place = folder(tmp_path, rows)
    code, found, _ = check(place, tmp_path, capsys)
    assert code == 2 and found["problems"] == ["split test has one class only: rumor"]
    assert "test posts are rumor (1); both classes are needed" in found["usable"][0]
    with pytest.raises(PostsError, match="test posts are rumor"):
        corpora.load("manifest", Settings("laptop", (), (0,), data_root=place))
    for row in rows:
        if row[3] == "train" and row[2] == 0:
            (place / row[4]).write_bytes(b"no picture")
    code, found, _ = check(place, tmp_path, capsys)
    assert code == 2 and "training posts are rumor" in found["usable"][0]
    with pytest.raises(PostsError, match="training posts are rumor"):  # the loader decodes every picture too
        corpora.load("manifest", Settings("laptop", (), (0,), data_root=place))


def test_the_text_shows_counts_and_no_post(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = good_rows()
    rows[1][4] = "images/\x1b[31mgone.jpg"
    rows[2][5] = "never"
    place = folder(tmp_path, rows)
    assert command.main(["check-data", str(place)]) == 1
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "text number" not in printed and "p1" not in printed
    assert "corpus     manifest, layout manifest" in printed and "1 dropped: image does not exist" in printed
    assert "verdict    usable, with problems (exit code 1)" in printed
    assert (tmp_path / "check-data" / "manifest-dropped.csv").is_file()


def test_reasons_are_counted_without_names(tmp_path, capsys):
    rows = good_rows(16)
    keys = ["../a b.jpg", "../c.jpg", "x" * 300 + ".jpg", "gone (1).jpg", "gone does not exist.jpg"]
    for row, key in zip(rows[6:11], keys, strict=True):
        row[4] = key
    place = folder(tmp_path, rows, 16)
    (place / "images" / "15.jpg").write_bytes(b"no picture (at all)")
    _, found, _ = check(place, tmp_path, capsys)
    assert found["left_out"] == {
        "dropped: image key leads out of the folder; use a relative path with '/', without '..'": 2,
        "dropped: image key is no file name; shorten it": 1,
        "dropped: image does not exist": 2,
        "unreadable: image cannot be decoded; replace it by a whole JPEG/PNG/GIF/WEBP/BMP or remove its posts": 1,
    }


def test_git_ignores_the_list_of_posts():
    lines = (config.PROJECT_ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert f"{check_data.FOLDER}/" in lines, "wherever the user stands"


def test_a_notebook_gets_frames(tmp_path):
    found = inspection.inspect_folder(folder(tmp_path, good_rows()), progress=False)
    assert found.code == 0 and list(found.splits["split"]) == ["train", "dev", "test", "all"]
    assert isinstance(found.languages, pd.DataFrame) and found.left_out.empty


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BREAKING: look http://t.co/абв @имя", "Latin"),
        ("网友爆料一只猫飞走了：iPhone", "Han"),
        ("これは東京大学", "Japanese"),
        ("Срочно!", "Cyrillic"),
        ("خبر عاجل", "Arabic"),
        ("한국 뉴스", "Hangul"),
        ("123 !!! 😀", "none"),
        ("", "none"),
    ],
)
def test_scripts(text, expected):
    assert script(text) == expected


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "posts", "images", "code"),
    [
        ("weibo_jin2017", 9527, 0, 0),
        ("pheme_text", 6425, 0, 0),
        ("twitter_mediaeval2016", 14881, 484, 0),
        ("flickr8k", 80910, 8091, 0),
    ],
)
def test_real_folders(tmp_path, capsys, name, posts, images, code):
    found_code, found, _ = check(config.data_root() / name, tmp_path, capsys)
    assert found_code == code
    assert (found["splits"][-1]["posts"], found["splits"][-1]["images"]) == (posts, images)
    assert found["splits"][-1]["unreadable"] == found["splits"][-1]["no_time"] == 0


def test_a_fault_of_the_command_is_no_verdict_on_the_data(tmp_path, capsys, monkeypatch):
    def fails(*_):
        raise KeyError("ours")

    monkeypatch.setattr(check_data, "inspect_folder", fails)
    assert command.main(["check-data", str(folder(tmp_path, good_rows()))]) == 3
    told = capsys.readouterr()
    assert "KeyError: 'ours'" in told.err and "says nothing about the data" in told.err and not told.out


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ('{"text": "a", "label": 1, "label": 0}', "the key 'label' is there twice"),
        (f'{{"text": "a", "label": {"9" * 5000}}}', "4300 digits"),
    ],
)
def test_json_that_python_would_bend_or_choke_on_is_refused_with_its_line(record, message, tmp_path):
    path = tmp_path / "posts.jsonl"
    path.write_text(f'{{"text": "a", "label": 1}}\n{record}\n')
    with pytest.raises(PostsError, match=f"line 2: not JSON .*{message}.*repair the line"):
        tables.read_json(path)
