"""Fixed features of whole corpora: what the anatomy of a score, selection rules and counterfactuals are measured on.

Features are made once per corpus without labels, of all its posts alike, so that the steps of an experiment differ in
their protocol alone. That encoders have seen the words of test posts is the same in every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from rumorlib import evaluation, experiments, inputs
from rumorlib.config import DATASETS, BaselineConfig, HeadsConfig, Kind, RunConfig, Settings, record
from rumorlib.data import claims, corpora, drawn, keys, split_files
from rumorlib.data.dates import offset_hours, parse_dates
from rumorlib.data.posts import Corpus
from rumorlib.models import baselines
from rumorlib.profiles import HEADS, SIZES
from rumorlib.run import Outcome

THUMBNAIL_PX = 8  # drawn scenes: colours of an 8 x 8 grid
N_TIME_BINS, MOST_IMAGES = 20, 9
DRAWN_POSTS = {"n_train": 800, "n_dev": 200, "n_test": 400, "n_unseen": 1, "n_pairs": 1, "n_undetectable": 1,
               "n_fingerprint": 1, "n_caption_scenes": 10}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Bench:
    """A corpus as feature blocks, one row per post, index 0..n-1.

    text: (n, components). image: (n, components) or None. metadata: (n, m) publish time and number of attached pictures
    as steps, never an input of a model but as the last step of the anatomy. group: (n,) near-duplicate group as text.
    """

    name: str
    corpus: Corpus
    text: np.ndarray
    image: np.ndarray | None
    metadata: np.ndarray | None
    group: np.ndarray

    @property
    def posts(self) -> pd.DataFrame:
        """The posts table."""
        return self.corpus.posts

    @property
    def label(self) -> np.ndarray:
        """(n,) 1 = rumor."""
        return self.posts["label"].to_numpy()

    def features(self, inputs: str) -> np.ndarray:
        """(n, d) what HeadsConfig.inputs names."""
        told = np.hstack([self.both, self.metadata]) if inputs == "told" else self.both
        return {"text": self.text, "image": self.image}.get(inputs, told)

    @property
    def both(self) -> np.ndarray:
        """(n, d) text and, where there is one, image features side by side."""
        return self.text if self.image is None else np.hstack([self.text, self.image])


def of_anatomy(settings: Settings) -> list[str]:
    """Corpora of the anatomy: posts (on the photo tier one modality says nothing), and of drawn scenes the English; the
    profile's where none of the datasets is one."""
    named = dict.fromkeys((*settings.datasets, *settings.text_only))
    found = [name for name in named if record(name).kind == "posts" or _scenes(name)]
    return found or of_anatomy(replace(settings, datasets=DATASETS[settings.profile]))


def with_pictures(settings: Settings) -> list[str]:
    """Datasets whose benches hold text and picture; the profile's where none of the datasets is one."""
    found = [name for name in settings.datasets if pictured(name, settings) or _scenes(name)]
    return found or with_pictures(replace(settings, datasets=DATASETS[settings.profile]))


def pictured(name: str, settings: Settings) -> bool:
    """Whether the profile has frozen encoders for both the texts and the pictures of a corpus with files."""
    known, sizes = record(name), SIZES[settings.profile]
    return known.pictures and sizes.texts[known.language].kind == "frozen" and sizes.vision.kind == "feature_map"


def _scenes(name: str) -> bool:
    return (record(name).kind, record(name).language) == ("drawn", "en")


@lru_cache(maxsize=1)
def of_corpus(name: str, settings: Settings) -> Bench:
    """The bench of a corpus: frozen encoders where it has pictures, TF-IDF for a corpus of texts."""
    config = HEADS[settings.profile]
    if record(name).kind == "drawn":
        return of_drawn(config)
    corpus, language = inputs.corpus(name, settings), record(name).language
    corpus = replace(corpus, posts=corpus.posts.reset_index(drop=True))
    image = None
    if pictured(name, settings):
        stage1 = experiments.sclip(settings, language)
        texts = inputs.encode_texts(corpus.posts["text"].tolist(), stage1, language, settings).features.float()
        maps, rows = inputs.images_of(corpus, stage1.sclip.vision, settings)
        text, image = reduced(texts.numpy(), config), reduced(baselines.pooled(maps), config)[rows.numpy()]
    else:
        text = words(corpus.posts["text"], language, config)
    return Bench(name, corpus, text, image, metadata(corpus.posts), keys.group_key(corpus.posts).to_numpy())


def of_drawn(config: HeadsConfig, leak_rate: float = 0.0) -> Bench:
    """Drawn scenes in English; `leak_rate` of dev and test posts are train posts worded anew, sizes as ever."""
    corpus = drawn.load("en", config=claims.DrawnConfig(leak_rate=leak_rate, **DRAWN_POSTS))
    shown = list(dict.fromkeys(corpus.posts["image"]))
    row_of = {key: row for row, key in enumerate(shown)}
    pixels = np.stack([corpus.images.pixels(key, THUMBNAIL_PX).reshape(-1) for key in shown]).astype(np.float32)
    image = reduced(pixels, config)[[row_of[key] for key in corpus.posts["image"]]]
    group = corpus.posts["image"].to_numpy()
    return Bench(printed(corpus.name), corpus, words(corpus.posts["text"], "en", config), image, None, group)


