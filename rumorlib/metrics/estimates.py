"""One estimate for all scores and comparisons: the mean of single trainings, with what posts and trainings make of it.

Posts: clusters are left out one by one (jackknife, t with one degree of freedom less than clusters); of several
clusterings the one with the wider interval. Trainings: t over seeds. Together: half-width
sqrt((t_posts se_posts)^2 + (t_training se_training)^2). How often all of this errs: results/error_rates.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from rumorlib.metrics.evaluation import group_codes
from rumorlib.metrics.left_out import Run, averaged, by_seed, left_out, trainings

ALPHA = 0.05
AGREE = 0.2  # Bartlett's p from which seed variances are pooled: .05 would pool three seeds that differ
N_DRAWN = 2000


@dataclass(frozen=True)
class Estimate:
    """A value and its standard errors, same unit; `lone`: a model was trained once, and nothing is known of its noise.

    Unpacks as value, low, high (95 %). A difference that is `lone` has no interval.
    """

    value: float
    posts: float
    posts_df: float
    training: float = 0.0
    training_df: float = np.inf
    lone: bool = False
    constant: bool = False  # every training of every model scored the same: by construction
    bounds: tuple[float, float] = (-np.inf, np.inf)  # of what is estimated: a score cannot leave [0, 1]

    def half(self, alpha: float = ALPHA) -> float:
        """Half-width of the interval that errs in `alpha` of cases."""
        parts = ((self.posts, self.posts_df), (self.training, self.training_df))
        return float(np.sqrt(sum((_t(df, alpha) * se) ** 2 for se, df in parts if se != 0)))

    @property
    def low(self) -> float:
        return float(np.maximum(self.value - self.half(), self.bounds[0]))

    @property
    def high(self) -> float:
        return float(np.minimum(self.value + self.half(), self.bounds[1]))

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided: the alpha at which the interval ends at `null`; 1 where nothing can be told."""
        apart = abs(self.value - null)
        if not np.isfinite(self.half()) or apart == 0 or self.lone:
            return 1.0
        if self.half(1e-12) <= apart:
            return 1e-12
        return float(optimize.brentq(lambda alpha: self.half(alpha) - apart, 1e-12, 1))

    def __iter__(self):
        return iter((self.value, self.low, self.high))

    def __mul__(self, factor: float) -> Estimate:
        return Estimate(self.value * factor, self.posts * abs(factor), self.posts_df, self.training * abs(factor),
                        self.training_df, self.lone, self.constant)  # fmt: skip


# --- claims -------------------------------------------------------------------------------------


def verdict(low: float, high: float, value: float = 0.0, above: bool = True) -> str:
    """Of "it lies above (or below) the value": by the interval's side; inconclusive where the value lies inside. An
    interval that ends at the value lies on neither side of it but denies the claim: nothing of it is above (below)."""
    yes, no = (low > value, high <= value) if above else (high < value, low >= value)
    return "reproduced" if yes else "not reproduced" if no else "inconclusive"


def equivalence(low: float, high: float, margin: float, value: float = 0.0) -> str:
    """Of "it is the value, give or take the margin": reproduced where the whole interval lies inside, not reproduced
    where none of it does. The margin is stated beforehand."""
    inside, outside = low >= value - margin and high <= value + margin, low > value + margin or high < value - margin
    return "reproduced" if inside else "not reproduced" if outside else "inconclusive"


def beside(value: float, low: float, high: float) -> tuple[float, float]:
    """An interval to be held against a rival that was measured on the same posts and has no interval of its own: its
    error is taken to be as large as ours, and independent."""
    return value - 2**0.5 * (value - low), value + 2**0.5 * (high - value)


