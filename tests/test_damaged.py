"""Files that mean harm, and files of our own that were damaged: an error that can be mended, and no more."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.commands import check_data, score
from rumorlib.config import Settings
from rumorlib.data import keys
from rumorlib.data.images import ImageError
from rumorlib.data.posts import PostsError
from rumorlib.data.readers import captions, foreign, layouts, tables
from rumorlib.data.readers.packed_images import PackedImages
from rumorlib.data.splitting import split_files
from rumorlib.encoders.feature_store import CorruptShard, Store
from rumorlib.results import layout, ledger, making, reports, runs, store
from tests import published

DEEP = "[" * 100_000 + "]" * 100_000
JSONS = {"null": "null", "a list": "[]", "deep": DEEP, "cut": '{"rows": [', "nothing": "", "other": '{"a": 1}'}
ESCAPES = "\x1b[31mred\x1b[0m \u202eabc\u202c"

# --- from outside -------------------------------------------------------------------------------


def test_an_id_that_is_packed_twice_is_refused(tmp_path: Path) -> None:
    folder = published.chinese_clip(tmp_path)
    pictures = folder / "train_imgs.tsv"
    pictures.write_text(pictures.read_text() * 2)
    with pytest.raises(ImageError, match=r"train_imgs\.tsv, row 2: the id 'COCO_\w+' stands in train_imgs\.tsv, row 1"):
        PackedImages([pictures])
    with pytest.raises(PostsError, match=r"row 2: the id"):
        captions.read_packed(folder)


@pytest.mark.parametrize(
    ("line", "said"),
    [('{"text_id": 0, "text": "狗", "image_ids": []}', "text_id '0' stands on row 1 already"),
     ('{"text_id": 9, "text": "狗", "text": "猫", "image_ids": []}', "expected an object")],
)  # fmt: skip
def test_a_text_or_a_key_that_is_packed_twice_is_refused(tmp_path: Path, line: str, said: str) -> None:
    folder = published.chinese_clip(tmp_path)
    with (folder / "train_texts.jsonl").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    with pytest.raises(PostsError, match=rf"train_texts\.jsonl, row 3: {said}"):
        captions.read_packed(folder)


def test_links_of_a_folder_to_itself_are_followed_once(tmp_path: Path) -> None:
    for number in range(150):
        (tmp_path / f"link{number}").symlink_to(".")
    published.picture(tmp_path / "below" / "a.jpg")
    begun = time.process_time()
    with pytest.raises(PostsError, match="no layout we know"):
        layouts.find(tmp_path)
    assert cfg.own_corpus("linked", tmp_path).pictures
    assert check_data.main([str(tmp_path), "--json"]) == 2
    assert time.process_time() - begun < 5, "2 million paths lie two links deep"
    cfg.CORPORA.pop("linked")
    assert sum(len(level) for level in cfg.levels(tmp_path, 2)) == 2


def test_score_prints_nothing_that_a_terminal_would_obey(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / f"l{ESCAPES}.csv"
    labels.write_text("post_id,label,split\na,1,test\nb,0,test\n", encoding="utf-8")
    for number, text in enumerate([
        f"post_id,{ESCAPES}\na,0.5\n", f"post_id,prob_rumor\n{ESCAPES},0.5\n", f"post_id,prob_rumor\na,{ESCAPES}\n",
        f"post_id,prob_rumor,corpus\na,.5,{ESCAPES}\nb,.5,x\n", f"post_id,prob_rumor,seed\na,.5,{ESCAPES}\n",
        "post_id,prob_rumor\na,.5\nb,.25\n",
    ]):  # fmt: skip
        path = tmp_path / f"{number}{ESCAPES}.csv"
        path.write_text(text, encoding="utf-8")
        score.main([str(path), "--labels", str(labels), "--against", str(path)])
        said = "".join(capsys.readouterr())
        assert said and not set(said) & set("\x1b\u202e\u202c"), said


def _archives(folder: Path) -> dict[str, bytes]:
    whole = gzip.compress(b"post_id,prob_rumor\na,.5\n" * 99)
    with zipfile.ZipFile(folder / "z", "w") as file:
        file.writestr("predictions.csv", "post_id,prob_rumor\na,.5\n")
    return {"cut": whole[:-9], "flipped": whole[:30] + b"\xff\xff" + whole[32:], "plain": b"post_id,prob_rumor\na,.5\n",
            "zip": (folder / "z").read_bytes(), "empty": b"", "zeros": bytes(99), "header": whole[:10],
            "not utf-8": gzip.compress("post_id,prob_rumor\nä,.5\n".encode("latin-1"))}  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@pytest.mark.parametrize("kind", ["cut", "flipped", "plain", "zip", "empty", "zeros", "header", "not utf-8"])
def test_archives_that_are_damaged_or_none_are_named(kind: str, suffix: str, tmp_path: Path, capsys) -> None:
    if (kind, suffix) == ("plain", ".csv"):
        pytest.skip("a whole file")
    path = tmp_path / f"p{suffix}"
    path.write_bytes(_archives(tmp_path)[kind])
    (tmp_path / "l.csv").write_text("post_id,label,split\na,1,test\n")
    assert score.main([str(path), "--labels", str(tmp_path / "l.csv")]) == 2
    assert f"p{suffix}" in capsys.readouterr().err


def test_an_archive_is_not_unpacked_beyond_what_texts_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_UNPACKED", 10_000)
    path = tmp_path / "p.csv.gz"
    path.write_bytes(gzip.compress(b"post_id,prob_rumor\n" + b"a,.5\n" * 10**6))
    with pytest.raises(PostsError, match=r"p\.csv\.gz unpacks to more than [\d,]+ bytes; if it is what you expect"):
        tables.read_csv(path)
    path.write_bytes(gzip.compress(b"\xff" * 10**6))
    with pytest.raises(PostsError, match="unpacks to more"):
        tables.read_csv(path)


def test_objects_of_keys_of_their_own_are_no_table(tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    lines = [json.dumps({"text": "a", "label": 1, f"key{row}": 1}) for row in range(2000)]
    path.write_text("\n".join(lines))
    begun = time.process_time()
    for read in (tables.read_json, foreign.read):
        with pytest.raises(PostsError, match="2,000 objects have 2,002 different keys, more than 500"):
            read(path)
    assert time.process_time() - begun < 5


def test_a_module_among_the_data_does_not_stand_in_for_a_librarys(tmp_path: Path) -> None:
    for name in ("tqdm", "pandas", "platform", "ctypes", "numpy"):
        (tmp_path / f"{name}.py").write_text("print('taken'); raise SystemExit(9)")
    (tmp_path / "manifest.csv").write_text("text,label\na,1\nb,0\n")
    told = os.environ | {"PYTHONPATH": str(cfg.PROJECT_ROOT)}
    done = subprocess.run([sys.executable, "-m", "rumorlib", "check-data", "."], cwd=tmp_path, env=told,
                          capture_output=True, text=True)  # fmt: skip
    assert "taken" not in done.stdout and "verdict" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("cell", ["=1+1", "\n=1+1", "\r\n=1+1", "\t=1", "+1+1", "@SUM(A1)", "-1-1"])
def test_no_cell_begins_a_formula(cell: str) -> None:
    assert keys.guard_cell(cell) == "'" + cell


def test_a_table_shows_words_and_obeys_none() -> None:
    text = layout.escaped(f"{ESCAPES} $x^2$ http://a.b/c WWW.a.b <b> [x](y) `a` *b* 5 % | 3.5")
    assert not set(text) & set("\x1b\u202e\u202c") and "://" not in text and "WWW." not in text
    assert r"\$x^2\$" in text and r"\[x](y)" in text and "3.5" in text


# --- our own ------------------------------------------------------------------------------------


@pytest.fixture
def finished(few_drawn: Settings) -> results.Report:
    return results.run_or_load(experiments.micc(few_drawn, "demo-en"), few_drawn)


def names_itself(read: Callable[[], object], path: Path, error: type[Exception]) -> None:
    with pytest.raises(error) as told:
        read()
    assert str(path) in str(told.value) or path.parent.name in str(told.value)
    assert any(word in str(told.value) for word in ("restore", "remove", "delete", "train='all'"))


@pytest.mark.parametrize("kind", JSONS)
@pytest.mark.parametrize("name", ["config.json", "report.json"])
@pytest.mark.parametrize("sealed", [True, False])
def test_a_run_of_damaged_files(kind: str, name: str, sealed: bool, finished: results.Report, few_drawn) -> None:
    """Runs of before have no seal: what their report.json holds is looked at."""
    path = finished.folder / name
    if not sealed:
        done = finished.folder / "DONE"
        done.write_text(done.read_text().split()[0] + "\n")
    path.write_text(JSONS[kind])
    error = (runs.CorruptRun, runs.StaleRun)
    names_itself(lambda: results.run_or_load(finished.config, few_drawn), path, error)
    making._history.cache_clear()
    assert making.expected(finished.config)[0] > 0, "a plan is made all the same"


@pytest.mark.parametrize("kind", JSONS)
def test_a_damaged_split(kind: str, finished: results.Report, few_drawn: Settings, tmp_path: Path) -> None:
    posts = pd.DataFrame({"post_id": ["a", "b"], "split": ["train", "test"], "label": [0, 1], "image_group": ""})
    about = cfg.output_root() / "results/demo/splits/x.csv"
    split_files.write_split(posts, about)
    rows = about.read_text().splitlines()[1:]
    about.write_text("\n".join([split_files.ABOVE + " ".join(JSONS[kind].split("\n")), *rows]))
    names_itself(lambda: split_files.read_split(posts, about), about, PostsError)
    facts = {"split_file": "x.csv", "split_hash": "1"}
    names_itself(lambda: runs.check_split(finished.config, facts, finished.folder), about, runs.CorruptRun)


@pytest.mark.parametrize("kind", JSONS)
def test_a_damaged_shard(kind: str, tmp_path: Path) -> None:
    import torch

    kept = Store(tmp_path)
    kept.write(["a"], torch.zeros(1, 2))
    (about,) = tmp_path.glob("*.json")
    about.write_text(JSONS[kind])
    names_itself(lambda: kept.gather(["a"]), about, CorruptShard)


@pytest.mark.parametrize("kind", JSONS)
def test_a_damaged_store(kind: str, tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").write_text("")
    (tmp_path / "store.json").write_text(JSONS[kind])
    names_itself(lambda: store.entries(tmp_path), tmp_path / "runs.jsonl", runs.CorruptRun)


@pytest.mark.parametrize("damage", ["run,config\n", "a,b,c\n", "\0\n", '"a\n', "x" * 200_000 + ",\n"])
def test_a_damaged_ledger(damage: str, output: Path) -> None:
    ledger.append("demo", "a/b/c/seed0", "1", "2", "2026-01-01", {})
    path = ledger.path_of("demo")
    with path.open("a") as file:
        file.write(damage)
    names_itself(lambda: ledger.readings("demo"), path, runs.CorruptRun)
    path.write_text(damage)
    names_itself(lambda: ledger.read("demo"), path, runs.CorruptRun)


def test_a_disk_without_room_leaves_no_half_line(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.append("demo", "a/b/c/seed0", "1", "2", "2026-01-01", {})
    before, really = ledger.path_of("demo").read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda handle, content: really(handle, content[:7]))
    with pytest.raises(OSError, match="No space"):
        ledger._append(ledger.path_of("demo"), b"d,e,f,g,h\n")
    assert ledger.path_of("demo").read_bytes() == before


def test_a_reading_is_entered_before_its_run_can_be_seen(few_drawn: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed in between has scored test posts, and the ledger says so."""
    config = experiments.baseline(few_drawn, "demo-en", "majority")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "move_into_place", killed)
    with pytest.raises(KeyboardInterrupt):
        results.run_or_load(config, few_drawn)
    assert not reports.run_folder(config).exists()
    assert ledger.read("demo")[-1]["run"] == config.name


def test_what_is_cached_of_a_corpus_is_made_again_where_it_is_damaged(
    few_drawn: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rumorlib.inputs import content

    monkeypatch.setenv("RUMORLIB_CACHE", str(tmp_path / "cache"))
    config = experiments.micc(few_drawn, "demo-en")
    content._of_corpus.cache_clear()
    found = content.of_run(config, few_drawn)
    for path in (tmp_path / "cache" / "content").glob("*.json"):
        path.write_text("null")
    content._of_corpus.cache_clear()
    assert content.of_run(config, few_drawn) == found
    assert csv.field_size_limit() >= 131_072
