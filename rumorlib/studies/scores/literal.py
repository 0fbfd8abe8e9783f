"""The papers to the letter, on their own posts: readings beside each other, and statements no other table asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rumorlib.config import RunConfig
from rumorlib.experiments import corpus_name, literal, model_name
from rumorlib.metrics import curves, estimates, evaluation
from rumorlib.metrics.estimates import Estimate
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.protocol import counterfactuals
from rumorlib.studies.scores import comparison, sensitivity, verdicts
from rumorlib.studies.scores.sweeps import Compared, predictions
from rumorlib.training.exchange_runs import ALL_HEADS, BLANKED, EMPTIED, head_reading, reading

F1 = "f1_macro"
SHARED = 0.5  # of two heads' attention: named before any run was looked at
WHAT = {  # variant -> what of the paper is read so
    "default": "main row", "TTRAS": "mean over tokens", "TB": "mean over tokens",
    "pooled": "Eqs 5-6: one vector a side",
    "attention-alone": "Eqs 11, 12, 18: no feed-forward", "text-asks": "Eq 12: the text asks", "one-block": "one block",
    "positions": "Eq 7: learned positions", "normed": "ours: LayerNorm before attention",
    "TB-cls": "§4.5: [CLS]", "TTRAS-cls": "§4.5: [CLS]",
    "d-300": "d = 300, all channels", "image-top": "Eqs 7-10: two last stages of the encoder learn",
    "own-vit": "Eqs 7-10: a small ViT from scratch", "text-top": "end to end: two last layers of the text encoder",
    "end-to-end": "end to end: two last layers of either encoder",
    "stage-1-transformer": "M2, M4, M5: Transformer over patches, MLP heads",
    "stage-1-whitened": "ours: stage 1 on whitened text features",
    "rho-temperature": "Eq 24: rho over stage 1's temperature", "rho-product": "Eq 24: rho of vectors of any length",
    "fusion_weight=0.0": "Eq 24: rho alone", "rho-temperature-alone": "Eq 24: rho over the temperature, alone",
    "rho-product-alone": "Eq 24: rho of vectors of any length, alone",
    "stage-1-convolutions": "M3: convolutions of 32 and 64 px from scratch", "GRU": "related work",
    "HAN": "related work",
}  # fmt: skip
Groups = dict[tuple[str, str, str], list[Report]]  # corpus, model, variant


def _groups(reports: Sequence[Report]) -> Groups:
    found: Groups = {}
    for report in {one.name: one for one in reports}.values():
        config = report.config
        found.setdefault((corpus_name(config), config.model, config.variant), []).append(report)
    return found


def readings(reports: Sequence[Report]) -> pd.DataFrame:
    """A row per corpus and reading: test scores, and how far it is ahead of the row it stands beside.

    Returns: dataset, model, reading (what of the paper), accuracy, low, high, f1_macro, auc, dev (accuracy), beside,
        ahead, ahead_low, ahead_high (accuracy, same posts; no interval where one of the two was trained once), n_seeds.
    """
    groups, rows = _groups(reports), []
    for (dataset, model, variant), group in groups.items():
        test, corpus = predictions(group, "test"), group[0].config.dataset
        row = {"dataset": dataset, "model": model_name(group[0].config), "reading": WHAT[variant]}
        row |= comparison.ends("acc", comparison.score(corpus, test, "accuracy"), "accuracy")
        scores = [evaluation.frame_metrics(part) for _, part in test.groupby("seed")]
        row |= {name: float(np.mean([one[name] for one in scores])) for name in (F1, "auc")}
        row["dev"] = float(np.mean([report.metrics["dev"]["accuracy"] for report in group]))
        name = literal.OF_DMFL[variant][0] if model == "dmfl" and variant in literal.OF_DMFL else "default"
        other = groups.get((dataset, model, name)) if variant not in (name, "TTRAS") else None
        if other:
            found = comparison.ahead(corpus, test, predictions(other, "test"))
            row |= {"beside": model_name(other[0].config)} | comparison.ends("ahead", found)
        rows.append(row | {"n_seeds": len(group), RUNS: run_names([*group, *(other or ())])})
    return by_runs(pd.DataFrame(rows), "dataset", "model")


# --- statements -----------------------------------------------------------------------------------


def claims(micc: Sequence[Report], exchanged: Sequence[Report], damaged: Sequence[Report], others: Sequence[Report],
           headless: Sequence[Report], heads: Sequence[Report],
           weights: Mapping[str, Sequence[Report]]) -> pd.DataFrame:  # fmt: skip
    """Verdicts on statements of both papers that are not asked elsewhere, by F1, by length, by what is taken away.

    Args:
        micc: the literal MICC over K and lambda, and without its parts.
        exchanged: the same with pictures blanked and texts emptied.
        damaged: runs of kind "damage".
        others: SAFE and CARMN.
        headless: runs of kind "heads".
        heads, weights: DMFL over its heads, and over each loss weight, on corpora where these were swept.
    Returns: as `verdicts.claims`.
    """
    rows = [*_by_f1(micc), *_chosen_elsewhere(micc), *_text_kept(exchanged, micc),
            *counterfactuals.damage_claims(damaged), *counterfactuals.information_claims(damaged),
            *_by_length(others), *_gap_of_heads(heads), *_of_heads(headless)]  # fmt: skip
    for which, reports in weights.items():
        rows += _range(which, reports)
    return verdicts.frame_of(rows)


def _by_f1(reports: Sequence[Report]) -> Iterator[dict[str, Any]]:
    """F1 beside accuracy: parts that are removed, and the values of K and lambda."""
    compared = Compared(reports, metric=F1)
    names = {variant: group for (_, _, variant), group in _groups(reports).items()}
    datasets = dict.fromkeys(key[0] for key in _groups(reports))
    for dataset in datasets:
        for variant in literal.REMOVED:
            group = _groups(reports)[dataset, "micc", variant]
            yield {"claim": f"{model_name(group[0].config)} has a lower F1 than the full model",
                   "source": "ablations", "corpus": dataset, "quantity": "drop of test macro-F1, points",
                   "reported": np.nan, "why": f"means of {len(group)} seeds", RUNS: run_names(group),
                   **verdicts.judged(compared.ahead(dataset, "default", variant) * 100)}  # fmt: skip
        for setting, best in (("top_k", "2"), ("fusion_weight", "0.65")):
            points = ["default", *(name for name in names if name.startswith(setting))]
            curve = compared.curve(dataset, points)
            found, said = curve.contrast(np.eye(len(points))[0]), curves.best(curve, 0)
            yield {"claim": f"{setting} = {best} is best by F1", "source": "sensitivity", "corpus": dataset,
                   "quantity": "test macro-F1", "reported": np.nan, "ours": found.value, "low": found.low,
                   "high": found.high, "verdict": said.verdict,
                   "why": f"{said.better} of {len(points) - 1} other values are better, {said.worse} worse (Holm)",
                   RUNS: run_names([r for p in points for r in _groups(reports)[dataset, "micc", p]])}  # fmt: skip


def _chosen_elsewhere(reports: Sequence[Report]) -> Iterator[dict[str, Any]]:
    """K and lambda as the dev posts of the other corpus choose them, beside the papers' values."""
    groups, compared = _groups(reports), Compared(reports)
    datasets = list(dict.fromkeys(key[0] for key in groups))
    for setting, paper in (("top_k", "2"), ("fusion_weight", "0.65")):
        for dataset in datasets:
            for other in (name for name in datasets if name != dataset):
                points = ["default", *(key[2] for key in groups if key[0] == other and key[2].startswith(setting))]
                dev = {point: np.mean([r.metrics["dev"]["accuracy"] for r in groups[other, "micc", point]])
                       for point in points}  # fmt: skip
                chosen = max(points, key=dev.__getitem__)
                about = {
                    "claim": f"{setting} = {paper} is ahead of the value that the other corpus chooses on dev",
                    "source": "digest, limitations",
                    "corpus": dataset,
                    "reported": np.nan,
                    "quantity": "difference of test accuracy",
                    RUNS: run_names([*groups[dataset, "micc", chosen], *groups[dataset, "micc", "default"]]),
                }
                if chosen == "default":
                    yield about | {"verdict": "untestable here", "why": f"dev of {other} chooses the paper's value"}
                else:
                    said = verdicts.judged(compared.ahead(dataset, "default", chosen))
                    yield about | said | {"why": f"dev of {other} chooses {chosen}"}


