"""Every setting of every run, as frozen dataclasses; every default names its source.

A run *is* a `RunConfig`: same config, same folder, same result on the same posts, pictures and weights. Variants of a
model derive from its default by `dataclasses.replace`; nothing else in the package holds a hyper-parameter.

Marks: "paper" = stated in MICC (arXiv 2508.11141) or DMFL (Mathematics 13(11) 1731);
"Cn" = our choice where the paper is silent, listed in notebooks/README.md.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import math
import os
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

PROJECT_ROOT = Path(__file__).resolve().parent.parent

Profile = Literal["demo", "laptop", "paper"]
Train = Literal["missing", "all", "none"]
Grid = Literal["reduced", "full"]
PROFILES: tuple[str, ...] = get_args(Profile)
TRAIN_MODES: tuple[str, ...] = get_args(Train)
GRIDS: tuple[str, ...] = get_args(Grid)
# What becomes of a post without a picture that can be read (choice C26).
# keep:  the post stays and so does its key; reading the picture fails later. For work on texts.
# drop:  the post goes and is reported; the papers use posts with images only.
# blank: the post stays with image "", which models see as zeros.
# error: an error with file, row and remedy.
OnMissing = Literal["keep", "drop", "blank", "error"]
ON_MISSING: tuple[str, ...] = get_args(OnMissing)


# --- values are checked where they enter ----------------------------------------------------


class SettingError(ValueError):
    """A setting of the wrong type, out of its range, or a name that is not known; the message says what is allowed."""


@dataclass(frozen=True)
class Range:
    """What a number may be, declared beside its field as Annotated[int, Range(1)]; both ends belong to it unless
    `without` names "low" or "high"."""

    low: float
    high: float = math.inf
    without: Literal["", "low", "high", "both"] = ""

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.without in ("low", "both") else value >= self.low
        return above and (value < self.high if self.without in ("high", "both") else value <= self.high)

    def __str__(self) -> str:
        left, right = self.without in ("low", "both"), self.without in ("high", "both")
        if self.high == math.inf:
            return f"{'above' if left else 'of at least'} {self.low}"
        return f"in {'(' if left else '['}{self.low}, {self.high}{')' if right else ']'}"


class _NotEmpty:
    """A list of one or more."""

    def __contains__(self, value: Any) -> bool:
        return bool(value)


Count = Annotated[int, Range(1)]
Whole = Annotated[int, Range(0)]
Seed = Annotated[int, Range(0, 2**32 - 1)]  # what torch, NumPy and scikit-learn all take
Share = Annotated[float, Range(0, 1)]
Rate = Annotated[float, Range(0, 1, without="high")]  # dropout: 1 would leave nothing
Weight = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, without="low")]
Mass = Annotated[float, Range(0, 1, without="low")]
LearningRate = Annotated[float, Range(0, 1, without="both")]
Cosine = Annotated[float, Range(-1, 1)]
_T = typing.TypeVar("_T")
Several = Annotated[tuple[_T, ...], _NotEmpty()]


class Checked:
    """Base of every config: each field is of its annotated type and in the range declared beside it.

    A whole number given for a float, or a list for a tuple, is converted, so that equal settings are one run.
    Raises: SettingError: naming class, field, what is allowed and what was given.
    """

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():
            checked = check(f"{type(self).__name__}.{name}", getattr(self, name), hint)
            object.__setattr__(self, name, checked)


def check(name: str, value: Any, hint: Any) -> Any:
    """The value as an annotation wants it. Raises SettingError: it is of another type or out of range."""
    try:
        return _fit(value, hint)
    except SettingError as error:
        raise SettingError(f"{name}: {error}") from error
    except TypeError:
        names = [n for n in _names(hint) if isinstance(value, str)]
        raise SettingError(f"{name} must be {_words(hint)}; got {value!r:.200}{nearest(value, names)}") from None


def nearest(name: Any, known: Iterable[str]) -> str:
    """ ", did you mean 'x'?" for the end of a message; "" where nothing known looks like it."""
    found = difflib.get_close_matches(str(name), list(known), 1)
    return f", did you mean {found[0]!r}?" if found else ""


def from_dict(stored: Mapping[str, Any]) -> RunConfig:
    """The config of a run from what `as_dict` made of it, e.g. its config.json.

    Raises: SettingError: a field this version does not have, or a wrong value.
    """
    return check("a stored config", stored, RunConfig)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}


def _fit(value: Any, hint: Any) -> Any:
    """The value, converted where that is harmless. Raises TypeError: it does not fit."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        fitted = _fit(value, inner[0])
        if fitted not in inner[1]:
            raise TypeError
        return fitted
    if origin is Literal:
        if not isinstance(value, str) or value not in inner:
            raise TypeError
        return value
    if origin is tuple:
        return _fit_tuple(value, inner)
    if origin in (typing.Union, types.UnionType):
        return _fit_one_of(value, inner)
    if isinstance(value, Mapping) and dataclasses.is_dataclass(hint):
        if unknown := [name for name in value if name not in _hints(hint)]:
            raise SettingError(f"{hint.__name__} has no field {unknown[0]!r}{nearest(unknown[0], _hints(hint))}")
        return hint(**value)
    if hint is float and type(value) is int:
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise TypeError
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError
    return value


