# `make run` opens the demo shop; `make test` is what the checks run. PYTHON names the interpreter: make run PYTHON=python3.12

SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(shell command -v $(name) 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
PORT := $(or $(MORELIKE_PORT),8000)

.PHONY: run test test-slow lint clean check-machine

run: check-machine $(VENV)/run.stamp
	@exec $(BIN)/morelike run

test: $(VENV)/dev.stamp lint
	@printf '\n== Tests ==\n'
	@$(BIN)/pytest -q -m 'not slow'

test-slow: $(VENV)/dev.stamp
	@printf '\n== Slow proofs ==\n'
	@$(BIN)/pytest -q -m slow

lint: $(VENV)/dev.stamp
	@printf '\n== Format ==\n'
	@$(BIN)/ruff format --check .
	@printf '\n== Lint ==\n'
	@$(BIN)/ruff check .
	@printf '\n== Types ==\n'
	@$(BIN)/mypy
	@printf '\n== Import contracts ==\n'
	@$(BIN)/lint-imports --no-cache

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

check-machine:
	@bash deploy/check-machine "$(PYTHON)" $(VENV) $(PORT)

# An install is done again only when pyproject.toml has changed since the last one.
$(VENV)/run.stamp: pyproject.toml | $(BIN)/python
	@printf '== Install ==\n'
	@$(BIN)/python -m pip install --disable-pip-version-check -e .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml | $(BIN)/python
	@printf '== Install, with what the tests need ==\n'
	@$(BIN)/python -m pip install --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/run.stamp

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or 3.12 is needed: install one, or name it: make run PYTHON=/path/to/python3.11'; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
	  || { echo "Python 3.11 or 3.12 is needed, and $(PYTHON) is another: make run PYTHON=/path/to/python3.11"; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) \
	  || { echo 'The virtual environment could not be made: on Debian and Ubuntu, apt-get install python3-venv'; exit 1; }
