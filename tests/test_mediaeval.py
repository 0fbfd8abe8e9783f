"""MediaEval's text files: three labels, two column orders, images by name only; and the prepared table."""

import pickle

import numpy as np
import published
import pytest

from rumorlib.data.posts import PostsError
from rumorlib.data.readers import event_ids, mediaeval


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


# --- EANN's pickles: the published form, its damage by line ends, and everything that must not be loaded.


# As Python 2 wrote them: protocol 0, numpy integers.
PUBLISHED = (
    b"(dp1\nV3000000000000017\np2\ncnumpy.core.multiarray\nscalar\np3\n(cnumpy\ndtype\np4\n(S'i8'\nI0\nI1\ntRp5\n"
    b"(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbS'\\x07\\x00\\x00\\x00\\x00\\x00\\x00\\x00'\ntRp6\nsV3000000000000042\np7\ng3\n"
    b"(g5\nS'\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00'\ntRp8\ns."
)
EVENTS = {"3000000000000017": "7", "3000000000000042": "1"}


@pytest.mark.parametrize("content", [PUBLISHED, PUBLISHED.replace(b"\n", b"\r\n")], ids=["unix", "windows"])
def test_published_form(tmp_path, content):
    (tmp_path / "train_id.pickle").write_bytes(content)
    assert event_ids.read(tmp_path / "train_id.pickle") == EVENTS


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("number", [int, np.int64, np.int32, np.float64])
def test_saved_again_by_python_3(tmp_path, protocol, number):
    path = tmp_path / "train_id.pickle"
    path.write_bytes(pickle.dumps({name: number(event) for name, event in EVENTS.items()}, protocol))
    assert event_ids.read(path) == EVENTS


def test_a_post_whose_event_is_no_number_has_none(tmp_path):
    path = tmp_path / "train_id.pickle"
    path.write_bytes(pickle.dumps({"1": 7.0, "2": float("nan"), "None": np.float64(3)}, 2))
    assert event_ids.read(path) == {"1": "7", "None": "3"}


def test_folder(tmp_path):
    (tmp_path / "train_id.pickle").write_bytes(PUBLISHED)
    (tmp_path / "test_id.pickle").write_bytes(pickle.dumps({"5": 3}, 2))
    events, splits = event_ids.read_folder(tmp_path)
    assert events == EVENTS | {"5": "3"}
    assert splits == dict.fromkeys(EVENTS, "train") | {"5": "test"}


class Runs:
    """Would run a command when loaded."""

    def __reduce__(self):
        import os

        return os.system, ("touch hacked",)


class Builtin:
    def __reduce__(self):
        return eval, ("1",)


@pytest.mark.parametrize("value", [Runs(), {"1": Runs()}, Builtin(), np.zeros(3), {"1": np.zeros(2)}, {"1": object}])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_else_is_built(tmp_path, monkeypatch, value, protocol):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "train_id.pickle"
    path.write_bytes(pickle.dumps(value, protocol))
    with pytest.raises(PostsError, match=r"train_id\.pickle cannot be read safely .*the name"):
        event_ids.read(path)
    assert not (tmp_path / "hacked").exists()


BAD = [b"", b"garbage", PUBLISHED[:60], b"\x80\x04\x95", b"(dp1\nPref\n."]
BAD += [pickle.dumps(found) for found in ([1], {"1": "x"}, {"1": float("inf")})]


@pytest.mark.parametrize("content", BAD)
def test_damage(tmp_path, content):
    path = tmp_path / "train_id.pickle"
    path.write_bytes(content)
    with pytest.raises(PostsError, match=r"train_id\.pickle.*(use EANN's original file|remove it)"):
        event_ids.read(path)


def test_size_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(event_ids, "MAX_BYTES", 10)
    (tmp_path / "x.pickle").write_bytes(PUBLISHED)
    with pytest.raises(PostsError, match="less than 10"):
        event_ids.read(tmp_path / "x.pickle")
