"""Fixed features of whole corpora: what the anatomy of a score, selection rules and counterfactuals are measured on.

Features are made once per corpus without labels, of all its posts alike, so that the steps of an experiment differ in
their protocol alone. That encoders have seen the words of test posts is the same in every step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd

from rumorlib import experiments
from rumorlib.config import HeadsConfig, Settings, record
from rumorlib.config.profiles import HEADS
from rumorlib.data import corpora, keys
from rumorlib.data.dates import offset_hours, parse_dates
from rumorlib.data.drawn_scenes import claims, drawn
from rumorlib.data.posts import Corpus
from rumorlib.experiments.benches import DRAWN_POSTS, pictured, printed_name
from rumorlib.inputs import encoded
from rumorlib.inputs.corpora import corpus as corpus_called
from rumorlib.models import baselines

THUMBNAIL_PX = 8  # drawn scenes: colours of an 8 x 8 grid


N_TIME_BINS, MOST_IMAGES = 20, 9


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


@lru_cache(maxsize=1)
def of_corpus(name: str, settings: Settings) -> Bench:
    """The bench of a corpus: frozen encoders where it has pictures, TF-IDF for a corpus of texts."""
    config = HEADS[settings.profile]
    if record(name).kind == "drawn":
        return of_drawn(config)
    corpus, language = corpus_called(name, settings), record(name).language
    corpus = replace(corpus, posts=corpus.posts.reset_index(drop=True))
    image = None
    if pictured(name, settings):
        stage1 = experiments.stage1_of(settings, name)
        texts = encoded.encode_texts(corpus.posts["text"].tolist(), stage1, language, settings).features.float()
        maps, rows = encoded.images_of(corpus, stage1.sclip.vision.as_map, settings)
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
    return Bench(printed_name(corpus.name), corpus, words(corpus.posts["text"], "en", config), image, None, group)


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
