"""Make missing runs, then run the notebooks: `python -m rumorlib run [01 03 ...] --profile laptop --data DIR`.

Runs are made side by side (`results.making`); the notebooks then read them, side by side too (`executed.notebook`).
Parameters are checked before anything starts.
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rumorlib import config as cfg
from rumorlib.commands import executed, parameters, planning
from rumorlib.commands.executed import NotebookFailed
from rumorlib.commands.planning import duration
from rumorlib.results import artifacts, runs

NOTEBOOKS = cfg.PROJECT_ROOT / "notebooks"
NOTEBOOK_MIB = 2300  # of a kernel, at most; demo's 07 and 08 need as much


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what: nothing here can change a number."""

    notebooks: Path = NOTEBOOKS  # folder of the sources and working folder of the kernels
    start_timeout_s: int = 120
    verbose: bool = False  # show what the cells print while they run
    workers: int | None = None  # notebooks side by side; None: as cores and memory fit
    again: bool = True  # also demo notebooks that would show what they showed


def execute(names: Sequence[str], given: dict[str, Any], options: Options) -> list[Path]:
    """Run notebooks; start none after one that fails.

    Args:
        names: beginnings of file names ("03"); none means all.
        given: parameters; text values are read by the type the notebook declares.
        options: see `Options`.
    Returns: the tables, figures and executed copies written, in the order of their paths.
    Raises: parameters.ParameterError: before anything ran. NotebookFailed. FileNotFoundError: no such notebook.
    """
    chosen = find(names, options.notebooks)
    prepared = [(path, _typed(path, given)) for path in chosen]
    profile = str(given.get("profile", "demo"))
    begun = time.time()
    todo = [one for one in prepared if options.again or not executed.unchanged(*one, profile)]
    if len(todo) < len(prepared):
        print(f"{len(prepared) - len(todo)} of {len(prepared)} notebooks have nothing new to show (--again runs them)")
    for _, problem in each(todo, profile, options) if todo else ():
        if problem:
            raise NotebookFailed(problem)
    for one in prepared:
        executed.stamp(*one, profile)
    return _written_since(begun, profile)


def each(prepared: Sequence[tuple[Path, dict[str, Any]]], profile: str, options: Options) -> Iterator[tuple[Path, str]]:
    """Run notebooks with their parameters, as many side by side as cores and memory fit: none reads what another
    writes. Gives each when it ended, with what stopped it or ""."""
    from joblib import Parallel, delayed

    from rumorlib.results import making

    started, workers = time.perf_counter(), making.fitting(NOTEBOOK_MIB, len(prepared), options.workers)
    environment = {name: value for name, value in os.environ.items() if name.startswith("RUMORLIB_")}
    tasks = (delayed(_one)(path, values, profile, options, environment, workers > 1) for path, values in prepared)
    ended = Parallel(n_jobs=workers, return_as="generator_unordered")(tasks)
    for position, (path, seconds, problem) in enumerate(ended, start=1):
        elapsed = time.perf_counter() - started
        left = elapsed / position * (len(prepared) - position)
        more = f", about {duration(left)} left" if left else ""
        said = f"{duration(seconds)}; {duration(elapsed)} so far{more}"
        print(f"[{position}/{len(prepared)}] {path.stem}: {said}", flush=True)
        yield path, problem


def _one(
    path: Path, values: dict[str, Any], profile: str, options: Options, environment: dict[str, str], quiet: bool
) -> tuple[Path, float, str]:
    """In a worker: a notebook, how long it took (s), and what stopped it. The worker may be older than what this
    process has set in its environment."""
    for name in [name for name in os.environ if name.startswith("RUMORLIB_") and name not in environment]:
        del os.environ[name]
    os.environ.update(environment)
    begun, problem = time.perf_counter(), ""
    try:
        executed.notebook(path, values, profile, options.start_timeout_s, options.verbose, quiet)
    except NotebookFailed as error:
        problem = str(error)
    return path, time.perf_counter() - begun, problem


