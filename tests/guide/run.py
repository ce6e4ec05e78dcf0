"""Runs every snippet of docs/partner-guide.md against a local stack of its own, through a forwarder that
loses answers, fails and stalls, and checks by the API itself what each one did.
With names, only those are run."""

import argparse
import collections
import contextlib
import datetime
import email.utils
import http.client
import http.server
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "partner-guide.md"
# Longer than 9,000 leads take to be imported, exported and polled by an unoptimised program on a slow machine.
PATIENCE = 1200  # seconds
# How long an attempt may last where a timeout is to be seen.
IMPATIENCE = 5  # seconds
SEED = 20260131
IMPORTED, ASKED, UNKNOWN = 9000, 12_000, 3500
FENCES = {"py": "python", "mjs": "javascript", "php": "php", "sh": "bash", "json": "json"}
COMMANDS = {"py": [sys.executable], "mjs": ["node"], "php": ["php"], "sh": ["bash"]}
# Fences that hold nothing to run.
PLAIN = {"text"}
# Where the forwarder calls the stack from: not what a machine takes for its own address.
ADDRESS = "127.0.0.77"
# What the stack can't be brought to answer here.
UNPROVOKED = {408, 429, 500, 503}

checks = 0


def check(condition, *shown):
    """An assertion that python's -O leaves in, and that counts."""
    global checks
    checks += 1
    if not condition:
        raise AssertionError(" ".join(str(part)[:2000] for part in shown))


# ---------------------------------------------------------------- the guide


def snippets(text):
    """The marked fences by name. Any other fence must be of a language that is not run."""
    found, marker, fence = {}, None, None
    for number, line in enumerate(text.splitlines(), 1):
        place = f"line {number}:"
        if fence is not None:
            if line != "```":
                fence[1].append(line)
                continue
            if fence[0] is not None:
                found[fence[0]] = "\n".join(fence[1]) + "\n"
            marker = fence = None
        elif line.lstrip().startswith(("```", "~~~")):
            language = line.removeprefix("```")
            if marker is None:
                check(language in PLAIN, place, f"a fence in {language!r} without a marker is not run")
            else:
                expected = FENCES.get(marker.rpartition(".")[2])
                check(language == expected, place, f"{marker} is marked, {language!r} follows")
                check(marker not in found, place, f"{marker} is there twice")
            fence = (marker, [])
        else:
            check(marker is None, place, f"no fence follows the marker {marker}")
            marked = re.fullmatch(r"<!-- snippet: (\S+) -->", line)
            check(marked or "snippet:" not in line, place, "not a marker's form")
            marker = marked and marked[1]
    check(fence is None and marker is None, "the last fence is open")
    return found


def contents_lead_somewhere(text):
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    links = re.findall(r"\]\(#([^)]+)\)", text)
    check(links, "no table of contents")
    for link in links:
        check(link in headings, f"#{link} leads nowhere")


def error_rows(text, title):
    """Statuses and messages of the table under a title in the section Errors."""
    section = text.split("\n## Errors\n")[1].split("\n## ")[0]
    table = section.split(f"\n{title}:\n\n")[1].split("\n\n")[0]
    rows = [row.strip("|").split(" | ") for row in table.splitlines()[2:]]
    return {(int(row[0]), message) for row in rows for message in re.findall(r"`([^`]+)`", row[1])}


# ---------------------------------------------------------------- the stack


@contextlib.contextmanager
def stack(program):
    """Starts the local stack on a free port and ends it; gives its directory."""
    with tempfile.TemporaryDirectory() as directory:
        arguments = [program, "--memory", "--port", "0", "--data-dir", directory, "--log", "off"]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            try:
                check(any(line.startswith("Ready") for line in process.stdout), "the stack did not start")
                yield pathlib.Path(directory)
            finally:
                process.terminate()


