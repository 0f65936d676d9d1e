# The README's two commands: `make all` and `make test`. Each creates the environment first if needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORES ?= all
STUDY ?=

.DEFAULT_GOAL := all
.PHONY: all env test check plan cost keep reference-study

# The stamp is renewed when the pins change.
$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python >= 3.11 is needed, $$($(PYTHON) --version) found: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "this Python cannot make environments: apt-get install python3-venv"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

env: $(VENV)/.installed

all: env
	$(BIN)/python -m workflow_scripts.settings.check $(STUDY)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m snakemake --cores $(CORES) $(if $(STUDY),--configfile $(STUDY)) -- all

# What a run would start and why; `make keep` keeps results whose code changed without changing their numbers.
plan: env
	$(BIN)/python -m workflow_scripts.settings.check $(STUDY)
	$(BIN)/python -m workflow_scripts.reruns $(STUDY)

# Jobs, hours, disk and bytes read of a study, before anything runs; MACHINE=cpu, cpu_float32 or gpu
# (profiles/rates.yaml).
cost: env
	$(BIN)/python -m workflow_scripts.cost $(STUDY) $(if $(MACHINE),--on $(MACHINE))

keep: env
	$(BIN)/python -m workflow_scripts.reruns --keep $(STUDY)

test: env
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest -n auto --dist loadgroup tests

check: env
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m snakefmt --check Snakefile rules
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m snakemake --lint

# What docs/reference-study holds: tables, figures and manifest of the finished run in results/; other studies than the
# default one go into a folder of their name (of several files: the last one's).
reference-study: env
	$(BIN)/python -m workflow_scripts.report.write_reference results \
	  docs/reference-study$(if $(STUDY),/$(notdir $(basename $(lastword $(STUDY))))) $(if $(STUDY),"$(STUDY)")
