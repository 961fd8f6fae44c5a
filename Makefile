PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: setup repro test test-all lint ui bench lock

# Named by where it is, for in a project that was moved its commands no longer start.
INSTALLED := .venv/installed-$(shell pwd | cksum | cut -d' ' -f1)

setup: $(INSTALLED)

# Hashes make it the same libraries everywhere; setuptools, which builds the package, is among them.
$(INSTALLED): requirements.lock pyproject.toml
	@echo "installing about 200 libraries into .venv: two to four minutes, in which pip prints nothing"
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# The check comes first because DVC removes a stage's outputs before it runs it.
repro: setup
	epochwise check
	dvc repro

test: setup lint
	python -m pytest -q --numprocesses auto --dist loadfile

test-all: setup lint
	python -m pytest -q -m '' --numprocesses auto --dist loadfile

lint: setup
	ruff check src tests benchmarks
	ruff format --check src tests benchmarks
	lint-imports --no-logo
	mypy
	codespell *.md Makefile pyproject.toml conf docs src tests benchmarks

ui: setup
	@epochwise ui

# Ratios, not seconds: machines are noisy. docs/performance.md has the longer ones, too.
bench: setup
	python benchmarks/steps.py
	python benchmarks/runs.py --rounds 1 --epochs 2
	python benchmarks/overhead.py

# Pins for every supported Python and platform; names no package index. Keeps the versions that are there: to take newer
# ones, remove the file first. Needs uv.
lock: setup
	uv pip compile pyproject.toml --extra dev --extra heic --extra onnx --extra optuna --universal --generate-hashes --no-header --quiet -o requirements.lock
