# Everything runs in .venv, built from the hashes in requirements/dev.txt.
PYTHON ?= $(shell command -v python3.11 || command -v python3.10 || command -v python3)
# Glue 4.0's Python: on PATH, or where pyenv keeps it (whose shims may stand for none).
RUNS = $(if $(shell $(1) -c "" 2>/dev/null && echo yes),$(1))
PYENV_ROOT ?= $(HOME)/.pyenv
PYTHON_3_10 ?= $(firstword $(foreach each,python3.10 $(wildcard $(PYENV_ROOT)/versions/3.10.*/bin/python3.10),$(call RUNS,$(each))))
BIN := .venv/bin
GLUE_4_0 := .venv-glue-4.0
DEMO ?= demo
ROWS ?= 50000
SIZE ?= S
MINUTES ?= 30
ROUNDS ?= 20
# On each runtime.
SLOW := tests/e2e tests/aws

.PHONY: demo setup check test test-glue-5.1 test-glue-4.0 soak broken bench lock clean

demo: setup  ## A PostgreSQL, six tables, their mirrors and mart, and the proof, in folder `demo`
	$(BIN)/iceberg-datamart demo --directory $(DEMO) --rows $(ROWS)

setup: .venv/.made  ## The environment in .venv

.venv/.made: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 10) <= sys.version_info < (3, 12); \
	    sys.exit(not ok and "Python 3.10 or 3.11 is needed (Spark 3.5): make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(GLUE_4_0)/.made: requirements/glue-4.0.txt pyproject.toml
	@test -n "$(PYTHON_3_10)" || { echo "Glue 4.0 runs on Python 3.10: make PYTHON_3_10=/path/to/python3.10"; exit 1; }
	$(PYTHON_3_10) -m venv $(GLUE_4_0)
	$(GLUE_4_0)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/glue-4.0.txt
	$(GLUE_4_0)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

check: setup  ## Format, lint, types and pure tests, in seconds
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q -n 2 tests/unit tests/golden tests/test_architecture.py

test: test-glue-5.1 test-glue-4.0  ## Everything, on real PostgreSQL, Spark and Iceberg, on both runtimes

test-glue-5.1: check $(GLUE_4_0)/.made
	$(BIN)/python tests/support/worlds/jars.py
	$(BIN)/pytest -n 2 --dist worksteal --durations 25 -m 'not matrix' $(SLOW) tests/contracts tests/sources tests/faults tests/runtimes tests/infra

test-glue-4.0: $(GLUE_4_0)/.made
	$(GLUE_4_0)/bin/python tests/support/worlds/jars.py
	$(GLUE_4_0)/bin/pytest -n 2 --dist worksteal --durations 10 -m 'runtime and not matrix' $(SLOW)

soak: setup  ## Storms of changes, crashes and other writers for MINUTES; ROUNDS of two runs at once
	ROUNDS=$(ROUNDS) $(BIN)/pytest tests/faults/test_two_runs.py
	MINUTES=$(MINUTES) $(BIN)/pytest -s tests/faults/test_soak.py

broken: setup  ## Each rule broken on purpose, and the test that notices
	$(BIN)/python tests/support/faults/broken_on_purpose.py

bench: setup  ## Seconds of a run beside a hand-written Spark job's; SIZE=S or M
	$(BIN)/python -m bench --size $(SIZE)

lock: setup  ## Requirement files anew; needs uv
	uv pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
	    --extra local --extra dev --quiet --no-header --output-file requirements/dev.txt pyproject.toml
	uv pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
	    --override requirements/glue-4.0.in \
	    --extra local --extra dev --quiet --no-header --output-file requirements/glue-4.0.txt pyproject.toml
	uv pip compile --python-platform x86_64-manylinux2014 --python-version 3.10 --only-binary :all: --generate-hashes \
	    --no-emit-index-url --quiet --no-header --output-file infra/requirements/glue-4.0.txt pyproject.toml
	uv pip compile --python-platform x86_64-manylinux_2_28 --python-version 3.11 --only-binary :all: --generate-hashes \
	    --no-emit-index-url --quiet --no-header --output-file infra/requirements/glue-5.1.txt pyproject.toml

clean:  ## Remove what the targets made, but for a demo folder
	rm -rf .venv $(GLUE_4_0) .pytest_cache .ruff_cache .mypy_cache .hypothesis
