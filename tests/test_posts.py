"""The posts table: what is refused and how it is said, label words, groups, keys."""

import datetime as dt
import time

import numpy as np
import pandas as pd
import published
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumorlib.data import dates, keys, posts
from rumorlib.data.images import FolderImages
from rumorlib.data.posts import PostsError
from rumorlib.data.readers import manifest, missing
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


# --- Publishing times: the forms the corpora use are read exactly, anything else is missing.


UTC = "2012-10-29 23:59:22+00:00"


@pytest.mark.parametrize(
    "text",
    [
        "Mon Oct 29 23:59:22 +0000 2012",
        "Mon Oct 29 23: 59: 22 +0000 2012",
        "Tue Oct 30 01:59:22 +0200 2012",
        "2012-10-29 23:59:22",
        "2012-10-29T23:59:22Z",
        "2012-10-29T23:59:22.000",
        "2012-10-30 07:59:22+08:00",
        "2012-10-30T07:59:22 +0800",
        " 1351555162 ",
        "1351555162000",
    ],
)
def test_one_moment_in_every_form(text):
    assert dates.parse_dates([text]).item() == pd.Timestamp(UTC)


@pytest.mark.parametrize(
    "text",
    ["", "23: 59: 22", "yesterday", "29/10/2012", "2012", "20121029", "2012-13-40", "2012-10-29 25:00", "135155516",
     "1351555162.5", "Mon Oct 32 23:59:22 +0000 2012", "null", "nan", "None", "１３５１５５５１６２", "-1351555162000"],
)  # fmt: skip
def test_what_is_no_time_is_missing(text):
    assert dates.parse_dates([text]).isna().all()


def test_local_times_use_the_offset_and_stamps_do_not():
    posts = pd.DataFrame(
        {"at": ["2012-10-30 07:59", "1351555162000", "2012-10-29 23:59"], "language": ["zh", "zh", ""]}
    )
    found = dates.parse_dates(posts["at"], dates.offset_hours(posts["language"]))
    assert found.dt.floor("min").nunique() == 1
    assert dates.parse_dates(["2012-10-30"], 8).item() == pd.Timestamp("2012-10-29 16:00", tz="UTC")


def test_the_index_is_kept_and_nothing_is_fine():
    assert dates.parse_dates(pd.Series(["2012-10-29", ""], index=[7, 3])).index.tolist() == [7, 3]
    assert dates.parse_dates([]).empty


@given(st.lists(st.datetimes(dt.datetime(2002, 1, 1), dt.datetime(2040, 1, 1)).map(lambda t: t.replace(microsecond=0)),
                min_size=1, max_size=8))  # fmt: skip
def test_every_form_of_any_time_reads_the_same(times):
    aware = [time.replace(tzinfo=dt.UTC) for time in times]
    forms = [f"{time:%a %b %d %H:%M:%S} +0000 {time:%Y}" for time in aware]
    forms += [time.isoformat() for time in aware] + [str(int(time.timestamp()) * 1000) for time in aware]
    assert dates.parse_dates(forms).tolist() == aware * 3


@given(st.lists(st.text(max_size=30)))
def test_no_text_breaks_it(texts):
    assert len(dates.parse_dates(texts)) == len(texts)


# --- What becomes of a post without its picture, and what a dropped row says.


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
