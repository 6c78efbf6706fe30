#!/usr/bin/env bash
# `make bench`: the figures of docs/figures.md, on loopback. Arguments go to `dunlin-e2e bench` (see --help).
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
exec "$target/release/dunlin-e2e" bench --binaries "$target/release" "$@"
