"""The embedded corpora `demo-en` and `demo-zh`: posts about drawn scenes, with everything known.

A post claims something of one picture. It is a rumor when the claim contradicts the picture (another
object, colour, place or count), when the claim cannot be (an implausible relation inside the text), or
when the claimed object was pasted into the picture (a visible seam). Everything a detector could use is a
column; no model has been asked while the difficulty was set (`drawn.json` holds config and hashes).
"""

from __future__ import annotations

import dataclasses
import hashlib
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from rumorlib.config import CORPORA, cache_root
from rumorlib.data import files, posts
from rumorlib.data.drawn_scenes import scenes, wordings
from rumorlib.data.drawn_scenes.claims import TEXT_IMAGE_CONFLICTS, Claim, DrawnConfig, Painter
from rumorlib.data.drawn_scenes.scenes import COLOURS, N_PLACES, SHAPES, Scene
from rumorlib.data.drawn_scenes.wordings import Wording
from rumorlib.data.images import ArrayImages

MANY = 1000  # pictures; fewer are drawn sooner than a file is checked
LABEL_MEANS = CORPORA["demo-en"].label_means


def bayes_bounds(config: DrawnConfig | None = None) -> dict[str, float]:
    """Best accuracy any model of one modality can reach on train/dev/test, from the generator's probabilities.

    Text shows the alarm wording and implausible relations, pixels show the seam; the rest of either modality is
    independent of the label. Label noise n turns accuracy a into (1-2n)a + n.
    """
    config = config or DrawnConfig()
    marked = 1 - (1 - config.shortcut) * (1 - config.implausible_share)
    text, image, noise = 0.5 + marked / 2, 0.5 + config.edited_share / 2, config.label_noise
    return {
        "text_only": (1 - 2 * noise) * text + noise,
        "image_only": (1 - 2 * noise) * image + noise,
        "rule_oracle": 1.0 - noise,
    }


def _all_posts(config: DrawnConfig) -> list[tuple[str, Claim, Scene, dict]]:
    """Every post of every split, in order, before words are chosen."""
    made: list[tuple[str, Claim, Scene, dict]] = []
    for split, n in (("train", config.n_train), ("dev", config.n_dev), ("test", config.n_test)):
        painter = Painter(config, split)
        made += [(split, *painter.post()) for _ in range(n)]
    painter = Painter(config, "test_unseen")
    made += [("test_unseen", *painter.post(unseen=True)) for _ in range(config.n_unseen)]
    painter = Painter(config, "pairs")
    for number in range(config.n_pairs):
        pair = painter.minimal_pair("word" if number % 2 else "object")
        made += [("pairs", claim, scene, {**facts, "pair": f"pair-{number:04d}"}) for claim, scene, facts in pair]
    for split, n in (("undetectable", config.n_undetectable), ("fingerprint", config.n_fingerprint)):
        made += [(split, *post) for post in _consistent_posts(config, split, n)]
    return made


def _consistent_posts(config: DrawnConfig, split: str, n: int) -> list[tuple[Claim, Scene, dict]]:
    """Consistent-but-false posts: the label has no cue at all, or only a fingerprint away from the claimed object."""
    painter, made = Painter(config, split), []
    for _ in range(n):
        claim = painter.claim()
        scene, rumor = painter.matching_scene(claim), painter.chance(0.5)
        if split == "fingerprint" and rumor:
            claimed = {t.place for t in scene.objects if (t.shape, t.colour) == (claim.shape, claim.colour)}
            scene = dataclasses.replace(scene, fingerprint_place=painter.other(N_PLACES, *claimed))
        conflict = split if rumor else "none"
        made.append((claim, scene, {"label": int(rumor), "conflict": conflict, "near_miss": False, "alarm": False}))
    return made


