# Every target works on an empty clone: .venv is made, and the requirements are installed when they changed.
PYTHON ?= python3
BOOTSTRAP = $(PYTHON) -E tenkaigen/bootstrap.py
PORT ?= 8000
DEVICE ?= cpu
export PORT DEVICE BILLING

.PHONY: help run test test-fast lint format bench faults setup setup-dev python clean

help:  ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: python  ## start everything on this machine (PORT=8000, DEVICE=cpu, BILLING=fake); Ctrl-C stops it
	@$(BOOTSTRAP) requirements.txt tenkaigen.launch

test: python  ## lint, types, migrations and all tests on real servers (ARGS="-k name" for pytest)
	@$(BOOTSTRAP) requirements-dev.txt tests.run $(if $(ARGS),-- $(ARGS))

test-fast: python  ## lint and the suites that need no browser and kill no process
	@$(BOOTSTRAP) requirements-dev.txt tests.run --fast $(if $(ARGS),-- $(ARGS))

lint: python  ## only what reads the code
	@$(BOOTSTRAP) requirements-dev.txt tests.run --only-lint

faults: python  ## the long forms of the fault and property tests
	@FAULTS=long $(BOOTSTRAP) requirements-dev.txt tests.run --only faults --only properties
	@$(BOOTSTRAP) requirements-dev.txt tests.faults.matrix

format: setup-dev  ## rewrite the code as ruff likes it
	@.venv/bin/ruff check --fix --quiet . || true
	@.venv/bin/ruff format .

bench: setup-dev  ## the benchmarks, one after the other
	@set -e; for script in benchmarks/*.py; do \
		[ -e "$$script" ] || continue; echo "== $$script"; .venv/bin/python "$$script"; done

setup: python  ## make .venv for `make run`
	@$(BOOTSTRAP) requirements.txt

setup-dev: python  ## make .venv for `make test`
	@$(BOOTSTRAP) requirements-dev.txt

python:
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "TenkaiGen needs Python 3.11 to 3.14; '$(PYTHON)' is not there: install it, or set PYTHON=/path/to/python3.11." >&2; exit 1; }

clean:  ## remove .venv and what tools left behind; the data in var/ stays
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache staticfiles
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