def _fit_tuple(value: Any, inner: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)):
        raise TypeError
    if inner[-1] is ...:
        return tuple(_fit(each, inner[0]) for each in value)
    if len(value) != len(inner):
        raise TypeError
    return tuple(_fit(each, kind) for each, kind in zip(value, inner, strict=True))


def _fit_one_of(value: Any, kinds: tuple[Any, ...]) -> Any:
    if isinstance(value, Mapping):  # of several dataclasses the one that fits closest
        fitting = [k for k in kinds if dataclasses.is_dataclass(k) and set(value) <= set(_hints(k))]
        kinds = tuple(sorted(fitting, key=lambda k: len(_hints(k))))
    for kind in kinds:
        try:
            return _fit(value, kind)
        except TypeError:
            continue
    raise TypeError


def _words(hint: Any) -> str:
    """An annotation in words, for messages."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated and isinstance(inner[1], _NotEmpty):
        return _words(inner[0]).replace("a list", "a list of one or more", 1)
    if origin is Annotated:
        return f"{_words(inner[0])} {inner[1]}"
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    if origin is tuple:
        return f"a list, each {_words(inner[0])}" if inner[-1] is ... else f"({', '.join(map(_words, inner))})"
    if inner:
        return " or ".join(map(_words, inner))
    plain = {int: "a whole number", float: "a number", str: "text", bool: "True or False", Any: "anything"}
    return plain.get(hint) or ("None" if hint is type(None) else hint.__name__)


def _names(hint: Any) -> list[str]:
    """The names that an annotation allows."""
    inner = get_args(hint)
    return list(inner) if get_origin(hint) is Literal else [name for each in inner for name in _names(each)]


# --- where things lie -----------------------------------------------------------------------


def output_root() -> Path:
    """Folder that every run, table and figure is written to, in its `results/` and `figures/`: RUMORLIB_OUTPUT or
    `output`, which git ignores. Committed results change by the verb `publish` alone."""
    return Path(os.environ.get("RUMORLIB_OUTPUT") or PROJECT_ROOT / "output")


def stored(below: str | Path) -> Path:
    """Where a result is read: `below` the output folder if it is there, else the committed one if that is there."""
    own, committed = output_root() / below, PROJECT_ROOT / below
    return committed if committed.exists() and not own.exists() else own


def cache_root() -> Path:
    """Folder of things that can be computed again (frozen features): RUMORLIB_CACHE or `.cache`."""
    return Path(os.environ.get("RUMORLIB_CACHE") or PROJECT_ROOT / ".cache")


def data_root(explicit: str | Path | None = None) -> Path:
    """Folder of the raw corpora: `explicit`, else RUMORLIB_DATA.

    Raises: FileNotFoundError: neither is given, or the folder does not exist.
    """
    given = explicit or os.environ.get("RUMORLIB_DATA")
    if not given:
        raise FileNotFoundError(
            "no data folder given: set RUMORLIB_DATA=<folder> or pass data_root, e.g. make laptop DATA=<folder>"
        )
    root = Path(given).expanduser()
    root = root if root.is_absolute() else Path.cwd() / root
    if not root.is_dir():
        raise FileNotFoundError(f"data folder {root} does not exist; see rumorlib/data/README.md")
    return root.resolve()


def is_deterministic() -> bool:
    """Whether RUMORLIB_DETERMINISTIC=1 asks for kernels that add in the same order every time: on a GPU a run then
    gives the same digits twice, more slowly. It decides no result beyond rounding, so it is no part of a config."""
    return os.environ.get("RUMORLIB_DETERMINISTIC") == "1"


# --- encoders -------------------------------------------------------------------------------


@dataclass(frozen=True)
class TextConfig(Checked):
    """Text tower of SCLIP (MICC §3.2.1; which encoder is not in the source: C1)."""

    kind: Literal["transformer", "frozen"] = "transformer"  # from scratch | a local Hugging Face folder, cached
    weights: str | None = None  # folder below <data>/weights, for kind="frozen"
    tokens: Literal["word", "char", "jieba"] = "word"  # unit of the vocabulary of kind="transformer"
    max_length: Count = 77  # C2: 77 English, 128 Chinese
    width: Count = 128  # d_t of the Transformer from scratch
    depth: Count = 2
    n_heads: Count = 4
    pool: Literal["cls", "mean"] = "mean"


@dataclass(frozen=True)
class VisionConfig(Checked):
    """Multi-scale image tower of SCLIP (MICC §3.2.2)."""

    kind: Literal["patch_conv", "feature_map"] = "patch_conv"
    weights: str | None = None  # folder below <data>/weights; of CLIP or Chinese-CLIP, for patch_conv to start from
    image_size_px: Count = 192  # C2: 24/32/48/64 tile exactly only multiples of 192
    receptive_fields: Several[Count] = (32, 64)  # paper §4.2
    width: Count = 768  # d_v
    depth: Whole = 4  # C2: 12 with pretrained weights
    n_heads: Count = 12
    # C1: a patch_conv tower that starts from weights is not trained in stage 1; not in repr, which names stored tokens
    freeze_towers: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "patch_conv" and any(self.image_size_px % r for r in self.receptive_fields):
            raise SettingError(
                f"receptive_fields {self.receptive_fields} do not tile {self.image_size_px} px; "
                "choose an image_size_px that each divides"
            )


@dataclass(frozen=True)
class SCLIPConfig(Checked):
    """Scale-aware Contrastive Language-Image Projection (MICC §3.2)."""

    texts: Several[tuple[str, TextConfig]] = (("en", TextConfig()),)  # one text tower per language
    vision: VisionConfig = VisionConfig()
    d_joint: Count = 512  # C2: CLIP ViT-B/32
    similarity: Literal["lse", "mean", "topk"] = "lse"  # C3: text-image similarity inside InfoNCE
    beta: Positive = 0.1  # C3: temperature of the log-sum-exp over patches
    temperature_init: Positive = 0.07  # CLIP; learnable, 1/temperature clamped to 100
    dropout: Rate = 0.1
    head: Literal["mlp", "linear"] = "mlp"  # of M2 and M5; linear overfits less on frozen features (C2, laptop)
    feature_dropout: Rate = 0.0  # of frozen features where they enter a tower: few pairs, wide features (C2)
    mask_twins: bool = True  # C40: captions of the same words are no negatives for one another

    def text(self, language: str) -> TextConfig:
        """The tower of `language`. Raises KeyError naming the languages there are."""
        towers = dict(self.texts)
        if language not in towers:
            raise KeyError(f"no text tower for language {language!r}; this SCLIP has {sorted(towers)}")
        return towers[language]


# --- detectors ------------------------------------------------------------------------------


@dataclass(frozen=True)
class MICCConfig(Checked):
    """MICC's detector on top of SCLIP (MICC §3.3-3.4); its ablations are these fields."""

    top_k: Count = 2  # paper Figure 6: patches kept per scale
    fusion_weight: Share = 0.65  # paper: lambda 0.65-0.70, weight of the semantic side (C7)
    alignment: Literal["top_k", "all_patches", "global"] = "top_k"  # MICC-A/γ: all_patches; MICC-A/δ: global
    selection: Literal["relevance", "random", "bottom", "saliency"] = "relevance"  # Top-K ranks by; else: controls
    keep: Literal["k", "mass", "threshold"] = "k"  # of the ranked patches of a scale: the first top_k, or, of
    # these at most, those that make up relevance_mass, or those above a learned relevance; never none (C36)
    relevance_mass: Mass = 0.5  # of softmax(relevance / beta) over a scale's patches, for keep="mass"
    fusion: Literal["scale_aware", "concat", "mean"] = "scale_aware"  # MICC-Ms/α: concat; MICC-Ms/β: mean
    classifier_input: Literal["concat", "product", "relevance"] = "concat"  # C5: concat is the literal model
    width: Count = 256  # hidden units of the FFN and of the classifier (C2)
    dropout: Rate = 0.2  # C2: 0.1-0.3
    freeze: Literal["sclip", "tokens", "nothing"] = "tokens"
    # C4: what stage 2 leaves as stage 1 made it:
    # sclip: all of SCLIP; texts and patches come as vectors of the joint space, made once per input (laptop);
    # tokens: the image tower up to its patch tokens Z_s, run once per image and cached;
    # nothing: end to end from the pretrained backbones' cached features up (profile paper)
    compression: Literal["fp32", "bf16", "int8"] = "fp32"  # ours: numbers of a finished model (derived.py)
    pruned: Rate = 0.0  # ours: share of a finished model's weights set to zero, the smallest ones
    distil: Share = 0.0  # ours: weight of a finished model's answers in the loss, the labels' is 1 - distil
    distil_temperature: Positive = 2.0  # both answers are softened by it (Hinton et al. 2015)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep != "k" and (self.alignment, self.selection, self.fusion) != ("top_k", "relevance", "scale_aware"):
            raise SettingError(f"keep={self.keep!r} needs Top-K by relevance and the scale-aware fusion")

    @property
    def reads(self) -> str:
        """What posts bring: "joint" vectors of frozen SCLIP, "tokens" of its frozen image tower, or "images"."""
        return {"sclip": "joint", "tokens": "tokens"}.get(self.freeze, "images")


