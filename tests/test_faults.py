"""Locks and stops with real processes on a tiny sweep; trials of `tests/faults.py` with fixed seeds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumorlib import results
from rumorlib.results import ledger, locks, making, reports, runs
from rumorlib.training import checkpoints
from tests import faults

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),  # a start of the sweep takes seconds, and minutes beside much other work
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked"),
    pytest.mark.skipif(not os.environ.get("RUMORLIB_FAULTS"), reason="minutes; .ci/run runs them: RUMORLIB_FAULTS=1"),
]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[faults.Sweep]:
    with pytest.MonkeyPatch.context() as patch:
        yield faults.Sweep(patch, tmp_path_factory.mktemp("faults"))
    faults.forget()


def test_two_sweeps_on_one_folder_make_each_run_once_and_both_find_all(sweep: faults.Sweep) -> None:
    output = sweep.into("two")
    one, other = sweep.start(), sweep.start()
    assert (one.wait(), other.wait()) == ("", "")
    assert sweep.found() == sweep.wanted
    lines = [line["run"] for line in ledger.read("demo")]
    assert sorted(lines) == sorted(name for name in sweep.asked if not name.startswith("sclip"))
    assert not list(output.rglob("*.lock")) and not list(output.rglob("*.part"))


def test_the_run_of_a_killed_process_is_taken_over_and_gone_on_with(sweep: faults.Sweep) -> None:
    sweep.into("dead")
    stage1 = next(one for one in sweep.asked.values() if one.model == "sclip")
    really = checkpoints.Place.write

    def write(self: checkpoints.Place, *given: object) -> None:
        really(self, *given)
        os.kill(os.getpid(), signal.SIGKILL)

    started = sweep.start(lambda: setattr(checkpoints.Place, "write", write))
    started.wait()
    lock = runs.unfinished(stage1).with_suffix(".lock")
    assert str(started.pid) in locks.holder(lock)
    assert sweep.start().wait() == "" and sweep.found() == sweep.wanted
    assert '"resumed": 1' in (reports.run_folder(stage1) / "report.json").read_text()


def test_what_another_process_makes_is_left_for_the_end(sweep: faults.Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep.into("left")
    first, second = [one for one in sweep.asked.values() if one.model == "baseline"][:2]
    lock = runs.unfinished(first).with_suffix(".lock")

    def hold() -> None:
        with locks.held(lock):
            for _ in range(6000):  # whatever becomes of the test, this process ends
                if (reports.run_folder(second) / "DONE").is_file():
                    break
                time.sleep(0.01)

    holding = faults.Started(hold)
    while not lock.exists():
        time.sleep(0.01)
    said = making.make({one.path.as_posix(): one for one in (first, second)}, sweep.settings)
    assert said.made == [second.path.as_posix(), first.path.as_posix()] and holding.wait() == ""


@pytest.mark.parametrize("content", ["", "filelock/2\npid=1\nhost=elsewhere\n", "\x00junk"])
def test_a_lock_that_cannot_be_read_is_waited_for_and_then_taken(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "one.lock"
    lock.write_text(content)
    with pytest.raises(locks.Held, match=r"one\.lock is held by process"), locks.held(lock, wait=False):
        pass
    monkeypatch.setattr(locks, "STALE_S", 0.5)
    with locks.held(lock) as held:
        assert str(os.getpid()) in locks.holder(lock)
        locks.check(held)
    assert not lock.exists()


def test_a_lock_left_where_one_may_not_write_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.lock").write_text("filelock/2\npid=1\nhost=elsewhere\n")
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK and Path(path) == tmp_path))
    with pytest.raises(PermissionError, match=r"one\.lock"), locks.held(tmp_path / "one.lock"):
        pass


def test_who_lost_the_lock_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "STALE_S", 0.3)
    with locks.held(tmp_path / "one.lock") as held:
        (tmp_path / "one.lock").unlink()
        deadline = time.monotonic() + 20
        with pytest.raises(locks.Lost, match="taken over"):
            while time.monotonic() < deadline:
                locks.check(held)
                time.sleep(0.05)


def test_a_finished_run_on_its_way_out_is_put_back(sweep: faults.Sweep) -> None:
    sweep.into("out")
    one = next(one for one in sweep.asked.values() if one.model == "baseline")
    report = results.run_or_load(one, sweep.settings)
    report.folder.rename(report.folder.with_name(".seed0.0123abcd.old"))
    (report.folder.parent / ".seed0.4567cdef.part").mkdir()
    before = ledger.path_of("demo").read_bytes()
    assert results.run_or_load(one, sweep.settings).fingerprint == report.fingerprint
    assert ledger.path_of("demo").read_bytes() == before, "it was not made again"
    assert [path.name for path in report.folder.parent.iterdir()] == ["seed0"]


N_TRIALS = 30  # results/faults.csv has more
SEEDS = [(faults.FAULTS[number % len(faults.FAULTS)], number // len(faults.FAULTS)) for number in range(N_TRIALS)]


@pytest.mark.parametrize(("fault", "seed"), SEEDS, ids=lambda given: getattr(given, "__name__", str(given)))
def test_a_disturbed_sweep_ends_as_an_undisturbed_one(sweep: faults.Sweep, fault: object, seed: int) -> None:
    if fault in faults.NEEDS_ROOT and not faults.may_mount(sweep.place):
        pytest.skip("only root may mount a disk")
    ended, said = faults.trial(sweep, fault, seed)
    assert ended in faults.ENDS_WELL, said
