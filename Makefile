# `make quick` goes from a fresh clone to a first table and figures; `make help` lists the rest.

# Keep compiled modules: without them every job would compile PyTorch's thousands of files anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
BIN := .venv/bin
SNAKEMAKE := $(BIN)/snakemake
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header
LOCK = $(COMPILE) --extra dev --extra docs --extra dvc --extra slurm --extra tensorboard pyproject.toml -o requirements.lock

# Run a preset, render its report and say where both are.
define preset
$(SNAKEMAKE) --configfile workflow/presets/$(1).yaml
$(SNAKEMAKE) --configfile workflow/presets/$(1).yaml --report results/$(1)/report.html
@echo "Tables, figures and report.html are in results/$(1)."
endef

.PHONY: help setup quick quick-miniimagenet verdict-quick smoke paper unlock restore test test-long test-slurm test-mirror lint docs lock upgrade benchmark card card-bundle card-import fuzz mutants clean

help: ## list what make can do
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 20

setup: $(BIN)/complete ## make .venv from requirements.lock; nothing after it needs the package index

quick: setup ## Omniglot, 5-way 1-shot, shortened: minutes on a CPU, nothing to download
	$(call preset,quick)

quick-miniimagenet: setup ## mini-ImageNet, 5-way 1-shot, shortened
	$(call preset,quick-miniimagenet)

verdict-quick: setup ## a row of the verdict for every claim, shortened, in minutes
	$(call preset,verdict-quick)

smoke: setup ## every step on synthetic images, in about a minute
	$(call preset,smoke)

paper: setup ## all of Table 1: weeks on two cores, so for a GPU
	$(SNAKEMAKE)
	$(SNAKEMAKE) --report results/paper/report.html

unlock: setup ## after a kill of Snakemake itself; a job that still runs keeps a lock of its own
	$(SNAKEMAKE) --unlock

restore: setup ## bring back the recorded results with DVC, and say what is left to do
	$(BIN)/maml restore

test: setup ## all tests but the long ones, side by side; `.venv/bin/pytest` runs some alone
	$(BIN)/pytest -n auto --maxprocesses=8 --dist=loadgroup

test-long: setup ## the tests that take minutes: kills at random moments
	$(BIN)/pytest -m long -s --timeout=0

fuzz: setup ## search for files that make a reader crash, for about ten minutes
	$(BIN)/pytest tests/fuzz --hypothesis-profile=fuzz --timeout=0

# ROOMS="tasks results" tries some rooms only, SAMPLE=30 fewer mistakes in each. What was tried is
# kept in .mutants, so the same command goes on after an interruption.
mutants: setup ## see whether the tests notice mistakes in the code: a night on two cores
	PYTHONPATH=tests nice $(BIN)/python -m mutants $(if $(ROOMS),--rooms $(ROOMS)) $(if $(SAMPLE),--sample $(SAMPLE))

test-slurm: setup ## the workflow on a Slurm that is started for it, about half an hour; as root
	$(BIN)/pytest -m slurm -s --timeout=0

test-mirror: setup ## the authors' weights on the real mini-ImageNet: MAML_MIRROR=<folder>
	$(BIN)/pytest -m mirror -s --timeout=0

lint: setup ## the style checks
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/hadolint Containerfile

docs: setup ## README and docs as one site, site/index.html; a link that leads nowhere is an error
	$(BIN)/sphinx-build -E -q -W --keep-going -c docs . site

# Versions are part of a result: those of torch and numpy move only by hand, and by a reason.
lock: $(BIN)/uv ## add to the lock what pyproject.toml asks for anew; no other version moves
	$(LOCK)

upgrade: $(BIN)/uv ## choose all versions anew but those of torch and numpy
	sed -n '/^\(torch\|torchvision\|numpy\)==/s/ \\$$//p' requirements.lock > .pins.part
	$(LOCK) --upgrade --constraint .pins.part
	rm .pins.part
	echo uv | $(COMPILE) --upgrade - -o requirements-uv.lock

# LEARN2LEARN=<folder with its source> adds learn2learn, whose package does not build any more;
# RESUME=1 keeps what an interrupted run with the same code and machine has measured. THREADS=1
# times everyone on one thread. DEVICE=cpu leaves out a CUDA device, DEVICE=cuda measures nothing
# else.
benchmark: setup ## time ours against torch.func, a plain loop and packages; over an hour on two free cores
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements-benchmark.lock
	$(BIN)/python -m benchmarks $(if $(LEARN2LEARN),--learn2learn $(LEARN2LEARN)) $(if $(RESUME),--resume) $(if $(THREADS),--threads $(THREADS)) $(if $(DEVICE),--device $(DEVICE))

# SECONDS=<that all may take>, OUT=<folder>, PREVIOUS=<folder of an earlier call, to go on from>. Runs
# with any Python that has PyTorch: in the unpacked archive of `make card-bundle`, too.
card: ## show on a GPU that is at hand for minutes what it can do
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m benchmarks.card --seconds $(or $(SECONDS),540) --out $(or $(OUT),card-results) $(if $(PREVIOUS),--previous $(PREVIOUS))

# CARD_PYTHON=<the machine's version of Python, where it is not 3.12>
card-bundle: setup ## fetch what `make card` needs without a network into card/ and card.tar.gz
	$(BIN)/python -m benchmarks.card.bundle $(if $(CARD_PYTHON),--python $(CARD_PYTHON))

# OUT=results/card-again files beside it where the card's folder in results/ is taken.
card-import: setup ## file what `make card` brought back: FROM=<folder>
	$(BIN)/python -m benchmarks.card.imported $(or $(FROM),card-results) $(if $(OUT),--out $(OUT))

clean: ## remove .venv and site; data and results stay
	rm -rf .venv site

# Who only pins needs no environment made anew, from which a training may be running.
$(BIN)/uv:
	$(MAKE) setup

# Made whole or made again: the last line marks a complete environment.
$(BIN)/complete: requirements.lock requirements-uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make setup PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv --clear .venv > /dev/null || \
		{ echo "Python cannot make an environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-uv.lock
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@
