"""Writes the seeds of every fuzz target: the checked-in events, the inputs of the crates' own tests, and some texts
by hand. `seeds.py DIRECTORY` makes DIRECTORY/TARGET/NUMBER; `seeds.py DIRECTORY COUNT` makes COUNT more of each target by
mutation, always the same ones."""

import hashlib
import json
import pathlib
import random
import re
import sys
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# As src/event.rs has them, in its order.
FUNCTIONS = [
    "leads", "leads-by-source", "signup", "token", "admin-tokens", "admin-roles", "admin-buckets", "admin-clients",
    "autologin", "session",
]
# As src/import.rs has them.
INPUTS = [
    ("csv", b"email,phone,firstName\na@b.co,12345,A\nb@b.co,12345,B\n"),
    ("jsonl", b'{"email":"a@b.co"}\n{"email":"b@b.co"}\n'),
]
# Begins the bytes that pick a function; a multiple of twice their number, and letters.
PICKED = 100


def token(letters):
    body = f"wbcs_{letters}"
    rest, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        digits = BASE62[digit] + digits
    return body + digits


def rust_strings(path):
    """The string literals of a source that are JSON or at least begin like it."""
    source = (ROOT / path).read_text()
    raw = re.findall(r'b?r(#*)"(.*?)"\1', source, re.DOTALL)
    plain = re.findall(r'(?<![r#\\])"((?:[^"\\\n]|\\.)*)"', source)
    found = [text.replace("{{", "{").replace("}}", "}") for _, text in raw]
    for text in plain:
        found.append(re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r", "t": "\t"}.get(m[1], m[1]), text))
    return found


def events():
    values = {
        "partnerToken": token("Fuzz" * 8), "adminToken": token("Fuzz" * 8), "signupKey": token("Fuzz" * 8),
        "bucketId": "b1", "affiliateID": "1234567890", "sourceId": "ads",
    }
    for path in sorted(ROOT.glob("events/*/*.json")):
        text = re.sub(r"\{\{(\w+)\}\}", lambda found: values.get(found[1], "x"), path.read_text())
        yield path.parent.name, json.loads(text)


LEAD = {
    "pk": {"S": "E#user1@example.com"}, "b": {"S": "list"}, "bs": {"S": "source"}, "bt": {"S": "status"},
    "g": {"S": "0"}, "c": {"S": "1609459200000#69ce524d741e8f2238329fff"}, "u": {"S": "1609459200001#69ce"},
    "s": {"S": "new"}, "f": {"N": "1609459200002"}, "e": {"S": "User1@Example.com"},
}
CLIENT = {
    "pk": {"S": "C#69ce"}, "id": {"S": "69ce"}, "email": {"S": "user1@example.com"}, "status": {"S": "new"},
    "firstName": {"S": "Jane"}, "phone": {"S": "+1234567890"}, "createdDate": {"N": "1609459200000"},
    "updatedDate": {"N": "1609459200000"}, "list": {"S": "list"}, "sourceList": {"S": "source"},
    "affiliateID": {"S": "1234567890"}, "bucketId": {"S": "b1"}, "sendEmail": {"BOOL": True},
    "billing": {"M": {"city": {"S": "Berlin"}}},
    "agreements": {"L": [{"M": {"label": {"S": "Terms"}, "ip": {"S": "127.0.0.1"}}}]},
}
BUCKET = {
    "pk": {"S": "B#b1"}, "sk": {"S": "bucket"}, "id": {"S": "b1"}, "name": {"S": "Bucket"},
    "affiliateID": {"S": "1234567890"}, "sources": {"L": [{"S": "ads"}]}, "createdDate": {"N": "1700000000000"},
}
ROLE = {"id": {"S": "all"}, "name": {"S": "All"}, "permissions": {"L": [{"S": "clients:view"}]}, "tokens": {"N": "1"}}
MONTH = {"pk": {"S": "M#l"}, "sk": {"S": "202101#0"}, "12": {"N": "12"}, "o3": {"N": "400"}, "closed": {"BOOL": True}}
MINUTE = {"pk": {"S": "S#l#1"}, "sk": {"S": "026824320#0"}, "00": {"N": "5"}, "59": {"N": "-1"}}
ODD = {"a": {"NULL": True}, "b": {"SS": ["x", "y"]}, "c": {"NS": ["1"]}, "d": {"B": "AAECAw=="}, "e": {"N": "1.5"}}
CANCELLED = {
    "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "message": "cancelled",
    "CancellationReasons": [{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Item": LEAD},
                            {"Code": "TransactionConflict"}],
}


def items(*found, more=False):
    answer = {"Count": len(found), "Items": list(found), "ScannedCount": len(found)}
    if more:
        answer["LastEvaluatedKey"] = {"pk": {"S": "k"}, "c": {"S": "1"}}
    return answer


def batch(*found):
    left = {"t": {"Keys": [{"pk": {"S": "E#a@b.c"}}], "ProjectionExpression": "pk"}}
    return {"Responses": {"t": list(found)}, "UnprocessedKeys": left}


def line(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def seeds():
    bodies = {"leads": [b"", b"{}"], "sign_up": [b""], "admin": [], "texts": [], "answers": [], "event": [],
              "files": [], "import": [], "checkpoint": []}
    reference = line({
        "email": "user@example.com", "phone": "+1 (234) 567-890", "firstName": "Jane", "lastName": "Doe",
        "dateOfBirth": "1990-05-01", "affiliateID": "AFF-123", "sourceId": "ads", "status": "new", "state": "active",
        "meta": "{}", "processed": True, "allowToCreateAsset": False, "sendEmail": True,
        "billing": {"country": "US", "region": "NY", "city": "New York", "postcode": "10001", "address": "Wall 1"},
        "agreements": [{"label": "Terms", "ip": "127.0.0.1", "signedAt": "2026-01-01T12:00:00Z"}],
    })
    changes = [b'{"status":"active","ftd":"2026-01-01T12:00:00Z","bucketId":"b1"}', b'{"ftd":"","bucketId":""}',
               b'{"email":"New@Example.com","phone":"12345","billing":{"city":""},"agreements":[]}']
    bodies["sign_up"] += [reference, *changes,
                          b'{"email":"a@b.co","phone":"12345","firstName":"A","id":"69","createdDate":"1676172330450"}']
    json_of = {
        "leads": ["shared/src/model/lead.rs", "shared/src/leads/cursor.rs"],
        "sign_up": ["shared/src/model/client.rs", "local/src/import/row.rs"],
        "admin": ["shared/src/model/json.rs", "shared/src/model/token.rs", "shared/src/model/role.rs",
                  "shared/src/model/bucket.rs"],
        "texts": ["shared/src/model/email.rs", "shared/src/model/time.rs", "shared/src/model/token.rs",
                  "shared/src/secret.rs"],
        "answers": ["shared/src/store/wire.rs", "shared/src/store/leads.rs"],
    }
    choices = {"admin": 7, "texts": 12, "answers": 9}
    for target, paths in json_of.items():
        for text in dict.fromkeys(text for path in paths for text in rust_strings(path)):
            is_json = text.lstrip()[:1] in ("{", "[")
            if target == "texts" and len(text) < 80:
                bodies[target] += [bytes([kind]) + text.encode() for kind in (5, 6, 7)]
            elif is_json and target in choices:
                bodies[target] += [bytes([kind]) + text.encode() for kind in range(choices[target])]
            elif is_json:
                bodies[target].append(text.encode())
    admin = [
        {"name": "Token", "roleId": "partner", "expiresAt": "2030-01-01T00:00:00Z",
         "whitelist": ["203.0.113.0/24", "2001:db8::1"], "affiliateIDs": ["1234567890"]},
        {"whitelist": ["::ffff:203.0.113.7", "10.0.0.0/8"]},
        {"name": "Role", "permissions": ["buckets:view-own", "clients:create"]},
        {"permissions": []},
        {"name": "Bucket", "affiliateID": "1234567890", "sources": ["ads", "mail"]},
        {"sources": ["ads"]},
        {"t": "text", "n": 7.0, "b": True, "o": {"x": 1}, "l": [{"x": 1}], "s": ["a", "\u00e9"], "z": None},
    ]
    bodies["admin"] += [bytes([kind]) + line(body) for kind, body in enumerate(admin)]
    texts = [
        (0, token("a" * 32)), (1, "0c9a2a1c-6c2b-4b6f-9b0e-2f6f0d9c1a11"), (2, "a" * 32), (3, "b1"), (3, "0a" * 16),
        (4, "1609459200000#69ce"), (5, "203.0.113.0/24\n2001:db8::/32\n203.0.113.7"), (5, "::ffff:1.2.3.4/128\n::1"),
        (5, "0.0.0.0/0\n::/0\n::ffff:1.2.3.4"), (6, "2024-02-29T23:59:59.999+02:00"), (6, "2286-11-20T17:46:39.999Z"),
        (7, "o'neil@example.ie"), (7, "ünï@exämple.de"), (7, "ΝΙΚΟΣ@example.gr"), (8, "+1 (234) 567-89.0"),
        # What is the last to be right, and the first to be wrong.
        *((8, "+" * (length % 2) + "1" * length) for length in (4, 5, 15, 16)),
        *((3, "b" * length) for length in (0, 128, 129)), *((3, "0" * length) for length in (31, 33)),
        *((5, f"1.2.3.4/{bits}\n::/{bits}\n1.2.3.5") for bits in (0, 1, 31, 32, 33, 127, 128, 129)),
        *((7, f"{'l' * local}@{'d' * 59}.{'d' * 59}.{'d' * 59}.{'d' * rest}.co") for local, rest in
          ((64, 6), (64, 7), (65, 3), (1, 59))),
        (9, '"0", *'), (10, 'a"b\\c\n\x7f'),
        *((10, f"a{chr(code)}b") for code in [*range(33), 0x7f, 0x80, 0x2028, 0xfffe]),
        (11, '{"a":["\\\\",["\\n",{"]":"\\u005b["}]]}'), (11, '["\\\\\\"[", "\\/", [[]]]'),
        (11, "[" * 32 + "]" * 32), (11, '{"a":["[\\"["]}'),
    ]
    bodies["texts"] += [bytes([kind]) + text.encode() for kind, text in texts]
    bodies["leads"] += [line({"filters": {name: [low, high]}}) for name in ("createdDate", "updatedDate")
                        for low, high in (("5", "5"), ("6", "5"), (None, 9999999999999), (-1, None), (0, 10000000000000))]
    bodies["leads"] += [line({name: value}) for name, value in (
        ("limit", 0), ("limit", 1), ("limit", 5000), ("limit", 5001), ("offset", 1000000000), ("offset", 1000000001),
        ("offset", -1), ("keyBy", "id"), ("keyBy", "Id"))]
    answers = [
        (0, {"Item": CLIENT}), (0, {"Item": BUCKET}), (0, {}), (0, {"Item": ODD}), (1, items(LEAD, CLIENT)),
        (1, items(LEAD, more=True)), (2, batch(LEAD, CLIENT)), (3, batch(BUCKET)), (4, items(MONTH, MINUTE)),
        (5, {"Count": 7, "ScannedCount": 7}), (5, {}), (6, CANCELLED), (6, {"__type": "x#ThrottlingException"}),
        (8, {"Item": CLIENT}),
    ]
    bodies["answers"] += [bytes([kind]) + line(answer) for kind, answer in answers]

    scripts = [b"", line({}), line({"Item": CLIENT}), line({"Item": BUCKET}), line({"Item": ROLE}),
               line(items(LEAD, LEAD)), line(items(MONTH)), line(items(BUCKET, more=True)), line(batch(LEAD, CLIENT)),
               b"400 " + line(CANCELLED), b"400 " + line({"__type": "x#ThrottlingException"}), b"503 ", b"{"]
    of_function = {}
    for function, event in events():
        if function == "registration-email":
            bodies["answers"].append(b"\x07" + line(event))
        elif function in ("docs", "console"):
            kind = bytes([function == "console"])
            bodies["files"].append(kind + line(event))
            for headers in ({"accept-encoding": "gzip;q=0.5, *;q=0"}, {"accept-encoding": "br, *", "if-none-match": 'W/"x", *'}):
                bodies["files"].append(kind + line({**event, "headers": headers}))
        elif function in FUNCTIONS:
            of_function.setdefault(function, []).append(event)
    bodies_of = {
        "leads": [b'{"offset":3}', b'{"filters":{"status":["new"],"createdDate":["1",null]}}',
                  b'{"filters":{"updatedDate":[0,null]},"keyBy":"id"}', b'{"ids":["69ce"],"emails":["a@b.c"]}'],
        "signup": [reference], "admin-clients": changes,
    }
    for function, known in of_function.items():
        picked = FUNCTIONS.index(function)
        for event in known:
            for scoped in (0, len(FUNCTIONS)):
                head = bytes([PICKED + picked + scoped]) + line(event)
                bodies["event"] += [head + b"\n" + script for script in scripts[:6]]
        for body in bodies_of.get(function, []):
            event = next(event for event in known if event.get("body"))
            head = bytes([PICKED + picked]) + line({**event, "body": body.decode()})
            bodies["event"] += [head + b"\n" + b"\n".join(scripts[at:]) for at in range(1, len(scripts), 3)]
        if function.startswith("admin-"):
            for event in known:
                query = {"limit": "7", "status": "new"}
                query = {"queryStringParameters": query, "rawQueryString": "limit=7&status=new"}
                head = bytes([PICKED + picked]) + line({**event, **query})
                bodies["event"] += [head, head + b"\n" + b"\n".join(scripts[2:8])]

    header = "email,phone,firstName,lastName,billing.city,processed,agreements,createdDate,id"
    rows = ['a@b.co,12345,A,"Do""e",Berlin,TRUE,"[{""ip"":""::1""}]",1676172330450,1', "b@b.co,12345,B,,,,,,2",
            'c@b.co,123,"C\nD",,,no,x,soon,3', "short,row", ""]
    bodies["import"] += [b"\x00" + (header + "\n" + "\n".join(rows)).encode(),
                         b"\x02" + (header + "\r\n" + "\r\n".join(rows)).encode(),
                         b"\x04" + header.encode(), b"\x00" + b"email,phone,firstName\n" + b'"open,1,2\n']
    lines = [reference, b"", changes[0], b"{", reference]
    bodies["import"] += [b"\x01\xef\xbb\xbf" + b"\n".join(lines), b"\x03" + b"\r\n".join(lines),
                         b"\x05" + b"\n".join(lines) + b"\n"]
    source = (ROOT / "fuzz/src/import.rs").read_text()
    for form, text in INPUTS:
        assert json.dumps(text.decode()) in source, text
        checkpoint = {
            "system": "memory", "inputBytes": len(text), "inputHeadSha256": hashlib.sha256(text).hexdigest(), "format": form,
            "onDuplicate": "skip", "importId": "0c9a2a1c-6c2b-4b6f-9b0e-2f6f0d9c1a11", "offset": 0, "line": 0, "record": 0,
            "imported": 0, "updated": 0, "duplicates": 0, "rejected": 0, "rejectsBytes": 0, "done": False,
        }
        first = text.splitlines(keepends=True)[form == "csv"]
        end = {"offset": text.index(first) + len(first), "line": text[:text.index(first)].count(b"\n") + 1, "record": 1}
        whole = {"offset": len(text), "line": text.count(b"\n"), "record": 2}
        most = 2**64 - 1
        for change in ({}, {**end, "imported": 1}, {**end, "rejected": 1, "rejectsBytes": 90, "onDuplicate": "update"},
                       {**whole, "updated": 1, "duplicates": 1, "done": True}, {**end, "imported": 2}, {**whole, "offset": most},
                       {**whole, "line": most, "imported": 2}, {"record": most, "imported": most}, {"imported": most, "rejected": 1},
                       {"offset": 5}, {"inputBytes": 7}, {"system": "another"}, {"format": "xml"}):
            bodies["checkpoint"].append(json.dumps({**checkpoint, **change}, indent=2).encode() + b"\n")
    return bodies


LONGEST = 4096
NUMBERS = [b"0", b"-1", b"1e0", b"1.5", b"255", b"256", b"4294967296", b"9007199254740993", b"18446744073709551616"]
TEXTS = ["\0", "\r\n", " ", "\u00a0", "\u200b", "\ufe05", "\ufeff", "\uff20", "\u0130", "\u03c2", "\U0001f600", "\ud800"]


def words(target):
    """A target's dictionary, and what every text may have in it."""
    path = ROOT / "fuzz/dictionaries" / target
    found = [entry[1:-1] for entry in path.read_text().splitlines() if entry.startswith('"')]
    escaped = re.compile(rb"\\(x[0-9a-f]{2}|.)")

    def plain(match):
        return bytes([int(match[1][1:], 16)]) if len(match[1]) == 3 else match[1]

    return [escaped.sub(plain, word.encode()) for word in found] + [text.encode(errors="surrogatepass") for text in TEXTS]


def mutated(target, seeds, count):
    """Seeds with one to six changes each."""
    source = random.Random(target)
    dictionary = words(target)

    def below(limit):
        # The one method whose sequence Python promises not to change.
        return int(source.random() * limit)

    def place(data):
        return below(len(data) + 1)

    def change(data):
        at, to = sorted((place(data), place(data)))
        near = at + below(9)
        kind = below(9)
        if kind == 0 and data:
            at = below(len(data))
            return data[:at] + bytes([data[at] ^ 1 << below(8)]) + data[at + 1:]
        if kind == 1:
            return data[:at] + bytes([below(256)]) + data[at + 1:]
        if kind == 2:
            return data[:at] + data[near:]
        if kind == 3:
            return data[:to] + data[at:to] + data[to:]
        if kind == 4:
            other = seeds[below(len(seeds))]
            return data[:at] + other[place(other):]
        if kind == 5:
            numbers = list(re.finditer(rb"-?\d+", data))
            if numbers:
                found = numbers[below(len(numbers))]
                return data[:found.start()] + NUMBERS[below(len(NUMBERS))] + data[found.end():]
        if kind == 6:
            other = seeds[below(len(seeds))]
            begin, end = sorted((place(other), place(other)))
            return data[:at] + other[begin:end] + data[at:]
        return data[:at] + dictionary[below(len(dictionary))] + data[at if kind == 7 else near:]

    for _ in range(count):
        data = seeds[below(len(seeds))]
        for _ in range(1 + below(6)):
            data = change(data)
        yield data[:LONGEST]


def main():
    directory = pathlib.Path(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for target, found in seeds().items():
        (directory / target).mkdir(parents=True, exist_ok=True)
        found = list(dict.fromkeys(found))
        for number, seed in enumerate(found + list(mutated(target, found, count))):
            (directory / target / f"{number:06}").write_bytes(seed)


if __name__ == "__main__":
    main()
