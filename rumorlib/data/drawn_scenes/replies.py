"""Posts with replies, `demo-replies`: a rumor is a post that a reply contradicts (DMFL's opening example, §1 and §4.5).

Every picture shows what its post says, and posts, pictures and replies are drawn alike in both classes: only who reads
a post *and* its reply can tell them apart. A day later a second reply says how it came out; it must not be read.
"""

from __future__ import annotations

import dataclasses
import json
from functools import lru_cache

import pandas as pd

from rumorlib.config import CORPORA
from rumorlib.data import posts
from rumorlib.data.drawn_scenes import scenes, wordings
from rumorlib.data.drawn_scenes.claims import TEXT_IMAGE_CONFLICTS, DrawnConfig, Painter
from rumorlib.data.images import ArrayImages

SIZES = {"train": 6000, "dev": 800, "test": 1200}
POSTED = pd.Timestamp("2015-01-07T11:00:00Z")
SOON_H, LATE_H = 1, 30  # when the two replies come, after the post
OUTCOMES = ("this has been confirmed", "this has turned out to be false")


@lru_cache(maxsize=1)
def load(seed: int = 0) -> posts.Corpus:
    """The corpus in English. `replies`: JSON list of id, parent, created_at, text, as PHEME's reader has them."""
    painter, rows, shown = Painter(DrawnConfig(seed=seed, count_share=0.0), "replies"), [], {}
    for split, n in SIZES.items():
        for number in range(n):
            claim, rumor = painter.claim(), painter.chance(0.5)
            scene, said = painter.matching_scene(claim), (claim.shape, claim.colour, claim.place)
            conflict = painter.pick(TEXT_IMAGE_CONFLICTS)
            said = painter.altered(claim, conflict, near=True) if rumor else said
            verb = painter.pick(wordings.plausible_verbs(said[0]))
            post_id, event = f"{split}-{number:05d}", painter.below(8)
            templates = painter.below(wordings.N_TEMPLATES), painter.below(wordings.N_TEMPLATES)
            words = dataclasses.astuple(claim)
            told = wordings.caption("en", *said, 1, verb, templates[1]), OUTCOMES[rumor]
            replies = [
                {"id": f"{post_id}-{hours}", "parent": post_id, "text": text,
                 "created_at": (POSTED + pd.Timedelta(hours=hours)).isoformat()}
                for hours, text in zip((SOON_H, LATE_H), told, strict=True)
            ]  # fmt: skip
            shown[post_id] = scene
            rows.append({
                "post_id": post_id, "split": split, "label": int(rumor), "event": f"event-{event}", "image": post_id,
                "text": wordings.post("en", *words, event, False, templates[0]), "language": "en", "text_group": "",
                "created_at": POSTED.isoformat(), "replies": json.dumps(replies),
                "conflict": conflict if rumor else "none",
            })  # fmt: skip
    table = posts.check(pd.DataFrame(rows), f"drawn scenes with replies (seed {seed})")
    images = ArrayImages(list(shown), scenes.render_all(list(shown.values())))
    none = pd.DataFrame(columns=["post_id", "source", "row", "reason"])
    return posts.Corpus("demo-replies", table, images, CORPORA["demo-replies"].label_means, none)
