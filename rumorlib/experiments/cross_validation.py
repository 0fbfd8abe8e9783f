"""Settings of training, to be chosen by five-fold cross-validation over published train and dev posts (protocol folds).

The fold that is held out is the one whose loss ends training, as dev's does: all settings have that advantage, rows
without early stopping have not. Published test posts are on no side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rumorlib.config import BASELINE_C, RunConfig, Settings, VisionConfig
from rumorlib.experiments import papers
from rumorlib.experiments.papers import baseline, dmfl, micc

N_FOLDS = 5
CORPORA = ("mfan-pheme", "mfan-weibo")
Setting = tuple[Mapping[str, Any], Mapping[str, Any]]  # what it changes: fields of the detector, fields of TrainConfig
LARGE_BATCH = {"steps_per_pass": None, "epochs": 150}  # as many steps take more passes
# "default" is what the profile has; the others change it by as little as their name says.
OF_MICC: dict[str, Setting] = {
    "default": ({}, {}),
    "product": ({"classifier_input": "product"}, {}),
    "relevance": ({"classifier_input": "relevance"}, {}),
    "towers": ({"classifier_input": "towers"}, {}),
    "frozen": ({"freeze": "sclip"}, {}),
    "batch-128": ({}, LARGE_BATCH),
    "weight-decay-.3": ({}, {"weight_decay": 0.3}),
    # tried before the heads were trained on
    "temperature": ({"relevance_scale": "temperature", "freeze": "sclip"}, {}),
    "rate-3e-4": ({"freeze": "sclip"}, {"lr": 3e-4}),
    "dropout-.5": ({"dropout": 0.5, "freeze": "sclip"}, {}),
}
# Eqs 7-10 literally, at laptop: a small ViT from scratch in the place of the frozen encoder
OWN_VIT: dict[str, Any] = {
    "image": VisionConfig(image_size_px=224, receptive_fields=(32,), width=96, depth=2, n_heads=4),
    "image_components": None, "image_layers": 0, "image_cls": False,
}  # fmt: skip
OF_DMFL: dict[str, Setting] = {
    "default": ({}, {}),
    "lr-0.0001": ({}, {"lr": 1e-4}),
    "lr-0.001": ({}, {"lr": 1e-3}),
    "weight-decay-0.3": ({}, {"weight_decay": 0.3}),
    "batch-128": ({}, LARGE_BATCH),
    "no-warm-up": ({}, {"warmup_steps": 0}),
    "dropout-.3": ({"dropout": 0.3}, {}),
    "no-alignment": ({"lambda_a": 0.0}, {}),
    "side-alignment": ({"alignment": "side"}, {}),
    "normed": ({"attention_norm": True}, {}),
    "own-vit": (OWN_VIT, {}),
    # MiniLM's two top layers train on, in the place of two from scratch above all six
    "top-two": ({"logic_frozen": 4, "logic_width": 384, "logic_heads": 12}, {"tower_lr_scale": 0.1}),
}
BOTH_CORPORA = ("default", *papers.MICC_INPUTS, "towers", "frozen")  # the others: the first alone
FEWER = (300, 600)  # train posts, where a fold has 1,306 (PHEME) and 938 (Weibo): would more help?
OF_POSTS = (("baseline", "tfidf_lr"), ("dmfl", "default"), ("micc", "product"))
ROWS = ("tfidf_lr", "text_lr", "image_lr", "text_image_lr")  # beside them


def runs(settings: Settings, dataset: str, model: str, name: str) -> list[RunConfig]:
    """The folds of one setting of micc or dmfl, or of a row of ROWS (model "baseline")."""
    if model == "baseline":  # rows on frozen features at one strength: nothing else is chosen on the fold held out
        found = [baseline(settings, dataset, name, f"folds:{fold}") for fold in range(N_FOLDS)]
        fixed = {} if name == "tfidf_lr" else {"inverse_regularisation": BASELINE_C[name]}
        return [replace(run, detector=replace(run.detector, **fixed)) for run in found]
    make, known = {"micc": (micc, OF_MICC), "dmfl": (dmfl, OF_DMFL)}[model]
    detector, train = known[name]
    one = make(settings, dataset, 0, f"cv-{name}", **detector)
    one = replace(one, train=replace(one.train, **train))
    return [replace(one, protocol=f"folds:{fold}") for fold in range(N_FOLDS)]


def every(settings: Settings) -> list[RunConfig]:
    """All runs of the study on those of its corpora that are asked for."""
    named = [("baseline", row) for row in ROWS]
    named += [(model, name) for model, known in (("micc", OF_MICC), ("dmfl", OF_DMFL)) for name in known]
    return [run for dataset in CORPORA if dataset in settings.datasets for model, name in named
            if dataset == CORPORA[0] or name in (*BOTH_CORPORA, *ROWS) for run in runs(settings, dataset, model, name)
            ]  # fmt: skip


def on_fewer_posts(settings: Settings) -> list[RunConfig]:
    """The parts of the recommended detector on fewer and on all train posts of every fold (o_fig3)."""
    return [replace(run, n_train=n_train) for dataset in CORPORA if dataset in settings.datasets for of in OF_POSTS
            for n_train in (*FEWER, None) for run in runs(settings, dataset, *of)]  # fmt: skip