class Api:
    """Calls the stack directly, as the tests' own eyes."""

    def __init__(self, credentials):
        self.credentials = credentials
        self.admin = {"Authorization": credentials["adminToken"]}
        self.partner = {"Authorization": credentials["partnerToken"]}
        self.signup = {"x-api-key": credentials["signupKey"]}
        bucket, affiliate = credentials["bucketId"], credentials["affiliateID"]
        self.leads_path = f"/api/public/buckets/{bucket}/{affiliate}/leads"

    def raw(self, method, path, headers, body=None):
        """Status, headers and JSON. The body is bytes, or made JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | headers
        request = urllib.request.Request(self.credentials["baseUrl"] + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.headers, json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, json.load(error)

    def do(self, *request):
        status, _, answer = self.raw(*request)
        check(200 <= status < 300, request[:2], status, answer)
        return answer

    def sign_up(self, address, **fields):
        body = {"email": address, "phone": "+1234567890", "firstName": "Jane"} | fields
        body |= {"affiliateID": self.credentials["affiliateID"]}
        return self.do("POST", "/tradersroom/api/auth/signup", self.signup, body)["id"]

    def sign_up_here(self, address):
        """Into the bucket."""
        return self.sign_up(address, sourceId=self.credentials["sourceId"])

    def patch(self, client, **fields):
        self.do("PATCH", f"/api/admin/clients/{client}", self.admin, fields)

    def clients(self, address):
        path = f"/api/admin/clients?email={urllib.parse.quote(address)}"
        return self.do("GET", path, self.admin)["items"]

    def new_token(self, role, **fields):
        roles = self.do("GET", "/api/admin/roles?limit=1000", self.admin)["items"]
        [role] = [found["id"] for found in roles if found["name"] == role]
        return self.do("POST", "/api/admin/tokens", self.admin, {"name": "guide", "roleId": role} | fields)

    def bucket(self):
        """All leads of the bucket by id, by another way than the poller's."""
        leads, total = {}, None
        while total is None or len(leads) < total:
            body = {"keyBy": "id", "limit": 5000, "offset": len(leads)}
            for _ in range(10):
                status, headers, page = self.raw("POST", self.leads_path, self.partner, body)
                if status not in (500, 503):
                    break
            check(status == 200 and page, status, page)
            leads, total = leads | page, int(headers["x-total-count"])
        return leads


# ---------------------------------------------------------------- the forwarder


class Exchange:
    """One request on its way to the stack, in the hands of what is to become of it."""

    def __init__(self, handler, target):
        self.handler, self.target = handler, target
        self.method, self.path = handler.command, handler.path
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body = handler.rfile.read(int(self.headers.get("content-length", 0)))
        self.at, self.given = time.monotonic(), None

    def forward(self, body=None):
        """Status, headers and body that the stack answers."""
        connection = http.client.HTTPConnection(self.target, timeout=PATIENCE, source_address=(ADDRESS, 0))
        headers = {k: v for k, v in self.headers.items() if k not in ("host", "content-length", "connection", "expect")}
        connection.request(self.method, self.path, self.body if body is None else body, headers)
        answer = connection.getresponse()
        given = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        connection.close()
        return given

    def reply(self, status, headers, body):
        self.given = status, headers
        self.handler.send_response_only(status)
        for name, value in headers.items():
            if name not in ("content-length", "connection"):
                self.handler.send_header(name, value)
        self.handler.send_header("content-length", str(len(body)))
        self.handler.send_header("connection", "close")
        self.handler.end_headers()
        self.handler.wfile.write(body)


def passed(exchange):
    exchange.reply(*exchange.forward())


def dropped(exchange):
    """Done, and the answer is lost."""
    exchange.forward()


def failed(status, forwarded=False, **headers):
    def fail(exchange):
        if forwarded:
            exchange.forward()
        headers_ = {"content-type": "application/json"} | {k.replace("_", "-"): str(v) for k, v in headers.items()}
        exchange.reply(status, headers_, b'{"message":"Not this time"}')

    return fail


class Stalled:
    """Done, and the answer waits until the caller is gone."""

    def __init__(self):
        self.reached = threading.Event()

    def __call__(self, exchange):
        exchange.forward()
        self.reached.set()
        exchange.handler.connection.settimeout(PATIENCE)
        with contextlib.suppress(ConnectionError):
            check(exchange.handler.connection.recv(1) == b"", "the caller went on")


class Forwarder(http.server.ThreadingHTTPServer):
    """Between snippets and stack. `plan` is what becomes of the next requests, `usual` of all others."""

    daemon_threads = True

    def __init__(self, target):
        self.plan, self.usual, self.seen, self.problems = collections.deque(), passed, [], []
        forwarder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def take(self):
                self.close_connection = True
                exchange = Exchange(self, target)
                forwarder.seen.append(exchange)
                try:
                    (forwarder.plan.popleft() if forwarder.plan else forwarder.usual)(exchange)
                except ConnectionError:
                    pass  # the caller was killed
                except Exception as problem:
                    forwarder.problems.append(problem)
                    raise

            do_GET = do_POST = take

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, address):
        pass  # looked at by the test


