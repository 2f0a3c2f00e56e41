# What there is to type. Every target sets up what it needs first; `make help` lists them.
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
PACKAGES := .venv/.ready
READY := reader/web/dist/dashboard.html
PIP_AUDIT := 2.10.1

$(PACKAGES): scripts/setup scripts/uv scripts/npm requirements.txt requirements-dev.txt package-lock.json .python-version
	@sh scripts/setup

$(READY): $(PACKAGES) scripts/web reader/web/build.mjs $(wildcard reader/web/src/*)
	@sh scripts/web

.PHONY: help setup web run start publish func chaos outage test simulate mutants fuzz bench bench-reading lint lock package licences audit
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup: $(READY) ## Python 3.13, the pinned packages, Azurite and the built pages, in this folder only

web: $(READY) ## The dashboard's and the report's pages, built where their sources are newer

run: $(READY) ## Publish 20,000 tasks through the local Azure, print their job table, write a report of the largest
	@$(PYTHON) -m devstack run --report report.html $(ARGS)

start: $(READY) ## The local Azure and the function app, until Ctrl-C
	@$(PYTHON) -m devstack start $(ARGS)

publish: $(READY) ## Send a generated workload to the hub of `make start`
	@$(PYTHON) -m devstack publish $(ARGS)

func: $(READY) ## The app under Azure Functions Core Tools, against the same local emulators
	@sh scripts/func

chaos: $(READY) ## 100,000 tasks while instances are killed, storage restarts, links and answers get lost
	@$(PYTHON) -m devstack chaos $(ARGS)

outage: $(READY) ## Storage away for 3 minutes under a steady stream: what is held, and the memory
	@$(PYTHON) -m devstack outage $(ARGS)

test: $(READY) ## All tests
	@$(PYTHON) -m pytest -n 2 --dist loadscope $(ARGS)

fuzz: $(READY) ## RUNS inputs, by default a million, into the decoder, guided by coverage (Linux on x86-64)
	@$(PYTHON) -m tests.fuzz -runs=$(or $(RUNS),1000000) -print_final_stats=1 $(ARGS)

simulate: $(READY) ## Histories that go wrong in every way, from seeds: make simulate SEEDS=1000
	@$(PYTHON) -m tests.simulation --seeds $(or $(SEEDS),1000) --processes 2 $(ARGS)

mutants: $(READY) ## Small changes of the pure modules, each of which a test should mind
	@nice $(PYTHON) -m tests.mutation $(ARGS)

bench: $(READY) ## What a task event costs, beside limits and a naive function, in under 10 minutes; QUICK=1 in one
	@$(PYTHON) -m benchmarks.writing $(if $(QUICK),--quick) $(ARGS)

bench-reading: $(READY) ## 10,000 jobs listed, a report of 50,000 tasks built, loaded and scrolled: times beside targets
	@$(PYTHON) -m benchmarks.reading $(ARGS)

lint: $(READY) ## ruff and mypy --strict
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

COMPILE := sh scripts/uv pip compile --quiet --universal --python-version 3.13 --generate-hashes pyproject.toml

lock: $(READY) ## Pin again what pyproject.toml names; ARGS="--upgrade-package NAME" for what that requires
	@$(COMPILE) $(ARGS) -o requirements.txt
	@$(COMPILE) $(ARGS) --all-extras --group dev -c requirements.txt -o requirements-dev.txt
	@for extra in azure-monitor otlp; do $(COMPILE) $(ARGS) --extra $$extra -c requirements.txt -c requirements-dev.txt \
		-o requirements-$$extra.txt || exit 1; done

package: $(READY) ## What is deployed, as dist/app.zip; VENDORED=1 with its packages, no remote build needed
	@$(PYTHON) -m scripts.package $(if $(VENDORED),--vendored) $(ARGS)

licences: $(READY) ## List again in THIRD-PARTY.md what ships, by whose licence
	@$(PYTHON) -m scripts.licences

audit: $(READY) ## Known weaknesses of what ships, by pip-audit and npm audit (needs their services)
	@sh scripts/uv tool run --from pip-audit==$(PIP_AUDIT) pip-audit --strict --disable-pip --require-hashes -r requirements.txt -r requirements-azure-monitor.txt -r requirements-otlp.txt
	@sh scripts/npm audit --omit=dev
