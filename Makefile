# Each target works alone on a machine that has Python 3.11 and make: it makes .venv, installs, runs.
PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/default

.PHONY: demo test lint slow bench gpu docs environments clean

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

# What the ranges in pyproject.toml admit, at both ends, without constraints.txt; 6 GB at a time.
environments:
	for resolution in lowest-direct highest; do \
		rm -rf build/environment && \
		uv venv --python $(PYTHON) build/environment && \
		uv pip install --python build/environment --resolution $$resolution -e '.[dev]' && \
		build/environment/bin/mmgenre doctor && \
		build/environment/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder \
		|| exit 1; \
	done
	rm -rf build/environment

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
