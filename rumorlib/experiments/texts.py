"""Runs of the rows that read texts alone (D-E9), and of word vectors trained in other ways."""

from __future__ import annotations

from dataclasses import replace

from rumorlib.config import RunConfig, Settings, record
from rumorlib.config.by_corpus import sizes_of
from rumorlib.config.profiles import is_small_demo
from rumorlib.data.splitting.splits import PHEME_DEV
from rumorlib.experiments.papers import DMFL_VARIANTS, baseline, dmfl, dmfl_ablations

TEXT_MODELS = ("TCNN", "TTRAS")
TEXT_BASELINES = ("majority", "tfidf_lr", "surface_lr", "text_lr")
# Words read (choice C39). MFAN cuts texts at 50: two thirds of Weibo's train posts are longer, none longer than 128.
WHOLE, CUT_AT, CUT = 128, 50, "TCNN-50-words"
WORD2VEC = {  # the paper's skip-gram with hierarchical softmax, and one change at a time
    "skip-gram, hs": {},
    "CBOW, hs": {"skip_gram": False},
    "skip-gram, negative": {"hierarchical_softmax": False},
    "window 2": {"window": 2},
    "window 10": {"window": 10},
}


def text_only_runs(settings: Settings) -> list[RunConfig]:
    """Majority, logistic regressions on TF-IDF, surface counts and frozen text, and the two text-only variants, per
    corpus of texts, split and seed (D-E9); on Chinese also the text CNN on the first words alone, as MFAN reads posts.

    Where no dataset is one of texts, the words of those with pictures, which notebooks 03 to 05 train on anyway; at
    demo of the first.
    """
    few = settings.few
    if not settings.text_only:
        datasets = settings.datasets[:1] if settings.profile == "demo" else settings.datasets
        plans = [baseline(settings, dataset, kind) for dataset in datasets for kind in TEXT_BASELINES]
        return plans + [c for c in dmfl_ablations(few) if c.dataset in datasets and c.variant in TEXT_MODELS]
    plans = []
    for dataset in settings.text_only:
        for protocol in _protocols(dataset):
            plans += [baseline(settings, dataset, kind, protocol) for kind in TEXT_BASELINES]
            plans += [text_only(settings, dataset, name, seed, protocol) for name in TEXT_MODELS for seed in few.seeds]
        if record(dataset).language == "zh":  # PHEME's tweets have at most 31 words
            plans += [text_only(settings, dataset, "TCNN", seed, variant=CUT, max_length=CUT_AT) for seed in few.seeds]
    return plans


def _protocols(dataset: str) -> tuple[str, ...]:
    """As the corpus is usually split; PHEME with each of its five large events held out, and split post by post for
    contrast: what the random split gains is the event known from training."""
    usual = record(dataset).protocol
    return (*(f"event:{event}" for event in PHEME_DEV), "random") if usual[6:] in PHEME_DEV else ("",)


def text_only(
    settings: Settings, dataset: str, name: str, seed: int = 0, protocol: str = "", variant: str = "", **word2vec
) -> RunConfig:
    """One text-only run; `word2vec` are fields of Word2VecConfig, and `variant` then names the folder. Posts with
    pictures are read as everywhere, corpora of texts whole."""
    changes = DMFL_VARIANTS[name]
    config = dmfl(settings, dataset, seed, variant or name, **changes)
    sizes, whole = sizes_of(settings.profile, dataset), not record(dataset).pictures
    detector = replace(sizes.dmfl_text if whole and sizes.dmfl_text else config.detector, **changes)
    length = {"max_length": WHOLE} if whole else {}
    words = replace(detector.word2vec, tokens=config.detector.word2vec.tokens, **(length | word2vec))
    return replace(
        config,
        detector=replace(detector, word2vec=words, lambda_c=config.detector.lambda_c),
        train=sizes.dmfl_text_train if whole and sizes.dmfl_text_train else config.train,
        protocol=protocol or config.protocol,
    )


def word2vec_runs(settings: Settings) -> list[RunConfig]:
    """DMFL-TCNN on word vectors trained in other ways: what the choice of skip-gram is worth (choice C22)."""
    dataset = (*settings.text_only, *settings.datasets)[0]
    plans, ways = [], list(WORD2VEC.items())
    for name, changes in ways[: 2 if is_small_demo(settings) else None]:
        variant = "TCNN-" + name.replace(", ", "-").replace(" ", "-") if changes else "TCNN"
        plans.append(text_only(settings, dataset, "TCNN", settings.seeds[0], variant=variant, **changes))
    return plans