def _row(claim: Claim, scene: Scene, facts: dict) -> dict:
    """Factors and truth of one post, language-free."""
    claimed = [t for t in scene.objects if (t.shape, t.colour) == (claim.shape, claim.colour)]
    at_place = [t for t in scene.objects if t.place == claim.place]
    supported = facts["conflict"] not in (*TEXT_IMAGE_CONFLICTS, "object+colour", "count")
    support = [t for t in claimed if claim.place < 0 or t.place == claim.place] if supported else []
    against = [] if supported else at_place
    row = {
        **facts,
        "claim_shape": SHAPES[claim.shape],
        "claim_colour": COLOURS[claim.colour],
        "claim_place": claim.place,
        "claim_count": claim.count,
        "claim_verb": claim.verb,
        "clutter": len(scene.objects),
        "overlay": scene.overlay,
        "evidence_px": (support or against)[0].size_px if support or against else 0,
        "n_support": len(support),
    }
    for name, things in (("support", support), ("against", against)):
        box = things[0].box if len(things) == 1 else (-1, -1, -1, -1)  # several or none: no single box to point at
        row |= dict(zip((f"{name}_{edge}" for edge in ("x0", "y0", "x1", "y1")), box, strict=True))
    return row


@lru_cache(maxsize=2)
def _drawn(config: DrawnConfig, boxed: bool = False) -> tuple[pd.DataFrame, list[Claim], list[Scene], list[str]]:
    """Language-free table, claims, distinct scenes and the image key of each distinct scene."""
    painter, made = Painter(config, "leaks and noise"), _all_posts(config)
    if boxed:
        made = [(split, claim, scenes.boxed(scene), facts) for split, claim, scene, facts in made]
    train = [post for post in made if post[0] == "train"]
    keys: dict[Scene, str] = {}
    claims, rows = [], []
    for number, (split, claim, scene, facts) in enumerate(made):
        if split in ("dev", "test") and painter.chance(config.leak_rate):  # a train post, worded anew
            _, claim, scene, facts = train[painter.below(len(train))]
        claims.append(claim)
        key = keys.setdefault(scene, f"{split}-{len(keys):05d}")
        row = _row(claim, scene, facts)
        row["clean_label"] = row["label"]
        if painter.chance(config.label_noise):
            row["label"] = 1 - row["label"]
        event = painter.below(config.n_events)
        if "pair" in facts:  # the texts of a minimal pair name the same event
            event = int(facts["pair"][-4:]) % config.n_events
        names = {"post_id": f"{split}-{number:05d}", "split": split, "event": f"event-{event}", "image": key}
        rows.append(names | row)
    table = pd.DataFrame(rows).fillna({"pair": "", "pair_kind": ""})
    return table, claims, list(keys), list(keys.values())


@lru_cache(maxsize=2)
def _pictures(config: DrawnConfig, boxed: bool) -> ArrayImages:
    _, _, distinct, keys = _drawn(config, boxed)
    return ArrayImages(keys, _pixels(distinct))


def _pixels(distinct: list[Scene]) -> np.ndarray:
    """`scenes.render_all`, drawn once for all processes: many pictures are mapped from the cache, under a name of the
    scenes and of the code that draws them."""
    if len(distinct) < MANY:
        return scenes.render_all(distinct)
    name = hashlib.sha256(Path(scenes.__file__).read_bytes() + repr(distinct).encode()).hexdigest()[:16]
    return files.stored_array(cache_root() / "drawn" / f"{name}.npy", partial(scenes.render_all, distinct))


def scenes_of(config: DrawnConfig | None = None) -> dict[str, Scene]:
    """The scene behind every picture of the posts, by image key: what the references and the tests know of it."""
    _, _, distinct, keys = _drawn(config or DrawnConfig())
    return dict(zip(keys, distinct, strict=True))


def worded(language: str, config: DrawnConfig | None = None) -> list[Wording]:
    """What the text of every post was made of, post by post: change a field and `wordings.post` words it anew."""
    config = config or DrawnConfig()
    table, claims, _, _ = _drawn(config)
    painter = Painter(config, f"words {language}")
    return [
        Wording(claim.shape, claim.colour, claim.place, claim.count, claim.verb, int(row.event[-1]), row.alarm,
                _template(painter, row.pair))
        for claim, row in zip(claims, table.itertuples(), strict=True)
    ]  # fmt: skip