@contextlib.contextmanager
def forwarder(target):
    server = Forwarder(target)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ---------------------------------------------------------------- running snippets


Ran = collections.namedtuple("Ran", "code out err requests")


class Bench:
    """All that a test of a snippet needs."""

    def __init__(self, program, data, api, forwarder, folder, found):
        self.program, self.data = program, data
        self.api, self.forwarder, self.folder = api, forwarder, folder
        known = api.credentials
        self.secrets = [known["adminToken"], known["partnerToken"], known["signupKey"]]
        self.random, self.touched = random.Random(SEED), set()
        self.environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | {
            "BASE_URL": forwarder.url,
            "PARTNER_TOKEN": known["partnerToken"],
            "SIGNUP_KEY": known["signupKey"],
            "BUCKET_ID": known["bucketId"],
            "AFFILIATE_ID": known["affiliateID"],
        }
        for name, text in found.items():
            (folder / name).write_text(text)
        # The same with an attempt that ends soon, to see what a timeout does.
        self.impatient = folder / "impatient"
        self.impatient.mkdir()
        for name, text in found.items():
            if name.startswith("wbcs."):
                text, times = re.subn(r"(?i)\btimeout\b( ?= ?)35\b", rf"TIMEOUT\g<1>{IMPATIENCE}", text)
                check(times == 1, f"{name} has {times} timeouts of 35 seconds")
                text = text.replace('"$timeout"', '"$TIMEOUT"')
            (self.impatient / name).write_text(text)

    def start(self, name, *arguments, plan=(), usual=passed, folder=None, stdin="", **environment):
        forwarder = self.forwarder
        forwarder.plan, forwarder.usual, forwarder.seen = collections.deque(plan), usual, []
        files = [tempfile.TemporaryFile("w+") for _ in range(3)]
        files[0].write(stdin)
        files[0].seek(0)
        process = subprocess.Popen(
            [*COMMANDS[name.rpartition(".")[2]], name, *arguments],
            cwd=folder or self.folder,
            env=self.environment | environment,
            stdin=files[0],
            stdout=files[1],
            stderr=files[2],
            start_new_session=True,
        )
        return process, files

    def end(self, process, files):
        texts = []
        for file in files:
            file.seek(0)
            texts.append(file.read())
            file.close()
        _, out, err = texts
        for secret in self.secrets:
            check(secret not in out + err, "a key was printed")
        check("/autologin/" not in out + err, "an autologin url was printed")
        check(not self.forwarder.problems, self.forwarder.problems, err)
        return Ran(process.returncode, out, err, self.forwarder.seen)

    def run(self, name, *arguments, code=0, **how):
        """Runs a snippet to its end. `code` is its exit code, `None` any but 0."""
        process, files = self.start(name, *arguments, **how)
        try:
            process.wait(PATIENCE)
        finally:
            self.kill(process)
        ran = self.end(process, files)
        check(ran.code == code if code is not None else ran.code != 0, name, ran.code, ran.out[-500:], ran.err)
        check(not self.forwarder.plan, name, "made fewer requests than were to fail", ran.err)
        return ran

    def killed(self, name, *arguments, stalled, **how):
        """Runs a snippet until its request is stalled, and kills it."""
        process, files = self.start(name, *arguments, **how)
        try:
            deadline = time.monotonic() + PATIENCE
            while not stalled.reached.wait(0.05):
                check(process.poll() is None and time.monotonic() < deadline, name, "did not get there")
            self.no_key_in_arguments(process.pid)
        finally:
            self.kill(process)
        return self.end(process, files)

    def no_key_in_arguments(self, session):
        for arguments in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if os.getsid(int(arguments.parent.name)) == session:
                    shown = arguments.read_text()
                    check(not any(secret in shown for secret in self.secrets), "a key is among the arguments")

    @staticmethod
    def kill(process):
        """Ends the session that the process began, curl and the like included."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def leads_in(out):
    """The leads that a snippet printed, a line each; a line that was cut off counts as none."""
    return [json.loads(line) for line in out.splitlines(keepends=True) if line.endswith("\n")]


# ---------------------------------------------------------------- self-check


def selfcheck(bench, name):
    ran = bench.run(name)
    lines = dict(line.split(": ", 1) for line in ran.out.splitlines())
    check(lines.keys() == {"PARTNER_TOKEN", "SIGNUP_KEY"}, ran)
    for variable, shown in lines.items():
        header = {"Authorization": bench.environment[variable]}
        token = bench.api.do("GET", "/api/public/token", header)
        for part in (token["name"], *token["permissions"], *token["affiliateIDs"], ADDRESS):
            check(part in shown, part, "is not in", shown)
    check("any affiliate" in lines["SIGNUP_KEY"] and "until deleted" in lines["SIGNUP_KEY"], lines)

    # A token for elsewhere: the address that is shown is the one to whitelist.
    affiliates = [bench.environment["AFFILIATE_ID"]]
    expires = "2100-01-01T00:00:00.000Z"
    made = bench.api.new_token("Partner", whitelist=["203.0.113.7"], affiliateIDs=affiliates, expiresAt=expires)
    bench.secrets.append(made["token"])
    ran = bench.run(name, code=None, PARTNER_TOKEN=made["token"])
    refused = re.search(r"^PARTNER_TOKEN: refused; you are (\S+), request (\S+)$", ran.out, re.MULTILINE)
    check(refused and refused[1] == ADDRESS and refused[2] == ran.requests[0].given[1]["x-request-id"], ran)
    check(len(ran.requests) == 2 and "SIGNUP_KEY: refused" not in ran.out, "a refusal is final", ran)
    path = f"/api/admin/tokens/{made['id']}"
    bench.api.do("PATCH", path, bench.api.admin, {"whitelist": [refused[1]]})
    ran = bench.run(name, PARTNER_TOKEN=made["token"], plan=[failed(500), failed(429, retry_after=1), dropped])
    check(expires in ran.out and len(ran.requests) == 5, ran)
    bench.api.do("DELETE", path, bench.api.admin)


# ---------------------------------------------------------------- sign-up


def signup(bench, name):
    numbers = iter(range(100))

    def arguments():
        own = f"{name}-{next(numbers)}"
        return own, f"{own}@example.com", "+1 (234) 567-890", "Jané"

    def one_client(given, ran, replayed):
        """There is one client, with what was given, and its id was printed."""
        [client] = bench.api.clients(given[1])
        check(ran.out == client["id"] + "\n", ran.out, client)
        stored = client["externalId"], client["firstName"], client["phone"]
        check(stored == (given[0], given[3], "+1234567890"), client)
        check(client["affiliateID"] == bench.environment["AFFILIATE_ID"], client)
        status, headers = ran.requests[-1].given
        check(status == 200 and headers.get("idempotency-replayed") == ("true" if replayed else None), headers)

    def retried(requests):
        first = requests[0]
        check(first.headers["idempotency-key"], "no Idempotency-Key")
        for request in requests[1:]:
            check(request.body == first.body, "another body")
            check(request.headers["idempotency-key"] == first.headers["idempotency-key"], "another key")

    given = arguments()
    ran = bench.run(name, *given)
    one_client(given, ran, replayed=False)
    check(len(ran.requests) == 1, "asked more than once")
    ran = bench.run(name, *given)
    one_client(given, ran, replayed=True)

    for plan, replayed in [
        ([dropped], True),
        ([failed(500, forwarded=True)], True),
        ([failed(500)], False),
        ([failed(429)], False),
        ([failed(503, forwarded=True), dropped, failed(408)], True),
    ]:
        given = arguments()
        ran = bench.run(name, *given, plan=plan)
        one_client(given, ran, replayed)
        retried(ran.requests)
        check(len(ran.requests) == len(plan) + 1, len(ran.requests))

    given = arguments()
    ran = bench.run(name, *given, plan=[failed(429, retry_after=2)])
    one_client(given, ran, replayed=False)
    check(ran.requests[1].at - ran.requests[0].at >= 2, "Retry-After was not honoured")

    # An answer that does not come.
    given = arguments()
    ran = bench.run(name, *given, plan=[Stalled()], folder=bench.impatient)
    one_client(given, ran, replayed=True)
    retried(ran.requests)

    # Killed while it waits, and started again.
    given, stalled = arguments(), Stalled()
    before = bench.killed(name, *given, plan=[stalled], stalled=stalled)
    check(before.out == "" and len(bench.api.clients(given[1])) == 1, before)
    ran = bench.run(name, *given)
    one_client(given, ran, replayed=True)
    retried(before.requests + ran.requests)

    # No patience is endless, and giving up is no success.
    given = arguments()
    ran = bench.run(name, *given, plan=[failed(503, retry_after=3600)], code=None)
    check(len(ran.requests) == 1 and ran.out == "" and not bench.api.clients(given[1]), ran)
    ran = bench.run(name, *given)
    one_client(given, ran, replayed=False)

    # What is final is not tried again.
    own, address, *_ = given
    for final, message, environment in [
        ((f"{own}-other", address.upper(), "+1234567890", "Jane"), "User with this email already exists", {}),
        ((f"{own}-phone", f"other-{address}", "1234", "Jane"), "phone must have 5 to 15 digits", {}),
        ((f"{own}-name", f"other-{address}", "+1234567890", ""), "Email, phone and first name are required", {}),
        ((f"{own}-key", f"other-{address}", "+1234567890", "Jane"), "Invalid secret key", {"SIGNUP_KEY": "wbcs_wrong"}),
    ]:
        ran = bench.run(name, *final, code=None, **environment)
        status, headers = ran.requests[0].given
        check(len(ran.requests) == 1 and ran.out == "", ran)
        check(str(status) in ran.err and message in ran.err and headers["x-request-id"] in ran.err, ran)
    check(not bench.api.clients(f"other-{address}"), "a refused sign-up is stored")


# ---------------------------------------------------------------- polling


def moment(text):
    return int(email.utils.parsedate_to_datetime(text).timestamp() * 1000)


class Clock:
    """Dates every page but the first of a run a day on, so that it is seen which one counts; hides leads
    as an index does that lags behind. However slow all this is, the first page is not dated later than
    `latest`: what is hidden was created less than a minute before, as long as an index may lag behind."""

    def __init__(self, hidden=(), latest=float("inf")):
        self.pages, self.hidden, self.latest = 0, hidden, latest

    def __call__(self, exchange):
        status, headers, body = exchange.forward()
        day = min(moment(headers["date"]) / 1000, self.latest) + 86_400 * self.pages
        headers["date"] = email.utils.formatdate(day, usegmt=True)
        self.pages += 1
        page = {key: lead for key, lead in json.loads(body).items() if key not in self.hidden}
        exchange.reply(status, headers, json.dumps(page).encode())


def asked(ran, last):
    """Checks what a complete poll asked, given the last complete one's mark; gives its own."""
    answered = [request for request in ran.requests if request.given and request.given[0] == 200]
    bodies = [json.loads(request.body) for request in answered]
    check(all(request.path.endswith("/leads") for request in answered), "another path")
    [since, until] = bodies[0]["filters"]["updatedDate"]
    check(until is None and all(body["filters"] == bodies[0]["filters"] for body in bodies), bodies)
    if last is None:
        check(since is None, "the first poll asks for everything", since)
    else:
        check(since is not None and last - 600_000 <= int(since) <= last - 60_000, "since", since, "mark", last)
    cursors = [body.get("cursor") for body in bodies]
    given = [request.given[1].get("x-next-cursor") for request in answered]
    check(cursors == [None, *given[:-1]] and given[-1] is None, "pages are missed", cursors, given)
    check(not any("offset" in body for body in bodies), bodies)
    return moment(answered[0].given[1]["date"])


