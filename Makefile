# The only door. Every target says what it does; `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Arguments for `rapport up`: make run UP="--port-base 8000"
UP ?=
# make run DEMO=0: without the demo company
DEMO ?= 1
# Arguments for the fault bar: make faults FAULTS="--minutes 30 --seed 7"
FAULTS ?=
# Arguments for the test programs, such as a part of the tests' names: make test T="convergence"
T ?=
# How long make fuzz tries each target: make fuzz T=mail MINUTES=60
MINUTES ?= 10

# Always the whole workspace: a part of it would choose other features and build librdkafka again.
CARGO_BUILD := cargo build --workspace --locked
CARGO_TEST := cargo test --workspace --locked
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help run test check fuzz bench faults proto ci tools testtools stack

help: ## this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):[^#]*## /\1\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-8s %s\n' "$$name" "$$text"; done

run: tools ## set everything up, start it under .rapport/ with a demo company; Ctrl-C stops it, the data stay
	@echo "make: building Rapport (some minutes the first time)"
	@$(CARGO_BUILD) --bins
	@echo "make: starting Rapport"
	@exec $(TARGET)/debug/rapport up $(if $(filter 0,$(DEMO)),,--demo) $(UP)

test: testtools stack ## all tests, on a real Kafka and a real PostgreSQL that they start and stop
	@echo "make: running the tests"
	@$(CARGO_TEST) -- $(T)

check: tools ## format, lints, tidy tests and a short run of the fuzz targets
	@echo "make: is everything formatted?"
	@cargo fmt --all --check
	@echo "make: lints"
	@cargo clippy --workspace --all-targets --locked -- -D warnings
	@echo "make: tidy tests, and the fuzz targets for a short time"
	@$(CARGO_TEST) --test it -- tidy runbooks fuzz::

fuzz: tools ## fuzz each parser of outside bytes for MINUTES (10), or T=TARGET alone
	@tests/fuzz/run.sh $(MINUTES) $(T)

bench: tools ## benchmarks, each beside a limit measured in the same run
	@echo "make: building with optimizations (some minutes the first time)"
	@$(CARGO_BUILD) --release --bins
	@$(TARGET)/release/local-stack fetch
	@$(TARGET)/release/bench

faults: tools stack ## the fault bar: rounds of everything that can go wrong, on a fresh stack each, judged
	@echo "make: injecting faults"
	@$(TARGET)/debug/faults $(FAULTS)

proto: tools ## check the contract against the last release and renew its golden bytes
	@$(CARGO_BUILD) --examples
	@echo "make: comparing with the last release, then renewing the golden bytes: see git diff proto/golden"
	@$(TARGET)/debug/examples/golden

ci: check test ## what the gate runs

# Says what is missing, and installs it on Debian as root.
tools:
	@deploy/local/tools.sh run

testtools:
	@deploy/local/tools.sh test

# Builds what the tests start, and fetches Kafka and PostgreSQL once for all of them.
stack:
	@echo "make: building everything (some minutes the first time)"
	@$(CARGO_BUILD) --bins
	@$(TARGET)/debug/local-stack fetch
