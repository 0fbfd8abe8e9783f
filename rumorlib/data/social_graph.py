"""Posts, comments and users as one graph, for models that read the conversation (MFAN)."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import pandas as pd


class SocialGraph(NamedTuple):
    """Nodes in this order: the n posts of the table, every comment, every user."""

    texts: list[str]  # of posts and comments
    n_posts: int
    n_nodes: int
    edges: np.ndarray  # (E, 2) node numbers, lower one first, each pair once


def build(posts: pd.DataFrame) -> SocialGraph:
    """The graph of a posts table with `replies` (JSON list of id, parent, author, text) and maybe `author`.

    Edges: a text and who wrote it; a comment and what it answers (its thread's post where that is not known).

    Raises: ValueError: the table has no replies.
    """
    if "replies" not in posts or not posts["replies"].map(bool).any():
        raise ValueError("this corpus has no replies: give MFAN graph=False, its variant no-graph")
    texts, pairs, writers = posts["text"].tolist(), [], []
    authors = posts.get("author", pd.Series("", index=posts.index)).fillna("").astype(str)
    writers += list(enumerate(authors))
    for post, told in enumerate(posts["replies"]):
        replies = json.loads(told) if told else []
        node = {str(posts["post_id"].iloc[post]): post}
        for number, reply in enumerate(replies, start=len(texts)):
            node[str(reply["id"])] = number
            texts.append(reply.get("text") or "")
            writers.append((number, str(reply.get("author") or "")))
        pairs += [(node.get(str(reply.get("parent") or ""), post), node[str(reply["id"])]) for reply in replies]
    users = {name: i for i, name in enumerate(dict.fromkeys(name for _, name in writers if name), start=len(texts))}
    pairs += [(number, users[name]) for number, name in writers if name]
    edges = np.unique(np.sort(np.array(pairs, dtype=np.int64).reshape(-1, 2), axis=1), axis=0)
    return SocialGraph(texts, len(posts), len(texts) + len(users), edges[edges[:, 0] != edges[:, 1]])


def node_features(graph: SocialGraph, text_features: np.ndarray) -> np.ndarray:
    """(n_nodes, d) features: of posts and comments as given, (len(texts), d); of a user the mean of his texts'."""
    features = np.zeros((graph.n_nodes, text_features.shape[1]), dtype=np.float32)
    features[: len(graph.texts)] = text_features
    written = graph.edges[graph.edges[:, 1] >= len(graph.texts)]
    np.add.at(features, written[:, 1], text_features[written[:, 0]])
    count = np.bincount(written[:, 1], minlength=graph.n_nodes)[len(graph.texts) :, None]
    features[len(graph.texts) :] /= np.maximum(count, 1)
    return features
