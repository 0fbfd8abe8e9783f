"""Does DMFL learn to compare words with patches, and what does it take: train posts, and where its logic chain starts.

Drawn scenes only: there more posts of the same kind can be drawn. The committed corpus stays what it is; larger train
sides are an experiment, with scenes of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rumorlib.data.drawn_scenes import drawn
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.scores import comparison


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
        found = comparison.score(config.dataset, dev, "accuracy")
        bound = drawn.bayes_bounds()["text_only"]
        history, best = report.history(), report.facts["best_epoch"]
        n_train = config.n_train or drawn.DrawnConfig().n_train
        rows.append({
            "dataset": config.dataset, "model": config.variant.split("-")[0], "logic_init": config.detector.logic_init,
            "alignment": config.detector.alignment, "n_train": n_train,
            "train_accuracy": report.metrics["train"]["accuracy"], "dev_accuracy": found.value, "low": found.low,
            "high": found.high, "dev_auc": report.metrics["dev"]["auc"], "text_bound": bound,
            "over_text": found.value - bound,
            "alignment_loss": history.set_index("epoch").loc[best, "dev_alignment"] if best else float("nan"),
            "best_epoch": best, "n_trainable": report.facts["n_trainable"], RUNS: run_names([report]),
        })  # fmt: skip
    return by_runs(pd.DataFrame(rows), "dataset", "model", "logic_init", "alignment", "n_train")


READS = {"post-alone": "the post alone", "with-replies": "replies of a day", "TB": "replies of a day",
         "with-late-replies": "replies of two days, the outcome among them"}  # fmt: skip


def with_replies(reports: Sequence[Report]) -> pd.DataFrame:
    """Does DMFL find that a reply contradicts its post (§4.5; d_e12)? Test posts.

    Returns: dataset, model, reads, accuracy, acc_low, acc_high (95 %, pictures and seeds), auc, ahead, ahead_low,
        ahead_high (of the whole model on the post alone, same posts), n_seeds.
    """
    rows, found = [], comparison.pooled(reports)
    parts = {config.variant: part[part["split"] == "test"].reset_index(drop=True) for config, part in found}
    for config, _ in found:
        part, alone = parts[config.variant], parts["post-alone"]
        model = "DMFL-TB" if config.detector.parts == "logic_only" else "DMFL"
        row = {"dataset": config.dataset, "model": model, "reads": READS[config.variant]}
        row |= comparison.ends("acc", comparison.score(config.dataset, part, "accuracy"), "accuracy")
        row |= {"auc": comparison.score(config.dataset, part, "auc").value}
        if part is not alone:
            row |= comparison.ends("ahead", comparison.ahead(config.dataset, part, alone))
        rows.append(row | {"n_seeds": part["seed"].nunique(), RUNS: run_names(part)})
    return by_runs(pd.DataFrame(rows), "dataset", "model", "reads")
