# Each target sets up .venv itself when it is missing or older than pyproject.toml.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: quickstart test test-fast coverage bench test-browser lint docs

quickstart: .venv/installed
	$(BIN)/python train.py --config=configs/quickstart.py --workdir=runs/quickstart
	$(BIN)/python evaluate.py --workdir=runs/quickstart
	$(BIN)/fskd predict --support docs/photographs/horse.jpg \
	  --keypoints docs/photographs/horse.json --query docs/photographs/others \
	  --whole-images --out runs/quickstart/photographs

test: .venv/installed
	$(PYTEST)

# While you work: no long test, no whole run.
test-fast: .venv/installed
	$(PYTEST) -m "not slow and not runs and not browser"

# The tests, then the lines of the package that none of them ran; no threshold.
coverage: .venv/installed
	$(PYTEST) --cov --cov-report=term-missing

# All cases beside PyTorch; BENCH="--size small" is to see that it works.
bench: .venv/installed
	$(BIN)/python -c 'import torch' 2>/dev/null || \
	  $(BIN)/pip install --quiet 'torch==2.13.0+cpu' || \
	  { echo "make bench needs PyTorch: install one into .venv"; exit 1; }
	$(BIN)/pip install --quiet --no-deps efficientnet_lite_pytorch
	$(BIN)/python -m benchmarks $(BENCH)

# fskd demo: its server, and its page in Debian's Chromium; apt-get needs root.
test-browser: .venv/installed
	command -v chromium >/dev/null || \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }
	$(BIN)/pip install --quiet -e '.[dev]' 'playwright>=1.50'
	$(BIN)/python -m pytest tests/demo

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/pyright

# site/index.html: README, docs/ and the API reference; any warning is an error.
docs: .venv/docs
	$(BIN)/mkdocs build --strict --quiet

.venv/docs: .venv/installed
	$(BIN)/pip install --quiet $(PIP_OPTIONS) -e '.[docs]'
	touch $@

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet $(PIP_OPTIONS) -e '.[dev,tensorflow]'
	touch $@
