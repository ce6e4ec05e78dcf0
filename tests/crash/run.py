"""Kills the local stack, and imports into it, at random moments while clients sign up, operators change things and
emails are sent; after each kill, everything that was acknowledged is there, once, in every view, and nothing is half
there. Usage: run.py PROGRAM [KILLS] [SEED]"""

import collections
import contextlib
import email
import email.policy
import http.client
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

PATIENCE = 120  # seconds
WORKERS = 5
ROWS = 600  # of one file that is imported
# An import's checkpoint moves every 4 MB: blanks between the fields make that 200 rows.
ROW_BYTES = 60_000
STATUSES = ["new", "contacted", "no answer", "sold"]
SOURCES = ["facebook", "google ads", "tv"]
ABSENT = None
FAILED = 1  # how `local check` and `local import` end that could not do their work
ATTEMPTS = 10  # of a check, on a machine that has much else to do
FAILED_IMPORTS = 3  # that may be resumed without a kill, for the same reason


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"it never came to this: {what}"
        time.sleep(0.05)


class Lost(Exception):
    """A request that got no answer."""


class Caller:
    """Requests over one connection, as whoever holds a token. Each worker has its own."""

    def __init__(self, base, token):
        self.host, self.token, self.connection = base.removeprefix("http://"), token, None

    def call(self, method, path, body=None, expected=(200,), headers=()):
        """Status, headers and body of the answer; no answer, or half of one, is `Lost`."""
        headers = {"Content-Type": "application/json", "Authorization": self.token, "x-api-key": self.token} | dict(
            headers
        )
        try:
            self.connection = self.connection or http.client.HTTPConnection(self.host, timeout=PATIENCE)
            self.connection.request(method, path, None if body is None else json.dumps(body), headers)
            with self.connection.getresponse() as answer:
                text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Lost(f"{method} {path}: {error!r}") from error
        assert answer.status in expected, f"{method} {path} {body}: {answer.status} {text}"
        return answer.status, answer.headers, json.loads(text) if text else None

    def get(self, path):
        return self.call("GET", path)[2]

    def items(self, path):
        """All of an admin list."""
        found, cursor = [], ""
        while cursor is not None:
            page = self.get(f"{path}{'&' if '?' in path else '?'}limit=1000{cursor and '&cursor=' + cursor}")
            found += page["items"]
            cursor = page["nextCursor"]
        return found

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class Thing:
    """A client, token, role or bucket: what it must be like, and what it may be since a request got no answer."""

    def __init__(self, kind, state, id=None):
        self.kind, self.id = kind, id
        # The states that it may be in, the acknowledged one first. `ABSENT`: it is not there.
        self.states = [state]
        self.request = None  # a sign-up: key and body
        self.secret = None  # a token
        self.is_fresh = True
        self.is_lost = False  # a request was on its way when the stack was killed
        self.cut_off = None  # that request's kind and state, of what is no client
        self.is_unconfirmed = False  # the sign-up was done without an answer, and its repetition has to say so

    @property
    def state(self):
        return self.states[0]

    def settle(self, state):
        self.states, self.is_fresh = [state], True


