# Each target works alone on a machine that has Python 3.11 and make: it makes .venv, installs, runs.
PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/default

.PHONY: demo test lint slow bench gpu docs clean

demo: .venv/installed
	$(BIN)/mmgenre quickstart --run $(RUN)

test: lint
	# What the tests of a file share is made once; the processes that they start find compiled modules.
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

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

docs: .venv/with-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict  # without a notice of the theme's own

# Made again when what is to be installed changes; a second call reuses it.
.venv/installed: pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

.venv/with-docs: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf .venv runs build dist .mypy_cache .ruff_cache .pytest_cache
