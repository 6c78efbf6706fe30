#!/usr/bin/env bash
# A real Kubernetes API server for controller tests: etcd, kube-apiserver and, where it is found, kube-controller-manager, as plain
# processes on loopback. Looks for them in KUBEBUILDER_ASSETS, then on PATH.
#   e2e/apiserver.sh available     ends with 0 where the programs are found
#   e2e/apiserver.sh start DIR     starts them and waits until ready; DIR/kubeconfig is an administrator's
#   e2e/apiserver.sh stop DIR      ends what was started
set -euo pipefail

find_program() {
	if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$1" ]; then echo "$KUBEBUILDER_ASSETS/$1"; else command -v "$1"; fi
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
launch() { # name, arguments...
	local name=$1; shift
	nohup setsid "$(find_program "$name")" "$@" >"$dir/$name.log" 2>&1 </dev/null &
	echo $! >>"$dir/pids"
}

stop() {
	[ -e "$dir/pids" ] || return 0
	for pid in $(tac "$dir/pids"); do kill "$pid" 2>/dev/null || true; done
	for _ in $(seq 50); do
		left=0
		while read -r pid; do kill -0 "$pid" 2>/dev/null && left=1; done <"$dir/pids"
		[ $left = 1 ] || break
		sleep 0.1
	done
	[ $left = 0 ] || while read -r pid; do kill -9 "$pid" 2>/dev/null || true; done <"$dir/pids"
	rm -f "$dir/pids"
}

keys() {
	umask 077
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$dir/ca.key" -out "$dir/ca.crt" -subj /CN=apiserver-test -days 2 2>/dev/null
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$dir/server.key" -subj /CN=kube-apiserver 2>/dev/null |
		openssl x509 -req -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 2 -out "$dir/server.crt" -extfile <(echo subjectAltName=IP:127.0.0.1,DNS:localhost) 2>/dev/null
	openssl genrsa -out "$dir/service-account.key" 2048 2>/dev/null
	token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
	echo "$token,admin,admin,system:masters" >"$dir/tokens.csv"
}

kubeconfig() {
	cat >"$dir/kubeconfig" <<-X
		apiVersion: v1
		kind: Config
		current-context: test
		clusters: [{name: test, cluster: {server: "https://127.0.0.1:$api", certificate-authority: "$dir/ca.crt"}}]
		users: [{name: admin, user: {token: "$token"}}]
		contexts: [{name: test, context: {cluster: test, user: admin}}]
	X
}

start() {
	mkdir -p "$dir"; dir=$(cd "$dir" && pwd); : >"$dir/pids"
	keys
	local client peer; client=$(free_port) peer=$(free_port) api=$(free_port)
	launch etcd --data-dir "$dir/etcd" --unsafe-no-fsync --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
		--listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" --initial-cluster "default=http://127.0.0.1:$peer"
	launch kube-apiserver --etcd-servers "http://127.0.0.1:$client" --bind-address 127.0.0.1 --secure-port "$api" --authorization-mode RBAC --token-auth-file "$dir/tokens.csv" \
		--tls-cert-file "$dir/server.crt" --tls-private-key-file "$dir/server.key" --service-cluster-ip-range 10.96.0.0/16 \
		--service-account-issuer https://kubernetes.default.svc --service-account-key-file "$dir/service-account.key" --service-account-signing-key-file "$dir/service-account.key"
	for _ in $(seq 150); do
		if curl -sk -o /dev/null -f -H "Authorization: Bearer $token" "https://127.0.0.1:$api/readyz"; then ready=1; break; fi
		sleep 0.2
	done
	[ "${ready:-0}" = 1 ] || { tail -n 5 "$dir"/*.log >&2; stop; echo "the API server did not become ready" >&2; exit 1; }
	kubeconfig
	if find_program kube-controller-manager >/dev/null; then
		launch kube-controller-manager --kubeconfig "$dir/kubeconfig" --secure-port "$(free_port)" --bind-address 127.0.0.1 --cert-dir "$dir/manager" --leader-elect=false \
			--use-service-account-credentials --service-account-private-key-file "$dir/service-account.key" --root-ca-file "$dir/ca.crt" --controllers '*,-nodeipam,-nodelifecycle'
	fi
}

dir=${2:-}
case ${1:-} in
available) find_program etcd >/dev/null && find_program kube-apiserver >/dev/null ;;
start) [ -n "$dir" ] && start ;;
stop) [ -n "$dir" ] && stop ;;
*) sed -n '2,6s/^# *//p' "$0" >&2; exit 2 ;;
esac
