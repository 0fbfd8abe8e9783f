"""Arguments of the pictures of explanations: drawn scenes, what made each weight, what each explanation points at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rumorlib.data.drawn_scenes.claims import TEXT_IMAGE_CONFLICTS
from rumorlib.encoders.vision import patch_boxes
from rumorlib.results.provenance import of_runs
from rumorlib.studies.explanations import breaks
from rumorlib.studies.explanations.explanations import TRAINED, Explained, top_patches


def chosen_posts(one: Explained, n: int = 3) -> list[int]:
    """The first posts of different conflicts: a matching one, then rumors whose text and picture disagree."""
    shown = one.posed.posts[one.posed.posts["conflict"].isin(("none", "colour", "place", "object"))]
    return shown.drop_duplicates("conflict").sort_values("label", kind="stable").index[:n].tolist()


def title(one: Explained, i: int) -> str:
    """What a post says, whether it is true, and whether its picture holds nothing that the text names."""
    post = one.posed.posts.iloc[i]
    far = post["conflict"] in TEXT_IMAGE_CONFLICTS and not post["near_miss"]
    elsewhere = "; not in the picture" if far else ""
    return f"{'rumor' if post['label'] else 'non-rumor'} ({post['conflict']}{elsewhere}): {post['text']}"


def weight_parts(one: Explained, posts: list[int]) -> tuple[dict[str, Any], pd.DataFrame]:
    """Arguments of `pictures.weight_parts`, and the same numbers as one frame (x_fig1).

    Frame: post_id, patch, field_px, semantic, relevance (parts of the score of Eq 24, each minus its mean over the kept
        patches of the post), weight.
    """
    relevance, weight, semantic, _ = breaks.decomposition(one)
    vision, share = one.config.stage1.sclip.vision, one.config.detector.fusion_weight
    boxes = [part.numpy() for part in patch_boxes(vision)]
    fields = np.repeat(vision.receptive_fields, [len(part) for part in boxes])
    made: dict[str, Any] = {"images": [], "boxes": [], "parts": [], "titles": []}
    for i in posts:
        kept = np.flatnonzero(weight[i] > 0)
        frame = pd.DataFrame({"post_id": one.posed.posts["post_id"].iloc[i], "patch": kept, "field_px": fields[kept]})
        for name, values, factor in (("semantic", semantic, share), ("relevance", relevance, 1 - share)):
            frame[name] = factor * (values[i, kept] - values[i, kept].mean())
        made["parts"].append(frame.assign(weight=weight[i, kept]))
        made["boxes"].append([tuple(box) for box in np.concatenate(boxes)[kept]])
        made["images"].append(one.posed.images[i].permute(1, 2, 0).numpy())
        made["titles"].append(title(one, i))
    return made, of_runs(pd.concat(made["parts"], ignore_index=True), [one.config])


def maps(one: Explained, posts: list[int]) -> tuple[dict[str, Any], pd.DataFrame]:
    """Arguments of `pictures.relevance_maps` for the explanations of the trained model on its finest scale, with the
    object of the largest exact effect framed; and as a frame: post_id, explanation, patch, importance (x_fig2).
    """
    tower = one.model.sclip.image_tower
    finest = int(np.argmax(tower.sides))
    start, side = sum(tower.n_patches[:finest]), tower.sides[finest]
    boxes = patch_boxes(one.config.stage1.sclip.vision)[finest].numpy()
    shown = {name: scores[:, start : start + side**2] for (weights, name), scores in one.scores.items()
             if weights in (TRAINED, "none")}  # fmt: skip
    tops = {name: top_patches(scores, 1) for name, scores in shown.items()}
    best = np.nanargmax(np.abs(one.effects), axis=1)
    made = {
        "images": [one.posed.images[i].permute(1, 2, 0).numpy() for i in posts],
        "relevance": [[scores[i].reshape(side, side) for scores in shown.values()] for i in posts],
        "top_boxes": [[[tuple(box) for box in boxes[top[i]]] for top in tops.values()] for i in posts],
        "truth_boxes": [tuple(one.posed.boxes[i, best[i]]) for i in posts],
        "titles": [title(one, i) for i in posts],
        "scales": list(shown),
    }
    frames = [
        pd.DataFrame({"post_id": one.posed.posts["post_id"].iloc[i], "explanation": name, "patch": range(side**2),
                      "importance": scores[i]})
        for i in posts for name, scores in shown.items()
    ]  # fmt: skip
    return made, of_runs(pd.concat(frames, ignore_index=True), [one.config])
