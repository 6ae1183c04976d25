# The ways in. Each target says what it does; `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup up down build test check bench torture test-vm clean

TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
TENURE := $(TARGET)/release/tenure

# Where tests that cannot run on this host leave their reason; see scripts/skips.sh.
export SKIP_LOG := $(TARGET)/skipped.txt

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name what; do printf '  make %-8s  %s\n' "$$name" "$$what"; done

setup: ## install what is missing (apt; root or sudo), otherwise say what is
	@scripts/setup.sh

build: ## build everything for use
	cargo build --release --locked --workspace

up: setup build ## build, start the server in the background, say its URL and its administrator's key
	@scripts/up.sh "$(TENURE)"

down: ## stop the server; sessions live on
	@scripts/down.sh

test: setup ## all tests; at the end those that could not run, and why
	@mkdir -p "$(TARGET)" && : >"$(SKIP_LOG)"
	@status=0; cargo test --locked --workspace -- --show-output 2>&1 | tee "$(TARGET)/test.log" || status=$$?; \
		scripts/skips.sh "$(TARGET)/test.log" || status=1; exit $$status
	cargo build --locked --package tenure
	scripts/api-check.sh "$(TARGET)/debug/tenure" "$(TARGET)"

check: ## formatting, lints, and the rules of the house
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo xtask check

bench: setup build ## the benchmarks, peers included where they are installed
	cargo run --release --locked --package bench

torture: build ## kill the server under load, with every fault: 2,000 times, or for SECONDS
	"$(TARGET)/release/torture" --tenure "$(TENURE)" --kills $(or $(KILLS),2000) --seconds $(or $(SECONDS),7200) \
		$(if $(SEED),--seed $(SEED)) --points --tear --keeper --agents --fsync --fill --clock

test-vm: build ## the tests on another kernel, in a virtual machine; not part of `make test`
	tests/vm/run.sh

clean: ## remove everything that was built
	cargo clean
