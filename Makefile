# Each target works alone on a machine that has Python 3.11 and make: it makes .venv, installs, runs.
PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/default

.PHONY: demo test lint slow bench gpu clean

demo: .venv/installed
	$(BIN)/mmgenre quickstart --run $(RUN)

test: lint
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder  # what the tests of a file share is made once

lint: .venv/installed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

slow: .venv/installed
	$(BIN)/python -m pytest -m slow

bench: .venv/installed
	for script in tests/benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

gpu: .venv/installed
	$(BIN)/python tests/gpu/check.py

# Made again when what is to be installed changes; a second call reuses it.
.venv/installed: pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv runs build dist .mypy_cache .ruff_cache .pytest_cache
