# Each target does its own set-up: a virtual environment in .venv, made once and brought up to date when
# pyproject.toml changes. PYTHON chooses the interpreter (3.11 or newer), EXTRAS=[cluster] extras of pyproject.toml.

PYTHON ?= python3
EXTRAS ?=
MINUTES ?= 5
FUZZ_CASES ?= 750
CPU_LIMIT := 120# of `make test`: printed, never asserted, as it depends on the machine
ARITHMETIC := tests/test_recipe.py tests/test_cells.py tests/models tests/text tests/training tests/pages tests/known_cost/test_*.py
MLFLOW_TESTS := -m 'not network' tests/tracking tests/runs tests/stages/test_main.py tests/stages/test_train.py tests/system/test_end_to_end.py tests/browser/test_mlflow_ui.py
NEWEST_PYTHONS ?= 3.14 3.13 3.12# the first of them that uv finds, or downloads: for these all dependencies have wheels
OLDEST_CPU := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41# of PyTorch's own kernels, of oneDNN's
ENV := .venv
READY := $(ENV)/.ready# what running needs
READY_DEV := $(ENV)/.ready-dev# and the development tools
PIP := $(ENV)/bin/python -m pip install --quiet --disable-pip-version-check
WITH_BROWSER := $(PIP) 'playwright>=1.50,<2' 'axe-playwright-python>=0.1.4,<0.2'; \
	if python -m tests.browser.browsers; then export TMLM_REQUIRE_BROWSER=1; fi;
# the fast tests in build/NAME-VERSION, with the first version of Python (1) that uv finds or downloads and pip's options (2)
define fast_tests_with
	@for version in $(1); do \
		env=$(CURDIR)/build/$@-$$version; \
		uv venv --quiet --allow-existing --seed --python $$version $$env 2>/dev/null || { echo "no Python $$version here"; continue; }; \
		$$env/bin/python -m pip install --quiet --disable-pip-version-check $(2) --editable . --group dev || exit; \
		PATH=$$env/bin:$$PATH; python -c 'import sys, torch, mlflow, optuna; print("Python", sys.version.split()[0], \
			*(f"{each.__name__} {each.__version__}" for each in (torch, mlflow, optuna)))'; \
		exec pytest -rs; \
	done; echo "skipped: none of the Pythons $(1) is installed here, and uv can't download one"
endef
CPU_INDEX := https://download.pytorch.org/whl/cpu
# `mlflow run --env-manager local` starts the `python` that is first on the path
export PATH := $(CURDIR)/$(ENV)/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
unexport PYTHONDONTWRITEBYTECODE# pytest rewrites, and each process compiles, every module anew without its cache
export MLFLOW_LOGGING_LEVEL ?= WARNING

.PHONY: setup run reproduce-quick test ci-tests slow isa cluster browser faults anomalies fuzz twin bench rivals figures demo screens lint types mlflow-range lowest newest check nightly ui clean

run: $(READY)  ## the main job: prepare, train, evaluate and sample one model
	mlflow run . --env-manager local

ui: $(READY)  ## the MLflow UI on 127.0.0.1
	tmlm ui

reproduce-quick: $(READY)  ## a quick check of the report's protocol, against d2l's own bands (needs the exact book)
	mlflow run . --env-manager local -e reproduce -P quick=true -P check=true

test: $(READY_DEV)  ## the fast tests, and the CPU seconds that they took
	@bash -c 'TIMEFORMAT="CPU seconds: %U and %S of the system (limit: $(CPU_LIMIT))"; time pytest'

ci-tests: $(READY_DEV)  ## one representative of each kind of test that CI leaves to `make nightly`, two faults and a hostile store
	$(WITH_BROWSER) pytest --dist load -rs -m ci
	$(OLDEST_CPU) pytest tests/test_recipe.py tests/test_cells.py
	python -m tests.faults --repeat 0:57 --repeat 0:7 --repeat 0:634

slow: $(READY_DEV)  ## the tests that take minutes
	pytest -m 'slow and not network' --loadscope-reorder

isa: $(READY_DEV)  ## the tests of arithmetic as an x86-64 processor without AVX, one with AVX2 and 4 threads, and any in MKL computes
	$(OLDEST_CPU) pytest $(ARITHMETIC)
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 TEST_THREADS=4 pytest $(ARITHMETIC)
	MKL_CBWR=COMPATIBLE pytest $(ARITHMETIC)

cluster: $(READY_DEV)  ## searches on a head and nodes in network namespaces, with faults (as root on Linux; skipped elsewhere)
	pytest -n 3 --dist load -rs -m network tests/cluster

browser: $(READY_DEV)  ## what MLflow's UI and the pages show, in Chromium (installs Playwright and, where it can, Chromium)
	$(WITH_BROWSER) pytest -n 0 -rs -m browser tests/browser

faults: $(READY_DEV)  ## inject faults into commands for MINUTES, and print what was survived; goes on where the last one stopped
	python -m tests.faults --minutes $(MINUTES)
	python -m tests.fault_matrix

