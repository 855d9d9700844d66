# `make run` opens the demo shop; `make test` is what the checks run. PYTHON names the interpreter: make run PYTHON=python3.12

SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(shell command -v $(name) 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
MILVUS_VENV := .venv-milvus
MILVUS_TESTS := tests/test_vector_index.py tests/test_engines_agree.py tests/test_flips.py tests/test_server_recall.py tests/generations tests/search
# processes that run the tests, each with a PostgreSQL, a Redis and a Milvus Lite of its own, and one thread a sum: threads
# of several processes on the same cores wait for one another. What one process has compiled, those that it starts (a stack
# is five) and the next run need not compile again, also where the shell says that Python keeps nothing
JOBS ?= 2
PORT := $(or $(MORELIKE_PORT),8000)

.PHONY: run test test-slow test-milvus lint clean check-machine

run: check-machine $(VENV)/run.stamp
	@exec $(BIN)/morelike run

test: $(VENV)/dev.stamp lint
	@printf '\n== Tests ==\n'
	@OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -q -m 'not slow' -n $(JOBS)

test-slow: $(VENV)/dev.stamp
	@printf '\n== Slow proofs ==\n'
	@$(BIN)/pytest -q -m slow

# The index suite again, on a real Milvus server instead of Milvus Lite.
test-milvus: $(VENV)/dev.stamp $(MILVUS_VENV)/ready.stamp
	@printf '\n== Tests on a Milvus server ==\n'
	@MORELIKE_TEST_MILVUS="$(CURDIR)/$(MILVUS_VENV)/bin/milvus-server" $(BIN)/pytest -q -m 'not slow' $(MILVUS_TESTS)

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
	rm -rf $(VENV) $(MILVUS_VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

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

# The server comes packed, 100 MB; unpacked once, each start of it takes 5 seconds less.
$(MILVUS_VENV)/ready.stamp: | $(BIN)/python
	@printf '== Install a Milvus server for tests ==\n'
	@rm -rf $(MILVUS_VENV)
	@$(BIN)/python -m venv $(MILVUS_VENV)
	@$(MILVUS_VENV)/bin/python -m pip install --disable-pip-version-check -q 'milvus==2.3.5' 'marshmallow<4'
	@$(MILVUS_VENV)/bin/python -c 'import milvus; milvus._initialize_data_files("$(MILVUS_VENV)/unpacked")'
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or 3.12 is needed: install one, or name it: make run PYTHON=/path/to/python3.11'; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
	  || { echo "Python 3.11 or 3.12 is needed, and $(PYTHON) is another: make run PYTHON=/path/to/python3.11"; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) \
	  || { echo 'The virtual environment could not be made: on Debian and Ubuntu, apt-get install python3-venv'; exit 1; }
