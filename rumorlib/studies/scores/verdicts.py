"""The papers' claims, each with the numbers used and a verdict: main results, ablations, sweeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rumorlib import experiments
from rumorlib.config import about
from rumorlib.experiments import rivals
from rumorlib.metrics import statistics
from rumorlib.metrics.statistics import Interval
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names, stacked, with_runs
from rumorlib.studies.scores import comparison, controls

BASELINES = tuple(("baseline", variant) for variant in experiments.BASELINES)
RIVALS = {name: tuple((name, variant) for variant in ("default", "no-graph", "no-adversary")) for name in rivals.MODELS}
OTHERS = BASELINES + sum(RIVALS.values(), ())
FIX, PAIRS = "ours, choice C5", "pairs"
ARTIFACT = {"MICC": "m_e2", "DMFL": "d_e1"}
ALPHA = 0.05
Paired = Callable[[str, str, str], Interval]  # corpus, a variant, another -> accuracy of the one minus the other's
COLUMNS = ["claim", "source", "corpus", "quantity", "reported", "ours", "low", "high", "p_holm", "verdict", "why"]
KEYS = "claim", "corpus", "quantity"  # tell the rows of a table of claims apart
# Which removal the MICC paper says costs more: (more, less); "fields-" is the single scale.
FLAT = 0.02  # what a flat curve may move by: the middle of the paper's smallest drop, 1 to 3 points
MICC_ORDER = (
    ("A-delta", "A-gamma"), ("A-gamma", "Ms-alpha"), ("A-gamma", "Ms-beta"), ("Ms-alpha", "fields-"),
    ("Ms-beta", "fields-"),
)  # fmt: skip
ELSEWHERE = "the paper's corpora are others, so sizes are not compared"


def claims(reports: Sequence[Report], paper: str) -> pd.DataFrame:
    """Verdict per claim and corpus: reproduced, not reproduced, inconclusive, or untestable here.

    Comparisons are named beforehand: the model against the baseline that is best on dev, for MICC our two inputs
    against the literal one, on minimal pairs too (choice C5), and where many posts share a picture each input against
    frozen images alone; for DMFL the orders it states among the baselines; paired by picture on test,
    two-sided, Holm over the corpora of a claim.

    Args:
        reports: main runs, baselines and rivals.
        paper: "MICC" or "DMFL".
    Returns: claim, source, corpus, quantity, reported, ours, low, high, p_holm, verdict, why. ours: a score, or a
        difference where quantity says so; low, high: 95 %, pictures (pairs) drawn again.
    """
    rows = _stated(reports, paper)
    model = (paper.lower(), "default")
    rows += _ahead(reports, model, OTHERS, f"{paper} is ahead of the baseline that is best on dev", "main results")
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
    """Verdicts as a frame of COLUMNS, each row of the runs in its RUNS; a row without them is of no run."""
    return by_runs(pd.DataFrame(rows, columns=[*COLUMNS, RUNS]), *KEYS)


def together(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Tables of claims below each other."""
    return stacked(frames, *KEYS)


def _stated(reports: Sequence[Report], paper: str) -> list[dict[str, Any]]:
    """The accuracies a paper states for its own model, beside ours on the same corpus."""
    frame = comparison.against_reported(reports, ARTIFACT[paper])
    frame = frame[(frame["row"] == paper) & (frame["metric"] == "accuracy")]
    rows, own = [], {}
    for report in reports:
        if (report.config.model, report.config.variant) == (paper.lower(), "default"):
            own.setdefault(comparison.corpus_name(report.config), []).append(report)
    for corpus, part in frame.groupby("corpus", sort=False):
        same = part[part["our_corpus"] == corpus]
        found = (same if len(same) else part).iloc[0]
        verdict, _, why = found["verdict"].partition(": ")
        numbers = {key: found[key] if len(same) else np.nan for key in ("ours", "low", "high")}
        rows.append({"claim": f"{paper} reaches {found['reported']:.4g}", "source": found["source"], "corpus": corpus,
                     "quantity": "test accuracy", "reported": found["reported"], "verdict": verdict,
                     "why": why or "reported value against our 95 % interval",
                     RUNS: run_names(own.get(corpus, ()))} | numbers)  # fmt: skip
    return rows


