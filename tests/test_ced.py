"""CED with its reposts, and MFAN's tables of Weibo and PHEME."""

import json

import published
import pytest

from rumorlib.data.posts import PostsError
from rumorlib.data.readers import ced, layouts


def test_ced(tmp_path):
    corpus = ced.read(published.ced(tmp_path))
    assert corpus.name == "ced-text" and corpus.images is None
    assert corpus.posts[["post_id", "label", "author", "n_images"]].values.tolist() == [
        ["M1", 1, "U1", 2],
        ["M2", 0, "U2", 2],
        ["M3", 1, "U3", 2],
        ["M4", 0, "U4", 2],
    ]
    assert json.loads(corpus.posts["replies"][0])[0]["text"] == "回复"
    assert (corpus.posts["language"] == "zh").all() and (corpus.posts["split"] == "").all()
    assert corpus.dropped[["post_id", "source", "reason"]].values.tolist() == [
        ["M5", "original-microblog/5_M5_U5.json", "stands in no repost folder"],
        ["M6", "original-microblog/6_M6_U6.json", "stands in rumor-repost and non-rumor-repost"],
    ]


def test_ced_with_pictures(tmp_path):
    folder = published.ced(tmp_path)
    published.picture(folder / "images" / "1.jpg")
    published.picture(folder / "images" / "M2.png", "PNG")
    corpus = ced.read(folder)
    assert corpus.name == "ced" and corpus.posts["image"].tolist() == ["1.jpg", "M2.png"]
    assert corpus.dropped["post_id"].tolist() == ["M5", "M6", "M3", "M4"]


def test_ced_errors(tmp_path):
    folder = published.ced(tmp_path)
    published.write(folder / "original-microblog" / "odd.json", '{"text": "x"}')
    with pytest.raises(PostsError, match=r"odd\.json: expected <number>_<post id>_<author>\.json"):
        ced.read(folder)
    published.write(folder / "original-microblog" / "odd.json", '{"text": ')
    with pytest.raises(PostsError, match=r"odd\.json: not JSON"):
        ced.read(folder)


def test_mfan_weibo(tmp_path):
    corpus = ced.read_mfan_weibo(published.mfan_weibo(tmp_path))
    assert corpus.posts[["post_id", "label", "split", "image"]].values.tolist() == [
        ["M1", 1, "train", "weibo_images_all/1.jpg"],
        ["M2", 0, "train", "weibo_images_all/2.jpg"],
        ["M4", 0, "test", "weibo_images_all/4.jpg"],
        ["M5", 1, "unassigned", "weibo_images_all/5.jpg"],
        ["M7", 1, "test", "weibo_images_all/7.jpg"],
    ]
    assert corpus.posts["text"][0] == "甲，乙"
    assert corpus.dropped[["post_id", "source", "row", "reason"]].values.tolist() == [
        ["M3", "weibo_content.csv", 3, "label differs from that of its split file"],
        ["M9", "weibo.test", 3, "not in weibo_content.csv"],
        ["M6", "weibo_content.csv", 6, "image 6.jpg does not exist"],
    ]


def test_mfan_pheme(tmp_path):
    corpus = ced.read_mfan_pheme(published.mfan_pheme(tmp_path))
    assert corpus.name == "mfan-pheme" and "rumor at posting time" in corpus.label_means
    assert corpus.posts[["post_id", "label", "split", "image"]].values.tolist() == [
        ["11", 1, "train", "images/1.png"],
        ["12", 0, "train", "pheme_images_jpg/2.jpg"],
        ["13", 1, "test", "pheme_images_jpg/3.jpg"],  # "unverified" speaks of the truth of the rumor
        ["14", 0, "test", "pheme_images_jpg/4.jpg"],
    ]


def test_mfan_pheme_as_republished(tmp_path):
    corpus = layouts.open_folder(published.mfan_republished(tmp_path))
    assert corpus.name == "mfan-pheme"
    assert corpus.posts[["post_id", "label", "split", "image"]].values.tolist() == [
        ["0", 1, "train", "0.jpg"],
        ["1", 0, "train", "1.jpg"],
        ["2", 1, "dev", "2.jpg"],
        ["3", 0, "test", "3.jpg"],
        ["4", 1, "test", "4.jpg"],
        ["5", 0, "dev", "5.jpg"],
    ]
    assert corpus.dropped[["post_id", "source", "row", "reason"]].values.tolist() == [
        ["9", "test_ids.txt", 3, "not in content_noid.csv"]
    ]


def test_lists_of_picture_numbers_name_posts_by_their_own_ids(tmp_path):
    folder = published.mfan_weibo(tmp_path)
    for split, numbers in {"train": "1\n2\n", "dev": "M3\nM4\n", "test": "5\n"}.items():
        (folder / "weibo_files" / f"weibo.{split}").unlink()
        published.write(folder / f"{split}_ids.txt", numbers)
    found = ced.read_mfan_weibo(folder, "keep").posts
    assert dict(zip(found["post_id"], found["split"], strict=True)) == {
        "M1": "train", "M2": "train", "M3": "dev", "M4": "dev", "M5": "test", "M6": "unassigned", "M7": "unassigned",
    }  # fmt: skip


def test_a_damaged_repost_file_costs_its_reposts_and_is_named(tmp_path, caplog):
    folder = published.ced(tmp_path)
    whole = ced.read(folder).posts
    published.write(folder / "rumor-repost" / "1_M1_U1.json", '[{"uid": "8", "te')
    found = ced.read(folder).posts
    assert found["label"].equals(whole["label"]) and found["n_replies"].tolist()[0] == 0
    assert found["replies"][1:].equals(whole["replies"][1:])
    assert "rumor-repost/1_M1_U1.json" in caplog.text and "kept, without reposts" in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [("M1\n", "row 1: expected id, text and label"), ("M1\ta\tfalse\nM4\tb\tfalse\n", "also stands in")],
)
def test_mfan_split_files(tmp_path, text, words):
    folder = published.mfan_weibo(tmp_path)
    published.write(folder / "weibo_files" / "weibo.train", text)
    with pytest.raises(PostsError, match=words):
        ced.read_mfan_weibo(folder)


def test_blank_lines_and_windows_line_ends_in_mfan_files(tmp_path):
    folder = published.mfan_weibo(tmp_path)
    expected = ced.read_mfan_weibo(folder)
    for path in [*(folder / "weibo_files").iterdir(), folder / "weibocontentwithimage" / "weibo_content.csv"]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\r\n")
    found = ced.read_mfan_weibo(folder)
    assert found.posts.equals(expected.posts) and found.dropped.equals(expected.dropped)
