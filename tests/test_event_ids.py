"""EANN's pickles: the published form, its damage by line ends, and everything that must not be loaded."""

import pickle

import numpy as np
import pytest

from rumorlib.data.posts import PostsError
from rumorlib.data.readers import event_ids

# As Python 2 wrote them: protocol 0, numpy integers.
PUBLISHED = (
    b"(dp1\nV3000000000000017\np2\ncnumpy.core.multiarray\nscalar\np3\n(cnumpy\ndtype\np4\n(S'i8'\nI0\nI1\ntRp5\n"
    b"(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbS'\\x07\\x00\\x00\\x00\\x00\\x00\\x00\\x00'\ntRp6\nsV3000000000000042\np7\ng3\n"
    b"(g5\nS'\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00'\ntRp8\ns."
)
EVENTS = {"3000000000000017": "7", "3000000000000042": "1"}


@pytest.mark.parametrize("content", [PUBLISHED, PUBLISHED.replace(b"\n", b"\r\n")], ids=["unix", "windows"])
def test_published_form(tmp_path, content):
    (tmp_path / "train_id.pickle").write_bytes(content)
    assert event_ids.read(tmp_path / "train_id.pickle") == EVENTS


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("number", [int, np.int64, np.int32, np.float64])
def test_saved_again_by_python_3(tmp_path, protocol, number):
    path = tmp_path / "train_id.pickle"
    path.write_bytes(pickle.dumps({name: number(event) for name, event in EVENTS.items()}, protocol))
    assert event_ids.read(path) == EVENTS


def test_a_post_whose_event_is_no_number_has_none(tmp_path):
    path = tmp_path / "train_id.pickle"
    path.write_bytes(pickle.dumps({"1": 7.0, "2": float("nan"), "None": np.float64(3)}, 2))
    assert event_ids.read(path) == {"1": "7", "None": "3"}


def test_folder(tmp_path):
    (tmp_path / "train_id.pickle").write_bytes(PUBLISHED)
    (tmp_path / "test_id.pickle").write_bytes(pickle.dumps({"5": 3}, 2))
    events, splits = event_ids.read_folder(tmp_path)
    assert events == EVENTS | {"5": "3"}
    assert splits == dict.fromkeys(EVENTS, "train") | {"5": "test"}


class Runs:
    """Would run a command when loaded."""

    def __reduce__(self):
        import os

        return os.system, ("touch hacked",)


class Builtin:
    def __reduce__(self):
        return eval, ("1",)


@pytest.mark.parametrize("value", [Runs(), {"1": Runs()}, Builtin(), np.zeros(3), {"1": np.zeros(2)}, {"1": object}])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_else_is_built(tmp_path, monkeypatch, value, protocol):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "train_id.pickle"
    path.write_bytes(pickle.dumps(value, protocol))
    with pytest.raises(PostsError, match=r"train_id\.pickle cannot be read safely .*the name"):
        event_ids.read(path)
    assert not (tmp_path / "hacked").exists()


BAD = [b"", b"garbage", PUBLISHED[:60], b"\x80\x04\x95", b"(dp1\nPref\n."]
BAD += [pickle.dumps(found) for found in ([1], {"1": "x"}, {"1": float("inf")})]


@pytest.mark.parametrize("content", BAD)
def test_damage(tmp_path, content):
    path = tmp_path / "train_id.pickle"
    path.write_bytes(content)
    with pytest.raises(PostsError, match=r"train_id\.pickle.*(use EANN's original file|remove it)"):
        event_ids.read(path)


def test_size_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(event_ids, "MAX_BYTES", 10)
    (tmp_path / "x.pickle").write_bytes(PUBLISHED)
    with pytest.raises(PostsError, match="less than 10"):
        event_ids.read(tmp_path / "x.pickle")