def _ahead(reports: Sequence[Report], model: tuple[str, str], rivals: Sequence[tuple[str, str]], claim: str,
           source: str, split: str = "test", clusters: str | None = None) -> list[dict[str, Any]]:  # fmt: skip
    rows, asked = [], [r for r in reports if (r.config.model, r.config.variant) in (model, *rivals)]
    for line in with_runs(comparison.compare(asked, model, rivals, split, clusters)):
        if line["p_holm"] < ALPHA:
            verdict = "reproduced" if line["difference"] > 0 else "not reproduced"
        else:
            verdict = "inconclusive"
        chosen = " (best on dev)" * (len(rivals) > 1)
        why = f"{line['model']} {line['ours']:.3f}, {line['rival']}{chosen} {line['theirs']:.3f}"
        if line["highest"] != line["rival"]:  # dev may choose badly
            why = f"{why}, highest on test {line['highest']} {line['highest_score']:.3f}"
            if verdict == "reproduced" and line["highest_score"] > line["ours"]:
                verdict = "inconclusive"
        rows.append({
            "claim": claim, "source": source, "corpus": line["dataset"], "reported": np.nan,
            "quantity": f"difference of {split} {line['metric'].replace('_', ' ')}", "ours": line["difference"],
            "low": line["low"], "high": line["high"], "p_holm": line["p_holm"], "verdict": verdict,
            "why": f"{why}; {_seeds(line)}{line['n_clusters']} {clusters or 'picture'}s swapped", RUNS: line[RUNS],
        })  # fmt: skip
    return rows


def _seeds(line: dict[str, Any]) -> str:
    """Which scores these are, where a model has several seeds: not the mean of single seeds that other tables show."""
    several = [str(n) for n in (line["n_seeds"], line["rival_seeds"])]
    return "" if several == ["1", "1"] else f"probabilities averaged over {' and '.join(several)} seeds; "


