# `make` lists the commands. Everything runs from .venv, which `make setup` builds from requirements/dev.txt by hash.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
LOG := $(VENV)/setup.log
CLIENTS := .clients
PIP := $(BIN)/python -m pip --no-input --disable-pip-version-check --quiet
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
UV_VERSION := 0.13.9

.PHONY: help setup demo check check-clients campaign fuzz bench fmt docs lock clean

help: ## list the commands and what each one proves
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

setup: $(STAMP) ## a fresh clone needs only python3 (3.11 or newer), pip and make; leaves .venv/bin/scrimp
	@:

$(STAMP): requirements/dev.txt pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "setup: no Python 3.11 or newer found. Install one, or say which: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "setup: $(PYTHON) is older than Python 3.11. Say which to use: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "setup: $(PYTHON) cannot make virtual environments. Install its venv package (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@echo "setup: installing the pinned tools into $(VENV) (a minute or so)"
	@"$(PYTHON)" -m venv $(VENV)
	@{ $(PIP) install --require-hashes --requirement requirements/dev.txt && \
	   $(PIP) install --no-deps --no-index --no-build-isolation --editable . ; } >$(LOG) 2>&1 || \
	   { tail -n 5 $(LOG) >&2; echo "setup: pip failed; the whole of its output is in $(LOG). Mend that and run make setup again." >&2; exit 1; }
	@touch $(STAMP)
	@echo "setup: ready, $(BIN)/scrimp"

demo: $(STAMP) ## one story bare, observed and safe: exits 1 unless ledger and invoice agree and safe is no dearer
	@$(BIN)/scrimp demo

check: $(STAMP) ## style, types, direction, documents and every test, in under 15 minutes: proves what a change must keep
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >$(VENV)/imports.log || { cat $(VENV)/imports.log; exit 1; }
	@$(BIN)/python tools/generate_docs.py --check
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not clients and not campaign"

check-clients: $(STAMP) $(CLIENTS)/.ready $(CLIENTS)/python/.ready ## the SDKs, Claude Code and frameworks through gateway and simulator: proves bodies stay byte-identical
	@CLIENTS_RESULTS=bench/results/clients.json PATH="$(CURDIR)/$(CLIENTS)/bin:$$PATH" $(BIN)/python -m pytest -m clients

# Both generations of Claude Code that are in the field, the TypeScript SDK and what bench compares with.
$(CLIENTS)/.ready: tests/e2e/package.json tests/e2e/package-lock.json
	@{ command -v node && command -v npm; } >/dev/null || { echo "check-clients: npm is needed to install Claude Code. Install Node.js, then run it again." >&2; exit 1; }
	@echo "check-clients: installing the pinned clients of npm into $(CLIENTS) (some 640 MB)"
	@mkdir -p $(CLIENTS)/bin && cp $^ $(CLIENTS)/
	@cd $(CLIENTS) && npm install --no-save --ignore-scripts --no-audit --no-fund --force >setup.log 2>&1 || \
	   { tail -n 5 setup.log >&2; echo "check-clients: npm failed; the whole of its output is in $(CLIENTS)/setup.log. It needs the network, once." >&2; exit 1; }
	@cd $(CLIENTS)/bin && ln -sf ../node_modules/@anthropic-ai/claude-code-*/claude claude && ln -sf ../node_modules/.bin/ccusage ccusage && \
	   ln -sf ../node_modules/claude-code-2.1.197/node_modules/@anthropic-ai/claude-code-*/claude claude-2.1.197
	@touch $@

# The clients written in Python, in an environment of their own: they ask for other versions than scrimp does.
$(CLIENTS)/python/.ready: requirements/clients.txt
	@echo "check-clients: installing the pinned clients of Python into $(CLIENTS)/python (some 710 MB)"
	@mkdir -p $(CLIENTS) && "$(PYTHON)" -m venv --clear $(CLIENTS)/python
	@$(CLIENTS)/python/bin/python -m pip --no-input --disable-pip-version-check --quiet install --no-compile --require-hashes \
	   --requirement requirements/clients.txt >$(CLIENTS)/python/setup.log 2>&1 || { tail -n 5 $(CLIENTS)/python/setup.log >&2; \
	   echo "check-clients: pip failed; the whole of its output is in $(CLIENTS)/python/setup.log. It needs the network, once." >&2; exit 1; }
	@touch $@

campaign: $(STAMP) ## hours of seeds (SEEDS=n): proves ledger = invoice on far more random conversations than check runs
	@HYPOTHESIS_PROFILE=campaign KILLS_RESULTS=bench/results/kills.json SPLITS_RESULTS=bench/results/splits.json $(BIN)/python -m pytest -n 2 --dist loadgroup -m "campaign or not clients" $(if $(SEEDS),--seeds $(SEEDS))

fuzz: .fuzz/env/.ready ## an hour of CPU (SECONDS=n) on every reader of foreign bytes: proves that none crashes, hangs or grows
	@.fuzz/env/bin/python tools/fuzz.py --seconds $(or $(SECONDS),3600)

.fuzz/env/.ready: requirements/core.txt requirements/fuzz.txt
	@"$(PYTHON)" -m venv --clear .fuzz/env && .fuzz/env/bin/python -m pip --no-input --disable-pip-version-check --quiet install \
	   --require-hashes --requirement requirements/core.txt --requirement requirements/fuzz.txt >.fuzz/setup.log 2>&1 || \
	   { tail -n 5 .fuzz/setup.log >&2; echo "fuzz: pip failed; the whole of its output is in .fuzz/setup.log. The fuzzer (atheris) has wheels for Linux only." >&2; exit 1; }
	@touch $@

bench: $(STAMP) $(CLIENTS)/.ready ## the numbers of README and docs, with the machine they were taken on: proves speed of gateway, reading and start-up
	@PATH="$(CURDIR)/$(CLIENTS)/bin:$$PATH" $(BIN)/python bench/run.py

fmt: $(STAMP) ## put every file into the one format
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format --quiet

docs: $(STAMP) ## write docs/reference anew from the code (check refuses a stale one)
	@$(BIN)/python tools/generate_docs.py

lock: ## resolve the dependencies anew into requirements/, exact versions with hashes and no address
	@"$(PYTHON)" -m venv $(VENV)-lock && $(VENV)-lock/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@for which in core dev clients fuzz; do \
	  flags=$$([ $$which != dev ] || echo "--all-extras --group dev --constraint requirements/core.txt"); \
	  source=$$([ -f requirements/$$which.in ] && echo requirements/$$which.in || echo pyproject.toml); \
	  $(VENV)-lock/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 --strip-extras --generate-hashes \
	    --no-header --no-emit-index-url --no-emit-find-links $$flags $$source --output-file requirements/$$which.txt; done

clean: ## remove everything that was built, the virtual environment too
	@rm -rf $(VENV) $(VENV)-lock $(CLIENTS) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .fuzz/env
	@find src tests tools bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
