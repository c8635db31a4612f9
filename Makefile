# The two commands of the README are `make run` and `make test`. Both set up what they need first.
MINUTES ?= 10
SEED ?= 7

.PHONY: help setup run down test faults chaos lint

help: ## show this
	@grep -E '^[a-z]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 10

setup: ## virtual environment, dependencies, a Docker engine
	@scripts/setup

run: setup ## bring the system up in the background and run the example on it
	@scripts/base-image
	@scripts/up
	@cd examples/penguins && ../../.venv/bin/temporal-runs run --project penguins --environment environment.json -- /usr/bin/python3 main.py

down: ## end what `make run` left up
	@scripts/down

test: setup ## unit tests, integration tests, quick faults
	@scripts/test-tools
	@.venv/bin/python -m pytest -m "not long" -n 2 --dist loadfile

faults: setup ## every fault, also those that take minutes
	@scripts/test-tools
	@.venv/bin/python -m pytest tests/faults

chaos: setup ## kill processes at random while Runs end in every way: make chaos MINUTES=10 SEED=7
	@scripts/test-tools
	@CHAOS_MINUTES=$(MINUTES) CHAOS_SEED=$(SEED) .venv/bin/python -m pytest tests/chaos -s

lint: setup ## ruff and pyright
	@.venv/bin/ruff check --no-cache .
	@.venv/bin/ruff format --check .
	@.venv/bin/pyright
	@.venv/bin/python scripts/docs --check
