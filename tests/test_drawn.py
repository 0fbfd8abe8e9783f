"""The drawn corpora: the committed bytes, labels that follow from claim and picture, and no other way to know them."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency

from rumorlib import config as cfg
from rumorlib.data import files
from rumorlib.data.drawn_scenes import drawn, scenes, wordings
from rumorlib.data.drawn_scenes.claims import Claim, DrawnConfig, Painter
from rumorlib.data.drawn_scenes.scenes import COLOURS, SHAPES, Scene

COMMITTED = json.loads((cfg.PROJECT_ROOT / "rumorlib/data/drawn.json").read_text(encoding="utf-8"))
SMALL = DrawnConfig(
    seed=7, n_caption_scenes=20, n_train=300, n_dev=150, n_test=150, n_unseen=60, n_pairs=40,
    n_undetectable=20, n_fingerprint=20,
)  # fmt: skip
SIGNIFICANT = 1e-3  # the draws are fixed: a test passes always or never


@pytest.fixture(scope="module")
def english():
    return drawn.load("en")


@pytest.fixture(scope="module")
def table(english) -> pd.DataFrame:
    return english.posts


@pytest.fixture(scope="module")
def pictured() -> dict[str, Scene]:
    return drawn.scenes_of()


def draw(n: int, stream: str, unseen: bool = False, **knobs) -> list[tuple[Claim, Scene, dict]]:
    """Posts of a corpus far larger than the committed one, without their pixels."""
    painter = Painter(DrawnConfig(seed=11, **knobs), stream)
    return [painter.post(unseen) for _ in range(n)]


@pytest.fixture(scope="module")
def many() -> list[tuple[Claim, Scene, dict]]:
    return draw(12_000, "many")


# --- the committed corpora ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 0])  # 0 last: it stays in memory
def test_the_corpus_is_the_committed_one(seed, monkeypatch):
    """Config and hash were committed before any model was run; whoever changes a byte changes the corpus."""
    monkeypatch.setattr(drawn, "MANY", math.inf)  # drawn, not read
    config = DrawnConfig(seed=seed)
    assert cfg.as_dict(config) == {**COMMITTED["config"], "seed": seed}
    assert drawn.corpus_sha256(config) == COMMITTED["sha256"][str(seed)]


def test_the_painters_stream_is_numpys_frozen_one():
    painter, twin = Painter(SMALL, "stream"), Painter(SMALL, "stream")
    numpys = np.random.RandomState(0)
    state = twin._twister.getstate()[1]
    numpys.set_state(("MT19937", state[:-1], state[-1]))
    for n in (1, 2, 3, 9, 10_000, 2**31 - 1) * 20:
        assert painter.below(n) == numpys.randint(n)
        assert painter.permutation(9) == numpys.permutation(9).tolist()


def test_sizes_and_balance(table):
    sizes = {"train": 3000, "dev": 800, "test": 1200, "test_unseen": 400, "pairs": 600, "undetectable": 300,
             "fingerprint": 300}  # fmt: skip
    assert table["split"].value_counts().to_dict() == sizes
    for split, n in sizes.items():
        share = table.loc[table["split"] == split, "label"].mean()
        assert share == 0.5 if split == "pairs" else abs(share - 0.5) < 3 * 0.5 / math.sqrt(n)


def test_both_languages_share_everything_but_words(english):
    chinese = drawn.load("zh")
    assert chinese.images is english.images
    same = [name for name in english.posts if name not in ("text", "language")]
    pd.testing.assert_frame_equal(chinese.posts[same], english.posts[same])
    assert english.posts["text"].map(str.isascii).all() and not chinese.posts["text"].map(str.isascii).any()
    words, characters = drawn.load_captions("en"), drawn.load_captions("zh")
    assert words.images is characters.images
    same = ["image", "caption_id", "split"]
    pd.testing.assert_frame_equal(words.captions[same], characters.captions[same])


def test_loading_twice_gives_equal_tables_that_are_not_the_same(english):
    again = drawn.load("en")
    pd.testing.assert_frame_equal(again.posts, english.posts)
    again.posts["label"] = 2
    again_captions = drawn.load_captions("en").captions
    again_captions["text"] = ""
    assert set(drawn.load("en").posts["label"]) == {0, 1}
    assert drawn.load_captions("en").captions["text"].map(bool).all()


def test_captions_are_of_pictures_that_no_post_shows(english):
    corpus = drawn.load_captions("en")
    assert len(corpus.captions) == 6600 * 4 and not corpus.captions.duplicated(["image", "caption_id"]).any()
    assert not set(corpus.captions["image"]) & set(english.images.keys)
    seen = {picture.tobytes() for picture in english.images.array}
    assert not any(picture.tobytes() in seen for picture in corpus.images.array)
    assert corpus.captions.groupby("image")["split"].nunique().max() == 1
    assert corpus.captions.drop_duplicates("image")["split"].value_counts().to_dict() == {"train": 6000, "dev": 600}


# --- labels follow from claim and picture --------------------------------------------------------


def oracle(post, scene: Scene) -> int:
    """1 when the claim does not hold in the scene, cannot hold anywhere, or speaks of something pasted in."""
    shape, colour = SHAPES.index(post.claim_shape), COLOURS.index(post.claim_colour)
    meant = [t for t in scene.objects if (t.shape, t.colour) == (shape, colour)]
    if post.claim_place >= 0:
        meant = [t for t in meant if t.place == post.claim_place]
    contradicted = len(meant) != post.claim_count
    implausible = post.claim_verb not in wordings.plausible_verbs(shape)
    return int(contradicted or implausible or any(t.edited for t in meant))


@pytest.mark.parametrize("split", ["train", "dev", "test", "test_unseen", "pairs"])
def test_the_rule_oracle_is_never_wrong(table, pictured, split):
    posts = table[table["split"] == split]
    assert [oracle(post, pictured[post.image]) for post in posts.itertuples()] == posts["label"].tolist()
    assert drawn.bayes_bounds()["rule_oracle"] == 1


def test_the_words_say_what_the_columns_say(table):
    language = wordings._WORDS["en"]
    for post in table.itertuples():
        words = re.findall(r"[a-z]+", post.text)
        assert post.claim_colour in words and language["verbs"][post.claim_verb] in words
        assert post.text.startswith("BREAKING") == post.alarm
        if post.claim_place >= 0:
            assert post.claim_shape in words and language["places"][post.claim_place] in post.text
        else:
            noun = post.claim_shape + "s" * (post.claim_count > 1)
            assert f"{language['counts'][post.claim_count]} {post.claim_colour} {noun}" in post.text


def test_captions_are_true_of_their_pixels():
    """A place named in a caption holds enough pixels of the colour named with it."""
    corpus, places = drawn.load_captions("en"), wordings._WORDS["en"]["places"]
    checked = 0
    for caption in corpus.captions.iloc[:2000].itertuples():
        place = next((number for number, name in enumerate(places) if name in caption.text), None)
        if place is None:  # a count
            continue
        colour = next(number for number, name in enumerate(COLOURS) if name in caption.text.split())
        row, column = divmod(place, scenes.GRID)
        cell = corpus.images.pixels(caption.image, scenes.IMAGE_PX).reshape(3, 32, 3, 32, 3)[row, :, column]
        distance = np.linalg.norm(cell.reshape(-1, 1, 3) - scenes._RGB * 0.9, axis=2)  # brightness is .8 to 1
        assert ((distance.argmin(1) == colour) & (distance.min(1) < 50)).sum() > 30, caption
        checked += 1
    assert checked > 1000


def test_truth_boxes_frame_the_evidence(table, pictured):
    posts = table[~table["split"].isin(["undetectable", "fingerprint"])]
    for post in posts.itertuples():
        things = {t.box: t for t in pictured[post.image].objects}
        support = (post.support_x0, post.support_y0, post.support_x1, post.support_y1)
        against = (post.against_x0, post.against_y0, post.against_x1, post.against_y1)
        assert support[0] < 0 or against[0] < 0
        kind = (SHAPES.index(post.claim_shape), COLOURS.index(post.claim_colour))
        if support[0] >= 0:
            assert (things[support].shape, things[support].colour) == kind
            assert post.evidence_px == things[support].size_px and post.n_support == 1
        if against[0] >= 0:
            assert (things[against].shape, things[against].colour) != kind and things[against].place == post.claim_place
            assert post.label == 1 and post.n_support == 0
    placed = posts[posts["claim_place"] >= 0]
    assert (placed.loc[placed["label"] == 0, "support_x0"] >= 0).all()


def test_the_support_box_holds_pixels_of_the_claimed_colour(english, table):
    supported = table[(table["support_x0"] >= 0) & (table["split"] == "test")]
    assert len(supported) > 300
    for post in supported.itertuples():
        pixels = english.images.pixels(post.image, scenes.IMAGE_PX).astype(float)
        box = pixels[post.support_y0 : post.support_y1, post.support_x0 : post.support_x1].reshape(-1, 3)
        if post.overlay or post.conflict == "edited":  # lettering or a seam may cover it
            continue
        distance = np.linalg.norm(box[:, None] - scenes._RGB * 0.9, axis=2)  # brightness is .8 to 1
        shown = Counter(distance.argmin(1)[distance.min(1) < 50].tolist())
        claimed = COLOURS.index(post.claim_colour)
        assert shown.most_common(1)[0][0] == claimed and shown[claimed] > 0.3 * len(box)


# --- nothing else tells the label ------------------------------------------------------------------


def p_value(label: list[int], value: list) -> float:
    """Of the chi-square test that `value` is independent of the label."""
    return chi2_contingency(pd.crosstab(pd.Series([str(v) for v in value]), pd.Series(label))).pvalue


def claim_cues(claim: Claim) -> dict[str, object]:
    return {
        "shape": claim.shape, "colour": claim.colour, "kind": (claim.shape, claim.colour), "place": claim.place,
        "count": claim.count, "counts": claim.place < 0, "verb": claim.verb, "relation": (claim.shape, claim.verb),
    }  # fmt: skip


def picture_cues(scene: Scene) -> dict[str, object]:
    first = min(scene.objects, key=lambda thing: thing.place)
    kinds = Counter((t.shape, t.colour) for t in scene.objects)
    return {
        "clutter": len(scene.objects), "overlay": scene.overlay, "copies": max(kinds.values()), "n_kinds": len(kinds),
        "first kind": (first.shape, first.colour), "first place": first.place, "first size": first.size_px,
        "same colours": len({t.colour for t in scene.objects}), "same shapes": len({t.shape for t in scene.objects}),
        "small": sum(t.size_px == scenes.SMALL_PX for t in scene.objects), "drawn first": scene.objects[0].place,
        "fingerprint": scene.fingerprint_place,
    }  # fmt: skip


def suspicious(label: list[int], cues: list[dict[str, object]]) -> dict[str, float]:
    """Cues whose distribution differs between rumors and non-rumors."""
    found = {name: [cue[name] for cue in cues] for name in cues[0]}
    tested = {name: p_value(label, values) for name, values in found.items() if len(set(map(str, values))) > 1}
    return {name: p for name, p in tested.items() if p < SIGNIFICANT}


def marked(facts: dict) -> bool:
    return facts["alarm"] or facts["conflict"] == "implausible"


def test_unmarked_texts_do_not_tell(many):
    plain = [(facts["label"], claim_cues(claim)) for claim, _, facts in many if not marked(facts)]
    assert not suspicious(*map(list, zip(*plain, strict=True)))


def test_unedited_pictures_do_not_tell(many):
    plain = [(facts["label"], picture_cues(scene)) for _, scene, facts in many if facts["conflict"] != "edited"]
    assert not suspicious(*map(list, zip(*plain, strict=True)))


def test_a_cue_that_does_tell_is_found(many):
    """The check above can fail: together, claim and picture tell the label."""
    both = [{"shown": any((t.shape, t.colour) == (c.shape, c.colour) for t in s.objects)} for c, s, _ in many]
    assert suspicious([facts["label"] for *_, facts in many], both)


def test_the_unseen_split_is_a_coin_toss_for_one_modality():
    posts = draw(6_000, "many unseen", unseen=True, shortcut=0.0)
    label = [facts["label"] for *_, facts in posts]
    assert not suspicious(label, [claim_cues(claim) for claim, *_ in posts])
    assert not suspicious(label, [picture_cues(scene) for _, scene, _ in posts])
    held_out = [[(t.shape, t.place) for t in scene.objects if t.shape == t.colour] for _, scene, _ in posts]
    assert {len(things) for things in held_out} == {1}  # every picture shows one unseen pair, rumor or not
    assert not suspicious(label, [{"shape": things[0][0], "place": things[0][1]} for things in held_out])


@pytest.mark.parametrize("knobs", [{}, {"shortcut": 0.3, "edited_share": 0.3}, {"implausible_share": 0.4}], ids=str)
def test_the_best_rules_of_one_modality_reach_the_printed_bounds(many, knobs):
    posts = many if not knobs else draw(6_000, f"many {knobs}", **knobs)
    bounds = drawn.bayes_bounds(DrawnConfig(**knobs))
    label = np.array([facts["label"] for *_, facts in posts])
    rules = {
        "text_only": [f["alarm"] or c.verb not in wordings.plausible_verbs(c.shape) for c, _, f in posts],
        "image_only": [any(t.edited for t in scene.objects) for _, scene, _ in posts],
    }
    for name, says in rules.items():
        standard_error = math.sqrt(bounds[name] * (1 - bounds[name]) / len(label))
        assert abs((np.array(says) == label).mean() - bounds[name]) < 3 * standard_error, name


def test_bounds_under_label_noise():
    clean, noisy = drawn.bayes_bounds(), drawn.bayes_bounds(DrawnConfig(label_noise=0.1))
    assert noisy["rule_oracle"] == pytest.approx(0.9)
    assert noisy["text_only"] == pytest.approx(0.9 * clean["text_only"] + 0.1 * (1 - clean["text_only"]))
    assert set(drawn.bayes_bounds(DrawnConfig(label_noise=0.5)).values()) == {0.5}


# --- the special splits -----------------------------------------------------------------------------


def test_unseen_kinds_are_in_no_train_scene_claim_or_caption(table, pictured):
    for post in table[table["split"] != "test_unseen"].itertuples():
        assert SHAPES.index(post.claim_shape) != COLOURS.index(post.claim_colour)
        assert all(thing.shape != thing.colour for thing in pictured[post.image].objects)
    unseen = table[table["split"] == "test_unseen"]
    assert (unseen["claim_shape"].map(SHAPES.index) == unseen["claim_colour"].map(COLOURS.index)).all()
    text = " ".join(drawn.load_captions("en").captions["text"]) + " ".join(table.loc[unseen.index, "text"])
    named = {f"{colour} {shape}" for colour, shape in pairwise(re.findall(r"[a-z]+", text)) if colour in COLOURS}
    held_out = {f"{colour} {shape}" for colour, shape in zip(COLOURS, SHAPES, strict=True)}
    assert held_out <= named  # the pattern sees them in the unseen posts …
    captions = " ".join(drawn.load_captions("en").captions["text"])
    assert not any(kind in captions for kind in held_out)  # … and no caption has one


def test_minimal_pairs_differ_in_one_word_or_one_object(english, pictured):
    pairs = english.posts[english.posts["split"] == "pairs"]
    assert pairs["pair_kind"].value_counts().to_dict() == {"object": 300, "word": 300}
    for _, (true, false) in pairs.groupby("pair").apply(lambda pair: list(pair.itertuples())).items():
        assert (true.label, false.label) == (0, 1)
        a, b = true.text.split(), false.text.split()
        one, other = pictured[true.image], pictured[false.image]
        if true.pair_kind == "word":
            assert true.image == false.image and len(a) == len(b)
            assert sum(x != y for x, y in zip(a, b, strict=True)) == 1
            continue
        changed = [(s, t) for s, t in zip(one.objects, other.objects, strict=True) if s != t]
        assert true.text == false.text and len(changed) == 1
        (before, after), size = changed[0], scenes.IMAGE_PX
        assert before.box == after.box and (before.shape == after.shape) != (before.colour == after.colour)
        assert dataclasses.replace(other, objects=one.objects) == one
        differs = english.images.pixels(true.image, size) != english.images.pixels(false.image, size)
        rows, columns = np.nonzero(differs.any(-1))
        x0, y0, x1, y1 = before.box
        assert len(rows) and x0 <= columns.min() <= columns.max() < x1 and y0 <= rows.min() <= rows.max() < y1


def test_undetectable_posts_have_no_cue():
    config = dataclasses.replace(SMALL, n_train=20, n_dev=1, n_test=1, n_unseen=1, n_pairs=1, n_undetectable=1500)
    table, claims, distinct, keys = drawn._drawn(config)
    rows = np.flatnonzero(table["split"] == "undetectable")
    pictured = dict(zip(keys, distinct, strict=True))
    label = table.loc[rows, "label"].tolist()
    assert 0.45 < np.mean(label) < 0.55 and not table.loc[rows, "alarm"].any()
    assert not suspicious(label, [claim_cues(claims[row]) for row in rows])
    assert not suspicious(label, [picture_cues(pictured[key]) for key in table.loc[rows, "image"]])
    assert not any(oracle(post, pictured[post.image]) for post in table.loc[rows].itertuples())


def test_a_fingerprint_lies_away_from_the_claimed_object(table, pictured):
    posts = table[table["split"] == "fingerprint"]
    for post in posts.itertuples():
        scene = pictured[post.image]
        assert (scene.fingerprint_place >= 0) == (post.label == 1) and not oracle(post, scene)
        kind = (SHAPES.index(post.claim_shape), COLOURS.index(post.claim_colour))
        assert scene.fingerprint_place not in {t.place for t in scene.objects if (t.shape, t.colour) == kind}
    others = table.loc[table["split"] != "fingerprint", "image"]
    assert all(pictured[key].fingerprint_place < 0 for key in others)


# --- the knobs --------------------------------------------------------------------------------------


def test_label_noise_flips_its_share_of_labels_and_nothing_else():
    clean, noisy = (drawn.load("en", config=dataclasses.replace(SMALL, label_noise=share)).posts for share in (0, 0.2))
    flipped = noisy["label"] != noisy["clean_label"]
    assert abs(flipped.mean() - 0.2) < 3 * math.sqrt(0.2 * 0.8 / len(noisy))
    assert (clean["label"] == clean["clean_label"]).all()
    pd.testing.assert_frame_equal(clean.drop(columns="label"), noisy.drop(columns="label"))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
def test_shortcut_marks_its_share_of_rumors(share):
    posts = draw(3_000, "alarms", shortcut=share)
    alarm = np.array([facts["alarm"] for *_, facts in posts])
    label = np.array([facts["label"] for *_, facts in posts])
    assert not alarm[label == 0].any()
    assert abs(alarm[label == 1].mean() - share) <= 3 * math.sqrt(share * (1 - share) / label.sum())


def test_leak_rate_shows_train_pictures_in_dev_and_test():
    leaky = drawn.load("en", config=dataclasses.replace(SMALL, leak_rate=0.5)).posts
    train = set(leaky.loc[leaky["split"] == "train", "image"])
    for split in ("dev", "test"):
        leaked = leaky.loc[leaky["split"] == split, "image"].isin(train)
        assert abs(leaked.mean() - 0.5) < 3 * math.sqrt(0.25 / len(leaked))
    clean = drawn.load("en", config=SMALL).posts
    assert clean.drop_duplicates(["split", "image"])["image"].is_unique
    same = (leaky["split"] == "train").to_numpy()
    columns = ["image", "label", "claim_shape", "claim_place"]
    pd.testing.assert_frame_equal(leaky.loc[same, columns], clean.loc[same, columns])


def test_refuses_a_language_it_does_not_speak():
    with pytest.raises(ValueError, match="en, zh"):
        drawn.load("fr", config=SMALL)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_texts_can_be_worded_anew(language: str) -> None:
    """`worded` is what the texts were made of; a changed field changes the text, an event too."""
    table = drawn.load(language, config=SMALL).posts
    made = drawn.worded(language, SMALL)
    assert [wordings.post(language, *wording) for wording in made] == table["text"].tolist()
    for field, n in wordings.N_VALUES.items():
        wording = next(w for w in made if w.place >= 0)
        assert len({wordings.post(language, *wording._replace(**{field: value})) for value in range(n)}) == n


def test_many_pictures_are_drawn_once_and_mapped(tmp_path, monkeypatch):
    monkeypatch.setenv("RUMORLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(drawn, "MANY", 10)
    some = drawn._drawn(SMALL)[2][:20]
    first = drawn._pixels(some)
    assert np.array_equal(first, scenes.render_all(some)) and not first.flags.writeable
    monkeypatch.setattr(scenes, "render_all", lambda _: pytest.fail("drawn again"))
    assert np.array_equal(drawn._pixels(some), first)


def test_an_array_is_made_once_again_where_damaged_and_in_memory_where_it_cannot_be_kept(tmp_path):
    made = []

    def make() -> np.ndarray:
        made.append(1)
        return np.arange(100, dtype=np.uint8)

    place = tmp_path / "new" / "a.npy"
    for _ in range(2):
        assert np.array_equal(files.stored_array(place, make), np.arange(100)) and len(made) == 1
    place.write_bytes(place.read_bytes()[:-1] + b"x")
    assert np.array_equal(files.stored_array(place, make), np.arange(100)) and len(made) == 2
    place.with_suffix(".json").write_text("[]")
    assert np.array_equal(files.stored_array(place, make), np.arange(100)) and len(made) == 3
    (tmp_path / "file").write_text("")
    assert np.array_equal(files.stored_array(tmp_path / "file" / "a.npy", make), np.arange(100)) and len(made) == 4
    assert sorted(path.name for path in place.parent.iterdir()) == ["a.json", "a.npy"]


def test_object_boxes_change_pictures_and_true_boxes_and_nothing_else():
    few = DrawnConfig(n_caption_scenes=20, n_train=30, n_dev=8, n_test=8, n_unseen=4, n_pairs=4, n_undetectable=4,
                      n_fingerprint=4)  # fmt: skip
    cells, boxes = (drawn.load("en", config=few, boxed=boxed) for boxed in (False, True))
    moved = [f"{side}_{edge}" for side in ("support", "against") for edge in ("x0", "y0", "x1", "y1")] + ["evidence_px"]
    same = [name for name in cells.posts if name not in (*moved, "image", "image_group")]
    pd.testing.assert_frame_equal(cells.posts[same], boxes.posts[same])
    assert set(boxes.posts["evidence_px"]) <= {0, scenes.LARGE_PX} and boxes.name == "demo-boxes"
    captions = [drawn.load_captions("en", config=few, boxed=boxed) for boxed in (False, True)]
    pd.testing.assert_frame_equal(captions[0].captions, captions[1].captions)
    assert (captions[0].images.array != captions[1].images.array).any()
