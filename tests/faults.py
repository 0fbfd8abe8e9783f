"""A small sweep is disturbed at random moments and started again: nothing finished is lost, nothing wrong is kept.

A start is a forked process that makes what is missing of six tiny runs (stage 1, MICC on it on drawn and on own posts,
three rows without a network; a checkpoint after every step). A trial is one start with a fault, and a second without.
It ends well if the second leaves the runs of an undisturbed sweep, or says which file is damaged and what to do, and
doing that (train="all") leaves them. `python -m tests.faults --trials 300 --record` writes results/faults.csv, a line
per fault; `--only NAME` tries one fault alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.config import RunConfig, TextConfig, TrainConfig, VisionConfig, profiles
from rumorlib.data import files
from rumorlib.data.drawn_scenes.claims import DrawnConfig
from rumorlib.results import ledger, making, reports, runs
from rumorlib.training import checkpoints
from tests.conftest import forget, instead

RECORD = cfg.PROJECT_ROOT / "results" / "faults.csv"
FEW = {"n_caption_scenes": 24, "n_train": 40, "n_dev": 20, "n_test": 20, "n_unseen": 4, "n_pairs": 2,
       "n_undetectable": 4, "n_fingerprint": 4}  # fmt: skip
STORED = ("config.json", "report.json", "history.csv", "predictions.csv", "checkpoint.safetensors", "DONE",
          "step*.json", "step*.safetensors", "*.lock")  # fmt: skip
ENDS_WELL = ("equal", "said")


class Sweep:
    """Six tiny runs in an output folder, made in this process or in a forked one."""

    def __init__(self, patch: pytest.MonkeyPatch, place: Path) -> None:
        self.place, self._patch = place, patch
        patch.setenv("RUMORLIB_CACHE", str(place / "cache"))
        patch.setenv(cfg.MADE_SINCE, "9")
        text = TextConfig(tokens="word", max_length=12, width=8, depth=1, n_heads=2)
        vision = VisionConfig(image_size_px=96, receptive_fields=(32,), width=8, depth=1, n_heads=2)
        train = TrainConfig(epochs=2, batch_size=12, lr=2e-3, patience=None, captions_per_image=1)
        usual = profiles.SIZES["demo"]
        tiny = replace(usual, vision=vision, texts={"en": text, "zh": text}, d_joint=8, stage1=train,
                       micc=replace(usual.micc, width=8), micc_train=replace(train, batch_size=20))  # fmt: skip
        patch.setitem(profiles.SIZES, "demo", tiny)
        instead(patch, DrawnConfig, lambda **given: DrawnConfig(**given | FEW))
        patch.setattr(checkpoints, "MOST_SHARE", np.inf)
        forget()
        self.settings = replace(cfg.resolve("demo", ["demo-en"]), checkpoint_minutes=0)
        micc = experiments.micc(self.settings, "demo-en")
        majority = experiments.baseline(self.settings, "demo-en", "majority")
        linear = [majority, replace(majority, n_train=30)]
        self.asked: dict[str, RunConfig] = {one.path.as_posix(): one for one in (micc.stage1, micc, *linear)}
        self.posts = self._own_posts()
        cfg.own_corpus("own", self.posts)
        own = [experiments.micc(self.settings, "own"), experiments.baseline(self.settings, "own", "tfidf_lr")]
        self.asked |= {one.path.as_posix(): one for one in own}
        self.into("undisturbed")
        self.make()
        self.into("timed")  # what is kept in memory and in the cache is there
        begun = time.perf_counter()
        self.start().wait()
        self.takes_s = time.perf_counter() - begun
        self.into("undisturbed")
        self.wanted = self.found()

    def _own_posts(self) -> Path:
        """A folder of 40 posts with pictures."""
        folder = self.place / "posts"
        folder.mkdir()
        rows = ["id,text,label,split,image"]
        for i, side in enumerate(["train"] * 20 + ["dev"] * 10 + ["test"] * 10):
            Image.new("RGB", (96, 96), (6 * i, 255 - 6 * i, 40 * (i % 2))).save(folder / f"{i}.png")
            rows.append(f"p{i},{'odd' if i % 2 else 'even'} post of {i},{i % 2},{side},{i}.png")
        (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
        return folder

    def into(self, name: str) -> Path:
        """Write to another output folder from now on."""
        output = self.place / name
        self._patch.setenv("RUMORLIB_OUTPUT", str(output))
        reports._TRAINED.clear()
        return output

    def make(self, train: str = "missing") -> None:
        """One start, in this process. Raises: what it says where it fails."""
        settings = replace(self.settings, train=train)
        weights = [path for path, config in self.asked.items() if config.learns]
        said = making.make(making.missing(self.asked, settings, weights), settings)
        if problem := making.summary(said):
            raise RuntimeError(problem)

    def found(self) -> dict[str, list[str]]:
        """What reading every file of every run gives. Raises: what reading says."""
        told = {}
        for name, config in self.asked.items():
            report = results.run_or_load(config, replace(self.settings, train="none"), checkpoint=config.learns)
            files = sorted(f"{file} {runs.verified(report.folder, file, report.hashes).name} {value}"
                           for file, value in report.hashes.items())  # fmt: skip
            told[name] = [report.fingerprint, *files]
        return told

    def start(self, *more: Callable[[], None], train: str = "missing") -> Started:
        """One start in a forked process; `more` is done in there first."""
        return Started(lambda: [*(one() for one in more), self.make(train)])


class Started:
    """A forked process. `said`: the end of its traceback, "" where it ended well or was killed."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._log = tempfile.NamedTemporaryFile("w+", suffix=".said")  # noqa: SIM115  read when it has ended
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads: none of them works while runs are made
            self.pid = os.fork()
        if self.pid:
            return
        code = 1
        try:
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
            work()
            code = 0
        except BaseException as error:
            self._log.write("".join(traceback.format_exception_only(error)))
            self._log.flush()
        finally:
            os._exit(code)

    def kill(self, which: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, which)

    def wait(self) -> str:
        """Until it has ended. Returns: `said`."""
        os.waitpid(self.pid, 0)
        self._log.seek(0)
        return self._log.read()


