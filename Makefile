# What can be done here; `make help` lists it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup check lint types arrow test test-quick test-long simulate mutants chaos close-drill fuzz network-faults demo bench bench-short bench-reports bench-reports-short bench-dashboards bench-dashboards-short bench-close bench-close-short bench-long bench-seen pins clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-19s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make the virtual environment and get the Kafka jars (first time: about two minutes)
	@$(BIN)/python -m rtmeter.kafka_jars

$(STAMP): pyproject.toml requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed as '$(PYTHON)': make PYTHON=/path/to/python3.11 setup"; exit 2; }
	@test -x $(BIN)/python || { echo "making the virtual environment"; $(PYTHON) -m venv $(VENV); }
	@echo "installing the dependencies"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

check: test ## All that CI runs: lint, types, import arrow, tests

lint: $(STAMP) ## Ruff: lint and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP) ## Strict types
	@$(BIN)/mypy

arrow: $(STAMP) ## The imports point one way
	@$(BIN)/lint-imports --no-cache | tail -n 4

test: setup lint types arrow ## Lint, types, import arrow and all tests, with a real Kafka (two processes, about 25 minutes on 2 cores)
	@$(BIN)/pytest -n 2 --dist loadfile

test-quick: setup ## The tests without Kafka, with few examples
	@HYPOTHESIS_PROFILE=dev $(BIN)/pytest -m "not kafka" -x

test-long: setup ## The laws with 50,000 examples each (hours)
	@HYPOTHESIS_PROFILE=long $(BIN)/pytest tests/streams tests/schemas

simulate: $(STAMP) ## Core, ledger, worker and sink in one process under random faults: SEEDS=n of them, or SEED=n again
	@$(BIN)/python -m tests.simulation $(if $(SEED),replay $(SEED),run --seeds $(or $(SEEDS),2000))

mutants: $(STAMP) ## How many seeds of the simulation each broken variant of the code needs to be caught
	@$(BIN)/python -m tests.simulation mutants

chaos: setup ## Real processes: 200 kills, 20 freezes, broker restarts, a full disk, 2 million events (half an hour)
	@$(BIN)/python -m tests.chaos

close-drill: $(STAMP) ## Three months of 100,000 subscribers closed under kills, against an oracle (about ten minutes)
	@$(BIN)/python -m tests.billing.closing.drill

fuzz: $(STAMP) ## A million spoilt examples through the decoder (some minutes)
	@$(BIN)/python -m tests.fuzz

network-faults: setup ## 1,000 faults on the line to a ClickHouse over HTTP (about ten minutes)
	@RTMETER_NETWORK_FAULTS=1000 $(BIN)/pytest -s -p no:logging tests/network/test_campaign.py

demo: setup ## A generated month through a real Kafka to reports, and what happened
	@$(BIN)/rtmeter demo

bench: setup ## Our worker, a Faust agent and a quixstreams application, side by side (about half an hour)
	@$(BIN)/python -m bench.run

bench-short: setup ## The same with small counts: that it works, not how fast it is
	@$(BIN)/python -m bench.run --short

bench-reports: setup ## Reports of a million subscribers beside the engine's own export (about ten minutes)
	@$(BIN)/python -m bench.reports.run

bench-reports-short: setup ## The same with small counts
	@$(BIN)/python -m bench.reports.run --short

bench-dashboards: setup ## Questions of the dashboards on a store of 5 million subscribers (about half an hour)
	@$(BIN)/python -m bench.dashboards.run

bench-dashboards-short: setup ## The same with small counts
	@$(BIN)/python -m bench.dashboards.run --short

bench-close: setup ## A month closed for all partners, of half a million to 5 million subscribers, beside one scan (about half an hour)
	@$(BIN)/python -m bench.close.run

bench-close-short: setup ## The same with small counts
	@$(BIN)/python -m bench.close.run --short

bench-long: $(STAMP) ## What an event costs a subscriber of 100 to 100,000 facts, and 200,000 subscribers deprovisioned at once
	@$(BIN)/python -m bench.long_subscriber

bench-seen: $(STAMP) ## What counters, clocks and looks cost a worker, of its processor time
	@$(BIN)/python -m bench.seen_cost

pins: ## Pin the newest versions of all dependencies, by hash
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 \
		--group dev --upgrade pyproject.toml -o requirements.txt
	@$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 \
		--constraint requirements.txt pyproject.toml -o deploy/image/requirements.txt

clean: ## Remove what was made here (not the jars in your cache folder)
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis rtmeter-demo
