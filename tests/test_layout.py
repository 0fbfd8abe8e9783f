"""Tables as they are read: what shares a cell, what stays in the csv, which rows are marked, claims as sentences."""

from __future__ import annotations

import pandas as pd
import pytest

from rumorlib.results import artifacts, layout


def test_an_estimate_and_its_interval_share_a_cell() -> None:
    found = layout.readable(layout.read(
        "model,primary_value,primary_low,primary_high,accuracy,acc_low,acc_high,n,low,high,gain\n"
        "a,0.71,0.6406,0.775,0.5,0.4,0.6,9,-10.5,16.25,3.12222\n"
        "b,0.6,0.5,0.7,0.5,,,9,,,\n"
    ))  # fmt: skip
    assert found == {
        "model": ["a", "b"], "primary_value": ["0.710 [0.641, 0.775]", "0.600 [0.500, 0.700]"],
        "accuracy": ["0.500 [0.400, 0.600]", "0.500"], "n": ["9.00 [-10.50, 16.25]", "9"], "gain": ["3.122", ""],
    }  # fmt: skip
    pointing = layout.read("chance,pointing,recall,low,high\n0.1,0.4,0.9,0.3,0.5\n0.1,0.5,0.45,0.4,0.6\n")
    assert layout.intervals(pointing) == {"pointing": ("low", "high")}, "not the nearest, but the one between them"


@pytest.mark.parametrize(("cell", "shown"), [
    ("0.61249", "0.612"), ("-0.0001", "0.000"), ("0.0001", "<0.001"), ("12.3456", "12.35"), ("1234.5", "1,234"),
    ("6e-05", "<0.001"), ("twitter", "twitter"), ("", ""), ("-", "-"),
])  # fmt: skip
def test_three_decimals_at_most(cell: str, shown: str) -> None:
    assert layout.number(cell) == shown


def test_whole_numbers_stay_whole_and_yes_is_a_word() -> None:
    assert layout.as_read(["3", "", "41000"]) == ["3", "", "41,000"]
    assert layout.as_read(["True", "False", ""]) == ["yes", "no", ""]
    assert layout.as_read(["1", "0.5"]) == ["1.000", "0.500"] and layout.as_read(["1", "all"]) == ["1", "all"]


def test_many_columns_lose_counts_first_and_test_rows_come_first() -> None:
    frame = pd.DataFrame({"dataset": "en", "model": ["M", "M", "N"], "split": ["dev", "test", "test"]})
    frame = frame.assign(
        **{name: [0.1, 0.2, 0.3] for name in ("accuracy", "auc", "x", "y", "z", "w", "brier")}, n_seeds=3
    )
    table, same = layout.body(layout.read(frame.assign(n=[1, 2, 3]).to_csv(index=False)))
    header, _, *rows = table.splitlines()
    assert header == "| model | split | accuracy | auc | x | y | z | w |"
    assert [row[:10] for row in rows] == ["| M | test", "| N | test", "| M | dev "]
    assert same == "In every row: dataset en; n_seeds 3."
    wide = layout.read(",".join(f"c{i}" for i in range(20)) + "\n" + ",".join("12345678901234567890") + "\n")
    assert layout.body(wide)[0].splitlines()[0].count(" |") == layout.MOST_COLUMNS


def said(**other: object) -> dict:
    return {"id": "m_e2", "paper": "ours", "printed": "-", "caption": "A", "profile": "demo", "note": "", "runs": {},
            "files": {}} | other  # fmt: skip


def test_a_fault_of_every_run_is_one_line_and_one_of_some_stands_at_their_rows() -> None:
    marks = {"old": {"runs of before": layout.ALL}, "declared": {"wrong labels": ["r1"]}}
    about = said(runs={"r1": "", "r2": ""}, marks=marks, rows=[[0], [1]])
    page = layout.page("model,k\na,1\nb,2\n", about)
    assert "| a † | 1 |\n| b | 2 |" in page
    assert page.endswith("All runs, until made anew: runs of before.\n\n† until made anew: wrong labels.\n")
    about |= {"rows": None}
    assert "1 of 2 runs, until made anew: wrong labels." in layout.page("model,k\na,1\nb,2\n", about)
    about |= {"rows": [[0], [0, 1], []]}  # what no run made has no fault
    assert "Runs of all rows, until made anew: wrong labels." in layout.page("model\na\nb\nc\n", about)


def test_claims_are_a_sentence_each() -> None:
    columns = "claim,corpus,quantity,ours,low,high,verdict,why\n"
    rows = ["both chains see more,photo-en,accuracy,0.6,0.5,0.7,inconclusive,w",
            "both chains see more,photo-zh,accuracy,0.7,0.65,0.75,reproduced,w",
            "another,-,accuracy,,,,untestable here,no boxes"]  # fmt: skip
    page = layout.page(columns + "\n".join(rows), said())
    sentence = "inconclusive on photo-en (0.600 [0.500, 0.700]); reproduced on photo-zh (0.700 [0.650, 0.750])"
    assert f"| both chains see more *under revision* | accuracy | {sentence} |" in page
    assert "| another | accuracy | untestable here (no boxes) |" in page
    about = said(runs={"en": "", "zh": ""}, marks={"declared": {"wrong labels": ["en"]}}, rows=[[0], [1], []])
    assert "†" not in layout.page(columns + "\n".join(rows), about), "the one claim that has runs has this one"


def test_a_notebook_shows_few_rows_or_models_down_and_corpora_across() -> None:
    frame = pd.DataFrame({"dataset": ["en", "zh"] * 20, "model": [f"m{i // 2}" for i in range(40)], "split": "test",
                          "accuracy": 0.61249, "acc_low": 0.5, "acc_high": 0.7})  # fmt: skip
    lines = str(artifacts.show(frame)).splitlines()
    assert len([line for line in lines if line.startswith("|")]) == 2 + layout.MOST_ROWS
    assert lines[-1] == "25 more rows are in the csv." and artifacts.show(None) is None
    shown = artifacts.show(frame.head(3), "model", "dataset")
    assert shown.splitlines()[0] == "| model | en | zh |" and shown._repr_markdown_() == repr(shown)
    assert shown.splitlines()[-1] == "| m1 | 0.612 [0.500, 0.700] | - |"
    assert artifacts.show(frame.head(0)) == "No rows."


def test_the_best_row_is_bold_the_second_underlined_among_variants_that_dev_chose() -> None:
    lines = ["a,M (one),dev,.6", "a,M (two),dev,.7", "a,N,dev,.9", "a,O,dev,.1", "a,P,test,.99",
             "a,M (one),test,.95", "a,M (two),test,.8", "a,N,test,.7", "a,O,test,.75"]  # fmt: skip
    shown = layout.page("dataset,model,split,accuracy\n" + "\n".join(lines), said())
    assert "| M (two) | test | **0.800** |" in shown and "| O | test | <u>0.750</u> |" in shown
    assert shown.count("**") == 4 and shown.count("<u>") == 1, "not the variant that test would choose, nor without dev"
    beside = layout.page("dataset,model,split,accuracy\na,M,test,.8\na,N,test,.9\n", said())
    assert "<u>" not in beside and "**0" not in beside, "nothing says what dev would have chosen"
