# The two commands a newcomer needs are `make run` and `make test`; `make help` lists the rest.
SHELL        := /bin/bash
.SHELLFLAGS  := -euo pipefail -c
VERSION      := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
IMAGE_PREFIX ?= ghcr.io/dunlin
TARGET       := $(or $(CARGO_TARGET_DIR),target)
CARGO        ?= cargo
# What `make verify` leaves out although it is not installed: VERIFY_WITHOUT="deny helm".
VERIFY_WITHOUT ?=
# How long each fuzz target runs: make fuzz SECONDS=600.
SECONDS ?= 60
# How many seeds are simulated, from which on: make sim SEEDS=1000 SEED=5000.
SEEDS ?= 1000
SEED ?= 1
# How many faults real brokers meet: make chaos FAULTS=300 SEED=7.
FAULTS ?= 300
# `make images VERSION=0.1.1` builds a broker that says 0.1.1, as the image's tag does.
ifeq ($(origin VERSION),command line)
export DUNLIN_VERSION := $(VERSION)
endif

.PHONY: help build run test sim chaos fuzz e2e bench bench-micro verify fix crds images push clean

help: ## what there is
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

build: ## the release binaries
	$(CARGO) build --workspace --release --bins

run: build ## three brokers on this machine from examples/quickstart, until Ctrl-C
	$(TARGET)/release/mqtt-operator local up -f examples/quickstart/

test: ## unit, golden and property tests, controllers, real brokers and clients on loopback
	./e2e/test.sh

sim: ## clusters under virtual time and seeded faults (SEEDS=1000 SEED=1)
	$(CARGO) build --workspace --release --bins
	$(TARGET)/release/broker-sim --seed $(SEED) --seeds $(SEEDS) --jobs $$(nproc)

chaos: ## real brokers, partitions, kills and clients that count (FAULTS=300 SEED=1)
	$(CARGO) build --workspace --release --bins
	$(TARGET)/release/dunlin-e2e chaos --binaries $(TARGET)/release --faults $(FAULTS) --seed $(SEED)

fuzz: ## every fuzz target for a minute (SECONDS=600), two at a time
	FUZZ_SECONDS=$(SECONDS) ./broker/fuzz/fuzz.sh

e2e: ## the tests on kind: images, chart, upgrade under traffic, node loss
	./e2e/kind.sh

bench: build ## the figures: CPU per message beside Mosquitto, a cluster's costs and failover, edit to enforced
	./e2e/bench.sh

bench-micro: ## decode, encode, match, rights, without sockets (ARGS='-- decode' selects)
	$(CARGO) bench --package broker-core --bench micro $(ARGS)

verify: ## read-only checks: format, lints, docs, layers, conformance, licences, advisories, generated files
	@./xtask/verify-tools.sh $(VERIFY_WITHOUT)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet
	$(CARGO) xtask tidy
	$(CARGO) xtask conformance
	$(CARGO) xtask crds --check
ifeq ($(filter deny,$(VERIFY_WITHOUT)),)
	$(CARGO) deny --offline check licenses bans sources $$(./xtask/verify-tools.sh advisories)
endif
ifeq ($(filter machete,$(VERIFY_WITHOUT)),)
	@if command -v cargo-machete >/dev/null; then $(CARGO) machete; \
	else echo "cargo-machete is not installed: unused dependencies were not looked for (cargo install --locked cargo-machete)"; fi
endif
ifeq ($(filter helm,$(VERIFY_WITHOUT)),)
	./charts/golden.sh --check
endif

fix: ## format, and write the generated files anew
	$(CARGO) fmt --all
	$(CARGO) xtask crds
	@if command -v helm >/dev/null; then ./charts/golden.sh; fi

crds: ## write crds/*.yaml from the Rust types
	$(CARGO) xtask crds

images: build ## both images, from the release binaries (VERSION=… for another one)
	./images/build.sh $(TARGET)/release/mqtt-broker $(IMAGE_PREFIX)/mqtt-broker:$(VERSION)
	./images/build.sh $(TARGET)/release/mqtt-operator $(IMAGE_PREFIX)/mqtt-operator:$(VERSION)

push: images ## push both images to IMAGE_PREFIX
	docker push $(IMAGE_PREFIX)/mqtt-broker:$(VERSION)
	docker push $(IMAGE_PREFIX)/mqtt-operator:$(VERSION)

clean: ## remove what was built
	$(CARGO) clean
