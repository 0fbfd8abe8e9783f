"""Posts and captions as tensors."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor

from rumorlib.config import RunConfig, Settings
from rumorlib.data import keys
from rumorlib.data.batches import CaptionTensors, PostTensors, Texts
from rumorlib.inputs.corpora import captions
from rumorlib.inputs.encoded import encode_images, encode_texts


def post_tensors(posts: pd.DataFrame, texts: Texts, images: Tensor, image_row: Tensor) -> PostTensors:
    """A posts table as tensors. A `weight` column comes as multiples of its mean over a post's split, so that a batch
    is expected to weigh as much as it has posts; without one every post weighs 1."""
    weight = pd.Series(1.0, index=posts.index)
    if "weight" in posts:
        weight = posts["weight"] / posts.groupby("split")["weight"].transform("mean")
    return PostTensors(
        texts, images, image_row,
        torch.tensor(posts["label"].to_numpy(), dtype=torch.float32),
        torch.tensor(weight.to_numpy(), dtype=torch.float32),
    )  # fmt: skip


def caption_tensors(
    stage1: RunConfig,
    settings: Settings,
    splits: tuple[str, ...] = ("train", "dev", "test"),
    image_layers: int = 0,
    text_layers: Mapping[str, int] | None = None,
) -> tuple[CaptionTensors, pd.DataFrame]:
    """A caption corpus in every language of the run's SCLIP, on one set of images; and one row per image: split.

    Args: image_layers, text_layers (by language): last layers of its encoders that a detector trains, as in MICCConfig.

    Languages must caption the same images equally often, position by position, when there are several.
    """
    texts, words, owners = {}, {}, {}
    for language, _ in stage1.sclip.texts:
        loaded = captions(stage1.dataset, language, settings, stage1.corpus_seed)
        frame = loaded.captions[loaded.captions["split"].isin(splits)]
        frame = frame.sort_values("image", kind="stable")
        trained = (text_layers or {}).get(language, 0)
        texts[language] = encode_texts(frame["text"].tolist(), stage1, language, settings, trained)
        words[language] = torch.from_numpy(keys.word_codes(frame["text"].tolist()))
        owners[language] = frame["image"].tolist()
    if len({tuple(owner) for owner in owners.values()}) != 1:
        raise ValueError(f"the languages of {stage1.dataset} caption different images; pretrain them one by one")
    images = frame.drop_duplicates("image")[["image", "split"]].reset_index(drop=True)
    row_of = {key: row for row, key in enumerate(images["image"])}
    owner = torch.tensor([row_of[key] for key in frame["image"]])
    count = torch.bincount(owner)
    first = count.cumsum(0) - count
    pictures = loaded.images, images["image"].tolist()
    encoded = encode_images(*pictures, stage1.sclip.vision, settings, trained=image_layers)
    if (
        stage1.sclip.vision.kind == "feature_map" and encoded.ndim == 4
    ):  # the tower reads place by place: laid out so once, not every batch
        encoded = encoded.contiguous(memory_format=torch.channels_last)
    return CaptionTensors(texts, encoded, owner, first, count, words), images
