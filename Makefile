# make demo   the quickstart study, in an environment it makes itself
# make test   checks and tests, likewise
# make bench  what the loss, a step, a study cost
# make chaos  what is left when anything is killed at any moment
# make ui     the demo's trials in the browser
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
STORE := runs
# Tests that launch whole clusters on this machine: they need it for themselves.
CLUSTERS := tests/cluster/test_onprem.py tests/cluster/test_aws.py

.DEFAULT_GOAL := help
.PHONY: help install demo ui check test bench chaos docs format constraints clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(INSTALLED)  ## make the environment in .venv

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "python: $$($(PYTHON) --version): must be 3.11 or later: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "installing into $(VENV): a few minutes, once"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(INSTALLED)  ## run the quickstart study: shapes data, local Ray, MLflow in SQLite
	@$(BIN)/neuroiou-study run search_spaces/quickstart.yaml --store $(STORE)
	@echo "open the trials in MLflow: make ui"

ui: $(INSTALLED)  ## open the MLflow UI on the demo's store, for this machine only
	@test -f $(STORE)/mlflow.db || { echo "$(STORE)/mlflow.db: missing: the demo makes it: make demo" >&2; exit 1; }
	@echo "MLflow: http://127.0.0.1:5000 (Ctrl-C ends it)"
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --host 127.0.0.1 --port 5000 \
	  --backend-store-uri sqlite:///$(CURDIR)/$(STORE)/mlflow.db

check: $(INSTALLED)  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check  ## everything that CI runs
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 30 $(CLUSTERS:%=--ignore %)
	$(BIN)/python -m pytest --durations 5 $(CLUSTERS)

bench: $(INSTALLED)  ## what things cost; BENCH_ARGS="--quick --json FILE"
	@$(BIN)/python -m tests.benchmarks $(BENCH_ARGS)

chaos: $(INSTALLED)  ## kill everything everywhere, and see every study finish; CHAOS_ARGS="--quick --seed 1"
	@$(BIN)/python -m tests.faults.chaos $(CHAOS_ARGS)

docs: $(INSTALLED)  ## the documentation as a site in docs/_build
	@$(BIN)/python -m sphinx -W --keep-going -n -q -c docs -b html . docs/_build
	@echo "docs/_build/index.html"

format: $(INSTALLED)  ## put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

constraints: $(INSTALLED)  ## write constraints.txt from what is installed
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.new
	@mv constraints.new constraints.txt

clean:  ## remove the environment and caches, not the results
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info
