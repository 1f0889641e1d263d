# Every target makes what it needs: Python 3.11+, make and the package registry are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
VENV_2X := .venv-2x
READY_2X := $(VENV_2X)/.ready
VENV_BARE := .venv-bare
READY_BARE := $(VENV_BARE)/.ready
VENV_SKINNY := .venv-skinny
READY_SKINNY := $(VENV_SKINNY)/.ready

export PYTHONDONTWRITEBYTECODE :=
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

.PHONY: help demo test test-fast contract test-2x test-postgres lint types imports docs docs-look sessions format bench bench-quick bench-serving clean

help:
	@grep -hE '^## ' $(MAKEFILE_LIST) | sed 's/^## //'

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@

$(READY_2X): pyproject.toml
	$(PYTHON) -m venv $(VENV_2X)
	$(VENV_2X)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(VENV_2X)/bin/python -m pip install --quiet --group server-2x
	touch $@

# What a container has that installs this package alone, and what it is measured beside: no trio, click or rich here,
# which httpx and httpcore import when they find them.
$(READY_BARE): pyproject.toml
	$(PYTHON) -m venv $(VENV_BARE)
	$(VENV_BARE)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(VENV_BARE)/bin/python -m pip install --quiet --editable . --group bench
	touch $@

$(READY_SKINNY): pyproject.toml
	$(PYTHON) -m venv $(VENV_SKINNY)
	$(VENV_SKINNY)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(VENV_SKINNY)/bin/python -m pip install --quiet --group bench-skinny
	touch $@

## make demo      start a real MLflow server, train, save, roll out, serve, roll back, stop the server
demo: $(READY)
	$(BIN)/python examples/demo.py

## make test      the whole suite, the contract on a real server of the newest MLflow 3.x included
test: $(READY)
	$(BIN)/python -m pytest --cov --cov-report=term --cov-fail-under=$(COVERAGE_FLOOR)

## make test-fast the tests that need no server
test-fast: $(READY)
	$(BIN)/python -m pytest tests/unit tests/exchanges tests/adversity tests/explorer

## make contract  the contract alone, on a real server and on the one in memory
contract: $(READY)
	$(BIN)/python -m pytest tests/contract

## make test-2x   the contract on the last MLflow 2.x, from an environment of its own
test-2x: $(READY) $(READY_2X)
	TEST_MATRIX=one TEST_SERVER_PYTHON=$(abspath $(VENV_2X)/bin/python) $(BIN)/python -m pytest tests/contract

## make test-postgres  what writers contend for, on a throw-away PostgreSQL cluster
test-postgres: $(READY)
	TEST_STORE=postgresql $(BIN)/python -m pytest tests/contract -m contended

## make lint      ruff, mypy strict, pyright strict, the import contract
lint: types imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy
	$(BIN)/pyright

imports: $(READY)
	$(BIN)/lint-imports

## make sessions  record the terminal sessions of the documentation anew, from every command on a real server
sessions: $(READY)
	$(BIN)/python -m tools.record_sessions

## make format    let ruff put the layout right
format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## make docs      build the documentation with MkDocs and with Zensical, strictly, into site/, and check its links
docs: $(READY)
	$(BIN)/python -m tools.draw_pictures --check
	rm -rf site build/site-of-mkdocs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir build/site-of-mkdocs
	$(BIN)/zensical build --strict --clean
	$(BIN)/python -m tools.check_links site build/site-of-mkdocs

## make docs-look  the same, and look at every page in a real Chromium at desktop and phone width
docs-look: docs
	$(BIN)/python -m tools.look_at_site

## make bench     measure this SDK beside raw HTTP libraries and MlflowClient; writes results, README and docs
bench: $(READY) $(READY_BARE) $(READY_SKINNY)
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.figures

## make bench-quick  the same with few repetitions; prints the table and writes nothing
bench-quick: $(READY) $(READY_BARE) $(READY_SKINNY)
	$(BIN)/python -m benchmarks --quick

## make bench-serving  measure serving: choosing, starting, loading, canaries, polling, a service under load
bench-serving: $(READY)
	for case in choose start load_lag canary polling service; do $(BIN)/python -m benchmarks.$$case || exit 1; done

## make clean     remove what the other targets made
clean:
	rm -rf $(VENV) $(VENV_2X) $(VENV_BARE) $(VENV_SKINNY) site build .cache .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

COVERAGE_FLOOR := 95