def load(language: str, seed: int = 0, config: DrawnConfig | None = None, boxed: bool = False) -> posts.Corpus:
    """The drawn corpus in one language; both languages share every scene, claim, label and key.

    Args:
        language: "en" or "zh".
        seed: corpus seed; 0 is the committed corpus.
        boxed: pictures are true object boxes (`scenes.boxed`), all else is the same.
    """
    config = config or DrawnConfig(seed=seed)
    table = _drawn(config, boxed)[0].copy()
    table["text"] = [wordings.post(language, *wording) for wording in worded(language, config)]
    table["language"] = language
    table["created_at"], table["text_group"] = pd.NaT, ""
    table["image_group"] = table["image"]
    return posts.Corpus(
        name="demo-boxes" if boxed else f"demo-{language}",
        posts=posts.check(table, f"drawn scenes (seed {config.seed})"),
        images=_pictures(config, boxed),
        label_means=LABEL_MEANS,
        dropped=pd.DataFrame(columns=["post_id", "source", "row", "reason"]),
    )


def _template(painter: Painter, pair: str) -> int:
    """Wording of a post; the two posts of a minimal pair share theirs."""
    draw = painter.below(wordings.N_TEMPLATES)
    return int(pair[-4:]) % wordings.N_TEMPLATES if pair else draw


@lru_cache(maxsize=1)  # both languages in turn
def _captions(config: DrawnConfig, boxed: bool) -> tuple[ArrayImages, list[dict], list[tuple[int, ...]]]:
    """Language-free: pictures, and of every caption its row and the indices `wordings.caption` takes."""
    painter = Painter(config, "captions")
    rows, words, distinct = [], [], []
    n_dev = config.n_caption_scenes // 10
    for number in range(config.n_caption_scenes + n_dev):
        split = "train" if number < config.n_caption_scenes else "dev"
        shape, colour = painter.kind()
        copies = 1 + painter.below(3) if painter.chance(config.count_share) else 1
        scene = painter.scene([(shape, colour, -1)] * copies, {(shape, colour)})
        scene = scenes.boxed(scene) if boxed else scene
        distinct.append(scene)
        for caption_id in range(config.captions_per_scene):
            thing = scene.objects[(caption_id + (copies - 1) * (caption_id > 0)) % len(scene.objects)]
            same = sum((t.shape, t.colour) == (thing.shape, thing.colour) for t in scene.objects)
            counts = same > 1 or painter.chance(config.count_share)
            template = painter.below(wordings.N_TEMPLATES)
            verb = painter.pick(wordings.plausible_verbs(thing.shape))
            words.append((thing.shape, thing.colour, -1 if counts else thing.place, same, verb, template))
            rows.append({"image": f"caption-{number:05d}", "caption_id": caption_id, "split": split})
    keys = [f"caption-{number:05d}" for number in range(len(distinct))]
    return ArrayImages(keys, _pixels(distinct)), rows, words


def load_captions(
    language: str, seed: int = 0, config: DrawnConfig | None = None, boxed: bool = False
) -> posts.CaptionCorpus:
    """Stage-1 captions of scenes that no post shows: what stands where, or how many there are."""
    images, rows, words = _captions(config or DrawnConfig(seed=seed), boxed)
    captions = pd.DataFrame(rows)
    captions.insert(2, "text", [wordings.caption(language, *indices) for indices in words])
    return posts.CaptionCorpus(
        f"demo-{'boxes-' * boxed}captions-{language}", captions.assign(language=language), images
    )


def corpus_sha256(config: DrawnConfig | None = None) -> str:
    """Hash of decoded pixels, texts in both languages, labels and splits; compared with the committed one."""
    config = config or DrawnConfig()
    digest = hashlib.sha256()
    for language in ("en", "zh"):
        corpus = load(language, config=config)
        for column in ("post_id", "split", "image", "label", "text"):
            digest.update("\x1f".join(corpus.posts[column].astype(str)).encode())
        captions = load_captions(language, config=config)
        digest.update("\x1f".join(captions.captions["text"]).encode())
    for images in (corpus.images, captions.images):
        digest.update(images.array.tobytes())
    return digest.hexdigest()
