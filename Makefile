# Everything lives in .venv/; each target sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test faults check lint types imports format browser clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/ready  ## create .venv/ with Widthwise and its development tools

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Widthwise needs Python 3.11 or newer, this is %d.%d: make PYTHON=python3.11 …" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable .
	touch $@

demo: .venv/ready  ## search an MLP's three hidden widths on digits under three limits
	$(BIN)/widthwise run examples/digits.toml --workers 2

test: .venv/ready browser  ## run the whole test suite (SQLite and a real PostgreSQL)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 \
		--dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS)

faults: .venv/ready  ## prove what is promised about workers that die, a line a promise
	$(BIN)/python -m pytest -m promise

check: lint types imports  ## lint, strict types, import contracts

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The repository is the package: a link of its true name lets the type checker see it as one.
types: .venv/ready
	mkdir -p .venv/typing && ln -sfn "$(CURDIR)" .venv/typing/widthwise
	MYPYPATH=.venv/typing $(BIN)/mypy -p widthwise.integrations -p widthwise.search -p widthwise.objectives -p widthwise.storage

imports: .venv/ready
	$(BIN)/lint-imports

format: .venv/ready  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

browser: .venv/ready
	$(BIN)/python tests/browser/install.py

clean:  ## remove what the targets made
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