# --- faults: each disturbs a first start --------------------------------------------------------


def _stopped(sweep: Sweep, chance: random.Random, which: signal.Signals) -> None:
    started = sweep.start()
    time.sleep(chance.uniform(0, sweep.takes_s))
    started.kill(which)
    started.wait()


def killed(sweep: Sweep, chance: random.Random) -> str:
    """SIGKILL at any moment."""
    _stopped(sweep, chance, signal.SIGKILL)
    return ""


def terminated(sweep: Sweep, chance: random.Random) -> str:
    """SIGTERM at any moment."""
    _stopped(sweep, chance, signal.SIGTERM)
    return ""


def interrupted(sweep: Sweep, chance: random.Random) -> str:
    """SIGINT (Ctrl-C) at any moment."""
    _stopped(sweep, chance, signal.SIGINT)
    return ""


@contextlib.contextmanager
def mounted(place: Path, kib: int) -> Iterator[None]:
    """A file system of its own at a folder. Raises: CalledProcessError: only root may."""
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", place], check=True, capture_output=True)
    try:
        yield
    finally:
        kept = place.with_name("kept")
        shutil.copytree(place, kept)
        subprocess.run(["umount", "-l", place], check=True)
        shutil.rmtree(place)
        kept.rename(place)


def full_disk(sweep: Sweep, chance: random.Random) -> str:
    """A disk that is full after as many bytes as may be."""
    whole = sum(path.stat().st_size for path in (sweep.place / "undisturbed").rglob("*") if path.is_file()) // 1024
    with mounted(cfg.output_root(), chance.randint(8, whole)):
        return clear(sweep.start().wait(), "free some space")


def read_only(sweep: Sweep, chance: random.Random) -> str:
    """A disk that is read-only from some moment on."""
    with mounted(cfg.output_root(), 65536):
        started = sweep.start()
        time.sleep(chance.uniform(0, sweep.takes_s))
        for _ in range(50):  # refused while a file is being written
            done = subprocess.run(["mount", "-o", "remount,ro", cfg.output_root()], capture_output=True)
            if not done.returncode:
                break
            time.sleep(0.01)
        said = clear(started.wait(), "writable, or name another")
        subprocess.run(["mount", "-o", "remount,rw", cfg.output_root()], check=True)
    return said


