# Seawall. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/seawall
# One build tree for all clones, outside of them, so that a fresh clone compiles our own crates only.
export CARGO_TARGET_DIR ?= $(CACHE)/target
export SEAWALL_COMMIT ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)
TARGET := x86_64-unknown-linux-gnu
RELEASE := $(CARGO_TARGET_DIR)/$(TARGET)/release
# RocksDB is compiled once per version into the cache; every cargo call below needs it.
CARGO := ROCKSDB_LIB_DIR="$$(packaging/build/rocksdb-cache)" cargo
# Arguments of `seawall demo`, as in: make run ARGS="--listen 127.0.0.1:0"
ARGS ?= --data /tmp/seawall-demo
SCENARIO ?=

.PHONY: help setup setup-test setup-bench build run test fmt lint unit programs suites crash soak bench dist profiled man clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what a fresh Debian 12 lacks for building and testing
	@packaging/build/setup

setup-test: setup
	@packaging/build/setup test

setup-bench: setup
	@packaging/build/setup test bench

build: setup ## Build the release binary, target/seawall
	$(CARGO) build --release --locked -p seawall-appliance --bin seawall
	@mkdir -p target && ln -sf "$(RELEASE)/seawall" target/seawall

run: build ## Build and start a server with a demo game; prints URLs, keys and a walk-through
	target/seawall demo $(ARGS)

test: setup-test fmt lint unit suites ## Everything that must pass before a change goes in
	@echo "all tests passed"

fmt: ## Check the formatting
	cargo fmt --all --check

lint: ## Clippy, no warning allowed
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

unit: ## Unit tests and the Rust suites
	$(CARGO) build --release --locked --workspace --bins
	SEAWALL_BIN="$(RELEASE)/seawall" packaging/build/cargo-tests

programs: # Every program in the release profile, and the one with faults on demand, which is never shipped
	$(CARGO) build --release --locked --workspace --bins
	$(CARGO) build --release --locked -p seawall-appliance --features faults --bin seawall-faults

suites: programs ## Suites that drive the release binary from outside
	packaging/build/suites "$(RELEASE)/seawall" "$(RELEASE)/generate-accounts"

crash: setup-test programs ## Kills, power cuts, broken disks; one with SCENARIO=power-cut, long with SEAWALL_SOAK=1
	SEAWALL_BIN="$(RELEASE)/seawall" SCENARIO="$(SCENARIO)" "$(RELEASE)/crash-rig"

soak: setup-test programs ## The long runs: more kills, more accounts, fuzzing for a bounded time
	SEAWALL_SOAK=1 packaging/build/suites "$(RELEASE)/seawall" "$(RELEASE)/generate-accounts"

bench: setup-bench dist ## Benchmarks beside their peers; one with SCENARIO=verify-hot
	@mkdir -p target/bench
	$(CARGO) build --profile dist --locked -p seawall-bench --bin bench
	"$(CARGO_TARGET_DIR)/$(TARGET)/dist/bench" run --seawall target/dist/seawall --out target/bench $(SCENARIO)

dist: setup ## The binary to ship: link-time optimised, stripped, checked to be static and small
	$(CARGO) build --profile dist --locked -p seawall-appliance --bin seawall
	@mkdir -p target/dist
	cp "$(CARGO_TARGET_DIR)/$(TARGET)/dist/seawall" target/dist/seawall
	packaging/build/check-binary target/dist/seawall

profiled: setup-bench ## The binary to ship, built by the profile of a training run: two builds and some benches
	packaging/build/profile-guided target/dist/seawall

man: ## Man pages, completions and the annotated settings file, into target/doc
	$(CARGO) build --release --locked -p seawall-appliance --bin seawall
	@mkdir -p target/doc
	"$(RELEASE)/seawall" man --dir target/doc/man
	"$(RELEASE)/seawall" config reference >target/doc/settings.md
	"$(RELEASE)/seawall" config reference --format file >target/doc/seawall.toml

clean: ## Remove build output of this clone (not the shared cache)
	rm -rf target
