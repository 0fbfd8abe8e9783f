"""Does DMFL learn to compare words with patches, and what does it take: train posts, and where its logic chain starts.

Drawn scenes only: there more posts of the same kind can be drawn. The committed corpus stays what it is; larger train
sides are an experiment, with scenes of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from rumorlib import experiments
from rumorlib.config import RunConfig, Settings
from rumorlib.config.profiles import DMFL_STARTS_POSTS, DMFL_STARTS_TRAIN
from rumorlib.data.drawn_scenes import drawn
from rumorlib.metrics import statistics
from rumorlib.results import Report
from rumorlib.studies.scores import comparison

# The logic chain alone, which is the quickest, the whole model, and it with another fusion, alignment or granularity.
PARTS = {
    "TB": {"parts": "logic_only", "alignment": "none"},
    "full": {},
    "ATT": {"fusion": "weighted_sum"},
    "A": {"alignment": "none"},
    "side": {"alignment": "side"},
    "pooled": {"granularity": "pooled"},
}


def runs(settings: Settings) -> list[RunConfig]:
    """Logic chain and whole model, from scratch and from stage 1, on the corpus and on four times its train posts; the
    reduced grid has the logic chain alone. Demo only."""
    if settings.profile != "demo":
        return []
    chosen = PARTS if settings.grid == "full" else {"TB": PARTS["TB"]}
    plans = []
    for name, changes in chosen.items():
        for n_train in (None, DMFL_STARTS_POSTS):
            for start in ("scratch", "stage1"):
                plans.append(_plan(settings, f"{name}-{start}", n_train, logic_init=start, **changes))
    return plans


def _plan(settings: Settings, variant: str, n_train: int | None, **changes) -> RunConfig:
    config = experiments.dmfl(
        settings, settings.datasets[0], settings.seeds[0], variant, train=DMFL_STARTS_TRAIN, **changes
    )
    return replace(config, n_train=n_train)


def table(reports: Sequence[Report]) -> pd.DataFrame:
    """Train and dev accuracy of each start and size, beside what text alone can reach.

    Returns: dataset, model, logic_init, alignment, n_train, train_accuracy, dev_accuracy, low, high (95 %, pictures),
        dev_auc, text_bound, over_text (dev accuracy minus the bound), alignment_loss (Eq. 17 on dev at the kept epoch),
        best_epoch, n_trainable. Dev decides nothing but the epoch; test stays unread.
    """
    rows = []
    for report in reports:
        config, frame = report.config, report.predictions()
        dev = frame[frame["split"] == "dev"].reset_index(drop=True)
        found = statistics.cluster_bootstrap(dev, "accuracy", comparison.clusters_of(dev))
        bound = drawn.bayes_bounds()["text_only"]
        history, best = report.history(), report.facts["best_epoch"]
        n_train = config.n_train or drawn.DrawnConfig().n_train
        rows.append({
            "dataset": config.dataset, "model": config.variant.split("-")[0], "logic_init": config.detector.logic_init,
            "alignment": config.detector.alignment, "n_train": n_train,
            "train_accuracy": report.metrics["train"]["accuracy"], "dev_accuracy": found.estimate, "low": found.low,
            "high": found.high, "dev_auc": report.metrics["dev"]["auc"], "text_bound": bound,
            "over_text": found.estimate - bound,
            "alignment_loss": history.set_index("epoch").loc[best, "dev_alignment"] if best else float("nan"),
            "best_epoch": best, "n_trainable": report.facts["n_trainable"],
        })  # fmt: skip
    return pd.DataFrame(rows)
