"""The papers' claims about sweeps, each with a verdict: the best value, the shape of a curve, the ratio of two weights.

Is the paper's value best: on test. Shapes and ratios (DMFL §6.3): a curve is the primary metric on dev at each value of
a setting. Of one training per value nothing is known of its noise, and no claim is decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from rumorlib import experiments
from rumorlib.config import RunConfig, Settings, about, record
from rumorlib.config.profiles import loss_weights, points
from rumorlib.experiments import corpus_name
from rumorlib.metrics import curves
from rumorlib.metrics.estimates import ALPHA, Measured, verdict
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, run_names
from rumorlib.studies.scores import sweeps
from rumorlib.studies.scores.sweeps import Compared
from rumorlib.studies.scores.verdicts import FIX, caveat, frame_of, judged, together

STEP = 0.4  # of the first sweep of lambda_c and lambda_a, the paper's
FLAT = 0.02  # what a flat curve may move by: the middle of the paper's smallest drop, 1 to 3 points
STATED = {  # setting -> the table that says which value of it the paper calls best
    "receptive_fields": "m_e3", "top_k": "m_e4", "fusion_weight": "m_e5", "lambda_c": "d_e3", "lambda_a": "d_e4",
}  # fmt: skip
MEASURED_TOGETHER = ("receptive_fields", "top_k", "fusion_weight"), ("lambda_c", "lambda_a")  # one model's sweeps
# How accuracy moves with the heads, besides being best at eight: (better, worse).
BEST_HEADS = 8
HEADS = {"en": ((2, 4), (2, 6), (8, 10)), "zh": ((4, 2), (4, 6), (8, 10))}


@dataclass(frozen=True)
class Swept:
    """A sweep: `sweeps.sweep` of its runs, and the runs."""

    frame: pd.DataFrame
    reports: Sequence[Report]


def claims(swept: Mapping[str, Swept], datasets: Sequence[str]) -> pd.DataFrame:
    """Every claim of the papers about their sweeps: columns of `verdicts.COLUMNS`, corrected as one table.

    Args:
        swept: key of `sweeps.SETTINGS` -> its sweep; claims about one that is missing are left out.
        datasets: corpora of the profile, in order; shapes are compared between the first English and the first Chinese.
    """
    told = []
    for names in MEASURED_TOGETHER:
        own = {name: swept[name] for name in names if name in swept}
        compared = Compared([report for one in own.values() for report in one.reports])
        told += [best_claims(one.frame, name, sweeps.reported_best(STATED[name], datasets), compared)
                 for name, one in own.items()]  # fmt: skip
    if weights := [name for name in ("lambda_c", "lambda_a") if name in swept]:
        of = {record(dataset).language: dataset for dataset in reversed(datasets)}
        both = of.get("en", "-"), of.get("zh", "-")
        told += [peak_claims(swept[name].reports, name) for name in weights]
        told += [tortuosity_claim(swept["lambda_a"].reports, "lambda_a", *both)] if "lambda_a" in weights else []
        told += [ratio_claims([report for name in weights for report in swept[name].reports], *both)]
    if "n_heads" in swept:
        told.append(heads_claims(swept["n_heads"].frame, Compared(swept["n_heads"].reports)))
    return together(told)


# --- the best value -----------------------------------------------------------------------------


def best_claims(frame: pd.DataFrame, setting: str, best: dict[str, Any], compared: Compared) -> pd.DataFrame:
    """Is the paper's best value of a setting the best here (`curves.best`)? By the primary metric, per corpus.

    untestable here: the value was not run.

    Args:
        frame: of `sweeps.sweep`.
        setting: its column.
        best: dataset -> the paper's best value.
        compared: the same runs, of the split that judges.
    """
    rows = []
    for corpus, part in frame.drop_duplicates(["dataset", "variant"]).groupby("dataset", sort=False):
        about = {"claim": f"{setting} = {best[corpus]} is best", "source": "sensitivity", "corpus": corpus,
                 "reported": np.nan}  # fmt: skip
        own = np.flatnonzero(part[setting] == best[corpus])
        if not len(own):
            nothing = {"verdict": "untestable here", "why": "this value was not run"}
            rows.append(about | {"quantity": f"test score at {setting} = {best[corpus]}"} | nothing)
            continue
        curve, place = compared.curve(corpus, part["variant"]), int(own[0])
        found, said = curve.contrast(np.eye(len(part))[place]), curves.best(curve, place)
        told = f"{said.better} of {len(part) - 1} other values are better, {said.worse} worse (Holm), the rest level; "
        told += f"on top in {said.on_top:.0%} of draws; "
        chosen = part.loc[part["best_on_dev"], setting].iloc[0]
        rows.append(about | {
            "quantity": f"test {compared.metric(corpus)} at {setting} = {best[corpus]}",
            "ours": found.value, "low": found.low, "high": found.high, "verdict": said.verdict,
            "why": ("one seed of a value or more; " if curve.lone.any() else told)
                   + f"dev would choose {setting} = {chosen}",
            RUNS: run_names(part),
        })  # fmt: skip
        if setting == "fusion_weight":
            rows.append(_flat(corpus, part, part["variant"].iloc[place], compared))
    return frame_of(rows)


def _flat(corpus: str, part: pd.DataFrame, default: str, compared: Compared) -> dict[str, Any]:
    """What choice C5 predicts of lambda between its limits: any factor on a free score can be undone by its last layer.

    Every interior value is paired with the default; ours, low, high: those of the pair that lies furthest from 0.
    """
    inside = part[((part["fusion_weight"] > 0) & (part["fusion_weight"] < 1)) | (part["variant"] == default)]
    row = {"claim": "the curve of fusion_weight is flat between its ends", "source": FIX, "corpus": corpus,
           "quantity": f"largest difference to the default, test {compared.metric(corpus)}", "reported": np.nan,
           RUNS: run_names(part)}  # fmt: skip
    if len(inside) < 2:
        return row | {"verdict": "untestable here", "why": "no value between the ends but the default was run"}
    curve = compared.curve(corpus, inside["variant"])
    said, far, (ours, low, high) = curves.flat(curve, inside["variant"].tolist().index(default), FLAT)
    return row | {
        "ours": ours, "low": low, "high": high, "verdict": said,
        "why": f"{len(inside) - 1} values, furthest at {inside['fusion_weight'].iloc[far]:g}; flat: every 95 % "
               f"interval within {100 * FLAT:g} points",
    }  # fmt: skip


def heads_claims(frame: pd.DataFrame, compared: Compared) -> pd.DataFrame:
    """Eight heads are best, and the ups and downs that the paper reads from Figure 9, by the language of each corpus.

    Args: frame: of `sweeps.sweep` over n_heads. compared: the same runs, of the split that judges.
    Returns: COLUMNS; ours, low, high of an order: primary metric with the one number of heads minus with the other.
    """
    rows = []
    for corpus, part in frame.drop_duplicates(["dataset", "variant"]).groupby("dataset", sort=False):
        variant = part.set_index("n_heads")["variant"]
        for more, less in HEADS[about(corpus).language]:
            row = {"claim": f"{more} heads are better than {less}", "source": "§6.3, Figure 9", "corpus": corpus,
                   "quantity": f"test {compared.metric(corpus)} at {more} minus at {less} heads",
                   "reported": np.nan}  # fmt: skip
            if not {more, less} <= set(variant.index):
                rows.append(row | {"verdict": "untestable here", "why": "these numbers of heads were not run"})
                continue
            said = judged(compared.ahead(corpus, variant[more], variant[less]))
            rows.append(row | {"why": f"same posts; {caveat(corpus)}", **said,
                               RUNS: run_names(part[part["n_heads"].isin([more, less])])})  # fmt: skip
    best = best_claims(frame, "n_heads", dict.fromkeys(frame["dataset"], BEST_HEADS), compared)
    return together([best, frame_of(rows)])


# --- shapes and ratios --------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """The score over the values of a setting."""

    values: np.ndarray  # (m,) of the setting, rising
    measured: Measured  # of m models

    @property
    def scores(self) -> np.ndarray:
        """(m,) means over seeds."""
        return self.measured.means


def curves_of(reports: Sequence[Report], setting: str, metric: str = "") -> dict[str, Curve]:
    """The dev curve of each corpus that was swept. Args: setting: key of `sweeps.SETTINGS`. metric: "": primary."""
    found: dict[str, dict[str, float]] = {}
    for (dataset, variant), group in sweeps.by_variant(reports).items():
        found.setdefault(dataset, {})[variant] = sweeps.SETTINGS[setting](group[0].config)
    compared, made = sweeps.Compared(reports, "dev", metric), {}
    for dataset, values in found.items():
        order = sorted(values, key=values.__getitem__)
        made[dataset] = Curve(np.array([values[variant] for variant in order]), compared.curve(dataset, order))
    return made


def peak_claims(reports: Sequence[Report], setting: str) -> pd.DataFrame:
    """Verdicts on the shape of a sweep (`curves.rises_then_falls`) per corpus: columns of `verdicts.COLUMNS`. Fewer
    than curves.FEWEST points: untestable here."""
    rows = []
    for corpus, curve in curves_of(reports, setting).items():
        about = {"claim": f"the score first rises, then falls with {setting}", "source": "§6.3, shape of the curve",
                 "corpus": corpus, "quantity": "share of the dev curve's variance told by one peak",
                 "reported": np.nan, RUNS: _runs_on(reports, corpus)}  # fmt: skip
        m = len(curve.values)
        if m < curves.FEWEST:
            rows.append(about | {"verdict": "untestable here", "why": f"{m} points have no shape"})
            continue
        share, peak = curves.unimodality(curve.scores)
        lone = "one seed of a value or more; " * bool(curve.measured.lone.any())
        rows.append(about | {
            "ours": share, "verdict": curves.rises_then_falls(curve.measured),
            "why": f"{lone}peak at {setting} = {curve.values[peak]:g}; range of the curve {np.ptp(curve.scores):.3f}",
        })  # fmt: skip
    return frame_of(rows)


def _runs_on(reports: Sequence[Report], *corpora: str) -> tuple[str, ...]:
    return run_names(report for report in reports if corpus_name(report.config) in corpora)


def tortuosity_claim(reports: Sequence[Report], setting: str, more: str, less: str) -> pd.DataFrame:
    """The roughness of two corpora's curves, for "that of `more` is more tortuous than that of `less`". One row of
    `verdicts.COLUMNS`, always untestable here: noise roughens a curve, and unequally where posts or trainings differ in
    number. The interval of draws that was tried decided up to 3 in 10 times between curves of one shape."""
    found = curves_of(reports, setting)
    row = {"claim": f"the {setting} curve of {more} is more tortuous than that of {less}", "corpus": f"{more}, {less}",
           "source": "§6.3, shape of the curve", "quantity": "difference of roughness", "reported": np.nan,
           "verdict": "untestable here", RUNS: _runs_on(reports, more, less)}  # fmt: skip
    both = [found[name] for name in (more, less) if name in found]
    if len(both) < 2 or not np.array_equal(*(one.values for one in both)) or len(both[0].values) < curves.FEWEST:
        return frame_of([row | {"why": f"needs both corpora at the same {curves.FEWEST} points or more"}])
    rough = [curves.roughness(one.values, one.scores) for one in both]
    why = f"roughness {rough[0]:.2f} against {rough[1]:.2f}, but noise roughens a curve and no interval of it holds"
    return frame_of([row | {"ours": rough[0] - rough[1], "why": why}])


def ratio_claims(reports: Sequence[Report], more: str, less: str) -> pd.DataFrame:
    """What §6.3(3) concludes from the two optima: lambda_c / lambda_a is best below 1, and at a larger value on corpus
    `more` than on `less`. The best is that on dev; its interval: the ratios that may be best (`curves.may_be_best`).

    Args: reports: both sweeps; under Adam only the ratio counts, so they are one (choice C21).
    Returns: columns of `verdicts.COLUMNS`; untestable here: fewer than curves.FEWEST ratios, or a corpus not swept.
    """
    found, rows = curves_of(reports, "ratio"), []
    row = {"source": "§6.3(3), both weights", "reported": np.nan}
    for corpus, curve in found.items():
        behind = {RUNS: _runs_on(reports, corpus)}
        about = row | behind | {"claim": "the best lambda_c is smaller than the best lambda_a", "corpus": corpus,
                                "quantity": "lambda_c / lambda_a that is best on dev"}  # fmt: skip
        if (m := len(set(curve.values))) < curves.FEWEST:
            rows.append(about | {"verdict": "untestable here", "why": f"{m} ratios are too few"})
            continue
        low, high = _best_ratios(curve, ALPHA)
        why = f"of {m} ratios from {curve.values[0]:g} to {curve.values[-1]:g}{_lone(curve)}"
        rows.append(about | {"ours": _best_ratio(curve), "low": low, "high": high, "why": why,
                             "verdict": verdict(low, high, 1, above=False)})  # fmt: skip
    about = row | {"claim": f"the best lambda_c / lambda_a is larger on {more} than on {less}",
                   "corpus": f"{more}, {less}", "quantity": "difference of the best ratios on dev",
                   RUNS: _runs_on(reports, more, less)}  # fmt: skip
    both = [found[name] for name in (more, less) if name in found and len(set(found[name].values)) >= curves.FEWEST]
    if len(both) < 2:
        nothing = {"verdict": "untestable here", "why": f"needs both corpora at {curves.FEWEST} ratios or more"}
        return frame_of([*rows, about | nothing])
    (low, high), (low_less, high_less) = (_best_ratios(one, ALPHA / 2) for one in both)
    ends = low - high_less, high - low_less
    about |= {"ours": _best_ratio(both[0]) - _best_ratio(both[1]), "low": ends[0], "high": ends[1]}
    why = "between the ratios that may be best on each" + (_lone(both[0]) or _lone(both[1]))
    return frame_of([*rows, about | {"verdict": verdict(*ends), "why": why}])


def _best_ratio(curve: Curve) -> float:
    return float(curve.values[curve.scores.argmax()])


def _best_ratios(curve: Curve, alpha: float) -> tuple[float, float]:
    """The lowest and the highest ratio that may be best; nan where nothing is known of a training's noise."""
    if curve.measured.lone.any():
        return np.nan, np.nan
    values = curve.values[curves.may_be_best(curve.measured, alpha)]
    return float(values.min()), float(values.max())


def _lone(curve: Curve) -> str:
    return "; one seed of a value or more" * bool(curve.measured.lone.any())


def halved(reports: Sequence[Report], setting: str, settings: Settings) -> list[RunConfig]:
    """The second step of the paper's search (§6.3; choice C21): the values half a step below and above the one that is
    best by dev accuracy, per corpus and seed, without those there are; nothing where the grid has few points.

    Args: reports: the first sweep, in even steps. setting: "lambda_c" or "lambda_a".
    """
    if not points(settings).halved or set(points(settings).loss_weights) - set(loss_weights(settings)):
        return []
    plans = []
    for dataset, curve in curves_of(reports, setting, "accuracy").items():
        best, half = curve.values[int(np.argmax(curve.scores))], STEP / 2
        seeds = sorted({report.config.seed for report in reports if corpus_name(report.config) == dataset})
        for value in (round(best - half, 2), round(best + half, 2)):
            if value > 0 and value not in curve.values.round(2):
                make = partial(experiments.dmfl, settings, dataset, variant=f"{setting}={value}")
                plans += [make(seed=seed, **{setting: value}) for seed in seeds]
    return plans