def _at_chance_on_pairs(reports: Sequence[Report], model: tuple[str, str]) -> list[dict[str, Any]]:
    """What choice C5 predicts of the literal model, where one word or one object decides: drawn scenes alone."""
    own = [r for r in reports if (r.config.model, r.config.variant) == model]
    rows = []
    for config, predictions in comparison.pooled(own):
        part = predictions[predictions["split"] == PAIRS].reset_index(drop=True)
        if len(part):
            found = statistics.cluster_bootstrap(part, "accuracy", "pair")
            verdict = "reproduced" if found.low <= 0.5 <= found.high else "not reproduced"
            rows.append({
                "claim": "the literal model is at chance on minimal pairs", "source": FIX, "reported": np.nan,
                "corpus": comparison.corpus_name(config), "quantity": "accuracy on pairs", "ours": found.estimate,
                "low": found.low, "high": found.high, "verdict": verdict,
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
        rows.append(about | {
            "corpus": dataset, "quantity": f"dev pointing accuracy at {line['scale']} px", "ours": line["pointing"],
            "low": line["low"], "high": line["high"],
            "verdict": statistics.verdict(line["low"], line["high"], line["chance"]),
            "why": f"against chance {line['chance']:.3f}; stage 1 alone: see the pointing table",
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


# --- ablations and sweeps ---------------------------------------------------------------------------


def ablation_claims(table: pd.DataFrame, paired: Paired) -> pd.DataFrame:
    """Every part the paper calls useful, and for MICC the order of the drops, per corpus.

    Args:
        table: of `sweeps.ablation_table`, test posts.
        paired: of `sweeps.paired`, the same runs and split.
    Returns: COLUMNS; ours, low, high: drop of accuracy in points, or for an order the difference of two drops, paired
        over the same posts; reported: the paper's (the middle of its range), nan where it gives none or the row is a
        control of ours. reproduced: the interval lies above 0. Controls of ours are worse or better.
    """
    rows = []
    for corpus, part in table.groupby("dataset", sort=False):
        drops = with_runs(part[part["variant"] != "default"])
        rows += [_drop(corpus, line) for line in drops]
        found = {key: line for key in {k for pair in MICC_ORDER for k in pair} for line in drops
                 if line["variant"].startswith(key)}  # fmt: skip
        pairs = [(found[more], found[less]) for more, less in MICC_ORDER if more in found and less in found]
        rows += [order(corpus, more, less, paired) for more, less in pairs]
    return frame_of(rows)


def _drop(corpus: str, line: dict[str, Any]) -> dict[str, Any]:
    names = ("reported_low", "reported_high") if "reported_low" in line else ("reported_as_printed", "reported_swapped")
    stated = np.array([line[name] for name in names], float)
    own = line["variant"].endswith("-k") or line["variant"] in ("no-stage-1", "unfrozen")
    verdict = statistics.verdict(line["drop_low"], line["drop_high"], 0)
    verdict = {"reproduced": "worse", "not reproduced": "better"}.get(verdict, verdict) if own else verdict
    said = "the paper gives no size" if np.isnan(stated).all() else f"paper: {stated.min():.3g} to {stated.max():.3g}"
    return {
        "claim": f"{line['model']} is worse than the full model", "source": "ours, control" if own else "ablations",
        "corpus": corpus, "quantity": "drop of test accuracy, points", "ours": line["drop"], "low": line["drop_low"],
        "reported": np.nan if np.isnan(stated).all() else float(stated.mean()), "high": line["drop_high"],
        "verdict": verdict, "why": "no counterpart in the paper" if own else f"{said}; {ELSEWHERE}", RUNS: line[RUNS],
    }  # fmt: skip


def order(corpus: str, more: dict[str, Any], less: dict[str, Any], paired: Paired) -> dict[str, Any]:
    """Two lines of an ablation table: does `more` lose more? The full model cancels: what A loses beyond B is what B is
    ahead of A on the same posts."""
    ahead, low, high = (100 * value for value in paired(corpus, less["variant"], more["variant"]))
    return {
        "claim": f"{more['model']} loses more than {less['model']}", "source": "ablations, order", "corpus": corpus,
        "quantity": "difference of the two drops, points", "reported": np.nan, "ours": ahead, "low": low, "high": high,
        "verdict": statistics.verdict(low, high, 0),
        "why": f"drops of {more['drop']:.2f} and {less['drop']:.2f} points; {ELSEWHERE}",
        RUNS: (*more[RUNS], *less[RUNS]),
    }  # fmt: skip


def sweep_claims(
    frame: pd.DataFrame, setting: str, best: dict[str, Any], paired: Paired, split: str = "test"
) -> pd.DataFrame:
    """Is the paper's best value of a setting the best here? Accuracy, per corpus, each other value paired with it.

    reproduced: some other value is worse than the paper's, its interval aside of 0, and none better; not reproduced:
    some value is better; else inconclusive: any value would have done. untestable here: the value was not run.

    Args:
        frame: of `sweeps.sweep`.
        setting: its column.
        best: dataset -> the paper's best value.
        paired: of `sweeps.paired`, the same runs and split.
    """
    rows = []
    scored = frame[(frame["split"] == split) & (frame["metric"] == "accuracy")]
    for corpus, part in scored.groupby("dataset", sort=False):
        about = {"claim": f"{setting} = {best[corpus]} is best", "source": "sensitivity", "corpus": corpus,
                 "quantity": f"test accuracy at {setting} = {best[corpus]}", "reported": np.nan}  # fmt: skip
        own = part[part[setting] == best[corpus]]
        if own.empty:
            rows.append(about | {"verdict": "untestable here", "why": "this value was not run"})
            continue
        value, others = own.iloc[0], part[part[setting] != best[corpus]]
        ahead = [paired(corpus, value["variant"], other) for other in others["variant"]]
        better, worse = sum(one.high < 0 for one in ahead), sum(one.low > 0 for one in ahead)
        chosen = part.loc[part["best_on_dev"], setting].iloc[0]
        rows.append(about | {
            "ours": value["estimate"], "low": value["low"], "high": value["high"],
            "verdict": "not reproduced" if better else "reproduced" if worse else "inconclusive",
            "why": f"on the same posts {better} of {len(others)} other values are better, {worse} worse, the rest "
                   f"level; dev would choose {setting} = {chosen}",
            RUNS: run_names(part),
        })  # fmt: skip
        if setting == "fusion_weight":
            rows.append(_flat(corpus, part, value, paired))
    return frame_of(rows)


def _flat(corpus: str, part: pd.DataFrame, value: pd.Series, paired: Paired) -> dict[str, Any]:
    """What choice C5 predicts of lambda between its limits: any factor on a free score can be undone by its last layer.

    Every interior value is paired with the default; ours, low, high: those of the pair that lies furthest from 0.
    """
    inside = part[(part["fusion_weight"] > 0) & (part["fusion_weight"] < 1) & (part["variant"] != value["variant"])]
    row = {"claim": "the curve of fusion_weight is flat between its ends", "source": FIX, "corpus": corpus,
           "quantity": "largest difference to the default, test accuracy", "reported": np.nan,
           RUNS: run_names(part)}  # fmt: skip
    if inside.empty:
        return row | {"verdict": "untestable here", "why": "no value between the ends but the default was run"}
    found = {
        name: paired(corpus, other, value["variant"])
        for name, other in inside.set_index("fusion_weight")["variant"].items()
    }
    at, far = max(found.items(), key=lambda item: max(-item[1].low, item[1].high))
    level = all(max(-one.low, one.high) < FLAT for one in found.values())
    moved = any(one.low > FLAT or one.high < -FLAT for one in found.values())
    return row | {
        "ours": far.estimate, "low": far.low, "high": far.high,
        "verdict": "reproduced" if level else "not reproduced" if moved else "inconclusive",
        "why": f"{len(found)} values, furthest at {at:g}; flat: every 95 % interval within {100 * FLAT:g} points",
    }  # fmt: skip
