#!/usr/bin/env bash
# `make e2e`: builds the images, creates the kind cluster of kind-config.yaml, runs the scenarios of e2e/src/kind, deletes the cluster.
#   KIND_NODE_IMAGE   the node image (kind's own default when unset)
#   E2E_KEEP=1        keep the cluster afterwards and use it again at the next run
#   E2E_ONLY=a,b      run only the scenarios whose names contain one of these words (the installation always runs)
#   E2E_EDITS=100     how many edits of a rule are timed
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}; mkdir -p "$target"; target=$(cd "$target" && pwd)
for program in kind kubectl helm docker; do
	command -v "$program" >/dev/null || { echo "make e2e needs $program on PATH" >&2; exit 1; }
done
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
next=$version-next.1
broken=$version-broken.1
images=$target/e2e-images
prefix=ghcr.io/dunlin # the names in the manifests and the chart; nothing is pushed or pulled

echo "== building $version and $next"
mkdir -p "$images/$next"
DUNLIN_VERSION=$next "$cargo" build --workspace --release --bin mqtt-broker
install -m 755 "$target/release/mqtt-broker" "$images/$next/mqtt-broker"
"$cargo" build --workspace --release --bins
./images/build.sh "$images/$next/mqtt-broker" "$prefix/mqtt-broker:$next"
./images/build.sh "$target/release/mqtt-broker" "$prefix/mqtt-broker:$version"
./images/build.sh "$target/release/mqtt-operator" "$prefix/mqtt-operator:$version"
# A broker that starts and never becomes ready: another program, which does not know a broker's arguments.
mkdir -p "$images/$broken"
install -m 755 "$target/release/mqtt-operator" "$images/$broken/mqtt-broker"
./images/build.sh "$images/$broken/mqtt-broker" "$prefix/mqtt-broker:$broken"

cluster=$(sed -n 's/^name: *//p' kind-config.yaml)
export KUBECONFIG=$target/e2e-kubeconfig
# What an interrupted run left may not run any more.
[ "${E2E_KEEP:-0}" = 1 ] || kind delete cluster --name "$cluster"
if ! kind get clusters 2>/dev/null | grep -qx "$cluster"; then
	kind create cluster --config kind-config.yaml ${KIND_NODE_IMAGE:+--image "$KIND_NODE_IMAGE"} --wait 180s
else
	kind export kubeconfig --name "$cluster"
fi
[ "${E2E_KEEP:-0}" = 1 ] || trap 'kind delete cluster --name "$cluster"' EXIT
kind load docker-image --name "$cluster" "$prefix/mqtt-broker:$version" "$prefix/mqtt-broker:$next" "$prefix/mqtt-broker:$broken" "$prefix/mqtt-operator:$version"

"$target/release/dunlin-e2e" kind --version "$version" --next-version "$next" --broken-version "$broken" --edits "${E2E_EDITS:-100}" --only "${E2E_ONLY:-}"
