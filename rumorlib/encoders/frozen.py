"""Frozen pretrained encoders: each distinct text or image is encoded once, then read from disk; maps in few numbers."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rumorlib.data import batches
from rumorlib.encoders import feature_store, fine_tuned, pretrained

if TYPE_CHECKING:
    from rumorlib.data.images import Images

Precision = Literal["auto", "bf16", "fp32"]
Pool = Literal["cls", "mean"]  # TextConfig.pool

IMAGES_PER_SHARD = 500  # what a killed run loses at most: about 20 s of MobileNetV2 on two cores
TEXTS_PER_SHARD = 4096
IMAGES_PER_BATCH = 32
TEXTS_PER_BATCH = 64
MAX_TOKENS = 128  # of a text
LENGTHS = 16  # word pieces of texts are stored in multiples of it


def image_maps(
    images: Images,
    keys: Sequence[str],
    weights: Path,
    size_px: int,
    cache: Path,
    progress: bool = True,
    precision: Precision = "fp32",
    cls: bool = False,
    trained: int = 0,
) -> Tensor:
    """Feature maps of a frozen CNN or ViT (`VisionConfig.kind="feature_map"`).

    Pixels are resized to a square by `images` (the folder's own resizing and cropping are not used, so that patch boxes
    cover the whole picture); mean, std and rescaling come from the folder's preprocessor_config.json.

    Args:
        images, keys: pictures and their keys, repeats allowed; equal `content_hash` means encoded once.
        weights: local Hugging Face folder with safetensors weights.
        size_px: side of the square fed to the network.
        cache: root of the disk cache; features go to `cache/features/<key>`.
        progress: show a bar with what remains.
        precision: "auto" is bf16 autocast where the machine is fast at it, else fp32. The default is fp32, because bf16
            through MobileNetV2's 52 folded layers costs 2.4 % of the features' variance and saves minutes only once.
        cls: rows instead of a map, a ViT's [CLS] first (DMFL's Eq 10).
        trained: last layers left off, as a detector trains them (fine_tuned.py): what those below make of a picture.
    Returns: (n, C, h, w) fp16 on the CPU, in the order of `keys`; a ViT's tokens become a grid without CLS. With `cls`
        (n, 1 + h * w, C); with `trained` as the layer below has it.
    Raises: as `pretrained.model_of`. feature_store.CorruptShard: the cache was altered. ValueError: no keys, or `cls`
        of an encoder that has none.
    """
    device, bf16 = _device(precision)
    scaling = pretrained.pixel_scaling(Path(weights))
    asked = {"kind": "image", "size_px": size_px, "bf16": bf16, "scaling": scaling}
    asked |= {"trained": trained} if trained else {"cls": True} if cls else {}
    store = feature_store.open_store(cache, weights, asked)
    distinct = sorted(set(keys))
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        hash_of = dict(zip(distinct, pool.map(images.content_hash, distinct), strict=True))
        todo = store.missing({hash_of[key]: key for key in distinct})
        if todo:
            encode = image_encoder(Path(weights), size_px, scaling, device, bf16, cls, trained)
            pixels = _ahead(pool, lambda item: (item[0], images.pixels(item[1], size_px)), todo.items())
            made = _encoded(pixels, encode, IMAGES_PER_BATCH)
            store.fill(made, IMAGES_PER_SHARD, len(todo), f"images, {Path(weights).name}", progress)
    return store.gather([hash_of[key] for key in keys])


def text_features(
    texts: Sequence[str],
    weights: Path,
    cache: Path,
    progress: bool = True,
    precision: Precision = "auto",
    max_length: int = MAX_TOKENS,
    pool: Pool = "mean",
) -> Tensor:
    """Sentence features: last hidden states averaged over the attention mask (MiniLM's own pooling), or the first one.

    Args:
        texts: posts or captions, any order, repeats allowed; "" is encoded like any text.
        weights: local Hugging Face folder (BERT, RoBERTa, MiniLM, ...) with its tokenizer.
        cache: root of the disk cache.
        progress: show a bar with what remains.
        precision: as in `image_maps`; bf16 is harmless here (cosine to fp32 above 0.999).
        max_length: tokens kept, special tokens included.
        pool: "mean" of all tokens, or "cls", the state of the first (M1).
    Returns: (n, d) fp16 on the CPU, in the order of `texts`; not normalised.
    Raises: as `image_maps`.
    """
    device, bf16 = _device(precision)
    store = feature_store.open_store(
        cache, pretrained.checked(weights), {"kind": "text", "max_length": max_length, "pool": pool, "bf16": bf16}
    )
    encoder = partial(text_encoder, Path(weights), max_length, device, bf16, pool)
    return _of_texts(store, texts, encoder, TEXTS_PER_SHARD, f"texts, {Path(weights).name}", progress)


def text_rows(
    texts: Sequence[str], weights: Path, cache: Path, layers: int, max_length: int, progress: bool = True
) -> tuple[Tensor, Tensor]:
    """What the lowest layers of a frozen BERT make of every word piece, float32 products, each distinct text once.

    Args: as `text_features`; layers: how many of them; 0: its tables alone.
    Returns: mask (n, P) bool, True = a piece, and rows (n, P, W) fp16, zeros where masked, on the CPU, P being the
        longest text's pieces rounded up to 16.
    Raises: as `text_features`.
    """
    folder = pretrained.checked(weights)
    tokenizer = pretrained.tokenizer_of(folder)
    lengths = [len(ids) for ids in tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]]
    width = -(-max(lengths, default=1) // LENGTHS) * LENGTHS
    asked = {"kind": "text rows", "max_length": max_length, "layers": layers, "width": width}
    store = feature_store.open_store(cache, folder, asked)

    def encoder() -> Callable[[list], Tensor]:
        encode = row_encoder(folder, layers, max_length, batches.device())
        return lambda part: _widened(encode(part)[1], width)

    rows = _of_texts(store, texts, encoder, TEXTS_PER_SHARD // 4, f"word pieces, {folder.name}", progress)
    return torch.arange(width) < torch.tensor(lengths)[:, None], rows


def _of_texts(
    store: feature_store.Store, texts: Sequence[str], encoder: Callable[[], Callable[[list], Tensor]], per_shard: int,
    told: str, progress: bool,
) -> Tensor:  # fmt: skip
    """What the store holds of each text; an encoder is loaded where some are missing, each distinct text once."""
    hashes = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts]
    if todo := store.missing(dict(zip(hashes, texts, strict=True))):
        by_length = sorted(todo.items(), key=lambda item: (-len(item[1]), item[0]))  # equal lengths: little padding
        store.fill(_encoded(iter(by_length), encoder(), TEXTS_PER_BATCH), per_shard, len(todo), told, progress)
    return store.gather(hashes)


def row_encoder(weights: Path, layers: int, max_length: int, device: torch.device) -> Callable[[list], tuple]:
    """What makes masks (B, P) and rows (B, P, W) float32 of a list of texts, nothing cached; see `text_rows`."""
    from transformers import BertModel

    tokenizer = pretrained.tokenizer_of(weights)
    model = pretrained.model_of(weights, kind=BertModel, add_pooling_layer=False).to(device)
    model.encoder.layer = model.encoder.layer[:layers]

    @torch.inference_mode()
    def encode(texts: list[str]) -> tuple[Tensor, Tensor]:
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt").to(device)
        mask = tokens["attention_mask"].bool()
        return mask, model(**tokens).last_hidden_state.float() * mask[..., None]

    return encode


def _widened(rows: Tensor, width: int) -> Tensor:
    """(B, P, W) with zeros below, to (B, width, W)."""
    return F.pad(rows, (0, 0, 0, width - rows.shape[1]))


def bf16_is_fast(device: torch.device) -> bool:
    """Whether bf16 autocast is worth it: hardware support, not emulation (oneDNN emulates it on plain AVX-512)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    checks = (getattr(torch.cpu, "_is_amx_tile_supported", None), getattr(torch.cpu, "_is_avx512_bf16_supported", None))
    return device.type == "cpu" and any(check() for check in checks if check is not None)


# --- encoders -------------------------------------------------------------------------------


def _device(precision: Precision) -> tuple[torch.device, bool]:
    """Where to run, and whether under bf16 autocast."""
    if precision not in ("auto", "bf16", "fp32"):
        raise ValueError(f"precision must be auto, bf16 or fp32; got {precision!r}")
    device = batches.device()
    return device, precision == "bf16" or (precision == "auto" and bf16_is_fast(device))


def text_encoder(
    weights: Path, max_length: int, device: torch.device, bf16: bool, pool: Pool = "mean"
) -> Callable[[list], Tensor]:
    """What makes features (B, d) float32 of a list of texts, nothing cached; see `text_features`."""
    tokenizer = pretrained.tokenizer_of(weights)
    model = pretrained.model_of(weights, "text_model").to(device)

    def encode(texts: list[str]) -> Tensor:
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt").to(device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            hidden = model(**tokens).last_hidden_state.float()  # (B, L, D)
        return fine_tuned.pooled(hidden, tokens["attention_mask"].bool(), pool)  # (B, D)

    return encode


def image_encoder(
    weights: Path, size_px: int, scaling: dict[str, Any], device: torch.device, bf16: bool, cls: bool, trained: int = 0
) -> Callable[[list], Tensor]:
    """What makes maps of a list of (size_px, size_px, 3) uint8 pixels, nothing cached; see `image_maps`."""
    # channels last: several times faster convolutions under bf16 on the CPU
    model = pretrained.model_of(weights, "vision_model").to(device, memory_format=torch.channels_last)
    mean, std = (torch.tensor(scaling[name], device=device).view(1, -1, 1, 1) for name in ("mean", "std"))
    options = {}
    accepts = inspect.signature(model.forward).parameters
    if "interpolate_pos_encoding" in accepts and getattr(model.config, "image_size", size_px) != size_px:
        options["interpolate_pos_encoding"] = True
    below, side = fine_tuned.cut(model, trained)[0] if trained else None, fine_tuned.side_of(model, size_px)

    def encode(pixels: list[np.ndarray]) -> Tensor:
        batch = torch.from_numpy(np.stack(pixels)).to(device).permute(0, 3, 1, 2)  # (B, 3, H, W), channels last
        batch = (batch.float() * scaling["rescale"] - mean) / std
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            if below is not None:
                return below(batch).float()
            hidden = model(pixel_values=batch, **options).last_hidden_state.float()
        as_map = fine_tuned.grid(hidden, side)
        return fine_tuned.with_cls(hidden, as_map) if cls else as_map

    return encode


def _ahead(pool: ThreadPoolExecutor, work: Callable, items: Iterable) -> Iterator:
    """Results of `work` in order, at most four batches decoded ahead of the network."""
    waiting: deque = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 4 * IMAGES_PER_BATCH:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:  # after an error: do not decode the rest
            future.cancel()


def _encoded(items: Iterator, encode: Callable[[list], Tensor], size: int) -> Iterator[tuple[list[str], Tensor]]:
    """(hashes, features fp16) per batch of `size` (hash, input) items."""
    while batch := [item for _, item in zip(range(size), items, strict=False)]:
        features = encode([value for _, value in batch]).half().cpu()
        if not torch.isfinite(features).all():
            raise ValueError("the frozen encoder gives features outside fp16's range; these weights cannot be cached")
        yield [content for content, _ in batch], features.contiguous()
