"""PHEME threads in both versions, with and without pictures, and what is wrong with a thread."""

import json
import shutil

import published
import pytest

from rumorlib.data.posts import PostsError
from rumorlib.data.readers import layouts, pheme
from rumorlib.data.splitting import splits


@pytest.mark.parametrize("version", [1, 2])
def test_threads(tmp_path, version):
    corpus = pheme.read(published.pheme(tmp_path, version))
    assert corpus.name == "pheme-text" and corpus.images is None and corpus.dropped.empty
    assert corpus.posts[["post_id", "label", "event"]].values.tolist() == [
        ["552784600502915092", 1, "charliehebdo"],
        ["552784600502915102", 0, "charliehebdo"],
        ["552784600502915072", 1, "ferguson"],
        ["552784600502915082", 0, "ferguson"],
    ]
    assert corpus.posts["text"].tolist()[0] == "charliehebdo rumours"
    assert (corpus.posts["split"] == "").all() and (corpus.posts["author"] == "77").all()
    replies = json.loads(corpus.posts["replies"][2])
    assert [(r["id"], r["parent"], r["text"]) for r in replies] == [
        ("552784600502915073", "552784600502915072", "reply 1"),
        ("552784600502915074", "552784600502915072", "reply 2"),
    ]
    assert (corpus.posts["n_replies"] == 2).all()


@pytest.mark.parametrize("version", [1, 2])
def test_usual_nesting(tmp_path, version):
    inner = "all-rnr-annotated-threads" if version == 2 else "pheme-rnr-dataset"
    published.pheme(tmp_path / "pheme" / inner, version)
    for place in (tmp_path, tmp_path / "pheme", tmp_path / "pheme" / inner):
        assert len(layouts.open_folder(place).posts) == 4


@pytest.mark.parametrize("beside", [True, False])
def test_pictures_in_or_beside_the_tree(tmp_path, beside):
    folder = published.pheme(tmp_path / "all-rnr-annotated-threads")
    images = (tmp_path if beside else folder) / "images"
    published.picture(images / "552784600502915072.jpg")
    published.picture(images / "552784600502915102.png", "PNG")
    corpus = layouts.open_folder(tmp_path)
    assert corpus.name == "pheme"
    assert corpus.posts["image"].tolist() == ["552784600502915102.png", "552784600502915072.jpg"]
    assert corpus.images.pixels("552784600502915102.png", 4).shape == (4, 4, 3)
    assert corpus.dropped["reason"].str.contains("does not exist").all() and len(corpus.dropped) == 2
    assert corpus.dropped["source"][0].endswith("552784600502915092.json")
    kept = layouts.open_folder(tmp_path, on_missing_image="blank")
    assert len(kept.posts) == 4 and (kept.posts["image"] == "").sum() == 2


def test_a_fold_can_be_made(tmp_path):
    folder = published.pheme(tmp_path)
    for event in ("germanwings-crash", "sydneysiege"):
        thread = folder / event / "rumours" / "9"
        published.write(thread / "source-tweet" / f"9{len(event)}.json", published.tweet(f"9{len(event)}", event))
    fold = splits.event_fold(pheme.read(folder).posts, "charliehebdo", "ferguson")
    assert fold.groupby("split").size().to_dict() == {"dev": 2, "test": 2, "train": 2}


def test_broken_threads(tmp_path):
    folder = published.pheme(tmp_path)
    thread = folder / "ferguson-all-rnr-threads" / "rumours" / "552784600502915072"
    source = thread / "source-tweets" / "552784600502915072.json"
    whole = source.read_text()
    for text, words in (("{", "not JSON"), ("[]", "one JSON object"), ('{"id_str": "1"}', "no tweet with id_str and")):
        source.write_text(text)
        with pytest.raises(PostsError, match=words) as error:
            pheme.read(folder)
        assert str(source) in str(error.value)
    source.write_text(json.dumps(json.loads(whole) | {"id_str": None, "id": 5.5e17}))
    with pytest.raises(PostsError, match="no tweet with id_str"):
        pheme.read(folder)
    source.unlink()
    with pytest.raises(PostsError, match=r"0 source tweets in source-tweets or source-tweet.*restore the thread"):
        pheme.read(folder)


def test_american_spelling_and_one_event_alone(tmp_path):
    folder = published.pheme(tmp_path / "pheme")
    expected = pheme.read(folder).posts
    for event in folder.glob("[!.]*-threads"):
        (event / "rumours").rename(event / "rumors")
        (event / "non-rumours").rename(event / "non-rumors")
    assert pheme.read(folder).posts.equals(expected)
    alone = layouts.open_folder(folder / "ferguson-all-rnr-threads").posts
    assert alone["event"].tolist() == ["ferguson"] * 2 and alone["label"].tolist() == [1, 0]


def test_a_tweet_in_two_threads_counts_once(tmp_path):
    folder = published.pheme(tmp_path)
    rumours = folder / "ferguson-all-rnr-threads" / "rumours"
    shutil.copytree(rumours / "552784600502915072", rumours / "999")
    corpus = pheme.read(folder)
    assert len(corpus.posts) == 4 and corpus.dropped["post_id"].tolist() == ["552784600502915072"]
    assert corpus.dropped["source"][0].endswith("999/source-tweets/552784600502915072.json")
    assert corpus.dropped["reason"][0] == "id repeats that of post 3"
