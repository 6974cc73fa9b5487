# Thin: each target names the script or program that does the work and explains itself.

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench sim soak clean-tools

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

help: ## these lines
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 22

demo: tools ## the main job on a real PC/SC daemon: a day from load to settlement, with torn payments recovered
	@echo "building the programs (minutes the first time) …"
	@scripts/with-env cargo build --locked --quiet --workspace --bins
	@scripts/with-env scripts/private-pcscd $(TARGET_DIR)/debug/demo

test: tools ## every suite, with its time and budget (SUITES="unit simulation" for some)
	@scripts/with-env scripts/check test $(SUITES)

lint: build-tools bare-metal-tools ## fmt, clippy, rustdoc, bare metal, tidy
	@scripts/with-env scripts/check lint

bench: tools ## measurements as one table and target/bench/bench.json (ROWS="B1 B3" for some)
	@scripts/with-env cargo run --locked --quiet --release -p tests --bin bench -- $(ROWS)

sim: build-tools ## deterministic simulation with faults (SEEDS=0..1000; a failing seed is replayed by SEEDS=n..n+1)
	@scripts/with-env cargo run --locked --quiet -p tests --bin sim -- $(SEEDS)

soak: build-tools ## an hour of simulated histories that nobody played before (SOAK_S=600 for less)
	@scripts/with-env cargo run --locked --quiet -p tests --bin sim -- --soak $(or $(SOAK_S),3600)

clean-tools: ## remove what was fetched
	rm -rf .tools

.PHONY: tools build-tools bare-metal-tools
bare-metal-tools:
	@scripts/fetch-tools bare-metal

build-tools:
	@scripts/fetch-tools build

tools:
	@scripts/fetch-tools
	@[ ! -x scripts/python-env ] || scripts/python-env
