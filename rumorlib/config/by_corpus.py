"""What a corpus decides: fields of its runs; for some, sizes of their own: better towers, lengths in optimiser steps.

MFAN's PHEME and Weibo at laptop. A length in passes does not travel: with 6 passes of batch 256, MICC makes 36 steps on
PHEME and answers one class. Settings were compared by five-fold cross-validation over train and dev
(experiments/cross_validation.py; table o_2), after a look at one fold for DMFL's rate: at 1e-3 its dev loss doubles
after two passes, at 3e-4 it falls for three. Test posts had no say. Twitter and the photo tier keep what their
committed runs were made with (profiles.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rumorlib.config.checks import SettingError
from rumorlib.config.corpora import about, record
from rumorlib.config.encoders import TextConfig, VisionConfig
from rumorlib.config.profiles import SIZES, Sizes
from rumorlib.config.runs import TrainConfig
from rumorlib.config.settings import Settings

LITE2 = VisionConfig(
    kind="feature_map", weights="tf_efficientnet_lite2", image_size_px=224, width=512, depth=0, n_heads=8
)
E5 = TextConfig(kind="frozen", weights="multilingual-e5-small", prefix="query: ", max_length=128)
# One setting for 500 and for 36,000 posts: a pass has some forty steps, dev is looked at once in forty, and training
# ends when it has not gained for 240, after 1,200, or after 30 passes; never before two. DMFL knows the train posts by
# heart after 200 steps: it is looked at twice as often, and learns more slowly.
IN_STEPS = TrainConfig(
    epochs=30, min_epochs=2, steps=1200, evaluate_every=40, patience_steps=240, warmup_steps=40, batch_size=128,
    steps_per_pass=40, lr=1e-3,
)  # fmt: skip
_SLOWER = replace(IN_STEPS, steps=300, evaluate_every=20, patience_steps=80, warmup_steps=20, lr=3e-4)
_LAPTOP = SIZES["laptop"]
_MFAN = replace(
    _LAPTOP,
    stage1_name="lite2",
    vision=LITE2,
    texts=_LAPTOP.texts | {"zh": E5},
    logic_frozen={"en": 6, "zh": 12},  # all there are
    stage1=TrainConfig(epochs=6, batch_size=256, lr=2e-3, patience=3, captions_per_image=3),
    mask_twins=True,
    micc=replace(_LAPTOP.micc, freeze="tokens"),  # its heads and shared layers train on, as the paper's do
    micc_train=IN_STEPS,
    # words learned from 1,026 posts are not enough for the logic chain: it stands on the frozen text encoder
    dmfl=replace(_LAPTOP.dmfl, image=LITE2, logic_init="bert"),
    dmfl_train=_SLOWER,
    dmfl_semantic_train=IN_STEPS,  # no logic chain that knows the posts by heart: 300 steps ended while they learned
    strengths=(1e-3, 1e-2, 1e-1, 1.0),  # 221 dev posts tell them apart; Twitter's, of few events, did not
    rivals_train=IN_STEPS,
)
OF_CORPUS: dict[tuple[str, str], Sizes] = {("laptop", name): _MFAN for name in ("mfan-pheme", "mfan-weibo")}


def sizes_of(profile: str, dataset: str = "") -> Sizes:
    """The corpus's own sizes if it has any, else the profile's. Posts of one's own at laptop have MFAN's: one setting
    for 500 and for 36,000 posts."""
    own = profile == "laptop" and bool(dataset) and about(dataset).own
    return _MFAN if own else OF_CORPUS.get((profile, dataset), SIZES[profile])


def fields_of(settings: Settings, dataset: str, reads_pictures: bool = True) -> dict[str, Any]:
    """Fields of a run that its corpus decides; posts of one's own bring the split that their record asks for.

    Raises: SettingError: no such corpus, or the run reads pictures and the corpus has none.
    """
    known = record(dataset)
    if reads_pictures and not known.pictures:
        raise SettingError(f"{dataset} is a corpus of texts, and this model reads pictures; rows of words: notebook 01")
    asked = known.protocol if known.own else ""
    return {"dataset": dataset, "language": known.language, "profile": settings.profile, "protocol": asked}