def created(client):
    return datetime.datetime.fromisoformat(client["createdDate"].replace("Z", "+00:00")).timestamp()


def wait_for_next_second(api, client):
    """Until the platform's clock, which shows seconds, is past the client's creation."""
    deadline = time.monotonic() + PATIENCE
    while moment(api.raw("GET", "/api/public/token", api.partner)[1]["date"]) <= created(client) * 1000:
        check(time.monotonic() < deadline, "the clock stands still")


def poll(bench, name):
    api = bench.api
    with tempfile.TemporaryDirectory() as folder:
        file = str(pathlib.Path(folder, "state.json"))

        def news(expected, last, **how):
            """Runs the poller, which must print just these clients as they are now; gives the mark."""
            ran = bench.run(name, file, **how)
            leads = leads_in(ran.out)
            ids = [lead["id"] for lead in leads]
            check(sorted(ids) == sorted(expected), "printed", ids[:20], "expected", list(expected)[:20])
            now = api.bucket()
            check(all(lead == now[lead["id"]] for lead in leads), "a lead is not as it is now")
            return asked(ran, last)

        # The first full sync, killed at its first page and at its second. Demo leads, which come first, are
        # years old: no overlap hides their loss.
        everything, stalled = api.bucket(), Stalled()
        old = {id for id, lead in everything.items() if lead["createdDate"] < "2025"} - bench.touched
        check(old, "no old leads")
        before = bench.killed(name, file, plan=[stalled], stalled=stalled)
        check(before.out == "", before.out[:500])
        stalled = Stalled()
        before = bench.killed(name, file, plan=[Clock(), stalled], stalled=stalled)
        done = {lead["id"] for lead in leads_in(before.out)}
        check(old <= done and len(done) < len(everything), len(done), "printed before it was killed")
        ran = bench.run(name, file, usual=Clock(), plan=[failed(500)])
        rest = leads_in(ran.out)
        ids = {lead["id"] for lead in rest}
        check(len(rest) == len(ids), "a lead is printed twice")
        check(done | ids == everything.keys(), "lost", list(everything.keys() - done - ids)[:20])
        check(all(lead == everything[lead["id"]] for lead in rest), "a lead is not as it is")
        check(len([request for request in ran.requests if request.given[0] == 200]) > 1, "one page is no test")
        mark = asked(ran, None)
        mark = news([], mark)

        # A refusal changes nothing.
        ran = bench.run(name, file, code=None, PARTNER_TOKEN="wbcs_wrong")
        check(len(ran.requests) == 1 and ran.out == "" and "CODE: X-0005" in ran.err, ran)

        # New ones, changed ones, one that moves in, one that moves out, one of whom nothing shows; one is not
        # in the index yet when the poller asks.
        fresh = [api.sign_up_here(f"{name}-new-{number}@example.com") for number in range(4)]
        [late] = api.clients(f"{name}-new-3@example.com")
        lagging = lambda: Clock([late["id"]], created(late) + 30)
        changed, leaving, unseen = bench.random.sample(sorted(old), 3)
        bench.touched |= {changed, leaving, unseen}
        moved = api.sign_up(f"{name}-moved@example.com")
        mark = news(fresh[:3], mark, usual=lagging())
        api.patch(changed, status=f"{name} changed", ftd="2026-01-31T10:00:00Z")
        api.patch(leaving, bucketId="")
        api.patch(unseen, lastName=f"Seen by {name}")
        api.patch(moved, bucketId=bench.environment["BUCKET_ID"])
        wait_for_next_second(api, late)
        check(moved in api.bucket() and leaving not in api.bucket(), "moves")
        mark = news([changed, moved], mark, usual=lagging(), plan=[failed(429, retry_after=1), dropped])
        wait_for_next_second(api, late)
        mark = news([late["id"]], mark)

        # The new email of a known lead is a change of it, and its return is seen.
        api.patch(changed, email=f"{name}-renamed@example.com")
        api.patch(leaving, bucketId=bench.environment["BUCKET_ID"], status="back")
        mark = news([changed, leaving], mark)

        # Killed before the mark is stored, after the leads are printed.
        api.patch(changed, status="again")
        stalled = Stalled()
        bench.killed(name, file, plan=[stalled], stalled=stalled)
        mark = news([changed], mark)
        news([], mark)


