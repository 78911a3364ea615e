# The same verbs here and in CI. Each sets up what it needs: a virtual environment in .venv with the exact
# versions of constraints.txt, and Chromium, PostgreSQL and nginx for the tests.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq -c constraints.txt
TORCH := torch==2.13.0
TORCH_CPU := https://download.pytorch.org/whl/cpu
SPREAD := -n 4 --dist loadfile --no-loadscope-reorder
# other interpreters: on the path, or of pyenv
PYTHONS ?= $(foreach version,3.12 3.13 3.14,$(or $(firstword $(wildcard $(HOME)/.pyenv/versions/$(version).*/bin/python)), \
  $(shell command -v python$(version) 2>/dev/null)))
export PYTHONUNBUFFERED = 1
# hundreds of processes are started by the tests: none should compile the package anew
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test slow lint types kernels programs exam newest pythons soak bench audit docs site clean

help:  ## list these verbs
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

demo: .venv/installed-demo  ## the whole road: a crowd plays, one policy learns, all are measured (10 minutes)
	$(BIN)/tutelage demo $(ARGS)

test: .venv/installed-dev programs  ## style, types and the tests; CI runs this and `slow`
	@$(MAKE) --no-print-directory -j2 kernels types lint
	$(call tested,not slow)

slow: .venv/installed-dev programs kernels  ## the slow tests: documentation's commands, crashes, browsers, own packages
	$(call tested,slow)

# one thread each; four workers, since much of it waits; a file's tests stay together, and what they share is made
# once; those of the second run need steady time: none of them computes for long
define tested
	@began=$$(date +%s); \
	OMP_NUM_THREADS=1 $(BIN)/pytest $(SPREAD) -m "$(1) and not soak and not exam and not alone" && \
	OMP_NUM_THREADS=1 $(BIN)/pytest $(SPREAD) -m "$(1) and alone and not soak and not exam" \
	  $$(grep -rl --include='test_*.py' mark.alone tests) && \
	echo "every test passed; they took $$(( ($$(date +%s) - began) / 60 )) min $$(( ($$(date +%s) - began) % 60 )) s"
endef

lint: .venv/installed-dev  ## ruff: lint and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy names modules by folders, and a checkout may be called anything: show it one that is called tutelage
types: .venv/installed-dev  ## mypy, strict
	@mkdir -p .venv/typing && ln -sfn ../.. .venv/typing/tutelage
	cd .venv/typing && ../bin/mypy --config-file tutelage/pyproject.toml -p tutelage

kernels: .venv/installed-dev  # compile them once, before the processes of the tests all do
	@$(BIN)/python -m tutelage.tests.support.warm_up

exam: .venv/installed-dev .venv/exam/ready programs  ## every registered environment and those of other packages, 100,000 grid worlds a level (long)
	OMP_NUM_THREADS=1 .venv/exam/bin/python -m pytest -rA -m exam tests/exam/test_families.py tests/exam/test_stable_baselines.py
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m exam tests
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=.venv/checked $(BIN)/pytest -n 2 tests/envs/grid

newest: .venv/newest/made  ## the tests of tasks and demonstrations against the newest Gymnasium that pip offers
	@.venv/newest/bin/python -m pip --disable-pip-version-check install -qq --upgrade gymnasium
	@.venv/newest/bin/python -c 'import gymnasium; print("gymnasium", gymnasium.__version__)'
	OMP_NUM_THREADS=1 .venv/newest/bin/python -m pytest $(SPREAD) -m "not soak and not exam" \
	  --ignore=tests/envs/web tests/envs tests/datasets

