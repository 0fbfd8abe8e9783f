"""The papers' own numbers, audited by arithmetic alone (p_4): how many posts a gain is, and what can be true at once.

Everything is computed from results/reported and the committed counts of our copies (c_1); no number stands here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from rumorlib.results.artifacts import INDEX
from rumorlib.studies.scores.comparison import reported

COLUMNS = ("subject", "source", "corpus", "reading", "reported", "computed", "verdict", "why")
ALPHA = 0.05
AVERAGES = ("rumor", "macro", "weighted")
SHARES = np.arange(1, 1000) / 1000  # shares of rumors that are tried
ROUNDING = {3: 0.0005, 4: 0.00005}  # half a unit of the last printed digit


def audit() -> pd.DataFrame:
    """Each claim whose numbers can be checked against each other or against the size of a test set.

    Returns: COLUMNS. reported: the paper's number (a fraction or a difference of fractions), empty for orders; computed
        and why: what follows from it; verdict: "told apart" (significant even if the two err independently), "open" (if
        they disagree on few posts), "cannot be told apart"; "consistent", "contradicts itself", "impossible at our
        copy's share".
    """
    rows = [*_gains(), *_orders_of_drops(), *_text_cnn_against_alignment(), *_modality_gap(), *_f1_pairs()]
    return pd.DataFrame(rows, columns=COLUMNS)


def most_disagreements(gain: int, n: int, alpha: float = ALPHA) -> int:
    """On how many posts two models may disagree at most for a gain of `gain` posts to reach p < alpha.

    Exact two-sided McNemar test: of d disagreements (d + gain) / 2 favour the better model, Binomial(d, 1/2) under the
    null hypothesis. The fewer disagreements, the clearer the gain. 0: not even if every disagreement favours it.

    Args: gain: posts, >= 0. n: posts of the test set.
    """
    from scipy.stats import binomtest

    allowed = 0
    for disagreements in range(gain, n + 1, 2):
        if disagreements and binomtest((disagreements + gain) // 2, disagreements).pvalue < alpha:
            allowed = disagreements
    return allowed


def f1_range(accuracy: float, share: float, average: str) -> tuple[float, float]:
    """Lowest and highest F1 that a model of this accuracy can have when `share` of the posts are rumors.

    With e = 1 - accuracy of the posts wrong, x of them missed rumors, F1 of rumors is 2 (share - x) / (2 (share - x) +
    e), of non-rumors 2 (1 - share - e + x) / (2 (1 - share - e + x) + e). Every split x is tried.

    Args: average: one of AVERAGES.
    """
    error = 1 - accuracy
    missed = np.linspace(max(0.0, error - (1 - share)), min(error, share), 201)
    hits = share - missed, (1 - share) - (error - missed)
    f1 = [2 * hit / np.maximum(2 * hit + error, 1e-12) for hit in hits]
    weights = {"rumor": (1, 0), "macro": (0.5, 0.5), "weighted": (share, 1 - share)}[average]
    values = weights[0] * f1[0] + weights[1] * f1[1]
    return float(values.min()), float(values.max())


def possible_shares(accuracy: float, f1: float, average: str, digits: int = 3) -> np.ndarray:
    """Shares of rumors (of SHARES) at which accuracy and F1 can both be as printed, each up to its rounding."""
    slack = ROUNDING[digits]
    found = []
    for share in SHARES:
        low = min(f1_range(a, share, average)[0] for a in (accuracy - slack, accuracy + slack))
        high = max(f1_range(a, share, average)[1] for a in (accuracy - slack, accuracy + slack))
        if low - slack <= f1 <= high + slack:
            found.append(share)
    return np.array(found)


# --- rows ---------------------------------------------------------------------------------------


def _test_posts(corpus: str) -> int:
    frame = reported("p_4")
    return int(frame[(frame["dataset"] == corpus) & (frame["metric"] == "posts")]["value"].iloc[0])


def _gains() -> Iterator[dict[str, Any]]:
    """Every printed difference on PHEME as posts of the one test set of which the size is known."""
    main, heads, drops = reported("d_e1"), reported("d_e5"), reported("d_e2")
    accuracy = main[(main["dataset"] == "pheme") & (main["metric"] == "accuracy")]
    full = accuracy[accuracy["row"] == "DMFL"].iloc[0]
    for rival in accuracy[accuracy["row"] == "MFAN"].itertuples():
        yield _gain("DMFL over MFAN", rival.source, rival.reading, full["value"] - rival.value, full["value"])
    best = {row.row: row.value for row in heads[heads["metric"] == "accuracy"].itertuples()}
    (fewest, low), (most, high) = sorted(best.items(), key=lambda item: item[1])
    yield _gain(f"{most} over {fewest}", heads["source"].iloc[0], "stated", high - low, high)
    for row in drops[(drops["dataset"] == "pheme") & (drops["metric"] == "accuracy_drop")].itertuples():
        yield _gain(f"DMFL over {row.row}", row.source, row.reading, row.value, full["value"])


def _gain(subject: str, source: str, reading: str, difference: float, full: float) -> dict[str, Any]:
    """A printed gain of the model of accuracy `full`, as posts; two that err independently disagree the most."""
    n, other = _test_posts("pheme"), full - difference
    gain = round(difference * n)
    allowed, independent = most_disagreements(gain, n), round(n * (full * (1 - other) + other * (1 - full)))
    why = f"p < {ALPHA} only if the two disagree on at most {allowed} of {n} posts ({allowed / n:.1%})"
    why = why if allowed else f"no number of disagreements on {n} posts gives p < {ALPHA}"
    verdict = "told apart" if allowed >= independent else "open" if allowed else "cannot be told apart"
    return {"subject": subject, "source": source, "corpus": "pheme", "reading": reading, "reported": difference,
            "computed": f"{gain} posts", "verdict": verdict,
            "why": f"{why}; independent errors would make it {independent}"}  # fmt: skip


def _drops(reading: str) -> dict[tuple[str, str], float]:
    """(variant, corpus) -> drop, with the single-modality drops of one reading."""
    frame = reported("d_e2")
    frame = frame[(frame["metric"] == "accuracy_drop") & frame["reading"].isin(["as printed", reading])]
    return {
        (row.row, row.dataset): row.value for row in frame.itertuples()
    }  # the later reading replaces the printed one


def _orders_of_drops() -> Iterator[dict[str, Any]]:
    """Which reading of the single-modality drops makes the section's own conclusions true."""
    stated = reported("p_4")
    stated = stated[stated["metric"] == "order"]
    for reading in ("as printed", "datasets swapped"):
        drops, held = _drops(reading), []
        for row in stated.itertuples():
            variant = row.row.split()[0]
            other = {"pheme": "weibo", "weibo": "pheme"}[row.dataset]
            true = drops[variant, row.dataset] < drops[variant, other]
            held.append(f"{variant} loses {drops[variant, row.dataset]:.4f} on {row.dataset}, "
                        f"{drops[variant, other]:.4f} on {other}: {'true' if true else 'false'}")  # fmt: skip
        n_true = sum(line.endswith("true") for line in held)
        yield {"subject": "conclusions from single-modality drops", "source": stated["source"].iloc[0],
               "corpus": "both", "reading": reading, "reported": np.nan, "computed": f"{n_true} of {len(held)} true",
               "verdict": "consistent" if n_true == len(held) else "contradicts itself",
               "why": "; ".join(held)}  # fmt: skip


