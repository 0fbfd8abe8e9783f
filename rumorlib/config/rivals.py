"""Settings of detectors of other authors.

Defaults are the papers' or a published re-implementation's (FaKnow) where known; what is ours is in the choice named.
Profiles make them smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

from rumorlib.config.checks import Checked, Cosine, Count, Rate, Several, Weight
from rumorlib.config.encoders import VisionConfig, Word2VecConfig


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
