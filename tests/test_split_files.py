"""Split files: equal splits are equal bytes, real posts stand under opaque keys, other posts are refused."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumorlib.data import keys, posts
from rumorlib.data.posts import PostsError
from rumorlib.data.splitting import split_files


def table(n=20):
    rows = [(f"p{i}", f"text {i}", i % 2, ("train", "dev", "test")[i % 3]) for i in range(n)]
    return posts.check(pd.DataFrame(rows, columns=["post_id", "text", "label", "split"]), "made")


@pytest.mark.parametrize("name", ["made.csv", "made.csv.gz"])
@pytest.mark.parametrize("corpus", ["", "twitter"])
def test_round_trip(tmp_path, name, corpus):
    frame = table()
    frame.loc[0, "post_id"] = "=1+1"
    path = tmp_path / "splits" / name
    split_files.write_split(frame, path, corpus)
    again = split_files.read_split(frame.assign(split=""), path, corpus)
    assert again["split"].tolist() == frame["split"].tolist()
    first = path.read_bytes()
    split_files.write_split(frame.sample(frac=1, random_state=1), path, corpus)
    assert path.read_bytes() == first


def test_published_ids_are_opaque_and_cells_are_guarded(tmp_path):
    frame = table()
    frame.loc[0, "post_id"] = "=1+1"
    split_files.write_split(frame, tmp_path / "own.csv")
    assert "\n'=1+1," in (tmp_path / "own.csv").read_text(encoding="utf-8")
    split_files.write_split(frame, tmp_path / "real.csv", "twitter")
    lines = (tmp_path / "real.csv").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "row_key,split" and f"{keys.row_key('twitter', 'p3')},train" in lines
    assert not any("p3" in line for line in lines)
    with pytest.raises(PostsError, match="say which corpus"):
        split_files.read_split(frame, tmp_path / "real.csv")
    with pytest.raises(PostsError, match="40 posts differ"):
        split_files.read_split(frame, tmp_path / "real.csv", "weibo")


def test_other_posts_are_refused(tmp_path):
    path = tmp_path / "made.csv"
    split_files.write_split(table(), path)
    with pytest.raises(
        PostsError, match=r"made\.csv: 1 posts differ .*\(1 only in the file, 0 only in the corpus\), e.g. p0"
    ):
        split_files.read_split(table().iloc[1:], path)
    with pytest.raises(PostsError, match=r"\(0 only in the file, 5 only in the corpus\)"):
        split_files.read_split(table(25), path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,split\np0,train\n", "expected columns post_id, split"),
        ("post_id,split\np0,train\np0,test\n", "each post once"),
        ("post_id,split\np0,val\n", r"row 1: unknown split 'val'; write train, dev or test"),
        ("post_id,split\np0,train,x\n", "line 2: 3 cells"),
        ("", "is empty"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    (tmp_path / "bad.csv").write_text(text, encoding="utf-8")
    with pytest.raises(PostsError, match=message) as error:
        split_files.read_split(table(4), tmp_path / "bad.csv")
    assert "bad.csv" in str(error.value)


def test_a_file_that_was_changed_is_noticed(tmp_path):
    path = tmp_path / "made.csv"
    split_files.write_split(table(), path, facts={"protocol": "made"})
    facts = split_files.facts_of(path)
    assert facts["protocol"] == "made" and facts["n_posts"] == 20
    assert facts["split_hash"] == split_files.split_hash(table())
    assert sum(side["rumor"] + side["non_rumor"] for side in facts["counts"]) == 20
    path.write_text(path.read_text(encoding="utf-8").replace("p0,train", "p0,test"), encoding="utf-8")
    with pytest.raises(PostsError, match=r"made\.csv holds another split"):
        split_files.read_split(table(), path)
    path.write_text(path.read_text(encoding="utf-8").replace("}\n", "\n", 1), encoding="utf-8")
    with pytest.raises(PostsError, match=r"made\.csv is damaged"):
        split_files.read_split(table(), path)


def test_counts():
    frame = table(6).assign(split=["train", "test", "train", "unassigned", "train", "test"],
                            image_group=["a", "b", "a", "b", "c", ""])  # fmt: skip
    found = split_files.split_counts(frame).set_index("split")
    assert found.index.tolist() == ["train", "test", "unassigned"]
    assert found.loc["train"].tolist() == [3, 0, 3, 0.0, pytest.approx(9 / 5), 0.0]
    assert found.loc["test"].tolist() == [0, 2, 2, 1.0, 0.0, 1.0]


@given(st.permutations(range(12)), st.integers(0, 11))
def test_the_hash_follows_the_split_and_nothing_else(order, moved):
    frame = table(12)
    assert split_files.split_hash(frame.iloc[order]) == split_files.split_hash(frame)
    changed = frame.assign(split=[name if i != moved else "unassigned" for i, name in enumerate(frame["split"])])
    assert split_files.split_hash(changed) != split_files.split_hash(frame)


def test_a_split_is_checked_behind_a_byte_order_mark_and_as_it_was_written_before(tmp_path):
    path = tmp_path / "made.csv"
    split_files.write_split(table(), path)
    first, rest = path.read_text(encoding="utf-8").split("\n", 1)
    moved = rest.replace("p0,train", "p0,test")
    path.write_bytes(b"\xef\xbb\xbf" + f"{first}\n{moved}".encode())
    with pytest.raises(PostsError, match="another split"):
        split_files.read_split(table(), path)
    path.write_text(moved, encoding="utf-8")
    (tmp_path / "made.json").write_text(first.removeprefix("# "), encoding="utf-8")
    with pytest.raises(PostsError, match="another split"):
        split_files.read_split(table(), path)
    path.write_text(f"# a user's own\n{rest}", encoding="utf-8")
    with pytest.raises(PostsError, match=r"expected columns|cells"):
        split_files.read_split(table(), path)