def find(names: Sequence[str], folder: Path) -> list[Path]:
    """Notebooks whose file names begin so, in file order. Raises FileNotFoundError: none or several match a name."""
    everything = sorted(folder.glob("[0-9]*.ipynb"))
    chosen = set(everything) if not names else set()
    for name in names:
        matching = [path for path in everything if path.stem == name or path.stem.startswith(name.split(".")[0])]
        if len(matching) != 1:
            listed = ", ".join(path.stem for path in everything) or "none"
            raise FileNotFoundError(f"{len(matching)} notebooks match {name!r}; {folder.name}/ has {listed}")
        chosen.add(matching[0])
    if not chosen:
        raise FileNotFoundError(f"no notebook in {folder}")
    return [path for path in everything if path in chosen]


def notebooks_of(ids: Sequence[str]) -> list[str]:
    """Names of the notebooks that write these artifacts.

    Raises: KeyError: an id that is not in results/index.csv. FileNotFoundError: no notebook writes it.
    """
    names = {artifact: artifacts.index_row(artifact)["notebook"] for artifact in ids}
    if without := [artifact for artifact, name in names.items() if not name]:
        raise FileNotFoundError(f"no notebook writes {', '.join(without)}; see the reason in results/index.csv")
    return sorted(set(names.values()))