def clear(said: str, remedy: str) -> str:
    """ "" if a first start said nothing, or named a file and the remedy; else what it said."""
    return "" if not said or (remedy in said and os.sep in said) else f"unclear: {said[-300:]}"


def _damaged(sweep: Sweep, chance: random.Random, harm: Callable[[bytes], bytes]) -> str:
    """A sweep that ended, or was killed at some moment; then a file of any kind is harmed."""
    if chance.random() < 0.5:
        sweep.start().wait()
    else:
        _stopped(sweep, chance, signal.SIGKILL)
    kinds = [found for kind in STORED if (found := sorted(cfg.output_root().rglob(kind)))]
    if kinds:
        path = chance.choice(chance.choice(kinds))
        path.write_bytes(harm(path.read_bytes()))
    return ""


def truncated(sweep: Sweep, chance: random.Random) -> str:
    """A stored file is cut."""
    return _damaged(sweep, chance, lambda content: content[: chance.randrange(len(content) + 1)])


def flipped(sweep: Sweep, chance: random.Random) -> str:
    """A bit of a stored file is another one."""

    def flip(content: bytes) -> bytes:
        place = chance.randrange(max(1, len(content)))
        return content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]

    return _damaged(sweep, chance, lambda content: flip(content) if content else content)


def clock_back(sweep: Sweep, chance: random.Random) -> str:
    """Killed at any moment; a process of before the clock was set back a day had begun it."""
    _stopped(sweep, chance, signal.SIGKILL)

    class Back(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(days=1)

    really = time.time

    def back() -> None:
        runs.datetime, time.time = Back, lambda: really() - 86400

    sweep.start(back).wait()
    return ""


def two_at_once(sweep: Sweep, chance: random.Random) -> str:
    """Two sweeps on one folder, one of them killed at any moment, or none."""
    one = sweep.start()
    time.sleep(chance.uniform(0, sweep.takes_s / 2))
    other = sweep.start()
    if chance.random() < 0.5:
        time.sleep(chance.uniform(0, sweep.takes_s / 2))
        chance.choice([one, other]).kill(signal.SIGKILL)
        one.wait()
        other.wait()
        return ""
    said = one.wait() + other.wait()
    lines = [line["run"] for line in ledger.read("demo")]
    if len(lines) != len(set(lines)):
        said += f"trained twice: {lines}"
    return f"unclear: {said}" if said else ""


def out_of_memory(sweep: Sweep, chance: random.Random) -> str:
    """A process that gets no more than some MiB beyond what it has."""

    def limited() -> None:
        import resource

        pages = int(Path("/proc", "self", "statm").read_text().split()[0])
        most = pages * resource.getpagesize() + chance.randint(0, 192) * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    sweep.start(limited).wait()
    return ""


def changed_data(sweep: Sweep, chance: random.Random) -> str:
    """A post, or a picture, is another one from some moment on; the process is killed later on, or goes on. Before the
    second start it is what it was."""
    path = chance.choice([sweep.posts / "manifest.csv", sweep.posts / f"{chance.randrange(40)}.png"])
    before = path.read_bytes()
    started = sweep.start()
    time.sleep(chance.uniform(0, sweep.takes_s))
    if path.suffix == ".csv":
        other = chance.choice(
            [(b"odd post of 1,1,train", b"odd post of 1,1,dev"), (b"odd post of 1,", b"a post of 1,")]
        )
        files.write_bytes(path, before.replace(*other))
    else:
        draft = path.with_name("draft.png")
        Image.new("RGB", (96, 96), (200, 100, chance.randrange(256))).save(draft)
        draft.replace(path)
    if chance.random() < 0.5:
        time.sleep(chance.uniform(0, sweep.takes_s / 4))
        started.kill(signal.SIGKILL)
    said = started.wait()
    files.write_bytes(path, before)
    return clear(said, "the same command makes it anew")


def no_permission(sweep: Sweep, chance: random.Random) -> str:
    """A user who may write to nothing below the output folder; some of its runs may be there."""
    _stopped(sweep, chance, signal.SIGKILL)
    output = cfg.output_root()
    output.mkdir(parents=True, exist_ok=True)
    above = [path for path in output.parents if path.is_relative_to(tempfile.gettempdir()) and path.stat().st_uid == 0]
    for path in (*above[:-1], *(sweep.place / "cache").rglob("*")):  # he may read all
        path.chmod(path.stat().st_mode | 0o055)
    return clear(sweep.start(lambda: os.setresuid(NOBODY, NOBODY, NOBODY)).wait(), "writable, or name another")


NOBODY = 65534
FAULTS = (killed, terminated, interrupted, full_disk, read_only, no_permission, truncated, flipped, clock_back,
          two_at_once, out_of_memory, changed_data)  # fmt: skip
NEEDS_ROOT = (full_disk, read_only, no_permission)


# --- trials -------------------------------------------------------------------------------------


def trial(sweep: Sweep, fault: Callable[[Sweep, random.Random], str], seed: int) -> tuple[str, str]:
    """One trial. Returns: "equal"; "said", an error named file and remedy, and the remedy helped; "unclear"; "lost",
    runs are not there after the second start; "wrong", they differ and nobody said so; and what was said."""
    output = sweep.into(f"{fault.__name__}{seed}")
    try:
        problem = fault(sweep, random.Random(seed))
        if problem:
            return "unclear", problem
        return second_start(sweep)
    finally:
        shutil.rmtree(output, ignore_errors=True)


def second_start(sweep: Sweep) -> tuple[str, str]:
    """What the second start leaves, see `trial`."""
    said = sweep.start().wait()
    if not said:
        try:
            found = sweep.found()
        except (runs.RunError, FileNotFoundError) as error:
            said = f"{type(error).__name__}: {error}"
        else:
            other = [f"{name}: {line}" for name, lines in found.items() for line in lines
                     if line not in sweep.wanted[name]]  # fmt: skip
            return ("wrong", "; ".join(other)) if other else ("equal", "")
    if not any(part in said for part in ("train='all'", "free some space", "remove it")) or os.sep not in said:
        return "unclear", said
    if again := sweep.start(train="all").wait():
        return "lost", f"{said}\nand then {again}"
    return ("said", said) if sweep.found() == sweep.wanted else ("wrong", said)


def may_mount(place: Path) -> bool:
    """Whether this process may mount a file system below a folder."""
    try:
        with tempfile.TemporaryDirectory(dir=place) as there, mounted(Path(there, "mount"), 64):
            return True
    except (subprocess.CalledProcessError, OSError):
        return False


def main(words: list[str]) -> int:
    """Run trials, round by round over the faults; print a line per fault, and with --record write RECORD."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=45)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[one.__name__ for one in FAULTS], help="this fault alone")
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args(words)
    lines = []
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        sweep = Sweep(patch, Path(place))
        faults = FAULTS if may_mount(Path(place)) else [one for one in FAULTS if one not in NEEDS_ROOT]
        faults = [one for one in faults if given.only in (None, one.__name__)]
        print(f"a start takes {sweep.takes_s:.1f} s", flush=True)
        for number in range(given.trials):
            fault, seed = faults[number % len(faults)], given.seed + number
            ended, said = trial(sweep, fault, seed)
            lines.append({"fault": fault.__name__, "ended": ended})
            if ended not in ENDS_WELL:
                print(f"{fault.__name__} {seed}: {ended}: {said}", flush=True)
    frame = pd.crosstab(pd.DataFrame(lines)["fault"], pd.DataFrame(lines)["ended"])
    frame = frame.reindex(columns=["equal", "said", "unclear", "lost", "wrong"], fill_value=0)
    frame.insert(0, "trials", frame.sum(axis=1))
    frame = frame.reindex([one.__name__ for one in faults if one.__name__ in frame.index]).reset_index()
    print(frame.to_string(index=False))
    if given.record:
        frame.to_csv(RECORD, index=False)
    return int(not set(frame.columns[frame.sum().ne(0)]).isdisjoint(("unclear", "lost", "wrong")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