def _readings(group: Sequence[Report], trained: Mapping[RunConfig, Report]) -> dict[str, pd.DataFrame]:
    parent = trained[group[0].config.parent]
    return {name: counterfactuals.with_events(predictions(group, reading(name) if name else "test"), parent)
            for name in (EMPTIED, BLANKED, "")}  # fmt: skip


def _text_kept(reports: Sequence[Report], parents: Sequence[Report]) -> Iterator[dict[str, Any]]:
    """Is the text suppressed in fusion? What emptied texts cost, beside blanked pictures, and beside other fusions."""
    trained = {report.config: report for report in parents}
    groups = _groups(reports)
    for (dataset, model, _), group in groups.items():
        own, name = _readings(group, trained), model_name(group[0].config)
        how = comparison.clusterings(group[0].config.dataset, own[""])
        measured = estimates.measure([own[EMPTIED], own[BLANKED]], "accuracy", how)
        found = _same_runs(measured, [-1, 1])
        yield {
            "claim": f"{name} loses more without its text than without its picture",
            "source": "§3.4, mechanism 3",
            "corpus": dataset,
            "quantity": "difference of the two drops of accuracy",
            "reported": np.nan,
            "why": f"{len(group)} seeds, the same trainings",
            RUNS: run_names(group),
            **verdicts.judged(found),
        }
        full = groups.get((dataset, model, "default-exchanged"))
        if not full or full is group:
            continue
        theirs = _readings(full, trained)
        frames = [theirs[""], theirs[EMPTIED], own[""], own[EMPTIED]]
        found = estimates.measure(frames, "accuracy", how).contrast([1, -1, -1, 1])
        yield {
            "claim": f"scale-aware fusion leaves more to the text than {name}",
            "source": "§3.4, mechanism 3",
            "corpus": dataset,
            "quantity": "difference of what emptied texts cost, accuracy",
            "reported": np.nan,
            "why": f"{len(group)} seeds each",
            RUNS: run_names([*group, *full]),
            **verdicts.judged(found),
        }


