"""Near-duplicates stand in one group whatever the reader, and a picture that cannot be decoded is a missing one."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from rumorlib.data import posts
from rumorlib.data.images import FolderImages
from rumorlib.data.posts import Corpus, PostsError
from rumorlib.data.splitting import groups, protocols, splits
from rumorlib.data.splitting.duplicates import image_pairs
from rumorlib.data.splitting.text_duplicates import text_groups, text_pairs

STORY = "a man was seen near the old railway bridge this morning"


def picture(path, seed, side=120):
    """A smooth random picture, so that its smaller copy is alike and others are not."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def corpus(tmp_path):
    for name, seed, side in (("a.png", 0, 120), ("a_small.png", 0, 90), ("b.png", 1, 120), ("c.png", 2, 120)):
        picture(tmp_path / name, seed, side)
    (tmp_path / "a_copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    whole = (tmp_path / "c.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    rows = [
        ("1", STORY, 1, "a.png"), ("2", f"{STORY}!!", 0, "b.png"), ("3", "something else altogether", 1, "a_copy.png"),
        ("4", "no word of this is like the rest", 0, "a_small.png"), ("5", "", 1, "c.png"), ("6", "", 0, "cut.png"),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["post_id", "text", "label", "image"]).assign(weight=1.0)
    return Corpus("manifest", posts.check(frame, "made"), FolderImages(tmp_path), "")


def test_a_corpus_whose_events_are_called_none_is_not_read_in_silence(corpus, caplog):
    named = corpus.posts.assign(event=["None"] * 4 + ["flood", ""])
    found = groups.link_duplicates(Corpus("manifest", named, None, ""))
    assert found.posts["event"].tolist() == named["event"].tolist()
    assert "manifest: event 'None', in 4 posts, is kept as a name" in caplog.text


def partition(values):
    return {frozenset(np.flatnonzero(np.asarray(values) == value)) for value in set(values) - {""}}


def test_alike_texts_and_pictures_are_one_group(corpus):
    linked = groups.link_duplicates(corpus)
    assert partition(linked.posts["text_group"]) == {frozenset({0, 1}), frozenset({2}), frozenset({3})}
    assert partition(linked.posts["image_group"]) == {frozenset({0, 2, 3}), frozenset({1}), frozenset({4})}
    assert linked.posts["weight"].tolist() == pytest.approx([1 / 3, 1, 1 / 3, 1 / 3, 1])
    assert (corpus.posts["image_group"] == corpus.posts["image"]).all()  # the argument is not changed


def test_groups_a_reader_gave_are_kept_and_joined(corpus):
    given = corpus.posts.assign(text_group=["x", "", "x", "", "y", "y"])
    found = groups.link_duplicates(Corpus("manifest", given, None, "")).posts
    assert partition(found["text_group"]) == {frozenset({0, 1, 2}), frozenset({3}), frozenset({4, 5})}


def test_the_order_of_posts_does_not_matter(corpus):
    turned = corpus.posts.iloc[::-1].reset_index(drop=True)
    again = groups.link_duplicates(Corpus("manifest", turned, corpus.images, "")).posts.iloc[::-1]
    first = groups.link_duplicates(corpus).posts
    for kind in ("text_group", "image_group"):
        assert partition(first[kind]) == partition(again[kind].tolist())


def test_copies_of_a_file_are_linked_without_comparing_them(corpus, monkeypatch):
    compared = []
    monkeypatch.setattr(groups, "image_pairs", lambda grey: compared.append(len(grey)) or image_pairs(grey))
    key = corpus.posts["image"][0]
    whole = corpus.images.path(key).read_bytes()
    names = [f"copy{k}.png" for k in range(30)]
    for name in names:
        (corpus.images.root / name).write_bytes(whole)
    first = corpus.posts.iloc[0].to_dict()
    rows = [first | {"post_id": name, "image": name, "image_group": name} for name in names]
    more = pd.concat([corpus.posts, pd.DataFrame(rows)], ignore_index=True)
    found = groups.link_duplicates(Corpus("manifest", more, corpus.images, "")).posts
    assert found["image_group"].iloc[-30:].nunique() == 1 and found["image_group"].iloc[-1] == found["image_group"][0]
    assert compared[0] < 6


@pytest.mark.parametrize(("rule", "n_posts"), [("drop", 5), ("blank", 6), ("keep", 6)])
def test_an_undecodable_picture_is_a_missing_one(corpus, rule, n_posts):
    found = groups.link_duplicates(corpus, rule)
    assert len(found.posts) == n_posts
    assert (found.posts["image"] == "").sum() == (rule == "blank")
    reasons = found.dropped["reason"].tolist()
    assert (len(reasons) == 1 and "cut.png cannot be decoded" in reasons[0]) if rule == "drop" else not reasons


def test_error_names_the_post_and_the_picture(corpus):
    with pytest.raises(PostsError, match=r"manifest, row 6: .*cut\.png cannot be decoded"):
        groups.link_duplicates(corpus, "error")


def test_a_twitter_dev_post_with_a_twin_in_train_leaves_dev():
    random = np.random.default_rng(0)
    words = ["".join(chr(97 + letter) for letter in random.integers(0, 26, 30)) for _ in range(200)]
    words[150:180] = [f"{word} indeed" for word in words[:30]]  # alike, not equal; other pictures
    rows = [(f"s{i}", word, i // 10 % 2, "train", "sandy", f"p{i // 5}") for i, word in enumerate(words)]
    rows += [(f"t{i}", f"test {i}", i % 2, "test", "paris", "q") for i in range(4)]
    frame = pd.DataFrame(rows, columns=["post_id", "text", "label", "split", "event", "image"])
    corpus = groups.link_duplicates(Corpus("twitter", posts.check(frame, "made"), None, ""))
    folds = splits.twitter_folds(corpus.posts)
    left_out = 0
    for fold in range(5):
        dev = protocols.split(corpus, protocols.Protocol("cross-fit", fold=fold))
        train, held = (set(dev.loc[dev["split"] == side, "text_group"]) for side in ("train", "dev"))
        assert held and not train & held
        assert set(dev.index[dev["split"].isin(["dev", "unassigned"])]) == set(dev.index[folds == fold])
        left_out += (dev["split"] == "unassigned").sum()
    assert left_out


# --- near-duplicate texts -------------------------------------------------------------------------


def linked(texts):
    """Groups by the definition: `text_pairs` in steps."""
    pairs = text_pairs(texts)
    edges = coo_matrix((np.ones(len(pairs.left)), (pairs.left, pairs.right)), shape=(len(texts), len(texts)))
    return connected_components(edges, directed=False)[1]


def same_partition(one, other):
    return len({*zip(one.tolist(), other.tolist())}) == len(set(one.tolist())) == len(set(other.tolist()))


words = st.lists(st.sampled_from(["storm", "flood", "bridge", "city", "night", "火车站", "附近", "x"]), max_size=9)


@given(st.lists(words.map(" ".join), unique=True, max_size=25))
def test_groups_are_the_pairs_linked_in_steps(texts):
    assert same_partition(text_groups(texts), linked(texts))


def test_chains_templates_and_texts_without_shingles():
    random = np.random.default_rng(0)
    texts = ["", "abc", "x"]
    for family in range(30):
        words = ["".join(random.choice(list("abcdefghij"), 5)) for _ in range(14)]
        for step in range(8):  # each has one word less of the first and one more that is new
            texts.append(" ".join([*words[step:], *(f"{family}new{k}" for k in range(step))]))
    texts += [f"template {i} filled in {i * 7919 % 1009} times, words and more words" for i in range(150)]
    groups = text_groups(texts)
    assert same_partition(groups, linked(texts))
    assert len(set(groups[:3].tolist())) == 3 and len(set(groups[-150:].tolist())) == 1


def test_a_template_filled_in_many_times_lists_no_pairs():
    texts = [f"text number {i} of a long list {i * 7919 % 100003} words" for i in range(12_000)]
    assert len(set(text_groups(texts).tolist())) == 1  # 72 million pairs if they were listed
