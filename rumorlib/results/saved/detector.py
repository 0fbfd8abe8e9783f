"""A detector to use: trained, calibrated on dev, asked about any post, saved as a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from rumorlib import config as cfg
from rumorlib import inputs
from rumorlib.config import RunConfig, Settings
from rumorlib.data import keys
from rumorlib.data.posts import Corpus
from rumorlib.inputs import content
from rumorlib.results.saved import card, decision, explained, folder, given, models
from rumorlib.results.saved.folder import SavedDetectorError
from rumorlib.results.saved.given import Given
from rumorlib.results.saved.models import Part
from rumorlib.results.saved.novelty import Novelty, limits, unlike
from rumorlib.results.saved.reader import Encoders

AT_ONCE = 64  # posts encoded together
PICTURES_KNOWN = 1000  # training pictures that a new one is compared with
WHERE = {  # where a frozen encoder is published; those of the laptop profile are converted, so their bytes differ
    "all-MiniLM-L6-v2": "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    "multilingual-e5-small": "https://huggingface.co/intfloat/multilingual-e5-small",
    "mobilenet_v2_1.0_224": "https://huggingface.co/google/mobilenet_v2_1.0_224",
    "tf_efficientnet_lite2": "https://huggingface.co/timm/tf_efficientnet_lite2.in1k",
    "bert-base-uncased": "https://huggingface.co/google-bert/bert-base-uncased",
    "bert-base-chinese": "https://huggingface.co/google-bert/bert-base-chinese",
    "clip-vit-base-patch32": "https://huggingface.co/openai/clip-vit-base-patch32",
    "vit-base-patch16-224": "https://huggingface.co/google/vit-base-patch16-224",
}


@dataclass
class Detector:
    """One model, or several whose standardised log-odds are averaged by weight; `about` is its config.json."""

    parts: list[Part]
    about: dict[str, Any]
    novelty: Novelty

    # --- making ---------------------------------------------------------------------------------------

    @classmethod
    def from_runs(cls, configs: Sequence[RunConfig], settings: Settings, threshold: str = "0.5") -> Detector:
        """The detector of one run, or of several on one corpus (`decision.joined`); what is not there is trained now.

        Calibration and threshold are chosen on dev; dev and test are then scored as any posts are, once.

        Args: threshold: a goal of `decision.parse_goal`.
        Raises: as `models.of_run`, `decision.threshold`. ValueError: runs of several corpora.
        """
        if len({(one.dataset, one.protocol, one.on_missing_image) for one in configs}) != 1:
            raise ValueError("a detector is made of runs on one corpus and one split")
        decision.parse_goal(threshold)
        parts, corpus = [models.of_run(one, settings) for one in configs], inputs.corpus_of(configs[0], settings)
        made = cls(parts, {"language": configs[0].language, "label_means": corpus.label_means}, Novelty.fit(None, None))
        made.about["encoders"] = made._needed(settings)
        made.novelty = made._known(corpus)
        made._decide(corpus, threshold)
        posts = corpus.posts
        made.about["corpus"] = {
            "name": cfg.printed(configs[0].dataset), "posts": keys.posts_hash(posts), "split_file": corpus.split_file,
            "counts": {split: len(part) for split, part in posts.groupby("split") if split},
            "rumors": {split: int(part["label"].sum()) for split, part in posts.groupby("split") if split},
        }  # fmt: skip
        return made

    def _needed(self, settings: Settings) -> list[dict[str, str]]:
        asked = dict.fromkeys(pair for part in self.parts for pair in part.reader.encoder_names())
        hashes = {name: content.of_weights(inputs.weights_folder(name, settings)) for _, name in asked}
        return [{"reads": what, "name": name, "sha256": hashes[name],
                 "where": WHERE.get(name, f"https://huggingface.co/models?search={name}")}
                for what, name in asked]  # fmt: skip

    def _known(self, corpus: Corpus) -> Novelty:
        train = np.flatnonzero(corpus.posts["split"] == "train")
        texts = corpus.posts["text"].to_numpy()[train].tolist() if self.reads_text else None
        label, shown, pooled = corpus.posts["label"].to_numpy(), train[:0], None
        if self._sees is not None:
            shown = train[corpus.posts["image"].to_numpy()[train] != ""]
            shown = np.sort(np.random.default_rng(0).permutation(shown)[:PICTURES_KNOWN])
            chunks = np.array_split(shown, max(1, -(-len(shown) // AT_ONCE)))
            found = [self._sees.pooled_images(models.pictures_of(corpus, rows)) for rows in chunks if len(rows)]
            pooled = torch.cat(found) if found else None
        return Novelty.fit(texts, pooled, label[train], label[shown])

    def _decide(self, corpus: Corpus, goal: str) -> None:
        posts, about = corpus.posts.reset_index(drop=True), self.about
        rows = {split: np.flatnonzero(posts["split"] == split) for split in ("dev", "test")}
        asked = {split: self._of_corpus(corpus, index) for split, index in rows.items()}
        label = {split: posts["label"].to_numpy()[index] for split, index in rows.items()}
        each = {split: self._each(one) for split, one in asked.items()}
        if len(self.parts) > 1:
            found = decision.joined(each["dev"], np.arange(len(rows["dev"])), label["dev"])
            about["combine"] = [one.tolist() for one in found]
        log_odds = {split: self._joined(one) for split, one in each.items()}
        slope, intercept = decision.platt(log_odds["dev"], label["dev"])
        about["calibration"] = {"slope": slope, "intercept": intercept, "on": "dev"}
        prob = {split: decision.calibrated(z, slope, intercept) for split, z in log_odds.items()}
        about["threshold"] = {"value": decision.threshold(prob["dev"], label["dev"], goal), "goal": goal, "on": "dev"}
        limit = about["threshold"]["value"]
        about["figures"] = {split: decision.figures(log_odds[split], prob[split], label[split], limit)
                            for split in rows if len(rows[split])}  # fmt: skip
        for one in about["figures"].values():
            one["precision_at_shares"] = decision.at_shares(one["recall"], one["false_alarms"])
        distance = {split: self._distances(one) for split, one in asked.items()}
        bounds = limits(distance["dev"])
        about["unlike_training"] = {"limits": bounds}
        if len(rows["test"]):
            alarms = unlike(distance["test"], bounds)
            alarms |= np.array([self._is_foreign(text) for text in asked["test"].texts], bool)
            about["unlike_training"] |= {"false_alarms": float(alarms.mean()), "n": len(alarms), "on": "test"}

    def _of_corpus(self, corpus: Corpus, rows: np.ndarray) -> Given:
        texts = [given.text_of(text) for text in corpus.posts["text"].to_numpy()[rows]]
        return Given(texts, models.pictures_of(corpus, rows), [[] for _ in rows], pd.RangeIndex(len(rows)))

    # --- asking -----------------------------------------------------------------------------------------

    @property
    def reads_text(self) -> bool:
        """Whether a post's words matter."""
        return any(part.reader.reads_text for part in self.parts)

    @property
    def reads_picture(self) -> bool:
        """Whether a post's picture matters."""
        return self._sees is not None

    @property
    def _sees(self) -> Any:
        return next((part.reader for part in self.parts if part.reader.vision is not None), None)

    @property
    def threshold(self) -> float:
        """The calibrated probability from which a post is called a rumor."""
        return self.about["threshold"]["value"]

    def with_threshold(self, value: float) -> Detector:
        """The same detector with another threshold; its figures are dropped, they were of the old one."""
        decision.parse_goal(str(value))
        about = {name: told for name, told in self.about.items() if name != "figures"}
        return replace(self, about=about | {"threshold": {"value": value, "goal": str(value), "on": "nothing"}})

    def predict(
        self, posts: Mapping[str, Any] | Sequence[Mapping[str, Any]] | pd.DataFrame, root: Path | None = None
    ) -> pd.DataFrame:
        """What the detector says of posts.

        Args:
            posts: a dict, a list of dicts or a frame with `text` and `image` (path, bytes, PIL image, uint8 array).
            root: folder that image names are below; None: they are paths.
        Returns: one row per post, in order, with the frame's index: probability (the model's own), calibrated, label
            (1 = rumor, by the threshold), unlike_training, missing (what the post lacks, or what does not fit). Where
            nothing that the detector reads is there, probability and label are missing.
        Raises: ValueError: not posts.
        """
        size = self._sees.vision.image_size_px if self._sees else 0
        asked = given.posts_of(posts, root, size)
        chunks = [self._answer(asked, slice(start, start + AT_ONCE)) for start in range(0, len(asked), AT_ONCE)]
        columns = ("probability", "calibrated", "label", "unlike_training", "missing")
        if not chunks:
            return pd.DataFrame(columns=list(columns), index=asked.index)
        return (pd.concat(chunks) if len(chunks) > 1 else chunks[0]).set_axis(asked.index, axis=0)

    def explain(self, post: Mapping[str, Any]) -> explained.Explanation:
        """Why a post gets its answer: the effect of each word, of the picture, and the maps of models that have some.

        Args: post: as of `predict`, one. Raises: ValueError: not one post.
        """
        if not isinstance(post, Mapping):
            raise ValueError("explain takes one post: a dict with text, image or both")
        size = self._sees.vision.image_size_px if self._sees else 0
        asked, calibration = given.posts_of(post, decode=size), self.about["calibration"]

        def says(posts: Given) -> np.ndarray:
            return calibration["slope"] * self._joined(self._each(posts)) + calibration["intercept"]

        answer = self._answer(asked, slice(0, 1)).iloc[0]
        seen = self._sees is not None and asked.pictures[0] is not None
        pooled = self._sees.pooled_images(asked.pictures) if seen else None
        nearest = self.novelty.nearest(asked.texts[0], pooled)
        return explained.explanation(self.parts, asked, answer, nearest, says, size)

    def _answer(self, asked: Given, which: slice) -> pd.DataFrame:
        part = Given(asked.texts[which], asked.pictures[which], asked.missing[which], asked.index[which])
        can = np.array([(bool(text) and self.reads_text) or (picture is not None and self.reads_picture)
                        or not (self.reads_text or self.reads_picture)
                        for text, picture in zip(part.texts, part.pictures)])  # fmt: skip
        log_odds = self._joined(self._each(part))
        calibration = self.about["calibration"]
        prob = decision.calibrated(log_odds, calibration["slope"], calibration["intercept"])
        label = pd.array((prob >= self.threshold).astype(int), dtype="Int64")
        label[~can] = pd.NA
        far = unlike(self._distances(part), self.about["unlike_training"]["limits"])
        far |= np.array([self._is_foreign(text) for text in part.texts], bool)
        return pd.DataFrame({
            "probability": np.where(can, decision.calibrated(log_odds, 1.0, 0.0), np.nan),
            "calibrated": np.where(can, prob, np.nan), "label": label, "unlike_training": far,
            "missing": [self._lacks(text, why) for text, why in zip(part.texts, part.missing)],
        })  # fmt: skip

    def _is_foreign(self, text: str) -> bool:
        return self.reads_text and given.wrong_language(text, self.about["language"])

    def _lacks(self, text: str, missing: list[str]) -> str:
        reads = {"text": self.reads_text, "picture": self.reads_picture}
        told = [why for why in missing if reads[why.split(":")[0]]]
        if self._is_foreign(text):
            told.append(f"language: trained on {self.about['language']}")
        return "; ".join(told)

    def _each(self, asked: Given) -> np.ndarray:
        """(parts, n) log-odds."""
        blocks = []
        for start in range(0, len(asked), AT_ONCE):
            texts, pictures = asked.texts[start : start + AT_ONCE], asked.pictures[start : start + AT_ONCE]
            blocks.append(np.stack([part.log_odds(texts, pictures) for part in self.parts]))
        return np.concatenate(blocks, axis=1) if blocks else np.zeros((len(self.parts), 0))

    def _joined(self, each: np.ndarray) -> np.ndarray:
        if len(each) == 1:
            return each[0]
        mean, spread, *weights = (np.array(values) for values in self.about["combine"])
        # detectors saved before parts had weights: alike
        return np.average((each - mean[:, None]) / spread[:, None], axis=0, weights=weights[0] if weights else None)

    def _distances(self, asked: Given) -> np.ndarray:
        pooled = None
        if self.novelty.pictures is not None:
            chunks = range(0, len(asked), AT_ONCE)
            found = [self._sees.pooled_images(asked.pictures[start : start + AT_ONCE]) for start in chunks]
            pooled = torch.cat(found) if found else None
        return self.novelty.distances(asked.texts, pooled)

    # --- folders ------------------------------------------------------------------------------------------

    def save_pretrained(self, place: str | Path) -> Path:
        """Write the detector to a folder: config.json, model.safetensors, words, README.md (its card).

        Raises: SavedDetectorError: something else lies there.
        """
        tensors, words, parts = {}, {}, []
        for number, part in enumerate(self.parts):
            told, numbers, known = models.tensors_of(part)
            parts.append(told)
            tensors |= {f"part{number}.{name}": tensor for name, tensor in numbers.items()}
            words |= {f"part{number}_{name}": value for name, value in known.items()}
        tensors |= {f"known.{name}": tensor for name, tensor in self.novelty.tensors().items()}
        about = self.about | {"parts": parts}
        folder.write(Path(place), about, tensors, words, card.text(about, self.reads_text, self.reads_picture))
        return Path(place)

    @classmethod
    def from_pretrained(cls, place: str | Path, data: str | Path | None = None, own_code: bool = False) -> Detector:
        """The detector of a folder; frozen encoders are read from <data>/weights (or RUMORLIB_DATA) when asked.

        Args: own_code: allow a detector whose class is not the package's.
        Raises: SavedDetectorError: of another version, changed, cut short, or an encoder it needs is not there.
        """
        about, tensors, words = folder.read(Path(place))
        encoders, parts = Encoders(folder.weights_of(about["encoders"], data)), []
        for number, told in enumerate(about.pop("parts")):
            prefix, of_words = f"part{number}.", f"part{number}_"
            numbers = {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
            known = {name[len(of_words) :]: value for name, value in words.items() if name.startswith(of_words)}
            try:
                parts.append(models.of_tensors(told, numbers, known, encoders, own_code))
            except cfg.SettingError as error:
                raise SavedDetectorError(f"{place} was saved by rumorlib {about['rumorlib']}, whose settings this "
                                         f"version does not have ({error}); train it again") from None  # fmt: skip
        known = {name.removeprefix("known."): t for name, t in tensors.items() if name.startswith("known.")}
        told = {name: value for name, value in about.items() if name not in ("format", "files", "sha256", "rumorlib")}
        return cls(parts, told, Novelty.of_tensors(known))
