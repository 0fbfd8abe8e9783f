"""How configs of earlier versions are read: a rule for every field that configs were given or lost.

A stored config says everything that decides its run, so a rule says what the runs from before were made with. The verb
`migrate` carries results folders over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rumorlib import config as cfg

Stored = dict[str, Any]  # a run's config as config.json holds it


def kind_of_run(run: Stored) -> Stored:
    """`kind` says which function makes a run; before, the caller passed that function, and the variant's name told."""
    if "kind" in run:
        return run
    detector, variant, kind = dict(run["detector"] or {}), run["variant"], "train"
    if run.get("parent"):
        kind = "exchange" if variant.endswith("exchanged") else "distil" if detector.get("distil") else "compress"
    if run["model"] == "bench":
        leak, equals, dose = variant.partition("=")
        if variant == "exchanged":
            kind = "exchange"
        elif variant.startswith(("LR-", "MLP-")):
            kind = "select"
        elif equals and leak != "leak":
            kind = "dose"
            detector |= {"leak": "" if leak == "dose" else leak.replace("-", " "), "dose": float(dose)}
        else:
            kind = "anatomy"
            random = leak == "leak" or run.get("protocol") == "random"
            detector["readings"] = ["test_epoch"] if variant == "told" else ["test"] + ["test_epoch"] * random
            detector["dose"] = float(dose) if equals else 0.0
        if "n_seeds" in detector:
            detector = {"readings": ["test"], "leak": "", "dose": 0.0} | detector
    return run | {"kind": kind, "detector": detector or run["detector"]}


def lengths_in_steps(run: Stored) -> Stored:
    """Training may be measured in optimiser steps; the runs from before count passes over their posts."""
    new = {"steps": None, "min_epochs": 0, "evaluate_every": None, "patience_steps": None, "warmup_steps": None}
    return run | {"train": new | run["train"]}


def lengths_of_batches(run: Stored) -> Stored:
    """A batch may follow the number of posts; those of the runs from before had the size their config names."""
    return run | {"train": {"steps_per_pass": None} | run["train"]}


def prefixes(run: Stored) -> Stored:
    """Texts may be given to a frozen encoder with a prefix; those of the runs from before had none."""
    def with_none(text: Stored) -> Stored:
        return {"prefix": ""} | text

    made = dict(run)
    if run.get("sclip"):
        texts = [[language, with_none(text)] for language, text in run["sclip"].get("texts", ())]
        made["sclip"] = run["sclip"] | ({"texts": texts} if texts else {})
    if (run.get("detector") or {}).get("text"):
        made["detector"] = run["detector"] | {"text": with_none(run["detector"]["text"])}
    return made


def twins(run: Stored) -> Stored:
    """C40 masks captions of the same words in stage 1's loss; the runs from before did not."""
    return run | {"sclip": {"mask_twins": False} | run["sclip"]} if run.get("sclip") else run


def whitening(run: Stored) -> Stored:
    """Stage 1 may whiten the features of a frozen text tower; the runs from before took them as they are."""
    return run | {"sclip": {"whiten_text": False} | run["sclip"]} if run.get("sclip") else run


def precision(run: Stored) -> Stored:
    """`precision` names what products are made in; before, `bf16` said whether a machine fast at it may take bf16."""
    train = dict(run["train"])
    if "bf16" in train:
        train["precision"] = "auto" if train.pop("bf16") else "fp32"
    return run | {"train": train}


def nothing_unneeded(run: Stored) -> Stored:
    """A run names what it reads and no more; before, every baseline had a stage 1, and every DMFL an image encoder.

    Rows of words lose stage 1. Those on frozen text lose it, too, and name that encoder themselves. DMFL's rows of
    words lose the image encoder, and the stage 1 whose image tower they did not read.
    """
    detector = run["detector"] or {}
    if run["model"] == "baseline" and detector["kind"] in ("majority", "tfidf_lr", "surface_lr", "text_forest"):
        return run | {"stage1": None}
    if run["model"] == "baseline" and detector["kind"] == "text_lr" and run["stage1"]:
        tower = dict(run["stage1"]["sclip"]["texts"])[run["language"]]
        if tower["kind"] == "frozen":
            return run | {"stage1": None, "detector": detector | {"text": tower}}
    if run["model"] == "dmfl" and detector["parts"] in ("text_cnn", "text_transformer"):
        kept = run["stage1"] if detector.get("logic_init") == "stage1" else None
        encoder = {"image": None, "image_components": None, "image_cls": False, "image_positions": False}
        return run | {"stage1": kept, "detector": detector | encoder}
    return run


