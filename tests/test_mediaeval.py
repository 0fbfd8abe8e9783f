"""MediaEval's text files: three labels, two column orders, images by name only; and the prepared table."""

import published
import pytest

from rumorlib.data.posts import PostsError
from rumorlib.data.readers import mediaeval


def test_as_published(tmp_path):
    corpus = mediaeval.read(published.mediaeval(tmp_path))
    table = corpus.posts.set_index("post_id")
    assert table[["label", "split", "event"]].to_dict("index") == {
        "101": {"label": 1, "split": "train", "event": "sandy"},
        "102": {"label": 0, "split": "train", "event": "sandy"},
        "201": {"label": 1, "split": "test", "event": "attacks_paris"},
        "202": {"label": 0, "split": "test", "event": "attacks_lyon"},
    }
    assert table["text"]["101"] == '"Is it? storm\\nnow &amp; then'  # a quote is text, and nothing is rewritten
    assert table["image"]["101"].endswith("fakes/sandy_fake_35.png")  # the first listed one does not exist
    assert table["image_group"]["101"] == "sandy_fake_03" and table["n_images"]["101"] == 2
    assert table["image"]["102"].endswith("sandy_real_01.JPG")
    assert table["image"]["201"] == "testset/Images/attacks_paris_1.jpeg"
    assert all(corpus.images.pixels(key, 4).shape == (4, 4, 3) for key in table["image"])
    assert (table["weight"] == 1).all()


def test_what_is_left_out_is_reported(tmp_path):
    dropped = mediaeval.read(published.mediaeval(tmp_path)).dropped
    assert dropped[["post_id", "source", "row", "reason"]].values.tolist() == [
        ["103", "devset/posts.txt", 4, "label humor, neither fake nor real"],
        ["104", "devset/posts.txt", 5, "6 cells below a header of 7"],
        ["102", "devset/posts.txt", 6, "id repeats that of post 2"],
        ["105", "devset/posts.txt", 7, "image film_1 does not exist"],
    ]


def test_texts_only(tmp_path):
    corpus = mediaeval.read(published.mediaeval(tmp_path, images=False))
    assert corpus.name == "twitter-text" and corpus.images is None and len(corpus.posts) == 5


def test_of_2015_in_one_folder(tmp_path):
    header = "tweetId\ttweetText\tuserId\timageId(s)\tusername\ttimestamp\tlabel"
    published.write(tmp_path / "tweets.txt", f"{header}\n1\ta\t9\tx_1\tn\tMon\tfake\n2\tb\t9\tx_2\tn\tMon\treal\r\n")
    corpus = mediaeval.read(tmp_path)
    assert corpus.posts[["post_id", "label", "split"]].values.tolist() == [["1", 1, ""], ["2", 0, ""]]


def test_errors(tmp_path):
    folder = published.mediaeval(tmp_path)
    truth = folder / "testset" / "posts_groundtruth.txt"
    whole = truth.read_text()
    truth.write_text(whole.replace("\tfake", "\tmaybe"))
    with pytest.raises(PostsError, match=r"testset/posts_groundtruth\.txt, row 2: label 'maybe' is neither 0 nor 1"):
        mediaeval.read(folder)
    truth.write_bytes(whole.encode("utf-16"))
    with pytest.raises(PostsError, match=r"posts\.txt: no column label; .*posts_groundtruth\.txt"):
        mediaeval.read(folder)
    truth.write_bytes(whole.encode() + "201\té".encode("latin1"))
    with pytest.raises(PostsError, match="not UTF-8"):
        mediaeval.read(folder)


def test_names_differ_in_case_and_one_event_is_cut_in_two(tmp_path):
    folder = published.mediaeval(tmp_path)
    path = folder / "devset" / "posts.txt"
    path.write_text(
        path.read_text().replace("sandy_fake_35", "sandyA_FAKE_35").replace("sandy_real_01", "sandyB_real_01")
    )
    images = folder / "devset" / "Medieval2016_DevSet_Images" / "Hurricane Sandy"
    published.picture(images / "sandyA_fake_35.jpg")
    published.picture(images / "SandyB_real_01.jpg")
    table = mediaeval.read(folder).posts.set_index("post_id")
    assert table["event"].tolist() == ["sandy", "sandy", "attacks_paris", "attacks_lyon"]
    assert table["image"]["101"].endswith("sandyA_fake_35.jpg") and table["image"]["102"].endswith("SandyB_real_01.jpg")


def test_a_licence_is_no_picture(tmp_path):
    folder = published.mediaeval(tmp_path, images=False)
    published.write(folder / "LICENSE", "x")
    published.write(folder / "devset" / "tweets_images_update.txt", "post_id\timage_url\n")
    assert mediaeval.read(folder).images is None


def test_windows_line_ends(tmp_path):
    folder = published.mediaeval(tmp_path)
    expected = mediaeval.read(folder).posts
    for path in folder.rglob("posts*.txt"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert mediaeval.read(folder).posts.equals(expected)
