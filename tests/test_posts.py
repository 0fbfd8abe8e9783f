"""The posts table: what is refused and how it is said, label words, groups, keys."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumorlib.data import keys, posts
from rumorlib.data.posts import PostsError
from rumorlib.encoders import vocabulary
from rumorlib.models import baselines


def frame(**changes):
    columns = {
        "post_id": ["a", "b", "c", "d"],
        "text": ["one", "two", "three", "four"],
        "label": [1, 0, 1, 0],
        "split": ["train", "train", "test", "test"],
    }
    return pd.DataFrame(columns | changes)


def test_check_fills_the_optional_columns():
    table = posts.check(
        frame(text=["One  http://x.y/z", None, "@me three", np.nan], image=["p", "q", "", None]), "f.csv"
    )
    assert tuple(table.columns) == posts.COLUMNS
    assert table["text"].tolist() == ["One  http://x.y/z", "", "@me three", ""]
    assert table["text_group"].tolist() == ["one", "", "three", ""]
    assert table["image_group"].tolist() == ["p", "q", "", ""]
    assert table["label"].dtype == np.int64
    assert (table["event"] == "").all()


def test_check_keeps_given_groups_and_further_columns():
    table = posts.check(frame(text_group=["x", "", "y", "z"], difficulty=[1, 2, 3, 4]), "f.csv")
    assert table["text_group"].tolist() == ["x", "", "y", "z"]
    assert table["difficulty"].tolist() == [1, 2, 3, 4]


def test_ids_stay_exact():
    ids = ["0012", " 9", "3908239019232312", "1e3"]
    assert posts.check(frame(post_id=ids), "f.csv")["post_id"].tolist() == ids
    assert posts.check(frame(post_id=[2**63 - 1, 2, 3, 4]), "f.csv")["post_id"][0] == "9223372036854775807"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"post_id": ["a", "b", "a", "d"]}, ["f.csv, row 3", "'a'", "row 1", "unique"]),
        ({"post_id": ["a", "", "c", "d"]}, ["f.csv, row 2", "empty"]),
        ({"post_id": [1.0, 2.0, 3.9e15, 4.0]}, ["f.csv, row 1", "float", "dtype=str"]),
        ({"label": [1, 0, 2, 0]}, ["f.csv, row 3", "neither 0 nor 1", "non-rumor"]),
        ({"label": [1, 0, "unverified", 0]}, ["f.csv, row 3", "unverified", "remove the row"]),
        ({"label": [1, 0, None, 0]}, ["f.csv, row 3", "the label is empty"]),
        ({"label": [1, True, 0, 0]}, ["f.csv, row 2", "write 1 or 0"]),
        ({"split": ["train", "train", "validation", "test"]}, ["f.csv, row 3", "validation", "'dev'"]),
        ({"split": ["Train", "train", "test", "test"]}, ["f.csv, row 1", "'Train'"]),
        ({"label": [1, 1, 1, 0]}, ["f.csv", "all 2 training posts are rumor", "both classes"]),
        ({"label": [0, 0, 0, 0], "split": [""] * 4}, ["f.csv", "all 4 training posts are non-rumor"]),
    ],
)
def test_check_names_file_row_and_remedy(changes, words):
    with pytest.raises(PostsError) as error:
        posts.check(frame(**changes), "f.csv")
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label": [1, 0, 0, 0]}, "f.csv: all 2 test posts are non-rumor (0); both classes are needed, add the other"),
        ({"split": ["dev", "dev", "test", "test"]}, "f.csv: no training posts; give some posts the split 'train'"),
    ],
)
def test_a_corpus_from_files_needs_both_classes_everywhere(changes, words):
    table = posts.check(frame(**changes), "f.csv")
    with pytest.raises(PostsError) as error:
        posts.check_splits(posts.Corpus("x", table, None, "y"), "f.csv")
    assert words in str(error.value)
    posts.check_splits(posts.Corpus("x", posts.check(frame(), "f.csv"), None, "y"), "f.csv")


def test_check_names_missing_columns_and_empty_files():
    with pytest.raises(PostsError, match=r"f\.csv: column label is missing \(found: post_id, text, split\)"):
        posts.check(frame().drop(columns="label"), "f.csv")
    with pytest.raises(PostsError, match=r"f\.csv: no posts"):
        posts.check(frame().iloc[:0], "f.csv")


def test_check_accepts_probe_splits():
    names = ["train", "train", "test_unseen", "pairs"]
    assert posts.check(frame(split=names), "f.csv")["split"].tolist() == names
    with pytest.raises(PostsError, match="unknown split 'extra'"):
        posts.check(frame(split=["train", "train", "extra", "pairs"]), "f.csv")
    assert len(posts.check(frame(split=["train", "train", "extra", "pairs"]), "f.csv", extra_splits=("extra",))) == 4


def test_texts_can_always_be_encoded():
    table = posts.check(frame(text=["bad \ud800 half", "😀", "", "x"]), "f.csv")
    assert table["text"][0] == "bad \ufffd half"
    assert table["text"][1] == "😀"


@pytest.mark.parametrize(
    ("given", "label"),
    [(1, 1), (0, 0), (1.0, 1), ("0", 0), (" Fake ", 1), ("REAL", 0), ("rumor", 1), ("rumours", 1), ("non-rumor", 0),
     ("nonrumour", 0), ("false", 1), ("true", 0), (np.int64(1), 1)],
)  # fmt: skip
def test_label_words(given, label):
    assert posts.parse_label(given) == label


def test_group_key_follows_chains():
    table = posts.check(
        pd.DataFrame(
            {
                "post_id": list("abcdef"),
                "text": ["same", "same", "other", "third", "", ""],
                "label": [1, 0, 1, 0, 1, 0],
                "image": ["p", "q", "q", "r", "", ""],
            }
        ),
        "f",
    )
    found = keys.group_key(table)
    assert found[0] == found[1] == found[2]
    assert found.nunique() == 4  # the chain, d, and both empty posts on their own
    shuffled = table.sample(frac=1, random_state=0)
    assert keys.group_key(shuffled).loc[found.index].equals(found)


def test_row_key_is_opaque_and_stable():
    assert keys.row_key("twitter", "123") == "e460a5aacb4f"
    assert keys.row_key("weibo", "123") != keys.row_key("twitter", "123")


def test_booleans_as_pandas_writes_them_are_refused() -> None:
    for word in ("True", "False"):
        with pytest.raises(ValueError, match="can mean"):
            posts.parse_label(word)


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_guard_cell_stops_formulas(cell):
    assert keys.guard_cell(cell) == "'" + cell


def test_guard_cell_leaves_the_rest():
    assert [keys.guard_cell(v) for v in ("a=b", "", 3, -1, None)] == ["a=b", "", 3, -1, None]


def test_normalise_text():
    assert keys.normalise_text("RT @Me:  LOOK\nhttps://t.co/ab www.x.org !") == "rt : look !"
    assert keys.normalise_text("ＢＲＥＡＫＩＮＧ：don\u2019t") == "breaking:don't"  # as the models fold it


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("见http://t.cn/R12真的吗", ["http://t.cn/R12"]),  # as most of Weibo writes
        ("http://t.cn/R12，后面 https://t.co/x！", ["http://t.cn/R12", "https://t.co/x"]),
        ("看http://t.cn/R12（图）http://t.cn/R13【转】", ["http://t.cn/R12", "http://t.cn/R13"]),
        ("投诉网页www.12331.org.cn看看", ["www.12331.org.cn"]),
        ("网(www.a-b.com)讯", ["www.a-b.com"]),
        ("(see http://x.y/a?b=1&c#d). Next http://x.y/z, and", ["http://x.y/a?b=1&c#d", "http://x.y/z"]),
        ('"http://t.co/x" \u201chttp://t.co/y\u201d <http://x.y>', ["http://t.co/x", "http://t.co/y", "http://x.y"]),
        ("http: \\/\\/t.co\\/4W1 HTTP://T.CO/Z", ["http: \\/\\/t.co\\/4W1", "HTTP://T.CO/Z"]),  # as Twitter's file has
        ("http：//t.cn/ab好 http : //t.cn/cd", ["http：//t.cn/ab", "http : //t.cn/cd"]),
        ("t.cn/ab好 pic.twitter.com/Ab1\u2026", ["t.cn/ab", "pic.twitter.com/Ab1"]),
        ("http://t.cn/zjD//@小明:转", ["http://t.cn/zjD"]),
        ("paint.co/x awww. so www. 3.14 http", []),
    ],
)
def test_a_link_ends_where_url_characters_end(text, links):
    assert keys.LINK.findall(text) == links


@given(
    st.text("真的吗，。！（）《》北京火灾 图", min_size=1),
    st.sampled_from(["http://t.cn/R12", "https://x.org/a?b=1", "www.x.cn"]),
)
def test_what_stands_behind_a_link_is_text_for_everyone(text, link):
    """Who looks for leaks, who counts surfaces and who reads words agree about it."""
    assert keys.normalise_text(link + text) == keys.normalise_text(text)
    assert vocabulary.tokenize(link + text, "char") == ["<url>", *vocabulary.tokenize(text, "char")]
    alone, behind = baselines.surface_counts([text, link + text]).to_dict("records")
    assert behind == alone | {"n_chars": alone["n_chars"] + len(link), "n_links": 1}


@pytest.mark.parametrize("many", [("http://", "."), ("http", " "), ("www.", "www."), ("@", "@"), ("http://", "\\/")])
def test_no_text_takes_long_to_normalise(many):
    begun = time.process_time()
    keys.normalise_text(many[0] + many[1] * 200_000)
    assert time.process_time() - begun < 5


def test_a_missing_value_is_an_empty_cell_and_never_a_word():
    assert [keys.cell(value) for value in (None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, "")] == [""] * 6
    assert [keys.cell(value) for value in ("NA", "None", "nan", 0, 0.5)] == ["NA", "None", "nan", "0", "0.5"]
    named = {"post_id": ["None", "NA", "nan", "null"], "event": ["NA", pd.NaT, "  ", "None"]}
    table = posts.check(frame(**named, image=[None, "p", "q", pd.NA]), "f.csv")
    assert table["post_id"].tolist() == ["None", "NA", "nan", "null"]
    assert table["event"].tolist() == ["NA", "", "", "None"] and table["image"].tolist() == ["", "p", "q", ""]
    assert keys.components([["NA", None, "", float("nan"), "NA"]], 5).tolist() == [0, 1, 2, 3, 0]


def test_a_name_that_may_mean_none_is_kept_and_told_of():
    table = posts.check(frame(event=["NA", "NA", "flood", "None"], text=["one", "two", "nan", "three"]), "f.csv")
    assert [told.split(" is kept")[0] for told in posts.doubtful_names(table)] == [
        "event 'NA', in 2 posts,", "event 'None', in 1 posts,", "text 'nan', in 1 posts,"
    ]  # fmt: skip
    assert posts.doubtful_names(posts.check(frame(), "f.csv")) == []


def test_image_weights_count_each_picture_once():
    frame = pd.DataFrame({"image_group": ["a", "a", "", "b", "", None], "event": list("xxxxyy")})
    assert keys.image_weights(frame).tolist() == [0.5, 0.5, 1, 1, 1, 1]
    assert keys.image_weights(frame, "event").tolist() == [0.25] * 4 + [0.5] * 2