# ---------------------------------------------------------------- look-up


def lookup(bench, name):
    here = bench.api.bucket()
    known = sorted(lead["email"] for lead in here.values() if lead["email"].startswith("bulk"))
    known = bench.random.sample(known, ASKED - UNKNOWN)
    elsewhere = f"{name}-elsewhere@example.com"
    bench.api.sign_up(elsewhere)
    unknown = [elsewhere] + [f"nobody{number}@example.com" for number in range(UNKNOWN - 1)]
    lines = known + unknown + bench.random.sample(known, 300) + bench.random.sample(unknown, 200)
    lines = [bench.random.choice([str, str.upper, str.title, " {}\t".format])(line) for line in lines] + ["", "  "]
    bench.random.shuffle(lines)
    check(len({line.strip().lower() for line in lines} - {""}) == ASKED, "not the number of emails")

    def shorter(exchange):
        """As if leads were large: pages end before the limit that was asked for."""
        body = json.loads(exchange.body)
        check(body["limit"] == 5000, body["limit"])
        exchange.reply(*exchange.forward(json.dumps(body | {"limit": 2000}).encode()))

    for how in ({}, {"usual": shorter}, {"plan": [failed(503), passed, dropped, failed(429)]}):
        ran = bench.run(name, stdin="\n".join(lines) + "\n", **how)
        leads = leads_in(ran.out)
        check(sorted(lead["email"] for lead in leads) == sorted(known), "printed", len(leads))
        check(all(lead == here[lead["id"]] for lead in leads), "a lead is not as it is")
        check(ran.err.splitlines()[-1] == f"{len(known)} found, {UNKNOWN} unknown", ran.err)
        sizes = [len(json.loads(request.body)["emails"]) for request in ran.requests]
        check(all(0 < size <= 5000 for size in sizes), sizes)
    ran = bench.run(name, stdin="\n")
    check((ran.out, ran.requests, ran.err) == ("", [], "0 found, 0 unknown\n"), ran)
    ran = bench.run(name, stdin="a@example.com\n", code=None, BUCKET_ID="no/where")
    check("Bucket with corresponding affiliateID doesn't exist" in ran.err and len(ran.requests) == 1, ran)


