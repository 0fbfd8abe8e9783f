"""`rumorlib train` and `predict`: a detector from a file of posts, then answers for one post and for a stream."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rumorlib import __main__
from rumorlib import config as cfg
from rumorlib.commands import predict
from rumorlib.results.saved.detector import Detector

PLACES = ("Paris", "Rome", "Oslo", "Lima", "Cairo", "Delhi", "Quito", "Minsk", "Accra", "Hanoi")


def drawn_posts(n: int = 400) -> pd.DataFrame:
    """Posts whose words tell the label mostly, no two alike."""
    draw = np.random.default_rng(7)
    words = np.array(["river", "night", "people", "street", "storm", "police", "photo", "news", "today", "video"])
    label = draw.integers(0, 2, n)
    marks = np.where(draw.random(n) < 0.85, label, 1 - label)
    texts = [f"{' '.join(draw.choice(words, 6))} in {draw.choice(PLACES)} {'share now' if mark else 'officials say'} "
             f"{draw.integers(10**6)}" for mark in marks]  # fmt: skip
    return pd.DataFrame({"id": [f"p{i}" for i in range(n)], "text": texts, "label": label})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with posts.csv and the detector that `train` made of it."""
    folder = tmp_path_factory.mktemp("use")
    drawn_posts().to_csv(folder / "posts.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUMORLIB_OUTPUT", str(folder / "output"))
        patch.setenv("RUMORLIB_CACHE", str(folder / "cache"))
        patch.delenv("RUMORLIB_DATA", raising=False)
        before = dict(cfg.CORPORA)
        code = __main__.main(["train", str(folder / "posts.csv"), "--out", str(folder / "d"), "--threshold", "f1"])
        cfg.CORPORA.clear()
        cfg.CORPORA.update(before)
    assert code == 1, "80 test posts are few, and it says so"
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str]:
    capsys.readouterr()
    code = __main__.main([*map(str, arguments)])
    return code, capsys.readouterr().out


def test_the_report_states_what_the_detector_then_scores(trained: Path) -> None:
    detector = Detector.from_pretrained(trained / "d")
    posts, figures = drawn_posts(), detector.about["figures"]["test"]
    assert figures["accuracy"] > 0.7 and figures["n"] == detector.about["corpus"]["counts"]["test"]
    counts, rumors = detector.about["corpus"]["counts"], detector.about["corpus"]["rumors"]
    assert sum(counts.values()) == len(posts) and sum(rumors.values()) == posts["label"].sum()
    assert detector.about["threshold"]["goal"] == "f1" and "posts" in (trained / "d" / "README.md").read_text()


def test_one_post_is_answered_in_words_and_in_json(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "predict", trained / "d", "--text", "storm in Paris share now")
    assert code == 0 and "label             1" in out and "label 1 of the given manifest" in out
    code, out = run(capsys, "predict", trained / "d", "--text", "storm in Paris officials say", "--json")
    told = json.loads(out)
    assert code == 0 and told["label"] == 0 and 0 < told["calibrated"] < 0.5 and told["missing"] == ""
    code, out = run(capsys, "predict", trained / "d", "--text", "  \u200b ")
    assert code == 1 and "needs text" in out
    code, out = run(capsys, "predict", trained / "nowhere", "--text", "x", "--json")
    assert code == 2 and "python -m rumorlib train" in json.loads(out)["reason"]
    for wrong in ([], ["--text", "x", "posts.csv"], ["posts.csv"]):
        assert run(capsys, "predict", trained / "d", *wrong)[0] == 2


HEADER = ["id", "tweet_text", "note"]
ROWS = [HEADER, *([str(i), f"street in {place} share now", "x"] for i, place in enumerate(PLACES))]


