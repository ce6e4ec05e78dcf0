"""What schemathesis needs to know of the API: tokens, and ids of what is there. Loaded by run.py."""

import atexit
import collections
import copy
import itertools
import json
import os
import pathlib
import re
import urllib.error
import urllib.request

import jsonschema_rs
import schemathesis
from hypothesis import strategies
from schemathesis.core.failures import Failure
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks as built_in

CREDENTIALS = json.loads(os.environ["WBCS_CREDENTIALS"])
DOCUMENT = json.loads(pathlib.Path(os.environ["WBCS_DOCUMENT"]).read_text(encoding="utf-8"))
BASE, LEADS_BUCKET = CREDENTIALS["baseUrl"], CREDENTIALS["bucketId"]

# Refusals of requests that are right by the document's schemas: rules that join several fields or ask what is
# there, which a schema cannot tell and the fields' descriptions do.
BEYOND_SCHEMAS = re.compile(
    r"Bucket with corresponding affiliateID doesn't exist"
    r"|Provided (bucketId|sourceId) does not belong to .*"
    r"|User with this email already exists"
    r"|Idempotency-Key must not be used again .*"
    r"|filters\.\w+ must not have from after to"
    r"|from must not be after to"
    r"|cursor must not be given together with offset"
    r"|cursor must be the (next|x-next-)[cC]ursor of an answer to the same .*"
    r"|meta must have at most 16384 bytes"
    r"|roleId must be the id of a role"
    # A format of ours; schemathesis knows to make some that are right, and tries an empty text besides.
    r"|whitelist\[\d+\] must be an IP address or CIDR block"
    r"|affiliateIDs must have at least one affiliate for a role .*"
    r"|expiresAt must be (in the future|an ISO 8601 date-time from 1970 to 2286)"
    r"|(ftd|to|from) must be an ISO 8601 date(-time)? from 1970 to 2286"
    r"|bucketId must be the id of a bucket.*"
    r"|body must have (a field|\w+ or \w+) to change.*"
)


blocks = strategies.builds(
    lambda address, bits: f"{address}/{bits % (address.max_prefixlen + 1)}",
    strategies.ip_addresses().filter(lambda address: not getattr(address, "ipv4_mapped", None)),
    strategies.integers(0, 128),
)
schemathesis.openapi.format("ip-or-cidr", blocks | strategies.ip_addresses().map(str))


