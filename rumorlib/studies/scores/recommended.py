"""Our recommended detector as rows: log-odds of TF-IDF, DMFL and MICC by weights learned on dev, calibrated on dev.

`results.saved` makes the same of finished runs for new posts; here it is put together from their stored predictions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import logit
from sklearn.metrics import roc_auc_score

from rumorlib.experiments.names import corpus_name, usual_variant
from rumorlib.metrics import evaluation
from rumorlib.results import Report
from rumorlib.results.saved import decision

ROUNDED = 5e-5  # runs of before stored probabilities of four decimals
# By cross-validation (o_2) no pair of them is ahead of all three by more than folds differ
PARTS = (("baseline", "tfidf_lr"), ("dmfl", "default"), ("micc", "product"))


@dataclass(frozen=True)
class Combined(Report):
    """Finished runs on one split as one model; its frames are made of theirs."""

    parts: tuple[Report, ...] = ()

    def predictions(self) -> pd.DataFrame:
        """As a run's, on the posts of its last part."""
        return joined_log_odds([part.predictions() for part in self.parts])


def joined_log_odds(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The last frame with the log-odds of all frames as one (`decision.joined`), calibrated on dev.

    A reading that a part does not have, as of a text row with pictures of others, is that part's own reading of test.
    """
    key = "row_key" if "row_key" in frames[-1] else "post_id"
    last, each = frames[-1], []
    for frame in frames:
        split = last["split"].where(last["split"].isin(set(frame["split"])), "test")
        known = "log_odds" in frame
        said = frame["log_odds"] if known else logit(frame["prob_rumor"].clip(ROUNDED, 1 - ROUNDED))
        own = pd.Series(np.asarray(said), pd.MultiIndex.from_frame(frame[[key, "split"]]))
        each.append(own.reindex(pd.MultiIndex.from_arrays([last[key], split])).to_numpy())
    dev = np.flatnonzero(last["split"] == "dev")
    mean, spread, weights = decision.joined(np.array(each), dev, last["label"])
    total = weights @ ((np.array(each) - mean[:, None]) / spread[:, None])
    slope, intercept = decision.platt(total[dev], last["label"].iloc[dev])
    return evaluation.with_prob(last.assign(log_odds=evaluation.to_store(slope * total + intercept)))


def combined(reports: Iterable[Report]) -> list[Report]:
    """The recommended detector of every corpus, split and seed whose parts are among the reports; parts that were
    trained as long as dev improves make one that was, too."""
    found: dict[tuple, Report] = {}
    for one in reports:
        config, usual = one.config, usual_variant(one.config)
        found[corpus_name(config), usual != config.variant, config.model, usual, config.seed] = one
    made = []
    for (corpus, longer, model, usual, seed), last in found.items():
        if (model, usual) != PARTS[-1]:
            continue
        words = found.get((corpus, False, *PARTS[0], 0))
        other = found.get((corpus, longer, *PARTS[1], seed))
        if words is not None and other is not None:
            fields = {name: getattr(last, name) for name in ("folder", "facts", "hashes", "store")}
            config = replace(last.config, variant="longer-" * longer + "recommended")
            whole = Combined(config, {}, parts=(words, other, last), **fields)
            metrics = {split: evaluation.frame_metrics(part) for split, part in whole.predictions().groupby("split")}
            made.append(replace(whole, metrics=metrics))
    return made


def cross_fitted(parts: Sequence[Sequence[Report]]) -> tuple[np.ndarray, np.ndarray]:
    """Of models on the same folds, combined: accuracy and AUC of every fold. What weighs the parts and calibrates a
    fold is all the others' posts, so no post has a say in its own answer.

    Args: parts: per model the reports of its folds, in one order.
    """
    z, label = [], []
    for fold in zip(*parts, strict=True):
        found = [frame[frame["split"] == "dev"].reset_index(drop=True) for frame in (one.predictions() for one in fold)]
        z.append(np.array([(one["log_odds"] - one["log_odds"].mean()) / one["log_odds"].std(ddof=0) for one in found]))
        label.append(found[0]["label"].to_numpy())
    scores, areas = [], []
    for k, own in enumerate(z):
        others = [n for n in range(len(z)) if n != k]
        known, told = np.concatenate([z[n] for n in others], axis=1), np.concatenate([label[n] for n in others])
        *_, weights = decision.joined(known, np.arange(len(told)), told)
        slope, intercept = decision.platt(weights @ known, told)
        scores.append(((slope * (weights @ own) + intercept >= 0) == label[k]).mean())
        areas.append(roc_auc_score(label[k], weights @ own))
    return np.array(scores), np.array(areas)
