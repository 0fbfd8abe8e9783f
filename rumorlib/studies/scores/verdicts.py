"""The papers' claims, each with the numbers used and a verdict: main results and ablations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rumorlib import experiments
from rumorlib.config import OTHERS, about
from rumorlib.experiments import rivals
from rumorlib.metrics import estimates
from rumorlib.metrics.estimates import Estimate, verdict
from rumorlib.metrics.learning import FAULTS
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names, with_runs
from rumorlib.studies.scores import comparison, controls, differences
from rumorlib.studies.scores.sweeps import Compared

BASELINES = tuple(("baseline", variant) for variant in experiments.BASELINES)
RIVALS = {name: tuple((name, variant) for variant in ("default", "no-graph", "no-adversary")) for name in OTHERS}
BEHIND = BASELINES + sum(RIVALS.values(), ())  # what a paper's model should be ahead of
FIX, PAIRS = "ours, choice C5", "pairs"
ARTIFACT = {"MICC": "m_e2", "DMFL": "d_e1"}
COLUMNS = ["claim", "source", "corpus", "quantity", "reported", "ours", "low", "high", "p_value", "p_holm", "verdict",
           "why"]  # fmt: skip
SAID = ("reproduced", "not reproduced", "inconclusive", "untestable here")
KEYS = "claim", "corpus", "quantity"  # tell the rows of a table of claims apart
# Which removal the MICC paper says costs more: (more, less); "fields-" is the single scale.
CHANCE = 0.05  # what "at chance" may lie off one half
MICC_ORDER = (
    ("A-delta", "A-gamma"), ("A-gamma", "Ms-alpha"), ("A-gamma", "Ms-beta"), ("Ms-alpha", "fields-"),
    ("Ms-beta", "fields-"),
)  # fmt: skip


def claims(reports: Sequence[Report], paper: str) -> pd.DataFrame:
    """Verdict per claim and corpus: reproduced, not reproduced, inconclusive, or untestable here.

    Comparisons are named beforehand: the model against the baseline that is best on dev, for MICC our two inputs
    against the literal one, on minimal pairs too (choice C5), and where many posts share a picture each input against
    frozen images alone; for DMFL the orders it states among the baselines. On test: means of single trainings, the
    corpus's primary metric, an interval of posts and trainings (`differences.compare`).

    Args:
        reports: main runs, baselines and rivals.
        paper: "MICC" or "DMFL".
    Returns: COLUMNS. ours: a score, or a difference where quantity says so; low, high: 95 %, empty where a model was
        trained once; p_value: two-sided, of a difference; p_holm: over the claims of the table.
    """
    rows = _stated(reports, paper)
    model = (paper.lower(), "default")
    rows += _ahead(reports, model, BEHIND, f"{paper} is ahead of the baseline that is best on dev", "main results")
    if paper == "MICC":
        rows += _pointing(reports)
        drawn = [r for r in reports if about(r.config.dataset).kind == "drawn"]
        for variant in ("product", "relevance"):
            claim = f"the {variant} input is ahead of the literal model"
            rows += _ahead(reports, ("micc", variant), [model], claim, FIX)
            rows += _ahead(drawn, ("micc", variant), [model], f"{claim} on minimal pairs", FIX, PAIRS, "pair")
        rows += _at_chance_on_pairs(drawn, model)
        shared = [r for r in reports if about(r.config.dataset).shared_pictures]  # else pictures alone say nothing
        for variant in ("default", "product", "relevance"):
            claim = f"MICC ({variant}) is ahead of a logistic regression on frozen images"
            rows += _ahead(shared, ("micc", variant), [("baseline", "image_lr")], claim, "ours, beside d_e1")
    else:
        rows += _orders(reports, paper)
    return frame_of(rows)


def frame_of(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Verdicts as a frame of COLUMNS, each row of the runs in its RUNS; a row without them is of no run. Holm's
    correction is over its rows."""
    frame = pd.DataFrame(rows, columns=[*COLUMNS, RUNS])
    frame["p_holm"] = estimates.holm(frame["p_value"])
    return by_runs(frame, *KEYS)


