# The commands of this project. `make sandbox` and `make test` do everything on a fresh machine with Rust.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.PHONY: help setup build sandbox test check contract bench mutants
ARGS ?=
CARGO ?= cargo

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## list what is missing on this machine, and install it
	@deploy/setup

build: setup
	$(CARGO) build --workspace --bins

sandbox: build ## upgrade a ledger in a temporary folder, with clients that write; approves; ARGS="--help" shows its flags
	@target/debug/cutover sandbox --yes $(filter-out --yes,$(ARGS))

test: build ## every test; says what the fault tiers did, and how many could not run here
	@rm -rf target/tiers
	@$(CARGO) test --workspace 2>&1 | tee target/test.log
	@cat target/tiers/*
	@echo "skipped: $$(grep -c '^SKIPPED' target/test.log || true)"

check: setup ## formatting and lints
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

contract: setup ## assert the ledger's measured behaviours against a binary: BIN=path VERSION=1.4.6 [ARGS="--from-bin path"]
	$(CARGO) run -q -p cutover-ledger-simulator --bin contract -- --bin $(BIN) --version $(VERSION) $(ARGS)

bench: setup ## figures with their ratios
	deploy/bench

mutants: setup ## break each invariant once by name, and see its test fail
	tests/mutants/run
