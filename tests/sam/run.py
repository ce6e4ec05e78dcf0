"""The built functions as AWS runs them: in containers (`sam local`), and on AWS's runtime interface emulator
without. Every event of events/, and the printed curl commands through `sam local start-api`, are answered as the
local stack answers them. Needs Docker and debootstrap, a `sam build`, and a Python that has aws-sam-cli and moto.
Usage: run.py PROGRAM BUILD-DIRECTORY"""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import boto3
import samcli
from moto.server import ThreadedMotoServer

ROOT = pathlib.Path(__file__).parents[2]
EVENTS = sorted((ROOT / "events").glob("*/*.json"))
BASE_IMAGE = "public.ecr.aws/lambda/provided:al2023-x86_64"
# Where containers reach this machine, and where nothing else does.
BRIDGE, LOOPBACK = "172.17.0.1", "127.0.0.1"
AMAZON_LINUX_2023_GLIBC = (2, 34)
REGION, SENDER = "eu-west-1", "no-reply@example.com"
PATIENCE = 600  # seconds
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "SAM_CLI_TELEMETRY": "0",
    # How long a container may take to start, in seconds.
    "SAM_CLI_CONTAINER_CONNECTION_TIMEOUT": "300",
    "DOCKER_CLI_HINTS": "false",
}


def run(*command, **options):
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-4000:])
    return done.stdout


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"it never came to this: {what}"
        time.sleep(0.1)


class PortsTaken(Exception):
    """Somebody else was faster to listen on a port that was free."""


def on_free_ports(count, use, attempts=3):
    """Gives what `use` gives with this many free ports; where they are taken meanwhile, with others."""
    with contextlib.ExitStack() as held:
        # All at once, or one would be given twice.
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        ports = [probe.getsockname()[1] for probe in probes]
    try:
        return use(*ports)
    except PortsTaken:
        if attempts == 1:
            raise
        return on_free_ports(count, use, attempts - 1)


def assert_runs(started, log):
    """A process that has not ended."""
    if started.poll() is None:
        return
    told = pathlib.Path(log).read_text()
    if "address already in use" in told.lower():
        raise PortsTaken(told[-2000:])
    raise AssertionError(told[-4000:])


@contextlib.contextmanager
def process(*command, log, **options):
    """A process that is ended at the end, and whose log is shown where something fails."""
    with open(log, "w") as out:
        started = subprocess.Popen(command, env=ENVIRONMENT, stdout=out, stderr=subprocess.STDOUT, **options)
    try:
        yield started
    except BaseException:
        print(pathlib.Path(log).read_text()[-4000:], file=sys.stderr)
        raise
    finally:
        started.terminate()
        try:
            started.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
            raise


# ---------------------------------------------------------------- Docker


def docker_works():
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def docker(folder):
    """The machine's Docker, or one that is started here and ended again."""
    if docker_works():
        yield
        return
    with process("dockerd", log=folder / "dockerd.log"):
        until(docker_works, "dockerd answers")
        yield


def bootstrap(rootfs, mirror, attempts=4):
    try:
        run("debootstrap", "--variant=minbase", "bookworm", str(rootfs), mirror)
    except AssertionError:
        if attempts == 1:
            raise
        # A mirror answers late, or not, now and then.
        shutil.rmtree(rootfs, ignore_errors=True)
        time.sleep(20)
        bootstrap(rootfs, mirror, attempts - 1)


@contextlib.contextmanager
def base_image(folder):
    """A stand-in for AWS's image, which can't be pulled everywhere: a minimal Debian, until the end. SAM puts its
    emulator on top."""
    if run("docker", "image", "ls", "--quiet", BASE_IMAGE).strip():
        yield
        return
    repositories = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)").splitlines()
    mirror = next(line.split()[0] for line in repositories if line.endswith(" bookworm"))
    rootfs = folder / "rootfs"
    bootstrap(rootfs, mirror)
    # What this machine trusts, the image need not: the functions talk http here.
    tar = subprocess.Popen(["tar", "-C", str(rootfs), "-c", "."], stdout=subprocess.PIPE)
    path = "ENV PATH=/usr/local/bin:/usr/bin:/bin"
    run("docker", "import", "--change", path, "-", BASE_IMAGE, stdin=tar.stdout)
    try:
        assert tar.wait() == 0
        shutil.rmtree(rootfs)
        yield
    finally:
        # Where Docker runs on, nobody else is to take it for AWS's.
        run("docker", "image", "rm", "--force", BASE_IMAGE)


# ---------------------------------------------------------------- The local stack


@contextlib.contextmanager
def emails(address):
    """An SES on an address, which knows the sender; gives its URL."""
    server = ThreadedMotoServer(ip_address=address, port=0)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        boto3.client("sesv2", region_name=REGION, endpoint_url=url, **keys).create_email_identity(EmailIdentity=SENDER)
        yield url
    finally:
        server.stop()


