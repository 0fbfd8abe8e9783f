"""Photo tier: one modality alone is worth .500 whatever is computed from it; pairs, distances, files."""

import dataclasses
import hashlib
import os

import numpy as np
import pandas as pd
import pytest
from conftest import instead
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import roc_auc_score

from rumorlib import config, experiments
from rumorlib.data import corpora, photo
from rumorlib.data.images import ArrayImages
from rumorlib.data.posts import CaptionCorpus, PostsError

COLOURS = ("red", "blue", "green", "black", "white")
THINGS = ("dog", "child", "car", "boat", "bird", "house", "horse")


def caption_table(n=60, n_captions=4, seed=0, language="en", first_id=0):
    random = np.random.default_rng(seed)
    rows = []
    for image in range(n):
        split = ("train", "train", "dev", "test")[image % 4]
        for caption in range(n_captions):
            words = [COLOURS[random.integers(5)], THINGS[random.integers(7)], THINGS[random.integers(7)]]
            text = f"{words[0]} {words[1]} near a {words[2]}"
            rows.append((f"images/{image:03d}.jpg", caption + first_id, text, split, language))
    return pd.DataFrame(rows, columns=["image", "caption_id", "text", "split", "language"])


def caption_corpus(**options):
    table = caption_table(**options)
    keys = sorted(table["image"].unique())
    return CaptionCorpus("made", table, ArrayImages(keys, np.zeros((len(keys), 4, 4, 3), np.uint8)))


def word_vectors(table):
    words = sorted({word for text in table["text"] for word in text.split()})
    vectors = np.array([[text.split().count(word) for word in words] for text in table["text"]], float)
    return vectors + np.random.default_rng(1).normal(0, 0.01, vectors.shape)


def built(seed=0, n=60):
    corpus = caption_corpus(seed=seed, n=n)
    return photo.build(corpus, photo.pair_recipe(corpus.captions, word_vectors(corpus.captions)), "en")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["text", "image", "caption_image"]), st.integers(12, 80))
def test_one_modality_is_worth_nothing_by_construction(seed, modality, n):
    """Any function of the text or of the image: here a hash, as arbitrary as a function can be."""
    posts = built(seed % 7, n).posts
    score = posts[modality].map(lambda v: int(hashlib.sha256(f"{seed} {v}".encode()).hexdigest()[:4], 16) / 16**4)
    for _, rows in posts.assign(score=score).groupby(["split", "distance"]):
        assert roc_auc_score(rows["label"], rows["score"]) == pytest.approx(0.5, abs=1e-12)
        assert ((rows["score"] > 0.5) == rows["label"]).mean() == 0.5


def test_every_image_and_caption_once_matched_and_once_not():
    corpus = built()
    posts = corpus.posts.assign(caption=lambda p: p["caption_image"] + p["distance"])
    for _, rows in posts.groupby(["split", "distance"]):
        for column in ("image", "caption"):
            table = pd.crosstab(rows[column], rows["label"])
            assert (table == 1).all(axis=None)
    assert ((posts["image"] == posts["caption_image"]) == (posts["label"] == 0)).all()
    assert posts.groupby("image")["split"].nunique().max() == 1
    assert posts.groupby("pair").size().eq(4).all()
    assert posts.groupby("caption_image")["text"].nunique().max() <= 3
    assert (posts["image_group"] == posts["image"]).all() and (posts["text_group"] == "").all()


def test_distances_are_graded_and_use_their_own_caption():
    table = caption_table(400)
    pairs = photo.pair_recipe(table, word_vectors(table))
    train = pairs[pairs["split"] == "train"].groupby("distance")
    assert train["rank"].median()["nearest"] <= 4
    assert 40 <= train["rank"].median()["50th"] <= 60
    similarity = train["similarity"].mean()
    assert similarity["nearest"] > similarity["50th"] > similarity["random"]
    assert pairs.groupby("distance")["caption"].unique().map(list).to_dict() == {
        "random": [0],
        "50th": [1],
        "nearest": [2],
    }


