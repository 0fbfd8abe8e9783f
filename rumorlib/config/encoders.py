"""Settings of encoders: SCLIP and its two towers, word2vec."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from rumorlib.config.checks import Checked, Count, Positive, Rate, SettingError, Several, Whole


@dataclass(frozen=True)
class TextConfig(Checked):
    """Text tower of SCLIP (MICC §3.2.1; which encoder is not in the source: C1)."""

    # from scratch | a local Hugging Face folder, cached | the text tower of a CLIP or Chinese-CLIP folder
    kind: Literal["transformer", "frozen", "clip"] = "transformer"
    weights: str | None = None  # name of an encoder's folder (paths.weights_roots), but for kind="transformer"
    prefix: str = ""  # put before every text, as the encoder was trained; for kind="frozen"
    tokens: Literal["word", "char", "jieba"] = "word"  # unit of the vocabulary of kind="transformer"
    max_length: Count = 77  # C2: 77 English, 128 Chinese
    width: Count = 128  # d_t of the Transformer from scratch
    depth: Count = 2
    n_heads: Count = 4
    pool: Literal["cls", "mean"] = "mean"  # of either kind (M1)


@dataclass(frozen=True)
class VisionConfig(Checked):
    """Multi-scale image tower of SCLIP (MICC §3.2.2)."""

    kind: Literal["patch_conv", "feature_map"] = "patch_conv"
    weights: str | None = None  # an encoder's folder; of CLIP or Chinese-CLIP, for patch_conv to start from
    image_size_px: Count = 192  # C2: 24/32/48/64 tile exactly only multiples of 192
    receptive_fields: Several[Count] = (32, 64)  # paper §4.2
    width: Count = 768  # d_v
    depth: Whole = 4  # C2: 12 with pretrained weights
    n_heads: Count = 12
    # C1: a patch_conv tower that starts from weights, and CLIP's text tower beside it, are not trained in stage 1
    freeze_towers: bool = True

    @property
    def as_map(self) -> VisionConfig | None:
        """The finished map of the folder of weights, which frozen rows read, whatever a tower makes of it."""
        return replace(self, kind="feature_map") if self.weights else None

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
    # of M2 and M5; linear overfits less on frozen features (C2, laptop); clip: the projections of a CLIP folder (C10)
    head: Literal["mlp", "linear", "clip"] = "mlp"
    feature_dropout: Rate = 0.0  # of frozen features where they enter a tower: few pairs, wide features (C2)
    whiten_text: bool = False  # frozen text features are as wide in every direction, over the train captions (C2)
    mask_twins: bool = True  # C40: captions of the same words are no negatives for one another

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.whiten_text and any(text.kind != "frozen" for _, text in self.texts):
            raise SettingError("whiten_text is for features of frozen text towers")

    def text(self, language: str) -> TextConfig:
        """The tower of `language`. Raises KeyError naming the languages there are."""
        towers = dict(self.texts)
        if language not in towers:
            raise KeyError(f"no text tower for language {language!r}; this SCLIP has {sorted(towers)}")
        return towers[language]


def _clip(language: str, name: str, field: int, **text: int) -> SCLIPConfig:
    """Both towers and projections of one CLIP folder of base size, which reads pictures of 224 pixels."""
    texts = ((language, TextConfig("clip", name, **text)),)
    vision = VisionConfig(weights=name, image_size_px=224, receptive_fields=(field,))
    return SCLIPConfig(texts, vision, d_joint=512, similarity="mean", dropout=0.0, head="clip")


# CLIP itself, in the place of a stage 1 (MICC-SCLIP at profile paper)
CLIP = {
    "en": _clip("en", "clip-vit-base-patch32", 32, max_length=77, width=512, n_heads=8),
    "zh": _clip("zh", "chinese-clip-vit-base-patch16", 16, max_length=52, width=768, n_heads=12),
}


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