def _typed(notebook: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Values for one notebook, checked."""
    known = parameters.declared(notebook)
    values = {
        name: parameters.typed(value, known.get(name, "")) if isinstance(value, str) else value
        for name, value in given.items()
    }
    parameters.check(notebook.stem, values, known)
    cfg.resolve(**{name: value for name, value in values.items() if name in inspect.signature(cfg.resolve).parameters})
    return values


def _written_since(begun: float, profile: str) -> list[Path]:
    root = cfg.output_root()
    kinds = (f"results/{profile}/tables/*.csv", f"figures/{profile}/*.png", f"results/{profile}/notebooks/*.ipynb")
    found = [path for kind in kinds for path in root.glob(kind)]
    return sorted(path for path in found if path.stat().st_mtime >= begun - 1)


def parser(verb: str, description: str) -> argparse.ArgumentParser:
    """What is said of notebooks and their parameters, to `run` and to `plan`."""
    parser = parameters.Parser(prog=f"python -m rumorlib {verb}", description=description)
    parser.add_argument("notebooks", nargs="*", help='beginnings of names, e.g. "01 03"; none: all')
    parser.add_argument("--profile", choices=cfg.PROFILES, help="default: the notebooks' own, demo")
    parser.add_argument("--train", choices=cfg.TRAIN_MODES, help="default: missing, runs that are not on disk")
    parser.add_argument("--grid", choices=cfg.GRIDS, help="default: reduced, few seeds and points")
    parser.add_argument("--data", help="folder of the real corpora (or RUMORLIB_DATA); not needed at demo")
    parser.add_argument("--corpus", nargs="+", metavar="NAME[=FOLDER]", help="datasets: corpora, or posts of your own")
    parser.add_argument("--output", help="folder for results/ and figures/ (or RUMORLIB_OUTPUT); default: output/")
    parser.add_argument("--only", nargs="+", metavar="ID", help="the notebooks that write these tables and figures")
    parser.add_argument("-p", action="append", default=[], metavar="NAME=VALUE", help='e.g. -p "seeds=[0, 1]"')
    parser.add_argument("-f", type=Path, metavar="FILE.yaml", help="parameters as a YAML mapping; flags and -p win")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="runs, then notebooks, side by side; default: as cores and memory fit"
    )
    return parser


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    known = parser("run", __doc__.split("\n")[0])
    known.add_argument("--runs-only", action="store_true", help="make the runs that are missing, and no notebook")
    known.add_argument("--set", nargs="+", default=[], metavar="MODEL.FIELD=VALUE,...", dest="variants",
                       help="instead of notebooks, train variants: all combinations, a row each")  # fmt: skip
    known.add_argument("--again", action="store_true", help="also notebooks that would show what they showed (demo)")
    known.add_argument("--checkpoint-minutes", metavar="M", help="between checkpoints of a run; default: 10")
    known.add_argument("--start-timeout", type=int, default=120, metavar="S", help="seconds a kernel may take to start")
    known.add_argument("-v", "--verbose", action="store_true", help="show what the cells print")
    return known.parse_args(words)


def asked(arguments: argparse.Namespace) -> tuple[list[str], dict[str, Any]]:
    """Names of the notebooks and their parameters, checked; folders reach workers and kernels by environment.

    Raises: SettingError, KeyError, FileNotFoundError: as `find` and `notebooks_of`.
    """
    given = parameters.given(arguments)
    if empty := [name for name in ("output", "data") if getattr(arguments, name) == ""]:  # of a shell's unset variable
        raise cfg.SettingError(f"--{empty[0]}: name a folder")
    if arguments.output:
        os.environ["RUMORLIB_OUTPUT"] = arguments.output
    for name in ("RUMORLIB_OUTPUT", "RUMORLIB_CACHE", "RUMORLIB_DATA"):  # the kernels work in another folder
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).expanduser().absolute())
    cfg.check("--workers", arguments.workers, cfg.Count | None)
    parameters.settle_folders(given, arguments.data)
    names = [*arguments.notebooks, *(notebooks_of(arguments.only) if arguments.only else [])]
    chosen = find(names, NOTEBOOKS)
    typed: dict[str, Any] = {}
    for path in chosen:
        typed |= _typed(path, given)
    return [path.stem for path in chosen], typed


def _sweep(arguments: argparse.Namespace, given: dict[str, Any]) -> int:
    from rumorlib.commands import sweep

    if arguments.notebooks or arguments.only:
        raise cfg.SettingError("--set trains variants in the place of notebooks; leave their names out")
    planned = sweep.planned(parameters.settings(arguments.variants), given)
    problem = planning.make(planned, arguments.workers)
    print("\n".join(filter(None, [problem, sweep.table(planned)])))
    return 1 if problem else 0


def main(words: Sequence[str]) -> int:
    """Command line; returns the exit code: 0, 1 a notebook failed, 2 wrong arguments or stale runs."""
    arguments = _arguments(words)
    try:
        if arguments.checkpoint_minutes is not None:  # by environment, to kernels too
            os.environ[cfg.CHECKPOINT_MINUTES] = arguments.checkpoint_minutes
        names, given = asked(arguments)
        cfg.check("--start-timeout", arguments.start_timeout, cfg.Count)
        if arguments.variants:
            return _sweep(arguments, given)
        if problem := planning.make(planning.planned(names, given), arguments.workers):
            print(problem, file=sys.stderr)
            return 1
        if arguments.runs_only:
            return 0
        options = Options(start_timeout_s=arguments.start_timeout, verbose=arguments.verbose,
                          workers=arguments.workers, again=arguments.again)  # fmt: skip
        written = execute(names, given, options)
    except (cfg.SettingError, KeyError, FileNotFoundError, runs.RunError) as error:
        print(error.args[0] if isinstance(error, KeyError) else error, file=sys.stderr)
        return 2
    except PermissionError as error:
        from rumorlib.results import making

        print(f"{error}; {making.remedy(error)}", end="", file=sys.stderr)
        return 2
    except NotebookFailed as error:
        print(error, file=sys.stderr)
        return 1
    root = cfg.output_root()
    print(
        "\n".join([f"written to {root}:", *(f"  {path.relative_to(root)}" for path in written), *_next(names, given)])
    )
    return 0


def _next(names: Sequence[str], given: dict[str, Any]) -> list[str]:
    """How to use what the demo has trained, where it made detectors of it."""
    from rumorlib.commands import at_hand

    if Path(at_hand.FORM).stem not in names or given.get("profile", "demo") != "demo":
        return []
    known = inspect.signature(cfg.resolve).parameters
    return ["", *at_hand.closing_lines(cfg.resolve(**{name: value for name, value in given.items() if name in known}))]