def test_recipe_is_the_same_in_any_row_order():
    table = caption_table()
    vectors = word_vectors(table)
    order = np.random.default_rng(0).permutation(len(table))
    again = photo.pair_recipe(table.iloc[order], vectors[order])
    pd.testing.assert_frame_equal(photo.pair_recipe(table, vectors), again)
    assert not again.equals(photo.pair_recipe(table, vectors, seed=1))


def test_nearest_pairs_are_the_greedy_matching(monkeypatch):
    monkeypatch.setattr(photo, "BLOCK", 7)
    unit = np.random.default_rng(0).normal(size=(41, 5)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    similarity = unit @ unit.T
    edges = sorted((-similarity[a, b], a, b) for a in range(41) for b in range(a))
    used, greedy = set(), set()
    for _, a, b in edges:
        if not {a, b} & used:
            used |= {a, b}
            greedy.add((b, a))
    assert set(photo._nearest_pairs(unit, sparse.eye_array(41, dtype=bool, format="csr"))) == greedy


def test_equal_captions_are_never_paired_in_any_language():
    table = caption_table(40)
    other = caption_table(40, seed=5, language="zh", first_id=1)
    other.loc[other["image"] < "images/020.jpg", "text"] = "同样的话"
    pairs = photo.pair_recipe(table, np.ones((len(table), 3)), [other])
    for corpus in (table, other):
        text = photo._positions(corpus)
        for pair in pairs.itertuples():
            assert text[pair.image, pair.caption] != text[pair.partner, pair.caption]


def test_no_caption_is_swapped_to_a_picture_that_has_one_of_the_same_words():
    """Whichever of the picture's captions it is, in whichever language: such a "rumor" would be true of its picture."""
    english = caption_table(60).assign(text=lambda t: t["text"].str.split().str[:2].str.join(" "))  # 35 sentences
    chinese = caption_table(60, seed=3, language="zh", first_id=1).assign(
        text=lambda t: t["text"].str.split().str[-1] + t["caption_id"].map(lambda i: "。" if i % 2 else " ！")
    )
    pairs = photo.pair_recipe(english, word_vectors(english), [chinese])
    assert pairs.groupby("distance").size().reindex(photo.DISTANCES).gt(0).all()
    for table in (english, chinese):
        words = table["text"].str.replace(r"[。！ ]+$", "", regex=True)
        own = words.groupby(table["image"]).agg(set)
        said = photo._positions(table.assign(text=words))
        for pair in pairs.itertuples():
            assert said[pair.image, pair.caption] not in own[pair.partner]
            assert said[pair.partner, pair.caption] not in own[pair.image]


def test_version_2_refuses_what_version_1_calls_a_rumor_although_it_is_an_own_caption():
    """The pairs of version 1 stay the posts that runs answered; a column says which of them are labelled wrongly."""
    corpus = caption_corpus()
    table = corpus.captions
    pairs = photo.pair_recipe(table, word_vectors(table))
    pair = pairs[(pairs["split"] == "test") & (pairs["distance"] == "random")].iloc[0]  # caption 0 is swapped
    swapped = table.loc[(table["image"] == pair["partner"]) & (table["caption_id"] == 0), "text"].item()
    at = table[(table["image"] == pair["image"]) & (table["caption_id"] == 3)].index
    said = table["text"].mask(table.index == at[0], f" {swapped.upper()} !")
    doubled = dataclasses.replace(corpus, captions=table.assign(text=said))
    first, second = (photo.build(doubled, pairs, "en", version) for version in (1, 2))
    assert first.name == "photo-en" and second.name == "photo2-en"
    assert len(first.posts) == 4 * len(pairs) and first.dropped.empty
    wrong = first.posts[(first.posts["label"] == 1) & first.posts["own_caption"]]
    assert wrong["image"].tolist() == [pair["image"]] and wrong["text"].tolist() == [swapped]
    assert first.posts.loc[first.posts["label"] == 0, "own_caption"].all()
    assert len(second.posts) == 4 * len(pairs) - 4 and second.dropped["reason"].str.contains("same words").tolist() == [
        True
    ]
    assert not (second.posts["own_caption"] & (second.posts["label"] == 1)).any()


def test_only_equal_captions_end_without_pairs():
    table = caption_table(20).assign(text="all the same")
    assert photo.pair_recipe(table, np.ones((len(table), 3))).empty


def test_images_with_few_captions_are_left_out():
    table = caption_table(21)
    table = table[~((table["image"] == "images/000.jpg") & (table["caption_id"] > 1))]
    pairs = photo.pair_recipe(table, word_vectors(table))
    assert not (pairs[["image", "partner"]] == "images/000.jpg").any(axis=None)
    assert pairs.groupby(["split", "distance"]).size()["train"].eq(5).all()  # 10 of the 11 train images
    with pytest.raises(ValueError, match="one per caption"):
        photo.pair_recipe(table, np.ones((3, 2)))


def test_other_language_same_images_and_reported_drops():
    corpus = caption_corpus()
    pairs = photo.pair_recipe(corpus.captions, word_vectors(corpus.captions))
    chinese = caption_corpus(seed=9, language="zh", n_captions=3, first_id=1)
    table = chinese.captions
    gone = table[(table["image"] == "images/000.jpg") & (table["caption_id"] == 3)].index
    posts = photo.build(dataclasses.replace(chinese, captions=table.drop(gone)), pairs, "zh")
    english = photo.build(corpus, pairs, "en")
    both = english.posts.merge(posts.posts, on="post_id")
    assert (both["image_x"] == both["image_y"]).all() and (both["label_x"] == both["label_y"]).all()
    assert "images/000.jpg" in posts.dropped["reason"].str.cat()
    assert "has no caption 2" in posts.dropped["reason"].str.cat()
    assert len(posts.posts) + 4 * len(posts.dropped) == len(english.posts) + 4 * len(english.dropped)


def test_pairs_of_another_corpus_are_refused():
    corpus = caption_corpus()
    pairs = photo.pair_recipe(corpus.captions, word_vectors(corpus.captions)).assign(image="images/else.jpg")
    with pytest.raises(PostsError, match="none of 87 photo pairs fits made"):
        photo.build(corpus, pairs, "en")


def test_pair_files_hold_no_text_and_are_reproducible(tmp_path):
    table = caption_table()
    pairs = photo.pair_recipe(table, word_vectors(table))
    for name in ("a", "b"):
        photo.write_pairs(pairs, tmp_path / name / "photo_pairs.csv.gz")
    first, second = ((tmp_path / name / "photo_pairs.csv.gz").read_bytes() for name in ("a", "b"))
    assert first == second
    again = photo.read_pairs(tmp_path / "a" / "photo_pairs.csv.gz")
    pd.testing.assert_frame_equal(again, pairs, check_dtype=False)
    assert "text" not in again.columns
    (tmp_path / "a" / "photo_pairs.csv.gz").write_bytes(first[: len(first) // 2])
    with pytest.raises(PostsError, match="damaged"):
        photo.read_pairs(tmp_path / "a" / "photo_pairs.csv.gz")
    photo.write_pairs(pairs.assign(rank="x"), tmp_path / "photo_pairs.csv.gz")
    with pytest.raises(PostsError, match="write it with photo"):
        photo.read_pairs(tmp_path / "photo_pairs.csv.gz")


def test_load_reads_the_pair_file_and_makes_no_other(tmp_path, monkeypatch):
    """Pairs made by another recipe would be another corpus under the same name: an error, whatever was said."""
    monkeypatch.setenv("RUMORLIB_OUTPUT", str(tmp_path))
    instead(monkeypatch, config.PROJECT_ROOT, tmp_path)
    corpus = caption_corpus()
    monkeypatch.setattr(corpora, "load_captions", lambda name, settings: corpus)
    chosen = config.Settings("laptop", (), (0,))
    with pytest.raises(PostsError, match=r"photo_pairs\.csv\.gz does not exist.*restore it"):
        corpora.load("photo-en", chosen)
    pairs = photo.pair_recipe(corpus.captions, word_vectors(corpus.captions))
    photo.write_pairs(pairs, photo.pairs_path("laptop", 1))
    assert len(corpora.load("photo-en", chosen).posts) == 4 * len(pairs)
    with pytest.raises(PostsError, match=r"photo_pairs_2\.csv\.gz does not exist.*restore it"):
        corpora.load("photo2-en", chosen)
    photo.write_pairs(pairs.iloc[3:], photo.pairs_path("laptop", 2))
    assert len(corpora.load("photo2-en", chosen).posts) == 4 * len(pairs) - 12
    assert config.record("photo2-en").label_means == config.record("photo-en").label_means
    assert config.record("photo2-zh").folder == "flickr8k"


def test_version_2_is_trained_on_where_it_is_asked_for_and_nowhere_else():
    assert not [name for name in config.resolve("laptop", train="none").datasets if name.startswith("photo2")]
    asked = config.resolve("laptop", ["photo2-zh"], train="none")
    plan = experiments.micc(asked, "photo2-zh")
    assert asked.datasets == ("photo2-zh",) and plan.dataset == "photo2-zh"
    assert plan.stage1 == experiments.micc(asked, "photo-zh").stage1


@pytest.mark.real_data
@pytest.mark.slow
def test_real_photo_tier():
    if not os.environ.get("RUMORLIB_DATA"):
        pytest.skip("RUMORLIB_DATA is not set")
    chosen = config.Settings("laptop", (), (0,))
    captions = [corpora.load_captions(f"flickr8k-{language}", chosen) for language in ("en", "zh")]
    wrong = {}
    for version in photo.PAIRS:
        pairs = photo.read_pairs(photo.pairs_path("laptop", version))
        assert len(pairs) == 12000
        tiers = [photo.build(one, pairs, language, version) for one, language in zip(captions, ("en", "zh"))]
        for tier in tiers:
            assert tier.dropped.empty
            counts = tier.posts.groupby(["split", "distance", "label"]).size()
            assert counts["train"].eq(6000).all() and counts["dev"].eq(1000).all() and counts["test"].eq(1000).all()
            labelled = tier.posts[tier.posts["own_caption"] & (tier.posts["label"] == 1)]
            wrong[tier.name] = labelled.groupby("split").size().to_dict()
        assert (tiers[0].posts["image"] == tiers[1].posts["image"]).all()
    assert wrong == {"photo-en": {"train": 15, "test": 1}, "photo-zh": {"train": 78, "dev": 9, "test": 5},
                     "photo2-en": {}, "photo2-zh": {}}  # fmt: skip


def test_a_detector_trains_on_whole_pairs_of_known_or_of_new_pictures_and_answers_all_others() -> None:
    """Pairs of two known pictures, of two new ones and of one each; dev pictures are new to every stage 1."""
    pairs = {"train-1": "ab", "train-2": "cd", "train-3": "ac", "dev-1": "ef"}
    rows = [{"pair": name, "split": name.split("-")[0], "image": images[i], "label": int(i != j)}
            for name, images in pairs.items() for i in (0, 1) for j in (0, 1)]  # fmt: skip
    table = pd.DataFrame(rows)
    known, new = (photo.trained_on(table, {"a", "b"}, known) for known in (True, False))
    assert set(known["pair"]) == {"train-1", "dev-1"} and set(new["pair"]) == {"train-2", "dev-1"}
    for part in (known, new):
        assert (part.groupby("image")["label"].mean() == 0.5).all() and len(part) == 8
