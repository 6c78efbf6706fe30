# The two commands a newcomer needs are `make run` and `make test`; `make help` lists the rest.
SHELL        := /bin/bash
.SHELLFLAGS  := -euo pipefail -c
VERSION      := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
IMAGE_PREFIX ?= ghcr.io/dunlin
TARGET       := $(or $(CARGO_TARGET_DIR),target)
CARGO        ?= cargo

.PHONY: help build run test e2e bench bench-micro verify fix crds images push clean

help: ## what there is
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

build: ## the release binaries
	$(CARGO) build --workspace --release --bins

run: build ## three brokers on this machine from examples/quickstart, until Ctrl-C
	$(TARGET)/release/mqtt-operator local up -f examples/quickstart/

test: ## unit, golden and property tests, controllers, real brokers and clients on loopback
	./e2e/test.sh

e2e: ## the tests on kind: images, chart, upgrade under traffic, node loss
	./e2e/kind.sh

bench: build ## the figures: CPU per message beside Mosquitto, edit to enforced, operator memory
	./e2e/bench.sh

bench-micro: ## decode, encode, match, rights, without sockets (ARGS='-- decode' selects)
	$(CARGO) bench --package broker-core --bench micro $(ARGS)

verify: ## read-only checks: format, lints, docs, layers, licences, generated files
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet
	$(CARGO) run --quiet -p xtask -- tidy
	$(CARGO) run --quiet -p xtask -- crds --check
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --offline check licenses bans sources; \
	else echo "cargo-deny is not installed: licences were not checked (cargo install cargo-deny)"; fi
	@if command -v helm >/dev/null; then ./charts/golden.sh --check; \
	else echo "helm is not installed: the chart was not checked"; fi

fix: ## format, and write the generated files anew
	$(CARGO) fmt --all
	$(CARGO) run --quiet -p xtask -- crds
	@if command -v helm >/dev/null; then ./charts/golden.sh; fi

crds: ## write crds/*.yaml from the Rust types
	$(CARGO) run --quiet -p xtask -- crds

images: build ## the images mqtt-broker and mqtt-operator, from the release binaries
	./images/build.sh $(TARGET)/release/mqtt-broker $(IMAGE_PREFIX)/mqtt-broker:$(VERSION)
	./images/build.sh $(TARGET)/release/mqtt-operator $(IMAGE_PREFIX)/mqtt-operator:$(VERSION)

push: images ## push both images to IMAGE_PREFIX
	docker push $(IMAGE_PREFIX)/mqtt-broker:$(VERSION)
	docker push $(IMAGE_PREFIX)/mqtt-operator:$(VERSION)

clean: ## remove what was built
	$(CARGO) clean
