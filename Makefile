# `make demo`: from nothing to a report.  `make test`: the tests.  `make check`: everything that CI runs.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
USED := $(VENV)/.installed
TESTED := $(VENV)/.installed-dev
DEMO_VAR ?= var/demo

# Bytecode is kept, whatever the shell says: commands and test workers would compile all sources each time they start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint check clean

demo: $(USED)
	$(BIN)/tidegate sample --var $(DEMO_VAR)
	$(BIN)/tidegate score --sample --var $(DEMO_VAR)
	$(BIN)/tidegate backtest --sample --html $(DEMO_VAR)/report.html --var $(DEMO_VAR)
	@echo "The same report as a page: $(DEMO_VAR)/report.html"

test: $(TESTED)
	$(BIN)/python -m pytest -n 4 --dist loadscope --no-loadscope-reorder

lint: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: test lint

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Tidegate needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11 demo" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# The stamps say what was installed from which files: a second call does nothing until one of them changes.
$(USED): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable .
	@touch $@

$(TESTED): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(USED)
