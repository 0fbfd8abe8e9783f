"""The notebooks' form: short, flat, stripped, demo by default. What they compute is tested by running them (nbval)."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rumorlib import config as cfg
from rumorlib.commands import parameters

NOTEBOOKS = sorted((cfg.PROJECT_ROOT / "notebooks").glob("*.ipynb"))
DEFAULTS = {"profile": "demo", "datasets": None, "seeds": None, "train": "missing", "grid": "reduced"}
TYPES = {"profile": "str", "datasets": "list[str] | None", "seeds": "list[int] | None", "train": "str", "grid": "str"}
MOST_CELLS, MOST_LINES = 22, 25
MOST_WORDS = 12  # of prose per line of code, all notebooks together
PATH = re.compile(r"^(\.{0,2}/|~|[A-Za-z]:\\)|\.(csv|json|png|pdf|md|ipynb|safetensors|jpe?g|txt)$")

pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="no notebooks")


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in load(path)["cells"] if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def tags(cell: dict[str, Any]) -> list[str]:
    return cell["metadata"].get("tags", [])


def nodes(path: Path) -> Iterator[tuple[int, ast.AST]]:
    for position, cell in enumerate(code_cells(path)):
        for node in ast.walk(ast.parse(source(cell))):  # a magic or `!command` is a SyntaxError here: not allowed
            yield position, node


def test_cells_are_few_and_short() -> None:
    wrong = []
    for path in NOTEBOOKS:
        cells = code_cells(path)
        longest = max(len(source(cell).splitlines()) for cell in cells)
        wrong += [f"{path.name}: {len(cells)} code cells"] * (len(cells) > MOST_CELLS)
        wrong += [f"{path.name}: a cell of {longest} lines"] * (longest > MOST_LINES)
        wrong += [f"{path.name}: opens with code"] * (load(path)["cells"][0]["cell_type"] != "markdown")
    assert not wrong, "\n".join(wrong)


def test_each_opens_with_its_question_the_idea_and_a_picture() -> None:
    wrong = []
    for path in NOTEBOOKS:
        opening = source(load(path)["cells"][0])
        asked = re.search(r"^\*\*Question\.\*\* .*\?$", opening, re.MULTILINE)
        idea = re.search(r"^\*\*The idea\.\*\* (.*)$", opening, re.MULTILINE)
        text = "\n".join(source(cell) for cell in load(path)["cells"] if cell["cell_type"] == "markdown")
        links = re.findall(r"\]\((\.\./[^)#]+)", text)  # an executed copy's are carried over by their "../"
        wrong += [f"{path.name}: no question"] * (not asked) + [f"{path.name}: no idea"] * (not idea)
        wrong += [f"{path.name}: no picture"] * ("](../figures/" not in opening)
        wrong += [f"{path.name}: {link} is missing" for link in links if not (path.parent / link).is_file()]
    assert not wrong, "\n".join(wrong)


def test_prose_is_short_and_types_no_score() -> None:
    prose = {path: [source(cell) for cell in load(path)["cells"] if cell["cell_type"] == "markdown"]
             for path in NOTEBOOKS}  # fmt: skip
    words = sum(len(text.split()) for texts in prose.values() for text in texts)
    lines = sum(len(source(cell).splitlines()) for path in NOTEBOOKS for cell in code_cells(path))
    assert words <= MOST_WORDS * lines, f"{words} words, {lines} lines of code"
    typed = re.compile(r"(?<![\d.])0?\.\d|\d ?%|\d\.\d\d")
    of = {path.name: typed.findall(re.sub(r"\$.*?\$|`[^`]*`|95 %", "", "\n".join(texts), flags=re.DOTALL))
          for path, texts in prose.items()}  # fmt: skip
    assert not any(of.values()), of


def test_parameters_are_annotated_literals_and_default_to_demo() -> None:
    wrong = []
    for path in NOTEBOOKS:
        tagged = ["parameters" in tags(cell) for cell in code_cells(path)]
        body = ast.parse(source(code_cells(path)[0])).body
        known = parameters.declared(path)
        if tagged != [True, *[False] * (len(tagged) - 1)] or not all(isinstance(node, ast.AnnAssign) for node in body):
            wrong.append(f"{path.name}: its first code cell, and no other, is of annotated parameters")
            continue
        values = {node.target.id: ast.literal_eval(node.value) for node in body}
        parameters.check(path.stem, values, known)
        usual = {name: (values.get(name, "missing"), known[name]) for name in TYPES}
        wrong += [f"{path.name}: {usual}"] * (usual != {name: (DEFAULTS[name], TYPES[name]) for name in TYPES})
    assert not wrong, "\n".join(wrong)


def test_code_lives_in_the_library() -> None:
    wrong = []
    for path in NOTEBOOKS:
        for position, node in nodes(path):
            star = isinstance(node, ast.ImportFrom) and node.names[0].name == "*"
            named = isinstance(node, ast.Constant) and isinstance(node.value, str) and PATH.search(node.value)
            if star or named or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                wrong.append(f"{path.name}, code cell {position}: {ast.unparse(node)[:60]}")
    assert not wrong, "\n".join(wrong)


def test_outputs_are_stripped_except_the_compared_ones() -> None:
    wrong = []
    for path in NOTEBOOKS:
        for position, cell in enumerate(code_cells(path)):
            kept, compared = "keep_output" in tags(cell), "nbval-check-output" in tags(cell)
            excused = {"raises-exception", "nbval-raises-exception", "nbval-skip"} & set(tags(cell))
            stripped = bool(cell["outputs"]) == kept and (kept or cell["execution_count"] is None)
            wrong += [f"{path.name}, code cell {position}"] * bool(kept != compared or excused or not stripped)
    assert not wrong, f"compared cells are tagged keep_output and keep theirs, all others are stripped: {wrong}"


def test_metadata_is_neutral() -> None:
    about = {path.name: load(path)["metadata"] for path in NOTEBOOKS}
    assert not [name for name, one in about.items()
                if one["kernelspec"]["name"] != "python3" or {"papermill", "widgets"} & set(one)]  # fmt: skip


def test_artifacts_of_the_index_are_written() -> None:
    with (cfg.PROJECT_ROOT / "results" / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["notebook"]]
    texts = {path.stem: "\n".join(source(cell) for cell in code_cells(path)) for path in NOTEBOOKS}
    claimed = [r for r in rows if any(r[f"status_{p}"] in ("reproduced", "partial") for p in cfg.PROFILES)]
    absent = [f"{row['notebook']}: {row['id']}" for row in claimed
              if not re.search(rf"[\"']{row['id']}[\"']", texts[row["notebook"]])]  # fmt: skip
    assert not absent, absent
