# The verbs of this project; .ci/run calls the same ones.
# A machine with Python 3.12 (with pip and venv) and make needs nothing else.

VENV ?= .venv
BIN := $(VENV)/bin

# Which Python makes the environment; empty means: the first suitable one found.
PYTHON ?=

# More arguments for pytest, as in: make test ARGS="-k gamma -x"
ARGS ?=
PYTEST_WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal

# Compiling every module would take longer than all the rest of the install, and most are never
# imported; so each is compiled, and its bytecode kept, when it is first used.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
unexport PYTHONDONTWRITEBYTECODE

# Stamps: touched when an install has succeeded, older than their inputs when it must be redone.
RUNTIME := $(VENV)/.installed-runtime
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: demo test slow test-postgres notebooks test-airflow lint format types bench bench-core bench-bayes bench-grid bench-refit docs constraints clean help
.DELETE_ON_ERROR:

# The workers share the cores; a thread pool in each of them would only fight over them.
test slow test-postgres notebooks: export OMP_NUM_THREADS := 1
test slow test-postgres notebooks: export OPENBLAS_NUM_THREADS := 1
test slow test-postgres notebooks: export MKL_NUM_THREADS := 1
test slow test-postgres notebooks: export NUMBA_NUM_THREADS := 1

demo: $(RUNTIME)  ## the main job on the sample data; writes out/
	@echo "Running the main job on data/sample ..."
	@$(BIN)/python -m clvpredict.demo

test: $(DEV)  ## the default test suite
	@echo "Running the tests ..."
	@$(PYTEST) $(ARGS)

slow: $(DEV)  ## the slow tests, simulation studies among them
	@echo "Running the slow tests ..."
	@$(PYTEST) -m slow --ignore=tests/test_notebooks.py $(ARGS)

# Where there is no server, root has Debian's installed; others are told what to type.
test-postgres: $(DEV)  ## the tests with a PostgreSQL server, which they start and stop
	@$(BIN)/python tests/refit/postgres.py --install
	@echo "Running the tests with PostgreSQL ..."
	@CLVPREDICT_REQUIRE_POSTGRES=1 $(BIN)/python -m pytest -m postgres tests/refit/test_postgres.py $(ARGS)

notebooks: $(DEV)  ## execute every notebook for real
	@echo "Executing the notebooks ..."
	@$(PYTEST) -m "" tests/test_notebooks.py $(ARGS)

# Airflow's dependencies are not ours, so it has an environment of its own.
test-airflow: | $(BIN)/python  ## the example DAG in a real Airflow (a minute to install)
	@echo "Installing Airflow into $(VENV)-airflow ..."
	@test -x $(VENV)-airflow/bin/python || $(BIN)/python -m venv $(VENV)-airflow
	@$(VENV)-airflow/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
		"apache-airflow==3.*"
	@$(VENV)-airflow/bin/python scripts/check_airflow.py

lint: $(DEV)  ## ruff check and format, mypy, import-linter
	@echo "Checking style, types and layers ..."
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(DEV)  ## let ruff format the code and mend what it can
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

types: $(DEV)  ## mypy alone
	@$(BIN)/mypy

bench: bench-core bench-bayes bench-grid bench-refit  ## every benchmark

bench-core: $(DEV)  ## speed and memory of the main job beside its peers
	@PYTHON="$(abspath $(BIN))/python" bash benchmarks/run.sh core $(ARGS)

bench-bayes: $(DEV)  ## Bayesian inference and intervals beside pymc-marketing
	@PYTHON="$(abspath $(BIN))/python" bash benchmarks/run.sh bayes $(ARGS)

bench-grid: $(DEV)  ## a backtest on CDNOW's master beside a loop over lifetimes
	@PYTHON="$(abspath $(BIN))/python" bash benchmarks/run.sh grid $(ARGS)

bench-refit: $(DEV)  ## time and memory of a scheduled refit of a million customers
	@$(BIN)/python -m benchmarks.refit $(ARGS)

docs: $(DEV)  ## build the documentation site into site/
	@echo "Building the documentation ..."
	@$(PIP_INSTALL) -c constraints.txt -e ".[docs]"
	@$(BIN)/mkdocs build --strict

# pip freeze writes the package itself as a path; only name==version lines are kept.
constraints: | $(BIN)/python  ## resolve all dependencies afresh into constraints.txt
	@echo "Resolving the newest versions in $(VENV)-resolve (a few minutes) ..."
	@$(BIN)/python -m venv --clear $(VENV)-resolve
	@$(VENV)-resolve/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
		".[dev,docs,lifetimes,mlflow,polars,postgres,spark]"
	@$(VENV)-resolve/bin/python -m pip freeze --exclude clvpredict \
		| grep -E '^[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+$$' > constraints.txt
	@rm -rf $(VENV)-resolve

clean:  ## remove the environment, caches, builds and out/
	rm -rf $(VENV) $(VENV)-airflow .venv-peers out build dist site .hypothesis .import_linter_cache
	rm -rf benchmarks/data benchmarks/out notebooks/out
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find clvpredict tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + \
		2>/dev/null || true

help:  ## this list
	@echo "make VERB, where VERB is one of"
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) \
		| while IFS='|' read -r verb text; do printf '  %-12s %s\n' "$$verb" "$$text"; done

# ---- the environment -----------------------------------------------------------------------------

# Prints the path of a suitable Python, or "!" and what to do. On Debian `import venv` succeeds
# even where the module cannot work, for want of ensurepip; so both are tried.
FIND_PYTHON = \
	for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.12 python3.13 python3.14); do \
		path=$$(command -v "$$candidate") || continue; \
		version=$$("$$path" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) \
			|| continue; \
		if ! "$$path" -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then \
			old="$${old:-found $$version at $$path}"; \
		elif ! "$$path" -c 'import ensurepip, venv' 2>/dev/null; then \
			lame="$${lame:-$$path (Python $$version)}"; package="python$$version-venv"; \
		else \
			echo "$$path"; exit; \
		fi; \
	done; \
	if [ "$$lame" ]; then \
		echo "! clvpredict needs the Python modules venv and ensurepip, and $$lame lacks them." \
			"Install them (Debian, Ubuntu: apt install $$package), $(OR_ANOTHER_PYTHON)"; \
	else \
		echo "! clvpredict needs Python 3.12 or newer;" \
			"$${old:-found none$(if $(PYTHON), at $(PYTHON))}. Install it, $(OR_ANOTHER_PYTHON)"; \
	fi
OR_ANOTHER_PYTHON = or: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)

# $(error) rather than a failing command: it ends make with that one line and no other.
$(BIN)/python:
	$(eval found := $(shell $(FIND_PYTHON)))
	$(if $(filter !,$(firstword $(found))),$(error $(wordlist 2,99,$(found))))
	@echo "Making a virtual environment in $(VENV) with $(found) ..."
	@"$(found)" -m venv --clear $(VENV)

$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing clvpredict and its dependencies as pinned in constraints.txt (a minute or two) ..."
	@$(PIP_INSTALL) -c constraints.txt -e .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing clvpredict and its development tools as pinned in constraints.txt (a minute or two) ..."
	@$(PIP_INSTALL) -c constraints.txt -e ".[dev]"
	@touch $(RUNTIME) $@
