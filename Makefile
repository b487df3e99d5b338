# `make` lists what there is.
PYTHON ?= python3
ARENA ?= nanolm
# Test processes: more than the two cores of CI, because most tests wait for processes that they start.
JOBS ?= 4
VENV := .venv
# Byte code is kept, even where the environment says otherwise: else every process of a swarm compiles all it imports.
unexport PYTHONDONTWRITEBYTECODE
BIN := $(VENV)/bin

# What is installed, each under a stamp of its own: `demo` needs a small part of what `check` needs.
DEV := $(VENV)/.dev
DIGITS := $(VENV)/.demo-digits
DEMO_TORCH := $(VENV)/.demo
DEMO := $(or $(wildcard $(DEV)),$(if $(filter digits,$(ARENA)),$(DIGITS),$(DEMO_TORCH)))

# uv installs where it is there, else pip. Without a GPU, torch is its CPU build: 0.2 GB in place of 3 GB.
UV := $(shell command -v uv)
PIP := $(BIN)/python -m pip
CPU_TORCH := https://download.pytorch.org/whl/cpu
WANTED = -q -c constraints.txt -e '.[$(EXTRAS)]'
INSTALL = $(if $(UV),$(UV) pip install --python $(BIN)/python $(WANTED) ||) $(PIP) install $(WANTED)
$(DEV): EXTRAS := dev
$(DIGITS): EXTRAS := server,analytics,arenas,search
$(DEMO_TORCH): EXTRAS := server,analytics,arenas,search,worker
# Trials write no byte code: what they import is compiled here, on all cores, and so is what is slow to import elsewhere.
BYTECODE := $(VENV)/.bytecode
COMPILED := joblib numpy scipy sklearn torch
COMPILE = @$(BIN)/python -m compileall -qq -j 0 $(COMPILED:%=$(VENV)/lib/python3*/site-packages/%) || true
# Of litellm and optuna, which agents import and may compile, less than half is ever needed: one import compiles that.
IMPORTED := $(VENV)/.imported
define TORCH
@command -v nvidia-smi >/dev/null || $(PIP) show -qq torch || \
  { echo "installing the CPU build of torch"; $(PIP) install -qq --no-compile --no-deps --retries 1 --index-url $(CPU_TORCH) -c constraints.txt torch; } || \
  echo "$(CPU_TORCH) does not answer: torch comes from the package index, which may be its CUDA build" >&2
endef

.DEFAULT_GOAL := help
.PHONY: help setup demo check lint types imports docs collected test events bench chaos chromium clean

help: ## list the commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(DEV) $(BYTECODE) $(IMPORTED) ## install everything that the checks need into .venv

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(TORCH)
	$(INSTALL)
	@touch $@

$(BYTECODE): $(DEV)
	$(COMPILE)
	@touch $@

$(IMPORTED): $(DEV)
	@LITELLM_LOCAL_MODEL_COST_MAP=True $(BIN)/python -c "import litellm, optuna" || true
	@touch $@

$(DIGITS): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL)
	$(COMPILE)
	@touch $@

$(DEMO_TORCH): pyproject.toml constraints.txt | $(BIN)/python
	$(TORCH)
	$(INSTALL)
	$(COMPILE)
	@touch $@

demo: $(DEMO) ## watch a swarm improve a small model for three minutes; ARENA=digits installs and learns faster
	$(BIN)/mesh up arenas/$(ARENA) --minutes 3

# What needs one core runs two at a time, each with its output in one piece. Types, which take a minute of one core,
# are checked in the pauses of the tests.
SIDE_BY_SIDE := -j 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

check: ## run all checks, the same as in CI
	@$(MAKE) $(SIDE_BY_SIDE) $(DEV) chromium
	@$(MAKE) $(SIDE_BY_SIDE) collected $(IMPORTED) lint imports docs
	@$(MAKE) -j 2 test types

lint: $(DEV) ## check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(DEV) ## check types
	nice -n 5 $(BIN)/mypy

imports: $(DEV) ## check which package may import which
	$(BIN)/lint-imports

docs: $(DEV) ## build the documentation site into site/; a broken link fails
	$(BIN)/python -m zensical build --strict

# Each process of the tests would rewrite the assertions of all files again, if nobody had kept them before.
collected: $(DEV) $(BYTECODE)
	@$(BIN)/pytest --collect-only -qq >/dev/null || $(BIN)/pytest --collect-only -qq

# A short folder for temporary files, because the path of a socket has at most 107 bytes.
test: $(DEV) $(BYTECODE) $(IMPORTED) ## run the tests: first those that can run side by side, then the greedy in pairs, then the serial
	@short=$$(mktemp -d /tmp/m.XXXX) && failed=0 && run() { $(BIN)/pytest --basetemp $$short "$$@" || failed=1; } && \
	  run -n $(JOBS) --dist loadfile --no-loadscope-reorder -m 'not serial and not greedy' && \
	  run -n 2 --dist worksteal -m greedy $$(grep -l 'mark[.]greedy' tests/test_*.py) && \
	  run -m serial $$(grep -l 'mark[.]serial' tests/test_*.py) && rm -rf $$short && exit $$failed

events: $(DEV) ## generate docs/events.md, docs/reference/arena.md, docs/reference/rights.md and the table of docs/sandbox.md from the code
	$(BIN)/python -m mesh.events_page > docs/events.md
	$(BIN)/python -m mesh.arena_page > docs/reference/arena.md
	$(BIN)/python -m mesh.accounts.rights_page > docs/reference/rights.md
	$(BIN)/python -m tests.attacks docs/sandbox.md

bench: $(DEV) ## measure a part against its raw limit, e.g. `make bench NAME=log`
	$(BIN)/python -m benchmarks $(or $(NAME),log) $(if $(QUICK),--quick)

chaos: $(DEV) ## let swarms live through random trouble, e.g. `make chaos MINUTES=30 SEED=7`
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

chromium: ## install the browser in which the page is tested, if there is none (Debian, as root)
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } || \
	  { echo "chromium could not be installed: the tests of the page need it (apt-get install chromium, as root)" >&2; exit 1; }

clean: ## delete the environment and caches; the logs of arenas (.mesh) stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info