pythons:  ## the tests of tasks, demonstrations and files under each other Python that is found (3.12, 3.13, 3.14), without PyTorch
	@for python in $(PYTHONS); do \
	  version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])') && place=.venv/py$$version && \
	  echo "== Python $$version" && $$python -m venv $$place && \
	  $$place/bin/python -m pip --disable-pip-version-check install -qq -c constraints.txt pip setuptools wheel && \
	  $$place/bin/python -m pip --disable-pip-version-check install -qq -c constraints.txt --no-build-isolation \
	    -e '.[crowd,babyai,box2d,minari,postgres,s3,study,web]' 'moto[server]' hypothesis pandas psutil pytest pytest-timeout pytest-xdist && \
	  OMP_NUM_THREADS=1 $$place/bin/python -m pytest $(SPREAD) -m "not soak and not exam and not alone" --ignore=tests/envs/web \
	    $$(grep -rlE --include='test_*.py' 'tutelage\.(agents|api)|import torch|import tutelage as' tests/envs tests/files tests/datasets | sed 's/^/--ignore=/') \
	    tests/envs tests/files tests/datasets || exit 1; \
	done

soak: .venv/installed-dev programs  ## kill recorders and studies 200 times each, take databases away, fuzz for long
	TUTELAGE_EXPLORE=1 $(BIN)/pytest -m "soak or not (exam or alone)" --timeout 3600

bench: .venv/installed-dev .venv/imitation/ready .venv/xland/ready .venv/miniwob/ready  ## every benchmark, in its quick form
	@for one in benchmarks/[a-z]*.py; do echo "== $$one"; $(BIN)/python $$one --quick || exit 1; done

audit: .venv/audit/ready  ## compare every pin with the advisories of PyPI (needs the network)
	.venv/audit/bin/pip-audit --no-deps --disable-pip -r constraints.txt

docs: .venv/installed-dev  ## write docs/cli.md from --help, docs/store-columns.md from the schema
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_columns.py

# the reference reads links to the modules, under the name tutelage: a link to the checkout itself would lead into .venv
# and round again. --quiet would silence warnings before --strict counts them
site: .venv/site/ready  ## the documentation as web pages, in build/site; broken links and anchors are errors
	@rm -rf .venv/source && mkdir -p .venv/source/tutelage
	@for each in *.py */__init__.py; do ln -s "../../../$${each%/__init__.py}" .venv/source/tutelage/; done
	NO_MKDOCS_2_WARNING=1 .venv/site/bin/python -m mkdocs build --strict
	@echo "open build/site/index.html, or run: python3 -m http.server --directory build/site"

clean:  ## remove what the verbs made (your demonstrations in demo/ stay)
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

.venv/made: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "expected Python 3.11 or newer, got $$($(PYTHON) --version 2>&1); run: make PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "expected the venv module; on Debian: apt-get install python3-venv" >&2; exit 2; }
	@$(PYTHON) -m venv .venv
	@$(PIP) pip setuptools wheel
	@touch $@

# torch by itself, before anything asks for a range: a CPU build where pip has one at hand, else from torch's own
# index, else what PyPI has (on Linux a CUDA build of several GB, which works as well)
.venv/torch: .venv/made
	@echo "installing into .venv (once)"
	@$(PIP) '$(TORCH)+cpu' 2>/dev/null \
	  || $(PIP) '$(TORCH)+cpu' --extra-index-url $(TORCH_CPU) 2>/dev/null \
	  || $(PIP) '$(TORCH)'
	@touch $@

.venv/installed-demo: .venv/torch pyproject.toml constraints.txt
	@$(PIP) --no-build-isolation -e '.[crowd,train]'
	@touch $@

.venv/installed-dev: .venv/torch pyproject.toml constraints.txt
	@$(PIP) --no-build-isolation -e '.[dev]'
	@touch $@ .venv/installed-demo

# a virtual environment that sees what is in .venv, behind its own
define made_beside
	@$(PYTHON) -m venv $(2) $(1)
	@$(BIN)/python -c 'import site; print(f"import site; site.addsitedir({site.getsitepackages()[0]!r})")' \
	  > $$($(1)/bin/python -c 'import site; print(site.getsitepackages()[0])')/beside.pth
endef

