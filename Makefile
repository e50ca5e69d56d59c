# vigild: setup · demo · test · bench · lint. The others call setup, which makes .venv once and is quick afterwards.

PYTHON ?= python3
# The torch to install, alone and before everything else: a looser requirement would pull several GB of CUDA packages
# onto a machine without a GPU. With a GPU: make setup TORCH='torch>=2.11'.
# Without one, from PyTorch's own index: make setup TORCH='torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu'.
TORCH ?= torch==2.13.0
# Tests run in so many processes, a file in one of them; each with one thread, for two cores are enough for two.
TEST_PROCESSES ?= 2
PYTEST_ARGS ?=
BENCH_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps

.PHONY: setup demo test bench lint format clean
.DEFAULT_GOAL := setup

setup: $(STAMPS)/project

$(STAMPS)/venv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/torch: $(STAMPS)/venv
	$(BIN)/python -m pip install $(TORCH)
	@touch $@

$(STAMPS)/project: $(STAMPS)/torch pyproject.toml
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

demo: setup
	$(BIN)/vigild demo

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

bench: setup
	$(BIN)/vigild bench all --short $(BENCH_ARGS)

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