anomalies: $(READY_DEV)  ## lose what was not synced at every operation of eight commands; let calls of each fail for MINUTES, or ALL=1 (needs cc)
	python -m tests.anomalies $(if $(ALL),--all,--minutes $(MINUTES))
	python -m tests.fault_matrix

fuzz: $(READY_DEV)  ## FUZZ_CASES hostile inputs for everything that reads files, records and answers
	FUZZ_CASES=$(FUZZ_CASES) pytest --dist load --hypothesis-show-statistics tests/fuzz

twin: $(READY_DEV)  ## the report's protocol against d2l 1.0.3, step by step (installs it, without what it pins)
	$(PIP) --no-deps d2l==1.0.3
	pytest -m slow --dist load tests/benchmarks

bench: $(READY_DEV)  ## speed against d2l 1.0.3, counting against PPMd: a table, mlruns/bench (installs both; on a quiet machine)
	$(PIP) --no-deps d2l==1.0.3 pyppmd==1.3.1
	python -m tests.benchmarks.claims --coverage
	python -m tests.benchmarks.bench

rivals: $(READY_DEV)  ## n-grams with words and skips, a transformer and a minGRU: docs/data (an hour; goes on where it stopped)
	test -d build/texts || python -m tests.benchmarks.texts fetch build/texts
	python -m tests.benchmarks.word_ngrams build/texts
	python -m tests.benchmarks.rivals build/texts

figures: $(READY_DEV)  ## the pictures of docs, from docs/data
	python -m tests.figures
	python -m tests.benchmarks.tune_recipe --table
	python -m tests.benchmarks.budgets

demo: export MLFLOW_TRACKING_URI := sqlite:///$(CURDIR)/mlruns/demo/mlflow.db
demo: $(READY_DEV)  ## docs/demo: the page of the default model on Python's documentation, from a store of its own
	mkdir -p mlruns/demo
	tmlm pipeline --corpus python-docs
	python -m tests.demo

screens: $(READY_DEV)  ## the pictures of docs/screens, in Chromium, from a main job and a quick search that it records
	$(WITH_BROWSER) python -m tests.screens

lint: $(READY_DEV)  ## style, and the layers of CONTRIBUTING.md
	ruff check .
	ruff format --check .
	lint-imports

types: $(READY_DEV)  ## static types
	mypy

mlflow-range: $(READY_DEV)  ## all tests of what calls MLflow, with the lowest one that is allowed, then with the newest
	lowest=$$(sed -n 's/.*"mlflow>=\([0-9.]*\),.*/\1.0/p' pyproject.toml) && $(PIP) --upgrade --no-deps --target build/mlflow \
		mlflow==$$lowest mlflow-skinny==$$lowest mlflow-tracing==$$lowest
	$(WITH_BROWSER) PYTHONPATH=$(CURDIR)/build/mlflow pytest -rs $(MLFLOW_TESTS)
	$(PIP) --upgrade 'mlflow<4'
	$(WITH_BROWSER) pytest -rs $(MLFLOW_TESTS)

lowest: $(READY_DEV)  ## the fast tests with the lowest Python and the lowest releases that pyproject.toml allows
	mkdir -p build
	sed -n '/^dependencies/,/^]/s/.*"\([^>]*\)>=\([^,]*\),.*/\1==\2/p' pyproject.toml > build/lowest.txt
	$(call fast_tests_with,3.11,--constraint build/lowest.txt)

newest: $(READY_DEV)  ## the fast tests with the newest Python of NEWEST_PYTHONS that is to be had, and the newest releases
	$(call fast_tests_with,$(NEWEST_PYTHONS),--upgrade --upgrade-strategy eager)

check: lint types reproduce-quick ci-tests twin test  ## what CI checks

nightly: mlflow-range lowest newest slow isa cluster browser faults anomalies fuzz  ## every test that CI leaves out, before a release

setup: $(READY_DEV)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -f $@ || { echo "Setting up $(ENV): 2 to 5 minutes, this time only." >&2; \
		if [ "$$(uname -s)" = Linux ] && [ -z "$$PIP_EXTRA_INDEX_URL$$PIP_INDEX_URL" ] && ! command -v nvidia-smi >/dev/null; \
		then echo "No NVIDIA GPU here? Ctrl-C, and download several GB less: PIP_EXTRA_INDEX_URL=$(CPU_INDEX) make $(MAKECMDGOALS)" >&2; \
		fi; }
	test -x $(ENV)/bin/python || $(PYTHON) -m venv $(ENV)
	$(PIP) --editable '.$(EXTRAS)'
	touch $@

$(READY_DEV): $(READY)  # Python 3.11 comes with a pip that knows no dependency groups
	$(PIP) 'pip>=25.1'
	$(PIP) --editable . --group dev
	touch $@

clean:  ## forget the environment; what was recorded stays
	rm -rf $(ENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