def ours_stands_apart(run: Stored) -> Stored:
    """Our controls, compression and distillation have configs of their own; before, they were fields of MICC's."""
    if run["model"] != "micc" or not run["detector"]:
        return run
    detector = dict(run["detector"])

    def taken(**names: str) -> Stored:
        return {new: detector.pop(old) for new, old in names.items() if old in detector}

    if controls := taken(selection="selection", keep="keep", relevance_mass="relevance_mass"):
        detector["controls"] = controls
    apart = {
        "compress": {"compression": taken(precision="compression", pruned="pruned")},
        "distil": {"distillation": taken(weight="distil", temperature="distil_temperature")},
    }
    found = {place: how for place, how in apart.get(run["kind"], {}).items() if how}
    return run | {"detector": detector} | found


def logic_text(run: Stored) -> Stored:
    """The encoder a logic chain starts from is a text tower's config; no layer of those from before was frozen."""
    detector = run["detector"] or {}
    if run["model"] != "dmfl" or "logic_weights" not in detector:
        return run
    kept = {name: value for name, value in detector.items() if name not in ("logic_weights", "logic_pieces")}
    tower = None
    if detector["logic_weights"]:
        tower = {"kind": "frozen", "weights": detector["logic_weights"], "max_length": detector["logic_pieces"]}
    return run | {"detector": kept | {"logic_text": tower, "logic_frozen": 0}}


def relevance_scale(run: Stored) -> Stored:
    """C42 asks at which scale Eq 24 reads relevance; the runs from before had it between unit vectors."""
    if run["model"] != "micc" or not run["detector"]:
        return run
    return run | {"detector": {"relevance_scale": "cosine"} | run["detector"]}


def attention_norm(run: Stored) -> Stored:
    """Rows may be normed before an attention of DMFL reads them; those of the runs from before were not."""
    if run["model"] != "dmfl" or not run["detector"]:
        return run
    return run | {"detector": {"attention_norm": False} | run["detector"]}


def layers_that_learn(run: Stored) -> Stored:
    """Last layers of pretrained encoders may learn with a detector, and DMFL may read replies; before, neither."""
    new: Stored = {"micc": {"text_layers": 0, "image_layers": 0}, "dmfl": {"image_layers": 0, "reply_hours": None}}
    new = new.get(run["model"])
    return run | {"detector": new | run["detector"]} if new and run["detector"] else run


CLASSES = {"safe": ("SAFE", "words, image rows"), "carmn": ("CARMN", "words, image rows"),
          "mfan": ("MFAN", "words, image vector"), "eann": ("EANN", "words, image vector"),
          "spotfake": ("SpotFake", "frozen vectors"), "muse": ("MUSE", "similarities")}  # fmt: skip


def one_door(run: Stored) -> Stored:
    """Detectors of other authors are named by their class, as everybody's; before, each had a config of its own."""
    detector = run["detector"] or {}
    if run["model"] == "detector":
        return run | {"detector": {"reads": "words, sentences, image rows"} | detector}
    if run["model"] not in CLASSES or not detector or "path" in detector:
        return run
    name, reads = CLASSES[run["model"]]
    read = {field: detector[field] for field in ("word2vec", "image", "image_components") if field in detector}
    options = sorted([option, value] for option, value in detector.items() if option not in read)
    return run | {"detector": read | {"path": f"rumorlib.models.others.{run['model']}:{name}", "options": options,
                                      "reads": reads}}  # fmt: skip


RULES: tuple[Callable[[Stored], Stored], ...] = (
    kind_of_run, lengths_in_steps, lengths_of_batches, twins, precision, nothing_unneeded, ours_stands_apart, prefixes,
    logic_text, relevance_scale, one_door, attention_norm, layers_that_learn, whitening,
)  # fmt: skip


def upgraded(run: Mapping[str, Any]) -> Stored:
    """A stored config as this version writes it: itself, if this version wrote it."""
    made = {name: upgraded(value) if name in ("stage1", "parent") and value else value for name, value in run.items()}
    for rule in RULES:
        made = rule(made)
    return cfg.as_dict(cfg.from_dict(made))


def is_old(stored: Mapping[str, Any]) -> bool:
    """Whether a stored config is of an earlier version. One that no version wrote is not."""
    try:
        return upgraded(stored) != stored
    except (KeyError, TypeError, AttributeError, ValueError):
        return False
