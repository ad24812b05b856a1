# Everything runs in .venv, built from the hashes in requirements/dev.txt.
PYTHON ?= $(shell command -v python3.11 || command -v python3.10 || command -v python3)
# Glue 4.0's Python: on PATH, or where pyenv keeps it (whose shims may stand for none).
RUNS = $(if $(shell $(1) -c "" 2>/dev/null && echo yes),$(1))
PYENV_ROOT ?= $(HOME)/.pyenv
PYTHON_3_10 ?= $(firstword $(foreach each,python3.10 $(wildcard $(PYENV_ROOT)/versions/3.10.*/bin/python3.10),$(call RUNS,$(each))))
# Installs in a third of the time; pip does where it is not installed.
UV ?= $(shell command -v uv)
BIN := .venv/bin
GLUE_4_0 := .venv-glue-4.0
HAS_GLUE_4_0 = $(or $(wildcard $(GLUE_4_0)/.made),$(PYTHON_3_10))
DEMO ?= demo
ROWS ?= 50000
ENGINE ?=
# The demo needs little: no Spark, nothing of the tests. Where all is installed, that will do.
DEMO_ENVIRONMENT := $(if $(or $(filter spark,$(ENGINE)),$(wildcard .venv/.made)),.venv,.venv-demo)
SIZE ?= S
BENCH ?=
MINUTES ?= 30
ROUNDS ?= 20
KILLS ?= 30

PURE := tests/unit tests/golden tests/test_architecture.py
# On each runtime; single long tests first, so that no worker ends with one.
PLACES := $(wildcard tests/aws tests/faults tests/lake tests/e2e tests/cases tests/contracts tests/sources)
# Of these, those whose tests need no Spark in pytest's own process: what else runs there need not start one.
SPARKLESS := tests/aws tests/e2e/test_glue_source_files.py tests/e2e/test_glue_source_iceberg.py tests/contracts tests/sources
# Which of them, by markers: pyproject.toml says what they mean.
ON_GLUE_5_1 ?= not matrix and not soak
ON_GLUE_4_0 ?= runtime and not matrix
# Seconds of each test, anew each time.
TIMINGS ?= .timings/test
# To whichever worker is free, but for tests that share what is dear to make: tests/support/groups.py. Beside them
# Glue 4.0's, then those without Spark: three at a time on two cores, for tests also wait.
WORKERS ?= 2
# None: in pytest's own process.
WORKERS_4_0 ?= 0
SPREAD = --dist loadgroup -n
SUB := $(MAKE) --no-print-directory
IN_MEMORY := sh tests/support/in_memory.sh

.PHONY: demo setup environments check style pure test matrix foreword everything
.PHONY: test-glue-5.1 test-beside test-glue-4.0 test-sparkless
.PHONY: soak broken bench lock clean

demo: $(DEMO_ENVIRONMENT)/.made  ## A PostgreSQL, six tables, their mirrors and mart, and the proof, in folder `demo`
	$(DEMO_ENVIRONMENT)/bin/iceberg-datamart demo --directory $(DEMO) --rows $(ROWS) $(if $(ENGINE),--engine $(ENGINE))

setup: .venv/.made  ## The environment in .venv

environments: .venv/.made $(if $(HAS_GLUE_4_0),$(GLUE_4_0)/.made)

# A person sees each package; a log needs none of it.
QUIET := $(if $(shell test -t 2 && echo yes),,--quiet)
# $(call INSTALL,environment,file of hashes). Files are compiled when they are first imported: most never are. The file
# names all that is needed, so that nothing is resolved: uv would build pyspark twice for it, and keep neither.
ifneq ($(UV),)
NO_PIP = --without-pip
PIP = $(UV) pip install $(QUIET) --python $(1)/bin/python
else
PIP = $(1)/bin/pip install $(QUIET) --disable-pip-version-check --no-compile
endif
define INSTALL
	@echo "$(1): $(if $(UV),uv,pip) installs what $(2) names; a minute or two where that must be downloaded"
	$(PIP) --require-hashes --no-deps -r $(2)
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@
	@echo "$(1): done"
