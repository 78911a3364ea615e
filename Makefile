# The same verbs here and in CI. Each sets up what it needs: a virtual environment in .venv with the exact
# versions of constraints.txt, and a Chromium for the tests of the pages.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check install -q -c constraints.txt
export PYTHONUNBUFFERED = 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint types exam soak bench docs clean

help:  ## list these verbs
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

demo: .venv/installed-demo  ## the whole road: a crowd plays, one policy learns, all are measured (10 minutes)
	$(BIN)/tutelage demo $(ARGS)

test: .venv/installed-dev .venv/chromium lint types  ## everything that CI runs
	@# one thread each: two workers share two cores
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup -m "not soak and not exam and not alone"
	$(BIN)/pytest -m "alone and not soak and not exam"

lint: .venv/installed-dev  ## ruff: lint and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy names modules by folders, and a checkout may be called anything: show it one that is called tutelage
types: .venv/installed-dev  ## mypy, strict
	@mkdir -p .venv/typing && ln -sfn ../.. .venv/typing/tutelage
	cd .venv/typing && ../bin/mypy --config-file tutelage/pyproject.toml -p tutelage

exam: .venv/installed-dev  ## the conformance exam on every registered environment (long)
	$(BIN)/pytest -n 2 -m exam tests/exam

soak: .venv/installed-dev  ## kill -9 the recorder at 200 random moments
	$(BIN)/pytest -m soak --timeout 3600

bench: .venv/installed-dev  ## every benchmark, in its quick form
	@for one in benchmarks/*.py; do echo "== $$one"; $(BIN)/python $$one --quick || exit 1; done

docs: .venv/installed-dev  ## write docs/cli.md from --help
	$(BIN)/python docs/make_cli.py

clean:  ## remove what the verbs made (your demonstrations in demo/ stay)
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "expected Python 3.11 or newer, got $$($(PYTHON) --version 2>&1); run: make PYTHON=python3.11"; exit 2; }
	@$(PYTHON) -m venv .venv || { echo "expected the venv module; on Debian: apt-get install python3-venv"; exit 2; }
	@touch $@

# a CPU build of torch where pip finds one: the pinned version comes first, before anything asks for a range
.venv/installed-demo: .venv/made pyproject.toml constraints.txt
	@echo "installing into .venv (once)"
	$(PIP) torch
	$(PIP) -e '.[train,babyai]'
	@touch $@

.venv/installed-dev: .venv/made pyproject.toml constraints.txt
	@echo "installing into .venv (once)"
	$(PIP) torch
	$(PIP) -e '.[dev]'
	@touch $@

.venv/chromium: .venv/made
	@if command -v chromium >/dev/null || command -v google-chrome >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	else echo "expected Chromium for the tests of the pages; install it: apt-get install chromium"; exit 2; fi
	@touch $@
