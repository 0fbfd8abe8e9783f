"""How often the verdicts are wrong: predictions of known truth are made again and again, and every verdict is asked.

Two models answer 40 to 400 posts. How sure a model is of the right label is its own level, plus what is easy or hard
about a post, a picture and an event, for everyone and for this model alone; all normal, so that accuracy is known
exactly, and balanced accuracy with it. A training (seed) moves the level by `seed_sd` points of accuracy; a model may
have trainings that never start and stay at chance. Wrong is a decision against the truth; where nothing is to be
decided, any. `--record` writes results/error_rates.csv; with `--only`, those lines of it.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import norm

from rumorlib.metrics import curves, estimates, modalities
from rumorlib.metrics.estimates import Estimate, Measured, Run
from rumorlib.metrics.evaluation import group_codes
from rumorlib.studies.protocol import calibration

RECORD = Path(__file__).resolve().parent.parent / "results" / "error_rates.csv"
COLUMNS = ["version", "verdict", "layout", "n", "seed_sd", "seeds", "truth", "wrong", "right", "coverage", "repeats"]
SHARES = {"posts": (0, 0), "pictures": (0.3, 0), "events": (0, 0), "events, effects": (0.15, 0.15)}  # picture, event
LEVEL = 0.65  # accuracy of a model


@dataclass(frozen=True)
class World:
    """How predictions are made. `seeds`: of each model; `stuck`: share of its trainings that never start."""

    layout: str
    n: int
    seed_sd: float
    seeds: tuple[int, ...]
    stuck: tuple[float, ...] = ()

    @property
    def shared_pictures(self) -> bool:
        return self.layout.startswith("events")


@dataclass(frozen=True)
class Made:
    """Posts (label, picture, event: (n,)) and the log-odds of each model, (S, n)."""

    label: np.ndarray
    picture: np.ndarray
    event: np.ndarray
    log_odds: list[np.ndarray]

    def trainings(self, model: int, weighted: bool = False, scale: float = 1.0) -> list[Run]:
        weight = (1 / np.bincount(self.picture))[self.picture] if weighted else np.ones(len(self.label))
        return [Run([], self.label, expit(scale * z), scale * z, weight) for z in self.log_odds[model]]


def posts(world: World, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label, picture, event of each post: alone; two of a picture, one of each label; or some events of some pictures
    with one label each and, as on Twitter, few pictures with most posts."""
    n = world.n
    if world.layout == "posts":
        return np.arange(n) % 2, np.arange(n), np.arange(n)
    if world.layout == "pictures":
        return np.arange(n) % 2, np.arange(n) // 2, np.arange(n)
    n_pictures, n_events = max(n // 4, 12), max(n // 16, 6)
    share = 1 / np.arange(1, n_pictures + 1)
    picture = np.r_[np.arange(n_pictures), random.choice(n_pictures, n - n_pictures, p=share / share.sum())]
    event_of = np.r_[np.arange(n_events), random.integers(0, n_events, n_pictures - n_events)]
    label_of = np.where(random.random(n_pictures) < 0.7, event_of % 2, random.integers(0, 2, n_pictures))
    return label_of[picture], picture, event_of[picture]


def make(world: World, accuracy: tuple[float, ...], random: np.random.Generator) -> Made:
    """One world's predictions. accuracy: true one of each model, over trainings and posts."""
    label, picture, event = posts(world, random)
    of_picture, of_event = SHARES[world.layout]
    parts = ((of_event, event), (of_picture, picture), (1 - of_picture - of_event, np.arange(world.n)))

    def drawn(which: float, size: int = 1) -> np.ndarray:
        """(size, n) what posts have in common for one model or all, a part `which` of the variance."""
        return sum(np.sqrt(which * share) * random.normal(size=(size, groups.max() + 1))[:, groups]
                   for share, groups in parts)  # fmt: skip

    common, log_odds = drawn(0.4), []
    for model, (level, seeds) in enumerate(zip(accuracy, world.seeds, strict=True)):
        of_seed = np.clip(level + world.seed_sd * random.normal(size=(seeds, 1)), 0.01, 0.99)
        if world.stuck:
            of_seed = np.where(random.random((seeds, 1)) < world.stuck[model], 0.5, of_seed)
        noise = np.sqrt(0.2) * random.normal(size=(seeds, world.n))
        margin = norm.ppf(of_seed) + common + drawn(0.4) + noise
        log_odds.append((2 * label - 1) * margin)
    return Made(label, picture, event, log_odds)


@dataclass(frozen=True)
class Answer:
    """Of one verdict: was it decided wrongly, was it decided rightly, did its interval hold the truth (None: none)."""

    wrong: bool
    right: bool
    covered: bool | None = None


Verdict = Callable[[World, np.random.Generator], Answer]


def sided(found: Estimate, truth: float) -> Answer:
    """Of a difference: decided if its interval leaves 0 out."""
    said = estimates.verdict(found.low, found.high)
    up, down = said == "reproduced", said == "not reproduced"
    covered = None if np.isnan(found.low) else bool(found.low <= truth <= found.high)
    return Answer((up and truth <= 0) or (down and truth >= 0), up and truth > 0, covered)


def measured(world: World, accuracy: tuple[float, ...], random: np.random.Generator) -> Measured:
    """The primary metric, over the clusterings that `comparison` declares."""
    made = make(world, accuracy, random)
    runs = [made.trainings(model, world.shared_pictures) for model in range(len(accuracy))]
    events = [group_codes(made.event)] * world.shared_pictures
    metric = "balanced_accuracy" if world.shared_pictures else "accuracy"
    return estimates.of_runs(runs, metric, [group_codes(made.picture), *events])


# --- what is asked ------------------------------------------------------------------------------


def a_score(world: World, random: np.random.Generator) -> Answer:
    found = measured(world, (LEVEL,), random).contrast([1])
    return Answer(False, False, None if found.lone and world.seed_sd else found.low <= LEVEL <= found.high)


def differs(gain: float) -> Verdict:
    return lambda world, random: sided(measured(world, (LEVEL + gain, LEVEL), random).ahead(0, 1), gain)


def some_never_start(level: float, other: float = 0.0) -> Verdict:
    """Which of two models is ahead, of the same mean over trainings? Some trainings of the first stay at chance, and of
    the second, where `other` is 0, too; else all of them start, and reach `other`."""

    def asked(world: World, random: np.random.Generator) -> Answer:
        found = measured(world, (level, other or level), random)
        truth = world.stuck[0] * 0.5 + (1 - world.stuck[0]) * level
        score = found.of([0]).contrast([1])
        answer = sided(found.ahead(0, 1), 0.0)
        return replace(answer, covered=bool(score.low <= truth <= score.high))

    return asked


def ensembles(world: World, random: np.random.Generator) -> Answer:
    """Do the ensembles of two models differ, whose single trainings are equal?"""
    made = make(world, (LEVEL, LEVEL), random)
    frames = [
        pd.DataFrame({"post_id": np.arange(world.n), "label": made.label, "prob_rumor": run.prob, "log_odds": run.rank,
                      "image_group": made.picture.astype(str), "seed": seed})
        for model in (0, 1) for seed, run in enumerate(made.trainings(model))
    ]  # fmt: skip
    first, second = (pd.concat(part) for part in (frames[: world.seeds[0]], frames[world.seeds[0] :]))
    return sided(estimates.ensembles(first, second, "accuracy", ["image_group"])[0], 0.0)


POINTS = 5


def swept(gain: float) -> Verdict:
    """Is the second of five values best? The others are level with it, or `gain` below."""

    def asked(world: World, random: np.random.Generator) -> Answer:
        levels = [LEVEL] * POINTS
        levels[1] += gain
        curve = measured(replace(world, seeds=world.seeds[:1] * POINTS), tuple(levels), random)
        return decided(curves.best(curve, 1).verdict, gain)

    return asked


def decided(said: str, gain: float) -> Answer:
    wrong = said == "not reproduced" if gain else said != "inconclusive"
    return Answer(wrong, bool(gain) and said == "reproduced")


def shaped(gain: float) -> Verdict:
    """Does a curve of seven points rise, then fall? It is flat, or its middle is `gain` above its ends."""

    def asked(world: World, random: np.random.Generator) -> Answer:
        x = np.linspace(-1, 1, 7)
        world = replace(world, seeds=world.seeds[:1] * len(x))
        return decided(curves.rises_then_falls(measured(world, tuple(LEVEL + gain * (1 - abs(x))), random)), gain)

    return asked


HILL, WEIGHTS = LEVEL + 0.1 * (1 - abs(np.linspace(-1, 1, 8))), np.geomspace(0.3, 3, 8)


def best_is_below(scores: Iterable[float], value: float) -> Verdict:
    """Does the best of eight weights lie below a value? Flat: nothing is to be decided."""
    scores = np.array(scores)
    below = np.ptp(scores) > 0 and WEIGHTS[scores.argmax()] < value

    def asked(world: World, random: np.random.Generator) -> Answer:
        curve = measured(replace(world, seeds=world.seeds[:1] * len(scores)), tuple(scores), random)
        kept = WEIGHTS[curves.may_be_best(curve)]
        return decided(estimates.verdict(kept.min(), kept.max(), value, above=False), float(below))

    return asked


def best_is_higher(scores: Iterable[float], others: Iterable[float], noisier: bool = False) -> Verdict:
    """Does the best of eight weights lie higher on one corpus than on another? `noisier`: on fewer posts there."""
    scores, others = np.array(scores), np.array(others)
    higher = float(WEIGHTS[scores.argmax()] > WEIGHTS[others.argmax()])

    def asked(world: World, random: np.random.Generator) -> Answer:
        world = replace(world, seeds=world.seeds[:1] * len(scores))
        other = replace(world, n=world.n // (1 + 3 * noisier))
        found = [measured(one, tuple(levels), random)
                 for one, levels in ((world, scores), (other, others))]  # fmt: skip
        (low, high), (other_low, other_high) = (
            (kept.min(), kept.max())
            for kept in (WEIGHTS[curves.may_be_best(one, estimates.ALPHA / 2)] for one in found)
        )
        return decided(estimates.verdict(low - other_high, high - other_low), higher)

    return asked


def level_curve(gain: float, margin: float = 0.02) -> Verdict:
    """Is a curve of five points flat within the margin? Its last point is `gain` off."""

    def asked(world: World, random: np.random.Generator) -> Answer:
        levels = [LEVEL] * (POINTS - 1) + [LEVEL + gain]
        said = curves.flat(measured(replace(world, seeds=world.seeds[:1] * POINTS), tuple(levels), random), 1, margin)[
            0
        ]
        wrong = said == ("reproduced" if gain > margin else "not reproduced")
        return Answer(wrong, said == ("not reproduced" if gain > margin else "reproduced"))

    return asked


def alike(gain: float, margin: float = 0.01) -> Verdict:
    """Are two models alike? Wrong: they are further apart than the margin and it says yes; right: equal, and yes."""

    def asked(world: World, random: np.random.Generator) -> Answer:
        found = measured(world, (LEVEL + gain, LEVEL), random).ahead(0, 1)
        said = estimates.equivalence(found.low, found.high, margin) == "reproduced"
        return Answer(gain > margin and said, gain == 0 and said)

    return asked


def at_chance(level: float) -> Verdict:
    """Is a model at chance, give or take five points? Wrong: it is not and it says yes."""

    def asked(world: World, random: np.random.Generator) -> Answer:
        found = measured(world, (level,), random).contrast([1])
        said = estimates.equivalence(found.low, found.high, 0.05, 0.5) == "reproduced"
        return Answer(level != 0.5 and said, level == 0.5 and said)

    return asked


def by_auc(gain: float) -> Verdict:
    """AUC of two models of different scales, of which one is `gain` ahead."""

    def asked(world: World, random: np.random.Generator) -> Answer:
        made = make(world, (LEVEL + gain, LEVEL), random)
        runs = made.trainings(0), made.trainings(1, scale=8)
        answer = sided(estimates.of_runs(runs, "auc", [made.picture]).ahead(0, 1), gain)
        return replace(answer, covered=None)  # the truth is known of accuracy

    return asked


def gap(distance: float) -> Verdict:
    """Distance of two means of d = 32 features in spreads."""

    def asked(world: World, random: np.random.Generator) -> Answer:
        text, image = random.normal(size=(2, world.n, 32))
        image = image + distance * np.sqrt(32) * np.r_[1, np.zeros(31)]
        plain = modalities._centroid(text, image) | {"n": world.n, "matched": np.square(text - image).mean()}
        plain |= {"variance_text": text.var(0).mean(), "variance_image": image.var(0).mean()}
        found = modalities.debiased(pd.DataFrame([plain])).iloc[0]
        return Answer(False, False, bool(found["centroid_low"] <= distance <= found["centroid_high"]))

    return asked


def floor(world: World, random: np.random.Generator) -> Answer:
    """Is a perfectly calibrated model within its floor? Pictures with both labels, as photographs have them."""
    n = world.n // 2
    prob = random.beta(1, 1, n)
    first = random.random(n) < prob
    label = np.stack([first, ~first], 1).ravel().astype(int)
    prob = np.stack([prob, 1 - prob], 1).ravel()
    perfect = calibration.perfect_labels(label, prob, np.repeat(np.arange(n), 2))
    found = calibration.expected_calibration_error(label, prob)
    return Answer(found > calibration.ece_floor(prob, perfect), False)


# --- runs ---------------------------------------------------------------------------------------

WORLDS = (  # layout, posts, seed sds
    ("posts", 40, (0.02,)), ("posts", 400, (0.02,)), ("events", 400, (0.0,)),
    ("pictures", 300, (0.0, 0.02, 0.05)), ("events, effects", 400, (0.0, 0.02, 0.05)),
)  # fmt: skip
PAIRS = ((1, 1), (3, 3), (10, 3))
PAIRED = {"difference": differs}


def plan() -> Iterator[tuple[str, Verdict, World, str]]:
    """Name of a verdict, how it is asked, the world, and what is true."""
    for layout, n, sds in WORLDS:
        for sd in sds:
            for seeds in (3, 10) if sd else (3,):
                yield "score", a_score, World(layout, n, sd, (seeds,)), "0.65"
            for name, asks in PAIRED.items():
                for seeds in PAIRS if sd else PAIRS[1:]:
                    yield name, asks(0.0), World(layout, n, sd, seeds), "equal"
                yield name, asks(0.1), World(layout, n, sd, (3, 3)), "0.1 ahead"
    for layout, n, sds in WORLDS[-2:]:
        for sd in sds:
            yield "sweep: best", swept(0.0), World(layout, n, sd, (3,)), "equal"
            yield "sweep: best", swept(0.1), World(layout, n, sd, (3,)), "0.1 ahead"
            yield "sweep: rises, falls", shaped(0.0), World(layout, n, sd, (3,)), "flat"
            yield "sweep: rises, falls", shaped(0.15), World(layout, n, sd, (3,)), "0.15 high"
        yield "sweep: best", swept(0.0), World(layout, n, 0.02, (1,)), "equal"
        yield "sweep: rises, falls", shaped(0.0), World(layout, n, 0.02, (1,)), "flat"
    for n in (40, 400):
        yield "alike", alike(0.015), World("posts", n, 0.02, (3, 3)), "0.015 apart"
        yield "alike", alike(0.0), World("posts", n, 0.0, (3, 3)), "equal"
        yield "at chance", at_chance(0.56), World("posts", n, 0.0, (3,)), "0.56"
        yield "at chance", at_chance(0.5), World("posts", n, 0.0, (3,)), "0.5"
        yield "modality gap", gap(0.0), World("posts", n, 0.0, (1,)), "0"
        yield "modality gap", gap(0.3), World("posts", n, 0.0, (1,)), "0.3"
        yield "calibration floor", floor, World("pictures", n, 0.0, (1,)), "calibrated"
    for gain, truth in ((0.0, "equal"), (0.1, "0.1 ahead")):
        yield "AUC, two scales", by_auc(gain), World("posts", 300, 0.0, (3, 3)), truth
    flat = np.full(len(WEIGHTS), LEVEL)
    for sd in (0.0, 0.02, 0.05):
        world = World("pictures", 300, sd, (3,))
        yield "sweep: flat", level_curve(0.0), world, "flat"
        yield "sweep: flat", level_curve(0.05), world, "0.05 off"
        yield "sweep: best lies below", best_is_below(flat, WEIGHTS[1]), world, "flat, 1 of 8 below"
        yield "sweep: best lies below", best_is_below(HILL, WEIGHTS[6]), world, "hill, 6 of 8 below"
        yield "two sweeps: best lies higher", best_is_higher(HILL, HILL), world, "equal hills"
        yield "two sweeps: best lies higher", best_is_higher(HILL, HILL, noisier=True), world, "equal, fewer posts"
        apart = LEVEL + 0.2 * (np.arange(8) == 6), LEVEL + 0.2 * (np.arange(8) == 1)
        yield "two sweeps: best lies higher", best_is_higher(*apart), world, "0.2 high, apart"
        for seeds in PAIRS[1:]:
            yield "ensembles", ensembles, World("pictures", 300, sd, seeds), "equal"
    for seeds in PAIRS[1:]:
        for level in (0.65, 0.85):
            stuck = World("pictures", 300, 0.02, seeds, (0.3, 0.3))
            name, mean = f"some never start, {level:g}", 0.3 * 0.5 + 0.7 * level
            yield name, some_never_start(level), stuck, "equal, 3 in 10 of both"
            yield name, some_never_start(level, mean), replace(stuck, stuck=(0.3, 0.0)), "equal, 3 in 10 of one"


def rates(version: str, repeats: int, only: str = "", seed: int = 0) -> pd.DataFrame:
    """A row per line of `plan`, or of those whose verdict matches `only`: rates over the repeats."""
    rows = []
    for number, (name, asked, world, truth) in enumerate(plan()):
        if not re.match(only, name):
            continue
        answers = [asked(world, np.random.default_rng([seed, number, k])) for k in range(repeats)]
        covered = [one.covered for one in answers if one.covered is not None]
        rows.append({
            "version": version, "verdict": name, "layout": world.layout, "n": world.n, "seed_sd": world.seed_sd,
            "seeds": " and ".join(map(str, world.seeds)), "truth": truth,
            "wrong": np.mean([one.wrong for one in answers]), "right": np.mean([one.right for one in answers]),
            "coverage": np.mean(covered) if covered else np.nan, "repeats": repeats,
        })  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--version", default="after")
    parser.add_argument("--only", default="", help="beginning of a verdict's name, as a pattern; the others stay")
    parser.add_argument("--record", action="store_true", help=f"write the rates to {RECORD.name}")
    given = parser.parse_args(argv)
    begun = time.time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = rates(given.version, given.repeats, given.only)
    print(made.round(3).to_string(index=False), f"\n{time.time() - begun:.0f} s")
    if given.record:
        old = pd.read_csv(RECORD) if RECORD.is_file() else made.head(0)
        kept = old[(old["version"] != given.version) | ~old["verdict"].str.match(given.only)]
        pd.concat([kept, made]).round(4).to_csv(RECORD, index=False, lineterminator="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
