"""Named splits: groups do not cross where they must not, every post stands once, the order of posts does not matter."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rumorlib import config
from rumorlib.data import corpora, keys, posts
from rumorlib.data.posts import Corpus, PostsError
from rumorlib.data.readers.tables import read_csv
from rumorlib.data.splitting import protocols, split_files, splits
from rumorlib.data.splitting.protocols import DegenerateSplit, Protocol

DAY = pd.Timedelta(days=1)
START = pd.Timestamp("2014-08-09")


def table(n=400, n_images=150, n_events=10, n_repeated=20, seed=0):
    """n posts: pictures used up to several times, a few texts repeated, events of unequal size, one post a day."""
    random = np.random.default_rng(seed)
    image = np.arange(n) % n_images
    frame = pd.DataFrame(
        {
            "post_id": [f"p{i}" for i in range(n)],
            "text": [f"story {i}" if i >= n_repeated else f"repeated {i // 2}" for i in range(n)],
            "label": random.integers(0, 2, n_images)[image],
            "image": [f"i{i}.jpg" for i in image],
            "event": [f"event {int((i // 2) ** 1.2) % n_events}" for i in image],
            "created_at": [f"{START + i * DAY:%Y-%m-%d}" for i in random.permutation(n)],
        }
    )
    return posts.check(frame, "made")


def corpus(frame, name="manifest"):
    return Corpus(name, frame, None, "made")


def crossing(frame):
    return splits.crossings(frame).set_index("kind")["crossing"].to_dict()


@pytest.mark.parametrize(
    ("protocol", "apart"),
    [
        (Protocol("grouped"), ("image_group", "text_group", "event")),
        (Protocol("event"), ("image_group", "text_group", "event")),
        (Protocol("event", event="event 3"), ("image_group", "text_group", "event")),
    ],
    ids=lambda p: p.label if isinstance(p, Protocol) else "",
)
def test_groups_do_not_cross(protocol, apart):
    frame = table()
    frame.loc[[100, 110], "text_group"] = "told of two events"
    found = protocols.split(corpus(frame), protocol)
    assert all(crossing(found)[kind] == 0 for kind in apart)
    assert found["post_id"].tolist() == frame["post_id"].tolist()
    assert set(found["split"]) <= {"train", "dev", "test", "unassigned"}
    assert (frame["split"] == "").all()  # the table given is not changed


@settings(max_examples=30, deadline=None)
@given(
    n_images=st.integers(20, 200), n_repeated=st.integers(0, 100), seed=st.integers(0, 5), split_seed=st.integers(0, 3)
)
def test_grouped_keeps_groups_whole_and_the_shares_near(n_images, n_repeated, seed, split_seed):
    frame = table(300, n_images, n_events=1, n_repeated=n_repeated, seed=seed).assign(event="")
    frame = frame if frame["label"].nunique() == 2 else frame.assign(label=frame["image"].eq("i0.jpg").astype(int))
    protocol = Protocol("grouped", seed=split_seed)
    try:
        found = protocols.split(corpus(frame), protocol)
    except PostsError as error:
        assert "would lack a class" in str(error)
        return
    assert found.assign(key=keys.group_key(frame)).groupby("key")["split"].nunique().max() == 1
    assert set(found["split"]) == {"train", "dev", "test"}
    largest = keys.group_key(frame).value_counts().max()
    for label, total in frame["label"].value_counts().items():
        sizes = found[found["label"] == label]["split"].value_counts()
        assert all(abs(sizes.get(s, 0) - share * total) <= 2 * largest for s, share in protocols.SHARES.items())


@settings(max_examples=10, deadline=None)
@given(order=st.integers(0, 1000), name=st.sampled_from(["grouped", "event", "random", "chronological"]))
def test_the_order_of_posts_does_not_matter(order, name):
    frame = table(300, n_images=300)
    first = protocols.split(corpus(frame), Protocol(name))
    again = protocols.split(corpus(frame.sample(frac=1, random_state=order).reset_index(drop=True)), Protocol(name))
    assert split_files.split_hash(first) == split_files.split_hash(again)


def test_random_is_stratified_and_its_crossings_are_counted():
    frame = table(1000)
    found = protocols.split(corpus(frame), Protocol("random"))
    for label, total in frame["label"].value_counts().items():
        counts = found.loc[found["label"] == label, "split"].value_counts()
        assert counts["test"] == np.ceil(0.2 * total) and counts["dev"] == np.ceil(0.1 * total)
    assert crossing(found)["image_group"] > 100
    other = protocols.split(corpus(frame), Protocol("random", seed=1))
    assert split_files.split_hash(found) != split_files.split_hash(other)


def test_events_in_turn():
    frame = table().assign(label=lambda p: p["label"].where(p["event"] != "event 9", 1))
    folds = protocols.event_folds(frame)
    assert sorted(folds) == sorted(folds.values()) == [f"event {i}" for i in range(9)]
    assert folds["event 8"] == "event 0"
    found = protocols.split(corpus(frame), Protocol("event", event="event 8"))
    by_event = found[found["split"] != "unassigned"].groupby("event")["split"].unique().map(list).to_dict()
    assert by_event.pop("event 8") == ["test"] and by_event.pop("event 0") == ["dev"]
    assert set(map(tuple, by_event.values())) == {("train",)}
    with pytest.raises(PostsError, match="'event 9' is no test event; there are event 0"):
        protocols.split(corpus(frame), Protocol("event", event="event 9"))


@pytest.mark.parametrize("sizes", [(8, 8, 8, 8, 8), (6, 8, 10), (4, 30, 6, 10)])
def test_a_few_events_are_enough_for_three_sides(sizes):
    frame = table(n=sum(sizes), n_images=sum(sizes), n_repeated=0)
    events = [f"event {event}" for event, size in enumerate(sizes) for _ in range(size)]
    frame = frame.assign(event=events, label=[i % 2 for i in range(sum(sizes))])
    for name in ("grouped", "event"):
        found = protocols.split(corpus(frame), Protocol(name))
        assert found.groupby("split")["label"].nunique().to_dict() == {"train": 2, "dev": 2, "test": 2}
        assert crossing(found)["event"] == 0


def test_a_side_without_one_class_is_refused_with_the_counts():
    frame = table().assign(event=lambda p: "event " + p["label"].astype(str), image_group="", text_group="")
    for protocol in (Protocol("event"), Protocol("grouped")):
        with pytest.raises(PostsError, match="would lack a class") as error:
            protocols.split(corpus(frame), protocol)
        assert "share_rumor" in str(error.value)
    with pytest.raises(PostsError, match="0 events have both classes"):
        protocols.split(corpus(frame), Protocol("event", event="event 0"))
    with pytest.raises(PostsError, match="no post names its event"):
        protocols.split(corpus(frame.assign(event="")), Protocol("event"))


def test_chronological_is_by_time_and_leaves_out_posts_without_one():
    frame = table()
    frame.loc[:4, "created_at"] = ["", "23: 59: 22", "yesterday", "2013", "null"]
    found = protocols.split(corpus(frame), Protocol("chronological"))
    assert (found["split"] == "unassigned").tolist() == [True] * 5 + [False] * 395
    times = found.iloc[5:].groupby("split")["created_at"].agg(["min", "max", "size"])
    assert times.loc["train", "max"] < times.loc["dev", "min"] < times.loc["dev", "max"] < times.loc["test", "min"]
    assert times["size"].to_dict() == {"train": 276, "dev": 40, "test": 79}
    with pytest.raises(PostsError, match="no post has a readable time"):
        protocols.chronological(frame.assign(created_at=""))


def test_chronological_refuses_a_side_without_one_class_and_counts_it():
    frame = table(300, n_images=300).sort_values("created_at", ignore_index=True)
    frame["label"] = (frame.index < 240).astype(int)
    frame.loc[[0, 299], "label"] = [0, 1]
    with pytest.raises(
        DegenerateSplit, match=r"train has 1 non-rumor, 209 rumor; dev has 0 .*; test has 59 non-rumor, 1"
    ):
        protocols.split(corpus(frame), Protocol("chronological"))
    assert (protocols.chronological(frame)["split"] == "test").sum() == 60


def test_a_class_from_a_few_pictures_is_refused():
    frame = table(300, n_images=300).sort_values("created_at", ignore_index=True)
    frame.loc[(frame.index >= 240) & (frame["label"] == 1), "image_group"] = "one picture"
    with pytest.raises(DegenerateSplit, match=r"test has one class from effectively 1\.0 pictures"):
        protocols.split(corpus(frame), Protocol("chronological"))
    protocols.split(corpus(frame.assign(image_group="")), Protocol("chronological"))  # no pictures: no such rule


def test_official_keeps_test_and_needs_one():
    frame = table()
    with pytest.raises(PostsError, match="published without train and test"):
        protocols.split(corpus(frame), Protocol("official"))
    published = protocols.split(corpus(frame), Protocol("random"))["split"].replace("dev", "train")
    found = protocols.split(corpus(frame.assign(split=published)), Protocol("official"))
    assert (found["split"] == "test").equals(published == "test") and (found["split"] == "dev").any()
    assert crossing(found)["image_group"] > 0  # the published split leaks: it is counted, not changed
    dev_keys = keys.group_key(frame)[found["split"] == "dev"]
    assert not dev_keys.isin(keys.group_key(frame)[found["split"] == "train"]).any()


def test_cross_fit_folds_cover_train_once():
    frame = table().assign(split=lambda p: ["test" if i % 150 < 30 else "train" for i in range(len(p))], event="")
    folds = [protocols.split(corpus(frame), Protocol("cross-fit", fold=k))["split"] for k in range(5)]
    assert (sum((fold == "dev").astype(int) for fold in folds) == (frame["split"] == "train").astype(int)).all()
    assert all((fold == "test").equals(frame["split"] == "test") for fold in folds)
    with pytest.raises(PostsError, match=r"no cross-fit fold 5; there are 0\.\.4"):
        protocols.split(corpus(frame), Protocol("cross-fit", fold=5))


def test_folds_share_out_train_and_dev_by_label_and_leave_test_alone():
    frame = table(403).assign(
        split=lambda p: [["train", "dev", "test", "train", "unassigned"][i % 5] for i in range(403)]
    )
    pool = frame["split"].isin(["train", "dev"])
    folds = [protocols.split(corpus(frame), Protocol("folds", fold=k))["split"] for k in range(5)]
    assert all(set(fold[pool]) == {"train", "dev"} and set(fold[~pool]) == {"unassigned"} for fold in folds)
    assert (sum((fold == "dev").astype(int) for fold in folds) == pool.astype(int)).all()
    for label in (0, 1):
        sizes = [int((fold[frame["label"] == label] == "dev").sum()) for fold in folds]
        assert max(sizes) - min(sizes) <= 1
    with pytest.raises(PostsError, match=r"no fold 5; there are 0\.\.4"):
        protocols.split(corpus(frame), Protocol("folds", fold=5))
    with pytest.raises(PostsError, match="published without train and test"):
        protocols.split(corpus(frame.assign(split="")), Protocol("folds"))


def published(n=400):
    sides = ["train"] * 7 + ["dev"] + ["test"] * 2
    frame = table(n).assign(split=[[*sides, "unassigned"][i % 11] for i in range(n)])
    return corpus(frame)


def test_published_keeps_three_sides_and_refuses_two():
    made = published()
    assert protocols.split(made, Protocol("published"))["split"].equals(made.posts["split"])
    for name in protocols.MADE_OF_PUBLISHED:
        with pytest.raises(PostsError, match="not published with train, dev and test"):
            protocols.split(corpus(made.posts.replace({"split": {"dev": "train"}})), Protocol(name))


def test_published_apart_takes_out_twins_of_train_and_nothing_else():
    made = published().posts.assign(image_group="", text_group="")
    train, dev, *tests = [made.index[made["split"] == side][0] for side in ("train", "dev")] + list(
        made.index[made["split"] == "test"][:3]
    )
    made.loc[[train, tests[0]], "image_group"] = "one picture"
    made.loc[[train, tests[1]], "text_group"] = "one text"
    made.loc[[dev, tests[2]], "text_group"] = "of dev"
    found = protocols.split(corpus(made), Protocol("published-apart"))["split"]
    assert found.index[found != made["split"]].tolist() == sorted(tests[:2])
    assert (found[tests[:2]] == "unassigned").all()


def test_resplit_draws_the_published_posts_again_in_the_same_sizes():
    made = published()
    first, second = (protocols.split(made, Protocol("resplit", seed=seed))["split"] for seed in (0, 1))
    for found in (first, second):
        assert found.value_counts().to_dict() == made.posts["split"].value_counts().to_dict()
        assert (found == "unassigned").equals(made.posts["split"] == "unassigned")
        assert not found.equals(made.posts["split"])
    assert not first.equals(second)


def test_five_events_have_no_dev_event_and_all_posts_serve():
    made = published().posts
    made = corpus(made.assign(event=[f"event {i % 5}" for i in range(len(made))], image_group="", text_group=""))
    assert set(protocols.event_folds(made.posts).values()) == {""}
    found = protocols.split(made, Protocol("event", event="event 3"))
    assert found.groupby("event")["split"].unique().map(set).to_dict() == {
        f"event {i}": {"test"} if i == 3 else {"train", "dev"} for i in range(5)
    }
    assert 0.11 < (found["split"] == "dev").sum() / (found["event"] != "event 3").sum() <= 0.13


def test_file(tmp_path):
    frame = table()
    path = tmp_path / "mine.csv"
    lines = [f"{name},{'test' if i < 80 else 'train'}" for i, name in enumerate(frame["post_id"])]
    path.write_text("post_id,split\n" + "\n".join(lines) + "\n", encoding="utf-8")
    found = protocols.split(corpus(frame), Protocol("file", file=path))
    assert found["split"].tolist() == ["test"] * 80 + ["train"] * 320
    with pytest.raises(PostsError, match=r"mine\.csv: 1 posts differ"):
        protocols.split(corpus(frame.iloc[1:]), Protocol("file", file=path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "kfold"}, "no protocol called 'kfold'; there are official, file"),
        ({"name": "file"}, "takes a split file"),
        ({"name": "random", "event": "x"}, "takes no test event"),
        ({"name": "random", "fold": 1}, "takes no fold"),
    ],
)
def test_protocols_say_what_they_take(arguments, message):
    with pytest.raises(ValueError, match=message):
        Protocol(**arguments)


def test_labels_are_safe_file_names():
    assert Protocol("event", event="sydneysiege").label == "event-sydneysiege"
    labels = {Protocol("event", event=name).label for name in ("../a", "..\\a", ".._a", "ä/a", "=a")}
    assert len(labels) == 5 and not any(set(label) & set("./\\=") for label in labels)
    assert Protocol("random", seed=2).label == "random-seed2"
    assert Protocol("cross-fit", fold=2).label == "cross-fit-2"


@pytest.mark.parametrize("profile", ["demo", "laptop"])
def test_a_stored_split_is_read_again_and_never_for_other_posts(output, capsys, profile):
    frame = table()
    found = protocols.stored_split(corpus(frame), Protocol("random"), profile)
    folder = output / "results" / profile / "splits"
    name = "manifest-random.csv" if profile == "demo" else "manifest-random.csv.gz"
    assert [path.name for path in folder.iterdir()] == [name]
    first = (folder / name).read_bytes()
    facts = split_files.facts_of(folder / name)
    assert facts["split_hash"] == split_files.split_hash(found)
    assert facts["crossings"] == splits.crossings(found).to_dict("records")
    printed = capsys.readouterr().out
    assert "manifest, random" in printed and "image_group" in printed
    shuffled = frame.sample(frac=1, random_state=1).reset_index(drop=True)
    again = protocols.stored_split(corpus(shuffled), Protocol("random"), profile)
    assert split_files.split_hash(again) == split_files.split_hash(found)
    assert (folder / name).read_bytes() == first
    assert "other posts were near-duplicates" not in capsys.readouterr().out
    kept = protocols.stored_split(corpus(frame.assign(text_group="all one")), Protocol("random"), profile)
    assert kept["split"].tolist() == found["split"].tolist() and (folder / name).read_bytes() == first
    printed = capsys.readouterr().out  # what crosses under today's groups is said, and the file is nobody's to delete
    assert f"{name} was made when other posts were near-duplicates, and is kept" in printed
    then, now = (line.split() for line in printed.split("\n") if "text_group" in line)
    assert then[2] == str(crossing(found)["text_group"]) and now[-4:] == ["1", "1", "400", "1.000"]
    other = protocols.stored_split(corpus(frame), Protocol("random"), profile, "corpus1")
    assert split_files.split_hash(other) == split_files.split_hash(found)
    assert (folder / name.replace("random", "corpus1-random")).is_file()
    with pytest.raises(PostsError, match="1 posts differ"):
        protocols.stored_split(corpus(frame.iloc[1:]), Protocol("random"), profile)


@pytest.mark.parametrize(
    ("words", "protocol"),
    [
        ("random", Protocol("random")),
        ("grouped:3", Protocol("grouped", seed=3)),
        ("event:ferguson", Protocol("event", event="ferguson")),
        ("cross-fit:4", Protocol("cross-fit", fold=4)),
        ("folds:4", Protocol("folds", fold=4)),
        ("resplit:7", Protocol("resplit", seed=7)),
        ("file:a/b.csv", Protocol("file", file=Path("a/b.csv"))),
    ],
)
def test_a_protocol_in_a_word(words, protocol):
    assert protocols.parse(words) == protocol


@pytest.mark.parametrize("words", ["", "randon", "random:x", "file", "cross-fit:-1"])
def test_a_wrong_word_is_refused(words):
    with pytest.raises(ValueError, match="protocol"):
        protocols.parse(words)


# --- the real corpora ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    loaded = config.resolve("laptop")
    return {name: corpora.load(name, loaded) for name in ("twitter", "weibo-text", "pheme-text")}


def counts(frame):
    return {side.split: (side.non_rumor, side.rumor) for side in split_files.split_counts(frame).itertuples()}


@pytest.mark.real_data
def test_real_weibo_in_time_has_counts_but_no_model(real):
    found = protocols.chronological(real["weibo-text"].posts)
    assert counts(found) == {"train": (1931, 4737), "dev": (950, 3), "test": (1898, 8)}
    with pytest.raises(DegenerateSplit, match="test has 1,898 non-rumor, 8 rumor"):
        protocols.split(real["weibo-text"], Protocol("chronological"))


@pytest.mark.real_data
def test_real_twitter_in_time_has_counts_but_no_model(real):
    found = protocols.chronological(real["twitter"].posts)
    assert counts(found) == {"train": (4687, 5728), "dev": (305, 1184), "test": (1689, 1288)}
    assert set(found.loc[(found["split"] == "dev") & (found["label"] == 0), "event"]) == {"boston"}
    with pytest.raises(DegenerateSplit, match=r"test has one class from effectively 4\.0 pictures"):
        protocols.split(real["twitter"], Protocol("chronological"))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("twitter", {"image_group": 293, "text_group": 753, "event": 38}),
        ("weibo-text", {"image_group": 1, "text_group": 348, "event": 0}),
        ("pheme-text", {"image_group": 0, "text_group": 238, "event": 9}),
    ],
)
def test_real_crossings_of_a_random_split(real, name, expected):
    assert crossing(protocols.split(real[name], Protocol("random"))) == expected


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["twitter", "weibo-text", "pheme-text"])
def test_real_grouped_splits_cross_nothing_and_hold_the_shares(real, name):
    found = protocols.split(real[name], Protocol("grouped"))
    assert set(crossing(found).values()) == {0}
    shares = found["split"].value_counts(normalize=True)
    assert all(abs(shares[side] - share) < 0.02 for side, share in protocols.SHARES.items())


@pytest.mark.real_data
def test_real_official_splits(real):
    twitter = protocols.split(real["twitter"], Protocol("official"))
    assert crossing(twitter) == {"image_group": 0, "text_group": 0, "event": 1}  # Sandy: pictures apart
    weibo = protocols.split(real["weibo-text"], Protocol("official"))
    assert set(crossing(weibo).values()) == {0}
    with pytest.raises(PostsError, match="published without"):
        protocols.split(real["pheme-text"], Protocol("official"))


@pytest.mark.real_data
def test_real_files_hold_no_post_id(real, output):
    protocols.stored_split(real["weibo-text"], Protocol("grouped"), "laptop")  # not among the committed ones
    path = output / "results" / "laptop" / "splits" / "weibo-text-grouped.csv.gz"
    table = read_csv(path, split_files.ABOVE)
    assert table["row_key"].str.fullmatch("[0-9a-f]{12}").all() and len(table) == 9527
    assert path.stat().st_size < 200_000


def test_the_usual_protocol_keeps_what_is_published_and_never_splits_posts_at_random() -> None:
    published = table(60).assign(split=["train"] * 40 + ["test"] * 20)
    assert protocols.usual(corpus(published)).name == "official"
    bare = published.assign(split="")
    assert protocols.usual(corpus(bare)).name == "grouped"
    events = bare.assign(event=[list(splits.PHEME_DEV)[i % 5] for i in range(len(bare))])
    assert protocols.usual(corpus(events)) == Protocol("event", event="charliehebdo")
