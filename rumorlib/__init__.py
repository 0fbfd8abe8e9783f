"""Multimodal rumor detection: MICC and DMFL, rebuilt from their papers.

Modules in layer order; each imports only from those above it:

config         every setting of every run, as frozen dataclasses
profiles       what demo, laptop and paper decide: sizes, encoders, corpora, training length
files          files written whole or not at all
parameters     notebook parameters from the command line, checked
data/          raw corpora and drawn scenes -> one posts table -> batches; near-duplicates, groups, splits
check_data     a user's folder: what it holds, what is wrong, what is usable: `python -m rumorlib check-data`
encoders/      text and image towers, frozen features on disk, SCLIP's two towers
models/        MICC, DMFL, detectors of other authors and plain baselines
training       one visible loop; early stopping on dev only
evaluation     predictions -> metrics of a whole split
statistics     intervals and tests over clusters and seeds
shortcuts      what a rule without a model scores
audit          what the shortcuts of a corpus score on its splits, and what crosses them
inputs         a run's config -> tensors: texts encoded, distinct images encoded once
alignment      MICC's alignment of whole corpora, once, where stage 2 leaves SCLIP frozen
exploration    the corpora in numbers, and their audit, for notebook 01
evidence       what the pictures need: pointing, relevance and attention maps; modalities: text and image sides of DMFL
watch          what a DMFL run keeps while it trains
features       what each baseline reads of a corpus
detectors      how detectors of other authors are built, and what they read
run            one run from data to predictions
experiments    which runs make up each table
rivals         runs of the detectors of other authors
runs           one run on disk: complete or not there
tables         a frame as csv and markdown
results        run what is missing, load what is there; tables and figures with provenance
comparison     reports -> the frames the tables and figures show: intervals, reported | ours | gap, verdicts
pretraining    which runs make up the table of stage 1s, and retrieval after stage 2
controls       corpora counted, leaks, bounds of one modality, pointing, retrieval
sweeps         ablations and sweeps as frames; costs: what a post costs; maps: numbers behind heat maps
verdicts       the papers' claims, each with its numbers and a verdict
complexity     how DMFL's cost grows; readings: what DMFL reads off its heat maps; gaps: text against image
look           one style for every figure
plots          tidy frame -> figure; curves: measures and growth; pictures: scenes and maps -> figure
execute        the notebooks, run in order and checked: `python -m rumorlib run`
readme         the generated blocks of README.md
"""

import os

# Before torch starts its threads (kernels started from here inherit it): one that waits for the others sleeps. By
# default it spins, and on a machine that also does something else a step takes ten times as long
# (benchmarks/thread_waiting.py).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
