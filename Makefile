# The two commands of the README are `make run` and `make test`. Both set up what they need first.
.PHONY: help setup run down test faults lint

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
	@.venv/bin/python -m pytest -m "not long"

faults: setup ## the long faults
	@scripts/test-tools
	@.venv/bin/python -m pytest tests/faults -m long

lint: setup ## ruff and pyright
	@.venv/bin/ruff check --no-cache .
	@.venv/bin/ruff format --check .
	@.venv/bin/pyright
	@.venv/bin/python scripts/docs --check
