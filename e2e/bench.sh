#!/usr/bin/env bash
# `make bench`: the figures of docs/figures.md, on loopback. First the broker beside Mosquitto, then the operator.
#   e2e/bench.sh [compare [ARGUMENTS of `mqtt-bench compare`] | operator [ARGUMENTS of `dunlin-e2e bench`]]
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
part=${1:-all}
[ $# -eq 0 ] || shift
compare() { "$target/release/mqtt-bench" compare --binaries "$target/release" "$@"; }
operator() { "$target/release/dunlin-e2e" bench --binaries "$target/release" "$@"; }
case $part in
all) compare && operator ;;
compare) compare "$@" ;;
operator) operator "$@" ;;
*) echo "usage: e2e/bench.sh [compare [ARGUMENTS] | operator [ARGUMENTS]]; see --help of either" >&2 && exit 2 ;;
esac
