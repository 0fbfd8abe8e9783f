"""Baselines a user would try first: scikit-learn on text, surface counts, frozen features or relevance.

Plain functions: `choose` takes a row's C on dev where `config.BASELINE_C` names several, `fit` fits, `fit_predict`
predicts too. Every row is deterministic, and neither reads a test label.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import logit
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import StandardScaler

from rumorlib.config import BaselineConfig
from rumorlib.data.keys import LINK, MENTION

ROWS_PER_BLOCK = 256  # feature maps averaged at once
SURFACE = {  # counted in the text without its links; full-width # @ ! ? (written as escapes) count too
    "n_hashtags": re.compile("[#\uff03][^#\uff03\\s]+[#\uff03]|[#\uff03]\\w+"),  # Weibo's #...# is one
    "n_mentions": MENTION,
    "n_exclamations": re.compile("[!\uff01]"),
    "n_questions": re.compile("[?\uff1f]"),
    "n_retweets": re.compile("(?<![A-Za-z0-9])RT(?![A-Za-z0-9])|//@|转发微博"),
    "n_digits": re.compile(r"\d"),
}


@dataclass(frozen=True)
class Features:
    """What the baselines may see of one split; a row needs only its own fields.

    label (n,) 1 = rumor (unused at test time); texts; text_features (n, d) and image_features (n, d') frozen, pooled;
    relevance per scale (n, N_s); weight (n,) of each training post, None = 1.
    """

    label: ArrayLike
    texts: Sequence[str] | None = None
    text_features: ArrayLike | None = None
    image_features: ArrayLike | None = None
    relevance: Sequence[ArrayLike] | None = None
    weight: ArrayLike | None = None


def choose(
    config: BaselineConfig, train: Features, dev: Features, language: str = "en"
) -> tuple[BaselineConfig, pd.DataFrame]:
    """The C of a row where its config names several: the lowest dev loss decides, as it decides the epoch of every
    detector (choice C38).

    Args: as `fit_predict`; dev: with labels, and weights if posts count differently.
    Returns: the config with that one C, the smallest where several tie; and what each value gave, columns
        inverse_regularisation, dev_loss (nats), dev_accuracy (an empty frame where C was fixed).
    """
    if len(config.strengths) == 1:
        return config, pd.DataFrame()
    rows, read = [], _read(config.kind, train, language)
    shown, label = read.transform.transform(_inputs(config.kind, dev)), np.asarray(dev.label)
    for strength in config.strengths:
        one = replace(config, inverse_regularisation=strength)
        log_odds = fit(one, train, language, read).model.decision_function(shown)
        loss = np.average(np.logaddexp(0, np.where(label == 1, -log_odds, log_odds)), weights=dev.weight)
        loss = round(float(loss), 6)  # where texts say nothing, only the solver's last digits differ
        rows.append((strength, loss, accuracy_score(label, log_odds >= 0, sample_weight=dev.weight)))
    tried = pd.DataFrame(rows, columns=["inverse_regularisation", "dev_loss", "dev_accuracy"])
    best = float(tried.loc[tried["dev_loss"].idxmin(), "inverse_regularisation"])
    return replace(config, inverse_regularisation=best), tried


@dataclass(frozen=True, eq=False)
class Row:
    """A fitted row: transform and model are scikit-learn's, or stand in for them; majority has a share alone."""

    kind: str
    transform: Any = None
    model: Any = None
    share: float = 0.5  # of rumors in train

    def log_odds(self, split: Features) -> np.ndarray:
        """(n,) finite log-odds of rumor. Raises: ValueError: a field the kind needs is missing."""
        if self.kind == "majority":
            return np.full(len(np.asarray(split.label)), _log_odds(self.share))
        rows = self.transform.transform(_inputs(self.kind, split))
        if self.kind.endswith("_forest"):
            return _log_odds(self.model.predict_proba(rows)[:, 1])
        return self.model.decision_function(rows)


def fit_predict(
    config: BaselineConfig, train: Features, test_sets: Mapping[str, Features], language: str = "en"
) -> dict[str, np.ndarray]:
    """`fit` a row and give the log-odds of rumor on other splits.

    Args: test_sets: name -> features of a split, e.g. {"dev": ..., "test": ...}.
    Returns: name -> (n,) finite log-odds.
    Raises: as `fit`.
    """
    row = fit(config, train, language)
    return {name: row.log_odds(split) for name, split in test_sets.items()}


class _Read(NamedTuple):
    """Train as a row reads it: the same for every C."""

    transform: Any
    inputs: Any
    label: np.ndarray
    weight: np.ndarray


def _read(kind: str, train: Features, language: str) -> _Read:
    label = np.asarray(train.label).astype(int)
    weight = np.ones(len(label)) if train.weight is None else np.asarray(train.weight, dtype=float)
    weight = weight / weight.mean()  # C means the same whatever the weights' unit
    if kind == "majority":
        return _Read(None, None, label, weight)
    if len(np.unique(label)) < 2:
        raise ValueError(f"{kind} needs both classes in train")
    raw = _inputs(kind, train)
    if len(raw) != len(label):
        raise ValueError(f"{kind}: {len(raw)} rows of input but {len(label)} labels")
    if kind in ("tfidf_lr", "text_forest"):
        transform = tfidf(language)
        return _Read(transform, transform.fit_transform(raw), label, weight)
    transform = StandardScaler()
    return _Read(transform, transform.fit_transform(raw, sample_weight=weight), label, weight)


def fit(config: BaselineConfig, train: Features, language: str = "en", read: _Read | None = None) -> Row:
    """Fit one baseline on train.

    majority: share of rumors in train · tfidf_lr: TF-IDF of words 1-2 (English) or characters 1-3 (Chinese) ·
    surface_lr: `surface_counts` · text_lr, image_lr, text_image_lr: frozen features · relevance_lr: maximum and mean
    relevance per scale. All of these but majority are logistic regressions; dense inputs are standardised on train.
    text_forest, image_forest: extremely randomised trees on the inputs of tfidf_lr and image_lr, which know train by
    heart, to show that one modality of the drawn scenes cannot do better than its Bayes bound on new posts. Where all
    trees agree, their share of exactly 0 or 1 is taken for one eps = 2.2e-16 away, as scikit-learn's log loss takes it:
    log-odds of -36 or 36.

    Args:
        config: kind and one C (`choose`).
        train: features with labels, and weights if posts count differently.
        language: "en" or "zh", for tfidf_lr.
    Raises: ValueError: unknown kind, one class in train, several values of C, or a field the kind needs is missing or
        of another length.
    """
    if len(config.strengths) > 1:
        raise ValueError(f"{config.kind} has {len(config.strengths)} values of C; `choose` takes one on dev")
    transform, inputs, label, weight = read or _read(config.kind, train, language)
    if config.kind == "majority":
        return Row("majority", share=float((weight * label).sum() / weight.sum()))
    if config.kind.endswith("_forest"):
        model = ExtraTreesClassifier(n_estimators=60, random_state=0)
    else:
        model = LogisticRegression(C=config.strengths[0], max_iter=2000)
    return Row(config.kind, transform, model.fit(inputs, label, sample_weight=weight))


def _log_odds(prob: ArrayLike) -> np.ndarray:
    eps = np.finfo(float).eps
    return logit(np.clip(prob, eps, 1 - eps))


def surface_counts(texts: Sequence[str]) -> pd.DataFrame:
    """Counts that say nothing about the content, for any language.

    Args:
        texts: posts.
    Returns: one row per text: n_chars, n_links, n_hashtags (#word, #...#), n_mentions, n_exclamations, n_questions,
        n_retweets (RT, //@), n_digits, uppercase_share (of cased letters, in [0, 1]; 0 without any). Links count as
        links and characters only.
    """
    rows = []
    for text in texts:
        bare = LINK.sub(" ", text)
        cased = sum(letter.isupper() or letter.islower() for letter in bare)
        row = {"n_chars": len(text), "n_links": len(LINK.findall(text))}
        row |= {name: len(pattern.findall(bare)) for name, pattern in SURFACE.items()}
        rows.append(row | {"uppercase_share": sum(map(str.isupper, bare)) / cased if cased else 0.0})
    return pd.DataFrame(rows, columns=["n_chars", "n_links", *SURFACE, "uppercase_share"])


def relevance_summary(relevance: Sequence[ArrayLike]) -> np.ndarray:
    """(n, 2S) maximum and mean relevance of each scale (relevance alone).

    Args:
        relevance: per scale (n, N_s), finite.
    """
    columns = [np.asarray(scale, dtype=float) for scale in relevance]
    return np.column_stack([summary for scale in columns for summary in (scale.max(1), scale.mean(1))])


def pooled(maps: Any, rows: ArrayLike | None = None) -> np.ndarray:
    """Global average of feature maps, in float32.

    Args:
        maps: (n, C, h, w) array or tensor, e.g. of `frozen.image_maps`.
        rows: (m,) rows of `maps`, one per post; None: all.
    Returns: (m, C), for `Features.image_features`.
    """
    blocks = range(0, len(maps), ROWS_PER_BLOCK)
    means = [np.asarray(maps[start : start + ROWS_PER_BLOCK], dtype=np.float32).mean((2, 3)) for start in blocks]
    means = np.concatenate(means)
    return means if rows is None else means[np.asarray(rows)]


# --- inputs of each row ---------------------------------------------------------------------


def tfidf(language: str) -> TfidfVectorizer:
    """Words 1-2 of English, characters 1-3 of Chinese (no word boundaries to rely on); twice in train at least."""
    if language not in ("en", "zh"):
        raise ValueError(f"language must be en or zh, got {language!r}")
    analyzer, longest = ("word", 2) if language == "en" else ("char", 3)
    return TfidfVectorizer(analyzer=analyzer, ngram_range=(1, longest), min_df=2, sublinear_tf=True, dtype=np.float64)


def _inputs(kind: str, split: Features) -> Any:
    """Texts for tfidf_lr, else a (n, d) array."""
    if kind in ("tfidf_lr", "text_forest"):
        return list(_field(split, "texts"))
    if kind == "surface_lr":
        return surface_counts(_field(split, "texts")).to_numpy(float)
    if kind == "relevance_lr":
        return relevance_summary(_field(split, "relevance"))
    names = {
        "text_lr": ("text_features",),
        "image_lr": ("image_features",),
        "image_forest": ("image_features",),
        "text_image_lr": ("text_features", "image_features"),
    }
    if kind not in names:
        raise ValueError(f"unknown baseline {kind!r}")
    return np.hstack([np.asarray(_field(split, name), dtype=np.float64) for name in names[kind]])


def _field(split: Features, name: str) -> Any:
    value = getattr(split, name)
    if value is None:
        raise ValueError(f"this baseline needs Features.{name}")
    return value
