"""New posts as a trained model reads them: the steps of `inputs` on what was fitted then, without corpora or caches."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rumorlib.config import BaselineConfig, DetectorConfig, DMFLConfig, MICCConfig, RunConfig, TextConfig, VisionConfig
from rumorlib.data.batches import Batch, Texts, device
from rumorlib.encoders import clip, components, fine_tuned, frozen, pretrained
from rumorlib.encoders.sclip import SCLIP
from rumorlib.encoders.vision import grid_sides
from rumorlib.encoders.vocabulary import Vocabulary
from rumorlib.inputs import features
from rumorlib.models import baselines
from rumorlib.models.others.muse import similarity_features

IMAGE_ROWS = ("image_lr", "text_image_lr", "image_forest", "relevance_lr")  # kinds that look at pictures
WORD_ROWS = ("majority", "tfidf_lr", "surface_lr", "text_forest")  # kinds that no encoder serves


@dataclass(frozen=True)
class Encoders:
    """Frozen encoders of a folder <data>/weights, each loaded when it is first asked, then kept; float32."""

    folder: Callable[[str], Path]  # name -> folder, checked
    _loaded: dict[Any, Callable[[list], Tensor]] = field(default_factory=dict)

    def text(self, tower: TextConfig) -> Callable[[list[str]], Tensor]:
        """Texts -> (n, d), read with the prefix that the encoder was trained on."""
        key = ("text", tower.weights, tower.pool)
        if key not in self._loaded:
            folder = self.folder(tower.weights)
            self._loaded[key] = frozen.text_encoder(folder, frozen.MAX_TOKENS, device(), False, tower.pool)
        encode = self._loaded[key]
        return lambda texts: encode([tower.prefix + text for text in texts])

    def image(self, vision: VisionConfig, cls: bool, trained: int = 0) -> Callable[[list[np.ndarray]], Tensor]:
        """Pixels -> (n, C, h, w), or with `cls` rows; with `trained` as the layer below so many last ones leaves it."""
        key = ("image", vision.weights, vision.image_size_px, cls, trained)
        if key not in self._loaded:
            folder = self.folder(vision.weights)
            scaling = pretrained.pixel_scaling(folder)
            self._loaded[key] = frozen.image_encoder(folder, vision.image_size_px, scaling, device(), False, cls, trained)
        return self._loaded[key]

    def pieces(self, name: str) -> Any:
        """Tokenizer of a folder."""
        if ("pieces", name) not in self._loaded:
            self._loaded["pieces", name] = pretrained.tokenizer_of(self.folder(name))
        return self._loaded["pieces", name]

    def rows(self, tower: TextConfig, layers: int) -> Callable[[list[str]], tuple[Tensor, Tensor]]:
        """Texts -> (mask, rows) of the lowest layers of a folder's BERT."""
        key = ("rows", tower.weights, layers, tower.max_length)
        if key not in self._loaded:
            self._loaded[key] = frozen.row_encoder(self.folder(tower.weights), layers, tower.max_length, device())
        return self._loaded[key]


