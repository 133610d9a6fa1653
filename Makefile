# Everything a fresh Debian or Ubuntu machine with Rust, git, make and a C
# compiler needs is installed from here; each step says what it could not do.

SHELL := /bin/bash
CARGO ?= cargo
LISTEN ?= 127.0.0.1:8600

.PHONY: help run serve test lint docs book screenshots browser tools slurm models check-cuda test-cuda bench bench-training bench-oracle dist clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

run: ## Start the demo: two governed training runs, an adversary, a market on each
	$(CARGO) run --release --locked --bin plumbline -- demo --listen $(LISTEN)

serve: ## Start an empty service
	$(CARGO) run --release --locked --bin plumbline -- serve --listen $(LISTEN)

# Incremental data would double what a full test leaves on the disk, and a
# clean clone builds everything once.
test lint: export CARGO_INCREMENTAL = 0
test: browser tools slurm lint ## Everything that must hold: lints, unit, property, system and browser tests, docs
	$(CARGO) build --locked --bin plumbline
	$(CARGO) test --locked --workspace --no-fail-fast
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet
	scripts/advisories.sh

lint: ## Formatting, clippy
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

browser: ## Install the headless browser that the page tests drive
	@scripts/install-browser.sh

tools: ## Install curl, jq, b3sum and Python's venv, which examples and tests use
	@scripts/install-shell-tools.sh

slurm: ## Install the Slurm daemons that the tests of its enforcer start on loopback
	@scripts/install-slurm.sh

models: ## Fetch the optional models: a sentence encoder and a small language model
	scripts/models.sh

check-cuda: ## Compile the program for CUDA devices; needs nvcc, and CUDA_COMPUTE_CAP without a GPU (docs/nodes.md)
	$(CARGO) check --locked --features cuda --bin plumbline

test-cuda: ## Compare training on the first GPU with the CPU's kernels
	$(CARGO) test --locked --features cuda -p plumbline-training-model --lib -- mixed

docs: ## Build the API documentation of every crate
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --open

screenshots: browser ## Take the pictures of every page in docs/images/pages again
	$(CARGO) build --locked --bin plumbline
	$(CARGO) run --locked --package plumbline-tests --example screenshots

book: ## Write docs/ as a site to target/book; installs mdbook if it is missing
	@command -v mdbook >/dev/null || $(CARGO) install mdbook --locked
	mdbook build docs

bench: ## Durable trades per second beside SQLite's own ceiling
	$(CARGO) run --release --locked --bin plumbline -- bench trades

bench-training: ## Training speed beside the same model in PyTorch, in one run
	bench/run_training.sh

bench-oracle: ## The encoder beside ONNX Runtime, the language model beside llama.cpp, in turns
	bench/run_oracle.sh

dist: ## A release binary for any x86-64-v3 machine
	RUSTFLAGS="-C target-cpu=x86-64-v3" $(CARGO) build --release --locked --bin plumbline --target-dir target/dist

clean: ## Remove build outputs
	$(CARGO) clean
