"""The black-box tests on another DynamoDB than the embedded one: on an emulator of AWS (moto) for each core, or on any
that is given by its URL. Usage: run.py [--endpoint URL] [--quick | --only FILE...] [--threads COUNT]

Each attempt of a call has 10 seconds, as with any DynamoDB without TLS; where tests set the timeouts of a region, a
busy machine's emulator may be too slow for them."""

import argparse
import json
import os
import pathlib
import queue
import re
import subprocess
import sys
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 1800  # seconds, for the tests of one file
# Files whose tests take a minute or more on moto, which takes some ten milliseconds a call and reads whole tables for a
# query, or wait for it longer than the product waits for DynamoDB.
SLOW = {
    "admin_buckets", "admin_clients", "admin_input", "admin_model", "capacity", "forged", "gateway", "hostile_text", "import",
    "leads", "leads_model", "random_faults",
}


class Emulator:
    """Ends with this program however that ends: its input does."""

    def __enter__(self):
        command = [sys.executable, pathlib.Path(__file__).with_name("emulator.py")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def calls(self):
        with urllib.request.urlopen(self.url + "/calls", timeout=PATIENCE) as answer:
            return int(answer.read())

    def reset(self):
        request = urllib.request.Request(self.url + "/moto-api/reset", method="POST")
        urllib.request.urlopen(request, timeout=PATIENCE).close()


def built():
    """The files of tests by name: what runs each. Built as `cargo test --workspace` builds them: with `--package`, the
    SDK would be built again with other features."""
    command = ["cargo", "test", "--workspace", "--locked", "--no-run", "--message-format=json-render-diagnostics"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = {}
    for message in map(json.loads, output.splitlines()):
        if message["reason"] == "compiler-artifact" and message["executable"]:
            is_ours = pathlib.Path(message["manifest_path"]).parent == ROOT / "tests"
            if is_ours and message["target"]["kind"] == ["test"]:
                found |= files_of(message["target"]["name"], message["executable"])
    assert found, "cargo named no files of tests"
    return found


def files_of(name, executable):
    """One program may have several files, as its modules."""
    listed = subprocess.run([executable, "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout
    modules = {found[1] for found in re.finditer(r"^(\w+)::.*: test$", listed, re.M)}
    if not modules:
        return {name: [executable]}
    # `leads::` would also be in `other_leads::`.
    others = {one: [f"--skip={other}::" for other in modules if other.endswith(one) and other != one] for one in modules}
    return {one: [executable, f"{one}::", *others[one]] for one in modules}


class Run:
    """Files of tests, run as many at a time as there are DynamoDBs."""

    def __init__(self, files, arguments):
        self.arguments, self.files = arguments, queue.SimpleQueue()
        for file in files.items():
            self.files.put(file)
        self.passed, self.done, self.skipped, self.failed, self.problems = 0, 0, [], [], []

    def on(self, url, emulator=None):
        while True:
            try:
                name, command = self.files.get_nowait()
            except queue.Empty:
                return
            self.run(name, command, url, emulator)

    def run(self, name, command, url, emulator):
        before, begin = emulator and emulator.calls(), time.monotonic()
        environment = os.environ | {"WBCS_TEST_DYNAMODB": url}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
        # In the directory that cargo runs them in.
        ended = subprocess.run([*command, *self.arguments], cwd=ROOT / "tests", env=environment, timeout=PATIENCE, **pipes)
        seconds = time.monotonic() - begin
        result = re.search(r"^test result: \w+\. (\d+) passed; (\d+) failed", ended.stdout, re.M)
        skipped = re.findall(r"skipped: (\S+): (.*)$", ended.stdout, re.M)
        passed, failed = (int(result[1]) - len(skipped), int(result[2])) if result else (0, 0)
        calls = ""
        if emulator:
            calls = f", {emulator.calls() - before} calls"
            emulator.reset()
        print(f"{name}: {passed} passed, {failed} failed, {len(skipped)} skipped{calls}, {seconds:.1f} s", flush=True)
        self.done += 1
        self.passed += passed
        failing = re.findall(r"^test (\S+) .*FAILED$", ended.stdout, re.M)
        of_file = f"{name}::"  # which a program of several files says itself
        self.skipped += [(reason, of_file + test.removeprefix(of_file)) for test, reason in skipped]
        self.failed += [of_file + test.removeprefix(of_file) for test in failing]
        if ended.returncode:
            self.problems.append(name)
            print(ended.stdout, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", help="a DynamoDB that keeps a database for each access key or region")
    parser.add_argument("--only", action="append", metavar="FILE", help="a file of tests, as signup")
    parser.add_argument("--threads", default="4", help="tests of a file that run at the same time")
    parser.add_argument("--quick", action="store_true", help="not the files that take minutes on moto")
    options = parser.parse_args()
    files = built()
    unknown = (SLOW | set(options.only or [])) - files.keys()
    assert not unknown, f"there are no such files of tests: {', '.join(sorted(unknown))}"
    wanted = set(options.only or files) - (SLOW if options.quick else set())
    files = {name: command for name, command in files.items() if name in wanted}
    run = Run(files, ["--test-threads", options.threads])
    begin = time.monotonic()

    def work():
        if options.endpoint:
            return run.on(options.endpoint)
        with Emulator() as emulator:
            run.on(emulator.url, emulator)

    workers = [threading.Thread(target=work) for _ in range(1 if options.endpoint else os.cpu_count())]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for reason in sorted({reason for reason, _ in run.skipped}):
        print(f"Skipped, since {reason}:", *sorted(test for why, test in run.skipped if why == reason), sep="\n  ")
    print(f"{time.monotonic() - begin:.0f} s", *run.failed, sep="\nfailed: ")
    print(f"{run.passed} passed, {len(run.failed)} failed, {len(run.skipped)} skipped")
    assert run.done == len(files) and run.passed + len(run.skipped), "not all files were run"
    sys.exit(bool(run.problems))


if __name__ == "__main__":
    main()
