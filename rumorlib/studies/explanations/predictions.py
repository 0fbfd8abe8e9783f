"""Predictions about explanations, probes and break conditions, each with what was found and a verdict.

A verdict is the side of the value on which the interval lies (`estimates.verdict`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from rumorlib.metrics.estimates import beside, equivalence, verdict
from rumorlib.results.provenance import RUNS, by_runs, with_runs
from rumorlib.studies.explanations.explanations import STAGE1, TRAINED, UNTRAINED

COLUMNS = ["prediction", "of", "quantity", "ours", "low", "high", "against", "verdict", "why"]
GAMMA = "MICC-A/γ"
CHANCE = 0.05  # what "no model sees through" may lie above one half
IGNORED = 0.1  # rank correlation within which weights ignore relevance


def verdicts(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Verdict per prediction and model (x_claims).

    Args: tables: by artifact id: x_1, x_2, x_3, x_5, x_5_fingerprint; x_4 and x_5_learned where they were made.
    Returns: COLUMNS; against: what the interval is compared with.
    """
    tables = {name: pd.DataFrame(with_runs(table)) for name, table in tables.items()}
    patches = tables["x_1"]
    patches = patches[patches["field_px"] == patches["field_px"].min()]
    rows = [*_pointing(patches), *_sanity(patches, "patches"), *_sanity(tables["x_2"], "words")]
    rows += [*_undetectable(tables["x_5"]), *_fingerprint(tables["x_5_fingerprint"])]
    rows += [*_breaks(tables["x_3"]), *(_adaptive(tables["x_4"]) if "x_4" in tables else ())]
    rows += _learned(tables["x_5_learned"]) if "x_5_learned" in tables else ()
    return by_runs(pd.DataFrame(rows, columns=[*COLUMNS, RUNS]), *COLUMNS[:3])


def _apart(
    prediction: str, of: str, quantity: str, line: pd.Series, rival: pd.Series, name: str, why: str
) -> dict[str, Any]:
    """A row whose interval is compared with another interval: reproduced above it, not reproduced below it."""
    row = _row(prediction, of, quantity, line, name, rival[f"{name}_high"], why=why)
    if row["verdict"] == "not reproduced" and row["high"] >= rival[f"{name}_low"]:
        row["verdict"] = "inconclusive"
    ends = f"{rival[f'{name}_low']:.3f} to {rival[f'{name}_high']:.3f}"
    return row | {"against": rival[name], "why": f"{why}: {ends}", RUNS: (*line[RUNS], *rival[RUNS])}


def _row(prediction: str, of: str, quantity: str, line: pd.Series, name: str, against: float, above: bool = True,
         why: str = "", measured: bool = False) -> dict[str, Any]:  # fmt: skip
    """`measured`: what it is held against was measured on the same posts."""
    low, high = (line[f"{name}_{end}" if f"{name}_{end}" in line else end] for end in ("low", "high"))
    ends = beside(line[name], low, high) if measured else (low, high)
    return {"prediction": prediction, "of": of, "quantity": quantity, "ours": line[name], "low": low, "high": high,
            "against": against, "verdict": verdict(*ends, against, above), "why": why,
            RUNS: line[RUNS]}  # fmt: skip


def _pointing(patches: pd.DataFrame) -> Iterator[dict[str, Any]]:
    mine = patches[patches["weights"] == TRAINED]
    contrast = patches[patches["weights"] == "none"].set_index("model")["pointing"]
    for _, line in mine.iterrows():
        against = max(line["pointing_chance"], contrast[line["model"]])
        of = f"{line['model']}: {line['explanation']}"
        yield _row("points at the object that moves the logit most", of, "pointing", line, "pointing", against,
                   why="against chance and the contrast of the pixels", measured=True)  # fmt: skip


def _sanity(table: pd.DataFrame, what: str) -> Iterator[dict[str, Any]]:
    """An explanation must score better than the same made by weights that were not trained, or not by stage 2."""
    keys = ["model", "explanation"]
    for (model, explanation), part in table.groupby(keys, sort=False):
        by = part.set_index("weights")
        for other in (UNTRAINED, STAGE1):
            if TRAINED in by.index and other in by.index:
                yield _apart(f"depends on more than the {other} weights ({what})", f"{model}: {explanation}",
                             "rank correlation with the exact effect", by.loc[TRAINED], by.loc[other], "rank",
                             "against the interval with those weights")  # fmt: skip