def together(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Tables of claims below each other, corrected as one."""
    return frame_of([row for frame in frames for row in with_runs(frame)])


def of_learned(frame: pd.DataFrame, reports: Iterable[Report]) -> pd.DataFrame:
    """The claims, of which none is judged that rests on a training with a fault (`metrics/learning.py`): untestable
    here, and why. What was measured stays; Holm's correction counts the others alone.

    Args: reports: of all runs behind the frame.
    """
    faults = {report.name: found[0] for report in reports if (found := report.faults())}
    rows = []
    for row in with_runs(frame):
        if (bad := [name for name in row[RUNS] if name in faults]) and row["verdict"] != SAID[3]:
            wrong = "; ".join(dict.fromkeys(FAULTS[faults[name]] for name in bad))
            why = f"{len(bad)} of {len(row[RUNS])} trainings: {wrong}"
            row |= {"verdict": SAID[3], "p_value": np.nan, "why": why}
        rows.append(row)
    return frame_of(rows)


def judged(found: Estimate, value: float = 0.0, above: bool = True) -> dict[str, Any]:
    """What an estimate says of "it lies above (below) the value": ours, low, high, p_value, verdict. A difference of
    models that score the same in every training is no question here."""
    said = {"ours": found.value, "low": found.low, "high": found.high, "p_value": found.p_value(value)}
    if found.lone:
        return said | {"p_value": np.nan, "verdict": "inconclusive"}
    if found.constant and found.value == value:
        return said | {"p_value": np.nan, "verdict": "untestable here"}
    return said | {"verdict": verdict(found.low, found.high, value, above)}


def _stated(reports: Sequence[Report], paper: str) -> list[dict[str, Any]]:
    """The accuracies a paper states for its own model, beside ours on the same corpus."""
    frame = comparison.against_reported(reports, ARTIFACT[paper])
    frame = frame[(frame["row"] == paper) & (frame["metric"] == "accuracy")]
    rows, own = [], {}
    for report in reports:
        if (report.config.model, report.config.variant) == (paper.lower(), "default"):
            own.setdefault(comparison.corpus_name(report.config), []).append(report)
    for corpus, part in frame.groupby("corpus", sort=False):
        same = part[part["gap"].notna()]
        found = (same if len(same) else part).iloc[0]
        said, _, why = found["verdict"].partition(": ")
        numbers = {key: found[key] if len(same) else np.nan for key in ("ours", "low", "high")}
        rows.append({"claim": f"{paper} reaches {found['reported']:.4g}", "source": found["source"], "corpus": corpus,
                     "quantity": "test accuracy", "reported": found["reported"], "verdict": said,
                     "why": why or "reported value against our 95 % interval",
                     RUNS: run_names(own.get(found["our_corpus"] if len(same) else corpus, ()))} | numbers)  # fmt: skip
    return rows


def _ahead(reports: Sequence[Report], model: tuple[str, str], rivals: Sequence[tuple[str, str]], claim: str,
           source: str, split: str = "test", clusters: str | None = None) -> list[dict[str, Any]]:  # fmt: skip
    rows, asked = [], [r for r in reports if (r.config.model, r.config.variant) in (model, *rivals)]
    for line in with_runs(differences.compare(asked, model, rivals, split, clusters)):
        said = verdict(line["low"], line["high"])
        chosen = " (best on dev)" * (len(rivals) > 1)
        why = f"{line['model']} {line['ours']:.3f}, {line['rival']}{chosen} {line['theirs']:.3f}"
        if line["highest"] != line["rival"]:  # dev may choose badly
            why = f"{why}, highest on test {line['highest']} {line['highest_score']:.3f}"
            if said == "reproduced" and not line["highest_low"] > 0:
                said = "inconclusive"
        about = {"claim": claim, "source": source, "corpus": line["dataset"], "reported": np.nan, RUNS: line[RUNS]}
        quantity = f"difference of {split} {line['metric'].replace('_', ' ')}"
        seeds = [n for n in (line["n_seeds"], line["rival_seeds"]) if n > 1]
        rows.append(about | {
            "quantity": quantity, "ours": line["difference"], "low": line["low"], "high": line["high"],
            "p_value": line["p_value"], "verdict": said,
            "why": why + f"; means of {' and '.join(map(str, seeds))} seeds" * bool(seeds),
        })  # fmt: skip
        if line["ensembles"] > 1:
            low, high = line["ensembles_low"], line["ensembles_high"]
            said = verdict(low, high)
            if said == "reproduced" and line["highest"] != line["rival"] and not line["highest_ensembles_low"] > 0:
                said = "inconclusive"
            rows.append(about | {
                "quantity": f"{quantity}, ensembles", "ours": line["ensembles_difference"], "low": low, "high": high,
                "verdict": said, "why": f"probabilities averaged over {line['ensembles']:.0f} seeds",
            })  # fmt: skip
    return rows


def _at_chance_on_pairs(reports: Sequence[Report], model: tuple[str, str]) -> list[dict[str, Any]]:
    """What choice C5 predicts of the literal model, where one word or one object decides: drawn scenes alone."""
    own = [r for r in reports if (r.config.model, r.config.variant) == model]
    rows = []
    for config, predictions in comparison.pooled(own):
        part = predictions[predictions["split"] == PAIRS].reset_index(drop=True)
        if len(part):
            found = estimates.score(part, "accuracy", ["pair"])
            said = estimates.equivalence(found.low, found.high, CHANCE, 0.5)
            rows.append({
                "claim": f"the literal model is at chance on minimal pairs, within {100 * CHANCE:g} points",
                "source": FIX, "reported": np.nan, "corpus": comparison.corpus_name(config),
                "quantity": "accuracy on pairs", "ours": found.value, "low": found.low, "high": found.high,
                "verdict": "inconclusive" if found.lone else said,
                "why": f"predicted from Eqs 24 and 25; {part['pair'].nunique()} pairs, .5 by either side of one alone",
                RUNS: run_names(predictions),
            })  # fmt: skip
    return rows


def _pointing(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """The literal model's finest scale, fine-tuned, against chance: truth boxes exist on drawn scenes only."""
    about = {"claim": "Top-K keeps the region the text speaks of", "source": "§3.3", "reported": np.nan}
    table = controls.pointing_table([r for r in reports if (r.config.model, r.config.variant) == ("micc", "default")])
    tuned = table[(table["stage"] == "fine-tuned") & (table["scale"] != "pooled")]
    rows = []
    for dataset, part in tuned.groupby("dataset", sort=False):
        line = part.iloc[0]
        said = verdict(line["low"], line["high"], line["chance"])
        rows.append(about | {
            "corpus": dataset, "quantity": f"dev pointing accuracy at {line['scale']} px", "ours": line["pointing"],
            "low": line["low"], "high": line["high"], "verdict": said if line["n_seeds"] > 1 else "inconclusive",
            "why": f"against chance {line['chance']:.3f}; {line['n_seeds']} seeds; stage 1 alone: the pointing table",
            RUNS: run_names(part),
        })  # fmt: skip
    nothing = {"corpus": "-", "quantity": "pointing accuracy", "verdict": "untestable here", "why": "no truth boxes"}
    return rows or [about | nothing]


def _orders(reports: Sequence[Report], paper: str) -> list[dict[str, Any]]:
    """Stated orders among models of others, as we trained them: tested on our corpora, where only the order can be."""
    frame = comparison.reported(ARTIFACT[paper])
    rows = []
    for claim, lines in frame[frame["unit"].eq("order")].groupby("row", sort=False):
        corpora = f"stated of {' and '.join(lines['dataset'])}"
        first, _, second = claim.lower().partition(" above ")
        names = (first, (second,)) if second else (claim.split()[0].lower(), ())
        others = names[1] or tuple(name for name in rivals.NAMED if name != names[0])
        model = next((key for key in RIVALS[names[0]] if key in _run(reports)), RIVALS[names[0]][0])
        tested = _ahead(reports, model, sum((RIVALS[name] for name in others), ()), claim, lines["source"].iloc[0])
        rows += [row | {"why": f"{row['why']}; {corpora}, so sizes are not compared"} for row in tested]
        if not tested:
            rows.append({"claim": claim, "source": lines["source"].iloc[0], "corpus": "-", "quantity": "order",
                         "reported": np.nan, "verdict": "untestable here", "why": f"not run; {corpora}"})  # fmt: skip
    return rows


def _run(reports: Sequence[Report]) -> set[tuple[str, str]]:
    return {(report.config.model, report.config.variant) for report in reports}


# --- ablations ---------------------------------------------------------------------------


def ablation_claims(table: pd.DataFrame, compared: Compared) -> pd.DataFrame:
    """Every part the paper calls useful, and for MICC the order of the drops, per corpus.

    Args:
        table: of `sweeps.ablation_table`, test posts.
        compared: the same runs and split.
    Returns: COLUMNS; ours, low, high: drop of the primary metric in points, or for an order the difference of two
        drops, paired over the same posts; reported: the paper's (the middle of its range), nan where it gives none or
        the row is a control of ours. reproduced: the interval lies above 0. Controls of ours are worse or better.
    """
    rows = []
    for corpus, part in table.groupby("dataset", sort=False):
        drops = with_runs(part[part["variant"] != "default"])
        rows += [_drop(corpus, line, compared) for line in drops]
        found = {key: line for key in {k for pair in MICC_ORDER for k in pair} for line in drops
                 if line["variant"].startswith(key)}  # fmt: skip
        pairs = [(found[more], found[less]) for more, less in MICC_ORDER if more in found and less in found]
        rows += [order(corpus, more, less, compared) for more, less in pairs]
    return frame_of(rows)


def _drop(corpus: str, line: dict[str, Any], compared: Compared) -> dict[str, Any]:
    names = ("reported_low", "reported_high") if "reported_low" in line else ("reported_as_printed", "reported_swapped")
    stated = np.array([line[name] for name in names], float)
    own = line["variant"].endswith("-k") or line["variant"] in ("no-stage-1", "lambda_a=0")
    said = judged(compared.ahead(corpus, "default", line["variant"]) * 100)
    if own:
        said["verdict"] = {"reproduced": "worse", "not reproduced": "better"}.get(said["verdict"], said["verdict"])
    size = "the paper gives no size" if np.isnan(stated).all() else f"paper: {stated.min():.3g} to {stated.max():.3g}"
    if not own and not np.isnan(stated).all() and not np.isnan(said["low"]):
        inside = said["low"] <= stated.max() and stated.min() <= said["high"]
        size += f", {'inside' if inside else 'outside'} our interval"
    return {
        "claim": f"{line['model']} is worse than the full model", "source": "ours, control" if own else "ablations",
        "corpus": corpus, "quantity": f"drop of test {line['primary']}, points", **said,
        "reported": np.nan if np.isnan(stated).all() else float(stated.mean()),
        "why": "no counterpart in the paper" if own else f"{size}; {caveat(corpus)}", RUNS: line[RUNS],
    }  # fmt: skip


def caveat(corpus: str) -> str:
    """What a reader must know before sizes of a paper's corpus are held against ours."""
    if about(corpus).protocol == "published":
        return "most likely the paper's corpus, on other encoders"
    return "the paper's corpora are others, so sizes are not compared"


def order(corpus: str, more: dict[str, Any], less: dict[str, Any], compared: Compared) -> dict[str, Any]:
    """Two lines of an ablation table: does `more` lose more? The full model cancels: what A loses beyond B is what B is
    ahead of A on the same posts."""
    said = judged(compared.ahead(corpus, less["variant"], more["variant"]) * 100)
    why = f"drops of {more['drop']:.2f} and {less['drop']:.2f} points"
    by_construction = "; both score the same in every training" * (said["verdict"] == "untestable here")
    return {
        "claim": f"{more['model']} loses more than {less['model']}", "source": "ablations, order", "corpus": corpus,
        "quantity": "difference of the two drops, points", "reported": np.nan, **said,
        "why": f"{why}{by_construction}; {caveat(corpus)}", RUNS: (*more[RUNS], *less[RUNS]),
    }  # fmt: skip
