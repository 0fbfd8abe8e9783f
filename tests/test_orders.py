"""DMFL's stated orders: each corpus is held against that of the paper's corpus of its language."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from rumorlib import config as cfg
from rumorlib.metrics.statistics import Interval
from rumorlib.studies.scores import orders, verdicts


def table(corpus, lost):
    """An ablation table: variant -> drop in points."""
    names = ("drop", "drop_low", "drop_high", "reported_as_printed", "reported_swapped")
    drops = {"default": [np.nan] * 5} | {name: [drop, drop - 1, drop + 1, 2.0, 3.0] for name, drop in lost.items()}
    about = {"dataset": corpus}
    return pd.DataFrame([about | {"variant": name, "model": name} | dict(zip(names, drop, strict=True))
                         for name, drop in drops.items()])  # fmt: skip


def verdict(frame, claim):
    found = frame[frame["claim"].str.startswith(claim)]
    assert len(found) == 1, claim
    return found["verdict"].iloc[0]


def test_dmfls_orders_are_those_of_the_papers_corpus_of_the_language():
    lost = {"TB": 4.0, "TL": 2.0, "A": 3.8, "ATT": 3.9, "TCNN": 5.0, "TTRAS": 9.0, "I": 9.4}
    half = {"TB": 0.3, "A": 0.3, "ATT": 1.5}

    def paired(corpus, one, other):
        apart, width = lost[other] - lost[one], half.get(one, 0.5)
        return Interval(apart / 100, (apart - width) / 100, (apart + width) / 100)

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
    accuracy = {2: 0.80, 4: 0.78, 6: 0.79, 8: 0.82, 10: 0.82}

    def paired(corpus, one, other):
        apart = accuracy[int(one[8:])] - accuracy[int(other[8:])]
        return Interval(apart, apart - 0.015, apart + 0.015)

    def frame(corpus, values):
        rows = [
            {"dataset": corpus, "split": split, "metric": "accuracy", "n_heads": k, "variant": f"n_heads={k}",
             "estimate": accuracy[k], "low": 0.6, "high": 0.9, "best_on_dev": k == 8}
            for k in values for split in ("dev", "test")
        ]  # fmt: skip
        return pd.DataFrame(rows)

    english, chinese, reduced = (
        orders.heads_claims(frame(corpus, values), paired).set_index("claim")["verdict"]
        for corpus, values in (("photo-en", accuracy), ("photo-zh", accuracy), ("photo-en", (2, 8)))
    )
    assert english.to_dict() == {
        "n_heads = 8 is best": "reproduced", "2 heads are better than 4": "reproduced",
        "2 heads are better than 6": "inconclusive", "8 heads are better than 10": "inconclusive",
    }  # fmt: skip
    assert chinese["4 heads are better than 2"] == "not reproduced"
    assert reduced.tolist() == ["reproduced"] + 3 * ["untestable here"]


def runs(variant, *accuracies):
    """One finished DMFL run per test accuracy."""
    found = []
    for seed, accuracy in enumerate(accuracies):
        config = cfg.RunConfig("dmfl", "photo-en", variant, seed, "laptop", detector=cfg.DMFLConfig())
        metrics = {"test": {"accuracy": accuracy}}
        found.append(SimpleNamespace(config=config, name=config.path.as_posix(), facts={}, metrics=metrics))
    return found


def test_a_verdict_on_one_seed_is_none_where_seeds_alone_are_known_to_differ():
    claims = ("reproduced", "photo-en"), ("not reproduced", "photo-en"), ("inconclusive", "photo-en")
    claims += (("reproduced", "photo-zh"),)  # where nothing is known of the seeds
    judged = verdicts.frame_of([{"corpus": corpus, "verdict": verdict, "why": ""} for verdict, corpus in claims])
    full = runs("default", 0.54, 0.62, 0.64)
    held = orders.by_one_seed(judged, runs("A", 0.5), full)
    assert held["verdict"].tolist() == 3 * ["inconclusive"] + ["reproduced"]
    assert held["why"][1] == (
        "one seed each: 3 seeds of the full model alone range from 0.540 to 0.640 on test; without that it would be "
        "not reproduced"
    )
    assert held["why"][2] == held["why"][3] == ""
    assert orders.by_one_seed(judged, runs("A", 0.5, 0.5), full).equals(judged), "several seeds: they speak themselves"
    assert orders.by_one_seed(judged, runs("A", 0.5), full[:1]).equals(judged), "nothing is known of the seeds"