def _same_runs(measured: estimates.Measured, weights: Sequence[float]) -> Estimate:
    """A contrast of readings by the same trainings, seed by seed."""
    values = sum(w * value for w, value in zip(weights, measured.values, strict=True))
    without = tuple(z @ np.array(weights)[:, None] for z in measured.without)
    return estimates.Measured((values,), without, (len(values) == 1,)).contrast([1])


def _by_length(reports: Sequence[Report]) -> Iterator[dict[str, Any]]:
    """SAFE before CARMN on short texts, behind it on long ones (§6.1)."""
    groups = {key: group for key, group in _groups(reports).items() if key[2] == "default"}
    for dataset in dict.fromkeys(key[0] for key in groups):
        safe, carmn = (groups.get((dataset, name, "default")) for name in ("safe", "carmn"))
        frames = [predictions(group, "test") for group in (safe, carmn) if group]
        measured = [frame[["post_id", "n_chars"]] for frame in frames if "n_chars" in frame]
        if len(frames) < 2 or not measured:
            continue
        # runs of before did not measure texts; of one post all say the same
        length = pd.concat(measured).dropna().drop_duplicates("post_id").set_index("post_id")["n_chars"]
        frames = [frame.assign(n_chars=frame["post_id"].map(length)) for frame in frames]
        edges = length.quantile([1 / 3, 2 / 3]).to_numpy()
        for number, (level, sign) in enumerate((("short", 1), ("middle", 0), ("long", -1))):
            parts = [frame[np.searchsorted(edges, frame["n_chars"], side="left") == number].reset_index(drop=True)
                     for frame in frames]  # fmt: skip
            if not sign or not all(map(len, parts)):
                continue
            found = comparison.ahead(safe[0].config.dataset, *parts)
            claim = f"SAFE is {'ahead of' if sign > 0 else 'behind'} CARMN on {level} texts"
            yield {"claim": claim, "source": "§6.1", "corpus": dataset, "reported": np.nan,
                   "quantity": "difference of test accuracy, SAFE less CARMN",
                   "why": f"{parts[0]['post_id'].nunique()} posts, thirds by characters; {len(safe)} seeds",
                   RUNS: run_names([*safe, *carmn]), **verdicts.judged(found, above=sign > 0)}  # fmt: skip


