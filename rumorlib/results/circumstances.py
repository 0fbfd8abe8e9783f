"""Under what circumstances a run is made: commit of the code, versions of libraries, time, device and memory."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

from rumorlib import config as cfg

LIBRARIES = ("torch", "torchvision", "numpy", "pandas", "scikit-learn", "transformers", "timm", "gensim", "pillow")


def git_state() -> dict[str, Any]:
    """Commit of the code and whether rumorlib/ differs from it; commit None outside a checkout."""

    def git(*words: str) -> str | None:
        if not cfg.IS_CHECKOUT:
            return None
        command = ["git", "-C", str(cfg.PROJECT_ROOT), *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    status = git("status", "--porcelain", "--", "rumorlib")
    return {"commit": git("rev-parse", "--verify", "-q", "HEAD"), "dirty": None if status is None else bool(status)}


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can change a number."""
    return dict(_versions())


@cache  # what a process has imported stays as it is; looking takes longer than a small run's checkpoint
def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@contextlib.contextmanager
def measured() -> Iterator[dict[str, Any]]:
    """What a `with` block took, when it has ended: time_s; device, the GPU's name if the block put anything on it, else
    "cpu"; peak_memory_mib of that device; on a GPU also host_peak_memory_mib. A GPU's peak is the block's own, the
    CPU's is that of the process so far."""
    import torch

    has_gpu, found, before = torch.cuda.is_available(), {}, 0
    if has_gpu:
        torch.cuda.init()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    start = time.perf_counter()
    yield found
    found |= {"time_s": time.perf_counter() - start, "device": "cpu", "peak_memory_mib": _host_peak_mib()}
    if has_gpu and (peak := torch.cuda.max_memory_allocated()) > before:
        found |= {"device": torch.cuda.get_device_name(), "peak_memory_mib": round(peak / 2**20)}
        found["host_peak_memory_mib"] = _host_peak_mib()


def _host_peak_mib() -> int:
    """High-water mark of this process, all runs so far."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if platform.system() == "Darwin" else peak / 2**10)
