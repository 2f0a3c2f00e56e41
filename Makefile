# What there is to type. Every target sets up what it needs first; `make help` lists them.
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
READY := .venv/.ready

$(READY): scripts/setup requirements.txt requirements-dev.txt package-lock.json .python-version
	@sh scripts/setup

.PHONY: help setup run start publish func test lint lock
help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

setup: $(READY) ## Python 3.13, the pinned packages and Azurite, in this folder only

run: $(READY) ## Publish 20,000 tasks through the local Azure and print their job table
	@$(PYTHON) -m devstack run $(ARGS)

start: $(READY) ## The local Azure and the function app, until Ctrl-C
	@$(PYTHON) -m devstack start $(ARGS)

publish: $(READY) ## Send a generated workload to the hub of `make start`
	@$(PYTHON) -m devstack publish $(ARGS)

func: $(READY) ## The app under Azure Functions Core Tools, against the same local emulators
	@sh scripts/func

test: $(READY) ## All tests
	@$(PYTHON) -m pytest $(ARGS)

lint: $(READY) ## ruff and mypy --strict
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

lock: $(READY) ## Pin again what pyproject.toml names
	@uv pip compile --quiet --universal --python-version 3.13 pyproject.toml -o requirements.txt
	@uv pip compile --quiet --universal --python-version 3.13 --group dev -c requirements.txt -o requirements-dev.txt
