# Each target sets up .venv itself when it is missing or older than pyproject.toml.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test lint

quickstart: .venv/installed
	$(BIN)/python train.py --config=configs/quickstart.py --workdir=runs/quickstart
	$(BIN)/python evaluate.py --workdir=runs/quickstart

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@
