"""What a run's result belongs to beside its config: its posts, pictures and pretrained weights, as hashes.

Files under the same names may change; a run stores these hashes and `results` compares them with today's, where the
data are at hand. What was hashed once is remembered under the files' sizes and times, so a comparison reads no corpus.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from rumorlib import config as cfg
from rumorlib.config import RunConfig, Settings
from rumorlib.data import files, keys
from rumorlib.data.drawn_scenes import claims, drawn, replies, scenes, wordings
from rumorlib.data.images import ImageError, Images
from rumorlib.data.posts import PostsError
from rumorlib.data.splitting import split_files
from rumorlib.inputs import corpora

Hashes = dict[str, str]  # "posts", "pictures" and "weights <folder>" -> sha256


def of_run(config: RunConfig, settings: Settings) -> Hashes:
    """Hashes of the posts (stage 1: captions) of a run, of their pictures if the corpus has any, and of each folder of
    pretrained weights that its config names and that is there. Raises: as `inputs.corpus_of`."""
    found = dict(_of_corpus(_asked(config, settings), config, settings))
    places = [cfg.weights_place(name, settings.data_root) for name in weights(config)]
    return found | {f"weights {place.name}": of_weights(place) for place in places if place.is_dir()}


def changed(stored: Mapping[str, str], config: RunConfig, settings: Settings) -> list[str]:
    """Names of `stored` hashes that are other ones today; those whose data are not at hand are not compared."""
    try:
        now = of_run(config, settings)
    except (FileNotFoundError, PostsError):  # tables are read with fewer files than runs were made with
        return []
    return [name for name in stored if name in now and now[name] != stored[name]]


def split_of(config: RunConfig, settings: Settings) -> str:
    """Hash of the sides of a run's posts as they are today; "" for stage 1, whose content says them, and where the
    posts are not at hand."""
    try:
        return "" if config.model == "sclip" else split_files.split_hash(corpora.corpus_of(config, settings).posts)
    except (FileNotFoundError, PostsError):
        return ""


def weights(config: Any) -> set[str]:
    """Folders of pretrained weights that a run's config names, stage 1's not: that run has its own."""
    if not dataclasses.is_dataclass(config):
        return set().union(*map(weights, config)) if isinstance(config, tuple) else set()
    found = {getattr(config, "weights", None)} - {None}
    parts = [f.name for f in dataclasses.fields(config) if f.name not in ("stage1", "parent")]
    return found.union(*(weights(getattr(config, name)) for name in parts))


# --- posts and pictures ---------------------------------------------------------------------------


def _asked(config: RunConfig, settings: Settings) -> str:
    """What decides a run's posts, with the state of the files they come from, as a file name."""
    known = config.stage1 if config.train_on != "all" else None
    asked = [config.model == "sclip", config.dataset, config.language, config.profile, config.corpus_seed,
             config.on_missing_image, config.n_train, config.train_on, cfg.as_dict(known) if known else None,
             _state(config, settings)]  # fmt: skip
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:24]


def _state(config: RunConfig, settings: Settings) -> str:
    name = cfg.about(config.dataset).posts_of or config.dataset
    name = name if name in cfg.CORPORA else f"{name}-{config.language}"
    return corpora.state_of(name, settings) or _drawing()


@lru_cache(maxsize=1)
def _drawing() -> str:
    """State of the code that draws scenes."""
    return hashlib.sha256(
        "".join(map(inspect.getsource, (claims, drawn, replies, scenes, wordings))).encode()
    ).hexdigest()


@lru_cache(maxsize=64)
def _of_corpus(asked: str, config: RunConfig, settings: Settings) -> tuple[tuple[str, str], ...]:
    place = cfg.cache_root() / "content" / f"{asked}.json"
    if known := files.read_object(place):  # else it is computed, damaged or not
        return tuple(known.items())
    if config.model == "sclip":
        lines: list[str] = []
        for language in dict(config.sclip.texts):
            loaded = corpora.captions(config.dataset, language, settings, config.corpus_seed)
            shown, told = loaded.captions["image"], loaded.captions[["image", "caption_id", "split", "text"]]
            lines += [f"{language}\x1f{line}" for line in map("\x1f".join, told.astype(str).to_numpy())]
        found = {"posts": _sha256(lines)}
    else:
        loaded = corpora.posts_of(config, settings)  # replies, if they are read, are the same posts
        found, shown = {"posts": keys.posts_hash(loaded.posts)}, loaded.posts["image"]
    if loaded.images is not None:
        found["pictures"] = _sha256(_pictures(loaded.images, sorted(set(shown) - {""})))
    files.write_json(place, found)
    return tuple(found.items())


def _pictures(images: Images, shown: list[str]) -> Iterator[str]:
    for key in shown:
        try:
            yield f"{key}\x1f{images.content_hash(key)}"
        except ImageError:
            yield f"{key}\x1f"


def _sha256(lines: Any) -> str:
    return hashlib.sha256("\x1e".join(sorted(lines)).encode("utf-8", "surrogatepass")).hexdigest()


def of_weights(folder: Path) -> str:
    """sha256 of the files of a folder of weights, names and contents."""
    return _hashed(tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns, str(path))
                         for path in sorted(folder.glob("*.safetensors"))))  # fmt: skip


@lru_cache(maxsize=16)
def _hashed(found: tuple[tuple[str, int, int, str], ...]) -> str:
    return _sha256(f"{name}\x1f{files.file_hash(Path(path))}" for name, _, _, path in found)
