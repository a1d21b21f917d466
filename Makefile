# Two commands do everything on a machine with Python, git and make:  make demo   and   make test

PYTHON ?= python3
ifeq ($(OS),Windows_NT)
  BIN := .venv/Scripts
else
  BIN := .venv/bin
endif
RUN := $(BIN)/python
CHECK := import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)")

.PHONY: demo gallery test bench lint types check clean

demo: .venv/demo
	$(RUN) -m models.demo --out out

gallery: .venv/demo
	$(RUN) docs/gallery/make.py

test: .venv/dev lint types
	$(RUN) -m pytest

# Beside PyTorch and others; OPTIONS="--quick --only gpt" and more, see OPTIONS=--help
bench: .venv/bench
	$(RUN) -m tests.benchmarks $(OPTIONS)

lint: .venv/dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: .venv/dev
	$(RUN) -m mypy

# An environment of our own, made once and again when the list of dependencies changes, or where it has no pip.
.venv/demo .venv/dev .venv/bench: pyproject.toml
	@$(RUN) -m pip --version > /dev/null 2>&1 || $(PYTHON) -c '$(CHECK)'
	$(RUN) -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --editable ".[$(notdir $@)]"
	touch $@

clean:
	rm -rf .venv out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
