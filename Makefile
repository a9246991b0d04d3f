# make setup | test | long | demo | fuzz, on Debian or Ubuntu with Python 3.11 or 3.12.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first of these that has venv; PYTHON=/path/to/python chooses another.
PYTHON ?= $(shell for python in python3.11 python3.12 python3 /usr/bin/python3; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo $$python && break; done)

.PHONY: setup test long demo fuzz lint format clean
.DEFAULT_GOAL := setup

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt .ci/setup
	@bash .ci/setup "$(PYTHON)" "$(VENV)"
	@touch $@

# Processes that share the tests, file by file, each with one thread for its numerics; tests/conftest.py says in which order.
# Three on two cores: some of them wait for others' processes.
WORKERS ?= 3
# Hundreds of processes import the same, so its bytecode is kept.
test: export PYTHONDONTWRITEBYTECODE :=
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not alone and not long"
	$(BIN)/pytest -m "alone and not long"

# What takes long and seldom breaks: before a release, and after work on what it tests.
long: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -m long -v

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

demo: setup
	$(BIN)/robolearn demo $(ARGS)

# Every importer meets this many broken inputs; 10,000 take about an hour.
INPUTS ?= 10000
fuzz: setup
	ROBOLEARN_FUZZ=$(INPUTS) $(BIN)/pytest -m fuzz --timeout=0 -v

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache
