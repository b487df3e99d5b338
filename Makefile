# `make` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo check lint types imports test events bench chromium clean

help: ## list the commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## make .venv with everything that checks and demo need

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP) ## watch a swarm improve a small model for about three minutes
	$(BIN)/mesh up arenas/$(or $(ARENA),nanolm) --minutes 3

check: $(STAMP) chromium lint types imports test ## all checks, the same as in CI

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

test: $(STAMP)
	$(BIN)/pytest

events: $(STAMP) ## write docs/events.md and docs/reference/arena.md from the code
	$(BIN)/python -m mesh.events_page > docs/events.md
	$(BIN)/python -m mesh.arena_page > docs/reference/arena.md

bench: $(STAMP) ## measure a part against its raw limit, e.g. `make bench NAME=log`
	$(BIN)/python -m benchmarks $(or $(NAME),log) $(if $(QUICK),--quick)

chromium: ## install the browser in which the page is tested, where there is none (Debian, as root)
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } || \
	  { echo "chromium could not be installed: the tests of the page need it (apt-get install chromium, as root)" >&2; exit 1; }

clean: ## delete the environment and caches, keep logs of arenas (.mesh)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