# --- estimates ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """One metric of several models on the same posts."""

    values: tuple[np.ndarray, ...]  # per model (S,)
    without: tuple[np.ndarray, ...]  # per clustering (G, models): mean over trainings, without each cluster
    fixed: tuple[bool, ...]  # models whose training leaves nothing to chance

    @cached_property
    def means(self) -> np.ndarray:
        return np.array([one.mean() for one in self.values])

    @property
    def lone(self) -> np.ndarray:
        """(models,) whether the noise of its training is unknown."""
        return np.array([len(one) == 1 and not fixed for one, fixed in zip(self.values, self.fixed, strict=True)])

    @cached_property
    def noise(self) -> tuple[np.ndarray, np.ndarray, bool]:
        """(models,) variance over trainings and its degrees of freedom, and whether it was pooled.

        Where all models of several trainings agree (Bartlett), each has at least their mean, at all their degrees.
        """
        own = np.array([one.var(ddof=1) if len(one) > 1 else 0.0 for one in self.values])
        free = np.array([max(len(one) - 1, 0) for one in self.values])
        several = [one for one in self.values if len(one) > 1]
        if len(several) > 2 and min(map(np.ptp, several)) > 0 and stats.bartlett(*several).pvalue > AGREE:
            return np.where(free > 0, np.maximum(own, own @ free / free.sum()), 0), free.sum() * (free > 0), True
        return own, free, False

    def contrast(self, weights: Sequence[float]) -> Estimate:
        """Estimate of the weighted sum of the models' means; its training error is Welch's."""
        weights = np.asarray(weights, dtype=float)
        posts, posts_df = max((_jackknife(z @ weights) for z in self.without), key=lambda e: e[0] * _t(e[1]))
        variance, free, pooled = self.noise
        parts = weights**2 * variance / [len(one) for one in self.values]
        squares = sum(part**2 / df for part, df in zip(parts, free, strict=True) if part > 0)
        df = np.inf if squares == 0 else free.max() if pooled else parts.sum() ** 2 / squares
        used = np.flatnonzero(weights)
        levels = np.concatenate([self.values[k] for k in used])
        return Estimate(float(weights @ self.means), posts, posts_df, float(np.sqrt(parts.sum())), float(df),
                        bool(self.lone[used].any()), bool(np.ptp(levels) == 0))  # fmt: skip

    def ahead(self, one: int, other: int) -> Estimate:
        """How far a model is ahead of another; without interval where one of them was trained once."""
        weights = np.zeros(len(self.values))
        weights[[one, other]] = 1, -1
        found = self.contrast(weights)
        return replace(found, posts=np.nan) if found.lone else found

    def of(self, models: Sequence[int]) -> Measured:
        """Some of the models, in this order: their noise is pooled among themselves."""
        chosen = list(models)
        return Measured(tuple(self.values[k] for k in chosen), tuple(z[:, chosen] for z in self.without),
                        tuple(self.fixed[k] for k in chosen))  # fmt: skip

    def drawn(self, n: int = N_DRAWN, seed: int = 0) -> np.ndarray:
        """(n, models) what the means could have been with other posts and other trainings; nan of a lone model."""
        random = np.random.default_rng(seed)
        sides = [(z - z.mean(0)) * np.sqrt((len(z) - 1) / len(z)) for z in self.without]
        wide = max(sides, key=lambda z: np.square(z).sum())
        scale = np.sqrt(random.chisquare(len(wide) - 1, (n, 1)) / (len(wide) - 1))
        variance, free, _ = self.noise
        se = np.sqrt(variance / [len(one) for one in self.values])
        noise = se * random.standard_t(np.maximum(free, 1), (n, len(se)))
        return np.where(self.lone, np.nan, self.means + random.normal(size=(n, len(wide))) @ wide / scale + noise)


def measure(
    frames: Sequence[pd.DataFrame],
    metric: str,
    clusterings: Sequence[str] = (),
    weight: str | None = None,
    fixed: Sequence[bool] = (),
) -> Measured:
    """A metric of several models on the same posts.

    Args:
        frames: predictions of each model: post_id, label, prob_rumor, log_odds where known, and `seed` where there are
            several trainings.
        metric: one of METRICS, at threshold 0.5.
        clusterings: columns of clusters ("" = its own cluster); (): each post is one.
        weight: column of post weights, e.g. 1 / posts of the image; None: 1.
        fixed: of each model whether its training leaves nothing to chance; (): none.
    Raises: ValueError: unknown metric, or the trainings do not hold the same posts and labels.
    """
    runs, codes = _runs_and_clusters(frames, clusterings, weight)
    return of_runs(runs, metric, codes, fixed)


def _runs_and_clusters(
    frames: Sequence[pd.DataFrame], clusterings: Sequence[str], weight: str | None
) -> tuple[list[list[Run]], list[np.ndarray]]:
    runs = [trainings(frame, weight) for frame in frames]
    for run in (run for model in runs for run in model):
        if run.posts != runs[0][0].posts or not np.array_equal(run.label, runs[0][0].label):
            raise ValueError("the models and seeds were not evaluated on the same posts and labels")
    first = next(iter(by_seed(frames[0])))
    return runs, [group_codes(first[name]) for name in clusterings] or [np.arange(len(first))]


def of_runs(
    runs: Sequence[Sequence[Run]], metric: str, codes: Sequence[np.ndarray], fixed: Sequence[bool] = ()
) -> Measured:
    """`measure` of arrays: the trainings of each model on the same posts, and the cluster (0..G-1) of each post."""
    found = [[np.stack([left_out(metric, run, of) for run in model]) for model in runs] for of in codes]
    without = tuple(np.stack([each[:, 1:].mean(0) for each in one], axis=1) for one in found)
    return Measured(tuple(each[:, 0] for each in found[0]), without, tuple(fixed) or (False,) * len(runs))