def words(texts: pd.Series, language: str, config: HeadsConfig) -> np.ndarray:
    """Principal directions of TF-IDF (words 1-2 or characters 1-3, as the row tfidf_lr reads them), unit length."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    counted = baselines.tfidf(language).fit_transform(texts)
    components = min(config.components, counted.shape[1] - 1)
    return normalize(TruncatedSVD(components, random_state=0).fit_transform(counted))


def reduced(features: np.ndarray, config: HeadsConfig) -> np.ndarray:
    """Principal components, at most config.components."""
    from sklearn.decomposition import PCA

    components = min(config.components, *features.shape)
    return PCA(components, svd_solver="randomized", random_state=0).fit_transform(features)


def metadata(posts: pd.DataFrame) -> np.ndarray | None:
    """(n, m) zeros and ones: publish time in twentieths of the posts, and the number of attached pictures."""
    times = parse_dates(posts["created_at"], offset_hours(posts["language"]))
    rank = times.rank(pct=True).to_numpy()
    columns = [rank * N_TIME_BINS // 1 == step for step in range(N_TIME_BINS + 1)] + [np.isnan(rank)]
    if "n_images" in posts:
        columns += [posts["n_images"].clip(upper=MOST_IMAGES).to_numpy() == n for n in range(MOST_IMAGES + 1)]
    return np.column_stack(columns).astype(float) if times.notna().any() else None


def unsplit(bench: Bench, settings: Settings) -> Corpus:
    """The corpus with the sides it is published with, before any dev was taken from train; rows as in the bench."""
    if bench.metadata is None:
        sides = bench.posts["split"].where(bench.posts["split"].isin(["train", "test"]), "unassigned")
    else:
        published = corpora.load(bench.name, settings).posts.set_index("post_id")["split"]
        sides = bench.posts["post_id"].map(published)
    return replace(bench.corpus, posts=bench.posts.assign(split=sides))


# --- runs on benches: planned, written and read like any other ------------------------------------


def printed(dataset: str) -> str:
    """Printed name of a bench's corpus."""
    return f"{dataset}, few posts" if record(dataset).kind == "drawn" else dataset


def plan(settings: Settings, dataset: str, kind: Kind, variant: str, detector: HeadsConfig | BaselineConfig,
         protocol: str = "") -> RunConfig:  # fmt: skip
    """A run of small classifiers on a bench; all seeds of a head are one run."""
    few = DRAWN_POSTS["n_train"] if record(dataset).kind == "drawn" else None
    return RunConfig(
        model="bench", dataset=dataset, kind=kind, variant=variant, profile=settings.profile,
        language=record(dataset).language, detector=detector, protocol=protocol, n_train=few,
    )  # fmt: skip


def predictions(bench: Bench, rows: np.ndarray, log_odds: np.ndarray, split: str,
                group: str = "group") -> pd.DataFrame:  # fmt: skip
    """Predictions of every seed as they are stored: to four decimals, so that whatever is computed recomputes.

    Args: rows: (n,) posts asked. log_odds: (S, n). split: name of this reading. group: "group", near-duplicates by text
        or picture, or a column of the posts.
    """
    posts = bench.posts.iloc[rows]
    about = {"post_id": posts["post_id"].to_numpy(), "label": bench.label[rows], "split": split, "row": rows}
    about[group] = bench.group[rows] if group == "group" else posts[group].to_numpy()
    frames = [pd.DataFrame(about | {"log_odds": evaluation.to_store(one), "seed": seed})
              for seed, one in enumerate(log_odds)]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def outcome(posts: pd.DataFrame, read: Sequence[pd.DataFrame], history: pd.DataFrame | None = None,
            **facts: Any) -> Outcome:  # fmt: skip
    """What such a run leaves. Metrics are over all seeds' rows of a reading at once: their mean, for shares.

    Args: posts: all, with their sides as the run had them. read: frames of `predictions`, each with its own `split`.
    """
    frame = pd.concat(read).sort_values("row", kind="stable")  # what one post has in common compresses
    frame = frame.drop(columns="row").reset_index(drop=True)
    metrics = {split: evaluation.frame_metrics(evaluation.with_prob(part)) for split, part in frame.groupby("split")}
    facts |= {"split_hash": split_files.split_hash(posts)}
    return Outcome(metrics, pd.DataFrame() if history is None else history, frame, facts=facts)


def stored(report: Any) -> pd.DataFrame:
    """Predictions of a finished run on a bench; real posts go by their opaque key."""
    return report.predictions().rename(columns={"row_key": "post_id"})
