"""The leakage audit on corpora made here, with every leak planted; its reference numbers on the real files."""

import io
import itertools
import os
import re
import runpy
from dataclasses import replace
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
import published
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rumorlib import config
from rumorlib.data import corpora, posts
from rumorlib.data.images import ArrayImages, FolderImages
from rumorlib.data.posts import Corpus
from rumorlib.data.splitting import duplicates, splits, text_duplicates
from rumorlib.figures import plots
from rumorlib.studies.corpus import audit, exploration, shortcuts
from rumorlib.studies.corpus.shortcuts import Fold


def scene(seed, side=160):
    """A picture with the spectrum of photographs."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1
    waves = (random.normal(size=frequency.shape) + 1j * random.normal(size=frequency.shape)) / frequency
    grey = np.fft.irfft2(waves, (side, side))
    grey = 128 + 48 * (grey - grey.mean()) / grey.std()
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")


def jpeg(picture, quality):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def cut(picture, x, y, share=0.1):
    left, top = round(x * share * picture.width), round(y * share * picture.height)
    return picture.crop(
        (left, top, left + round((1 - share) * picture.width), top + round((1 - share) * picture.height))
    )


def in_memory(pictures):
    return ArrayImages(
        [str(i) for i in range(len(pictures))], np.stack([np.asarray(p.resize((128, 128))) for p in pictures])
    )


def found(pairs):
    return set(zip(pairs.left.tolist(), pairs.right.tolist()))


# --- near-duplicates ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "alter",
    [
        lambda p: p.resize((80, 80)),
        lambda p: p.resize((200, 120)),
        lambda p: jpeg(p, 30),
        *[lambda p, at=at: cut(p, *at) for at in itertools.product((0, 0.5, 1), repeat=2)],
        lambda p: cut(p, 0.3, 0.8),
        lambda p: jpeg(cut(p, 0.7, 0.2), 40),
        lambda p: cut(p, 0.5, 0.5, 0.2),
    ],
)
def test_an_altered_picture_is_found_and_nothing_else(alter):
    originals = [scene(seed) for seed in range(30)]
    images = in_memory([*originals, *[alter(p) for p in originals[:10]]])
    grey, errors = duplicates.thumbnails(images, images.keys)
    assert not any(errors)
    assert found(duplicates.image_pairs(grey)) == {(i, 30 + i) for i in range(10)}


def test_the_hash_is_imagehash_phash():
    pictures = [scene(seed, 64) for seed in range(20)]
    grey = np.stack([np.asarray(p.convert("L")) for p in pictures])
    ours = duplicates._bits(duplicates._waves(grey, duplicates.WINDOWS[:1]))[:, 0]
    for picture, bits in zip(pictures, ours):
        theirs = imagehash.phash(picture).hash.ravel()
        own = np.unpackbits(np.array([bits]).view(np.uint8)).astype(bool)
        assert (own != theirs).sum() <= 2  # imagehash rounds the 32 x 32 pixels to whole numbers first


def test_flat_unreadable_and_few_pictures(tmp_path):
    Image.new("RGB", (90, 70), "navy").save(tmp_path / "a.png")
    Image.new("RGB", (90, 70), "navy").save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"no picture")
    grey, errors = duplicates.thumbnails(FolderImages(tmp_path), ["a.png", "b.png", "c.png", "../d.png"])
    assert errors[:2] == ["", ""] and not grey[2:].any()
    assert "c.png cannot be decoded" in errors[2] and "is not a path below" in errors[3]
    assert not found(duplicates.image_pairs(grey))
    assert not found(duplicates.image_pairs(grey[:0])) and not found(duplicates.image_pairs(grey[:1]))


def test_features_add_what_pixels_miss_and_a_pair_stands_once():
    originals = [scene(seed) for seed in range(12)]
    images = in_memory([*originals, cut(originals[0], 1, 1, 0.5), originals[1]])
    grey, _ = duplicates.thumbnails(images, images.keys)
    assert found(duplicates.image_pairs(grey)) == {(1, 13)}
    features = np.random.default_rng(0).normal(size=(14, 40))
    features[12], features[13] = features[0] + 0.1, features[1]
    pairs = duplicates.image_pairs(grey, features)
    assert found(pairs) == {(0, 12), (1, 13)} and len(pairs.left) == 2
    assert (pairs.left < pairs.right).all() and ((pairs.score > 0.75) & (pairs.score <= 1)).all()
    features[5] = features[6]  # alike to the encoder, other pixels
    assert found(duplicates.image_pairs(grey, features)) == {(0, 12), (1, 13)}


def shingle_jaccard(one, other, n=text_duplicates.N_CHARS):
    a, b = ({text[i : i + n] for i in range(len(text) - n + 1)} for text in (one, other))
    return len(a & b) / len(a | b) if a and b else 0.0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text("abc 水火", min_size=0, max_size=30), min_size=0, max_size=12, unique=True))
def test_text_pairs_are_those_of_the_definition(texts):
    pairs = text_duplicates.text_pairs(texts, 0.6)
    every = {(i, j): shingle_jaccard(texts[i], texts[j]) for i, j in itertools.combinations(range(len(texts)), 2)}
    assert found(pairs) <= {pair for pair, value in every.items() if value >= 0.6}  # exact: no pair too many
    assert {pair for pair, value in every.items() if value >= 0.9} <= found(pairs)  # by chance one in 10^12 is missed
    for i, j, score in zip(*pairs):
        assert score == pytest.approx(every[i, j])


@pytest.mark.parametrize("letters", ["abcdefghijklmnop qrstuvw", "".join(map(chr, range(0x4E00, 0x4F00)))])
def test_planted_texts_are_found(letters):
    random = np.random.default_rng(0)
    texts = ["".join(random.choice(list(letters), 60)) for _ in range(400)]
    edited = [text[:30] + "ZZ" + text[32:] for text in texts]
    pairs = text_duplicates.text_pairs(texts + edited)
    assert len({(i, 400 + i) for i in range(400)} & found(pairs)) >= 0.99 * 400
    assert len(found(pairs)) <= 400


def test_a_similarity_of_nothing_is_refused():
    with pytest.raises(ValueError, match="min_jaccard"):
        text_duplicates.text_pairs(["a", "b"], 0)


# --- rules ----------------------------------------------------------------------------------


def fold(label, n_train, weight=None):
    label = np.asarray(label)
    train, test = np.arange(n_train), np.arange(n_train, len(label))
    return Fold(label, train, test, np.ones(n_train) if weight is None else np.asarray(weight, float))


def test_look_up_says_what_train_says_and_nothing_of_the_unknown():
    pairs = duplicates.Pairs(np.array([0]), np.array([2]), np.array([0.9]))
    #                 train: groups 0 0 1 -1     test: 0 1 2 3 -1
    codes = np.array([0, 0, 1, -1, 0, 1, 2, 3, -1])
    label = [1, 0, 0, 1, 0, 0, 0, 0, 0]
    alone = shortcuts.look_up(fold(label, 4), codes)
    assert alone.prob.tolist() == [0.5, 0.0, 0.5, 0.5, 0.5] and alone.known.tolist() == [
        True,
        True,
        False,
        False,
        False,
    ]
    alike = shortcuts.look_up(fold(label, 4, [3, 1, 1, 1]), codes, pairs)
    assert alike.prob[[0, 2]].tolist() == [0.75, 0.75] and alike.known.tolist() == [True, True, True, False, False]
    assert alike.prob[3] == pytest.approx(4 / 6)


def test_test_labels_are_never_read():
    random = np.random.default_rng(0)
    label, codes, values = random.integers(0, 2, 200), random.integers(-1, 30, 200), random.normal(size=200)
    flipped = np.r_[label[:150], 1 - label[150:]]
    texts = [f"{code} {value:.3f}" for code, value in zip(codes, values)]
    for rule in (
        lambda f: shortcuts.look_up(f, codes),
        lambda f: shortcuts.threshold(f, values, 3),
        lambda f: shortcuts.of_words(f, "tfidf_lr", texts, "en"),
        shortcuts.prior,
    ):
        assert np.array_equal(rule(fold(label, 150)).prob, rule(fold(flipped, 150)).prob)


def test_a_threshold_leaves_what_has_no_number_to_the_prior():
    values = np.array([*range(60), np.nan, 5, 55, np.nan])
    label = [int(v >= 30) for v in range(60)] + [0, 0, 1, 1]
    answer = shortcuts.threshold(fold(label, 61), values)
    assert answer.known.tolist() == [True, True, False]
    assert answer.prob.tolist() == [0.0, 1.0, pytest.approx(30 / 61)]


# --- tables ---------------------------------------------------------------------------------


def leaking_corpus(n_images=40, per_image=6):
    """Each picture has one label and several posts; the official split parts pictures, events and authors."""
    random = np.random.default_rng(0)
    rows = []
    for image in range(n_images):
        split = "test" if image >= 0.75 * n_images else "train"
        for post in range(per_image):
            words = " ".join(random.choice(["storm", "flood", "bridge", "photo", "city", "night", "people"], 9))
            rows.append({
                "post_id": f"{image}-{post}", "text": f"{words} {image}{post}", "label": image % 2, "split": split,
                "event": f"event {image // 8}", "image": str(image), "language": "en",
                "created_at": f"20{10 + image % 2}-01-{1 + post:02d}", "author": f"author {image // 4}",
                "n_images": 1 + image % 2,
            })  # fmt: skip
    return Corpus(
        "made", posts.check(pd.DataFrame(rows), "made"), in_memory([scene(i) for i in range(n_images)]), "made"
    )


@pytest.fixture(scope="module")
def evidence():
    return audit.gather(leaking_corpus())


def test_scores_show_the_split_and_the_leaks(evidence):
    table = audit.shortcut_scores(evidence, 100)
    assert list(table) == list(audit.SCORE_COLUMNS) and set(table["unit"]) == {"post", "image"}
    score = table.set_index(["unit", "protocol", "shortcut"])["estimate"]
    known = table.set_index(["unit", "protocol", "shortcut"])["known"]
    assert score["post", "random", "same picture"] == 1 and known["post", "random", "same picture"] > 0.95
    assert known["post", "official", "same picture"] == known["post", "official", "near-duplicate picture"] == 0
    for shortcut in ("publish time, threshold", "attached images, threshold"):
        assert score["post", "official", shortcut] == score["image", "official", shortcut] == 1
    assert known["post", "random", "author"] == 1 and known["post", "official", "author"] < 1
    assert (table["low"] <= table["estimate"]).all() and (table["estimate"] <= table["high"]).all()
    assert table.loc[table["protocol"] == "official", "n_clusters"].unique().tolist() == [10]


def test_twins_are_counted(evidence):
    table = audit.leaks(evidence).set_index(["protocol", "kind"])
    assert list(table.reset_index()[list(audit.LEAK_COLUMNS)]) == list(audit.LEAK_COLUMNS)
    assert table.loc[("official", "same picture"), "test_posts"] == 0
    at_random = table.loc[("random", "same picture")]
    assert at_random["same_label"] == 1 and at_random["test_posts"] > 0.95 * at_random["n_test"]
    train, test = audit.protocols(evidence.posts)["random"][0]
    both = set(evidence.posts["image"].iloc[test]) & set(evidence.posts["image"].iloc[train])
    assert at_random["crossing"] == len(both)


def test_a_cropped_copy_in_test_is_a_twin(tmp_path):
    corpus = leaking_corpus()
    copies = corpus.images.array.copy()
    copies[39] = np.asarray(cut(Image.fromarray(copies[0]), 0.5, 0.5).resize((128, 128)))
    images = ArrayImages(corpus.images.keys, copies)
    found_twins = audit.leaks(audit.gather(Corpus("made", corpus.posts, images, "made")))
    row = found_twins.set_index(["protocol", "kind"]).loc[("official", "near-duplicate picture")]
    assert (row["pairs"], row["crossing"], row["test_posts"], row["same_label"]) == (1, 1, 6, 0.0)


def test_protocols_part_the_posts_and_pheme_holds_out_events():
    table = leaking_corpus().posts
    for folds in audit.protocols(table).values():
        for train, test in folds:
            assert len(train) and len(test) and not set(train) & set(test)
    events = ["charliehebdo", "ferguson", "germanwings-crash", "ottawashooting", "sydneysiege", "gurlitt"]
    table = table.assign(event=[events[int(e.split()[1])] for e in table["event"]], image="", image_group="", split="")
    table = pd.concat([table, table.tail(4).assign(event="sydneysiege", text_group="x")], ignore_index=True)
    folds = audit.protocols(table, "pheme-text")["event"]
    assert len(folds) == 5
    for train, test in folds:
        assert table["event"].iloc[test].nunique() == 1
        assert not set(table["event"].iloc[test]) & set(table["event"].iloc[train])


def test_tables_and_figure_hold_no_text_and_no_id(evidence):
    scores, twins = audit.shortcut_scores(evidence, 20), audit.leaks(evidence)
    bars = exploration.shortcut_bars(scores)
    assert set(bars["metric"]) == {"official split", "random split"}
    figure = plots.shortcut_scores(bars, title="audit")
    assert figure.axes
    cells = {str(cell) for frame in (scores, twins, bars) for column in frame for cell in frame[column]}
    assert not cells & {*evidence.posts["text"], *evidence.posts["post_id"], *evidence.posts["author"]}


def test_effective_numbers_and_sizes(tmp_path):
    corpus = leaking_corpus()
    numbers = exploration.effective_numbers([corpus]).set_index("split")
    assert numbers.loc["train", "effective_images"] == pytest.approx(30) and numbers.loc["train", "images"] == 30
    assert 3 < numbers.loc["train", "effective_events"] < 4  # of sizes 8, 8, 8 and 6
    assert numbers.loc["test", "first_day"] == "2010-01-01" and numbers.loc["test", "languages"] == "en 1.00"
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    table = pd.DataFrame({"image": ["a.png", "b.jpg", "a.png", ""]})
    row = exploration.picture_sizes([Corpus("made", table, FolderImages(tmp_path), "")]).iloc[0]
    assert (row["pictures"], row["unreadable"], row["width_median"], row["formats"]) == (2, 1, 30, "PNG 1")


def test_the_middle_day_of_each_class_and_no_pictures_where_none_are():
    corpus = leaking_corpus()
    row = exploration.effective_numbers([corpus]).set_index("split").loc["train"]
    assert row["median_day_non_rumor"].startswith("2010-01") and row["median_day_rumor"].startswith("2011-01")
    row = exploration.effective_numbers([replace(corpus, posts=corpus.posts.assign(image="", created_at=""))]).iloc[0]
    assert row["images"] == 0 and np.isnan(row["effective_images"])  # image_group still says who listed what
    assert row["median_day_rumor"] == row["first_day"] == ""


def test_folds_are_drawn_once_for_scores_and_twins(evidence):
    only = replace(evidence, folds={"official": evidence.folds["official"]})
    assert set(audit.shortcut_scores(only, 20)["protocol"]) == set(audit.leaks(only)["protocol"]) == {"official"}
    assert evidence.folds.keys() == audit.protocols(evidence.posts, "made").keys()


def test_near_duplicates_that_no_group_holds_are_counted_where_the_split_is_shown():
    corpus = leaking_corpus()
    copies = corpus.images.array.copy()
    copies[39] = np.asarray(cut(Image.fromarray(copies[0]), 0.5, 0.5).resize((128, 128)))  # a test picture
    corpus = Corpus("made", corpus.posts, ArrayImages(corpus.images.keys, copies), "made")
    table = exploration.crossings([corpus], audit.leaks(audit.gather(corpus))).set_index("kind")
    assert list(table.index) == ["image_group", "text_group", "event", "near_duplicate_pair"]
    assert table.loc["image_group", "crossing"] == 0
    assert table.loc["near_duplicate_pair", ["groups", "crossing", "posts"]].tolist() == [1, 1, 6]
    assert table.loc["near_duplicate_pair", "share_of_test"] == pytest.approx(0.1)


def test_the_folders_of_a_profile_are_checked(tmp_path):
    published.weibo17(tmp_path / "weibo_jin2017")
    published.captions(tmp_path / "flickr8k")
    names = ("photo-en", "photo-zh", "weibo-text", "demo-en")
    table = exploration.checked(config.Settings("laptop", names, (0,), data_root=tmp_path)).set_index("folder")
    assert list(table.index) == ["flickr8k", "weibo_jin2017"]
    assert table["layout"].tolist() == ["captions", "weibo17"] and table["posts"].tolist() == [4, 6]
    weibo = table.loc["weibo_jin2017"]
    assert weibo["verdict"] == "usable, with problems" and weibo["notes"] == "posts without text: 1"
    assert weibo["problems"].startswith("near-duplicate texts that stand in several splits: 1 groups of 2 posts")
    assert str(tmp_path) not in table.to_string()
    assert exploration.checked(config.Settings("demo", ("demo-en",), (0,))).empty


def test_the_benchmark_runs_and_finds_what_it_planted(capsys):
    place = config.PROJECT_ROOT / "benchmarks" / "audit.py"
    found = runpy.run_path(str(place), run_name="benchmark")
    found["main"](["--posts", "200"])  # too few for its bars of speed
    printed = capsys.readouterr().out
    shares = [
        float(share) for line in re.findall(r"recall (.*)", printed) for share in re.findall(r"[01]\.\d{4}", line)
    ]
    assert len(shares) == 5 and min(shares) >= 0.99


# --- real corpora ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    return config.Settings("laptop", (), (0,), data_root=Path(os.environ["RUMORLIB_DATA"]))


@pytest.mark.real_data
def test_weibo_reference_numbers(real):
    evidence = audit.gather(corpora.load("weibo-text", real))
    score = audit.shortcut_scores(evidence, 50).set_index(["protocol", "shortcut"])["estimate"]
    assert score["official", "publish time, threshold"] == pytest.approx(0.964, abs=0.005)
    assert score["official", "attached images, threshold"] == pytest.approx(0.945, abs=0.005)
    assert score["official", "TF-IDF"] == pytest.approx(0.816, abs=0.02)
    assert score["random", "TF-IDF"] == pytest.approx(0.945, abs=0.01)
    twins = audit.leaks(evidence).set_index(["protocol", "kind"])["test_posts"]
    assert twins["official"].drop("same author").sum() == 0 and twins["random", "near-duplicate text"] > 300
    assert twins["official", "same author"] == 126  # of rumors alone: the files name no author of a news post


@pytest.mark.real_data
def test_twitter_reference_numbers(real):
    evidence = audit.gather(corpora.load("twitter", real))
    score = audit.shortcut_scores(evidence, 50).set_index(["unit", "protocol", "shortcut"])["estimate"]
    assert score["post", "random", "same picture"] == pytest.approx(0.998, abs=0.003)
    assert score["image", "official", "surface counts"] == pytest.approx(0.625, abs=0.01)
    assert score["post", "official", "TF-IDF"] == pytest.approx(0.66, abs=0.015)
    assert splits.crossings(evidence.posts)["crossing"].iloc[0] == 0


@pytest.mark.parametrize(("name", "parted"), [("pheme-text", ["event", "random"]),
                                              ("mfan-pheme", ["event", "published", "random"])])  # fmt: skip
def test_a_published_split_stands_beside_events_and_one_of_ours_does_not(name, parted):
    events = list(splits.PHEME_DEV)
    sides = ["train", "train", "test", "dev"]
    rows = [{"post_id": str(i), "text": f"story {i}", "label": i // 5 % 2, "event": events[i % 5],
             "split": sides[i // 5 % 4 if i % 3 else 2]} for i in range(200)]  # fmt: skip
    assert list(audit.protocols(posts.check(pd.DataFrame(rows), "made"), name)) == parted