def _gap_of_heads(reports: Sequence[Report]) -> Iterator[dict[str, Any]]:
    """Do more heads overfit (§6.3): train less test accuracy at the most heads, beside the fewest."""
    by_heads: dict[str, dict[int, list[Report]]] = {}
    for report in {one.name: one for one in reports}.values():
        at = by_heads.setdefault(corpus_name(report.config), {})
        at.setdefault(report.config.detector.n_heads, []).append(report)
    for dataset, found in by_heads.items():
        few, many = min(found), max(found)
        gaps = [np.array([r.metrics["train"]["accuracy"] - r.metrics["test"]["accuracy"] for r in found[n]])
                for n in (many, few)]  # fmt: skip
        n = min(map(len, gaps))
        noise = np.sqrt(sum(gap.var(ddof=1) / len(gap) for gap in gaps)) if n > 1 else 0.0
        estimate = Estimate(float(gaps[0].mean() - gaps[1].mean()), 0.0, np.inf, float(noise), 2 * n - 2, n == 1)
        yield {"claim": "more heads overfit more", "source": "§6.3 (4)", "corpus": dataset, "reported": np.nan,
               "quantity": f"train less test accuracy, {many} heads less {few}",
               "why": f"interval of {n} trainings each, on the same posts",
               RUNS: run_names([*found[few], *found[many]]), **verdicts.judged(estimate)}  # fmt: skip


def _of_heads(reports: Sequence[Report]) -> Iterator[dict[str, Any]]:
    """Do heads of Eq 12 look at different words, and does each of them count (§4.4, §6.3 (4))?"""
    for (dataset, _, _), group in _groups(reports).items():
        about = {"source": "§4.4, §6.3 (4)", "corpus": dataset, "reported": np.nan, RUNS: run_names(group)}
        looks = [report.extra("heads").groupby("stage")[["overlap", "entropy"]].mean() for report in group]
        overlap = np.array([found.loc["after", "overlap"] for found in looks])
        n, entropy = len(overlap), np.mean([found.loc["after", "entropy"] for found in looks])
        before = np.mean([found.loc["before", "overlap"] for found in looks])
        noise = float(overlap.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0
        found = Estimate(float(overlap.mean()), 0.0, np.inf, noise, n - 1, n == 1)
        yield about | {"claim": "heads look at different words: two of them share less than half of their attention",
                       "quantity": "share of attention that two heads have in common",
                       "why": f"{before:.3f} before training; entropy {entropy:.3f}; {n} trainings on the same posts",
                       **verdicts.judged(found, SHARED, above=False)}  # fmt: skip
        own, n_heads = predictions(group, "test"), group[0].config.detector.n_heads
        how = comparison.clusterings(group[0].config.dataset, own)
        names = {"one of them": [head_reading(head) for head in range(n_heads)], "all of them": [ALL_HEADS]}
        for name, asked in names.items():
            frames = [own, *(predictions(group, reading) for reading in asked)]
            found = _same_runs(estimates.measure(frames, "accuracy", how), [1, *[-1 / len(asked)] * len(asked)])
            yield about | {"claim": f"heads of Eq 12 count: without {name} accuracy falls",
                           "quantity": f"drop of test accuracy{', mean over the heads' * (len(asked) > 1)}",
                           "why": f"{n_heads} heads, {n} trainings, each with and without", **verdicts.judged(found)
                           }  # fmt: skip


def _range(which: str, reports: Sequence[Report]) -> Iterator[dict[str, Any]]:
    """How much of the score a loss weight moves: highest less lowest point of its curve (§6.3 (1) to (3))."""
    groups = _groups(reports)
    for dataset in dict.fromkeys(key[0] for key in groups):
        curve = [group for (name, _, _), group in groups.items() if name == dataset]
        frames, corpus = [predictions(group, "test") for group in curve], curve[0][0].config.dataset
        metric, weight = comparison.primary(corpus)
        frames = [comparison.weighted(frame) if weight else frame for frame in frames]
        measured = estimates.measure(frames, metric, comparison.clusterings(corpus, frames[0]), weight,
                                     (True,) * len(frames))  # fmt: skip
        drawn = np.ptp(measured.drawn(), axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        level = sensitivity.FLAT
        said = "reproduced" if high <= level else "not reproduced" if low > level else "inconclusive"
        said = "inconclusive" if min(map(len, curve)) < 2 else said  # one seed decides nothing
        yield {"claim": f"{which} matters little, within {100 * level:g} points", "source": "§6.3", "corpus": dataset,
               "reported": np.nan, "quantity": f"highest less lowest test {metric.replace('_', ' ')}",
               "ours": float(np.ptp(measured.means)), "low": float(low), "high": float(high), "verdict": said,
               "why": f"{len(frames)} values; interval of other posts alone, one training each",
               RUNS: run_names([r for group in curve for r in group])}  # fmt: skip
