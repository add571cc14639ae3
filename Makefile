# Every target works on a machine with only Python >= 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
CUDA := .venv/cuda

.PHONY: run test check format bench mutants gpu check-sass clean

# The invented workload also goes through three tiers with real bytes; give TIERS for a TRACE too.
TIERS ?= $(if $(TRACE),,--device 600 --host 1800 --disk 6000 --verify)

run: $(READY)  ## replay a trace (TRACE=path) or an invented workload: tables, and a page with charts
	$(BIN)/kvbm replay $(TRACE) $(TIERS) --html replay.html

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
	$(BIN)/kvbm bench

mutants: $(READY)  ## put faults into the manager, and see that the suite finds each (half an hour)
	$(BIN)/python tests/mutants/hunt.py

gpu:  ## tests and benchmark on this machine's GPU, with its own Python: nothing is installed
	$(PYTHON) kernels/gpu.py $(OPTIONS)

check-sass: $(CUDA)  ## machine code of all kernels, for three GPUs, none of which is needed
	$(BIN)/python kernels/check_sass.py

$(CUDA): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cuda13]'
	touch $@

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis replay.html
	find . -name __pycache__ -prune -exec rm -rf {} +
