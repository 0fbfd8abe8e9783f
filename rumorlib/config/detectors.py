"""Settings of MICC, DMFL, a detector of one's own, and the plain rows beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from rumorlib.config.checks import Checked, Count, Mass, Positive, Rate, SettingError, Several, Share, Weight, Whole
from rumorlib.config.encoders import TextConfig, VisionConfig, Word2VecConfig


@dataclass(frozen=True)
class ControlConfig(Checked):
    """Ours: patches chosen in another way than MICC's, which keeps the K most relevant of each scale."""

    selection: Literal["relevance", "random", "bottom", "saliency"] = "relevance"  # what Top-K ranks by
    keep: Literal["k", "mass", "threshold"] = "k"  # of the ranked patches of a scale: the first top_k, or, of
    # these at most, those that make up relevance_mass, or those above a learned relevance; never none (C36)
    relevance_mass: Mass = 0.5  # of softmax(relevance / beta) over a scale's patches, for keep="mass"


@dataclass(frozen=True)
class MICCConfig(Checked):
    """MICC's detector on top of SCLIP (MICC §3.3-3.4): the paper's ablations, choices where it is silent, and
    ours: `classifier_input` other than "concat", `relevance_scale`, `controls`."""

    top_k: Count = 2  # paper Figure 6: patches kept per scale
    fusion_weight: Share = 0.65  # paper: lambda 0.65-0.70, weight of the semantic side (C7)
    alignment: Literal["top_k", "all_patches", "global"] = "top_k"  # MICC-A/γ: all_patches; MICC-A/δ: global
    fusion: Literal["scale_aware", "concat", "mean"] = "scale_aware"  # MICC-Ms/α: concat; MICC-Ms/β: mean
    classifier_input: Literal["concat", "product", "relevance", "towers"] = "concat"  # C5: concat is the literal model
    # towers: both towers' own pooled features too, which the joint space has lost
    relevance_scale: Literal["cosine", "temperature", "product"] = "cosine"  # of rho in Eq 24 (C42): as M8 has it,
    # between unit vectors; over the temperature that stage 1 learned, as InfoNCE reads it; or before M2 and M5 cut the
    # vectors to unit length
    width: Count = 256  # hidden units of the FFN and of the classifier (C2)
    dropout: Rate = 0.2  # C2: 0.1-0.3
    freeze: Literal["sclip", "tokens", "nothing"] = "tokens"
    # C4: what stage 2 leaves as stage 1 made it:
    # sclip: all of SCLIP; texts and patches come as vectors of the joint space, made once per input (laptop);
    # tokens: the image tower up to its patch tokens Z_s, run once per image and cached;
    # nothing: end to end from the pretrained backbones' cached features up (profile paper)
    # last layers of the pretrained encoders below SCLIP's towers that stage 2 trains too, at `tower_lr_scale`; what the
    # others make of an input is made once (C4): of a frozen text tower, and of a feature_map's encoder
    text_layers: Whole = 0
    image_layers: Whole = 0  # for freeze="nothing"
    controls: ControlConfig = ControlConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text_layers and self.freeze == "sclip":
            raise SettingError("text_layers train below SCLIP's heads, and freeze='sclip' keeps these; freeze='tokens'")
        if self.image_layers and self.freeze != "nothing":
            raise SettingError("image_layers train below SCLIP's image tower; set freeze='nothing'")
        keep, selection = self.controls.keep, self.controls.selection
        if keep != "k" and (self.alignment, selection, self.fusion) != ("top_k", "relevance", "scale_aware"):
            raise SettingError(f"keep={keep!r} needs Top-K by relevance and the scale-aware fusion")
        if self.relevance_scale == "product" and (self.freeze == "sclip" or keep != "k"):
            raise SettingError(
                "relevance_scale='product' needs the heads of SCLIP in stage 2 (freeze='tokens'), keep='k'"
            )

    @property
    def reads(self) -> str:
        """What posts bring: "joint" vectors of frozen SCLIP, "tokens" of its frozen image tower, or "images"."""
        return {"sclip": "joint", "tokens": "tokens"}.get(self.freeze, "images")