endef

.venv/.made: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 10) <= sys.version_info < (3, 12); \
	    sys.exit(not ok and "Python 3.10 or 3.11 is needed (Spark 3.5): make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(NO_PIP) .venv
	$(call INSTALL,.venv,requirements/dev.txt)

$(GLUE_4_0)/.made: requirements/glue-4.0.txt pyproject.toml
	@test -n "$(PYTHON_3_10)" || { echo "Glue 4.0 runs on Python 3.10: make PYTHON_3_10=/path/to/python3.10"; exit 1; }
	$(PYTHON_3_10) -m venv $(NO_PIP) $(GLUE_4_0)
	$(call INSTALL,$(GLUE_4_0),requirements/glue-4.0.txt)

.venv-demo/.made: requirements/demo.txt pyproject.toml
	$(PYTHON) -m venv $(NO_PIP) .venv-demo
	$(call INSTALL,.venv-demo,requirements/demo.txt)

# One after the other, for two Ivys at a time spoil each other's cache.
.venv/.jars: .venv/.made $(if $(HAS_GLUE_4_0),$(GLUE_4_0)/.made)
	$(BIN)/python tests/support/worlds/jars.py
	$(if $(HAS_GLUE_4_0),$(GLUE_4_0)/bin/python tests/support/worlds/jars.py)
	@touch $@

# Contestants that the package does not know; what is there already stays as it is.
.venv/.bench: bench/requirements.txt .venv/.made
	$(call PIP,.venv) --require-hashes --no-deps -r bench/requirements.txt
	@touch $@

# With it each later JVM starts sooner. Glue 4.0's tests start too few for what it costs to make.
.venv/classes.jsa: .venv/.jars
	PYTHONPATH=tests $(BIN)/python -m support.worlds.shared_classes

check: setup  ## Format, lint, types and pure tests with few examples, in seconds
	@+HYPOTHESIS_PROFILE=quick $(SUB) -j2 --output-sync=target style pure

style: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

pure: setup
	$(BIN)/pytest -q -n 2 --timings $(TIMINGS)/pure.json $(PURE)

test: foreword  ## All that a change can break, on real PostgreSQL, Spark and Iceberg
	@+$(IN_MEMORY) $(SUB) everything

matrix:  ## The same with every variation, all of it on both runtimes: an hour or two
	@+$(IN_MEMORY) $(SUB) everything TIMINGS=.timings/matrix ON_GLUE_5_1='not soak' ON_GLUE_4_0='not soak' WORKERS_4_0=2
	@echo "Paste the table into docs/reliability.md."

foreword:
	@echo "make test: about 15 minutes on two cores; the first time a few more, for the environments and jars."
	@echo "  needs   Python 3.10 or 3.11 and 8 GB of memory; PyPI and Maven Central the first time"
	@echo "  wants   Python 3.10 as well (else Glue 4.0 is left out), Terraform (else infra/ is)"
	@echo "  starts  PostgreSQL, S3, AWS's stand-in and Spark on free ports of this machine alone; all end with it"
	@echo "  writes  .venv, $(GLUE_4_0), .timings, and temporary folders; 'make clean' removes the first three"

everything:
	@rm -rf $(TIMINGS)
	@+$(SUB) -j2 environments
	@+$(SUB) -j3 --output-sync=target style pure .venv/classes.jsa
	@+$(SUB) -j2 test-glue-5.1 test-beside
	@$(BIN)/python tests/support/timings.py $(TIMINGS)

test-glue-5.1: environments
	HYPOTHESIS_PROFILE=repeatable $(BIN)/pytest $(SPREAD) $(WORKERS) -m '$(ON_GLUE_5_1)' \
	    --timings $(TIMINGS)/glue-5.1.json \
	    $(addprefix --ignore=,$(SPARKLESS)) $(filter-out $(SPARKLESS),$(PLACES))

test-beside:
	@+$(SUB) test-glue-4.0
	@+$(SUB) test-sparkless

test-sparkless: environments
	@mkdir -p $(TIMINGS)
	HYPOTHESIS_PROFILE=repeatable $(BIN)/pytest -m '$(ON_GLUE_5_1)' -p no:cacheprovider \
	    --timings $(TIMINGS)/sparkless.json \
	    $(SPARKLESS) tests/infra $(if $(HAS_GLUE_4_0),tests/runtimes) > $(TIMINGS)/sparkless.log 2>&1; \
	    ended=$$?; cat $(TIMINGS)/sparkless.log; exit $$ended

ifneq ($(HAS_GLUE_4_0),)
# Told at its end, for it runs beside the other.
test-glue-4.0: environments
	@mkdir -p $(TIMINGS)
	HYPOTHESIS_PROFILE=repeatable $(GLUE_4_0)/bin/pytest $(SPREAD) $(WORKERS_4_0) -m '$(ON_GLUE_4_0)' \
	    -p no:cacheprovider --timings $(TIMINGS)/glue-4.0.json $(PLACES) > $(TIMINGS)/glue-4.0.log 2>&1; \
	    ended=$$?; cat $(TIMINGS)/glue-4.0.log; exit $$ended
else
test-glue-4.0:
	@echo "!!! NOT TESTED: Glue 4.0, which runs on Python 3.10, and none was found."
	@echo "!!! Install it, or name it: make test PYTHON_3_10=/path/to/python3.10"
	@test "$$CI" != true  # There nobody reads this.
endif

soak: setup  ## Storms, then random schemas, for MINUTES each; ROUNDS of two runs at once; KILLS of one
	KILLS=$(KILLS) $(BIN)/pytest tests/faults/test_kill.py
	ROUNDS=$(ROUNDS) $(BIN)/pytest tests/faults/test_two_runs.py
	MINUTES=$(MINUTES) $(BIN)/pytest -s tests/faults/test_soak.py
	MINUTES=$(MINUTES) $(BIN)/pytest -s tests/faults/test_fuzz.py  # SEED=… plays one schema again
	$(BIN)/pytest tests/e2e/test_identifiers.py tests/e2e/test_time_travel.py  # examples that `make test` never has

broken: setup  ## Each rule broken on purpose, and the test that notices
	PYTHONPATH=tests $(BIN)/python -m support.faults.broken_on_purpose

bench: setup .venv/.bench  ## A run beside jobs written by hand and dlt; SIZE=S or M, BENCH="--only … --repeat 3"
	$(BIN)/python -m bench --size $(SIZE) $(BENCH)

lock: setup  ## Requirement files anew; needs uv
	uv pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
	    --extra local --extra dev --quiet --no-header --output-file requirements/dev.txt pyproject.toml
	uv pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-annotate \
	    --constraint requirements/dev.txt \
	    --extra demo --quiet --no-header --output-file requirements/demo.txt requirements/demo.in pyproject.toml
	uv pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
	    --override requirements/glue-4.0.in \
	    --extra local --extra dev --quiet --no-header --output-file requirements/glue-4.0.txt pyproject.toml
	echo uv | uv pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-annotate \
	    --quiet --no-header --output-file requirements/uv.txt -
	uv pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-annotate \
	    --constraint requirements/dev.txt --quiet --no-header --output-file bench/requirements.txt bench/requirements.in
	uv pip compile --python-platform x86_64-manylinux2014 --python-version 3.10 --only-binary :all: --generate-hashes \
	    --override infra/requirements/glue.in \
	    --no-emit-index-url --quiet --no-header --output-file infra/requirements/glue-4.0.txt pyproject.toml
	uv pip compile --python-platform x86_64-manylinux_2_28 --python-version 3.11 --only-binary :all: --generate-hashes \
	    --override infra/requirements/glue.in \
	    --no-emit-index-url --quiet --no-header --output-file infra/requirements/glue-5.1.txt pyproject.toml

clean:  ## Remove what the targets made, but for a demo folder
	rm -rf .venv .venv-demo $(GLUE_4_0) .timings .pytest_cache .ruff_cache .mypy_cache .hypothesis