class Worker(threading.Thread):
    """Does one thing after the other with what is its own, until the stack is killed."""

    def __init__(self, run, number, base, tokens, seed):
        super().__init__(daemon=True)
        self.run_, self.number, self.random = run, number, random.Random(seed)
        self.admin, self.signup = Caller(base, tokens["admin"]), Caller(base, tokens["signup"])
        self.things = run.things[number]
        self.affiliate = f"crash-{number}"
        self.problem = None

    def run(self):
        actions = [(self.sign_up, 6), (self.change, 6), (self.token, 2), (self.role, 1), (self.bucket, 2)]
        actions, weights = zip(*actions)
        try:
            while True:
                self.random.choices(actions, weights)[0]()
        except Lost:
            pass
        except BaseException as error:
            self.problem = error
        finally:
            self.admin.close()
            self.signup.close()

    def do(self, kind, thing, state, request):
        """Makes a request that brings the thing into a state; without an answer it is in this one or the last."""
        if thing not in self.things:
            self.things.append(thing)
        started = time.monotonic()
        thing.states.append(state)
        try:
            answer = request()
        except Lost as lost:
            killed = self.run_.killed
            assert killed is not None, f"nobody was killed: {lost}"
            # One that was begun after the kill reached nobody.
            if started < killed:
                thing.is_lost = True
                self.run_.lost.append((kind, thing, state))
            raise
        self.run_.count("acknowledged", kind)
        return answer

    def of(self, kind):
        """One that is there for sure."""
        fit = [one for one in self.things if one.kind == kind and len(one.states) == 1 and one.state is not ABSENT]
        return self.random.choice(fit) if fit else None

    def sign_up(self):
        name = self.run_.name()
        body = {"email": f"{name}@Example.com", "phone": "+1234567890", "firstName": name}
        if self.random.random() < 0.85:
            body["affiliateID"] = self.affiliate
        if self.random.random() < 0.7:
            body["sourceId"] = self.random.choice(SOURCES)
        if self.random.random() < 0.3:
            body["sendEmail"] = True
        if self.random.random() < 0.15:
            body["meta"] = "m" * 6000
        thing = Thing("client", ABSENT)
        thing.request = (name if self.random.random() < 0.5 else None, body)
        # Where it is routed is the stack's own.
        state = {
            "email": body["email"],
            "status": "new",
            "affiliateID": body.get("affiliateID"),
            "sourceId": body.get("sourceId"),
            "sendEmail": body.get("sendEmail", False),
        }
        kind = "sign-up" if thing.request[0] is None else "sign-up with key"
        kind += " and email" if state["sendEmail"] else ""
        _, _, answer = self.do(kind, thing, state, lambda: sign_up(self.signup, thing))
        thing.id = answer["id"]
        thing.settle(state)

    def change(self):
        thing = self.of("client")
        if not thing:
            return
        state, kind = dict(thing.state), self.random.choice(["status", "email", "bucket", "affiliate"])
        if kind == "status":
            change = {"status": self.random.choice(STATUSES)}
        elif kind == "email":
            change = {"email": f"{self.run_.name()}@Example.com"}
        elif kind == "affiliate":
            change = {"affiliateID": self.random.choice([self.affiliate, "crash-none"])}
            state.pop("bucketId", None)
        else:
            bucket = self.of("bucket")
            if not bucket:
                return
            change = {"bucketId": bucket.id, "affiliateID": self.affiliate}
        state |= change
        path = f"/api/admin/clients/{thing.id}"
        self.do(f"client's {kind}", thing, state, lambda: self.admin.call("PATCH", path, change))
        thing.settle(state)

    def token(self):
        thing = self.of("token")
        if thing and self.random.random() < 0.4:
            path = f"/api/admin/tokens/{thing.id}"
            self.do("token deleted", thing, ABSENT, lambda: self.admin.call("DELETE", path, None, (204,)))
            thing.settle(ABSENT)
            return
        role = self.of("role")
        state = {"name": self.run_.name(), "roleId": role.id if role else "sign-up"}
        thing = Thing("token", ABSENT)
        _, _, made = self.do(
            "token created", thing, state, lambda: self.admin.call("POST", "/api/admin/tokens", state, (201,))
        )
        thing.id, thing.secret = made["id"], made["token"]
        thing.settle(state)

    def role(self):
        thing, chance = self.of("role"), self.random.random()
        path = f"/api/admin/roles/{thing.id}" if thing else ""
        if thing and chance < 0.3:
            status, *_ = self.do("role deleted", thing, ABSENT, lambda: self.admin.call("DELETE", path, None, (204, 409)))
            thing.settle(thing.state if status == 409 else ABSENT)
        elif thing and chance < 0.6:
            state = thing.state | {"permissions": self.random.sample(["clients:view", "clients:create"], 1)}
            self.do("role changed", thing, state, lambda: self.admin.call("PATCH", path, state))
            thing.settle(state)
        else:
            state, thing = {"name": self.run_.name(), "permissions": ["clients:view"]}, Thing("role", ABSENT)
            _, _, made = self.do(
                "role created", thing, state, lambda: self.admin.call("POST", "/api/admin/roles", state, (201,))
            )
            thing.id = made["id"]
            thing.settle(state)

    def bucket(self):
        thing, chance = self.of("bucket"), self.random.random()
        path = f"/api/admin/buckets/{thing.id}" if thing else ""
        taken = {
            source
            for one in self.things
            if one.kind == "bucket"
            for state in one.states
            if state is not ABSENT
            for source in state["sources"]
        }
        free = [source for source in SOURCES if source not in taken]
        sources = self.random.sample(free, self.random.randrange(len(free) + 1))
        if thing and chance < 0.3:
            status, *_ = self.do(
                "bucket deleted", thing, ABSENT, lambda: self.admin.call("DELETE", path, None, (204, 409))
            )
            thing.settle(thing.state if status == 409 else ABSENT)
        elif thing and (chance < 0.6 or len(self.things) > 400):
            state = thing.state | {"sources": sources}
            self.do("bucket's sources", thing, state, lambda: self.admin.call("PATCH", path, {"sources": sources}))
            thing.settle(state)
        elif sum(one.kind == "bucket" and one.state is not ABSENT for one in self.things) < 4:
            state = {"name": self.run_.name(), "affiliateID": self.affiliate, "sources": sources}
            thing = Thing("bucket", ABSENT)
            _, _, made = self.do(
                "bucket created", thing, state, lambda: self.admin.call("POST", "/api/admin/buckets", state, (201,))
            )
            thing.id = made["id"]
            thing.settle(state)


