#!/usr/bin/env bash
# `make test`: every test that needs no Kubernetes cluster. Uses what it finds (a Kubernetes API server's programs, Python, Node.js,
# mosquitto's clients) and says what it did not find.
#   DUNLIN_TEST_REQUIRE=all   a test that would be left out for that fails
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}; mkdir -p "$target"; target=$(cd "$target" && pwd)

if python3 -c 'import venv, ensurepip' 2>/dev/null; then
	venv=$target/python
	if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import paho.mqtt' 2>/dev/null; then
		echo "== Python clients: installing paho-mqtt"
		python3 -m venv "$venv"
		"$venv/bin/pip" install --quiet --disable-pip-version-check 'paho-mqtt>=2.1,<3' || echo "== paho-mqtt could not be installed: its tests are left out"
	fi
	if "$venv/bin/python" -c 'import paho.mqtt' 2>/dev/null; then export DUNLIN_TEST_PYTHON=$venv/bin/python; fi
fi
[ -n "${DUNLIN_TEST_PYTHON:-}" ] || echo "== no Python with paho-mqtt: its tests are left out"
if command -v npm >/dev/null && command -v node >/dev/null; then
	node=$target/node
	mkdir -p "$node"
	if ! cmp -s e2e/node/package.json "$node/package.json" || [ ! -d "$node/node_modules/mqtt" ]; then
		echo "== Node.js client: installing MQTT.js"
		cp e2e/node/package.json "$node/package.json"
		npm install --prefix "$node" --no-audit --no-fund --silent || echo "== MQTT.js could not be installed: its tests are left out"
	fi
	if [ -d "$node/node_modules/mqtt" ]; then export DUNLIN_TEST_NODE=$node; fi
fi
[ -n "${DUNLIN_TEST_NODE:-}" ] || echo "== no Node.js with MQTT.js: its tests are left out"
command -v mosquitto_pub >/dev/null || echo "== mosquitto_pub, mosquitto_sub and mosquitto_rr are not installed: their tests are left out"

if previous=$(./e2e/previous.sh); then
	export DUNLIN_PREVIOUS_BROKER=$previous
else
	echo "== mqtt-broker of the version before could not be built: its test is left out"
fi

if ./e2e/apiserver.sh available; then
	echo "== a real Kubernetes API server"
	api=$(mktemp -d)
	trap './e2e/apiserver.sh stop "$api"; rm -rf "$api"' EXIT
	./e2e/apiserver.sh start "$api"
	export DUNLIN_TEST_APISERVER=$api/kubeconfig
else
	echo "== etcd and kube-apiserver were not found (KUBEBUILDER_ASSETS, PATH): controllers meet the mock API server only"
fi

echo "== building"
"$cargo" test --workspace --no-run --quiet
echo "== tests"
"$cargo" test --workspace --no-fail-fast
