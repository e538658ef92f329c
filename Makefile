# All commands of this project: `make help`.
#
# Every target first makes the environment if it is missing (scripts/setup.sh), so that `make demo` and
# `make test` work on a machine that has only Python 3.11 to 3.13, make and a C compiler.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
unexport PYTHONDONTWRITEBYTECODE PYTHONHOME VIRTUAL_ENV

DEMO_HOME ?= .demo
export DEMO_HOME

BIN := .venv/bin
# With the demo's settings and connections if there is a demo; else with the project's own.
RECDEPLOY := $(BIN)/python -m demo run-tool $(BIN)/python -m recdeploy_ops
ARGS ?=
TEST_WORKERS ?= 3
MYPY := $(wildcard plugins/recdeploy_ops plugins/recdeploy_plugin.py dags include/training include/score_template \
  oci_emulator demo simulation preflight benchmarks scripts)

.PHONY: help setup demo stop test test-more test-unit test-chaos coverage lint format bench preflight status history verify backups rollback freeze resume predict clean lock audit-locks configuration

help: ## List the targets
	@printf 'usage: make TARGET [NAME=value ...]\n\n'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) \
	  | while IFS='|' read -r name text; do printf '  %-13s %s\n' "$$name" "$$text"; done
	@sed -n 's/^#| \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

#|
#| make demo understands:
#|   DECISION=promote|reject  answer the approval automatically, check the result, print a summary, stop
#|   DATA=folder              use users.csv, items.csv and interactions.csv from there
#|                            (UTF-8, or UTF-16 with a byte order mark; separated by commas, semicolons, tabs or pipes)
#|   DATA_USER= DATA_ITEM= DATA_RATING= DATA_TIMESTAMP= DATA_TITLE=    name their columns, in upper or lower case
#|                            the time of an interaction: timestamp, or its name in include/recommender.yaml;
#|                            without DATA the existing store is kept; a generated one gets another week
#|   DAMAGE=name              plant damage in the generated store and see which gate stops it, e.g. flipped, users-2,
#|                            robot-once; a wrong name lists them all
#|   KEEP=1                   leave everything running until make stop
#|   PORT= AIRFLOW_PORT=      ports of the OCI emulator and of Airflow (else chosen once, then kept)
#|   TIMEOUT=20               minutes that a release may take without a change of any task
#|   DEMO_HOME=.demo          the demo's folder
#| make rollback understands
#|   VERSION=                 a number, or previous
#|   REASON=                  why; shown in the history
#|   ARGS=--yes               do not ask before anything is changed; see ARGS=--help
#| make freeze and make resume understand REASON=
#| make bench understands ARGS="--movielens FOLDER --sizes 100k,1m --parts extraction,serving": see ARGS=--help
#| make preflight understands DATA=folder (its files separated by commas) and ARGS="--quick --out FILE": see ARGS=--help
#| make setup understands PYTHON=/path/to/python3.12; test, test-more, test-unit and lock understand ARGS="...";
#| test and test-more understand TEST_WORKERS=3, the number of processes.

setup: ## Make .venv from the lock (does nothing if it is up to date)
	@./scripts/setup.sh

demo: setup ## Run a whole release on this machine: emulator, Airflow, a store; see below
	@$(BIN)/python -m demo up

stop: setup ## Stop everything that `make demo KEEP=1` left running
	@$(BIN)/python -m demo stop

# One process runs the tests with Airflow and often waits; the others run all other tests.
PYTEST := $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder
test: setup ## Run the tests that every change must pass
	$(PYTEST) -m "not more" $(ARGS)

test-more: setup ## Run the slow tests: a browser, each kind of release in Airflow, large tables, longer training
	$(PYTEST) -m more $(ARGS)

test-unit: setup ## Run the fast tests only
	$(BIN)/python -m pytest tests/unit -m "not more" $(ARGS)

