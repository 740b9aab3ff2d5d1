# The commands of this project. `make sandbox` and `make test` do everything on a fresh machine with Rust.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.PHONY: help setup build sandbox test check contract bench mutants hosts model
ARGS ?=
N ?= 3
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## list what is missing on this machine, and install it
	@deploy/setup

build: setup
	$(CARGO) build --workspace --bins

sandbox: build ## upgrade a ledger in a temporary folder, with clients that write; approves; ARGS="--help" shows its flags
	@$(TARGET)/debug/cutover sandbox --yes $(filter-out --yes,$(ARGS))

test: setup ## every test; says what the fault tiers did, and how many could not run here
	@rm -rf $(TARGET)/tiers; mkdir -p $(TARGET)
	@$(CARGO) test --workspace 2>&1 | tee $(TARGET)/test.log
	@cat $(TARGET)/tiers/*
	@echo "skipped: $$(grep -c '^SKIPPED' $(TARGET)/test.log || true)"

check: setup ## formatting, lints, and documentation without a broken link
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

contract: setup ## assert the ledger's measured behaviours against a binary: BIN=path VERSION=1.4.6 [ARGS="--from-bin path"]
	$(CARGO) run -q -p cutover-ledger-simulator --bin contract -- --bin $(BIN) --version $(VERSION) $(ARGS)

bench: setup ## figures with their ratios
	deploy/bench

mutants: setup ## break each invariant once by name, and see its test fail
	tests/mutants/run

hosts: build ## N=5 boots hosts with a real systemd each, as root; says how to get a shell on them
	@$(TARGET)/debug/hosts $(N)

model: setup ## every state with two crashes; prints states and CPU time of each configuration
	CUTOVER_MODEL_DEPTH=2 $(CARGO) test -p cutover-tests --test model -- --nocapture whatever_is_lost
