"""Our recommended detector as rows: the mean of standardised log-odds of TF-IDF and of DMFL, calibrated on dev.

`results.saved` makes the same of finished runs for new posts; here it is put together from their stored predictions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from rumorlib.metrics import evaluation
from rumorlib.results import Report
from rumorlib.results.saved import decision

PARTS = (("baseline", "tfidf_lr"), ("dmfl", "default"))
# By cross-validation (o_2) TF-IDF with MICC that reads its towers does as well; DMFL needs no captions beforehand


@dataclass(frozen=True)
class Combined(Report):
    """Finished runs on one split as one model; its frames are made of theirs."""

    parts: tuple[Report, ...] = ()

    def predictions(self) -> pd.DataFrame:
        """As a run's, on the posts of its last part."""
        return mean_log_odds([part.predictions() for part in self.parts])


def mean_log_odds(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The last frame with log-odds that are the mean of all frames', each standardised on dev, then calibrated on dev.

    A reading that a part does not have, as of a text row with pictures of others, is that part's own reading of test.
    """
    key = "row_key" if "row_key" in frames[-1] else "post_id"
    last, total = frames[-1], 0.0
    for frame in frames:
        dev = frame.loc[frame["split"] == "dev", "log_odds"]
        known = set(frame["split"])
        split = last["split"].where(last["split"].isin(known), "test")
        own = frame.set_index([key, "split"])["log_odds"]
        found = own.reindex(pd.MultiIndex.from_arrays([last[key], split])).to_numpy()
        total = total + (found - dev.mean()) / (dev.std(ddof=0) or 1.0)
    total = total / len(frames)
    dev = (last["split"] == "dev").to_numpy()
    slope, intercept = decision.platt(total[dev], last.loc[dev, "label"])
    return evaluation.with_prob(last.assign(log_odds=evaluation.to_store(slope * total + intercept)))


def combined(reports: Iterable[Report]) -> list[Report]:
    """The recommended detector of every corpus, split and seed whose parts are among the reports."""
    found = {(one.config.dataset, one.config.protocol, one.config.model, one.config.variant, one.config.seed): one
             for one in reports}  # fmt: skip
    made = []
    for (dataset, protocol, model, variant, _), last in found.items():
        if (model, variant) != PARTS[-1]:
            continue
        first = found.get((dataset, protocol, *PARTS[0], 0))
        if first is not None:
            fields = {name: getattr(last, name) for name in ("folder", "facts", "hashes", "store")}
            whole = Combined(replace(last.config, variant="recommended"), {}, parts=(first, last), **fields)
            metrics = {split: evaluation.frame_metrics(part) for split, part in whole.predictions().groupby("split")}
            made.append(replace(whole, metrics=metrics))
    return made


def cross_fitted(parts: Sequence[Sequence[Report]]) -> tuple[np.ndarray, np.ndarray]:
    """Of models on the same folds, combined: accuracy and AUC of every fold. What calibrates a fold is all the others'
    posts, so no post has a say in its own answer.

    Args: parts: per model the reports of its folds, in one order.
    """
    z, label = [], []
    for fold in zip(*parts, strict=True):
        found = [frame[frame["split"] == "dev"].reset_index(drop=True) for frame in (one.predictions() for one in fold)]
        scaled = [(frame["log_odds"] - frame["log_odds"].mean()) / frame["log_odds"].std(ddof=0) for frame in found]
        z.append(np.mean(scaled, axis=0))
        label.append(found[0]["label"].to_numpy())
    scores = []
    for k, own in enumerate(z):
        others = [n for n in range(len(z)) if n != k]
        slope, intercept = decision.platt(
            np.concatenate([z[n] for n in others]), np.concatenate([label[n] for n in others])
        )
        scores.append(((slope * own + intercept >= 0) == label[k]).mean())
    return np.array(scores), np.array([roc_auc_score(*pair) for pair in zip(label, z)])