def _undetectable(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for split, part in table.groupby("split", sort=False):
        best = part.loc[part["accuracy"].idxmax()]
        row = _row(f"no model sees through posts without a cue it was shown ({split})", f"all {len(part)}, best: "
                   f"{best['model']}", "accuracy", best, "accuracy", 0.5, above=False)  # fmt: skip
        seen, level = (part["reading"] != "not above .5").any(), part["high"].max() <= 0.5 + CHANCE
        why = f"smallest Holm p above .5: {part['p_holm'].min():.2g} over all models and both sets; reproduced: every "
        why += f"interval ends below {0.5 + CHANCE:g}"
        said = "not reproduced" if seen else "reproduced" if level else "inconclusive"
        yield row | {"verdict": said, "why": why, RUNS: part[RUNS].sum()}


def _fingerprint(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    by = table.set_index("model")
    for model, line in by.drop(index=GAMMA, errors="ignore").iterrows():
        why = f"against patches drawn blindly; the same place without the mark: {line['kept_without_mark']:.3f}"
        yield _row("Top-K throws the marked patches away", model, "posts that keep a marked patch", line, "kept",
                   line["kept_chance"], above=False, why=why, measured=True)  # fmt: skip
        for name, what in (("weight", "has more weight"), ("effect", "moves the logit more")):
            if GAMMA not in by.index:
                continue
            of = f"{GAMMA} against {model}"
            yield _apart(f"without Top-K the mark {what}", of, f"{name} of the mark", by.loc[GAMMA], line, name,
                         "against the interval with Top-K")  # fmt: skip


def _learned(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for _, line in table[table["split"].eq("fingerprint") & table["ahead"].notna()].iterrows():
        yield _row("trained on marks, Top-K loses what A/γ learns of them", line["model"],
                   "accuracy on marked posts, ahead of A/γ", line, "ahead", 0.0, above=False)  # fmt: skip


def _breaks(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for _, line in table.iterrows():
        if line["quantity"].startswith("relevance that stays"):
            field = line["quantity"].rsplit(" ", 1)[1]
            yield _row(f"relevance falls when the claimed object changes its {field}", line["state"],
                       line["quantity"], line, "value", 1.0, above=False)  # fmt: skip
        if line["quantity"].startswith("rank correlation of fusion") and line["state"].endswith("lambda 1"):
            said = equivalence(line["low"], line["high"], IGNORED)
            row = _row("at lambda = 1 weights ignore relevance", line["state"], line["quantity"], line, "value", 0.0)
            yield row | {"verdict": said, "why": f"reproduced: the interval lies within {IGNORED:g} of 0"}
    gap = table[table["quantity"].str.startswith("distance of centroids")].set_index("state")
    for state, line in gap.drop(index=[UNTRAINED, STAGE1], errors="ignore").iterrows():
        row = _row("stage 2 narrows the modality gap", state, line["quantity"], line, "value",
                   gap.loc[STAGE1, "value"], above=False, why="against stage 1", measured=True)  # fmt: skip
        yield row | {RUNS: (*line[RUNS], *gap.loc[STAGE1, RUNS])}


def _adaptive(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    levels = [level for level in table["clutter"].unique() if level != "all"]
    for rule, part in table[~table["rule"].str.startswith("fixed")].groupby("rule", sort=False):
        by = part.set_index("clutter")
        fixed = table[(table["clutter"] == "all") & table["rule"].str.startswith("fixed")]
        best = fixed.loc[fixed["accuracy"].idxmax()]
        whole = by.loc["all"]
        yield _row("adaptive K is ahead of fixed K = 2", rule, "gain of accuracy, paired", whole, "gain", 0.0)
        if best["gain"] > 0:  # hindsight picks the rival, which makes the bar higher
            why = f"against the gain of {best['rule']}, the best on these posts"
            yield _apart(
                "adaptive K is ahead of every fixed K", rule, "gain over fixed K = 2", whole, best, "gain", why
            )
        yield _apart("the gain grows with clutter", rule, f"gain with {levels[-1]} objects", by.loc[levels[-1]],
                     by.loc[levels[0]], "gain", f"against the interval with {levels[0]} objects")  # fmt: skip
