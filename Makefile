# Every target does its own set-up: `make install` runs first and does nothing the second time.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV ?= .venv
VIDEO ?=
# The newest-looking name is not taken on trust: each is asked for its version.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
  $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FULL_STAMP := $(VENV)/.installed-full
PROJECT_FILES := $(wildcard clients/python/pyproject.toml services/*/pyproject.toml)
PROJECTS := $(patsubst %/pyproject.toml,./%,$(PROJECT_FILES))
SOURCES := clients/python services tests benchmarks demo protos

# Wheels only: nothing is compiled on the user's machine. Those named after it have no wheel; they
# are Python and data, and nothing in them is compiled either. The projects themselves are built
# with the environment's own setuptools, so that its version is pinned too and fetched once.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
  --only-binary :all: --no-binary face_recognition_models,sam2,iopath,antlr4-python3-runtime \
  --constraint constraints.txt
EDITABLE := $(addprefix --editable ,$(PROJECTS))
# What needs PyTorch: 5 GB, and only for engines whose weights have to be fetched too.
FULL := ./services/segmenter[sam2] $(patsubst %,./services/%[transformers],\
  $(foreach name,captioner detector,$(patsubst services/%/pyproject.toml,%,\
  $(wildcard services/$(name)/pyproject.toml))))

.PHONY: help install install-full test lint format demo protos constraints clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with every project and the test tools; nothing to do the second time

$(STAMP): $(PROJECT_FILES) requirements-dev.txt constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
	  echo "Kinemask needs Python 3.11 or newer, and none was found on the PATH." >&2; \
	  echo "Install one, or name one: make install PYTHON=/path/to/python3" >&2; exit 1; fi
	@echo "Making $(VENV) with $$($(PYTHON) --version); once only."
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "On Debian and Ubuntu the venv module is a package of its own: python3-venv" >&2; exit 1; }
	@$(PIP_INSTALL) --upgrade pip setuptools
	@PYTHONWARNINGS=ignore $(PIP_INSTALL) --no-build-isolation \
	  --requirement requirements-dev.txt $(EDITABLE)
	@touch $@

install-full: $(FULL_STAMP) ## The same with PyTorch, SAM 2 and transformers: 5 GB

$(FULL_STAMP): $(STAMP)
	@echo "Adding PyTorch, SAM 2 and transformers to $(VENV): 5 GB, once only."
	@$(PIP_INSTALL) torch torchvision
	@SAM2_BUILD_CUDA=0 PYTHONWARNINGS=ignore $(PIP_INSTALL) --no-build-isolation \
	  $(addprefix --editable ,$(FULL))
	@touch $@

test: install-full lint ## Check style and types, then run every test; with PyTorch, so 5 GB
	@$(BIN)/python -m pytest

# Without ruff's cache: it does not notice that a new __init__.py changes how imports are sorted.
lint: install ## Check style (ruff) and types (mypy)
	@$(BIN)/ruff check --no-cache .
	@$(BIN)/ruff format --check --no-cache .
	@$(BIN)/mypy $(SOURCES)

format: install ## Put the code into the one style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

demo: install ## Blur the faces of a made clip, or of VIDEO=path, into out/demo.mp4
	@$(BIN)/python -m demo $(if $(VIDEO),"$(VIDEO)")

protos: install ## Generate the stubs from protos/ anew
	@$(BIN)/python protos/generate.py

constraints: ## Pin the newest versions that fit together in constraints.txt
	@rm -rf build/constraints
	@$(PYTHON) -m venv build/constraints
	@build/constraints/bin/python -m pip install --quiet --upgrade pip setuptools
	@build/constraints/bin/python -m pip install --quiet torch torchvision
	@SAM2_BUILD_CUDA=0 PYTHONWARNINGS=ignore build/constraints/bin/python -m pip install --quiet \
	  --no-build-isolation --requirement requirements-dev.txt $(EDITABLE) \
	  $(addprefix --editable ,$(FULL))
	@{ echo "# Every version that is installed; written by: make constraints"; \
	  build/constraints/bin/python -m pip freeze --all --exclude-editable; } > constraints.txt
	@rm -rf build/constraints
	@echo "Wrote constraints.txt; now run: make test"

clean: ## Remove .venv, caches and what was made
	@rm -rf $(VENV) build out .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . \( -name __pycache__ -o -name '*.egg-info' \) -prune -exec rm -rf {} +
