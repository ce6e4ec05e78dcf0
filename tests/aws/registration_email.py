"""Registration emails through SES's API v2, against an emulator of AWS (moto): what a sign-up's email looks
like to whoever gets it, an unverified sender, a kill. Usage: registration_email.py PROGRAM"""

import contextlib
import email
import email.policy
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import boto3
from moto.server import ThreadedMotoServer

PATIENCE = 300  # seconds
SENDER = "no-reply@example.com"


def emulator():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    return server, "http://{}:{}".format(*server.get_host_and_port())


def sent(endpoint):
    """The messages that SES took, with where they go: the emulator lists that once for the call, once for the header."""
    with urllib.request.urlopen(endpoint + "/moto-api/data.json", timeout=PATIENCE) as answer:
        taken = json.load(answer)["ses"].get("RawMessage", [])
    parsed = lambda one: email.message_from_string(one["raw_data"], policy=email.policy.default)
    return [(sorted(set(one["destinations"])), parsed(one)) for one in taken]


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"it never came to this: {what}"
        time.sleep(0.05)


@contextlib.contextmanager
def stack(program, directory, endpoint):
    """Starts the local stack on a free port with this SES, and ends it; gives its process and credentials."""
    arguments = [program, "--port", "0", "--data-dir", directory, "--log", "info", "--ses-endpoint", endpoint]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    log = open(pathlib.Path(directory, "log"), "a+")
    with log, subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as process:
        try:
            assert any(line.startswith("Ready") for line in process.stdout), "the stack did not start"
            yield process, json.loads(pathlib.Path(directory, "credentials.json").read_text())
        finally:
            if process.poll() is None:
                process.terminate()


def sign_up(credentials, address, **fields):
    body = {"email": address, "phone": "+1234567890", "firstName": "Jané", "sendEmail": True} | fields
    request = urllib.request.Request(
        credentials["baseUrl"] + "/tradersroom/api/auth/signup",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "x-api-key": credentials["signupKey"]},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)["id"]


def main(program):
    server, endpoint = emulator()
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    ses = boto3.client("sesv2", region_name="eu-west-1", endpoint_url=endpoint, **keys)
    addresses = lambda: [address for destinations, _ in sent(endpoint) for address in destinations]
    with tempfile.TemporaryDirectory() as directory:
        log = pathlib.Path(directory, "log")
        with stack(program, directory, endpoint) as (_, credentials):
            # Nobody has verified the sender: emails wait for that.
            sign_up(credentials, "early@example.com")
            until(lambda: "MessageRejected" in log.read_text(), "the sender is refused")
            assert sent(endpoint) == []
            ses.create_email_identity(EmailIdentity=SENDER)
            until(lambda: set(addresses()) == {"early@example.com"}, "the email is sent once the sender is verified")

            client = sign_up(credentials, "jane@example.com", lastName="Doe\r\nBcc: evil@example.com")
            sign_up(credentials, "silent@example.com", sendEmail=False)
            sign_up(credentials, "last@example.com", firstName="J\r\nBcc: evil@example.com")
            # Those of one batch are sent at the same time, in no order.
            names = {"early@example.com": "Jané", "jane@example.com": "Jané", "last@example.com": None}
            until(lambda: names.keys() <= set(addresses()), "all emails are sent")
            assert set(addresses()) == names.keys(), addresses()
            messages = {to: message for destinations, message in sent(endpoint) for to in destinations}
            for to, name in names.items():
                message = messages[to]
                assert message["From"] == f"WBCS <{SENDER}>", message["From"]
                assert (message["To"], message["Bcc"], message["Cc"]) == (to, None, None), message.items()
                assert message["Subject"] == "Welcome to WBCS", message["Subject"]
                assert message.get_content_type() == "multipart/alternative" and not message.defects
                text, html = (part.get_content() for part in message.iter_parts())
                kinds = [part.get_content_type() for part in message.iter_parts()]
                assert kinds == ["text/plain", "text/html"], kinds
                assert text.startswith(f"Hello {name}," if name else "Hello,"), text
                assert (f"Welcome, {name}</td>" if name else "Welcome</td>") in html, html
                assert credentials["baseUrl"] + "/tradersroom" in text and "evil" not in text + html
            assert messages["jane@example.com"]["Message-ID"] == f"<registration-{client}@example.com>"
            for secret in ("jane@", "Jané", "evil"):
                assert secret not in log.read_text(), log.read_text()

        # Killed between the sign-ups' answers and their emails.
        asked, cut_off = set(addresses()), 0
        for number in range(60):
            if number >= 6 and cut_off:
                break
            with stack(program, directory, endpoint) as (process, credentials):
                new = {f"kill{number}-{client}@example.com" for client in range(3)}
                for address in sorted(new):
                    sign_up(credentials, address)
                process.send_signal(signal.SIGKILL)
                process.wait()
            cut_off += not new <= set(addresses())
            asked |= new
        assert cut_off, "no kill came before the emails"
        with stack(program, directory, endpoint):
            until(lambda: asked <= set(addresses()), "all emails are sent")
        # SES takes an email once more where a kill comes between its answer and the note that it was sent, or where
        # its answer is late; most are taken once.
        counts = {address: addresses().count(address) for address in addresses()}
        assert counts.keys() == asked and sum(counts.values()) < 2 * len(asked), counts
    server.stop()
    twice = sum(count > 1 for count in counts.values())
    print(f"registration emails through SES: {len(asked)} asked for and sent, {twice} of them twice after a kill")


main(sys.argv[1])
