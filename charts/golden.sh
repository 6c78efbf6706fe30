#!/usr/bin/env bash
# Renders the chart for each file in charts/golden/*.values.yaml and writes (or, with --check, compares) the result beside it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
chart=$here/mqtt-operator
helm lint --strict "$chart" >/dev/null || { helm lint --strict "$chart"; exit 1; }
stale=0
for values in "$here"/golden/*.values.yaml; do
	want=${values%.values.yaml}.golden.yaml
	got=$(helm template mqtt-operator "$chart" --namespace dunlin-system --kube-version 1.34.0 --values "$values")
	if [ "${1:-}" = --check ]; then
		diff -u "$want" <(echo "$got") || { echo "$(basename "$want") is stale: run 'make fix' and read the difference" >&2; stale=1; }
	else echo "$got" >"$want"; fi
done
exit $stale
