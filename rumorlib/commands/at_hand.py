"""Detectors at hand: those saved in the output folder, made of a profile's runs where there are none; a drawn post to
ask them about, and the lines with which `make demo` ends."""

from __future__ import annotations

import io
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rumorlib import config as cfg
from rumorlib.config import Settings
from rumorlib.experiments import recommended

if TYPE_CHECKING:
    from rumorlib.results.saved.detector import Detector

FORM = "notebooks/11_your_posts.ipynb"
POST_PX = 192  # side of a drawn post's picture


def folder_of(profile: str) -> Path:
    """Where detectors of a profile's runs are saved."""
    return cfg.output_root() / "detectors" / profile


def detectors(settings: Settings) -> dict[str, Path]:
    """Folder of each detector of `recommended.to_try` by "<dataset>-<model>": saved there, or made and saved now.

    Raises: as `Detector.from_runs`.
    """
    from rumorlib.results.saved.detector import Detector

    found = {}
    for run in recommended.to_try(settings):
        name = f"{run.dataset}-{run.model}"
        found[name] = folder_of(settings.profile) / name
        if settings.train == "all" or not _is_of(found[name], run):
            Detector.from_runs([run], settings).save_pretrained(found[name])
    return found


def _is_of(place: Path, run: cfg.RunConfig) -> bool:
    detector = opened(place)
    return detector is not None and [part.config for part in detector.parts] == [run]


def opened(place: Path) -> Detector | None:
    """The detector of a folder; None: there is none that can be used."""
    from rumorlib.results.saved.detector import Detector, SavedDetectorError

    try:
        return Detector.from_pretrained(place)
    except SavedDetectorError:
        return None


def drawn_post(settings: Settings, dataset: str) -> tuple[str, bytes]:
    """Text and picture (PNG) of the first test post of a drawn corpus whose label is 1."""
    from PIL import Image

    from rumorlib import inputs

    corpus = inputs.corpus(dataset, settings)
    row = np.flatnonzero(corpus.posts["split"].eq("test") & corpus.posts["label"].eq(1))[0]
    text, key = corpus.posts.iloc[row][["text", "image"]]
    made = io.BytesIO()
    Image.fromarray(corpus.images.pixels(key, POST_PX)).save(made, "PNG")
    return text, made.getvalue()


def closing_lines(settings: Settings) -> list[str]:
    """A command that asks the first detector at hand about a drawn post, and where the form is.

    The command works as it is printed, in the working folder. None without drawn scenes. Raises: as `detectors`.
    """
    from rumorlib.data import files

    drawn = next((name for name in settings.datasets if cfg.record(name).kind == "drawn"), None)
    made = detectors(replace(settings, train="missing", datasets=(drawn,))) if drawn else {}
    if not made:
        return []
    place = next(iter(made.values()))
    text, picture = drawn_post(settings, drawn)
    files.write_bytes(shown := folder_of(settings.profile) / f"{drawn}.png", picture)
    command = [_near(Path(sys.executable)), "-m", "rumorlib", "predict", _near(place), "--text", text,
               "--image", _near(shown)]  # fmt: skip
    return ["ask a detector about a drawn post:", f"    {shlex.join(command)}",
            f"the same as a form, with the evidence: make lab, then {FORM}"]  # fmt: skip


def _near(path: Path) -> str:
    """A path as one types it: below the working folder without its name."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
