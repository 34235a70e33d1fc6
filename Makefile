# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
export ERLANGEN_DATA ?= $(wildcard ../shared/data)

.PHONY: demo test lint unit fuzz bench docs reproduce clean

$(VENV)/.core: pyproject.toml constraints.txt
	@echo "setting up $(VENV) (once; about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	@$(PIP) -e ".[dev]"
	@touch $@

demo: $(VENV)/.core
	@$(BIN)/erlangen demo --out runs/demo

test: lint unit

lint: $(VENV)/.dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

unit: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

fuzz: $(VENV)/.dev
	HYPOTHESIS_PROFILE=fuzz OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal -m "thorough or not thorough"

reproduce: $(VENV)/.core
	$(BIN)/erlangen reproduce --all --budget laptop

bench: $(VENV)/.dev
	$(PIP) -e ".[bench]"
	$(BIN)/python benchmarks/environments.py
	$(BIN)/erlangen bench --results results/benchmarks --docs docs/benchmarks.md

docs: $(VENV)/.core
	@$(PIP) -e ".[docs]"
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) runs site dist .pytest_cache .mypy_cache .ruff_cache
