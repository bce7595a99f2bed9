# `make demo` and `make test` are all a newcomer needs; each makes its own virtual environment when it must.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test coverage chaos drills bench lint types lock migrations screenshots licences clean

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: .venv/local ## start everything and cast a spell; ONCE=1 ends after the cast, BILLING=1 has accounts pay, REPOSITORY=FOLDER serves yours too
	@$(BIN)/python manage.py demo $(if $(ONCE),--once) $(if $(BILLING),--billing) $(if $(REPOSITORY),--repository "$(REPOSITORY)")

test: .venv/dev ## the whole suite, on SQLite and on Postgres; FAST=1 leaves out what takes long
	@FAST=$(FAST) $(BIN)/python -m tests

coverage: .venv/dev ## what of the code the tests reach, on SQLite and within one process
	@$(BIN)/coverage run -m pytest --ignore=tests/browser --ignore=tests/chaos --ignore=tests/e2e
	@$(BIN)/coverage report

chaos: .venv/dev ## 300 casts in a storm of faults and kills, and a verdict; ARGS="--help" tells more
	@$(BIN)/python -m tests.chaos $(ARGS)

drills: .venv/dev ## an update under load and its way back; the image and the guide to production on a bare Debian (as root)
	@DRILLS=1 $(BIN)/python -m tests.postgres $(BIN)/pytest -q -s tests/upgrade
	@$(BIN)/python -m tests.deploy.drill

bench: .venv/dev ## measure speed beside peers, for a quarter of an hour; ARGS="--quick" takes three minutes
	@$(BIN)/python -m tests.bench $(ARGS)

screenshots: .venv/dev ## take the documentation's pictures of the real pages anew
	@$(BIN)/python -m tests.screenshots

lint: .venv/dev ## style, imports and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy .

lock: ## write the locked dependencies anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url -q -o requirements/production.txt
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url -q -o requirements/complete.txt
	uv pip compile pyproject.toml --group local --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url -q -o requirements/local.txt
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url -q -o requirements/dev.txt

licences: .venv/dev ## list the licences of production's dependencies anew
	@$(BIN)/python -m tests.licences

clean: ## remove what the demo and the tests left
	rm -rf var .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "Making the virtual environment …"
	@$(PYTHON) -m venv .venv

.venv/local: requirements/local.txt | .venv/bin/python
	@echo "Installing (once) …"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/local.txt
	@touch $@

.venv/dev: requirements/dev.txt | .venv/bin/python
	@echo "Installing what tests need (once) …"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch .venv/local $@