def _text_cnn_against_alignment() -> Iterator[dict[str, Any]]:
    """Is the whole model without alignment worse than one of its parts alone, the text CNN?"""
    for reading in ("as printed", "datasets swapped"):
        drops = _drops(reading)
        for corpus in ("pheme", "weibo"):
            part, without = drops["DMFL-TCNN", corpus], drops["DMFL-A", corpus]
            ahead = part < without
            yield {"subject": "text CNN alone against DMFL without alignment", "source": "Section 6.2",
                   "corpus": corpus, "reading": reading, "reported": without - part,
                   "computed": "text CNN ahead" if ahead else "text CNN behind",
                   "verdict": "contradicts itself" if ahead else "consistent",
                   "why": f"drops {part:.4f} and {without:.4f}; ahead would mean that image, logic chain and fusion "
                          "cost accuracy unless aligned"}  # fmt: skip


def _modality_gap() -> Iterator[dict[str, Any]]:
    """Section 6.2: where alignment helps more; Section 6.3: where it wants the larger weight."""
    drops = _drops("as printed")
    best = {row.dataset: row.value for row in reported("d_e3").itertuples()}
    weight = {row.dataset: row.value / best[row.dataset] for row in reported("d_e4").itertuples()}
    gain = {corpus: drops["DMFL-A", corpus] for corpus in weight}
    by_drop, by_weight = max(gain, key=gain.__getitem__), max(weight, key=weight.__getitem__)
    yield {"subject": "which corpus has the larger modality gap", "source": "Sections 6.2 and 6.3", "corpus": "both",
           "reading": "stated", "reported": np.nan, "computed": f"{by_drop} by 6.2, {by_weight} by 6.3",
           "verdict": "consistent" if by_drop == by_weight else "contradicts itself",
           "why": "; ".join(f"{c}: alignment is worth {gain[c]:.4f}, best lambda_a / lambda_c {weight[c]:.2f}"
                            for c in weight)}  # fmt: skip


