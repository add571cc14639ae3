# Every target works on a machine with only Python >= 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: run test check format bench clean

# Blocks of the three tiers of `make run`.
DEVICE ?= 600
HOST ?= 1800
DISK ?= 6000

run: $(READY)  ## replay a trace (TRACE=path) or the generated workload, ends with tables and a page
	$(BIN)/kvbm replay $(TRACE) --device $(DEVICE) --host $(HOST) --disk $(DISK) --verify \
		--html replay.html

test: $(READY)  ## all tests
	$(BIN)/python -m pytest

check: $(READY)  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)  ## speed of the core, beside its peers where they are installed
	$(BIN)/kvbm bench pool
	$(BIN)/kvbm bench hash

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis replay.html
	find . -name __pycache__ -prune -exec rm -rf {} +
