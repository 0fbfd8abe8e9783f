"""Stand-ins for measured models, of known means and errors."""

from __future__ import annotations

import numpy as np

from rumorlib.metrics.estimates import Estimate, Measured


def estimate(low: float, high: float) -> Estimate:
    """One with this 95 % interval, of posts alone."""
    return Estimate((low + high) / 2, (high - low) / 2 / 1.959964, np.inf)


def curve(means: list[float], error: float, seeds: int = 4) -> Measured:
    """Models whose means have a standard error, of 200 posts each its own, next to none of training."""
    noise = np.random.default_rng(0).normal(size=(200, len(means)))
    noise = error * (noise - noise.mean(0)) / noise.std(0) / np.sqrt(199)
    values = tuple(mean + 1e-6 * np.linspace(-1, 1, seeds) if seeds > 1 else np.array([mean]) for mean in means)
    return Measured(values, (np.array(means) + noise,), (False,) * len(means))


class Compared:
    """In the place of `sweeps.Compared`. Args: means: variant -> mean. half: half-width of every difference."""

    def __init__(self, means: dict[str, float], half: float, seeds: int = 4) -> None:
        self.means, self.half, self.seeds = means, half, seeds

    def metric(self, dataset: str) -> str:
        return "accuracy"

    def ahead(self, dataset: str, one: str, other: str) -> Estimate:
        apart = self.means[one] - self.means[other]
        return estimate(apart - self.half, apart + self.half)

    def curve(self, dataset: str, variants: list[str]) -> Measured:
        return curve([self.means[variant] for variant in variants], self.half / 1.96 / 2**0.5, self.seeds)
