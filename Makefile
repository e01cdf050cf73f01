# Each target makes what it needs first: a clone can begin with `make demo`. See `make help`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/run.stamp
DEV := $(VENV)/dev.stamp
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input install
LOCK := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate $(if $(UPGRADE),--upgrade)
# tests wait for processes and for PostgreSQL a third of their time; twice as many as processors keep these busy
TEST_PROCESSES ?= $(shell $(PYTHON) -c 'import os; print(min(16, 2 * (os.cpu_count() or 1)))')
WEB_INPUTS := $(shell find web -name node_modules -prune -o -type f -print)

# hundreds of processes of the tests would compile everything anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test chaos bench web lint types contracts sdl docs wheel lock check

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUN) web ## run the demo on this machine; ONCE=1 ends it after the collection
	@exec $(BIN)/vk-comments demo $(if $(ONCE),--once)

test: $(DEV) web ## run all tests, SHUFFLE=1 (or another number) in a drawn order; every line has to be covered
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal -p tests.line_coverage \
	  $(if $(SHUFFLE),--shuffle=$(SHUFFLE)) $(ARGS)

chaos: $(DEV) ## play faults for MINUTES=10, drawn from SEED=1, then compare all that is stored with the truth
	@$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) --seed $(or $(SEED),1)

bench: $(DEV) ## measure, in about an hour; QUICK=1 only shows that it runs
	@for part in collect jobs analysis export; do $(BIN)/python -m bench.$$part $(if $(QUICK),--quick) || exit; done

lint: $(DEV) ## check style and format, and the workflow against the schema of GitHub Actions
	@$(BIN)/ruff check --quiet && $(BIN)/ruff format --check --quiet
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml

types: $(DEV) ## check types
	@$(BIN)/mypy

contracts: $(DEV) ## check that imports go down only
	@$(BIN)/lint-imports --no-logo

sdl: $(DEV) ## check that schema/schema.graphql is the schema
	@$(BIN)/vk-comments schema | diff -u schema/schema.graphql - \
	|| { echo "Run '$(BIN)/vk-comments schema -o schema/schema.graphql'." >&2; exit 1; }

docs: $(DEV) ## write the parts of the documentation that follow from the code
	@$(BIN)/python -m tests.generated_docs

check: lint types contracts sdl test ## all checks and tests

lock: $(BIN)/uv ## write the requirements anew; UPGRADE=1 takes the newest versions
	@# setuptools builds the editable install, which is done without build isolation
	@echo setuptools | $(BIN)/uv $(LOCK) -o requirements.txt pyproject.toml -
	@echo setuptools | $(BIN)/uv $(LOCK) -o requirements-dev.txt -c requirements.txt --extra dev pyproject.toml -

web: app/pages/graphiql.html ## build the pages, if Node.js is there

wheel: $(DEV) web ## build the wheel in dist/, with the pages
	@$(BIN)/python -m pip --quiet --disable-pip-version-check wheel --no-deps --no-build-isolation --wheel-dir dist .

app/pages/graphiql.html: $(WEB_INPUTS)
	@if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' \
	     2>/dev/null || ! command -v npm >/dev/null; then \
	  echo "GraphiQL is left out: its page is built with Node.js 20.19 or newer and npm, which are not here."; \
	else \
	  echo "Building the pages in web/ ..." && cd web && \
	  { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null; } && \
	  npm run --silent build -- --logLevel=warn \
	  || $(if $(filter demo,$(MAKECMDGOALS)),echo "GraphiQL is left out: its page could not be built.",false); \
	fi

$(RUN): requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing Python packages into $(VENV) ..."
	@$(PIP) --no-deps --require-hashes -r requirements.txt && $(PIP) --no-deps --no-build-isolation -e . && touch $@

$(DEV): requirements-dev.txt pyproject.toml | $(BIN)/python
	@echo "Installing Python packages for development into $(VENV) ..."
	@$(PIP) --no-deps --require-hashes -r requirements-dev.txt && $(PIP) --no-deps --no-build-isolation -e . && touch $@ $(RUN)

$(BIN)/uv: | $(BIN)/python
	@$(PIP) uv

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON). Name a Python: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is \
	$$($(PYTHON) --version 2>&1); 3.11 or newer is needed. Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make virtual environments. \
	On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
