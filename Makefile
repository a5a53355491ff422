# `make` alone lists what there is. Nothing here needs more than a Python 3.11 to 3.13 and, for
# tests, benchmarks and images, a Docker engine, which `make engine` brings up where it may.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCK = --universal --python-version 3.11 --generate-hashes --system-certs --quiet \
	--custom-compile-command "make lock" pyproject.toml $(if $(UPGRADE),--upgrade)

# Handed on, when given: make demo BROKER=amqp://... STORE=postgresql://...
BROKER ?=
STORE ?=
# For pytest, instead of everything: make test PYTEST="tests/integration/broker -k returns -x"
PYTEST ?=
# Everything runs in so many processes at once: most tests wait for others most of the time. They
# share the containers; tests/scheduling.py keeps apart what would be in each other's way.
PROCESSES ?= 3
# More for the benchmark, when given: make bench BENCH="hop"
BENCH ?=
# For the cluster that is broken: make chaos SEED=7 FOLDER=chaos-7 CHAOS="--only killed --count 3"
SEED ?=
FOLDER ?= chaos-report
CHAOS ?=

.PHONY: help setup demo test test-dates bench chaos lint format docs release lock engine browser images clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
		|| sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1: \2/p' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv from the lock file, with the project in it (at once when it is current)

$(STAMP): requirements.lock pyproject.toml compose/python
	@python="$$(compose/python)"; \
	if ! $(BIN)/python -c '' 2>/dev/null; then \
		echo "setup: making $(VENV) with $$("$$python" --version)"; \
		"$$python" -m venv --clear $(VENV); \
	fi
	@echo "setup: installing what requirements.lock names"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
	@echo "setup: ready, try \`make demo\`"

demo: setup ## play the whole story in one process (BROKER=amqp://... STORE=postgresql://... for the real parts)
	@exec $(BIN)/aoi demo $(if $(BROKER),--broker '$(BROKER)') $(if $(STORE),--store '$(STORE)')

# Tests start hundreds of processes, each of which would compile everything anew without bytecode.
test: setup engine browser ## run every test, on a real RabbitMQ, PostgreSQL and Firefox (PYTEST="..." to choose)
	@settings="$$(compose/images/ensure)"; eval "$$settings"; \
	unset PYTHONDONTWRITEBYTECODE; \
	exec $(BIN)/python -m pytest $(or $(PYTEST),-n $(PROCESSES))

# Clocks that measure how long something takes run as ever; only the date is another. What is slow
# and the same on any date is named in tests/another_day.py and left out.
test-dates: setup browser ## run the tests that need no container and no browser with the clock 400 days ahead
	@compose/datefudge $(BIN)/python; unset PYTHONDONTWRITEBYTECODE; \
	exec datefudge "400 days" $(BIN)/python -m pytest --no-containers --another-day \
		--hypothesis-profile=dates $(or $(PYTEST),-n $(PROCESSES))

# The simulation of plans needs no containers: make bench BENCH="channels --plot plans.svg"
SIMULATED := $(filter channels,$(firstword $(BENCH)))

bench: setup $(if $(SIMULATED),,engine) ## measure hop and end to end, on a real RabbitMQ and PostgreSQL (BENCH="..." to choose)
	@$(if $(SIMULATED),,settings="$$(compose/images/ensure)"; eval "$$settings";) exec $(BIN)/python -m tests.benchmarks $(BENCH)

chaos: setup engine ## break three RabbitMQ nodes, PostgreSQL and workers under load (SEED=... FOLDER=..., a quarter of an hour)
	@settings="$$(compose/images/ensure)"; eval "$$settings"; unset PYTHONDONTWRITEBYTECODE; \
	exec $(BIN)/python -m tests.chaos '$(FOLDER)' $(if $(SEED),--seed $(SEED)) $(CHAOS)

lint: setup ## check style, types and floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## put the code into its format and repair what can be repaired
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## build the documentation into docs/_build, without network, warnings as errors
	$(BIN)/python -m sphinx -q -W --keep-going -n -b html docs docs/_build
	@echo "docs: open docs/_build/index.html"

release: setup ## build wheel, source archive, checksums and notes of the commit in dist/
	@.ci/release

lock: ## write the lock files anew from pyproject.toml (UPGRADE=1 takes the newest of everything)
	@scratch="$$(mktemp -d)"; trap 'rm -rf "$$scratch"' EXIT; \
	"$$(compose/python)" -m venv "$$scratch/uv"; \
	"$$scratch/uv/bin/pip" install -qq --disable-pip-version-check uv; \
	"$$scratch/uv/bin/uv" pip compile $(LOCK) --extra testing --group dev -o requirements.lock; \
	"$$scratch/uv/bin/uv" pip compile $(LOCK) -c requirements.lock -o compose/images/runtime.lock
	@echo "lock: wrote requirements.lock and compose/images/runtime.lock"

engine: ## make sure that a Docker engine answers, installing and starting one where that is possible
	@compose/engine

browser: ## make sure that a Firefox and npm's web-push and smpp are here, installing them where that is possible
	@compose/browser

images: engine ## make sure that the images for RabbitMQ, PostgreSQL and Python are there, and say which
	@compose/images/ensure

clean: ## remove the environment and what tools and tests left here
	rm -rf $(VENV) dist build docs/_build docs/_generated .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
