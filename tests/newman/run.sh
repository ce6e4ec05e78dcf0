#!/usr/bin/env bash
# The Postman collection, whole and twice over, against a stack of its own.
# Usage: run.sh PROGRAM NEWMAN
set -euo pipefail
cd "$(dirname "$0")/../.."
program=$1 newman=$2

directory=$(mktemp -d)
"$program" --memory --port 0 --data-dir "$directory" --log off >"$directory/output" &
stack=$!
trap 'set +e; kill "$stack" 2>/dev/null; wait "$stack" 2>/dev/null; rm -rf "$directory"' EXIT
until grep -q '^Ready' "$directory/output"; do
  kill -0 "$stack" 2>/dev/null || { echo "the stack did not start" >&2; exit 1; }
  sleep 0.1
done

"$program" postman --data-dir "$directory" >"$directory/environment.json"
"$newman" run docs/wbcs.postman_collection.json --environment "$directory/environment.json" \
  --iteration-count 2 --timeout-request 300000 --color off \
  --reporters cli,json --reporter-json-export "$directory/report.json" --reporter-cli-no-success-assertions \
  --reporter-cli-no-banner
# Not one request, and not one test, may have been left out.
node - "$directory/report.json" docs/wbcs.postman_collection.json <<'JS'
const [report, collection] = process.argv.slice(2).map((file) => JSON.parse(require("fs").readFileSync(file)));
const { requests, assertions } = report.run.stats;
const steps = collection.item.flatMap((folder) => folder.item).length;
if (requests.total !== 2 * steps || requests.failed || assertions.failed || assertions.total < 4 * requests.total) {
  throw new Error(`of 2 × ${steps} requests: ${JSON.stringify(report.run.stats)}`);
}
console.log(`${requests.total} requests, ${assertions.total} tests: all passed`);
JS
