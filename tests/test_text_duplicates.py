"""Near-duplicate texts in groups: those of the pairs linked in steps, and no list of all pairs is needed for them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from rumorlib.data.splitting.text_duplicates import text_groups, text_pairs


def linked(texts):
    """Groups by the definition: `text_pairs` in steps."""
    pairs = text_pairs(texts)
    edges = coo_matrix((np.ones(len(pairs.left)), (pairs.left, pairs.right)), shape=(len(texts), len(texts)))
    return connected_components(edges, directed=False)[1]


def same_partition(one, other):
    return len({*zip(one.tolist(), other.tolist())}) == len(set(one.tolist())) == len(set(other.tolist()))


words = st.lists(st.sampled_from(["storm", "flood", "bridge", "city", "night", "火车站", "附近", "x"]), max_size=9)


@given(st.lists(words.map(" ".join), unique=True, max_size=25))
def test_groups_are_the_pairs_linked_in_steps(texts):
    assert same_partition(text_groups(texts), linked(texts))


def test_chains_templates_and_texts_without_shingles():
    random = np.random.default_rng(0)
    texts = ["", "abc", "x"]
    for family in range(30):
        words = ["".join(random.choice(list("abcdefghij"), 5)) for _ in range(14)]
        for step in range(8):  # each has one word less of the first and one more that is new
            texts.append(" ".join([*words[step:], *(f"{family}new{k}" for k in range(step))]))
    texts += [f"template {i} filled in {i * 7919 % 1009} times, words and more words" for i in range(150)]
    groups = text_groups(texts)
    assert same_partition(groups, linked(texts))
    assert len(set(groups[:3].tolist())) == 3 and len(set(groups[-150:].tolist())) == 1


def test_a_template_filled_in_many_times_lists_no_pairs():
    texts = [f"text number {i} of a long list {i * 7919 % 100003} words" for i in range(12_000)]
    assert len(set(text_groups(texts).tolist())) == 1  # 72 million pairs if they were listed