# ---------------------------------------------------------------- what is not a program


def full(bench, text):
    """The body with all fields is accepted, stored as it is, and leaves out no field that an export has."""
    body = json.loads(text)
    check(body["affiliateID"] == bench.environment["AFFILIATE_ID"], body["affiliateID"])
    bench.api.do("POST", "/tradersroom/api/auth/signup", bench.api.signup, body)
    [client] = bench.api.clients(body["email"])
    managed = {"id", "createdDate", "updatedDate", "ftd", "bucketId"}
    export = [bench.program, "export", bench.environment["BUCKET_ID"], "--full", "--data-dir", str(bench.data)]
    done = subprocess.run(export, capture_output=True, text=True, timeout=PATIENCE, check=True)
    columns = set(done.stdout.splitlines()[0].split(",")) - managed | {"sendEmail"}
    fields = body.keys() - {"billing"} | {f"billing.{field}" for field in body["billing"]}
    check(fields == columns, fields ^ columns)
    phone = re.sub(r"[^+\d]", "", body["phone"])
    # Moments are shown in one form.
    agreements = [one | {"signedAt": re.sub(r"Z$", ".000Z", one["signedAt"])} for one in body["agreements"]]
    check(client | body | {"phone": phone, "agreements": agreements} == client, client)


def errors(bench, text):
    """Each message of the tables is one that the API gives, and the other way round."""
    api, given = bench.api, bench.api.credentials
    buckets = api.do("GET", "/api/admin/buckets?limit=1000", api.admin)["items"]
    other = next(bucket["id"] for bucket in buckets if bucket["affiliateID"] != given["affiliateID"])
    sign_up_path = "/tradersroom/api/auth/signup"

    def lead(body, path=api.leads_path, headers=api.partner):
        return api.raw("POST", path, headers, body)

    def sign_up(headers=(), **fields):
        person = {"email": "errors@example.com", "phone": "+1234567890", "firstName": "Jane"}
        return api.raw("POST", sign_up_path, api.signup | dict(headers), person | fields)

    def padded(size):
        """JSON of just this many bytes."""
        return b'{"ignored":"' + b"x" * (size - 14) + b'"}'

    status, headers, page = lead({"limit": 1})
    cursor = headers["x-next-cursor"]
    check(status == 200 and cursor, status, page)
    for size in (2 << 20, 1 << 20):
        check(len(padded(size)) == size, size)
    check(lead(padded(2 << 20))[0] == 200, "2 MiB are not accepted")
    check(api.raw("POST", sign_up_path, api.signup, padded(1 << 20))[0] == 400, "1 MiB is not read")
    plain = {"Content-Type": "text/plain"}
    provoked = {
        "Leads": [
            lead({}, headers={"Authorization": "Bearer " + given["partnerToken"]}),
            lead({}, api.leads_path.replace(given["bucketId"], "none")),
            lead({}, api.leads_path.replace(given["bucketId"], other)),
            lead({}, api.leads_path + "/none"),
            lead({"limit": 5001}),
            lead({"offset": -1}),
            lead({"emails": [f"{number}@example.com" for number in range(5001)]}),
            lead({"emails": "user1@example.com"}),
            lead({"ids": ["1", 2]}),
            lead({"keyBy": "phone"}),
            lead({"filters": {"updatedDate": ["2026-01-31", None]}}),
            lead({"filters": {"updatedDate": [2, 1]}}),
            lead({"cursor": cursor, "offset": 1}),
            lead({"cursor": cursor, "filters": {"status": ["new"]}}),
            lead(b"{"),
            lead(b"[]"),
            lead(padded((2 << 20) + 1)),
            lead({}, headers=api.partner | plain),
        ],
        "Sign Up": [
            api.raw("POST", sign_up_path, {}, {}),
            sign_up(firstName=" "),
            sign_up(email="USER1@example.com"),
            sign_up(email="nobody"),
            sign_up(phone="12x34"),
            sign_up(dateOfBirth="31.01.1990"),
            sign_up(agreements=[{"signedAt": "now"}]),
            sign_up(agreements=[{"ip": "127.0.0.1:80"}]),
            sign_up(agreements=[{}] * 51),
            sign_up(lastName="x" * 1025),
            sign_up(meta="x" * 16385),
            sign_up(sendEmail="true"),
            sign_up(billing=[]),
            sign_up({"Idempotency-Key": "x" * 256}),
            [sign_up({"Idempotency-Key": "k"}, email=f"errors{number}@example.com") for number in (1, 2)][1],
            api.raw("POST", sign_up_path, api.signup, padded((1 << 20) + 1)),
            sign_up(plain),
        ],
        "Anywhere": [
            api.raw("GET", "/nowhere", {}),
            api.raw("POST", api.leads_path, api.partner, padded((10 << 20) + 1)),
        ],
    }
    for title, answers in provoked.items():
        expected = {(status, answer["message"]) for status, _, answer in answers}
        rows = error_rows(text, title)
        if title == "Anywhere":
            check({status for status, _ in rows} >= UNPROVOKED, rows)
            rows = {row for row in rows if row[0] not in UNPROVOKED}
        check(rows == expected, title, "only in the guide:", rows - expected, "only in the API:", expected - rows)
        code = {"Leads": "statusCode", "Sign Up": "providerStatus", "Anywhere": None}[title]
        for status, headers, answer in answers:
            check(answer.keys() == {"message", code} - {None}, answer)
            check(headers["x-request-id"], headers)
    check(not api.clients("errors@example.com"), "a refused sign-up is stored")


