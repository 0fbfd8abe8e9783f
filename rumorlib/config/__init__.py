"""Every setting of every run, as frozen dataclasses; every default names its source.

A run *is* a `RunConfig`: same config, same folder, same result on the same posts, pictures and weights. Variants of a
model derive from its default by `dataclasses.replace`, in experiments/, which names what the variant changes.

Marks: "paper" = stated in MICC (arXiv 2508.11141) or DMFL (Mathematics 13(11) 1731);
"Cn" = our choice where the paper is silent, listed in notebooks/README.md.
"""

from rumorlib.config.checks import Checked, Count, Range, SettingError, check, nearest
from rumorlib.config.corpora import (
    CORPORA,
    RECORD_FILE,
    CorpusRecord,
    about,
    has_pictures,
    is_real,
    own_corpus,
    own_folders,
    printed,
    record,
    record_file,
    same_pictures,
)
from rumorlib.config.detectors import (
    BASELINE_C,
    BaselineConfig,
    CompressionConfig,
    ControlConfig,
    DetectorConfig,
    DistillationConfig,
    DMFLConfig,
    HeadsConfig,
    MICCConfig,
)
from rumorlib.config.encoders import SCLIPConfig, TextConfig, VisionConfig, Word2VecConfig
from rumorlib.config.paths import (
    CHECKPOINT_MINUTES,
    IS_CHECKOUT,
    MADE_SINCE,
    PROJECT_ROOT,
    cache_root,
    data_root,
    environment,
    is_deterministic,
    levels,
    output_root,
    parts_of_a_batch,
    recomputes,
    stored,
    weights_place,
)
from rumorlib.config.runs import (
    ON_MISSING,
    OTHERS,
    PROFILES,
    Kind,
    OnMissing,
    RunConfig,
    TrainConfig,
    as_dict,
    config_hash,
    from_dict,
)
from rumorlib.config.settings import (
    DATASETS,
    EXPLAINED_POSTS,
    FEW_SEEDS,
    GRIDS,
    IG_STEPS,
    TEXT_ONLY,
    TRAIN_MODES,
    Settings,
    resolve,
)
