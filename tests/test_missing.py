"""What becomes of a post without its picture, and what a dropped row says."""

import pandas as pd
import published
import pytest

from rumorlib.data.images import FolderImages
from rumorlib.data.posts import PostsError
from rumorlib.data.readers import manifest, missing


@pytest.fixture
def table(tmp_path):
    published.picture(tmp_path / "a.jpg")
    published.write(tmp_path / "page.jpg", "<html>not found</html>")
    keys = ["a.jpg", "gone.jpg", "", "../a.jpg", "page.jpg", "x" * 300]
    return pd.DataFrame({"post_id": list("123456"), "image": keys}), FolderImages(tmp_path)


def test_keep_and_blank_lose_no_post(table):
    frame, images = table
    kept, dropped = missing.settle(frame, images, "f", "keep")
    assert kept.equals(frame) and dropped.empty
    blank, dropped = missing.settle(frame, images, "f", "blank")
    assert blank["image"].tolist() == ["a.jpg", "", "", "", "page.jpg", ""] and dropped.empty
    assert frame["image"][1] == "gone.jpg"  # the argument is not changed


def test_drop_says_why(table):
    frame, images = table
    kept, dropped = missing.settle(frame, images, "f.csv", "drop", headers=True)
    assert kept["post_id"].tolist() == ["1"]
    assert dropped["row"].tolist() == [2, 3, 4, 5, 6] and set(dropped["source"]) == {"f.csv"}
    words = ["gone.jpg does not exist", "no image", "path with '/', without '..'", "no picture that can be opened",
             "shorten it"]  # fmt: skip
    assert all(word in reason for word, reason in zip(words, dropped["reason"], strict=True))


def test_error_names_file_row_and_remedy(table):
    frame, images = table
    places = [("one.txt", 4), ("two.txt", 7), *[("two.txt", 9)] * 4]
    with pytest.raises(PostsError, match=r"two\.txt, row 7: image gone\.jpg does not exist.*on_missing_image='drop'"):
        missing.settle(frame, images, "f", "error", places)
    with pytest.raises(PostsError, match=r"f, row 2: image gone\.jpg"):
        missing.settle(frame, images, "f", "error")


def test_no_picture_at_all(table):
    frame, images = table
    with pytest.raises(PostsError, match=r"none of 2 pictures exists below .*on_missing_image='keep'"):
        missing.settle(frame.iloc[1:3].reset_index(drop=True), images, "f")


@pytest.mark.parametrize(("rule", "ids"), [("keep", ["1", "2", "3"]), ("drop", ["1", "2"]), ("blank", ["1", "2", "3"])])
def test_manifest_follows_the_rule(tmp_path, rule, ids):
    published.manifest(tmp_path)
    path = tmp_path / "manifest.csv"
    path.write_text(path.read_text() + "3,three,real,../../secret.jpg\n")
    corpus = manifest.read_file(path, rule)
    assert corpus.posts["post_id"].tolist() == ids
    if rule == "drop":
        assert "'../../secret.jpg' is not a path below" in corpus.dropped["reason"][0]
    if rule == "blank":
        assert corpus.posts["image"].tolist() == ["a.jpg", "a.jpg", ""]
    with pytest.raises(PostsError, match=r"manifest\.csv, row 3: .*relative path"):
        manifest.read_file(path, "error")


def test_repeats():
    assert missing.repeats(["a", "b", "a", "a"]) == ["", "", "id repeats that of post 1", "id repeats that of post 1"]
