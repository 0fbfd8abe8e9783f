"""DMFL's stated orders: each corpus is held against that of the paper's corpus of its language."""

import numpy as np
import pandas as pd
from compared import Compared, estimate

from rumorlib.studies.scores import orders, sensitivity


def table(corpus, lost):
    """An ablation table: variant -> drop in points."""
    about = {"dataset": corpus, "primary": "accuracy", "reported_as_printed": 2.0, "reported_swapped": 3.0}
    return pd.DataFrame([about | {"variant": name, "model": name, "drop": drop}
                         for name, drop in {"default": np.nan, **lost}.items()])  # fmt: skip


def verdict(frame, claim):
    found = frame[frame["claim"].str.startswith(claim)]
    assert len(found) == 1, claim
    return found["verdict"].iloc[0]


def test_dmfls_orders_are_those_of_the_papers_corpus_of_the_language():
    lost = {"TB": 4.0, "TL": 2.0, "A": 3.8, "ATT": 3.9, "TCNN": 5.0, "TTRAS": 9.0, "I": 9.4}
    half = {"TB": 0.3, "A": 0.3, "ATT": 1.5}

    class Ours(Compared):
        def ahead(self, dataset, one, other):
            apart, width = lost.get(other, 0) - lost.get(one, 0), half.get(one, 0.5)
            return estimate((apart - width) / 100, (apart + width) / 100)

    paired = Ours({}, 0)
    english, chinese = (orders.ablation_claims(table(corpus, lost), paired) for corpus in ("photo-en", "photo-zh"))
    assert verdict(english, "TB loses more than TL") == "reproduced"
    assert verdict(english, "A loses more than ATT") == "inconclusive"
    assert verdict(english, "TTRAS loses more than TCNN") == "reproduced"
    assert verdict(english, "TB and A lose alike") == "reproduced"
    assert verdict(english, "TTRAS and I lose alike") == "reproduced"
    assert verdict(chinese, "TL loses more than TB") == "not reproduced"
    assert verdict(chinese, "A and ATT lose alike") == "inconclusive"
    lost["A"] = 1.0
    assert verdict(orders.ablation_claims(table("demo-en", lost), paired), "TB and A lose alike") == "not reproduced"


def test_the_ups_and_downs_of_the_heads_are_those_of_the_papers_corpus():
    accuracy = {2: 0.80, 4: 0.78, 6: 0.79, 8: 0.84, 10: 0.83}

    compared = Compared({f"n_heads={k}": score for k, score in accuracy.items()}, 0.015)

    def frame(corpus, values):
        rows = [
            {"dataset": corpus, "split": split, "metric": "primary", "n_heads": k, "variant": f"n_heads={k}",
             "best_on_dev": k == 8}
            for k in values for split in ("dev", "test")
        ]  # fmt: skip
        return pd.DataFrame(rows)

    english, chinese, reduced = (
        sensitivity.heads_claims(frame(corpus, values), compared).set_index("claim")["verdict"]
        for corpus, values in (("photo-en", accuracy), ("photo-zh", accuracy), ("photo-en", (2, 8)))
    )
    assert english.to_dict() == {
        "n_heads = 8 is best": "inconclusive", "2 heads are better than 4": "reproduced",
        "2 heads are better than 6": "inconclusive", "8 heads are better than 10": "inconclusive",
    }  # fmt: skip
    assert chinese["4 heads are better than 2"] == "not reproduced"
    assert reduced.tolist() == ["reproduced"] + 3 * ["untestable here"]
