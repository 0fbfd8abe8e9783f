"""What one notebook or command works on, from its parameters."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from rumorlib.config.checks import Checked, Seed, SettingError, Several, Weight, check, nearest
from rumorlib.config.corpora import CORPORA, own_corpus, record
from rumorlib.config.paths import CHECKPOINT_MINUTES, cache_root, data_root, output_root
from rumorlib.config.runs import Profile

Train = Literal["missing", "all", "none"]
Grid = Literal["reduced", "full"]
TRAIN_MODES: tuple[str, ...] = get_args(Train)
GRIDS: tuple[str, ...] = get_args(Grid)


# Posts whose explanations are scored against exact effects, by grid, and steps of the integral (Gauss-Legendre, as
# captum's default): the reduced grid is sized for a minute on two cores.
EXPLAINED_POSTS: dict[str, int] = {"reduced": 200, "full": 800}
IG_STEPS = 6


# Datasets of a profile unless others are named, and corpora of texts alone that come with them: audited, and read by
# the rows of words.
DATASETS: dict[str, tuple[str, ...]] = {
    "demo": ("demo-en", "demo-zh"),
    "laptop": ("photo-en", "photo-zh", "twitter"),
    "paper": ("mfan-pheme", "mfan-weibo", "weibo", "pheme"),
}
TEXT_ONLY: dict[str, tuple[str, ...]] = dict.fromkeys(("laptop", "paper"), ("weibo-text", "pheme-text"))
KINDS: dict[str, tuple[str, ...]] = {"demo": ("drawn",), "laptop": ("photo", "posts"), "paper": ("posts",)}


# Main rows, whose seed noise has to be known; and ablations and sweeps, which compare many runs.
SEEDS: dict[str, tuple[int, ...]] = {"demo": (0,), "laptop": tuple(range(10)), "paper": tuple(range(10))}
SWEEP_SEEDS: dict[str, tuple[int, ...]] = {"demo": (0,), "laptop": (0, 1, 2), "paper": (0, 1, 2)}
FEW_SEEDS = 3  # at most, of detectors of other authors, rows that read texts only, and other ways to align


@dataclass(frozen=True)
class Settings(Checked):
    """What a notebook's parameters cell resolves to."""

    profile: Profile
    datasets: tuple[str, ...]
    seeds: tuple[Seed, ...]
    train: Train = "missing"  # missing: runs not on disk · all: every run again · none: read only
    grid: Grid = "reduced"  # reduced: few points · full: every point, and at demo three seeds
    data_root: Path | None = None  # None at demo, and where only posts of one's own are read
    checkpoint_minutes: Weight = 10.0  # between checkpoints of a run; decides no result, so it is no part of a config
    named: bool = False  # whether the datasets were asked for by name: else they are the profile's

    @property
    def few(self) -> Settings:
        """The same with FEW_SEEDS seeds at most: of rows beside the main ones."""
        return replace(self, seeds=self.seeds[:FEW_SEEDS])

    @property
    def text_only(self) -> tuple[str, ...]:
        """Corpora of texts: those among the datasets, or where these are the profile's, those that come with them."""
        if set(DATASETS[self.profile]) <= set(self.datasets):
            return TEXT_ONLY.get(self.profile, ())
        return tuple(dataset for dataset in self.datasets if not record(dataset).pictures)


def resolve(
    profile: str = "demo",
    datasets: list[str] | None = None,
    seeds: list[int] | None = None,
    train: str = "missing",
    grid: str = "reduced",
    data: str | None = None,
    sweep: bool = False,
) -> Settings:
    """Replace each None by the profile's value and refuse wrong ones: the one door of notebooks and command line.

    Args:
        datasets: names of corpora, or "name=folder" for posts of one's own (`own_corpus`); names of those that
            RUMORLIB_CORPORA holds (name=folder, several with the path separator between them) are known, too.
        sweep: ablations and sweeps follow, which have SWEEP_SEEDS; main rows have SEEDS.
    Raises: SettingError: a value of the wrong type, an unknown profile, train mode, grid or dataset, one named twice,
                a data folder that profile demo would not read, or a place for results that cannot be written.
            FileNotFoundError: a dataset lies in the data folder, runs may be trained, and no data folder is given.
    """
    given = {"profile": (profile, Profile), "datasets": (datasets, Several[str] | None), "train": (train, Train),
             "seeds": (seeds, Several[Seed] | None), "grid": (grid, Grid), "sweep": (sweep, bool),
             "data": (data, str | Path | None)}  # fmt: skip
    for name, (value, hint) in given.items():
        check(name, value, hint)
    chosen = _datasets(profile, datasets)
    for name, values in (("datasets", chosen), ("seeds", seeds or ())):
        if twice := [value for place, value in enumerate(values) if value in values[:place]]:
            raise SettingError(f"{name} names {twice[0]!r} twice; name each once")
    if profile == "demo" and data:
        raise SettingError("profile demo reads no data folder, it draws its scenes; leave data out or name a profile")
    if train != "none":
        for variable, root in (("RUMORLIB_OUTPUT", output_root() / "results"), ("RUMORLIB_CACHE", cache_root())):
            _need_writable(variable, root)
    default_seeds = (0, 1, 2) if profile == "demo" and grid == "full" else (SWEEP_SEEDS if sweep else SEEDS)[profile]
    needs_data = train != "none" and not all(record(name).own or record(name).kind == "drawn" for name in chosen)
    # posts of one's own read encoders there, if they read any
    may_need = train != "none" and profile != "demo" and os.environ.get("RUMORLIB_DATA")
    return Settings(
        profile=profile,
        datasets=chosen,
        seeds=tuple(seeds or default_seeds),
        train=train,
        grid=grid,
        data_root=data_root(data) if needs_data or data or may_need else None,
        checkpoint_minutes=_checkpoint_minutes(),
        named=datasets is not None,
    )


def _checkpoint_minutes() -> float:
    """What `--checkpoint-minutes` or the environment says. Raises SettingError: no such number."""
    given = os.environ.get(CHECKPOINT_MINUTES) or Settings.checkpoint_minutes
    with suppress(ValueError):
        given = float(given)
    return check(f"--checkpoint-minutes ({CHECKPOINT_MINUTES})", given, Weight)


def _datasets(profile: str, given: Iterable[str] | None) -> tuple[str, ...]:
    """Names of the datasets; entries name=folder become corpora first. Raises SettingError: not one of the profile."""
    for entry in filter(None, os.environ.get("RUMORLIB_CORPORA", "").split(os.pathsep)):
        own_corpus(*entry.split("=", 1))
    names = [own_corpus(*entry.split("=", 1)).name if "=" in entry else entry for entry in given or DATASETS[profile]]
    known = [one.name for one in CORPORA.values() if one.own or one.kind in KINDS[profile]]
    for name in names:
        if name not in known:
            hint = nearest(name, known)
            raise SettingError(
                f"profile {profile} has datasets {', '.join(known)}, and posts of your own as name=folder; "
                f"got {name!r}{hint}"
            )
    return tuple(names)


def _need_writable(variable: str, root: Path) -> None:
    """Refuse a folder that is a file, lies below one or may not be written; nothing is made."""
    nearest_there = next(place for place in (root.absolute(), *root.absolute().parents) if os.path.lexists(place))
    if not nearest_there.is_dir():
        raise SettingError(f"{variable} is {root}, but {nearest_there} is no folder; name another")
    if not os.access(nearest_there, os.W_OK | os.X_OK):
        raise SettingError(f"{variable} is {root}, but {nearest_there} cannot be written; name another")
