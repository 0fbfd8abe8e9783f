"""Where things lie: results and figures, cached features, raw corpora."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ABOVE = Path(__file__).resolve().parents[2]
IS_CHECKOUT = (_ABOVE / "pyproject.toml").is_file()
# Of an installed package the folder that is worked in takes the checkout's place: nothing is written beside libraries.
PROJECT_ROOT = _ABOVE if IS_CHECKOUT else Path.cwd()


def output_root() -> Path:
    """Folder that every run, table and figure is written to, in its `results/` and `figures/`: RUMORLIB_OUTPUT or
    `output`, which git ignores. Committed results change by the verb `publish` alone."""
    return Path(os.environ.get("RUMORLIB_OUTPUT") or PROJECT_ROOT / "output").expanduser()


def stored(below: str | Path) -> Path:
    """Where a result is read: `below` the output folder if it is there, else the committed one if that is there."""
    own, committed = output_root() / below, PROJECT_ROOT / below
    return committed if committed.exists() and not own.exists() else own


def cache_root() -> Path:
    """Folder of things that can be computed again (frozen features): RUMORLIB_CACHE or `.cache`."""
    return Path(os.environ.get("RUMORLIB_CACHE") or PROJECT_ROOT / ".cache").expanduser()


def data_root(explicit: str | Path | None = None) -> Path:
    """Folder of the raw corpora: `explicit`, else RUMORLIB_DATA.

    Raises: FileNotFoundError: neither is given, or the folder does not exist.
    """
    given = explicit or os.environ.get("RUMORLIB_DATA")
    if not given:
        raise FileNotFoundError(
            "no data folder given: set RUMORLIB_DATA=<folder> or pass data_root, e.g. make laptop DATA=<folder>"
        )
    root = Path(given).expanduser()
    root = root if root.is_absolute() else Path.cwd() / root
    if not root.is_dir():
        raise FileNotFoundError(f"data folder {root} does not exist; see rumorlib/data/README.md")
    return root.resolve()


def weights_roots(data: Path | None) -> list[Path]:
    """Folders that hold pretrained encoders, a folder each: `<data>/weights`, then those that RUMORLIB_WEIGHTS names,
    several with the path separator between them; the first that has an encoder is read."""
    more = [Path(folder).expanduser() for folder in os.environ.get("RUMORLIB_WEIGHTS", "").split(os.pathsep) if folder]
    return [data / "weights"] * (data is not None) + more


def weights_place(name: str, data: Path | None) -> Path:
    """Folder of an encoder: the first there is, else where it is wanted first."""
    places = [root / name for root in weights_roots(data)] or [Path("weights") / name]
    return next((place for place in places if place.is_dir()), places[0])


# With train="all": runs finished from this UTC time on are not made again.
MADE_SINCE = "RUMORLIB_MADE_SINCE"


def is_deterministic() -> bool:
    """Whether RUMORLIB_DETERMINISTIC=1 asks for kernels that add in the same order every time: on a GPU a run then
    gives the same digits twice, more slowly. It decides no result beyond rounding, so it is no part of a config."""
    return os.environ.get("RUMORLIB_DETERMINISTIC") == "1"


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Variables of the environment as given, for what is started meanwhile; then as they were."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
