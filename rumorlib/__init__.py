"""Multimodal rumor detection: MICC and DMFL, rebuilt from their papers.

README.md beside this file draws the rooms, from posts to figures.
"""

import sys

if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    # python -m rumorlib puts the working folder first; of a folder of data no tqdm.py may stand in for the library's
    sys.path.append(sys.path.pop(0))

import ctypes
import os
import platform

# Before torch starts its threads (kernels started from here inherit it): one that waits for the others sleeps. By
# default it spins, and on a machine that also does something else a step takes ten times as long
# (benchmarks/thread_waiting.py).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if os.environ.get("RUMORLIB_DETERMINISTIC") == "1":  # config.is_deterministic; cuBLAS reads it when it starts
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

# glibc gives every large tensor pages of its own and takes them back when it goes: two thirds of a frozen encoder's
# time on the CPU are the kernel clearing pages. Kept, they are cleared once, and more memory stays resident
# (benchmarks/allocator.py says how much; RUMORLIB_ALLOCATOR=plain leaves glibc as it is).
if os.environ.get("RUMORLIB_ALLOCATOR") != "plain" and platform.libc_ver()[0] == "glibc":
    _TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # malloc.h
    _libc = ctypes.CDLL(None)
    _libc.mallopt(_TRIM_THRESHOLD, 2**31 - 2**12)
    _libc.mallopt(_MMAP_MAX, 0)

__version__ = "0.1.0"


def __getattr__(name: str):
    if name == "Detector":  # late: `import rumorlib` stays light
        from rumorlib.results.saved.detector import Detector

        return Detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
