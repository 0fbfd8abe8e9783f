"""The notebooks' form: short, flat, stripped, demo by default. What they compute is tested by running them (nbval)."""

from __future__ import annotations

import ast
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
MOST_CELLS, MOST_LINES = 12, 25
PATH = re.compile(r"^(\.{0,2}/|~|[A-Za-z]:\\)|\.(csv|json|png|pdf|md|ipynb|safetensors|jpe?g|txt)$")

pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="no notebooks")
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


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


@each_notebook
def test_cells_are_few_and_short(path: Path) -> None:
    cells = code_cells(path)
    assert len(cells) <= MOST_CELLS
    assert max(len(source(cell).splitlines()) for cell in cells) <= MOST_LINES
    assert load(path)["cells"][0]["cell_type"] == "markdown"


@each_notebook
def test_parameters_are_annotated_literals_and_default_to_demo(path: Path) -> None:
    tagged = [cell for cell in code_cells(path) if "parameters" in tags(cell)]
    assert len(tagged) == 1 and tagged[0] is not None and "parameters" in tags(code_cells(path)[0])
    body = ast.parse(source(tagged[0])).body
    assert all(isinstance(node, ast.AnnAssign) for node in body), "annotate every parameter"
    values = {node.target.id: ast.literal_eval(node.value) for node in body}
    assert {name: values.get(name, "missing") for name in DEFAULTS} == DEFAULTS
    known = parameters.declared(path)
    assert {name: known[name] for name in TYPES} == TYPES
    parameters.check(path.stem, values, known)


@each_notebook
def test_code_lives_in_the_library(path: Path) -> None:
    for position, node in nodes(path):
        where = f"{path.name}, code cell {position}"
        assert not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)), f"{where}: def or class"
        if isinstance(node, ast.ImportFrom):
            assert node.names[0].name != "*", f"{where}: import *"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not PATH.search(node.value), f"{where}: path {node.value!r}"


@each_notebook
def test_outputs_are_stripped_except_the_compared_ones(path: Path) -> None:
    for cell in code_cells(path):
        kept, compared = "keep_output" in tags(cell), "nbval-check-output" in tags(cell)
        assert not {"raises-exception", "nbval-raises-exception", "nbval-skip"} & set(tags(cell))
        assert kept == compared, "nbval-check-output and keep_output go together"
        assert bool(cell["outputs"]) == kept, "compared cells keep their output, all others are stripped"
        assert kept or cell["execution_count"] is None


@each_notebook
def test_metadata_is_neutral(path: Path) -> None:
    metadata = load(path)["metadata"]
    assert metadata["kernelspec"]["name"] == "python3"
    assert not {"papermill", "widgets"} & set(metadata)


@each_notebook
def test_artifacts_of_the_index_are_written(path: Path) -> None:
    import csv

    with (cfg.PROJECT_ROOT / "results" / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["notebook"] == path.stem]
    text = "\n".join(source(cell) for cell in code_cells(path))
    claimed = [r["id"] for r in rows if any(r[f"status_{p}"] in ("reproduced", "partial") for p in cfg.PROFILES)]
    absent = [artifact for artifact in claimed if not re.search(rf"[\"']{artifact}[\"']", text)]
    assert not absent, f"{path.name} does not name {', '.join(absent)}"
