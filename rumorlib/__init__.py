"""Multimodal rumor detection: MICC and DMFL, rebuilt from their papers.

From settings to results, in layer order; each imports only from those above it:

config         every setting of every run, as frozen dataclasses
profiles       what demo, laptop and paper decide: sizes, encoders, corpora, training length
files, tables  files written whole or not at all; a frame as csv and markdown
data/          raw corpora and drawn scenes -> one posts table -> batches; near-duplicates, groups, splits
encoders/      text and image towers, frozen features on disk, SCLIP's two towers
models/        MICC, DMFL, detectors of other authors and plain baselines
training       one visible loop; early stopping on dev only
evaluation     predictions -> metrics of a whole split
statistics     intervals and tests over clusters and seeds
inputs         a run's config -> tensors: texts encoded, distinct images encoded once; alignment, features,
               dmfl_posts and detectors: what each kind of model reads
evidence       what a run keeps beside its predictions: pointing, maps; watch and modalities: DMFL's
run            one run from data to predictions; derived: runs made from a finished one
experiments    which runs make up each table; rivals: other authors' detectors; added: a detector of yours
runs, ledger   one run on disk, complete or not there; every reading of test
results        run what is missing, load what is there; tables and figures with provenance; trained: with weights
studies/       finished runs and corpora -> the frames behind tables and figures, by the question they answer:
               corpus, scores, sight, cost, trust
figures/       frames -> figures
commands/      the verbs of `python -m rumorlib`
"""

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
# time on the CPU are the kernel clearing pages. Kept, they are cleared once, and resident memory grows by a tenth.
if platform.libc_ver()[0] == "glibc":
    _TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # malloc.h
    _libc = ctypes.CDLL(None)
    _libc.mallopt(_TRIM_THRESHOLD, 2**31 - 2**12)
    _libc.mallopt(_MMAP_MAX, 0)

__version__ = "0.1.0"
