# Everything a developer needs; Python >= 3.11 and make are enough. `make run` and `make test` are the two to know.
#   make run     the product with its sandbox platform, on this machine
#   make test    the whole suite; ARGS="tests/rules -x" narrows it, JOBS=0 runs it in one process
#   make check   format, lint, types, floors, tests

.DEFAULT_GOAL := help
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

# nothing of the caller's Python environment reaches ours
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONDONTWRITEBYTECODE VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUTF8 := 1

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
JOBS ?= 2
LOCK := pyproject.toml constraints.txt frontend/package-lock.json frontend/assets.toml frontend/hatch_build.py
# browser tests need the large extra e2e: only where there is a browser to drive
CHROMIUM := $(or $(TEST_CHROMIUM),$(shell command -v chromium))
DEV := $(VENV)/installed-dev$(if $(CHROMIUM),-e2e)
comma := ,
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: help run test check lint format types floors bench demo chaos wheel migration translations lock clean

help:
	@sed -n 's/^#   //p' Makefile

run: $(VENV)/installed
	@$(BIN)/qunfen run --sandbox $(ARGS)

test: $(DEV)
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

check: lint types floors test

lint: $(DEV)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

format: $(DEV)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(DEV)
	@$(BIN)/mypy

floors: $(DEV)
	@$(BIN)/lint-imports

# one script a question, each prints ratios; benchmarks/_*.py are their shared parts
bench: $(DEV)
	@set -e; for file in benchmarks/[a-z]*.py; do \
		echo "== $$file"; $(BIN)/python -m "benchmarks.$$(basename $$file .py)" $(ARGS); done

demo: $(VENV)/installed
	@$(BIN)/qunfen demo --size small --play $(ARGS)

# kills processes at random moments of campaigns: one on SQLite, then many on PostgreSQL and Redis of their own;
# SHORT=1 is the run of continuous integration, ARGS="--only many --seed 7" one of the settings
chaos: $(DEV)
	@$(BIN)/python -m tests.chaos $(if $(SHORT),--short) $(ARGS)

# the wheel, built, installed into an empty environment elsewhere and used
wheel: | $(BIN)/python
	@$(BIN)/python .ci/wheel.py

# make migration NAME="what changed"
migration: $(DEV)
	@test -n "$(NAME)" || { echo 'usage: make migration NAME="what changed"'; exit 2; }
	@$(BIN)/python -m bot.migrate draft "$(NAME)"

# gather the console's sentences into the English catalogue (fill in what is empty), and compile it
CATALOGUES := bot/console/translations
translations: $(DEV)
	@$(BIN)/pybabel -q extract -F frontend/babel.cfg -k _l --no-location -o $(VENV)/messages.pot bot/console
	@$(BIN)/pybabel -q update --no-fuzzy-matching --ignore-obsolete --no-wrap --omit-header -i $(VENV)/messages.pot -d $(CATALOGUES) -l en
	@$(BIN)/pybabel -q compile -d $(CATALOGUES)

# resolve again with the oldest supported Python: what suits it suits the newer ones
lock:
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	python=$$(command -v python3.11 || command -v python3); \
	"$$python" -m venv "$$folder/venv"; \
	"$$folder/venv/bin/python" -m pip install --quiet --only-binary :all: '.[server,ml,e2e,dev]'; \
	{ sed -n '/^#/p' constraints.txt; "$$folder/venv/bin/python" -m pip freeze --exclude qunfen; } > "$$folder/lock"; \
	cp "$$folder/lock" constraints.txt; git --no-pager diff --stat -- constraints.txt

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(BIN)/python:
	@for python in python3 python3.13 python3.12 python3.11; do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo '需要 Python 3.11 或更新的版本，本机没有找到。'; \
		echo 'Python 3.11 or newer is needed and none was found (python3, python3.13, python3.12, python3.11).'; exit 1; \
	fi; \
	"$$found" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "无法创建虚拟环境；Debian/Ubuntu 请先安装 python3-venv。"; \
		echo "No virtual environment could be made; on Debian and Ubuntu install python3-venv first."; exit 1; }

$(VENV)/installed: $(LOCK) | $(BIN)/python
	@echo '安装依赖 … installing (once, then whenever $(LOCK) change)'
	@$(INSTALL) --editable .
	@touch $@

$(DEV): $(LOCK) | $(BIN)/python
	@echo '安装开发依赖 … installing for development (once, then whenever $(LOCK) change)'
	@$(INSTALL) --editable '.[dev$(if $(CHROMIUM),$(comma)e2e)]'
	@touch $@ $(VENV)/installed
