#!/usr/bin/env bash
# `make bench`: the figures of docs/figures.md, on loopback. The broker beside Mosquitto, a cluster of three, a million messages that wait, 100,000 filters, then the operator.
#   e2e/bench.sh [compare [ARGUMENTS of `mqtt-bench compare`] | cluster [ARGUMENTS of `mqtt-bench cluster`] | queued [ARGUMENTS of `mqtt-bench queued`] | interest [ARGUMENTS of `mqtt-bench interest`] | operator [ARGUMENTS of `dunlin-e2e bench`]]
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
part=${1:-all}
[ $# -eq 0 ] || shift
compare() { "$target/release/mqtt-bench" compare --binaries "$target/release" "$@"; }
cluster() { "$target/release/mqtt-bench" cluster --binaries "$target/release" "$@"; }
queued() { "$target/release/mqtt-bench" queued --binaries "$target/release" "$@"; }
interest() { "$target/release/mqtt-bench" interest --binaries "$target/release" "$@"; }
operator() { "$target/release/dunlin-e2e" bench --binaries "$target/release" "$@"; }
case $part in
all) compare && cluster && queued --resident-max 300000000 --restart-max 5 && interest --known-max 2 && operator ;;
compare) compare "$@" ;;
cluster) cluster "$@" ;;
queued) queued "$@" ;;
interest) interest "$@" ;;
operator) operator "$@" ;;
*) echo "usage: e2e/bench.sh [compare [ARGUMENTS] | cluster [ARGUMENTS] | queued [ARGUMENTS] | interest [ARGUMENTS] | operator [ARGUMENTS]]; see --help of either" >&2 && exit 2 ;;
esac
