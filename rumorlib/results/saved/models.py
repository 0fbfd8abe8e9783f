"""The model of a finished run with all that was fitted for it, as tensors and words, and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rumorlib import inputs
from rumorlib.config import DetectorConfig, RunConfig, Settings, from_dict
from rumorlib.config import as_dict as plain_config
from rumorlib.data.batches import array, device, moved
from rumorlib.data.posts import Corpus
from rumorlib.encoders import clip, components, frozen
from rumorlib.encoders.sclip import SCLIP
from rumorlib.encoders.vocabulary import Vocabulary
from rumorlib.inputs import dmfl_inputs, encoded, features
from rumorlib.models import baselines, named
from rumorlib.models.baselines import Row
from rumorlib.models.dmfl import DMFL
from rumorlib.models.micc import MICC
from rumorlib.results import migrations, reports
from rumorlib.results.saved import rows
from rumorlib.results.saved.folder import SavedDetectorError
from rumorlib.results.saved.reader import WORD_ROWS, Encoders, Reader

OURS = "rumorlib.models."  # modules whose classes run without `own_code`


@dataclass
class Part:
    """One model and how it reads posts."""

    reader: Reader
    model: nn.Module | Row

    @property
    def config(self) -> RunConfig:
        """The run it comes from."""
        return self.reader.config

    @torch.inference_mode()
    def log_odds(self, texts: list[str], pictures: list[Any]) -> np.ndarray:
        """(n,) float64 log-odds of rumor."""
        if isinstance(self.model, Row):
            return np.asarray(self.model.log_odds(self.reader.features(texts, pictures)), dtype=float)
        return array(named.log_odds(self.model, moved(self.reader.batch(texts, pictures), device())))


# --- from a run -----------------------------------------------------------------------------------


def of_run(config: RunConfig, settings: Settings) -> Part:
    """The model of a run, trained now if it is not there.

    Raises: as `results.run_or_load`. ValueError: a run that no single post can be asked: it trains no detector, was
        compressed, or reads the graph of replies.
    """
    if config.model in ("sclip", "bench") or config.kind not in ("train", "distil"):
        raise ValueError(f"{config.name} is no detector for single posts; save the run it was made of")
    if getattr(config.detector, "reply_hours", None):
        raise ValueError(f"{config.name} reads replies to its posts; use a DMFL with reply_hours=None")
    if config.model == "mfan" and dict(config.detector.options).get("graph"):
        raise ValueError(f"{config.name} reads who replied to whom among its posts; use mfan without the graph")
    corpus = inputs.corpus_of(config, settings)
    checkpoint = reports.run_or_load(config.stage1, settings, checkpoint=True).checkpoint() if config.stage1 else None
    reader = _fitted(config, settings, corpus, checkpoint)
    if config.model == "baseline":
        return Part(reader, _row(config, settings, corpus, checkpoint))
    from safetensors.torch import load_file

    report = reports.run_or_load(config, settings, checkpoint=True)
    _probe(reader)
    return _part(reader, load_file(report.checkpoint()))


def _fitted(config: RunConfig, settings: Settings, corpus: Corpus, checkpoint: Path | None) -> Reader:
    reader = Reader(config, Encoders(lambda name: encoded.weights_folder(name, settings)))
    if config.stage1 and not (config.model == "baseline" and config.detector.kind in WORD_ROWS):
        reader.sclip = inputs.load_sclip(config.stage1, checkpoint, settings)
        if config.stage1.sclip.text(config.language).kind == "transformer":
            reader.stage1_words = inputs.vocabulary(config.stage1, config.language, settings)
    if config.model == "dmfl" or "words" in reader.reads:
        reader.words = dmfl_inputs.lexicon_of(corpus, config.detector.word2vec)
    if reader.vision is not None and (shown := corpus.posts["image"][corpus.posts["image"] != ""]).size:
        picture = _Key(corpus.images, shown.iloc[0])
        reader.shapes["raw"] = list(reader.raw_images([picture]).shape[1:])
    if (n := getattr(config.detector, "image_components", None)) and reader.vision is not None:
        maps, row = inputs.images_of(corpus, config.detector.image, settings)
        fit_on = row[inputs.rows_of(corpus.posts, "train")].unique()
        fit_on = fit_on[maps[fit_on].flatten(1).any(dim=1)]
        reader.components = components.principal_components(maps, fit_on, n)[:2]
    return reader


class _Key:
    """A corpus's picture, as the reader asks for one."""

    def __init__(self, images: Any, key: str) -> None:
        self.images, self.key = images, key

    def pixels(self, size_px: int) -> np.ndarray:
        """As `Images.pixels`."""
        return self.images.pixels(self.key, size_px)


def pictures_of(corpus: Corpus, rows_: np.ndarray) -> list[Any]:
    """The pictures of some posts of a corpus, None where they have none."""
    return [_Key(corpus.images, key) if key else None for key in corpus.posts["image"].to_numpy()[rows_]]


def _row(config: RunConfig, settings: Settings, corpus: Corpus, checkpoint: Path | None) -> Row:
    """A row of scikit-learn fitted as `baseline_runs.run` fits it."""
    read = features.for_row(inputs.Source(config, corpus, settings, checkpoint))
    parts = {split: features.of_rows(read, inputs.rows_of(corpus.posts, split).numpy()) for split in ("train", "dev")}
    chosen, _ = baselines.choose(config.detector, parts["train"], parts["dev"], config.language)
    fitted = baselines.fit(chosen, parts["train"], config.language)
    return rows.row_of(fitted.kind, config.language, *rows.tensors_of(fitted))