def score(
    predictions: pd.DataFrame, metric: str, clusterings: Sequence[str] = (), weight: str | None = None
) -> Estimate:
    """A model's score; of one that was trained once the interval is of its posts alone. Arguments as `measure`."""
    return replace(measure([predictions], metric, clusterings, weight).contrast([1]), bounds=(0.0, 1.0))


def difference(
    a: pd.DataFrame, b: pd.DataFrame, metric: str, clusterings: Sequence[str] = (), weight: str | None = None,
    fixed: tuple[bool, bool] = (False, False), same_runs: bool = False,
) -> Estimate:  # fmt: skip
    """How far `a` is ahead of `b` on the same posts; `same_runs`: both are answers of the same trainings, seed by seed,
    which a single one can then tell. Arguments as `measure`."""
    found = measure([a, b], metric, clusterings, weight, fixed)
    if not same_runs:
        return found.ahead(0, 1)
    one = Measured((found.values[0] - found.values[1],), tuple(z[:, :1] - z[:, 1:] for z in found.without), (True,))
    return one.contrast([1])


def of_parts(values: Sequence[float], half: float, n: float) -> Estimate:
    """Mean of a value of each training, each with a 95 % half-width over n independent posts."""
    found = np.asarray(values, dtype=float)
    noise = found.std(ddof=1) / len(found) ** 0.5 if len(found) > 1 else 0.0
    return Estimate(float(found.mean()), half / _t(n - 1), n - 1, float(noise), max(len(found) - 1, 1), len(found) == 1)


def of_shares(shares: Sequence[float], n: float) -> Estimate:
    """A share of n independent posts, of each training."""
    share = float(np.mean(shares))
    return of_parts(shares, _t(n - 1) * (share * (1 - share) / n) ** 0.5, n)


def ensembles(
    a: pd.DataFrame, b: pd.DataFrame, metric: str, clusterings: Sequence[str] = (), weight: str | None = None,
    fixed: tuple[bool, bool] = (False, False),
) -> tuple[Estimate, int]:  # fmt: skip
    """`difference` of ensembles of the same size: probabilities averaged over as many trainings of each as both have.

    Training noise is the jackknife over the averaged trainings. Returns: the difference, and the size.
    """
    runs, codes = _runs_and_clusters([a, b], clusterings, weight)
    size = min(len(model) for model, alone in zip(runs, fixed, strict=True) if not alone) if not all(fixed) else 1
    parts = []
    for model in (model[:size] for model in runs):
        rest = [[run for run in model if run is not one] for one in model] if len(model) > 1 else []
        found = of_runs([[averaged(some)] for some in (model, *rest)], metric, codes)
        whole, left = found.means[0], found.means[1:]
        values = whole + (len(model) - 1) * (left - left.mean()) if rest else np.array([whole])  # pseudo-values
        parts.append((values, [z[:, 0] for z in found.without]))
    without = tuple(np.stack(both, axis=1) for both in zip(*(z for _, z in parts), strict=True))
    return Measured(tuple(values for values, _ in parts), without, tuple(fixed)).ahead(0, 1), size


def at_top(measured: Measured, place: int) -> float:
    """Share of draws in which the model at `place` is above all others; nan with a lone model."""
    drawn = measured.drawn()
    if np.isnan(drawn).any():
        return float("nan")
    others = np.delete(drawn, place, axis=1)
    return float((drawn[:, [place]] > others).all(1).mean())


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values after Holm's correction (statsmodels); nan stays nan and does not count."""
    from statsmodels.stats.multitest import multipletests

    adjusted = np.array(p_values, dtype=float)
    known = ~np.isnan(adjusted)
    if known.any():
        adjusted[known] = multipletests(adjusted[known], method="holm")[1]
    return adjusted


def _t(df: float, alpha: float = ALPHA) -> float:
    """Student's t that is exceeded, on either side, in `alpha` of cases."""
    return -float(special.stdtrit(min(df, 1e9), alpha / 2))


def _jackknife(values: np.ndarray) -> tuple[float, float]:
    """Standard error of a value from (G,) values without each cluster, and its degrees of freedom; a cluster without
    which the value is not defined says nothing."""
    values = values[~np.isnan(values)]
    n = len(values)
    return (float(np.sqrt((n - 1) * values.var())), n - 1) if n > 1 else (np.nan, 1)
