"""Which cells of a comparison are set off: the best number and the second, among rows that dev chose."""

from __future__ import annotations

import re

Columns = dict[str, list[str]]  # the cells of a csv, by the name of the column


def is_number(text: str) -> bool:
    """Whether a cell is a number."""
    return bool(re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", text))


def ranked(columns: Columns) -> dict[tuple[str, int], str]:
    """Best and second of a comparison: (column, row) -> "**" or "<u>", of the test rows of each corpus.

    Of a model's variants, told by the words in brackets behind its name, the one that is best on dev competes; a table
    without dev rows ranks nothing. By `primary_value`, else accuracy.
    """
    value = "primary_value" if "primary_value" in columns else "accuracy"
    if not {"dataset", "model", "split", value} <= set(columns):
        return {}
    cells = list(zip(columns["dataset"], columns["model"], columns["split"], columns[value], strict=True))
    dev = {(dataset, model): float(cell) for dataset, model, split, cell in cells if split == "dev" and is_number(cell)}
    sent: dict[tuple[str, str], tuple[float, float, int]] = {}  # corpus and model -> its variant: dev, test, row
    for row, (dataset, model, split, cell) in enumerate(cells):
        if split == "test" and is_number(cell) and (dataset, model) in dev:
            key = dataset, model.partition(" (")[0]
            sent[key] = max(sent.get(key, (-1.0, 0.0, 0)), (dev[dataset, model], float(cell), row))
    found = {}
    for dataset in dict.fromkeys(key[0] for key in sent):
        order = sorted((test, row) for key, (_, test, row) in sent.items() if key[0] == dataset)[::-1]
        found |= {(value, row): sign for (_, row), sign in zip(order, ("**", "<u>"))}
    return found


def set_off(cell: str, mark: str) -> str:
    """The number a cell begins with between marks: bold or underlined, its interval is not."""
    number, gap, rest = cell.partition(" ")
    return f"{mark}{number}{mark.replace('<', '</')}{gap}{rest}" if mark else cell
