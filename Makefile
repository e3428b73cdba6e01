# The one interface for people. Needs python3 >= 3.11, cargo, node with npm, a C compiler; installs the rest by itself:
# the engine into .venv, the published SDKs (clients for the tests) into .cache. What is up to date is not done again.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
CACHE := .cache
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NPM_CONFIG_UPDATE_NOTIFIER := false

TOOLS := .venv/.tools
ENGINE := .venv/.engine
PYTHON_SDKS := $(foreach version,0.11.6 0.25.0,$(CACHE)/python-sdk-$(version)/.installed)
NODE_SDKS := $(CACHE)/node/.installed
RUST_SDK := $(CACHE)/rust-sdk/debug/steered-worker

RUST_SOURCES := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)

.PHONY: help setup build run test test-rust test-loom test-python test-crash compat-sdks redis bench bench-check profile lint lint-rust lint-python format docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(TOOLS) ## Install the Python tools into .venv

build: $(ENGINE) ## Build the engine (release) into .venv

run: $(ENGINE) ## Build and start the engine; ARGS="--port 50000" adds options
	@exec $(BIN)/iii-fast serve $(ARGS)

test: lint test-rust test-loom test-python ## Everything that must pass: lint, Rust, Python, real clients

test-rust: ## The Rust tests
	cargo test --workspace --locked --quiet

test-loom: ## The queue between reactors, in every order in which threads can meet
	RUSTFLAGS="--cfg loom" cargo test --package iii-fast-reactor --lib --locked --quiet --target-dir target/loom mailbox

test-python: $(ENGINE) compat-sdks redis ## The Python tests, with the published SDKs as clients
	cargo build --release --locked --quiet --package iii-fast-load --package iii-fast-core-benches
	! command -v perf > /dev/null || cargo build --release --locked --quiet --package iii-fast-py
	$(BIN)/python -m pytest -q -n 2 --dist worksteal $(ARGS)

test-crash: $(ENGINE) compat-sdks ## Ten times the crashes, histories and programs; III_FAST_SEED=N repeats a run
	III_FAST_CRASH_ROUNDS=200 III_FAST_SEED=$${III_FAST_SEED:-$$RANDOM} \
	  $(BIN)/python -m pytest -q -n 2 --dist worksteal tests/durability $(ARGS)

compat-sdks: $(NODE_SDKS) $(PYTHON_SDKS) $(RUST_SDK) ## Install the published SDKs into .cache

redis: ## Install redis-server with apt-get when it is missing (needs root then)
	@command -v redis-server > /dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get > /dev/null || { \
	    echo "redis-server is missing, and only root can install it here: apt-get install redis-server" >&2; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server > /dev/null; }

bench: $(ENGINE) ## Measure; tables go to benches/results
	$(BIN)/python -m benches $(ARGS)

bench-check: $(TOOLS) ## Count the core's instructions; fails at 5 % more. ARGS=--renew makes the baseline
	$(BIN)/python -m benches.counts $(ARGS)

profile: $(ENGINE) ## Where the engine's processor time goes, by perf. ARGS=relay-16x16: another load
	$(BIN)/python -m benches.profile $(ARGS)

lint: lint-rust lint-python ## Formatting, clippy, ruff, mypy

lint-rust:
	cargo fmt --all --check
	cargo fmt --check --manifest-path tests/compat/rust/Cargo.toml
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

lint-python: $(TOOLS)
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy --no-error-summary

format: $(TOOLS) ## Rewrite the sources in the project's format
	cargo fmt --all
	cargo fmt --manifest-path tests/compat/rust/Cargo.toml
	$(BIN)/ruff check --quiet --fix
	$(BIN)/ruff format --quiet

docs: ## The Rust API documentation
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
	@echo "target/doc/iii_fast_core/index.html"

clean: ## Remove everything that was built or installed here
	rm -rf .venv $(CACHE) target build .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find python tests benches -name __pycache__ -prune -exec rm -rf {} +
	rm -f python/iii_fast/*.so

# The tools are what pyproject.toml names: its dependencies with all extras, and maturin, the build backend.
$(TOOLS): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@$(BIN)/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
	  extras = p["project"]["optional-dependencies"].values(); \
	  print(*p["build-system"]["requires"], *p["project"]["dependencies"], *(r for e in extras for r in e), sep="\n")' \
	  > .venv/tools.txt
	$(BIN)/python -m pip install -q -r .venv/tools.txt
	@touch $@

# Removed first: written over in place, the extension would crash an engine that runs on it.
$(ENGINE): $(TOOLS) $(RUST_SOURCES)
	rm -f python/iii_fast/_core.abi3.so
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/maturin develop --release --locked --quiet
	@touch $@

$(NODE_SDKS): tests/compat/node/package.json tests/compat/node/package-lock.json
	mkdir -p $(@D)
	cp $^ $(@D)
	cd $(@D) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(CACHE)/python-sdk-%/.installed: tests/compat/python/requirements-%.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -r $<
	@touch $@

$(RUST_SDK): tests/compat/rust/Cargo.toml tests/compat/rust/Cargo.lock tests/compat/rust/src/main.rs
	cargo build --locked --quiet --manifest-path tests/compat/rust/Cargo.toml --target-dir $(CACHE)/rust-sdk
	@touch $@
