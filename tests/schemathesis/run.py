"""Requests made up from docs/openapi.json, valid ones and invalid ones, against a stack of its own: no 5xx, every
answer as the document says, every operation answered well at least once.
Usage: run.py PROGRAM [SEED] [EXAMPLES]"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
HERE = pathlib.Path(__file__).parent
# Paths below which there is nothing: they are there for one that ends in a slash, which no parameter can be made up for.
NOWHERE = {"docs-pages", "session-pages"}
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "tokens_are_needed",
    "every_answer_has_a_request_id",
    "errors_tell_nothing_of_the_inside",
    "valid_requests_are_accepted",
    "invalid_requests_are_refused",
]
# The gateway answers 404, not 405, to a method that a path does not have: it is no route. Nothing of an answer is
# made a part of a later request: the seed alone would not decide what is sent.
CONFIGURATION = """
warnings = false
[cache]
enabled = false
[phases.examples.extra-data-sources]
responses = false
[phases.coverage]
unexpected-methods = []
[phases.coverage.extra-data-sources]
responses = false
[phases.fuzzing.extra-data-sources]
responses = false
[phases.fuzzing.error-feedback]
enabled = false
[phases.stateful]
enabled = false
"""


def main(program, seed="1", examples="25"):
    with tempfile.TemporaryDirectory() as folder:
        directory = pathlib.Path(folder)
        arguments = [program, "--memory", "--port", "0", "--data-dir", folder, "--log", "off"]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as stack:
            try:
                assert any(line.startswith("Ready") for line in stack.stdout), "the stack did not start"
                test(directory, seed, examples)
            finally:
                stack.terminate()


def test(directory, seed, examples):
    credentials = (directory / "credentials.json").read_text()
    configuration, seen = directory / "schemathesis.toml", directory / "seen.json"
    configuration.write_text(CONFIGURATION)
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "hooks",
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": seed,
        "WBCS_CREDENTIALS": credentials,
        "WBCS_DOCUMENT": str(ROOT / "docs/openapi.json"),
        "WBCS_SEEN": str(seen),
    }
    arguments = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration), "run"]
    arguments += [str(ROOT / "docs/openapi.json"), "--url", json.loads(credentials)["baseUrl"]]
    arguments += ["--seed", seed, "--max-examples", examples, "--checks", ",".join(CHECKS), "--mode", "all"]
    arguments += ["--suppress-health-check", "all", "--continue-on-failure", "--max-redirects", "0", "--no-color"]
    arguments += ["--generation-database", "none", "--request-timeout", "120"]
    done = subprocess.run(arguments, env=environment, cwd=directory, check=False)

    statuses = json.loads(seen.read_text())
    described = json.loads((ROOT / "docs/openapi.json").read_text())["paths"]
    operations = {operation["operationId"] for item in described.values() for operation in item.values()}
    for operation, counts in statuses.items():
        print(f"{operation:24} {counts}")
    print(f"{sum(sum(counts.values()) for counts in statuses.values())} requests of {len(statuses)} operations")
    assert done.returncode == 0, "schemathesis found something"
    assert operations == statuses.keys(), operations ^ statuses.keys()
    unanswered = {name for name, counts in statuses.items() if not any(int(status) < 400 for status in counts)}
    assert unanswered == NOWHERE, f"never answered well: {unanswered}, and should not have been: {NOWHERE}"


if __name__ == "__main__":
    main(*sys.argv[1:])
