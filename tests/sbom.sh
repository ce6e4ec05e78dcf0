#!/usr/bin/env bash
# Writes a bill of materials (CycloneDX 1.5, JSON) of each function: what is in its binary, by the features that it
# is built with. Usage: tests/sbom.sh DIRECTORY. Needs cargo-cyclonedx, jq.
set -euo pipefail
directory=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/.."

# It writes beside each manifest: a copy of the tree keeps this one as it is.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | xargs -0 cp --parents -t "$copy"
for target in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu; do
  (cd "$copy" && SOURCE_DATE_EPOCH=$(git -C "$OLDPWD" log -1 --format=%ct) cargo cyclonedx --quiet \
    --format json --spec-version 1.5 --no-build-deps --target "$target" --override-filename bom)
  for function in "$copy"/functions/*/; do
    name=$(basename "$function")
    bom=$directory/$name.$target.cdx.json
    mv "$function/bom.json" "$bom"
    count=$(jq '.components | length' "$bom")
    # The runtime alone has more; what only tests and the local stack have must not be there.
    if [ "$count" -lt 20 ] || jq -e 'any(.components[]; .name == "dynoxide-rs" or .name == "tempfile")' "$bom" >/dev/null; then
      echo "$bom is not that of a function: $count components" >&2
      exit 1
    fi
    printf '%-20s %-28s %s components\n' "$name" "$target" "$count"
  done
done