def call(method, path, body=None, token=CREDENTIALS["adminToken"], header="Authorization"):
    """A request of our own, to set up what a test needs."""
    headers = {header: token, "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
        return json.loads(text) if text else None


class KeepRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


serial = itertools.count()


def new_token():
    return call("POST", "/api/admin/tokens", {"name": "of a test", "roleId": "sign-up"})["id"]


def new_role():
    return call("POST", "/api/admin/roles", {"name": "of a test", "permissions": ["clients:create"]})["id"]


def new_bucket():
    body = {"name": "of a test", "affiliateID": f"A{next(serial)}", "sources": ["s"]}
    return call("POST", "/api/admin/buckets", body)["id"]


def sign_up():
    body = {"email": f"new{next(serial)}@example.com", "phone": "+1234567890", "firstName": "Jane"}
    return call("POST", "/tradersroom/api/auth/signup", body, CREDENTIALS["signupKey"], "x-api-key")


def new_link():
    return sign_up()["url"].split("/autologin/")[1].strip("/")


def new_session():
    request = urllib.request.Request(f"{BASE}/autologin/{new_link()}/", method="POST")
    try:
        urllib.request.build_opener(KeepRedirects).open(request, timeout=60)
    except urllib.error.HTTPError as answer:
        return answer.headers["Set-Cookie"].split(";")[0]
    raise AssertionError("a link that signs in answers with a redirect")


def kept(make):
    """One for all requests, made when it is needed first."""
    made = []
    return lambda: made[0] if made else (made.append(make()) or made[0])


one_token, one_role, one_bucket = kept(new_token), kept(new_role), kept(new_bucket)
one_client, one_session = kept(lambda: sign_up()["id"]), kept(new_session)
# By operation: what its path's parameters stand for, where they stand for something.
PATHS = {
    "leads": lambda: {"bucketId": LEADS_BUCKET, "affiliateID": CREDENTIALS["affiliateID"]},
    "leads-by-source": lambda: {
        "bucketId": LEADS_BUCKET,
        "affiliateID": CREDENTIALS["affiliateID"],
        "sourceId": CREDENTIALS["sourceId"],
    },
    "autologin-show": lambda: {"link": new_link()},
    "autologin-head": lambda: {"link": new_link()},
    "autologin-use": lambda: {"link": new_link()},
    "admin-tokens-get": lambda: {"tokenId": one_token()},
    "admin-tokens-change": lambda: {"tokenId": one_token()},
    "admin-tokens-delete": lambda: {"tokenId": new_token()},
    "admin-roles-get": lambda: {"roleId": one_role()},
    "admin-roles-change": lambda: {"roleId": one_role()},
    "admin-roles-delete": lambda: {"roleId": new_role()},
    "admin-buckets-get": lambda: {"bucketId": one_bucket()},
    "admin-buckets-change": lambda: {"bucketId": one_bucket()},
    "admin-buckets-delete": lambda: {"bucketId": new_bucket()},
    "admin-buckets-route": lambda: {"bucketId": one_bucket()},
    "admin-buckets-stats": lambda: {"bucketId": LEADS_BUCKET},
    "admin-clients-get": lambda: {"clientId": one_client()},
    "admin-clients-change": lambda: {"clientId": one_client()},
    "console-path": lambda: {"path": "assets/outdated/main.js"},
    "docs-asset": lambda: {"file": "page.js"},
}


# What such a parameter stands for where nothing is to be found.
NOBODYS = {
    "tokenId": "0" * 32,
    "roleId": "no-such-role",
    "bucketId": "no-such-bucket",
    "clientId": "no-such-client",
    "sourceId": "no-such-source",
    "file": "no-such-file",
    "path": "assets/no-such-file",
}


def operation_id(case):
    return case.operation.definition.raw["operationId"]


turns = collections.Counter()


@schemathesis.hook
def before_call(ctx, case, **kwargs):
    """Of eight requests of an operation six name what is there, one what is not, and one what is made up, which may
    have been seen in an answer: that must not be changed, as others need it."""
    for name, value in (case.headers or {}).items():
        # No header of HTTP: its server refuses it before there is a request.
        case.headers[name] = re.sub(r"[\x00-\x08\x0a-\x1f\x7f]", "\xff", str(value))
    operation = operation_id(case)
    turns[operation] += 1
    likely, unknown = turns[operation] % 4 != 0, turns[operation] % 8 == 0
    path = case.meta.components.get(ParameterLocation.PATH)
    if operation in PATHS and (path is None or path.mode.is_positive):
        if likely:
            case.path_parameters = PATHS[operation]()
        elif unknown or operation.endswith(("-change", "-delete")):
            case.path_parameters = {name: NOBODYS.get(name, value) for name, value in case.path_parameters.items()}
    if likely and operation.endswith(("-change", "-delete")) and case.headers:
        case.headers.pop("If-Match", None)
    if operation == "signup" and likely and case.meta.generation.mode.is_positive:
        case.body = copy.deepcopy(case.body) | {"email": f"made{next(serial)}@example.com"}
    if operation == "admin-tokens-create" and likely and case.meta.generation.mode.is_positive:
        case.body = copy.deepcopy(case.body) | {"roleId": "sign-up"}
        case.body.pop("expiresAt", None)


class Header:
    """A token in a header."""

    def __init__(self, name, credential):
        self.name, self.credential = name, credential

    def get(self, case, context):
        return CREDENTIALS[self.credential]

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers[self.name] = data


@schemathesis.auth().apply_to(path_regex="^/api/admin/")
class Admin(Header):
    def __init__(self):
        super().__init__("Authorization", "adminToken")


@schemathesis.auth().apply_to(path_regex="^/api/public/")
class Partner(Header):
    def __init__(self):
        super().__init__("Authorization", "partnerToken")


@schemathesis.auth().apply_to(path_regex="^/tradersroom/api/auth/signup$")
class SignUp(Header):
    def __init__(self):
        super().__init__("x-api-key", "signupKey")


@schemathesis.auth().apply_to(path_regex="^/tradersroom(/api/auth/(me|logout)|/{page})?$")
class Session:
    """The session's cookie, by the name that it has on plain-http localhost."""

    def get(self, case, context):
        return one_session() if operation_id(case) != "session-logout" else new_session()

    def set(self, case, data, context):
        name, value = data.split("=", 1)
        case.cookies = {name: value}


# ---------------------------------------------------------------- Checks


seen = collections.defaultdict(collections.Counter)


def message(response):
    try:
        return response.json()["message"]
    except (ValueError, KeyError, TypeError):
        return None


@schemathesis.check
def every_answer_has_a_request_id(ctx, response, case):
    if not (response.headers.get("x-request-id") or [""])[0]:
        raise Failure(operation=case.operation.label, title="No x-request-id", message=str(response.headers))


@schemathesis.check
def errors_tell_nothing_of_the_inside(ctx, response, case):
    if response.status_code < 400:
        return
    found = re.search(r"Table|dynamodb|aws|panicked|Sdk|\.rs\b", message(response) or "", re.IGNORECASE)
    sent = json.dumps([str(case.body), str(case.query), str(case.path_parameters)]).lower()
    if found and found.group().lower() not in sent:
        raise Failure(operation=case.operation.label, title="An error shows the inside", message=message(response))


def is_of_session(case):
    """The hooks put a cookie that works in place of what is made up, by the name that it has here."""
    return operation_id(case).startswith("session-")


@schemathesis.check
def tokens_are_needed(ctx, response, case):
    if not is_of_session(case):
        return built_in.ignored_auth(ctx, response, case)


@schemathesis.check
def valid_requests_are_accepted(ctx, response, case):
    """As the built-in check, but for the rules that no schema can tell."""
    if response.status_code == 400 and BEYOND_SCHEMAS.fullmatch(message(response) or ""):
        return
    # What the path names may not be there, or be in another state.
    if response.status_code in (304, 404, 409, 410):
        return
    built_in.positive_data_acceptance(ctx, response, case)


def without_blanks(value):
    """A body as the API reads it: blanks around texts are dropped."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return [without_blanks(element) for element in value]
    if isinstance(value, dict):
        return {name: without_blanks(element) for name, element in value.items()}
    return value


@schemathesis.check
def invalid_requests_are_refused(ctx, response, case):
    """As the built-in check, but for what is right once blanks are dropped."""
    if is_of_session(case) or any(not str(value).strip() for value in (case.query or {}).values()):
        return
    if response.status_code < 300 and isinstance(case.body, dict):
        stripped = without_blanks(case.body)
        content = case.operation.definition.raw["requestBody"]["content"]["application/json"]
        schema = content["schema"] | {"components": DOCUMENT["components"]}
        if stripped != case.body and jsonschema_rs.validator_for(schema).is_valid(stripped):
            return
    built_in.negative_data_rejection(ctx, response, case)


@schemathesis.hook
def after_call(ctx, case, response):
    seen[operation_id(case)][response.status_code] += 1


@atexit.register
def report():
    with open(os.environ["WBCS_SEEN"], "w", encoding="utf-8") as file:
        json.dump({operation: dict(sorted(statuses.items())) for operation, statuses in sorted(seen.items())}, file)
