"""Weibo-17 as published: three-line records, BOM, picture names, EANN's events."""

import pickle

import published
import pytest

from rumorlib import config
from rumorlib.data import corpora
from rumorlib.data.posts import PostsError
from rumorlib.data.readers import layouts, weibo
from rumorlib.data.splitting import groups


def test_weibo_texts(tmp_path):
    published.weibo17(tmp_path)
    corpus = weibo.read_texts(tmp_path)
    table = corpus.posts.set_index("post_id")
    assert table.index.tolist() == ["0000000000000001", "2", "3", "4", "5", "6"]
    assert table["label"].tolist() == [1, 1, 0, 0, 1, 0]
    assert table["split"].tolist() == ["train"] * 4 + ["test"] * 2
    assert table["text"].tolist()[1:5] == ["", "短", "另\u2028行", "测试"]
    assert table["image_group"].tolist() == ["abc", "", "d", "f", "g", "h"]
    assert (table["image"] == "").all() and corpus.images is None
    table = groups.link_duplicates(corpus).posts.set_index("post_id")
    assert table["text_group"]["0000000000000001"] == table["text_group"]["6"] != ""
    assert (table["language"] == "zh").all()
    assert "name" not in table.columns
    assert table["author"].tolist() == ["9", "9", "", "", "9", ""]  # "null" is no author of all news posts


def test_weibo_with_pictures(tmp_path):
    folder = published.weibo17(tmp_path)
    for name in ("rumor_images/abc", "rumor_images/g.jpg", "nonrumor_images/E.gif", "nonrumor_images/i.jpg"):
        published.picture(folder / name)
    published.picture(folder / "nonrumor_images" / "._f.jpg")
    corpus = weibo.read(tmp_path)
    assert corpus.posts["image"].tolist() == [
        "rumor_images/abc", "nonrumor_images/E.gif", "rumor_images/g.jpg", "nonrumor_images/i.jpg"
    ]  # fmt: skip
    assert corpus.dropped["post_id"].tolist() == ["2", "4"]
    assert corpus.dropped["reason"].tolist() == ["no image", "image f does not exist"]
    assert corpus.images.pixels("rumor_images/abc", 4).shape == (4, 4, 3)
    for name in ("i.jpg", "E.gif"):
        (folder / "nonrumor_images" / name).unlink()
    with pytest.raises(PostsError, match="after dropping 4 rows: all 1 training posts are rumor"):
        layouts.open_folder(tmp_path)


def test_weibo_out_of_step(tmp_path):
    folder = published.weibo17(tmp_path)
    good = published.weibo_record("1", ["http://w/a.jpg"], "x")
    published.write(folder / "train_rumor.txt", good + "\nextra\n" + good + "\n")
    with pytest.raises(PostsError, match=r"train_rumor\.txt, line 4: expected a record of three lines"):
        weibo.read_texts(tmp_path)
    (folder / "train_rumor.txt").unlink()
    with pytest.raises(PostsError, match=r"train_rumor\.txt does not exist"):
        weibo.read_texts(tmp_path)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://ww1.sinaimg.cn/large/6A.jpg?version=1", "6a"),
        ("6a", "6a"),
        ("x/y.z.GIF", "y.z"),
        (" a copy.jpg ", "a copy"),
    ],
)
def test_image_key(url, key):
    assert weibo.image_key(url) == key


def test_the_first_listed_picture_that_opens(tmp_path):
    folder = published.weibo17(tmp_path)
    published.write(folder / "nonrumor_images" / "d.gif", "<html>404</html>")
    for name in ("nonrumor_images/e.jpg", "nonrumor_images/h.jpg", "rumor_images/abc.jpg", "rumor_images/g"):
        published.picture(folder / name)
    published.write(folder / "nonrumor_images" / "f.jpg", "<html>404</html>")
    corpus = weibo.read(folder)
    assert corpus.posts.set_index("post_id")["image"]["3"] == "nonrumor_images/e.jpg"
    reasons = corpus.dropped.set_index("post_id")
    assert reasons["reason"]["4"] == "image nonrumor_images/f.jpg is no picture that can be opened"
    assert reasons.loc["4", ["source", "row"]].tolist() == ["train_nonrumor.txt", 4]