def _probe(reader: Reader) -> None:
    """Write down the shapes of what the model reads: it is built from them again."""
    if reader.config.model == "micc":
        return
    batch = reader.batch([""], [None])
    reader.shapes["images"] = list(batch.images.shape[1:])
    if batch.text_features is not None:
        reader.shapes["text"] = batch.text_features.shape[1]


# --- to and from tensors ----------------------------------------------------------------------------


def tensors_of(part: Part) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """What config.json says of a part, its tensors and its words."""
    reader, words = part.reader, {}
    if isinstance(part.model, Row):
        tensors, known = rows.tensors_of(part.model)
        words |= {"columns": known} if known is not None else {}
    else:
        tensors = {n: t for n, t in part.model.state_dict().items() if not n.startswith(_training_only(part.model))}
    tensors = {f"model.{name}": tensor for name, tensor in tensors.items()}
    shapes = dict(reader.shapes)
    if reader.sclip is not None:
        shapes["sclip"] = _sclip_sizes(reader.sclip)
        if part.config.model != "micc":  # MICC holds its own
            tensors |= {f"stage1.{name}": tensor for name, tensor in reader.sclip.state_dict().items()}
    if reader.components:
        tensors |= dict(zip(("components", "components_mean"), reader.components))
    for name in ("words", "stage1_words"):
        if (known := getattr(reader, name)) is not None:
            words[name] = {"unit": known.unit, "words": list(known.words)}
    return {"run": plain_config(part.config), "shapes": shapes}, tensors, words


def of_tensors(
    about: dict[str, Any], tensors: dict[str, Tensor], words: dict[str, Any], encoders: Encoders, own_code: bool
) -> Part:
    """Inverse of `tensors_of`. Raises: SavedDetectorError: it needs code of its own, and that was not allowed."""
    config = from_dict(migrations.upgraded(about["run"]))
    if isinstance(config.detector, DetectorConfig) and not (own_code or config.detector.path.startswith(OURS)):
        raise SavedDetectorError(
            f"this detector runs a class of its own, {config.detector.path}; if you trust whoever sent the folder, "
            "load it with own_code=True (--own-code)"
        )
    reader = Reader(config, encoders, shapes=about["shapes"])
    for name in ("words", "stage1_words"):
        if name in words:
            setattr(reader, name, Vocabulary(tuple(words[name]["words"]), words[name]["unit"]))
    if "components" in tensors:
        reader.components = tensors["components"], tensors["components_mean"]
    if "sclip" in about["shapes"]:
        sizes = about["shapes"]["sclip"]
        reader.sclip = SCLIP(config.stage1.sclip, sizes["n_words"], sizes["d_text"], sizes["d_map"])
        clip.start(reader.sclip, encoders.folder)
        if config.model != "micc":
            reader.sclip.load_state_dict(_below("stage1.", tensors))
        reader.sclip.eval().to(device())
    state = _below("model.", tensors)
    if config.model == "baseline":
        return Part(reader, rows.row_of(config.detector.kind, config.language, state, words.get("columns")))
    return _part(reader, state)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _sclip_sizes(sclip: SCLIP) -> dict[str, Any]:
    towers = {name: (config.kind, sclip.text_towers[name]) for name, config in sclip.config.texts}
    is_map = sclip.config.vision.kind == "feature_map"
    return {
        "n_words": {name: tower.embed.num_embeddings if kind == "transformer" else 1
                    for name, (kind, tower) in towers.items() if kind != "frozen"},
        "d_text": {name: tower.width for name, (kind, tower) in towers.items() if kind == "frozen"},
        "d_map": sclip.image_tower.patch.in_features if is_map else None,
    }


def _part(reader: Reader, state: dict[str, Tensor]) -> Part:
    """The network of a run with its weights; strict but for what trains only."""
    model = _network(reader, state)
    lacking, spare = model.load_state_dict(state, strict=False)
    spare = [name for name in spare if not name.startswith(_training_only(model))]
    if lacking or spare:
        raise SavedDetectorError(f"{reader.config.name}: weights do not fit the model ({[*lacking, *spare][:3]}); "
                                 "train the detector again")  # fmt: skip
    return Part(reader, model.eval().to(device()))


def _training_only(model: nn.Module) -> tuple[str, ...]:
    """How names of weights begin that say nothing of a post: EANN's adversary, or what a class of one file names."""
    return tuple(getattr(model, "training_only", ()))


def _network(reader: Reader, state: dict[str, Tensor]) -> nn.Module:
    config, shapes, detector = reader.config, reader.shapes, reader.config.detector
    if config.model == "micc":
        inputs.let_learn(reader.sclip, detector, config.language, reader.encoders.folder)
        return MICC(detector, reader.sclip, config.language)
    shape = shapes["images"]
    encoder = dmfl_inputs.image_encoder(detector, reader.encoders.folder) if config.model == "dmfl" else None
    if encoder is not None:
        shape = list(encoder.eval()(torch.zeros(1, *shape)).shape[1:])
    d_image = shape[-1] if len(shape) == 2 else shape[0]
    vectors = torch.zeros(len(reader.words), detector.word2vec.d_word) if reader.words else named.NO_WORDS
    if config.model == "dmfl":
        n_rows = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
        table = state.get("logic.token.weight") if detector.logic_init == "bert" else None
        n_tokens = len(reader.words) if table is None else len(table)
        # of frozen layers: what the token map reads, or the chain's own width where there is no map
        d_hidden = detector.logic_width if table is None else table.shape[1]
        return DMFL(detector, vectors, d_image, n_rows - detector.image_cls, n_tokens, d_hidden, encoder)
    try:
        return named.build(detector, named.Given(vectors, shapes.get("text", 0), tuple(shape)))
    except (ValueError, TypeError) as error:
        raise SavedDetectorError(f"{detector.path} cannot be built: {error}") from error