def write(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_stream_keeps_every_row_in_order_and_goes_on_after_a_bad_one(trained: Path, tmp_path: Path, capsys) -> None:
    rows = [*ROWS[:4], ["3", "too few"], ["4", "storm share now", "x", "more", "still"], ["5", "", "=cmd()"], *ROWS[7:]]
    code, out = run(capsys, "predict", trained / "d", write(tmp_path / "p.csv", rows), "-o", tmp_path / "s.csv")
    made = read(tmp_path / "s.csv")
    assert code == 1 and [row["id"] for row in made] == [str(i) for i in range(10)]
    assert "row 4: 2 cells, the header has 3" in out and "row 5: 5 cells" in out and "10 rows, 3 without" in out
    assert made[4]["note"] == "x more still" and made[5]["note"] == "'=cmd()" and made[5]["missing"] == "text"
    assert [bool(row["calibrated"]) for row in made] == [True] * 3 + [False] * 3 + [True] * 4
    alone = Detector.from_pretrained(trained / "d").predict([{"text": row[1]} for row in rows[1:4]])
    assert [float(row["calibrated"]) for row in made[:3]] == alone["calibrated"].tolist()
    code, out = run(capsys, "predict", trained / "d", tmp_path / "p.csv", "-o", tmp_path / "s.csv")
    assert code == 2 and "there already" in out


@pytest.mark.parametrize("name,options", [("p.tsv", []), ("p.csv", ["--separator", ";", "--encoding", "gb18030"]),
                                          ("p.jsonl", ["--column", "text=tweet_text"])])  # fmt: skip
def test_other_forms_of_the_same_rows(name: str, options: list[str], trained: Path, tmp_path: Path, capsys) -> None:
    header, *rows = ROWS
    mark = "\t" if name == "p.tsv" else ";"
    text = "\n".join(mark.join(row) for row in ROWS) + "\n"
    if name == "p.jsonl":
        text = "\n".join(json.dumps(dict(zip(header, row))) for row in rows) + "\n[1]\n{broken\n"
    (tmp_path / name).write_text(text, encoding="utf-8")
    code, _ = run(capsys, "predict", trained / "d", tmp_path / name, "-o", tmp_path / "s.csv", *options)
    made = read(tmp_path / "s.csv")
    bad = 2 if name == "p.jsonl" else 0
    assert code == int(bad > 0) and [bool(row["label"]) for row in made] == [True] * len(rows) + [False] * bad


def test_a_killed_command_goes_on_where_it_stopped(trained: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    posts = write(tmp_path / "p.csv", ROWS)
    run(capsys, "predict", trained / "d", posts, "-o", tmp_path / "whole.csv")
    monkeypatch.setattr(predict, "AT_ONCE", 3)
    asked, usual = [], Detector.predict

    def dies_in_the_third(self: Detector, given: Any, root: Any = None) -> pd.DataFrame:
        asked.append(len(given))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return usual(self, given, root)

    monkeypatch.setattr(Detector, "predict", dies_in_the_third)
    code, _ = run(capsys, "predict", trained / "d", posts, "-o", tmp_path / "s.csv")
    assert code == 130 and not (tmp_path / "s.csv").exists()
    with (tmp_path / "s.csv.part").open("ab") as file:
        file.write(b'"half a li')  # a kill in the middle of writing
    code, _ = run(capsys, "predict", trained / "d", posts, "-o", tmp_path / "s.csv")
    assert (
        code == 0 and sum(asked) == 10 + 3 and (tmp_path / "s.csv").read_text() == (tmp_path / "whole.csv").read_text()
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.csv", "s.csv", "whole.csv"]


def test_a_stream_takes_the_memory_of_a_chunk(trained: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(predict, "AT_ONCE", 3)
    most, usual = [], Detector.predict

    def counted(self: Detector, given: Any, root: Any = None) -> pd.DataFrame:
        most.append(len(given))
        return usual(self, given, root)

    monkeypatch.setattr(Detector, "predict", counted)
    run(capsys, "predict", trained / "d", write(tmp_path / "p.csv", ROWS), "-o", tmp_path / "s.csv")
    assert most == [3, 3, 3, 1]


def test_train_refuses_with_a_remedy_and_saves_nothing(trained: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("RUMORLIB_OUTPUT", str(tmp_path / "output"))
    foreign = tmp_path / "f.csv"
    foreign.write_text("tweet,verdict\nx,1\ny,0\n")
    alike = tmp_path / "alike.csv"
    alike.write_text(
        "text,label\n" + "".join(f"the river floods the old town tonight {i},{i % 2}\n" for i in range(60))
    )
    refusals = {
        "write a column split": [alike, "--out", tmp_path / "d"],
        "python -m rumorlib import": [foreign, "--out", tmp_path / "d"],
        "did you mean": [trained / "posts.csv", "--out", tmp_path / "d", "--model", "recomended"],
        "precision=.9 or cost=5:1": [trained / "posts.csv", "--out", tmp_path / "d", "--threshold", "best"],
        "is there already": [trained / "posts.csv", "--out", trained / "d"],
        "corpus of texts": [trained / "posts.csv", "--out", tmp_path / "d", "--model", "micc"],
        "does not exist": [tmp_path / "no.csv", "--out", tmp_path / "d"],
    }
    for remedy, arguments in refusals.items():
        code, out = run(capsys, "train", *arguments)
        assert code == 2 and remedy in out, (remedy, out)
    assert not (tmp_path / "d").exists()


def test_explain_says_and_draws_what_moved_the_answer(trained: Path, tmp_path: Path, capsys) -> None:
    text = "people in Paris share now, street news"
    code, out = run(capsys, "explain", trained / "d", "--text", text, "-o", tmp_path / "why.png")
    assert code == 0 and (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
    code, told = run(capsys, "explain", trained / "d", "--text", text, "--json")
    told = json.loads(told)
    effects = {word["word"]: word["effect"] for word in told["words"]}
    assert {"share", "now"} == set(sorted(effects, key=effects.get)[-2:]), "what marks label 1 there"
    assert min(effects["share"], effects["now"]) > 0 and f"{effects['share']:+.3f}  share" in out
    assert told["picture_effect"] is None and "picture: the detector reads none" in told["flags"]
    refusals = {"is there already": ["--text", "x", "-o", tmp_path / "why.png"], "give --text": [],
                ".png, .pdf, .svg": ["--text", "x", "-o", tmp_path / "why.exe"]}  # fmt: skip
    for remedy, arguments in refusals.items():
        code, out = run(capsys, "explain", trained / "d", *arguments)
        assert code == 2 and remedy in out, (remedy, out)
    assert run(capsys, "explain", trained / "d", "--text", " ")[0] == 1


def test_predict_loads_no_library_of_plots_or_notebooks(trained: Path) -> None:
    asked = ["predict", str(trained / "d"), "--text", "storm share now"]
    code = (
        f"import sys; from rumorlib.__main__ import main; code = main({asked!r}); "
        "found = {'matplotlib', 'seaborn', 'IPython', 'ipywidgets', 'papermill', 'captum'} & set(sys.modules); "
        "sys.exit(f'loaded: {found}' if found else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=cfg.PROJECT_ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
