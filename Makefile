# Everything starts here, on a machine with make and Python 3.11 or newer: `make` lists what there is.
# .venv is made once; a stamp in it says which extras are in, and is older than pyproject.toml when they must go in again.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check lint soak funnel lock bench proof pictures clean

VENV := .venv
BIN := $(VENV)/bin
DEMO_MB := 3000
TEST_MB := 4000
PYTEST ?= -n auto --dist loadfile # a file's tests share their crawls and runs
PIP := $(BIN)/python -m pip --disable-pip-version-check
export SITE WARC RUN

help: ## What there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/with-pipeline,training ## A real crawl to shards, a report and a small model (SITE=DIR or WARC=PATH_OR_URL for yours)
	@sh infra/demo/demo.sh $(BIN)

test: lint ## All that must hold: lint, then every test, with the number of those skipped
	$(BIN)/python -m pytest $(PYTEST)

check: test ## What CI runs, to the letter: it is make test

lint: $(VENV)/with-dev ## Style, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: $(VENV)/with-dev ## The full matrices of the tests, then an hour of broken records, pages, images and tars (SECONDS=900 of each)
	INTERLOOM_SOAK=1 $(BIN)/python -m pytest $(PYTEST)
	INTERLOOM_FUZZ_SECONDS=$(or $(SECONDS),900) $(BIN)/python -m pytest -s tests/fuzz

funnel: $(VENV)/with-dev ## Paste the funnel of demo/run into the README and the tests (after make demo)
	$(BIN)/python -m infra.demo.funnel

bench: $(VENV)/with-dev ## The table of speeds and sizes (ONLY=name for one row)
	$(BIN)/python -m tests.bench $(ONLY)

proof: $(VENV)/with-dev ## Do pictures reach the loss? A generated crawl, the pipeline, half an hour of training
	$(BIN)/python -m tests.bench.picture proof

pictures: $(VENV)/with-dev ## Take the README's pictures anew (after make demo; needs chromium)
	$(BIN)/python -m infra.readme demo/run demo/model

lock: ## Resolve the dev extra anew and write constraints.txt
	sh infra/lock.sh "$$(sh infra/preflight.sh python)"

clean: ## Remove what make made: .venv, demo, builds and caches
	rm -rf $(VENV) demo proof dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/made:
	@sh infra/preflight.sh $(if $(filter test check lint bench,$(MAKECMDGOALS)),$(TEST_MB),$(DEMO_MB))
	"$$(sh infra/preflight.sh python)" -m venv $(VENV)
	@sh infra/preflight.sh network $(BIN)/python
	@touch $@

$(VENV)/with-%: pyproject.toml constraints.txt | $(VENV)/made
	@echo "Installing interloom[$*] into $(VENV): a minute or two"
	@sh infra/torch.sh $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[$*]'
	@touch $@