def sign_up(caller, thing):
    key, body = thing.request
    headers = {"Idempotency-Key": key} if key else {}
    return caller.call("POST", "/tradersroom/api/auth/signup", body, headers=headers)


class Import:
    """`local import` in a process of its own, file after file, each to its end over as many kills as it takes."""

    def __init__(self, run):
        self.run, self.number, self.process, self.path, self.begun = run, 0, None, None, 0
        self.done = 0  # rows of finished files
        self.is_alone = False  # with an engine of its own, which nobody kills
        self.failed = 0  # how often it ended by itself, and not at its end

    def start(self):
        if self.path is None:
            self.number += 1
            self.path = self.run.directory / f"import-{self.number}.jsonl"
            with open(self.path, "w") as file:
                for row in range(ROWS):
                    line = json.dumps(self.row(self.number, row))
                    file.write(line[:-1] + " " * (ROW_BYTES - len(line)) + "}\n")
        self.begun, self.is_alone = self.acknowledged(), self.run.killed is not None
        command = [self.run.program, "import", str(self.path), "--data-dir", str(self.run.data)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def row(number, row):
        fields = {"email": f"import-{number}-{row}@example.com", "phone": "12345", "firstName": "Imported"}
        if row % 4:
            fields |= {"affiliateID": "crash-import", "sourceId": SOURCES[row % 3]}
        return fields

    def moves(self):
        """Waits until its checkpoint has moved, or it is at its end."""
        until(lambda: self.process.poll() is not None or self.acknowledged() > self.begun, "the checkpoint moves")

    def kill(self):
        """Kills it, where it has not come to its end."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
            self.run.count("cut off", "import")
            self.run.count("moved", "checkpoint", int(self.acknowledged() > self.begun))
        else:
            self.finish()
        self.process = None

    def finish(self):
        """Waits for its end."""
        out, log = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode in (0, FAILED), (self.process.returncode, out, log)
        if self.process.returncode == 0:
            assert self.acknowledged() == ROWS, (out, log)
            self.run.count("acknowledged", "import")
            self.path.unlink()
            self.path, self.done = None, self.done + ROWS
        elif self.is_alone or self.run.killed is None:
            # Otherwise its DynamoDB was killed under it, a moment before its own kill.
            self.failed += 1
            assert self.failed <= FAILED_IMPORTS, (out, log)
        self.process = None

    def has_ended(self):
        return self.process is not None and self.process.poll() is not None

    def acknowledged(self):
        """How many rows of the file that is under way the checkpoint says are clients."""
        with contextlib.suppress(FileNotFoundError):
            known = json.loads(pathlib.Path(f"{self.path}.checkpoint").read_text())
            assert known["imported"] == known["record"], known
            return known["imported"]
        return 0

    def expected(self):
        """Emails of the rows that must be there, and of those that may be."""
        must = {self.row(number, row)["email"] for number in range(1, self.number) for row in range(ROWS)}
        if self.path is None:
            must |= {self.row(self.number, row)["email"] for row in range(ROWS) if self.number}
            return must, must
        must |= {self.row(self.number, row)["email"] for row in range(self.acknowledged())}
        return must, must | {self.row(self.number, row)["email"] for row in range(ROWS)}


class Run:
    def __init__(self, program, directory, seed):
        self.program, self.directory, self.data = program, pathlib.Path(directory), pathlib.Path(directory, "data")
        self.random = random.Random(seed)
        self.things = [[] for _ in range(WORKERS)]
        self.counts = collections.defaultdict(collections.Counter)
        self.lock, self.names, self.lost, self.killed = threading.Lock(), 0, [], None
        self.imports, self.files, self.retries, self.known = Import(self), {}, [], set()
        self.tokens, self.process, self.base = None, None, None

    def count(self, what, kind, by=1):
        with self.lock:
            self.counts[what][kind] += by

    def name(self):
        with self.lock:
            self.names += 1
            return f"n{self.names}"

    def start(self):
        self.killed = None
        command = [self.program, "--port", "0", "--data-dir", str(self.data), "--log", "warn"]
        with open(self.directory / "log", "a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert any(line.startswith("Ready") for line in self.process.stdout), "the stack did not start"
        credentials = json.loads((self.data / "credentials.json").read_text())
        self.base = credentials["baseUrl"]
        if self.tokens is None:
            self.tokens = {"admin": credentials["adminToken"], "signup": credentials["signupKey"]}
            self.prepare(Caller(self.base, self.tokens["admin"]))
        assert credentials["adminToken"] == self.tokens["admin"], "the administrator's token did not outlive a kill"

    def prepare(self, admin):
        """A reader of all buckets, and the buckets that imported clients go to."""
        role = {"name": "reader", "permissions": ["buckets:view-all"]}
        role = admin.call("POST", "/api/admin/roles", role, (201,))[2]
        token = {"name": "reader", "roleId": role["id"]}
        self.tokens["reader"] = admin.call("POST", "/api/admin/tokens", token, (201,))[2]["token"]
        for name, sources in (("some", SOURCES[:2]), ("open", [])):
            bucket = {"name": name, "affiliateID": "crash-import", "sources": sources}
            admin.call("POST", "/api/admin/buckets", bucket, (201,))

    def kill(self):
        # Noted before: what is begun later can't have reached it.
        self.killed = time.monotonic()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def check(self):
        """`local check` finds nothing at all."""
        command = [self.program, "check", "--json", "--data-dir", str(self.data)]
        for _ in range(ATTEMPTS):
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
            # Or it did not read a table in time.
            if done.returncode != FAILED:
                break
        assert done.returncode == 0, done.stdout + done.stderr
        report = json.loads(done.stdout)
        assert report["consistent"] and report["unsettled"] == 0, report
        self.count("checks", "consistency")

    # ------------------------------------------------------------------ a round

    def round(self, number):
        """Lets everybody work for a while, and kills; or lets an import work alone, and kills that."""
        seconds = self.random.choice([self.random.uniform(0.02, 0.3), self.random.uniform(0.2, 1.0)])
        if number % 8 == 7:
            # On the data directory that no stack works on: with an engine of its own.
            self.kill_idle()
            self.imports.start()
            self.imports.moves()
            time.sleep(seconds / 4)
            self.imports.kill()
            self.count("kills", "import alone")
            return
        workers = [Worker(self, at, self.base, self.tokens, self.random.random()) for at in range(WORKERS)]
        if number % 3 != 2:
            self.imports.start()
            # It has to find the stack first.
            seconds += 0.3
        for worker in workers:
            worker.start()
        if number % 4 == 1 and self.imports.process:
            self.imports.moves()
        time.sleep(seconds)
        # What has ended by itself did so on a stack that was there.
        if self.random.random() < 0.5 or self.imports.has_ended():
            self.imports.kill()
        self.kill()
        self.imports.kill()
        self.count("kills", "stack")
        for worker in workers:
            worker.join(PATIENCE)
            assert not worker.is_alive(), "a worker waits for ever"
            if worker.problem:
                raise worker.problem
        self.count("emails", "waiting at kills", self.waiting())

    def kill_idle(self):
        """Nothing is under way but emails."""
        self.kill()
        self.count("kills", "stack at rest")

    # ------------------------------------------------------------------ what must be there

    def verify(self, all_of_them=False):
        admin, reader = Caller(self.base, self.tokens["admin"]), Caller(self.base, self.tokens["reader"])
        listed = admin.items("/api/admin/clients")
        clients = {client["id"]: client for client in listed}
        emails = {client["email"].lower(): client for client in listed}
        assert len(clients) == len(emails) == len(listed), "a client is there twice"
        self.settle_clients(admin, clients, emails)
        listed = admin.items("/api/admin/clients")
        clients = {client["id"]: client for client in listed}
        assert len(clients) == len(listed), "a client is there twice"
        self.settle_others(admin)
        self.everybody_was_asked_for(clients)
        self.partners_see(admin, reader, clients)
        for thing in (thing for things in self.things for thing in things):
            if thing.kind == "client" and thing.state is not ABSENT and (thing.is_fresh or all_of_them):
                found = admin.get(f"/api/admin/clients/{thing.id}")
                self.same_client(thing, found)
                address = urllib.parse.quote(found["email"].upper())
                by_email = admin.items(f"/api/admin/clients?email={address}")
                assert by_email == [found], (found, by_email)
                self.count("checks", "client by id and email")
                thing.is_fresh = False
        self.look_at_emails(final=False)
        admin.close()
        reader.close()

    def same_client(self, thing, found):
        """What is found is one of the states that the client may be in; then it is in that one."""
        fits = [state for state in thing.states if state is not ABSENT and all(found[k] == state[k] for k in state)]
        assert fits, f"client {thing.id} must be {thing.states}, and is {found}"
        state = {name: found[name] for name in ("email", "status", "affiliateID", "sourceId", "bucketId", "sendEmail")}
        if len(thing.states) > 1 or "bucketId" not in thing.state:
            thing.states = [state]

    def settle_clients(self, admin, clients, emails):
        """What became of the requests that got no answer: all of it, or nothing."""
        lost, self.lost = self.lost, []
        for kind, thing, state in lost:
            self.count("cut off", kind)
            if thing.kind == "client":
                whole = self.settle_sign_up(thing, emails) if thing.id is None else self.was_changed(thing, state, clients)
                self.count("whole", kind, int(whole))
                thing.is_fresh = True
            else:
                thing.cut_off = (kind, state)
        for thing in (thing for things in self.things for thing in things):
            if thing.kind != "client":
                continue
            if thing.id is None:
                # It was begun after the kill, or cut off without a trace: it may be asked for again.
                thing.states = [ABSENT]
                if thing.request[0] and thing not in self.retries and thing.is_lost:
                    self.retries.append(thing)
            elif thing.state is not ABSENT:
                self.same_client(thing, clients.get(thing.id) or {"missing": thing.id})
        # The same request again, with the same key: one client, whatever became of the first.
        for thing in self.retries:
            if thing.id is None or thing.is_unconfirmed:
                status, headers, answer = sign_up(Caller(self.base, self.tokens["signup"]), thing)
                if thing.id is not None:
                    assert answer["id"] == thing.id and headers["idempotency-replayed"] == "true", (answer, thing.id)
                    self.count("retries", "of one that was whole")
                else:
                    assert headers["idempotency-replayed"] is None, answer
                    self.count("retries", "of one that was absent")
                    thing.id = answer["id"]
                    found = admin.get(f"/api/admin/clients/{thing.id}")
                    assert found["email"] == thing.request[1]["email"], found
                    thing.states = [{name: found[name] for name in ("email", "status", "bucketId", "sendEmail")}]
                    thing.states[0] |= {name: found[name] for name in ("affiliateID", "sourceId")}
                thing.is_unconfirmed, thing.is_fresh = False, True
        self.retries = []

    def settle_sign_up(self, thing, emails):
        found = emails.get(thing.request[1]["email"].lower())
        if found is None:
            return False
        thing.id, thing.states = found["id"], thing.states[1:]
        self.same_client(thing, found)
        if thing.request[0]:
            thing.is_unconfirmed = True
            self.retries.append(thing)
        return True

    def was_changed(self, thing, state, clients):
        found = clients.get(thing.id)
        assert found, f"client {thing.id} is gone: it must be {thing.states}"
        return all(found[name] == state[name] for name in state)

    def settle_others(self, admin):
        """Tokens, roles and buckets: as acknowledged, or as what got no answer may have made them."""
        for kind in ("token", "role", "bucket"):
            listed = admin.items(f"/api/admin/{kind}s")
            found = {one["id"]: one for one in listed}
            by_name = {one["name"]: one for one in listed}
            assert len(found) == len(listed), f"a {kind} is there twice"
            for thing in (thing for things in self.things for thing in things if thing.kind == kind):
                if thing.id is None:
                    # Its creation got no answer.
                    made = by_name.get(thing.states[-1]["name"]) if thing.states[-1] is not ABSENT else None
                    thing.id = made["id"] if made else None
                now = found.get(thing.id)
                fits = [
                    state
                    for state in thing.states
                    if (now is None) == (state is ABSENT) and (now is None or self.same(now, state))
                ]
                assert fits, f"{kind} {thing.id} must be {thing.states}, and is {now}"
                if thing.cut_off:
                    (lost, state), thing.cut_off = thing.cut_off, None
                    self.count("whole", lost, int(fits[-1] == state and len(fits) < len(thing.states)))
                if thing.is_fresh and thing.id is not None:
                    status, _, alone = admin.call("GET", f"/api/admin/{kind}s/{thing.id}", None, (200, 404))
                    assert (status == 404) == (now is None) and (now is None or self.same(alone, fits[-1])), alone
                    if thing.secret:
                        own = Caller(self.base, thing.secret)
                        own.call("GET", "/api/public/token", None, (401,) if now is None else (200,))
                        own.close()
                    self.count("checks", f"{kind} by id")
                    thing.is_fresh = False
                thing.states = [fits[-1]]
        # What is gone needs no further look.
        for things in self.things:
            things[:] = [one for one in things if one.state is not ABSENT or one.kind == "client"]

    @staticmethod
    def same(found, state):
        plain = lambda value: sorted(value) if isinstance(value, list) else value
        return all(plain(found[name]) == plain(state[name]) for name in state)

    def everybody_was_asked_for(self, clients):
        must, may = self.imports.expected()
        own = {thing.id for things in self.things for thing in things if thing.kind == "client" and thing.id}
        assert own <= clients.keys(), f"clients are gone: {own - clients.keys()}"
        emails = {client["email"] for client in clients.values()}
        assert must <= emails, f"imported clients are gone: {sorted(must - emails)[:9]}"
        self.known = self.known or {id for id, client in clients.items() if client["email"] not in may and id not in own}
        others = {client["email"] for id, client in clients.items() if id not in own and id not in self.known}
        assert others <= may, f"nobody asked for {others - may}"
        self.count("checks", "all clients listed")

    def partners_see(self, admin, reader, clients):
        """Every bucket's leads in every view, and the counts beside them."""
        for bucket in admin.items("/api/admin/buckets"):
            inside = {c["email"]: c for c in clients.values() if c["bucketId"] == bucket["id"]}
            path = f"/api/public/buckets/{bucket['id']}/{urllib.parse.quote(bucket['affiliateID'])}/leads"
            views = [("bucket", path, {}, inside)]
            for source in bucket["sources"]:
                of_source = {address: c for address, c in inside.items() if c["sourceId"] == source}
                views.append(("source", f"{path}/{urllib.parse.quote(source)}", {}, of_source))
            if inside:
                asked = [address.upper() for address in inside]
                views.append(("emails", path, {"emails": asked}, inside))
                views.append(("ids", path, {"ids": [c["id"] for c in inside.values()]}, inside))
                status = self.random.choice(STATUSES)
                of_status = {address: c for address, c in inside.items() if c["status"] == status}
                views.append(("status", path, {"filters": {"status": [status]}}, of_status))
            for view, url, body, expected in views:
                _, headers, leads = reader.call("POST", url, body | {"limit": 5000})
                fields = ("id", "email", "affiliateID", "status", "createdDate", "ftd")
                wanted = {a: {name: c[name] for name in fields} for a, c in expected.items()}
                differing = wanted.keys() ^ leads.keys() or {a for a in wanted if wanted[a] != leads[a]}
                assert not differing, f"{view} {url}: {sorted(differing)[:9]}"
                total = headers["x-total-count"]
                assert total == str(len(expected)) or (view == "status" and total is None), (view, url, total)
                assert headers["x-missing-count"] in (None, "0"), (view, headers["x-missing-count"])
                self.count("checks", f"leads by {view}")
            stats = admin.get(f"/api/admin/buckets/{bucket['id']}/stats")
            statuses = collections.Counter(c["status"] for c in inside.values())
            assert stats["total"] == len(inside), (stats, len(inside))
            assert {one["status"]: one["leads"] for one in stats["statuses"]} == dict(statuses), (stats, statuses)
            self.count("checks", "counts of a bucket")

    # ------------------------------------------------------------------ emails

    def look_at_emails(self, final):
        """Nobody gets two, and nobody who did not ask. An email that was cut off between its file and the note of it
        is written again, in the place of the first: that is told."""
        receivers = collections.Counter()
        for path in (self.data / "outbox").glob("*.eml"):
            node = path.stat().st_ino, path.stat().st_mtime_ns
            known = self.files.get(path.name)
            if known is None or known[0] != node:
                text = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
                if known is not None:
                    self.count("emails", "written again after a kill")
                known = self.files[path.name] = node, text["To"].lower()
            receivers[known[1]] += 1
        asked = {
            thing.request[1]["email"].lower()
            for things in self.things
            for thing in things
            if thing.kind == "client" and thing.id and thing.request[1].get("sendEmail")
        }
        assert not receivers or max(receivers.values()) == 1, f"two emails: {receivers.most_common(3)}"
        assert receivers.keys() <= asked, f"nobody asked for emails to {receivers.keys() - asked}"
        if final:
            assert receivers.keys() == asked, f"no emails to {asked - receivers.keys()}"
        self.counts["emails"]["asked for"], self.counts["emails"]["sent"] = len(asked), len(receivers)
        return len(receivers) == len(asked)

    def waiting(self):
        """How many were asked for and are not there."""
        asked = (thing for things in self.things for thing in things if thing.kind == "client" and thing.id)
        count = sum(bool(thing.request[1].get("sendEmail")) for thing in asked)
        return max(0, count - sum(1 for _ in (self.data / "outbox").glob("*.eml")))

    # ------------------------------------------------------------------ figures

    def is_enough(self):
        """Whether kills did hit what they are to hit."""
        cut = self.counts["cut off"]
        whole, total = sum(self.counts["whole"].values()), sum(cut.values())
        signups = sum(count for kind, count in cut.items() if kind.startswith("sign-up"))
        retried = self.counts["retries"]["of one that was absent"] + self.counts["retries"]["of one that was whole"]
        return bool(signups and cut["import"] and self.counts["moved"]["checkpoint"] and retried and total > signups + cut["import"] and whole)

    def figures(self, seconds):
        order = ["kills", "acknowledged", "cut off", "whole", "retries", "emails", "checks"]
        titles = {"cut off": "cut off by a kill", "whole": "of these whole", "retries": "retries with the same key"}
        for what in order:
            counts = self.counts[what]
            total = "" if what == "emails" else f" {sum(counts.values())}:"
            shown = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
            print(f"{titles.get(what, what)}:{total} {shown}")
        rows = self.imports.done + (self.imports.acknowledged() if self.imports.path else 0)
        moved = self.counts["moved"]["checkpoint"]
        print(f"imported: {rows} rows of {self.imports.number} files, cut off {moved} times after a checkpoint,", end=" ")
        print(f"resumed {self.imports.failed} times without a kill")
        print(f"{seconds:.0f} s")


def main(program, kills=40, seed=1):
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        run = Run(str(pathlib.Path(program).resolve()), directory, seed)
        try:
            run.start()
            run.verify()
            number = 0
            # A machine may be so slow that kills come before anything is under way: then there are more.
            while number < kills or (not run.is_enough() and number < kills + 200):
                run.round(number)
                number += 1
                if number % 2:
                    run.check()
                run.start()
                if number % 2 == 0:
                    run.check()
                run.verify()
            assert run.is_enough(), f"kills hit nothing: {dict(run.counts['cut off'])}"
            # The import comes to its end, and the emails are sent: one that was claimed when its stack was killed
            # half a minute later.
            while run.imports.path is not None or not run.imports.done:
                run.imports.start()
                run.imports.finish()
            until(lambda: run.look_at_emails(final=False), "everybody who asked for an email has got it")
            run.verify(all_of_them=True)
            run.look_at_emails(final=True)
            run.check()
        except BaseException:
            log = run.directory / "log"
            print("seed", seed, "\n", log.read_text()[-3000:] if log.exists() else "", file=sys.stderr)
            raise
        finally:
            for process in (run.process, run.imports.process):
                if process and process.poll() is None:
                    process.kill()
                    process.wait()
        run.figures(time.monotonic() - begin)


main(sys.argv[1], *map(int, sys.argv[2:]))
