"""Rules that never look at what a post claims: what each alone says about test posts (shortcut controls).

A rule learns from train and gives the probability of rumor of every test post, and whether it has anything to say about
it; where it has not, the probability is the share of rumors in train. None of these is ever an input of a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from rumorlib.config import BaselineConfig
from rumorlib.data.splitting.duplicates import Pairs
from rumorlib.models import baselines

TREE_LEAF = 20
# Weak for TF-IDF: how much *can* be learnt by heart. On Weibo's official split this choice and the length of the
# n-grams move its accuracy by ten points, on a random split hardly: read the row with that in mind.
INVERSE_REGULARISATION = {"surface_lr": 1.0, "tfidf_lr": 10.0}


class Answer(NamedTuple):
    """What a rule says about the test posts."""

    prob: np.ndarray  # (n_test,) probability of rumor
    known: np.ndarray  # (n_test,) bool: the rule has something to say


class Fold(NamedTuple):
    """What a rule may learn from, and the posts it is asked about."""

    label: np.ndarray  # (n,) 1 = rumor; read for train only
    train: np.ndarray  # (n_train,) rows
    test: np.ndarray  # (n_test,) rows
    weight: np.ndarray  # (n_train,) of the train posts


def prior(fold: Fold) -> Answer:
    """The majority rule: the share of rumors in train, for every post."""
    share = float(np.average(fold.label[fold.train], weights=fold.weight))
    return Answer(np.full(len(fold.test), share), np.zeros(len(fold.test), bool))


def look_up(fold: Fold, codes: np.ndarray, pairs: Pairs | None = None) -> Answer:
    """The label that train gave to the same group, or to groups alike.

    Args:
        codes: (n,) group of every post (event, author, picture, text), 0, 1, ...; -1: in no group.
        pairs: groups that count as one here; likeness is not passed on in steps.
    Returns: share of rumors among the train posts of the group and of the groups paired with it.
    """
    from scipy.sparse import coo_matrix, identity

    n = int(codes.max(initial=-1)) + 1
    alike = identity(n, format="csr")
    if pairs is not None and len(pairs.left):
        ones = np.ones(len(pairs.left))
        alike = alike + coo_matrix((ones, (pairs.left, pairs.right)), shape=(n, n)).tocsr()
        alike = alike + coo_matrix((ones, (pairs.right, pairs.left)), shape=(n, n)).tocsr()
    named = codes[fold.train] >= 0
    group, weight = codes[fold.train][named], fold.weight[named]
    rumors = alike @ np.bincount(group, weights=weight * fold.label[fold.train][named], minlength=n)
    total = alike @ np.bincount(group, weights=weight, minlength=n)
    own = codes[fold.test]
    known = own >= 0
    known[known] = total[own[known]] > 0
    prob = prior(fold).prob
    prob[known] = np.clip(rumors[own[known]] / total[own[known]], 0, 1)
    return Answer(prob, known)


def threshold(fold: Fold, values: np.ndarray, depth: int = 1) -> Answer:
    """A decision tree on one number, (n,), nan where unknown: with depth 1 the best single threshold."""
    from sklearn.tree import DecisionTreeClassifier

    fitted = np.isfinite(values[fold.train])
    known = np.isfinite(values[fold.test])
    answer = Answer(prior(fold).prob, known)
    rows = fold.train[fitted]
    if len(np.unique(fold.label[rows])) != 2 or not known.any():
        return answer
    tree = DecisionTreeClassifier(max_depth=depth, min_samples_leaf=min(TREE_LEAF, len(rows)), random_state=0)
    tree.fit(values[rows, None], fold.label[rows], sample_weight=fold.weight[fitted])
    answer.prob[known] = tree.predict_proba(values[fold.test][known, None])[:, 1]
    return answer


def of_words(fold: Fold, kind: str, texts: Sequence[str], language: str) -> Answer:
    """A logistic regression of `models.baselines` on the text: kind "surface_lr" or "tfidf_lr"."""
    train, test = ([texts[row] for row in rows] for rows in (fold.train, fold.test))
    features = baselines.Features(fold.label[fold.train], texts=train, weight=fold.weight)
    config = BaselineConfig(kind, INVERSE_REGULARISATION[kind])
    asked = {"test": baselines.Features(np.zeros(len(test)), texts=test)}
    log_odds = baselines.fit_predict(config, features, asked, language)["test"]
    return Answer(expit(log_odds), np.ones(len(test), bool))
