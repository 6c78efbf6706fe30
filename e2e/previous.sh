#!/usr/bin/env bash
# Builds mqtt-broker of the version before this one, once, and prints the program's path: of the last tag before this commit, or of the
# commit that e2e/PREVIOUS names where there is no tag.
#   DUNLIN_PREVIOUS_BROKER=PATH   another program, which is taken as it is
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -n "${DUNLIN_PREVIOUS_BROKER:-}" ]; then echo "$DUNLIN_PREVIOUS_BROKER"; exit; fi
cargo=${CARGO:-cargo}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/dunlin/previous

named=$(git describe --tags --abbrev=0 HEAD^ 2>/dev/null || sed 's/#.*//' e2e/PREVIOUS | tr -d '[:space:]')
commit=$(git rev-parse --verify --quiet "$named^{commit}") || {
	git fetch --quiet --depth 1 origin "$named" 2>/dev/null || true
	commit=$(git rev-parse --verify --quiet "$named^{commit}") || { echo "the version before, $named, is not in this repository: fetch its history (git fetch --unshallow --tags)" >&2; exit 1; }
}

program=$cache/$commit/mqtt-broker
if [ ! -x "$program" ]; then
	echo "== building mqtt-broker of $named ($commit)" >&2
	work=$(mktemp -d)
	trap 'git worktree remove --force "$work/source" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
	git worktree add --quiet --detach "$work/source" "$commit"
	(cd "$work/source" && CARGO_TARGET_DIR=$work/target "$cargo" build --quiet --workspace --bin mqtt-broker) >&2
	mkdir -p "$cache/$commit"
	strip -o "$program.new" "$work/target/debug/mqtt-broker" 2>/dev/null || cp "$work/target/debug/mqtt-broker" "$program.new"
	mv "$program.new" "$program"
fi
echo "$program"