@dataclass(frozen=True)
class Word2VecConfig(Checked):
    """Skip-gram with hierarchical softmax on the training texts (DMFL §4.2, Eq. 2)."""

    d_word: Count = 300  # C22: MFAN's 300-d
    window: Count = 5
    min_count: Count = 1
    epochs: Count = 5
    skip_gram: bool = True  # paper
    hierarchical_softmax: bool = True  # paper
    tokens: Literal["word", "char", "jieba"] = "word"
    max_length: Count = 50  # L; MFAN
    vectors: str | None = None  # a .txt or .vec file below the data folder; None: trained on the train posts


@dataclass(frozen=True)
class DMFLConfig(Checked):
    """DMFL (§4); its seven ablations are the switches at the end."""

    word2vec: Word2VecConfig = Word2VecConfig()
    kernel_sizes: Several[Count] = (3, 4, 5)  # Eqs 4-6
    d_model: Count = 300  # d: three times 100 filters
    n_heads: Count = 8  # paper §6.3(4)
    d_head: Count = 16  # C12: fixed, so that 10 heads fit d=300 (MFAN)
    granularity: Literal["token", "pooled"] = "token"  # C11: pooled makes every attention weight 1
    alignment: Literal["forward", "side", "none"] = "forward"  # C13; none: DMFL-A
    lambda_c: Weight = 1.8  # paper: 1.8 Pheme, 1.2 Weibo
    lambda_a: Weight = 2.4  # paper
    attention_ffn: bool = True  # C15: residual + FFN around each attention, as MFAN
    share_attention: bool = False  # MFAN shares one block
    swap_query: bool = False  # Eq 12 with text as the query
    fusion: Literal["attention", "weighted_sum"] = "attention"  # weighted_sum: DMFL-ATT
    logic_width: Count = 300
    logic_depth: Count = 4  # C2: 12 from BERT, 4 from scratch
    logic_heads: Count = 6
    dropout: Rate = 0.6  # before the classifier and nowhere else (MFAN)
    parts: Literal["full", "logic_only", "semantic_only", "text_cnn", "text_transformer", "image"] = "full"
    # full; TB: logic_only; TL: semantic_only; TCNN: text_cnn; TTRAS: text_transformer; I: image
    image: VisionConfig | None = None  # frozen encoder whose map gives R_v; None: patch tokens of stage 1's tower
    logic_init: Literal["scratch", "stage1", "bert"] = "scratch"  # C28: where the logic chain starts
    logic_weights: str | None = None  # BERT's folder below <data>/weights, for logic_init="bert"
    logic_pieces: Count = 128  # word pieces read, [CLS] and [SEP] included
    image_components: Count | None = None  # C27: principal components of that map's channels; None: all channels
    image_cls: bool = False  # C37: `image` is a ViT whose own [CLS] row is read (Eq 10); False: the rows' mean
    image_positions: bool = False  # C37: patches get learned positions after an encoder that carries none

    @property
    def reads_image(self) -> bool:
        """Whether the pictures of posts are looked at."""
        return self.parts not in ("text_cnn", "text_transformer")


