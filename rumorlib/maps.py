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
from rumorlib.results import Report
from rumorlib.sweeps import paper_fields, printed

# --- DMFL: attention over the epochs --------------------------------------------------------------


def attention(reports: Iterable[Report], post: int | None = None) -> pd.DataFrame:
    """Stored maps of Eq 12: dataset, epoch, post, patch, position, score, weight; one post, or all of the batch.

    Positions that Eq 12 masks ([CLS] and [SEP] are the logic chain's) have no weight anywhere and are left out.
    """
    frames = [report.extra("attention").assign(dataset=report.config.dataset) for report in reports]
    frame = pd.concat(frames, ignore_index=True)[["dataset", "epoch", "post", "patch", "position", "score", "weight"]]
    frame = frame[frame.groupby(["dataset", "post", "position"])["weight"].transform("max") > 0]
    return (frame if post is None else frame[frame["post"] == post]).reset_index(drop=True)


def dev_loss(reports: Iterable[Report]) -> dict[tuple[str, int], float]:
    """(dataset, epoch) -> dev loss of that epoch, from the runs' histories."""
    return {
        (report.config.dataset, int(row.epoch)): float(row.dev_loss)
        for report in reports
        for row in report.history().itertuples()
    }


def attention_grids(frame: pd.DataFrame, reports: Sequence[Report]) -> dict[str, np.ndarray]:
    """Heading -> (patches, positions) weights of one post per corpus and stored epoch, for `pictures`.

    "best dev" is the stored epoch with the lowest dev loss. All arrays have one shape; beyond a shorter text: nan.
    """
    shape = frame["patch"].max() + 1, frame["position"].max() + 1
    losses, grids = dev_loss(reports), {}
    for dataset, part in frame.groupby("dataset", sort=False):
        best = min(part["epoch"].unique(), key=lambda epoch: losses[dataset, epoch])
        for epoch, cells in part.groupby("epoch"):
            grid = np.full(shape, np.nan)
            grid[cells["patch"], cells["position"]] = cells["weight"]
            grids[f"{epoch}, {dataset}" + (" (best dev)" if epoch == best else "")] = grid
    return grids


def attention_statistics(reports: Sequence[Report]) -> pd.DataFrame:
    """What §6.4 says in words, as numbers, a line per corpus and stored epoch; means over the posts of the batch.

    A cell is dark when its weight exceeds mean + 1 standard deviation of the same post at the first stored epoch: one
    yardstick for all epochs. Columns: dataset, epoch, dev_loss, entropy (of a patch's weights over the words, divided
    by the log of their number: 1 = even), dark_cells (mean per post), dark_share (of all cells), iou_previous,
    iou_first (overlap of the dark cells with those of another epoch: intersection over union; 1 = the same, nan where
    neither has any), n_posts.
    """
    losses, rows = dev_loss(reports), []
    for dataset, part in attention(reports).groupby("dataset", sort=False):
        per_post = pd.concat([_of_post(cells) for _, cells in part.groupby("post")])
        for epoch, values in per_post.groupby("epoch"):
            means = values.drop(columns="epoch").mean()
            rows.append({"dataset": dataset, "epoch": epoch, "dev_loss": losses[dataset, epoch], **means,
                         "n_posts": len(values)})  # fmt: skip
    return pd.DataFrame(rows)


def _of_post(cells: pd.DataFrame) -> pd.DataFrame:
    """Statistics of one post, a line per stored epoch."""
    grids = {e: g.pivot(index="patch", columns="position", values="weight") for e, g in cells.groupby("epoch")}
    grids = {epoch: grid.to_numpy() for epoch, grid in grids.items()}
    first = next(iter(grids.values()))
    dark = {epoch: grid > first.mean() + first.std() for epoch, grid in grids.items()}
    rows, previous = [], None
    for epoch, grid in grids.items():
        masks = dark[epoch], dark[next(iter(dark))]
        row = {"epoch": epoch, "entropy": entropy(grid), "dark_cells": masks[0].sum(), "dark_share": masks[0].mean()}
        row |= {
            "iou_previous": np.nan if previous is None else overlap(masks[0], previous),
            "iou_first": overlap(*masks),
        }
        rows.append(row)
        previous = masks[0]
    return pd.DataFrame(rows)


def entropy(weights: np.ndarray) -> float:
    """Mean entropy of the rows of (Q, K) weights over log K, in [0, 1]: 1 = every key alike, 0 = one key has it all.

    With a single key there is nothing to choose: nan.
    """
    if weights.shape[1] < 2:
        return float("nan")
    shares = weights / weights.sum(axis=1, keepdims=True)
    parts = -shares * np.log(np.clip(shares, 1e-12, None))
    return float(parts.sum(axis=1).mean() / np.log(weights.shape[1]))


def overlap(mask: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boolean masks; nan where both are empty."""
    union = (mask | other).sum()
    return float((mask & other).sum() / union) if union else float("nan")


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
        frames.append(frame.assign(dataset=report.config.dataset, model=printed(report.config))[RELEVANCE])
    return pd.concat(frames[1:] or frames, ignore_index=True)


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
            dataset=report.config.dataset, model=printed(report.config), receptive_fields=paper_fields(report.config)
        )
        for report in reports
        if "extras/pointing.csv" in report.hashes
    ]
    names = ["dataset", "model", "receptive_fields", "stage", "scale", "n_reachable", "pointing", "chance"]
    if not frames:
        return pd.DataFrame(columns=names)
    return pd.concat(frames, ignore_index=True).query("factor == 'all'")[names].reset_index(drop=True)