@dataclass
class Reader:
    """What a run's model reads of posts it has not seen.

    words: of the train posts; stage1_words: of stage 1's captions; sclip: stage 1 (of MICC its own); components:
    directions (k, C) and mean (C,) of image rows; shapes: of one raw image ("raw") and more (`models.built`).
    """

    config: RunConfig
    encoders: Encoders
    words: Vocabulary | None = None
    stage1_words: Vocabulary | None = None
    sclip: SCLIP | None = None
    components: tuple[Tensor, Tensor] | None = None
    shapes: dict[str, Any] = field(default_factory=dict)
    _last: tuple[list[Any], Tensor] | None = None  # pictures encoded last: a post's answer and its distance share them

    # --- what it needs ----------------------------------------------------------------------------

    @property
    def detector(self) -> Any:
        """The detector's config."""
        return self.config.detector

    @property
    def reads(self) -> str:
        """What the batches of a detector of one file hold; "" for other models."""
        return self.detector.reads if isinstance(self.detector, DetectorConfig) else ""

    @cached_property
    def reads_text(self) -> bool:
        """Whether a post's words matter."""
        if isinstance(self.detector, BaselineConfig):
            return self.detector.kind not in ("majority", "image_lr", "image_forest")
        return not (isinstance(self.detector, DMFLConfig) and self.detector.parts == "image")

    @cached_property
    def vision(self) -> VisionConfig | None:
        """How pictures are read; None: they are not."""
        if isinstance(self.detector, BaselineConfig):
            return self.config.stage1.sclip.vision if self.detector.kind in IMAGE_ROWS else None
        if not getattr(self.detector, "reads_image", True):
            return None
        return getattr(self.detector, "image", None) or self.config.stage1.sclip.vision

    def encoder_names(self) -> list[tuple[str, str]]:
        """(what it reads, folder name) of every frozen encoder."""
        found = []
        if self.vision is not None and self.vision.weights:
            found.append(("pictures", self.vision.weights))
        own, stage1 = getattr(self.detector, "text", None), self._stage1_text
        if own:
            found.append(("texts", own.weights))
        elif stage1 is not None and stage1.kind != "transformer" and self._reads_stage1_text:
            found.append(("texts", stage1.weights))
        if getattr(self.detector, "logic_init", "") == "bert":
            found.append(("word pieces", self.detector.logic_text.weights))
        return found

    @property
    def _stage1_text(self) -> Any:
        return self.config.stage1.sclip.text(self.config.language) if self.config.stage1 else None

    @property
    def _reads_stage1_text(self) -> bool:
        if isinstance(self.detector, BaselineConfig):
            return self.detector.kind in ("text_lr", "text_image_lr", "relevance_lr")
        read = "words, sentences, image rows", "frozen vectors", "similarities"
        return self.config.model == "micc" or self.reads in read

    # --- pictures -----------------------------------------------------------------------------------

    @torch.inference_mode()
    def raw_images(self, pictures: Sequence[Any]) -> Tensor:
        """(n, …) as `inputs.images_of` has them on the CPU: pixels, or frozen maps fp16; zeros without a picture."""
        if self._last and len(self._last[0]) == len(pictures) and all(map(operator.is_, self._last[0], pictures)):
            return self._last[1]
        there = [row for row, picture in enumerate(pictures) if picture is not None]
        once = {id(pictures[row]): pictures[row] for row in there}  # one post in many wordings has one picture
        vision, cls = self.vision, getattr(self.detector, "image_cls", False)
        trained = getattr(self.detector, "image_layers", 0)
        pixels = [picture.pixels(vision.image_size_px) for picture in once.values()]
        if vision.kind == "feature_map":
            made = self.encoders.image(vision, cls, trained)(pixels).half().cpu() if pixels else None
        else:
            made = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) if pixels else None
        shape = list(made.shape[1:]) if made is not None else self.shapes["raw"]
        dtype = torch.float16 if vision.kind == "feature_map" else torch.uint8
        raw = torch.zeros(len(pictures), *shape, dtype=dtype)
        if made is not None:
            place = {key: number for number, key in enumerate(once)}
            raw[there] = made[[place[id(pictures[row])] for row in there]]
        self._last = list(pictures), raw
        return raw

    @torch.inference_mode()
    def tokens(self, raw: Tensor) -> Tensor:
        """Patch tokens Z of stage 1's tower: (n, N, d_v) fp16."""
        return self.sclip.image_tower(raw.to(device())).half().cpu()

    @torch.inference_mode()
    def joint_patches(self, raw: Tensor) -> Tensor:
        """M in the joint space: (n, N, D) fp16."""
        return self.sclip.project_patches(self.tokens(raw).float().to(device())).half().cpu()

    def image_rows(self, pictures: Sequence[Any]) -> Tensor:
        """Rows as DMFL and the detectors of its kind read them (`dmfl_inputs.image_rows`)."""
        if self.vision is None:
            return torch.zeros(len(pictures), 1, 1)
        raw = self.raw_images(pictures)
        if getattr(self.detector, "image", None):
            return components.in_components(raw, *self.components) if self.components else raw
        joint = getattr(self.detector, "logic_init", "") == "stage1"
        rows, sides = (self.joint_patches if joint else self.tokens)(raw), grid_sides(self.vision)
        start = int(np.cumsum([0, *(side * side for side in sides)])[np.argmax(sides)])
        return rows[:, start : start + max(sides) ** 2]

    def pooled_images(self, pictures: Sequence[Any]) -> Tensor:
        """(n, d) mean of what the model's image side reads, float32; nan without a picture."""
        raw = self.raw_images(pictures)
        if self.vision.kind == "patch_conv" and self.sclip is None:  # a ViT that learned with its detector
            rows = F.adaptive_avg_pool2d(raw.float(), 8).flatten(1)
        elif self.vision.kind == "patch_conv":
            rows = self.tokens(raw).float().mean(1)
        else:
            rows = raw.float().flatten(2).mean(2) if raw.ndim == 4 else raw.float().mean(1)
        rows[[row for row, picture in enumerate(pictures) if picture is None]] = torch.nan
        return rows

    # --- texts ----------------------------------------------------------------------------------------

    def stage1_texts(self, texts: list[str]) -> Texts:
        """As `inputs.encode_texts`."""
        tower = self._stage1_text
        if tower.kind == "frozen":
            features = self.encoders.text(tower)(texts).half().cpu()
            if not (trained := getattr(self.detector, "text_layers", 0)):
                return Texts(None, None, features)
            below = fine_tuned.layers_below(self.encoders.folder(tower.weights), trained)
            whole = replace(tower, max_length=frozen.MAX_TOKENS)
            real, rows = self.encoders.rows(whole, below)([tower.prefix + text for text in texts])
            return Texts(None, None, features, pieces=real.long().cpu(), hidden=rows.half().cpu())
        if tower.kind == "clip":
            return clip.tokenized(self.encoders.pieces(tower.weights), texts, tower.max_length)
        ids, mask = self.stage1_words.encode(texts, tower.max_length, cls=True)
        longest = int(mask.sum(1).max())
        return Texts(ids[:, :longest], mask[:, :longest])

    @torch.inference_mode()
    def text_vectors(self, texts: list[str]) -> Tensor:
        """(n, d_t) as stage 1's text tower leaves them."""
        read = self.stage1_texts(texts)
        if read.features is not None:
            return read.features.float()
        where = device()
        moved = Texts(read.ids.to(where), read.mask.to(where))
        return self.sclip.text_towers[self.config.language](moved).cpu()

    @torch.inference_mode()
    def joint_texts(self, texts: list[str]) -> Tensor:
        """(n, D) unit length."""
        vectors = Texts(None, None, self.text_vectors(texts).to(device()))
        return self.sclip.encode_text(vectors, self.config.language).cpu()

    def frozen_texts(self, texts: list[str]) -> Tensor:
        """(n, d) as `features.frozen_texts`."""
        if own := getattr(self.detector, "text", None):
            return self.encoders.text(own)(texts).half().float().cpu()
        if self._stage1_text.kind == "frozen":
            return self.stage1_texts(texts).features.float()
        return self.joint_texts(texts)

    # --- batches --------------------------------------------------------------------------------------

    def features(self, texts: list[str], pictures: Sequence[Any]) -> baselines.Features:
        """What a row of scikit-learn reads."""
        kind, label = self.detector.kind, np.zeros(len(texts), int)
        if kind in WORD_ROWS:
            return baselines.Features(label, texts)
        text = self.frozen_texts(texts).numpy() if kind in ("text_lr", "text_image_lr") else None
        image = relevance = None
        if kind in ("image_lr", "text_image_lr", "image_forest"):
            raw = self.raw_images(pictures)
            maps = raw if self.vision.kind == "feature_map" else self.tokens(raw).transpose(1, 2)[..., None]
            image = baselines.pooled(maps)
        if kind == "relevance_lr":
            n_patches = [side * side for side in grid_sides(self.vision)]
            patches, rows = self.joint_patches(self.raw_images(pictures)), torch.arange(len(texts))
            relevance = features.stage1_relevance(self.joint_texts(texts), patches, rows, n_patches)
        return baselines.Features(label, texts, text, image, relevance)

    def batch(self, texts: list[str], pictures: Sequence[Any]) -> Batch:
        """What a network reads."""
        own = {"frozen vectors": self._frozen_vectors, "similarities": self._similarities}
        make = self._micc if self.config.model == "micc" else own.get(self.reads, self._words)
        read, images = make(texts, pictures)
        n = len(texts)
        return Batch(read.ids, read.mask, read.features, images, torch.zeros(n), torch.ones(n), torch.arange(n),
                     read.pieces, hidden=read.hidden, towers=read.towers)  # fmt: skip

    def _micc(self, texts: list[str], pictures: Sequence[Any]) -> tuple[Texts, Tensor]:
        detector: MICCConfig = self.detector
        raw = self.raw_images(pictures)
        if detector.reads == "joint":
            towers = None
            if detector.classifier_input == "towers":
                towers = torch.cat([self.text_vectors(texts), self.tokens(raw).float().mean(1)], dim=1)
            return Texts(None, None, self.joint_texts(texts), towers=towers), self.joint_patches(raw)
        return self.stage1_texts(texts), self.tokens(raw) if detector.reads == "tokens" else raw

    def _words(self, texts: list[str], pictures: Sequence[Any]) -> tuple[Texts, Tensor]:
        ids, mask = self.words.encode(texts, self.detector.word2vec.max_length + 2, cls=True, sep=True)
        rows, sentences, pieces, hidden = self.image_rows(pictures), None, None, None
        if "sentences" in self.reads:
            sentences = self.text_vectors(texts)
        if "image vector" in self.reads:
            rows = rows.flatten(2).transpose(1, 2) if rows.ndim == 4 else rows
            rows = rows.float().mean(dim=1, keepdim=True)
        if getattr(self.detector, "logic_init", "") == "bert":
            tower, layers = self.detector.logic_text, self.detector.logic_frozen
            given = [tower.prefix + text for text in texts]
            if layers:
                real, hidden = self.encoders.rows(tower, layers)(given)
                pieces, hidden = real.long().cpu(), hidden.half().cpu()  # as the store holds them
            else:
                asked = {"padding": True, "truncation": True, "max_length": tower.max_length, "return_tensors": "pt"}
                pieces = self.encoders.pieces(tower.weights)(given, **asked)["input_ids"]
        return Texts(ids, mask, sentences, pieces, hidden), rows

    def _frozen_vectors(self, texts: list[str], pictures: Sequence[Any]) -> tuple[Texts, Tensor]:
        raw = self.raw_images(pictures)
        maps = raw if self.vision.kind == "feature_map" else self.tokens(raw).transpose(1, 2)[..., None]
        return Texts(None, None, self.frozen_texts(texts)), torch.from_numpy(baselines.pooled(maps)).unsqueeze(1)

    def _similarities(self, texts: list[str], pictures: Sequence[Any]) -> tuple[Texts, Tensor]:
        n_patches = [side * side for side in grid_sides(self.vision)]
        patches = self.joint_patches(self.raw_images(pictures)).float()
        return Texts(None, None, similarity_features(self.joint_texts(texts), patches, n_patches)), torch.zeros(
            len(texts), 1, 1
        )
