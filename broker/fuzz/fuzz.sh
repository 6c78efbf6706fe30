#!/usr/bin/env bash
# `make fuzz SECONDS=60`: every fuzz target for so long, two at a time. Fails when one does.
#   SEED=7            other random choices
#   TARGETS="decode"  only these
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${FUZZ_SECONDS:-60} seed=${SEED:-$RANDOM}
target=${CARGO_TARGET_DIR:-target}; mkdir -p "$target"; target=$(cd "$target" && pwd)/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
failures=$target/failures

# The compiler's own coverage pass, which stable Rust has; --target keeps it out of build scripts.
export RUSTFLAGS="-C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=3 -C llvm-args=-sanitizer-coverage-inline-8bit-counters"
"${CARGO:-cargo}" build --quiet --package broker-fuzz --profile fuzz --target "$host" --target-dir "$target"
program=$target/$host/fuzz/broker-fuzz

read -ra targets <<<"${TARGETS:-$("$program" list | tr '\n' ' ')}"
echo "== fuzz: ${targets[*]}, $seconds s each, SEED=$seed"
status=0
for ((at = 0; at < ${#targets[@]}; at += 2)); do
	running=()
	for name in "${targets[@]:at:2}"; do
		"$program" run "$name" --seconds "$seconds" --seed "$seed" --folder "$failures" &
		running+=($!)
	done
	for process in "${running[@]}"; do wait "$process" || status=1; done
done
exit "$status"