# C of the rows on frozen features: one a-priori value, strong because they have hundreds of dimensions and Twitter's
# 7,557 + 6,207 train posts only some hundred distinct images. Not tuned by us on dev or test, but that strong values do
# well on Twitter was known (README, limits). TF-IDF has thousands of sparse columns and no value good everywhere: the
# lowest dev loss decides, as it decides every detector's epoch (C38). All others: scikit-learn's 1.
BASELINE_C: dict[str, float | tuple[float, ...]] = {
    "text_lr": 1e-3, "image_lr": 1e-3, "text_image_lr": 1e-3, "tfidf_lr": (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
}  # fmt: skip


@dataclass(frozen=True)
class BaselineConfig(Checked):
    """A row of the comparison tables that is not MICC or DMFL."""

    kind: Literal["majority", "tfidf_lr", "surface_lr", "text_lr", "image_lr", "text_image_lr", "relevance_lr",
                  "text_forest", "image_forest"]  # fmt: skip
    inverse_regularisation: Positive | Several[Positive] | None = None
    # scikit-learn's C, or values among which dev chooses; None: BASELINE_C of the kind, filled in
    text: TextConfig | None = None  # frozen encoder that text_lr reads; None: the text tower of stage 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inverse_regularisation is None:  # filled in here so that the stored config names the value used
            object.__setattr__(self, "inverse_regularisation", BASELINE_C.get(self.kind, 1.0))

    @property
    def strengths(self) -> tuple[float, ...]:
        """The values of C among which dev chooses: one where it is fixed."""
        given = self.inverse_regularisation
        return given if isinstance(given, tuple) else (given,)


@dataclass(frozen=True)
class DetectorConfig(Checked):
    """A detector of one file (models/named.py): its class, and the words its constructor takes."""

    path: str  # "<module>:<Class>", a module that Python finds
    options: tuple[tuple[str, Any], ...] = ()  # settings of the class: part of the run's identity
    word2vec: Word2VecConfig = Word2VecConfig()  # words and their vectors, as DMFL's
    image: VisionConfig | None = None  # image rows, as DMFL's
    image_components: Count | None = None
    reads_image: bool = True  # False for a class that never looks at Batch.images: nothing is encoded
    source: str = ""  # hash of the class's file: an edited class is another run, never a stored one

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(self.path.partition(":")):
            raise SettingError(f"a detector is named <module>:<Class>, got {self.path!r}")


@dataclass(frozen=True)
class HeadsConfig(Checked):
    """Small classifiers on fixed features, many seeds at once: anatomy of a score, selection rules.

    One a-priori setting for every corpus and step, so that steps differ in protocol alone; never tuned.
    """

    inputs: Literal["text", "image", "both", "told"] = "both"  # told: both, and publish time and number of pictures
    components: Count = 128  # of the features of each modality
    width: Count = 64
    epochs: Count = 12
    batch_size: Count = 128
    lr: Rate = 1e-3  # 0: a logistic regression in its place (selection.py)
    weight_decay: Weight = 0.01
    dropout: Rate = 0.3
    n_seeds: Count = 10
    readings: tuple[Literal["test", "test_epoch"], ...] = ("test",)  # of test: after the epoch that is best on dev, and
    # after the one with the best test accuracy, which is what published code keeps
    leak: str = ""  # what of test is put into train (studies/trust/anatomy.py: LEAKS)
    dose: Share = 0.0  # share of it
    doses: tuple[Share, ...] = (0.0, 0.1, 0.25, 0.5, 1.0)  # share of test pictures, stories or texts in train too


# --- detectors of other authors -------------------------------------------------------------
# Defaults are the papers' or a published re-implementation's (FaKnow) where known; what is ours is in the choice named.
# Profiles make them smaller.


@dataclass(frozen=True)
class ReadingConfig(Checked):
    """What SAFE, CARMN, MFAN and EANN read: the word vectors and image rows that DMFL reads."""

    word2vec: Word2VecConfig = Word2VecConfig()
    image: VisionConfig | None = None  # as DMFLConfig.image
    image_components: Count | None = None  # as DMFLConfig.image_components


@dataclass(frozen=True)
class SAFEConfig(ReadingConfig):
    """SAFE (Zhou et al., PAKDD 2020; C30)."""

    kernel_sizes: Several[Count] = (3, 4)  # as FaKnow re-implements it
    n_filters: Count = 128  # per window; as FaKnow re-implements it
    d_reduced: Count = 32  # width of words and image rows before the convolutions; as FaKnow re-implements it
    d_model: Count = 200  # d of t and v; as FaKnow re-implements it
    alpha: Weight = 0.5  # C30: weight of the prediction loss; the paper tunes it per corpus
    beta: Weight = 0.5  # C30: weight of the similarity loss
    dropout: Rate = 0.0


@dataclass(frozen=True)
class CARMNConfig(ReadingConfig):
    """CARMN (Song et al., IPM 2021; C31)."""

    kernel_sizes: Several[Count] = (3, 4, 5)  # C31
    d_model: Count = 300  # C31
    n_heads: Count = 8  # C31
    d_head: Count = 16  # C12, as DMFL
    dropout: Rate = 0.5  # C31


@dataclass(frozen=True)
class MFANConfig(ReadingConfig):
    """MFAN (Zheng et al., IJCAI 2022; C32)."""

    kernel_sizes: Several[Count] = (3, 4, 5)
    d_model: Count = 300  # three times 100 filters
    n_heads: Count = 8
    d_head: Count = 16  # its code
    lambda_c: Weight = 2.15  # paper
    lambda_a: Weight = 1.55  # paper
    dropout: Rate = 0.6  # its code
    graph: bool = False  # posts, comments and users; needs a corpus with replies
    link_threshold: Cosine = 0.5  # cosine above which a hidden link is inferred; paper
    max_neighbours: Count = 32  # C32: of one post, links of the data first


@dataclass(frozen=True)
class EANNConfig(ReadingConfig):
    """EANN (Wang et al., KDD 2018; C33)."""

    kernel_sizes: Several[Count] = (1, 2, 3, 4)  # paper
    n_filters: Count = 20  # per window; paper
    d_model: Count = 32  # of each modality; as FaKnow re-implements it
    reverse_lambda: Weight = 1.0  # paper
    adversary: bool = True  # the event discriminator; needs a corpus with events
    dropout: Rate = 0.0


@dataclass(frozen=True)
class SpotFakeConfig(Checked):
    """SpotFake (Singhal et al., BigMM 2019; C34)."""

    d_hidden: Count = 2742  # first layer of each modality; all four as FaKnow re-implements it
    d_model: Count = 32  # second layer of each modality
    d_fusion: Count = 35
    dropout: Rate = 0.4


@dataclass(frozen=True)
class MUSEConfig(Checked):
    """A MUSE-style row (Papadopoulos et al., WACV 2025; C35)."""

    d_model: Count = 64  # hidden units (C35)
    dropout: Rate = 0.2  # C35


RivalConfig = SAFEConfig | CARMNConfig | MFANConfig | EANNConfig | SpotFakeConfig | MUSEConfig
DETECTORS: dict[str, type] = {  # model -> what its runs hold as `detector`; "bench" has a HeadsConfig or BaselineConfig
    "micc": MICCConfig, "dmfl": DMFLConfig, "baseline": BaselineConfig, "detector": DetectorConfig, "safe": SAFEConfig,
    "carmn": CARMNConfig, "mfan": MFANConfig, "eann": EANNConfig, "spotfake": SpotFakeConfig, "muse": MUSEConfig,
}  # fmt: skip


# --- explanations ---------------------------------------------------------------------------

# Posts whose explanations are scored against exact effects, by grid, and steps of the integral (Gauss-Legendre, as
# captum's default): the reduced grid is sized for a minute on two cores.
EXPLAINED_POSTS: dict[str, int] = {"reduced": 200, "full": 800}
IG_STEPS = 6

# --- training -------------------------------------------------------------------------------


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
    batch_size: Count = 64
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
# shortened or pruned. exchange: a finished model reads test posts with pictures or words taken away. anatomy, dose:
# heads on one split, as published evaluations cut it or with a share of test in train. select: a configuration on all
# cross-fit folds.
Kind = Literal["train", "distil", "compress", "exchange", "anatomy", "dose", "select"]


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
    detector: MICCConfig | DMFLConfig | BaselineConfig | HeadsConfig | DetectorConfig | RivalConfig | None = None
    train: TrainConfig = field(default_factory=TrainConfig)
    protocol: str = ""  # how posts are split (data/protocols.py: parse), e.g. "random:1"; "": as is usual
    on_missing_image: OnMissing = "drop"  # C26
    n_train: Count | None = None  # train posts of drawn scenes, train pictures of stage 1; None: as the corpus has
    train_on: Literal["all", "known", "new"] = "all"  # photo tier: posts whose pictures stage 1 saw, or did not
    parent: RunConfig | None = None  # the finished run whose weights this one compresses or learns from

    def __post_init__(self) -> None:
        if isinstance(self.detector, Mapping) and (named := DETECTORS.get(self.model)):
            object.__setattr__(self, "detector", check(f"{named.__name__}", self.detector, named))
        super().__post_init__()
        wanted = DETECTORS.get(self.model)
        if wanted and self.detector is not None and type(self.detector) is not wanted:
            raise SettingError(f"a run of {self.model} has a {wanted.__name__}, got {type(self.detector).__name__}")
        for name in (self.model, self.dataset, self.variant):
            if not name or set(name) & set("/\\ ") or name.startswith("."):
                raise SettingError(f"{name!r} cannot name a folder")

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


# --- corpora --------------------------------------------------------------------------------

Language = Literal["en", "zh"]  # languages with text towers and words


@dataclass(frozen=True)
class CorpusRecord(Checked):
    """What is known of a corpus before it is read. Code asks the record; nothing compares names.

    Posts of one's own are such a record too (`own_corpus`); its fields may stand in a corpus.toml beside them. The
    caption corpus of a stage 1 is the profile's for the record's language (profiles.py: STAGE1).
    """

    name: str
    kind: Literal["posts", "photo", "drawn", "captions"] = "posts"  # photo: made of captions; drawn: scenes, no file
    folder: str | None = None  # below the data folder; "": that folder itself; an absolute one: posts of one's own
    layouts: tuple[str, ...] = ()  # it may have there (data/layouts.py), the first that fits; (): any
    language: Language = "en"
    label_means: str = ""  # label 1; "": as its reader says, and of captions, which have no label
    pictures: bool = True  # False: a corpus of texts, whatever lies there
    events: bool = False  # its posts belong to events that a discriminator can learn
    replies: bool = False  # published as threads
    dates: bool = False  # its posts say when they were published
    shared_pictures: bool = False  # many posts share one: each picture counts once, in training and in the main score
    same_pictures: str = ""  # corpora in several languages that show the same pictures share this name
    protocol: str = ""  # how it is split unless another way is asked for (data/protocols.py); "": as its posts allow
    dev_by_event: bool = False  # dev is whole train events (data/splits.py: twitter_folds), else near-duplicate groups
    version: Count = 1  # of the recipe that photo posts are drawn by
    posts_of: str = ""  # of captions: the corpus whose train posts they are
    reported: Literal["", "pheme", "weibo"] = ""  # corpus of the papers whose printed rows stand beside; "": language's
    lambda_c: Weight | None = None  # DMFL's (§6.3): 1.2 on Weibo and what stands in for it, 1.8 on PHEME; None: so
    printed: str = ""  # name in tables; "": name

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", self.name):
            raise SettingError(f"a corpus is named by letters, digits, _, . and -; got {self.name!r}")
        usual = {"en": ("pheme", 1.8), "zh": ("weibo", 1.2)}[self.language]
        object.__setattr__(self, "reported", self.reported or usual[0])
        object.__setattr__(self, "lambda_c", usual[1] if self.lambda_c is None else self.lambda_c)
        object.__setattr__(self, "printed", self.printed or self.name)

    @property
    def own(self) -> bool:
        """Whether these are posts of the user's own, in a folder of their own."""
        return self.folder is not None and Path(self.folder).is_absolute()


_DRAWN = "1 = the claim contradicts the picture, cannot be, or speaks of a pasted-in object (drawn scenes)"
_PHOTO = "out of context: the text is the caption of another photograph (0 = its own caption)"
_TWITTER = "fake media: the attached picture is fake or misused for the event (0 = real media)"
_WEIBO = "debunked: a post the platform's rumor board refuted (0 = a news post of a verified outlet)"
_CED = "debunked: a post the platform's rumor board refuted (0 = a post it did not)"
_PHEME = "rumor at posting time: unverified when posted, whether it proved true or not (0 = no rumor)"
CORPORA: dict[str, CorpusRecord] = {
    one.name: one
    for one in (
        CorpusRecord("demo-en", "drawn", label_means=_DRAWN, events=True, same_pictures="demo"),
        # 1.8 on demo-zh, photo-zh and weibo-text: as their stored runs were made
        CorpusRecord("demo-zh", "drawn", None, (), "zh", _DRAWN, events=True, same_pictures="demo", lambda_c=1.8),
        CorpusRecord("photo-en", "photo", "flickr8k", label_means=_PHOTO, same_pictures="photo"),
        CorpusRecord("photo-zh", "photo", "flickr8k", (), "zh", _PHOTO, same_pictures="photo", lambda_c=1.8),
        CorpusRecord("photo2-en", "photo", "flickr8k", label_means=_PHOTO, same_pictures="photo2", version=2),
        CorpusRecord("photo2-zh", "photo", "flickr8k", (), "zh", _PHOTO, same_pictures="photo2", version=2),
        CorpusRecord("twitter", "posts", "twitter_mediaeval2016", ("twitter-table", "mediaeval"), "en", _TWITTER,
                     events=True, dates=True, shared_pictures=True, dev_by_event=True),
        CorpusRecord("weibo", "posts", "weibo_jin2017", ("weibo17",), "zh", _WEIBO, dates=True),
        CorpusRecord("weibo-text", "posts", "weibo_jin2017", ("weibo17",), "zh", _WEIBO, False, dates=True,
                     lambda_c=1.8),
        CorpusRecord("mfan-weibo", "posts", "mfan_weibo", ("manifest", "mfan-weibo"), "zh", _CED),
        CorpusRecord("ced-text", "posts", "ced", ("ced",), "zh", _CED, False, dates=True),
        CorpusRecord("pheme", "posts", "pheme", ("pheme",), "en", _PHEME, events=True, replies=True, dates=True,
                     protocol="event:charliehebdo"),
        CorpusRecord("pheme-text", "posts", "pheme_text", ("pheme-table", "pheme"), "en", _PHEME, False, events=True,
                     dates=True, protocol="event:charliehebdo"),
        CorpusRecord("mfan-pheme", "posts", "mfan_pheme", ("manifest", "mfan-pheme"), "en", _PHEME, events=True,
                     dates=True),
        CorpusRecord("manifest", "posts", "", ("manifest",)),
        CorpusRecord("demo-captions-en", "captions"),
        CorpusRecord("demo-captions-zh", "captions", language="zh"),
        CorpusRecord("flickr8k-en", "captions", "flickr8k", ("captions", "flickr8k")),
        CorpusRecord("flickr8k-zh", "captions", "flickr8k", ("captions",), "zh"),
        CorpusRecord("flickr30k-en", "captions", "flickr30k", ("flickr30k",)),
        CorpusRecord("coco-cn-zh", "captions", "coco_cn", ("coco-cn", "chinese-clip"), "zh"),
        CorpusRecord("twitter-train", "captions", posts_of="twitter"),
    )
}  # fmt: skip
RECORD_FILE = "corpus.toml"  # what a folder of posts says of itself
# The fields it may name: those that show in a run's config or in the hash of its posts, or change no number.
OF_RECORD_FILE = ("label_means", "language", "pictures", "events", "dates", "replies", "protocol", "layouts",
                  "lambda_c", "reported", "printed")  # fmt: skip
_PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")


def record(name: str) -> CorpusRecord:
    """The record of a corpus. Raises SettingError: no corpus has that name."""
    if name not in CORPORA:
        raise SettingError(f"no corpus called {name!r}; there are {', '.join(CORPORA)}{nearest(name, CORPORA)}")
    return CORPORA[name]


_UNKNOWN = CorpusRecord("unknown")


def about(name: str) -> CorpusRecord:
    """The record of a corpus that a run or a table names; one that has no record here gets the defaults."""
    return CORPORA.get(name) or next((one for one in CORPORA.values() if one.printed == name), _UNKNOWN)


def printed(name: str) -> str:
    """`CorpusRecord.printed` of a corpus; of one that has no record here its name."""
    return CORPORA[name].printed if name in CORPORA else name


def is_real(profile: str, dataset: str) -> bool:
    """Whether what is stored of a corpus may name no post: every corpus but drawn scenes."""
    return profile != "demo" or about(dataset).own


def same_pictures(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of the corpora named that show the same pictures, with English and with Chinese texts."""
    shown = {(one.same_pictures, one.language): one.name for one in map(about, names) if one.same_pictures}
    sets = dict.fromkeys(name for name, _ in shown)
    return [(shown[name, "en"], shown[name, "zh"]) for name in sets if {(name, "en"), (name, "zh")} <= set(shown)]


def own_corpus(name: str, folder: str | Path) -> CorpusRecord:
    """Make the posts in `folder` a corpus called `name`, for this process: they are then a dataset like any other.

    What its corpus.toml does not say: English, of texts if no picture lies in the folder or up to two folders below.
    Raises: SettingError: no such folder, the name is taken, or the file names no field of a record, or a wrong value.
    """
    place = Path(folder).expanduser().absolute()
    if not place.exists():
        raise SettingError(f"corpus {name}: {place} does not exist")
    known = CORPORA.get(name)
    if known and known.folder != str(place):
        where = f"the posts in {known.folder}" if known.own else "another corpus"
        raise SettingError(f"corpus {name}={place}: {name} is {where}; choose another name")
    told = record_file(place)
    told.setdefault("pictures", any(
        path.suffix.lower() in _PICTURES for depth in ("*", "*/*", "*/*/*") for path in place.glob(depth)
    ))  # fmt: skip
    try:
        CORPORA[name] = CorpusRecord(**{"name": name, "folder": str(place), **told})
    except SettingError as error:
        raise SettingError(f"corpus {name}, {place / RECORD_FILE}: {error}") from error
    return CORPORA[name]


def own_folders() -> dict[str, str]:
    """Name -> folder of the posts of one's own that this process knows."""
    return {one.name: one.folder for one in CORPORA.values() if one.own}


def record_file(folder: Path) -> dict[str, Any]:
    """What the corpus.toml in a folder says, {} without one. Raises SettingError: not TOML, or no field of a record."""
    file = folder / RECORD_FILE
    if not file.is_file():
        return {}
    try:
        told = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # TOMLDecodeError is one
        raise SettingError(f'{file}: {error}; write lines like label_means = "..."') from error
    if unknown := [name for name in told if name not in OF_RECORD_FILE]:
        guess = nearest(unknown[0], OF_RECORD_FILE)
        raise SettingError(f"{file}: no field {unknown[0]!r}{guess}; it may name {', '.join(OF_RECORD_FILE)}")
    if "label_means" in told:
        means = told["label_means"]
        if not isinstance(means, str) or not means.strip():
            raise SettingError(f'{file}: label_means is {means!r}; say in words what label 1 means, e.g. "fake news"')
        told["label_means"] = means.strip()
    return told


# --- what one notebook or command works on --------------------------------------------------

# Datasets of a profile unless others are named, and corpora of texts alone that come with them: audited, and read by
# the rows of words.
DATASETS: dict[str, tuple[str, ...]] = {
    "demo": ("demo-en", "demo-zh"),
    "laptop": ("photo-en", "photo-zh", "twitter"),
    "paper": ("weibo", "pheme"),
}
TEXT_ONLY: dict[str, tuple[str, ...]] = dict.fromkeys(("laptop", "paper"), ("weibo-text", "pheme-text"))
KINDS: dict[str, tuple[str, ...]] = {"demo": ("drawn",), "laptop": ("photo", "posts"), "paper": ("posts",)}
# Main rows, whose seed noise has to be known; and ablations and sweeps, which compare many runs.
SEEDS: dict[str, tuple[int, ...]] = {"demo": (0,), "laptop": tuple(range(10)), "paper": tuple(range(10))}
SWEEP_SEEDS: dict[str, tuple[int, ...]] = {"demo": (0,), "laptop": (0, 1, 2), "paper": (0, 1, 2)}
FEW_SEEDS = 3  # at most, of detectors of other authors, rows that read texts only, and other ways to align


@dataclass(frozen=True)
class Settings(Checked):
    """What a notebook's parameters cell resolves to."""

    profile: Profile
    datasets: tuple[str, ...]
    seeds: tuple[Seed, ...]
    train: Train = "missing"  # missing: runs not on disk · all: every run again · none: read only
    grid: Grid = "reduced"  # reduced: few points · full: every point, and at demo three seeds
    data_root: Path | None = None  # None at demo, and where only posts of one's own are read

    @property
    def text_only(self) -> tuple[str, ...]:
        """Corpora of texts: those among the datasets, or where these are the profile's, those that come with them."""
        if self.datasets == DATASETS[self.profile]:
            return TEXT_ONLY.get(self.profile, ())
        return tuple(dataset for dataset in self.datasets if not record(dataset).pictures)


def resolve(
    profile: str = "demo",
    datasets: list[str] | None = None,
    seeds: list[int] | None = None,
    train: str = "missing",
    grid: str = "reduced",
    data: str | None = None,
    sweep: bool = False,
) -> Settings:
    """Replace each None by the profile's value and refuse wrong ones: the one door of notebooks and command line.

    Args:
        datasets: names of corpora, or "name=folder" for posts of one's own (`own_corpus`); names of those that
            RUMORLIB_CORPORA holds (name=folder, several with the path separator between them) are known, too.
        sweep: ablations and sweeps follow, which have SWEEP_SEEDS; main rows have SEEDS.
    Raises: SettingError: a value of the wrong type, an unknown profile, train mode, grid or dataset, one named twice,
                a data folder that profile demo would not read, or a place for results that cannot be written.
            FileNotFoundError: a dataset lies in the data folder, runs may be trained, and no data folder is given.
    """
    given = {"profile": (profile, Profile), "datasets": (datasets, Several[str] | None), "train": (train, Train),
             "seeds": (seeds, Several[Seed] | None), "grid": (grid, Grid), "sweep": (sweep, bool),
             "data": (data, str | Path | None)}  # fmt: skip
    for name, (value, hint) in given.items():
        check(name, value, hint)
    chosen = _datasets(profile, datasets)
    for name, values in (("datasets", chosen), ("seeds", seeds or ())):
        if twice := [value for place, value in enumerate(values) if value in values[:place]]:
            raise SettingError(f"{name} names {twice[0]!r} twice; name each once")
    if profile == "demo" and data:
        raise SettingError("profile demo reads no data folder, it draws its scenes; leave data out or name a profile")
    if train != "none":
        for variable, root in (("RUMORLIB_OUTPUT", output_root() / "results"), ("RUMORLIB_CACHE", cache_root())):
            _need_writable(variable, root)
    default_seeds = (0, 1, 2) if profile == "demo" and grid == "full" else (SWEEP_SEEDS if sweep else SEEDS)[profile]
    needs_data = train != "none" and not all(record(name).own or record(name).kind == "drawn" for name in chosen)
    return Settings(
        profile=profile,
        datasets=chosen,
        seeds=tuple(seeds or default_seeds),
        train=train,
        grid=grid,
        data_root=data_root(data) if needs_data or data else None,
    )


def _datasets(profile: str, given: Iterable[str] | None) -> tuple[str, ...]:
    """Names of the datasets; entries name=folder become corpora first. Raises SettingError: not one of the profile."""
    for entry in filter(None, os.environ.get("RUMORLIB_CORPORA", "").split(os.pathsep)):
        own_corpus(*entry.split("=", 1))
    names = [own_corpus(*entry.split("=", 1)).name if "=" in entry else entry for entry in given or DATASETS[profile]]
    known = [one.name for one in CORPORA.values() if one.own or one.kind in KINDS[profile]]
    for name in names:
        if name not in known:
            hint = nearest(name, known)
            raise SettingError(
                f"profile {profile} has datasets {', '.join(known)}, and posts of your own as name=folder; "
                f"got {name!r}{hint}"
            )
    return tuple(names)


def _need_writable(variable: str, root: Path) -> None:
    """Refuse a folder that is a file, lies below one or may not be written; nothing is made."""
    nearest_there = next(place for place in (root.absolute(), *root.absolute().parents) if os.path.lexists(place))
    if not nearest_there.is_dir():
        raise SettingError(f"{variable} is {root}, but {nearest_there} is no folder; name another")
    if not os.access(nearest_there, os.W_OK | os.X_OK):
        raise SettingError(f"{variable} is {root}, but {nearest_there} cannot be written; name another")
