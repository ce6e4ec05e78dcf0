#!/usr/bin/env bash
# Runs every fuzz target for some seconds (20 unless the first argument says otherwise), or those named behind it:
#     fuzz/run.sh [SECONDS_PER_TARGET [TARGET…]]
# Needs cargo-fuzz (`cargo install cargo-fuzz --locked`), a C++ compiler and Python; a stable toolchain will do.
# Seeds are made anew, in a directory of their own; FUZZ_CORPUS=DIRECTORY keeps what the fuzzer adds to them. A
# finding's input is left in fuzz/artifacts, and makes the exit status 1. FUZZ_RUNS=COUNT runs each target as many times
# in place of for some seconds: the same inputs on a slow machine as on a fast one.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-20}
shift || true
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
  for source in fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$source" .rs)"); done
fi

# cargo-fuzz asks for unstable options of the compiler, even where none is used.
export RUSTC_BOOTSTRAP=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
corpus=${FUZZ_CORPUS:-$work/corpus}
python3 fuzz/seeds.py "$corpus"

begin=$SECONDS
cargo fuzz build --sanitizer none
echo "built in $((SECONDS - begin)) s"

failed=0
for target in "${targets[@]}"; do
  until=-max_total_time=$seconds
  if [ -n "${FUZZ_RUNS:-}" ]; then until=-runs=$FUZZ_RUNS; fi
  options=(-seed=1 "$until" -max_len=4096 -timeout=60 -rss_limit_mb=2048 -print_final_stats=1)
  if [ -f "fuzz/dictionaries/$target" ]; then options+=(-dict="fuzz/dictionaries/$target"); fi
  status=0
  cargo fuzz run --sanitizer none "$target" "$corpus/$target" -- "${options[@]}" \
    >"$work/$target.log" 2>&1 || status=$?
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target.log")
  covered=$(grep -o 'cov: [0-9]*' "$work/$target.log" | tail -1 || true)
  inputs=$(find "$corpus/$target" -type f | wc -l)
  if [ "$status" = 0 ]; then
    printf '%-8s %9s executions, %s, %s inputs, no finding\n' "$target" "$executions" "$covered" "$inputs"
  else
    printf '%-8s %9s executions, %s: A FINDING\n' "$target" "$executions" "$covered"
    tail -40 "$work/$target.log"
    failed=1
  fi
done
exit $failed