@dataclass(frozen=True)
class CompressionConfig(Checked):
    """Ours: what is cut from a finished MICC; nothing is trained further."""

    precision: Literal["fp32", "bf16", "int8"] = "fp32"
    pruned: Rate = 0.0  # share of the weights set to zero, the smallest ones


@dataclass(frozen=True)
class DistillationConfig(Checked):
    """Ours: how a smaller MICC learns the answers of a finished one (Hinton et al. 2015)."""

    weight: Share = 0.5  # of the finished model's answers in the loss; the labels' is 1 - weight
    temperature: Positive = 2.0  # both answers are softened by it


@dataclass(frozen=True)
class DMFLConfig(Checked):
    """DMFL (§4); its ablations are `alignment="none"`, `fusion="weighted_sum"` and five values of `parts`."""

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
    attention_norm: bool = False  # C15, ours: LayerNorm of the rows that an attention reads
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
    logic_text: TextConfig | None = None  # that encoder, for logic_init="bert"; its max_length counts word pieces
    reply_hours: Positive | None = None  # replies of so many hours follow the post after [SEP], as its second segment
    # (§4.5), for the logic chain alone; None: the post alone
    logic_frozen: Whole = 0  # its lowest layers that are run once per post and never trained; if that is all of them,
    # the chain's own `logic_depth` layers stand on top and start from scratch
    image_layers: Whole = 0  # that encoder's last layers, trained here (Eqs 7-10); what those below make is kept
    image_components: Count | None = None  # C27: principal components of that map's channels; None: all channels
    image_cls: bool = False  # C37: `image` is a ViT whose own [CLS] row is read (Eq 10); False: the rows' mean
    image_positions: bool = False  # C37: patches get learned positions after an encoder that carries none

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reply_hours and (self.logic_frozen or self.parts in ("semantic_only", "text_cnn", "image")):
            raise SettingError("reply_hours needs a logic chain that learns its rows: logic_frozen=0")
        own = self.image is not None and self.image.kind == "patch_conv"  # a ViT from scratch
        if (self.image_layers or own) and (not self.image or self.image_components):
            raise SettingError("an image encoder that learns: name it in `image`, with image_components=None")
        if own and (self.image_layers or self.image_cls):
            raise SettingError("a ViT from scratch learns as a whole and has no [CLS]; image_layers=0, image_cls=False")

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


# What the batches of a detector of one file hold: ids of words and rows of image features, with stage 1's sentence
# vector or without; the mean of the rows in their place; a frozen vector of the text and one of the image; or how text
# and patches agree in the joint space of stage 1.
Reads = Literal["words, sentences, image rows", "words, image rows", "words, image vector", "frozen vectors",
                "similarities"]  # fmt: skip


@dataclass(frozen=True)
class DetectorConfig(Checked):
    """A detector of one file (models/named.py): its class, and the words its constructor takes."""

    path: str  # "<module>:<Class>", a module that Python finds
    options: tuple[tuple[str, Any], ...] = ()  # settings of the class: part of the run's identity
    word2vec: Word2VecConfig | None = None  # words and their vectors, as DMFL's; None: it reads none
    image: VisionConfig | None = None  # image rows, as DMFL's
    image_components: Count | None = None
    reads_image: bool = True  # False for a class that never looks at Batch.images: nothing is encoded
    source: str = ""  # hash of the class's file: an edited class is another run, never a stored one; "" for those of
    # `OTHERS`, whose computation is compared instead
    reads: Reads = "words, sentences, image rows"  # what its batches hold

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "options", tuple((name, _hashable(value)) for name, value in self.options))
        if not all(self.path.partition(":")):
            raise SettingError(f"a detector is named <module>:<Class>, got {self.path!r}")


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, (list, tuple)) else value


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
    leak: str = ""  # what of test is put into train (studies/protocol/anatomy.py: LEAKS)
    dose: Share = 0.0  # share of it
    doses: tuple[Share, ...] = (0.0, 0.1, 0.25, 0.5, 1.0)  # share of test pictures, stories or texts in train too
