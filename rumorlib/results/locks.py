"""Who works on what: a lock file per run, for processes of one machine and of several that share a folder.

The file names its holder (host, process, a token) and is touched every third of STALE_S while the holder lives. It is
taken over at once where the holder was on this machine and is gone, and after STALE_S without a sign of life elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

_log = logging.getLogger(__name__)
STALE_S, POLL_S = 120.0, 0.2


class Held(RuntimeError):
    """Another process has the lock; the message names it."""


class Lost(RuntimeError):
    """The lock was taken over: this process was silent for longer than STALE_S."""


@contextlib.contextmanager
def held(path: Path, wait: bool = True) -> Iterator[SoftFileLease]:
    """Have the lock for a `with` block; its folder is made.

    Args: wait: until whoever has it is done; else Held is raised.
    Raises: Held. OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = SoftFileLease(path, lease_duration=STALE_S)
    if not _taken(lock):
        if not os.access(path.parent, os.W_OK):  # what its holder leaves behind could not be taken over
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        if not wait:
            raise Held(f"{path} is held by {holder(path)}")
        _log.warning("%s is held by %s; waiting for it", path, holder(path))
        while not _taken(lock):
            time.sleep(POLL_S)
    try:
        yield lock
    finally:
        lock.release()


def check(lock: SoftFileLease) -> None:
    """Raises Lost: somebody else has the lock by now."""
    if lock.compromise is not None:
        raise Lost(f"{lock.lock_file} was taken over by {holder(Path(lock.lock_file))} while this process stood still; "
                   "the run is theirs now")  # fmt: skip


def holder(path: Path) -> str:
    """Who has a lock, as text."""
    try:
        lines = [line.partition("=") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[:9]]
    except OSError:
        return "nobody"
    told = {name: value[:100] for name, _, value in lines}
    return f"process {told.get('pid', '?')} on {told.get('host', '?')}"


def _taken(lock: SoftFileLease) -> bool:
    path = Path(lock.lock_file)
    try:
        lock.acquire(timeout=0)
    except LeaseSettingsMismatch:  # of another version, or damaged
        _drop_if_silent(path)
        return False
    except Timeout:
        with contextlib.suppress(OSError):
            if not path.stat().st_size:  # its writer died before it wrote, or the file was cut
                _drop_if_silent(path)
        return False
    return True


def _drop_if_silent(path: Path) -> None:
    """Remove a lock file that cannot be read, once it was not touched for STALE_S."""
    with contextlib.suppress(OSError):
        if abs(time.time() - path.stat().st_mtime) > STALE_S:
            path.unlink()
