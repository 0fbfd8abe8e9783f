"""Numbers and arrays behind heat maps: DMFL's cross-modal attention (D-E6) and MICC's relevance (m_fig_relevance).

They read the extras that `evidence` stored with a run: positions and patches, never words of a real post.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rumorlib import inputs
from rumorlib.config import Settings
from rumorlib.encoders.vision import grid_sides, patch_boxes
from rumorlib.experiments import model_name, paper_fields
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, of_runs, run_names, stacked
from rumorlib.training.watch import PARTS

# --- DMFL: attention over the epochs --------------------------------------------------------------


def attention(reports: Iterable[Report], post: int | None = None) -> pd.DataFrame:
    """Stored maps of Eq 12: dataset, epoch, post, patch, position, score, weight; one post, or all of the batch.

    Positions that Eq 12 masks ([CLS] and [SEP] are the logic chain's) have no weight anywhere and are left out.
    """
    reports = list(reports)
    frames = [report.extra("attention").assign(dataset=report.config.dataset) for report in reports]
    frame = pd.concat(frames, ignore_index=True)[["dataset", "epoch", "post", "patch", "position", "score", "weight"]]
    frame = frame[frame.groupby(["dataset", "post", "position"])["weight"].transform("max") > 0]
    frame = (frame if post is None else frame[frame["post"] == post]).reset_index(drop=True)
    of = pd.DataFrame([{"dataset": report.config.dataset, RUNS: run_names([report])} for report in reports])
    frame.attrs |= by_runs(of, "dataset").attrs  # a frame of a million cells: its runs are told by the corpus alone
    return frame


def dev_loss(reports: Iterable[Report]) -> dict[tuple[str, int], float]:
    """(dataset, epoch) -> dev loss of that epoch, from the runs' histories."""
    return {
        (report.config.dataset, int(row.epoch)): float(row.dev_loss)
        for report in reports
        for row in report.history().itertuples()
    }


def attention_grids(frame: pd.DataFrame, reports: Sequence[Report]) -> dict[str, dict[str, np.ndarray]]:
    """Corpus -> "epoch n, dev accuracy" -> (patches, words) weights of one post, for `pictures`."""
    accuracy, grids = {report.config.dataset: dev_accuracy(report) for report in reports}, {}
    for dataset, part in frame.groupby("dataset", sort=False):
        grids[dataset] = {}
        for epoch, cells in part.groupby("epoch"):
            grid = cells.pivot(index="patch", columns="position", values="weight").to_numpy()
            known = accuracy[dataset].get(epoch)
            grids[dataset][f"epoch {epoch}" + (f", dev {known:.3f}" if known is not None else "")] = grid
    return grids


def dev_accuracy(report: Report) -> dict[int, float]:
    """Stored epoch -> accuracy on all dev posts; {} of a run that is older than this column."""
    found = read_maps(report)
    return found.groupby("epoch")["dev_accuracy"].first().to_dict() if "dev_accuracy" in found else {}


def read_maps(report: Report) -> pd.DataFrame:
    """Statistics of every post and stored epoch of a run's fixed batch, see `watch.map_statistics`."""
    return report.extra("attention_posts")


def attention_statistics(reports: Iterable[Report]) -> pd.DataFrame:
    """What §6.4 says in words, as numbers (d_e6): a line per corpus and stored epoch, means over the fixed batch.

    Columns: dataset, epoch (0 = before training), dev_loss, n_posts, those of `watch.map_statistics`, dev_accuracy.
    """
    rows = []
    for report in reports:
        losses, dataset = dev_loss([report]), report.config.dataset
        for epoch, part in read_maps(report).groupby("epoch"):
            means = part.drop(columns=["post", "epoch"]).mean()
            loss = losses.get((dataset, epoch), np.nan)
            rows.append({"dataset": dataset, "epoch": epoch, "dev_loss": loss, "n_posts": len(part), **means,
                         RUNS: run_names([report])})  # fmt: skip
    return by_runs(pd.DataFrame(rows), "dataset")


def moved_weights(reports: Iterable[Report]) -> pd.DataFrame:
    """How far the weights of each part of DMFL have come since training began (`watch.moved_weights`): dataset, epoch,
    and a column per part (d_e6_weights). Runs of before these were stored are left out."""
    frames = []
    for report in (one for one in reports if "extras/weights.csv" in one.hashes):
        wide = report.extra("weights").query("epoch > 0").pivot(index="epoch", columns="part", values="moved")
        wide = wide[[part for part in PARTS if part in wide]].reset_index()
        wide.insert(0, "dataset", report.config.dataset)
        frames.append(of_runs(wide, [report]))
    return stacked(frames or [pd.DataFrame(columns=["dataset", "epoch"])], "dataset")


def word_pointing(reports: Iterable[Report]) -> pd.DataFrame:
    """Do the claim's words look at the claimed object? dataset, epoch, and the columns of `watch.word_pointing`; drawn
    posts only (d_e6_pointing)."""
    names = ["dataset", "map", "epoch", "n", "mass", "low", "high", "chance", "other_words", "top", "top_chance"]
    having = [report for report in reports if "extras/word_pointing.csv" in report.hashes]
    frames = [of_runs(r.extra("word_pointing").assign(dataset=r.config.dataset)[names], [r]) for r in having]
    return stacked(frames or [pd.DataFrame(columns=names)], "dataset")


# --- MICC: relevance per scale --------------------------------------------------------------------

RELEVANCE = ["dataset", "model", "post_id", "scale", "field", "patch", "relevance", "weight", "kept"]


def relevance(reports: Iterable[Report]) -> pd.DataFrame:
    """Stored relevance of every patch of a few dev posts (columns RELEVANCE); `patch` counts within its scale.

    `field` is the receptive field in pixels. Runs that stored none (real posts) are left out.
    """
    frames = [pd.DataFrame(columns=RELEVANCE)]
    for report in reports:
        if "extras/relevance.csv" not in report.hashes:
            continue
        vision = report.config.stage1.sclip.vision
        frame = report.extra("relevance")
        starts = np.cumsum([0, *(side * side for side in grid_sides(vision))])
        fields = np.array(vision.receptive_fields)[frame["scale"]]
        frame = frame.assign(patch=frame["patch"] - starts[frame["scale"]], field=fields)
        frame = frame.assign(dataset=report.config.dataset, model=model_name(report.config))[RELEVANCE]
        frames.append(of_runs(frame, [report]))
    return stacked(frames[1:] or frames, "dataset", "model")


def relevance_statistics(frame: pd.DataFrame) -> pd.DataFrame:
    """Per corpus, model and scale, means over posts: best and mean relevance, their gap, weight of the scale's patches.

    Columns: dataset, model, field, n_posts, best_relevance, mean_relevance, gap, scale_weight (adds to 1 over scales).
    """
    keys = ["dataset", "model", "field"]
    per_post = frame.groupby([*keys, "post_id"], sort=False).agg(
        best_relevance=("relevance", "max"), mean_relevance=("relevance", "mean"), scale_weight=("weight", "sum")
    )
    per_post["gap"] = per_post["best_relevance"] - per_post["mean_relevance"]
    table = per_post.groupby(keys, sort=False).mean()
    table.insert(0, "n_posts", per_post.groupby(keys, sort=False).size())
    return table[["n_posts", "best_relevance", "mean_relevance", "gap", "scale_weight"]].reset_index()


def relevance_panels(reports: Sequence[Report], settings: Settings, posts_per_corpus: int = 2) -> dict[str, Any]:
    """Arguments of `pictures.relevance_maps`: drawn scenes only, since real images are never shown.

    Raises: ValueError: a report of another profile than demo.
    """
    if any(report.config.profile != "demo" for report in reports):
        raise ValueError("only drawn scenes may be shown")
    panels: dict[str, Any] = {name: [] for name in ("images", "relevance", "top_boxes", "titles", "truth_boxes")}
    for report in reports:
        config, frame = report.config, relevance([report])
        vision, corpus = config.stage1.sclip.vision, inputs.corpus_of(config, settings)
        table = corpus.posts.set_index("post_id")
        for post_id in list(dict.fromkeys(frame["post_id"]))[:posts_per_corpus]:
            post, mine = table.loc[post_id], frame[frame["post_id"] == post_id]
            scales = [mine[mine["scale"] == s].sort_values("patch") for s in range(len(vision.receptive_fields))]
            panels["images"].append(corpus.images.pixels(post["image"], vision.image_size_px))
            panels["relevance"].append(
                [s["relevance"].to_numpy(float).reshape([round(len(s) ** 0.5)] * 2) for s in scales]
            )
            kept = [boxes.numpy()[s["kept"].to_numpy(bool)] for boxes, s in zip(patch_boxes(vision), scales)]
            panels["top_boxes"].append([[tuple(box) for box in boxes] for boxes in kept])
            panels["titles"].append(f"{config.dataset}: {post['claim_colour']} {post['claim_shape']}")
            panels["truth_boxes"].append(tuple(post[f"support_{edge}"] for edge in ("x0", "y0", "x1", "y1")))
    fields = reports[0].config.stage1.sclip.vision.receptive_fields
    return panels | {"scales": [f"{field} px" for field in fields]}


def pointing(reports: Iterable[Report]) -> pd.DataFrame:
    """Stored pointing scores: dataset, model, receptive_fields, stage, scale, n_reachable, pointing, chance."""
    frames = [
        report.extra("pointing").assign(
            dataset=report.config.dataset, model=model_name(report.config), receptive_fields=paper_fields(report.config)
        )
        for report in reports
        if "extras/pointing.csv" in report.hashes
    ]
    names = ["dataset", "model", "receptive_fields", "stage", "scale", "n_reachable", "pointing", "chance"]
    if not frames:
        return pd.DataFrame(columns=names)
    return pd.concat(frames, ignore_index=True).query("factor == 'all'")[names].reset_index(drop=True)
