"""Where things lie: results and figures, cached features, raw corpora."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rumorlib.config.checks import SettingError

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
    return ([] if data is None else [data / "weights"]) + more


def weights_place(name: str, data: Path | None) -> Path:
    """Folder of an encoder: the first there is, else where it is wanted first."""
    places = [root / name for root in weights_roots(data)] or [Path("weights") / name]
    return next((place for place in places if place.is_dir()), places[0])


def levels(folder: Path, depth: int) -> Iterator[dict[Path, list[Path]]]:
    """The folder, the folders in it, and so on to a depth, each with its entries, level by level. Each comes once,
    however many links lead to it; hidden ones, and those that may not be read, do not."""
    seen: set[str] = set()
    level = [folder] if folder.is_dir() else []
    for _ in range(depth + 1):
        found: dict[Path, list[Path]] = {}
        for place in level:
            if (real := os.path.realpath(place)) not in seen:
                seen.add(real)
                with suppress(PermissionError):
                    found[place] = sorted(place.iterdir())
        yield found
        level = [entry for entries in found.values() for entry in entries
                 if not entry.name.startswith((".", "__MACOSX")) and entry.is_dir()]  # fmt: skip


CHECKPOINT_MINUTES = "RUMORLIB_CHECKPOINT_MINUTES"  # of Settings.checkpoint_minutes, where `resolve` makes them
# With train="all": runs finished from this UTC time on are not made again.
MADE_SINCE = "RUMORLIB_MADE_SINCE"


def is_deterministic() -> bool:
    """Whether RUMORLIB_DETERMINISTIC=1 asks for kernels that add in the same order every time: on a GPU a run then
    gives the same digits twice, more slowly. It decides no result beyond rounding, so it is no part of a config."""
    return os.environ.get("RUMORLIB_DETERMINISTIC") == "1"


def recomputes() -> bool:
    """Whether RUMORLIB_RECOMPUTE=1 asks for layers that are computed again in the backward pass instead of kept: less
    memory, a third more time, the same numbers."""
    return os.environ.get("RUMORLIB_RECOMPUTE") == "1"


def parts_of_a_batch() -> int:
    """RUMORLIB_PARTS: in how many parts, one after the other, a process takes its posts of a batch (gradient
    accumulation). Gradients are the whole batch's up to rounding; dropout draws in other places.

    Raises: SettingError: no whole number of at least 1.
    """
    given = os.environ.get("RUMORLIB_PARTS") or "1"
    if not given.isdecimal() or int(given) < 1:
        raise SettingError(f"RUMORLIB_PARTS must be a whole number of at least 1; got {given!r}")
    return int(given)


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