def _f1_pairs() -> Iterator[dict[str, Any]]:
    """At which share of rumors each printed pair of accuracy and F1 is possible, per way to average."""
    for artifact in ("m_e2", "d_e5"):
        frame = reported(artifact)
        frame = frame[frame["metric"].isin(["accuracy", "f1"])]
        for (corpus, row), part in frame.groupby(["dataset", "row"], sort=False):
            pair = dict(zip(part["metric"], part["value"], strict=True))
            digits = max(len(f"{value:g}") - 2 for value in pair.values())
            found = {a: possible_shares(pair["accuracy"], pair["f1"], a, min(4, max(3, digits))) for a in AVERAGES}
            told = "; ".join(f"{name}: {_span(shares)}" for name, shares in found.items())
            own = _share_of_rumors(corpus)
            fits = [name for name, shares in found.items() if len(shares) and np.abs(shares - own).min() < 0.001]
            yield {"subject": f"{row}: accuracy {pair['accuracy']:g} and F1 {pair['f1']:g}", "corpus": corpus,
                   "source": part["source"].iloc[0], "reading": "stated", "reported": pair["f1"],
                   "computed": f"possible if the share of rumors is {told}",
                   "verdict": "consistent" if fits else "impossible at our copy's share",
                   "why": f"our copy has {own:.3f}: F1 would be {' or '.join(fits) or 'none of these'}"}  # fmt: skip


def _share_of_rumors(corpus: str) -> float:
    """Of the published test posts of our copy of a corpus, of all posts where none are published (committed c_1)."""
    counts = pd.read_csv(INDEX.parent / "laptop" / "tables" / "c_1.csv")
    counts = counts[counts["dataset"] == f"{corpus}-text"]
    if corpus == "weibo":
        counts = counts[counts["split"] == "test"]
    return float(np.average(counts["label"], weights=counts["posts"]))


def _span(shares: np.ndarray) -> str:
    """The shares as ranges: "0.342 to 0.405", or "none"."""
    if not len(shares):
        return "none"
    parts = np.split(shares, np.flatnonzero(np.diff(shares) > 0.0015) + 1)
    return " and ".join(f"{part[0]:.3f} to {part[-1]:.3f}" for part in parts)
