# `make` lists what there is. Nothing outside this folder is written, except pip's own cache.

PYTHON ?= python3
VENV ?= .venv
DATA ?= $(RUMORLIB_DATA)
TRAIN ?= missing
GRID ?= reduced
SEEDS ?=
ONLY ?=
NOTEBOOKS ?=

# torch's waiting threads sleep: on a loaded machine spinning ones cost ten times the time (benchmarks/thread_waiting.py)
export OMP_WAIT_POLICY ?= PASSIVE

PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
RUN = $(PY) -m rumorlib run $(NOTEBOOKS) --train $(TRAIN) --grid $(GRID) \
	$(if $(SEEDS),-p "seeds=[$(SEEDS)]") $(if $(ONLY),--only $(ONLY))
HAVE_NOTEBOOKS = $(wildcard notebooks/*.ipynb)
# of the unit tests on real corpora; without it they are skipped
TEST_DATA ?= $(RUMORLIB_DATA)
# tests of one file, and cells of one notebook, stay in one process
BESIDE = -n auto --dist loadfile
# what the tests write stays in build/, never in results/
SCRATCH = RUMORLIB_OUTPUT="$(CURDIR)/build/test" RUMORLIB_CACHE="$(CURDIR)/build/cache"

.DEFAULT_GOAL := help
.PHONY: help install demo test rebuild lint format lab laptop paper lock

help: ## this list
	@echo "make <target> [PYTHON=python3] [GRID=reduced|full] [TRAIN=missing|all|none] [SEEDS=0,1,2] [ONLY=\"m_e2 d_e1\"]"
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## virtual environment with the locked versions (about 6.5 GB, once)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is $$($(PYTHON) --version 2>&1 || echo not found); Python 3.11 or newer is needed, e.g. make install PYTHON=python3.11" >&2; exit 1; }
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet -r requirements.lock
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: install ## every notebook on drawn scenes: two CPU cores, no network, minutes
	$(RUN) --profile demo

laptop: install ## real corpora and frozen encoders, notebooks 01-07, 09, 10 and 12 (or NOTEBOOKS="02 03"): make laptop DATA=<folder>
	$(PY) -m rumorlib run $(or $(NOTEBOOKS),$(if $(ONLY),,01 02 03 04 05 06 07 09 10 12)) --profile laptop --train $(TRAIN) --grid $(GRID) \
		$(if $(SEEDS),-p "seeds=[$(SEEDS)]") $(if $(ONLY),--only $(ONLY)) $(if $(DATA),--data "$(DATA)")

# A GPU is used if there is one; CUDA_VISIBLE_DEVICES= hides it, RUMORLIB_DETERMINISTIC=1 makes it give the same digits
# twice where torch has such kernels (CUBLAS_WORKSPACE_CONFIG is set then), benchmarks/accelerator.py measures it.
paper: install ## the papers' settings: make paper DATA=<folder>, one GPU server
	$(RUN) --profile paper $(if $(DATA),--data "$(DATA)")

test: install ## what CI runs: linters, unit tests, every notebook at its demo defaults
	$(MAKE) lint
	rm -rf build/test
	OMP_NUM_THREADS=1 $(SCRATCH) $(if $(TEST_DATA),RUMORLIB_DATA="$(TEST_DATA)") $(PY) -m pytest $(BESIDE) tests
	$(SCRATCH) $(PY) -m rumorlib run --runs-only
	$(if $(HAVE_NOTEBOOKS),OMP_NUM_THREADS=1 $(SCRATCH) $(PY) -m pytest $(BESIDE) -W default --timeout=0 --nbval-lax --nbval-current-env --nbval-cell-timeout=3600 notebooks,@echo "no notebooks to run")

rebuild: install ## every committed laptop table again, from the committed runs and without corpora: same bytes, or it fails
	$(PY) -m rumorlib rebuild $(NOTEBOOKS) --grid $(GRID)

lint: install ## ruff on modules and notebooks; notebooks without outputs
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(if $(HAVE_NOTEBOOKS),$(VENV)/bin/nbstripout --keep-count --verify $(HAVE_NOTEBOOKS))

format: install ## let ruff and nbstripout rewrite what `make lint` refuses
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	$(if $(HAVE_NOTEBOOKS),$(VENV)/bin/nbstripout --keep-count $(HAVE_NOTEBOOKS))

lab: install ## JupyterLab in notebooks/; for laptop and paper: RUMORLIB_DATA=<folder> make lab
	$(VENV)/bin/jupyter lab --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/notebooks

lock: ## resolve requirements.lock again (needs uv); then `make install`
	env -u PIP_FIND_LINKS -u PIP_EXTRA_INDEX_URL uv pip compile --no-config --universal --python-version 3.11 \
		--extra notebooks --extra test --no-header --no-emit-index-url --quiet pyproject.toml -o requirements.lock
