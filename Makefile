# Each target does its own set-up: a virtual environment in .venv, made once and brought up to date when
# pyproject.toml changes. PYTHON chooses the interpreter (3.11 or newer).

PYTHON ?= python3
MINUTES ?= 5
ENV := .venv
READY := $(ENV)/.ready
# `mlflow run --env-manager local` starts the `python` that is first on the path
export PATH := $(CURDIR)/$(ENV)/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export MLFLOW_LOGGING_LEVEL ?= WARNING

.PHONY: setup run reproduce-quick test slow faults twin lint types check ui clean

run: $(READY)  ## the main job: prepare, train, evaluate and sample one model
	mlflow run . --env-manager local

reproduce-quick: $(READY)  ## a quick check of the report's protocol, against d2l's own bands (needs the exact book)
	mlflow run . --env-manager local -e reproduce -P quick=true -P check=true

test: $(READY)  ## the fast tests
	pytest

slow: $(READY)  ## the tests that take minutes, the files with the most of them first
	pytest -m slow --loadscope-reorder

faults: $(READY)  ## kill -9, signals, full disks and more, for MINUTES: what is survived
	python -m tests.faults --minutes $(MINUTES)

twin: $(READY)  ## the report's protocol against d2l 1.0.3, step by step (installs it, without what it pins)
	$(ENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps d2l==1.0.3
	pytest -m slow tests/benchmarks

lint: $(READY)  ## style
	ruff check .
	ruff format --check .

types: $(READY)  ## static types
	mypy

check: lint types test slow reproduce-quick twin faults  ## all that CI checks

ui: $(READY)  ## the MLflow UI on 127.0.0.1
	tmlm ui

setup: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	test -x $(ENV)/bin/python || $(PYTHON) -m venv $(ENV)
	$(ENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:  ## forget the environment; what was recorded stays
	rm -rf $(ENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