def test_audit_columns_and_events(tmp_path):
    folder = published.weibo17(tmp_path)
    (folder / "train_id.pickle").write_bytes(pickle.dumps({"3": 7, "4": 7}, 0).replace(b"\n", b"\r\n"))
    (folder / "validate_id.pickle").write_bytes(pickle.dumps({"5": 2}, 2))
    table = weibo.read(folder).posts.set_index("post_id")
    assert table["event"].tolist() == ["", "", "7", "7", "2", ""]
    assert table["eann_split"].tolist() == ["", "", "train", "train", "dev", ""]
    assert table["n_images"].tolist() == [1, 0, 2, 1, 1, 2]
    assert table["author"].tolist() == ["9", "9", "", "", "9", ""]


def test_texts_stay_texts_whatever_lies_there(tmp_path):
    folder = published.weibo17(tmp_path / "weibo_jin2017")
    published.picture(folder / "rumor_images" / "abc.jpg")
    settings = config.Settings("laptop", (), (0,), data_root=tmp_path)
    corpus = corpora.load("weibo-text", settings)
    assert corpus.images is None and (corpus.posts["image"] == "").all() and len(corpus.posts) == 6


def test_without_pictures_the_named_corpus_is_refused(tmp_path):
    published.weibo17(tmp_path / "weibo_jin2017")
    settings = config.Settings("laptop", (), (0,), data_root=tmp_path)
    with pytest.raises(PostsError, match=r"has no pictures; put them there, or load weibo-text"):
        corpora.load("weibo", settings)


def with_pictures(folder):
    for name in ("rumor_images/abc.JPG", "rumor_images/g", "nonrumor_images/d.gif", "nonrumor_images/h.jpg"):
        published.picture(folder / name)
    return published.weibo17(folder)


@pytest.mark.parametrize(
    "extra", ["tweets/README", "README.md", "social_feature.txt", "stop_words.txt", "._train_rumor.txt"]
)
def test_what_else_lies_in_a_download_does_no_harm(tmp_path, extra):
    folder = with_pictures(tmp_path)
    published.write(folder / extra, "x")
    assert weibo.read(folder).posts["post_id"].tolist() == ["0000000000000001", "3", "5", "6"]


def test_texts_in_tweets_beside_the_pictures(tmp_path):
    folder = with_pictures(tmp_path)
    (folder / "tweets").mkdir()
    for name in sorted(folder.glob("*.txt")):
        name.rename(folder / "tweets" / name.name)
    assert len(layouts.open_folder(folder).posts) == 4


def test_windows_line_ends_and_blank_lines_below(tmp_path):
    folder = published.weibo17(tmp_path)
    expected = weibo.read_texts(folder).posts
    for path in folder.glob("*.txt"):
        content = path.read_bytes().replace(b"\r", b"").replace(b"\n", b"\r\n")
        path.write_bytes(content + b"\r\n" * (1 if content.endswith(b"\n") else 3))
    assert weibo.read_texts(folder).posts.equals(expected)


def test_pictures_nested_in_a_folder_of_the_same_name(tmp_path):
    folder = with_pictures(tmp_path)
    expected = weibo.read(folder).posts["post_id"].tolist()
    for name in weibo.IMAGE_FOLDERS:
        (folder / name).rename(folder / "once")
        (folder / name).mkdir()
        (folder / "once").rename(folder / name / name)
    assert weibo.read(folder).posts["post_id"].tolist() == expected


def test_one_picture_folder_alone_would_tell_the_label(tmp_path):
    folder = with_pictures(tmp_path)
    (folder / "rumor_images").rename(tmp_path / "elsewhere")
    for rule in ("drop", "blank", "error"):
        with pytest.raises(PostsError, match=r"has nonrumor_images/ but no rumor_images/: put it there"):
            weibo.read(folder, rule)
    assert len(weibo.read(folder, "keep").posts) == 6


def test_gbk_is_named_with_the_line_and_the_remedy(tmp_path):
    folder = published.weibo17(tmp_path)
    path = folder / "train_nonrumor.txt"
    path.write_bytes(path.read_text("utf-8").replace("\u2028", "").encode("gb18030"))
    with pytest.raises(PostsError, match=r"train_nonrumor\.txt, line 3, is not UTF-8 .*iconv -f gb18030 -t utf-8"):
        weibo.read_texts(folder)