# ---------------------------------------------------------------- all of it


RUNNERS = {"selfcheck": selfcheck, "signup": signup, "lookup": lookup, "poll": poll}
LIBRARY = "wbcs"
DATA = {"full.json": full}
NEED_IMPORT = ("lookup.", "poll.")


def import_leads(bench):
    """Leads for the bucket, more than a page."""
    known = bench.api.credentials
    whose = f"{known['affiliateID']},{known['sourceId']}"
    rows = [f"bulk{number}@example.com,+1234567890,Jane,{whose}" for number in range(IMPORTED)]
    file = bench.data / "bulk.csv"
    file.write_text("\n".join(["email,phone,firstName,affiliateID,sourceId", *rows, ""]))
    command = [bench.program, "import", str(file), "--data-dir", str(bench.data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    check(done.returncode == 0 and done.stdout.startswith(f"{IMPORTED} imported"), done)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="the local stack's program")
    parser.add_argument("names", nargs="*", metavar="name", help="poll.py, errors and the like")
    parser.add_argument("--guide", type=pathlib.Path, default=GUIDE)
    options = parser.parse_args()
    text, program = options.guide.read_text(), options.program
    contents_lead_somewhere(text)
    found = snippets(text)
    expected = {f"{task}.{ending}" for task in (*RUNNERS, LIBRARY) for ending in COMMANDS} | DATA.keys()
    check(found.keys() == expected, "without a runner or without a snippet:", sorted(found.keys() ^ expected))
    for name, snippet in found.items():
        task, ending = name.rsplit(".", 1)
        if task in RUNNERS:
            uses = LIBRARY if ending == "py" else f"{LIBRARY}.{ending}"
            check(re.search(rf"\b{re.escape(uses)}\b", snippet), f"{name} does not use {uses}")
    with stack(program) as data, tempfile.TemporaryDirectory() as folder:
        api = Api(json.loads((data / "credentials.json").read_text()))
        base = urllib.parse.urlsplit(api.credentials["baseUrl"]).netloc
        with forwarder(base) as between:
            bench = Bench(program, data, api, between, pathlib.Path(folder), found)
            tests = [(name, test, (bench, found[name])) for name, test in DATA.items()]
            tests += [("errors", errors, (bench, text)), ("import", import_leads, (bench,))]
            for task, test in RUNNERS.items():
                tests += [(f"{task}.{ending}", test, (bench, f"{task}.{ending}")) for ending in COMMANDS]
            known = {name for name, _, _ in tests}
            chosen = set(options.names) or known
            check(chosen <= known, "no such test:", chosen - known)
            if any(name.startswith(NEED_IMPORT) for name in chosen):
                chosen.add("import")
            for name, test, arguments in tests:
                if name not in chosen:
                    continue
                started = time.monotonic()
                print(f"{name}: ", end="", flush=True)
                test(*arguments)
                print(f"ok, {time.monotonic() - started:.1f} s", flush=True)
    print(f"{len(found)} snippets, {checks} checks")


if __name__ == "__main__":
    main()
