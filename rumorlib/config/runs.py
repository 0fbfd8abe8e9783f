"""A run and its training, as settings: the same config is the same folder and the same result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from rumorlib.config.checks import (
    Checked,
    Count,
    LearningRate,
    Positive,
    Seed,
    SettingError,
    Share,
    Weight,
    Whole,
    check,
)
from rumorlib.config.detectors import (
    BaselineConfig,
    CompressionConfig,
    DetectorConfig,
    DistillationConfig,
    DMFLConfig,
    HeadsConfig,
    MICCConfig,
)
from rumorlib.config.encoders import SCLIPConfig

LONGEST_NAME = 200  # bytes; file systems take 255, of which some go to names of unfinished folders
Profile = Literal["demo", "laptop", "paper"]
PROFILES: tuple[str, ...] = get_args(Profile)


# What becomes of a post without a picture that can be read (choice C26).
# keep:  the post stays and so does its key; reading the picture fails later. For work on texts.
# drop:  the post goes and is reported; the papers use posts with images only.
# blank: the post stays with image "", which models see as zeros.
# error: an error with file, row and remedy.
OnMissing = Literal["keep", "drop", "blank", "error"]
ON_MISSING: tuple[str, ...] = get_args(OnMissing)


OTHERS = ("safe", "carmn", "mfan", "eann", "spotfake", "muse")  # detectors of other authors: models/others/
DETECTORS: dict[str, type] = {  # model -> what its runs hold as `detector`; "bench" has a HeadsConfig or BaselineConfig
    "micc": MICCConfig, "dmfl": DMFLConfig, "baseline": BaselineConfig,
    **dict.fromkeys(("detector", *OTHERS), DetectorConfig),
}  # fmt: skip


@dataclass(frozen=True)
class TrainConfig(Checked):
    """One training loop serves every model (C6 where the papers are silent).

    Lengths are passes over the posts, or optimiser steps where those are given: a length in passes does not travel
    between corpora of different sizes.
    """

    epochs: Whole = 20  # most passes over the posts; the budget where `steps` is None
    min_epochs: Whole = 0  # fewest passes, however few `steps` are
    steps: Count | None = None  # the budget in optimiser steps
    evaluate_every: Count | None = None  # steps between two looks at dev; None: once a pass
    batch_size: Count = 64  # at most, where steps_per_pass is given
    steps_per_pass: Count | None = None  # asked for; the batch size follows, from loop.SMALLEST_BATCH to batch_size
    lr: LearningRate = 1e-3
    tower_lr_scale: Weight = 1.0  # learning rate of pretrained or pre-trained towers, relative to lr
    weight_decay: Weight = 0.01
    patience: Count | None = 3  # looks at dev without a better loss; None: run to the end, keep the last
    patience_steps: Count | None = None  # the same in steps, and in the place of `patience`
    warmup_share: Share = 0.1  # share of all steps with a rising learning rate, then cosine to 0
    warmup_steps: Whole | None = None  # the same in steps, and in the place of `warmup_share`
    grad_clip: Positive | None = 1.0
    optimizer: Literal["adamw", "adam"] = "adamw"
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    # of products in a training step: fp32; tf32 (10 bits of significand, on GPUs from 2020 on; fp32 elsewhere); bf16
    # autocast, whatever it costs; auto: bf16 where the machine is fast at it, else fp32. Dev losses and predictions are
    # fp32's always
    captions_per_image: Count = 1  # stage 1: captions of one image used in one step
    record_epochs: tuple[
        Count, ...
    ] = ()  # DMFL: epochs after which Eq 12's map of a fixed batch is stored (Figs 10, 11)


# What is done to make a run. train: the model is trained and scored. The others start from a finished run (`parent`) or
# from fixed features of a corpus: distil: a smaller MICC learns a finished one's answers. compress: its numbers are
# shortened or pruned. exchange, damage: a finished model reads test posts whose pictures or words are taken away, or
# damaged. heads: it reads them without some of its attention heads. anatomy, dose: small classifiers on one split, as
# published evaluations cut it or with a share of test in train. select: a configuration on all cross-fit folds. draws:
# a linear row on the published split, on draws of the same sizes, and with events held out.
Kind = Literal["train", "distil", "compress", "exchange", "damage", "heads", "anatomy", "dose", "select", "draws"]


@dataclass(frozen=True)
class RunConfig(Checked):
    """Everything that decides a result; its canonical JSON is the run's key, its names are its folder."""

    model: Literal["sclip", "micc", "dmfl", "baseline", "bench", "detector",
                   "safe", "carmn", "mfan", "eann", "spotfake", "muse"]  # fmt: skip
    dataset: str  # name of a corpus (CORPORA), or of captions in several languages
    variant: str = "default"
    seed: Seed = 0
    profile: Profile = "demo"
    kind: Kind = "train"
    language: str = "en"
    corpus_seed: Seed = 0  # drawn scenes only
    sclip: SCLIPConfig | None = None
    stage1: RunConfig | None = None  # the SCLIP run whose weights this run starts from
    detector: MICCConfig | DMFLConfig | BaselineConfig | HeadsConfig | DetectorConfig | None = None
    train: TrainConfig = field(default_factory=TrainConfig)
    protocol: str = ""  # how posts are split (data/splitting/protocols.py: parse), e.g. "random:1"; "": as is usual
    on_missing_image: OnMissing = "drop"  # C26
    n_train: Count | None = None  # train posts (stage 1: train pictures), more or fewer; None: as the corpus has
    # photo tier: posts whose pictures stage 1 saw, or did not; drawn scenes: also posts that only a faint mark betrays
    train_on: Literal["all", "known", "new", "marked"] = "all"
    parent: RunConfig | None = None  # the finished run whose weights this one compresses or learns from
    compression: CompressionConfig | None = None  # of a run of kind "compress"
    distillation: DistillationConfig | None = None  # of a run of kind "distil"

    def __post_init__(self) -> None:
        if isinstance(self.detector, Mapping) and (named := DETECTORS.get(self.model)):
            object.__setattr__(self, "detector", check(f"{named.__name__}", self.detector, named))
        super().__post_init__()
        wanted = DETECTORS.get(self.model)
        if wanted and self.detector is not None and type(self.detector) is not wanted:
            raise SettingError(f"a run of {self.model} has a {wanted.__name__}, got {type(self.detector).__name__}")
        if self.train_on == "marked" and (self.n_train or self.dataset not in ("demo-en", "demo-zh")):
            raise SettingError("train_on='marked' is for demo-en and demo-zh as they are, without n_train")
        for name in (self.model, self.dataset, self.variant):
            if not name.isprintable() or set(name) & set("/\\ ") or name.startswith(".") or not name:
                raise SettingError(f"{name!r} cannot name a folder")
            if len(name.encode()) > LONGEST_NAME:
                raise SettingError(f"{name:.80}... is longer than {LONGEST_NAME} bytes and cannot name a folder")

    @property
    def name(self) -> str:
        """The run in print and in the store: its path, with slashes."""
        return self.path.as_posix()

    @property
    def learns(self) -> bool:
        """Whether a network is trained: not for fits of scikit-learn, nor for what is made of a finished run."""
        return self.model not in ("baseline", "bench") and self.kind in ("train", "distil")

    @property
    def path(self) -> Path:
        """Folder of the run below results/<profile>/runs."""
        marks = [f"corpus{self.corpus_seed}"] * bool(self.corpus_seed) + [re.sub(r"\W+", "-", self.protocol)]
        marks += [self.on_missing_image] * (self.on_missing_image != "drop")
        marks += [f"train{self.n_train}"] * bool(self.n_train) + [f"on-{self.train_on}"] * (self.train_on != "all")
        dataset = "-".join([self.dataset, *filter(None, marks)])
        return Path(self.model) / dataset / self.variant / f"seed{self.seed}"


def as_dict(config: Any) -> Any:
    """Plain JSON types of a config, every field; tuples become lists."""
    if dataclasses.is_dataclass(config):
        return {f.name: as_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
    return [as_dict(value) for value in config] if isinstance(config, (tuple, list)) else config


def config_hash(config: RunConfig) -> str:
    """First 16 hex digits of the sha256 of the canonical JSON; changes when any field changes."""
    canonical = json.dumps(as_dict(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def from_dict(stored: Mapping[str, Any]) -> RunConfig:
    """The config of a run from what `as_dict` made of it, e.g. its config.json.

    Raises: SettingError: a field this version does not have, or a wrong value.
    """
    return check("a stored config", stored, RunConfig)