# The matrix starts two processes itself; it runs alone, so that the other tests do not disturb it.
test-chaos: setup ## Run the chaos tests in full: a crash at every call, lasting faults, every lie a hundred times, long histories
	CHAOS_MATRIX=full $(BIN)/python -m pytest tests/chaos/test_crash_matrix.py $(ARGS)
	CHAOS_TRIES=100 CHAOS_HISTORIES=30 CHAOS_STEPS=20 $(BIN)/python -m pytest -n 2 tests/chaos \
	  tests/steps/test_switch_reports.py --ignore tests/chaos/test_crash_matrix.py $(ARGS)

coverage: setup ## Check that the unit tests reach every branch of domain/ and score.py
	$(BIN)/python -m pytest tests/unit -m "not more" -q --cov --cov-config=tests/unit/coverage.ini --cov-report=term-missing $(ARGS)

lint: setup ## Check style, spelling, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy $(MYPY)
	PYTHONPATH=plugins:. $(BIN)/lint-imports
	$(BIN)/python -m pytest tests/unit/test_imports.py --quiet --no-header

format: setup ## Format the code and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## Run the benchmarks
	PYTHONPATH=plugins $(BIN)/python -m benchmarks $(ARGS)

preflight: setup ## Plant damage in data and lists, and count what the gates see of it and how often they stop an honest week
	PYTHONPATH=plugins $(BIN)/python -m preflight $(ARGS)

status: setup ## Show which version is where (of the demo if there is one)
	@$(RECDEPLOY) status

history: setup ## Print the ledger, one line for each entry (ARGS=--json: in full)
	@$(RECDEPLOY) history $(ARGS)

verify: setup ## Check whether any entry of the ledger was edited, removed or cut off
	@$(RECDEPLOY) verify

backups: setup ## List the backups (of the demo if there is one)
	@$(RECDEPLOY) backups

rollback: setup ## Bring an earlier version back without Airflow (VERSION=number|previous REASON="...")
	@$(RECDEPLOY) rollback $(if $(filter command line,$(origin VERSION)),--version "$$VERSION") \
	  $(if $(filter command line,$(origin REASON)),--reason "$$REASON") $(ARGS)

freeze: setup ## Promote nothing until somebody resumes; a rollback is always possible (REASON="...")
	@$(RECDEPLOY) freeze $(if $(filter command line,$(origin REASON)),--reason "$$REASON") $(ARGS)

resume: setup ## Resume promotions after a freeze or a rollback (REASON="...")
	@$(RECDEPLOY) resume $(if $(filter command line,$(origin REASON)),--reason "$$REASON") $(ARGS)

predict: setup ## Request recommendations from the running demo's production (USER=id)
	@$(BIN)/python -m demo predict $(if $(filter command line,$(origin USER)),"$$USER")

clean: ## Stop the demo, then remove it and all caches; .venv stays
	@if [ -x $(BIN)/python ] && [ -e "$(DEMO_HOME)" ]; then $(BIN)/python -m demo clean; fi
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov dist
	@find . -path ./.venv -prune -o -type d -name __pycache__ -exec rm -rf {} +

configuration: setup ## Write docs/configuration.md from the settings' model and the comments of include/recommender.yaml
	PYTHONPATH=plugins $(BIN)/python -m recdeploy_ops.settings.reference > docs/configuration.md

lock: setup ## Resolve pyproject.toml into the two locks (needs uv; ARGS=--upgrade for newer versions)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  $(ARGS) --output-file requirements.txt pyproject.toml
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --constraint requirements.txt --group dev $(ARGS) --output-file requirements-dev.txt pyproject.toml
	@uv_lock=$$(grep -v '^#' scripts/uv.txt | grep -o '^uv==[0-9.]*') && echo "$$uv_lock" \
	  | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet \
	  $(ARGS) --output-file scripts/uv.txt

audit-locks: setup ## Compare the two locks with the vulnerabilities that PyPI publishes
	@$(BIN)/python scripts/audit_locks.py requirements.txt requirements-dev.txt $(ARGS)
