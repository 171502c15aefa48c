# Needs Python 3.11+ and make; everything else is installed into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
REAL   ?= ../shared/data/real
OUT    ?= out
RUN_ARGS ?= $(if $(CI),--once)
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: install install-dev run run-real test test-fast lint bench docs clean

install: $(VENV)/.runtime
install-dev: $(VENV)/.dev

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "depotwatch needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	touch $@

# The main job on the rendered sample site, at 0.5 m and at 10 m, in a running service: prints the page's address and a
# one-time key, then where the reports lie, and stays until Ctrl-C. RUN_ARGS=--once (the default where CI is set) ends it when all is analysed.
run: install
	$(BIN)/depotwatch demo --data $(OUT)/demo --out $(OUT) $(RUN_ARGS)

# The main job without a service, on real Sentinel-2 pairs where they lie beside the project; nothing of them is copied into it.
run-real: install
	rm -rf $(OUT)/real
	$(BIN)/python -m benchmarks.run_real --source $(REAL) --out $(OUT)/real

test: install-dev
	$(BIN)/python -m pytest -n auto --dist loadgroup

test-fast: install-dev
	$(BIN)/python -m pytest -n auto --dist loadgroup -m "not long and not real_data"

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install-dev
	$(BIN)/python -m benchmarks

# The pages under docs/ as a site that needs no network: out/docs/index.html
docs: install-dev
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(OUT) $(VENV) .mypy_cache .ruff_cache .pytest_cache
