#!/usr/bin/env bash
# Runs every fuzz target for some seconds (20 unless the first argument says otherwise), or those named behind it:
#     fuzz/run.sh [SECONDS_PER_TARGET [TARGET…]]
# Needs cargo-fuzz (`cargo install cargo-fuzz --locked`), a C++ compiler and Python; a stable toolchain will do.
# Seeds are made anew, in a directory of their own; FUZZ_CORPUS=DIRECTORY keeps what the fuzzer adds to them, and
# FUZZ_SEED=NUMBER begins another way. A finding is printed with its input (base64), which is left in
# fuzz/libfuzzer/artifacts, and makes the exit status 1.
# FUZZ_MUTATED=COUNT does not search: each target gets its seeds and COUNT mutations of them, the same ones wherever
# it runs, so that a change which passed here passes there. This needs neither cargo-fuzz nor a C++ compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-20}
shift || true
targets=("$@")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
corpus=${FUZZ_CORPUS:-$work/corpus}
python3 fuzz/seeds.py "$corpus" "${FUZZ_MUTATED:-0}"

if [ -n "${FUZZ_MUTATED:-}" ]; then
  # As the tests are built: the same crates with the same features.
  cargo build --workspace --locked --bin fuzz
  mkdir "$work/under-way"
  status=0
  "${CARGO_TARGET_DIR:-target}/debug/fuzz" --under-way "$work/under-way" "$corpus" "${targets[@]}" || status=$?
  # Neither that it has found nothing nor that it has found something: it was ended in the middle.
  if [ "$status" -gt 1 ]; then
    for input in "$work"/under-way/*; do echo "A FINDING, perhaps: $(base64 -w 0 "$input")"; done
  fi
  exit "$status"
fi

if [ ${#targets[@]} = 0 ]; then
  for source in fuzz/libfuzzer/fuzz_targets/*.rs; do targets+=("$(basename "$source" .rs)"); done
fi

# cargo-fuzz asks for unstable options of the compiler, even where none is used.
export RUSTC_BOOTSTRAP=1
begin=$SECONDS
cargo fuzz build --fuzz-dir fuzz/libfuzzer --sanitizer none
echo "built in $((SECONDS - begin)) s"

failed=0
for target in "${targets[@]}"; do
  options=("-seed=${FUZZ_SEED:-1}" "-max_total_time=$seconds" -max_len=4096 -timeout=60 -rss_limit_mb=2048 -print_final_stats=1)
  if [ -f "fuzz/dictionaries/$target" ]; then options+=(-dict="fuzz/dictionaries/$target"); fi
  status=0
  cargo fuzz run --fuzz-dir fuzz/libfuzzer --sanitizer none "$target" "$corpus/$target" -- "${options[@]}" \
    >"$work/$target.log" 2>&1 || status=$?
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target.log")
  covered=$(grep -o 'cov: [0-9]*' "$work/$target.log" | tail -1 || true)
  inputs=$(find "$corpus/$target" -type f | wc -l)
  if [ "$status" = 0 ]; then
    printf '%-10s %9s executions, %s, %s inputs, no finding\n' "$target" "$executions" "$covered" "$inputs"
  else
    printf '%-10s %9s executions, %s: A FINDING\n' "$target" "$executions" "$covered"
    grep -aA4 'panicked at\|^==.*ERROR' "$work/$target.log" | grep -av '^ *[0-9]*: \|^ *at ' || true
    grep -a '^Base64: ' "$work/$target.log" || tail -40 "$work/$target.log"
    failed=1
  fi
done
exit $failed
