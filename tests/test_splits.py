"""Dev splits and folds: what may not cross does not, nothing is lost, the same seed gives the same split."""

import numpy as np
import pandas as pd
import pytest

from rumorlib.data import posts
from rumorlib.data.posts import PostsError
from rumorlib.data.splitting import split_files, splits


def table(n=200, per_image=4, seed=0):
    """n training and n/4 test posts; `per_image` posts share a picture, every tenth text may repeat."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(n + n // 4):
        image = i // per_image
        text = f"story {image // 2}" if i % 10 == 0 else f"text {i}"
        rows.append((f"p{i}", text, image % 2, "train" if i < n else "test", f"i{image}"))
    frame = pd.DataFrame(rows, columns=["post_id", "text", "label", "split", "image"])
    return posts.check(frame.sample(frac=1, random_state=int(random.integers(99))), "made")


def sides(frame):
    return frame.groupby(["split", "label"]).size().to_dict()


def test_grouped_dev_takes_whole_groups_of_both_classes():
    before = table()
    after = splits.grouped_dev(before, 0.1, seed=3)
    assert splits.crossings(after)["crossing"].sum() == 0
    counts = sides(after)
    assert 5 <= counts["dev", 0] <= 10 and 5 <= counts["dev", 1] <= 10
    assert (after["split"] == "test").equals(before["split"] == "test")
    assert (before["split"] != "dev").all()  # the table given is not changed


def test_grouped_dev_depends_on_the_seed_only():
    before = table()
    first = splits.grouped_dev(before, 0.1, seed=3)
    again = splits.grouped_dev(before.sample(frac=1, random_state=5), 0.1, seed=3)
    assert split_files.split_hash(first) == split_files.split_hash(again)
    assert split_files.split_hash(first) != split_files.split_hash(splits.grouped_dev(before, 0.1, seed=4))


def test_grouped_dev_says_when_it_cannot():
    one = table().assign(image_group="all")
    with pytest.raises(PostsError, match="no dev split with both classes: 1 training groups"):
        splits.grouped_dev(one, 0.1)
    with pytest.raises(ValueError, match="share"):
        splits.grouped_dev(one, 1.5)


def pheme():
    rows = []
    for event in (*splits.PHEME_DEV, "gurlitt"):
        rows += [(f"{event}{i}", f"{event} {i}", i % 2, event) for i in range(6)]
    rows.append(("copy", "ferguson 0", 1, "charliehebdo"))
    return posts.check(pd.DataFrame(rows, columns=["post_id", "text", "label", "event"]), "made")


@pytest.mark.parametrize("event", splits.PHEME_DEV)
def test_pheme_folds(event):
    fold = splits.event_fold(pheme(), event, splits.PHEME_DEV[event])
    used = fold[fold["split"] != "unassigned"]
    by_event = used.groupby("event")["split"].unique().map(list).to_dict()
    assert by_event.pop(event) == ["test"]
    assert by_event.pop(splits.PHEME_DEV[event]) == ["dev"]
    assert all(names == ["train"] for names in by_event.values())
    assert splits.crossings(fold)["crossing"].sum() == 0
    assert (fold["split"] == "unassigned").sum() == int(event in ("charliehebdo", "ferguson", "sydneysiege"))


def test_every_large_event_is_dev_once():
    assert sorted(splits.PHEME_DEV) == sorted(splits.PHEME_DEV.values())


def twitter():
    """Like the real one: one event with most posts and both classes, small events of one class, a test split."""
    rows = []
    for i in range(400):
        rows.append((f"s{i}", f"sandy {i // 3}", int(i // 10 % 2), "train", "sandy", f"sandy{i // 10}"))
    for k in range(6):
        rows += [(f"e{k}-{i}", f"event {k} {i}", 1, "train", f"e{k}", f"e{k}-{i // 5}") for i in range(10)]
    rows += [(f"t{i}", f"test {i}", i % 2, "test", "paris", f"paris{i}") for i in range(20)]
    frame = pd.DataFrame(rows, columns=["post_id", "text", "label", "split", "event", "image"])
    frame.loc[frame["image"].isin(["sandy2", "sandy5"]), "text"] = "the same words"
    return posts.check(frame, "made")


def test_twitter_folds_share_nothing_but_sandy():
    frame = twitter()
    folds = splits.twitter_folds(frame, 4)
    assert (folds[frame["split"] == "test"] == -1).all()
    own = frame[folds >= 0].assign(fold=folds)
    assert own["fold"].nunique() == 4
    for kind in ("image_group", "text_group"):
        assert own.groupby(kind)["fold"].nunique().max() == 1
    assert own[own["event"] != "sandy"].groupby("event")["fold"].nunique().max() == 1
    images = own.groupby(["fold", "label"])["image"].nunique().unstack()
    assert (images > 0).all(axis=None)
    assert (images.max() - images.min()).max() <= 5
    assert folds.equals(splits.twitter_folds(frame.sample(frac=1, random_state=1), 4).loc[frame.index])


def test_twitter_folds_say_when_a_class_runs_out():
    frame = twitter()
    with pytest.raises(PostsError, match="cannot all have both classes"):
        splits.twitter_folds(frame, 4, cut_events=())


def test_twitter_dev_is_one_fold():
    frame = twitter()
    dev = splits.twitter_dev(frame)
    assert dev.index[dev["split"] == "dev"].equals(frame.index[splits.twitter_folds(frame) == 0])
    assert splits.crossings(dev).set_index("kind")["crossing"].to_dict() == {
        "image_group": 0,
        "text_group": 0,
        "event": 1,
    }


def test_crossings_count_groups_and_test_posts():
    frame = posts.check(
        pd.DataFrame(
            {
                "post_id": list("abcde"),
                "text": ["x", "x", "y", "z", ""],
                "label": [0, 1, 0, 1, 0],
                "split": ["train", "test", "test", "train", "unassigned"],
                "image": ["p", "q", "", "p", "q"],
                "event": ["one", "one", "one", "two", "one"],
            }
        ),
        "made",
    )
    found = splits.crossings(frame).set_index("kind")
    assert found.loc["text_group"].tolist() == [3, 1, 2, 0.5]
    assert found.loc["image_group"].tolist() == [2, 0, 0, 0.0]
    assert found.loc["event"].tolist() == [2, 1, 3, 1.0]
    apart = splits.separate(frame)
    assert apart["split"].tolist() == ["unassigned", "test", "test", "unassigned", "unassigned"]  # d by its picture