@contextlib.contextmanager
def stack(program, folder, address):
    """A local stack in memory with demo data, its DynamoDB and its SES on an address; gives its data directory and
    what it printed."""
    folder.mkdir()
    out = folder / "greeting"
    options = ["--memory", "--port", "0", "--log", "error", "--data-dir", str(folder), "--dynamodb-listen", f"{address}:0"]
    with emails(address) as ses, process(program, *options, "--ses-endpoint", ses, log=out) as started:

        def is_ready():
            assert started.poll() is None, "the stack ended"
            return "Ready" in out.read_text()

        until(is_ready, "the stack answers")
        yield folder, out.read_text()


def functions():
    """Logical ids by name, in the order of EVENTS: what one event changes the next one sees."""
    names = sorted(path.name for path in (ROOT / "functions").iterdir())
    return {name: "".join(word.capitalize() for word in name.split("-")) + "Function" for name in names}


# ---------------------------------------------------------------- Answers

# What differs from one stack to the next: ids, tokens, moments, links, ports, and when it was noted that a token is used.
RANDOM = [
    (r'"lastUsedDate": (null|"[^"]*")', '"lastUsedDate": NOTED'),
    (r"wbcs_[0-9A-Za-z]+…?", "TOKEN"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
    (r"\b[0-9a-f]{32}\b", "ID"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "MOMENT"),
    (r"wbcs-session=[^;]+", "SESSION"),
    (r"http://[0-9.]+:\d+", "ORIGIN"),
    (r'("etag": ")(?:[^"\\]|\\.)*', r"\1ETAG"),
]


def alike(answer):
    """An answer without what differs from one stack to the next."""
    if isinstance(answer.get("body"), str) and answer["body"].startswith(("{", "[")):
        answer = answer | {"body": json.loads(answer["body"])}
    text = json.dumps(answer, sort_keys=True, ensure_ascii=False)
    for pattern, name in RANDOM:
        text = re.sub(pattern, name, text)
    return text


def name_of(event):
    return f"{event.parent.name}/{event.stem}"


def expected(program, folder):
    """The local stack's own answers, in the order of EVENTS."""
    answers = {}
    for event in EVENTS:
        answers[event] = alike(json.loads(run(program, "invoke", str(event), "--data-dir", str(folder))))
    return answers


def compare(kind, answers, want):
    wrong = [f"{name_of(event)}:\n  {kind}: {answers[event]}\n  stack: {want[event]}" for event in EVENTS if answers[event] != want[event]]
    assert not wrong, "\n".join(wrong)
    print(f"{kind}: {len(answers)} events of {len(functions())} functions answered as by the local stack", flush=True)


# ---------------------------------------------------------------- What is tried


def glibc(build):
    """The binaries ask for no newer C library than Amazon Linux 2023 has."""
    highest = {}
    for binary in sorted(build.glob("*/bootstrap")):
        found = re.findall(rb"GLIBC_(\d+)\.(\d+)", binary.read_bytes())
        highest[binary.parent.name] = max((int(major), int(minor)) for major, minor in found)
    assert highest.keys() == set(functions().values()), highest
    worst = max(highest.values())
    assert worst <= AMAZON_LINUX_2023_GLIBC, highest
    print(f"GLIBC: {len(highest)} binaries, highest symbol version {worst[0]}.{worst[1]}", flush=True)


def on_emulator(program, build, data, want, folder):
    """Each bootstrap on the runtime interface emulator, without Docker."""
    emulator = folder / "rie"
    shutil.copy(pathlib.Path(samcli.__file__).parent / "local/rapid/aws-lambda-rie-x86_64", emulator)
    emulator.chmod(0o755)
    answers = {}
    for name, logical_id in functions().items():
        lines = run(program, "env", name, "--data-dir", str(data)).splitlines()
        variables = ENVIRONMENT | dict(line.split("=", 1) for line in lines) | {"AWS_LAMBDA_FUNCTION_NAME": name}
        own = [event for event in EVENTS if event.parent.name == name]

        def answered(port, api_port):
            command = [str(emulator), "--runtime-interface-emulator-address", f"{LOOPBACK}:{port}"]
            command += ["--runtime-api-address", f"{LOOPBACK}:{api_port}", str(build / logical_id / "bootstrap")]
            log = folder / f"{name}.log"
            with open(log, "w") as out:
                started = subprocess.Popen(command, env=variables, stdout=out, stderr=out, start_new_session=True)
            try:
                listens(started, log, port, api_port)
                url = f"http://{LOOPBACK}:{port}/2015-03-31/functions/function/invocations"
                for event in own:
                    filled = run(program, "event", str(event), "--data-dir", str(data)).encode()
                    with urllib.request.urlopen(urllib.request.Request(url, filled), timeout=PATIENCE) as answer:
                        answers[event] = alike(json.load(answer))
            except BaseException:
                print(log.read_text()[-4000:], file=sys.stderr)
                raise
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(started.pid, signal.SIGKILL)
                started.wait()

        on_free_ports(2, answered)
    compare("runtime interface emulator", answers, want)


def listens(started, log, *ports):
    """Waits until a process, which has not ended, listens on these ports."""

    def connects(port):
        assert_runs(started, log)
        try:
            socket.create_connection((LOOPBACK, port), timeout=PATIENCE).close()
            return True
        except OSError:
            return False

    for port in ports:
        until(lambda: connects(port), f"{port} is listened on")
    assert_runs(started, log)


def sam_options(program, build, data, folder):
    file = folder / "env.json"
    file.write_text(run(program, "env", "--sam", "--data-dir", str(data)))
    parameters = ["--parameter-overrides", f"MailFrom={SENDER}"]
    return ["--template", str(build / "template.yaml"), "--env-vars", str(file), "--skip-pull-image", *parameters]


def in_containers(program, build, data, want, folder):
    """`sam local invoke` of every event."""
    options = sam_options(program, build, data, folder)
    logical_ids = functions()

    def answers_of(names):
        answers = {}
        for event in [event for event in EVENTS if event.parent.name in names]:
            name = event.parent.name
            filled = folder / f"{name}-{event.stem}.json"
            filled.write_text(run(program, "event", str(event), "--data-dir", str(data)))
            printed = run("sam", "local", "invoke", logical_ids[name], "--event", str(filled), *options)
            answers[event] = alike(json.loads(printed.strip().splitlines()[-1]))
        return answers

    # A container takes its time to start: what sees nothing of one another goes on at once.
    chains = [
        {"admin-buckets", "admin-clients", "leads", "leads-by-source", "signup"},
        {"admin-roles", "admin-tokens", "console", "docs", "token"},
        {"autologin", "registration-email", "session"},
    ]
    assert set.union(*chains) == set(logical_ids), "every function is in a chain"
    answers = {}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for part in pool.map(answers_of, chains):
            answers |= part
    compare("sam local invoke", answers, want)


def start_api(program, build, data, greeting, folder, reference):
    """`sam local start-api` with the curl commands that the local stack prints."""
    options = sam_options(program, build, data, folder)
    log = folder / "start-api.log"

    def answers(started, url):
        assert_runs(started, log)
        try:
            with urllib.request.urlopen(url + "/tradersroom", timeout=PATIENCE) as answer:
                return answer.status == 200
        except (OSError, http.client.HTTPException):
            return False

    def curl(line, base_url=None):
        line = line.replace("; curl ", f"; {f'BASE_URL={base_url}; ' if base_url else ''}curl --silent --show-error --include ")
        head, body = run("sh", "-c", line.strip()).replace("\r\n", "\n").split("\n\n", 1)
        kept = ("content-type:", "x-total-count:", "x-missing-count:", "x-next-")
        headers = sorted(header.lower() for header in head.splitlines()[1:] if header.lower().startswith(kept))
        return alike({"status": head.split()[1], "headers": headers, "body": body})

    lines = [line for line in greeting.splitlines() if "curl " in line]
    assert len(lines) == 4, greeting

    def tried(port):
        url = f"http://{LOOPBACK}:{port}"
        command = ["sam", "local", "start-api", "--port", str(port), "--warm-containers", "EAGER", *options]
        with process(*command, log=log) as started:
            until(lambda: answers(started, url), "start-api answers")
            for line, own in zip(lines, [line for line in reference.splitlines() if "curl " in line]):
                got, want = curl(line, url), curl(own)
                assert got == want and '"status": "200"' in got, f"{line}\n  start-api: {got}\n  stack: {want}"

    on_free_ports(1, tried)
    print(f"sam local start-api: {len(lines)} curl commands answered as by the local stack", flush=True)


def main(program, build):
    program, build = os.path.abspath(program), pathlib.Path(build).resolve()
    assert {event.parent.name for event in EVENTS} == set(functions()), "every function has events"
    glibc(build)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        folder = pathlib.Path(folder)
        own, reference = running.enter_context(stack(program, folder / "own", LOOPBACK))
        want = expected(program, own)
        data, _ = running.enter_context(stack(program, folder / "emulator", LOOPBACK))
        on_emulator(program, build, data, want, folder)
        running.enter_context(docker(folder))
        running.enter_context(base_image(folder))
        data, greeting = running.enter_context(stack(program, folder / "containers", BRIDGE))
        in_containers(program, build, data, want, folder)
        start_api(program, build, data, greeting, folder, reference)


main(*sys.argv[1:])
