#!/usr/bin/env bash
# For `make verify`: what it needs that rustup doesn't bring. A check that can't run is a failure, not a line that scrolls by.
#   xtask/verify-tools.sh [deny] [helm] [machete]   ends with 1 where a program is missing; those named are left out
#   xtask/verify-tools.sh advisories                prints "advisories" where cargo-deny has a database of them
set -euo pipefail

if [ "${1:-}" = advisories ]; then
	if compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-db*/*/" >/dev/null; then echo advisories
	else echo "no advisory database: advisories are not checked (cargo deny fetch db)" >&2; fi
	exit
fi

for word in "$@"; do
	case $word in
	deny | helm | machete) ;;
	*) echo "VERIFY_WITHOUT takes deny, helm and machete, not $word" >&2; exit 2 ;;
	esac
done
missing=0
need() { # word, program, how to install it
	case " $left_out " in *" $1 "*) echo "left out, by VERIFY_WITHOUT: $2"; return ;; esac
	command -v "$2" >/dev/null && return
	echo "make verify needs $2: $3 (or leave its checks out: make verify VERIFY_WITHOUT=$1)" >&2
	missing=1
}
left_out=$*
need deny cargo-deny 'cargo install --locked cargo-deny'
need helm helm 'curl -fsSL https://raw.githubusercontent.com/helm/helm/main/scripts/get-helm-3 | bash'
exit $missing