# with the pip and setuptools of .venv, and a `tutelage` that runs in it
.venv/newest/made: .venv/installed-dev
	$(call made_beside,.venv/newest,--without-pip)
	@.venv/newest/bin/python -m pip --disable-pip-version-check install -qq --no-deps --no-build-isolation -e .
	@touch $@

# environments of other packages, and odd ones from a folder outside of this one, beside what is in .venv; with a
# mujoco of their own: with that of Meta-World, episodes of gymnasium-robotics do not replay
.venv/exam/ready: .venv/installed-dev tests/exam/requirements.txt $(wildcard tests/exam/odd_worlds/*/*.py)
	@echo "installing environments of other packages into .venv/exam"
	$(call made_beside,.venv/exam)
	@grep -v '^mujoco==' constraints.txt > .venv/exam/constraints.txt
	@.venv/exam/bin/python -m pip --disable-pip-version-check install -qq -c .venv/exam/constraints.txt -r tests/exam/requirements.txt
	@elsewhere=$$(mktemp -d) && cp -r tests/exam/odd_worlds/. $$elsewhere && \
	  .venv/exam/bin/python -m pip --disable-pip-version-check install -qq --no-build-isolation --no-deps $$elsewhere; \
	  status=$$?; rm -rf $$elsewhere; exit $$status
	@touch $@

# the peer of benchmarks/training.py pins gymnasium 0.29: it gets a virtual environment of its own
.venv/imitation/ready: .venv/torch
	@echo "installing imitation 1.0.1 into .venv/imitation (once)"
	@$(PYTHON) -m venv .venv/imitation
	@.venv/imitation/bin/python -m pip --disable-pip-version-check install -qq "torch==$$($(BIN)/python -c \
	  'from importlib.metadata import version; print(version("torch"))')" imitation==1.0.1
	@touch $@

# and that of benchmarks/grid.py brings jax
.venv/xland/ready: .venv/made
	@echo "installing xminigrid 0.9.3 into .venv/xland (once)"
	@$(PYTHON) -m venv .venv/xland
	@.venv/xland/bin/python -m pip --disable-pip-version-check install -qq xminigrid==0.9.3 'jax[cpu]'
	@touch $@

# and that of benchmarks/web.py drives the pages by selenium; on Debian: apt-get install chromium-driver
.venv/miniwob/ready: .venv/made
	@echo "installing miniwob 1.1.0 into .venv/miniwob (once)"
	@$(PYTHON) -m venv .venv/miniwob
	@.venv/miniwob/bin/python -m pip --disable-pip-version-check install -qq -c constraints.txt miniwob==1.1.0
	@touch $@

.venv/audit/ready: .venv/made
	@$(PYTHON) -m venv .venv/audit
	@.venv/audit/bin/python -m pip --disable-pip-version-check install -qq pip-audit==2.10.1
	@touch $@

# the extra `docs` alone, without the package and what it needs: its pages are read, not imported
.venv/site/ready: .venv/made pyproject.toml
	@echo "installing mkdocs-material into .venv/site (once)"
	@$(PYTHON) -m venv .venv/site
	@$(BIN)/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  print(*project["optional-dependencies"]["docs"], sep="\n")' > .venv/site/requirements.txt
	@.venv/site/bin/python -m pip --disable-pip-version-check install -qq -c constraints.txt -r .venv/site/requirements.txt
	@touch $@

# what the tests start besides Python: a browser, a database server, a web server; as packages of Debian. They are the
# machine's and not the folder's, so they are looked for every time: .venv may have come from another machine
programs:
	@wanted=; \
	command -v chromium >/dev/null || wanted="$$wanted chromium"; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || wanted="$$wanted postgresql"; \
	command -v chromium-headless-shell >/dev/null || wanted="$$wanted chromium-headless-shell"; \
	test -x /usr/sbin/nginx || wanted="$$wanted nginx"; \
	if [ -z "$$wanted" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$wanted >/dev/null; \
	else echo "expected$$wanted for the tests; install: apt-get install$$wanted" >&2; exit 2; fi
