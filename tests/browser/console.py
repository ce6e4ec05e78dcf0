"""The operators' console in a real browser, on a stack of its own: the published steps to a token, everything else that
operators do there (seen through the partner API), what goes wrong, and how it looks.
Usage: console.py PROGRAM AXE-SCRIPT [SCREENSHOTS-DIRECTORY]"""

import contextlib
import datetime
import email
import email.policy
import json
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from common import DESKTOP, PATIENCE, PHONE, Screens, assert_fits, browser, stack, until
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

# What a role's change needs at most to reach its tokens, and a moment.
ROLE_PATIENCE = 120  # seconds

# Finds what can be pressed by the text that people, and screen readers, have of it.
PRESSABLE = """
const [name, selector] = arguments;
const root = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document;
const text = (element) => (element.getAttribute('aria-label') ?? element.textContent).replace(/\\s+/g, ' ').trim();
return [...root.querySelectorAll(selector)].find((element) => text(element) === name && element.checkVisibility());
"""
CONTROL = """
const [label] = arguments;
const root = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document;
const text = (element) => element.textContent.replace(/\\s+/g, ' ').replace(/ optional$/, '').trim();
const found = [...root.querySelectorAll('label')].find((element) => text(element) === label && element.checkVisibility());
return found.control;
"""
# Keeps what messages say: each goes again after a while, whether somebody has looked or not.
LISTEN = """
window.told = [];
window.listening?.disconnect();
window.listening = new MutationObserver((changes) => {
  for (const message of changes.flatMap(({ addedNodes }) => [...addedNodes])) {
    if (message.checkVisibility()) window.told.push(message.textContent);
  }
});
window.listening.observe(document.querySelector('.toasts'), { childList: true });
"""
LISTEN_FOR_COPY = """
window.told = null;
const keep = ({ target }) => { window.told = target.querySelector('[role=status]').textContent; };
document.addEventListener('copied', keep, { once: true });
"""
# Keeps, all of one moment, what is shown while a page is under way.
LISTEN_FOR_PROGRESS = """
window.told = null;
const progress = document.querySelector('.progress');
const keep = () => {
  if (window.told || !progress.classList.contains('on')) return;
  window.told = [document.querySelector('p.spoken[role=status]').textContent, document.querySelector('main').ariaBusy];
};
new MutationObserver(keep).observe(progress, { attributes: true });
"""
HOSTILE = [
    "<img src=x onerror=\"window.owned=1\">",
    "\u202eevil\u202c \u2067right to left\u2069",
    "👩‍👩‍👧‍👦 Zoë 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "N" * 1000,
]


def call(credentials, method, path, token, body=None, headers=None):
    """Calls the API as a partner or an operator's program does; gives status and JSON."""
    scheme = "x-api-key" if path.startswith("/tradersroom") else "Authorization"
    all_headers = {scheme: token, "Content-Type": "application/json", **(headers or {})}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(credentials["baseUrl"] + path, data, all_headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, json.loads(answer.read() or "null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or "null")


def admin(credentials, method, path, body=None):
    status, answer = call(credentials, method, f"/api/admin{path}", credentials["adminToken"], body)
    assert status < 300, (method, path, status, answer)
    return answer


def sign_up(credentials, email, **fields):
    body = {"email": email, "phone": "+1234567890", "firstName": "Jane", **fields}
    status, answer = call(credentials, "POST", "/tradersroom/api/auth/signup", credentials["signupKey"], body)
    assert status == 200, answer
    return answer["id"]


def leads(credentials, token, bucket, affiliate, body=None):
    return call(credentials, "POST", f"/api/public/buckets/{bucket}/{affiliate}/leads", token, body or {})


def run(command):
    """Runs a command as it was copied, in a shell; gives its JSON."""
    done = subprocess.run(["bash", "-c", command + f" --silent --show-error --max-time {PATIENCE}"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


class Console:
    """The console as an operator has it."""

    def __init__(self, driver, credentials):
        self.driver = driver
        self.base = credentials["baseUrl"]

    def open(self, path=""):
        self.driver.get(f"{self.base}/console{path or '/'}")

    def sign_in(self, token):
        self.fill("Identification token", token)
        self.press("Sign in")

    def enter(self, token, path=""):
        """Opens a page and signs in there."""
        self.open(path)
        self.sign_in(token)
        # It has a heading of its own.
        self.until(lambda: not self.driver.find_elements(By.CSS_SELECTOR, "main.sign-in"), "nobody is signed in")
        self.settled()

    @property
    def path(self):
        url = urllib.parse.urlsplit(self.driver.current_url)
        return url.path.removeprefix("/console") + (f"?{url.query}" if url.query else "")

    def text(self, selector="body"):
        return self.driver.find_element(By.CSS_SELECTOR, selector).text

    def until(self, condition, message):
        return until(self.driver, condition, message)

    def see(self, text, selector="body"):
        self.until(lambda: text in self.text(selector), f"{text!r} is not shown")

    def heading(self, text):
        self.until(lambda: self.driver.execute_script("return document.querySelector('h1').textContent") == text, f"no page {text!r}")
        self.settled()

    def settled(self):
        """No page is under way."""
        self.until(lambda: self.driver.find_element(By.CSS_SELECTOR, "main h1"), "no page")
        self.until(lambda: not self.driver.find_elements(By.CSS_SELECTOR, "main[aria-busy]"), "the page does not come")

    def find(self, name, selector):
        return self.until(lambda: self.driver.execute_script(PRESSABLE, name, selector), f"nothing to press is named {name!r}")

    def press(self, name, selector="button, a[href], summary"):
        """Presses what has this name; again where the page was drawn anew under the pointer."""

        def pressed():
            element = self.driver.execute_script(PRESSABLE, name, selector)
            self.driver.execute_script("arguments[0].scrollIntoView({ block: 'center' })", element)
            element.click()
            return True

        self.until(pressed, f"nothing to press is named {name!r}")

    def press_and_hear(self, name, message):
        """Presses what ends with a message, and waits for it and for the page that is shown anew with it. An earlier
        message of the same text does not count."""
        self.driver.execute_script(LISTEN)
        self.press(name)
        self.until(lambda: message in self.driver.execute_script("return window.told"), f"{message!r} is not told")
        self.settled()

    def control(self, label):
        return self.until(lambda: self.driver.execute_script(CONTROL, label), f"no field {label!r}")

    def fill(self, label, text):
        control = self.control(label)
        self.driver.execute_script("arguments[0].scrollIntoView({ block: 'center' })", control)
        control.clear()
        control.send_keys(text)

    def add(self, label, *texts):
        """Adds entries to a list, each with Enter."""
        control = self.control(label)
        self.driver.execute_script("arguments[0].scrollIntoView({ block: 'center' })", control)
        for text in texts:
            control.send_keys(text, Keys.ENTER)

    def choose(self, label, option):
        control = self.control(label)
        found = [one for one in control.find_elements(By.TAG_NAME, "option") if one.text == option]
        assert found, f"{label} has no {option!r}"
        found[0].click()

    def check(self, legend, label):
        group = next(one for one in self.driver.find_elements(By.CSS_SELECTOR, "fieldset.group") if one.find_element(By.TAG_NAME, "legend").text == legend)
        next(one for one in group.find_elements(By.TAG_NAME, "label") if one.text == label).click()

    def error_of(self, label):
        """What stands beside a field."""
        control = self.control(label)
        ids = control.get_attribute("aria-describedby").split()
        return " ".join(self.driver.find_element(By.ID, one).text for one in ids if one.startswith("error")).strip()

    def dialog(self, text):
        self.see(text, "dialog[open]")

    def copied(self, name):
        """Presses a copy button and gives what it put on the clipboard."""
        permissions = {"origin": self.base, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
        self.driver.execute_cdp_cmd("Browser.grantPermissions", permissions)
        self.driver.execute_script(LISTEN_FOR_COPY)
        self.press(name)
        told = self.until(lambda: self.driver.execute_script("return window.told"), f"{name!r} copies nothing")
        assert told == "Copied", told
        return self.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)))")

    def assert_quiet(self):
        """Nothing went wrong that the operator was not told; no policy was broken."""
        logged = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        # The browser notes every answer above 399 on its own.
        odd = [message for message in logged if "Failed to load resource" not in message and "ERR_INTERNET_DISCONNECTED" not in message]
        assert not odd, odd


@contextlib.contextmanager
def console(credentials, token=None, path="", **how):
    with browser(**how) as driver:
        shown = Console(driver, credentials)
        if token:
            shown.enter(token, path)
        else:
            shown.open(path)
        yield shown
        shown.assert_quiet()


def published_steps(credentials, screens):
    """Security > Identification Tokens, +Add in the upper right corner, name, role, expiry, whitelist, Generate token."""
    with console(credentials) as shown:
        driver = shown.driver
        # Moments are shown in the reader's time zone, not in the machine's.
        driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kolkata"})
        driver.refresh()
        shown.see("Sign in")
        shown.sign_in("")
        shown.see("Paste a token.")
        shown.sign_in("no token")
        shown.see("This is no token")
        shown.sign_in("wbcs_" + "0" * 38)
        shown.see("This token is refused. It may be mistyped, expired or deleted, or not be allowed from your address, which is 127.0.0.1.")
        shown.sign_in(credentials["adminToken"])
        shown.heading("Overview")
        assert driver.execute_script("return [localStorage.length, document.cookie]") == [0, ""], "the token is for this tab only"

        shown.press("Identification Tokens")
        shown.heading("Identification Tokens")
        assert shown.text(".crumbs") == "Security"
        corner = shown.find("+ Add", "a").rect
        heading = driver.find_element(By.TAG_NAME, "h1").rect
        assert corner["x"] > DESKTOP[0] * 0.75 and corner["y"] < DESKTOP[1] * 0.25, corner
        assert abs(corner["y"] - heading["y"]) < 40, (corner, heading)
        shown.press("+ Add")
        shown.heading("Add a token")
        shown.press("Generate token")
        assert shown.error_of("Name") == "Enter a name." and shown.error_of("Role") == "Choose a role."
        assert driver.switch_to.active_element == shown.control("Name")
        shown.see("(UTC+05:30)")
        shown.fill("Name", "Acme Affiliates")
        shown.choose("Role", "Partner")
        shown.see("Allows: Buckets: View own.")
        shown.press("Generate token")
        assert "enter at least one" in shown.error_of("Affiliates")
        shown.add("Affiliates", credentials["affiliateID"])
        shown.press("90 days")
        shown.add("Whitelist", "127.0.0.1, 203.0.113.0/24", "10.0.0.x")
        shown.press("Generate token")
        shown.until(lambda: shown.error_of("Whitelist"), "no error")
        assert shown.error_of("Whitelist") == "“10.0.0.x” must be an IP address or CIDR block."
        assert driver.switch_to.active_element == shown.control("Whitelist")
        shown.press("× Remove 10.0.0.x")
        screens.take(driver, "token-form")
        shown.press("Generate token")
        shown.see("The token is ready")
        shown.see("the token is displayed only once")
        token = shown.text("#token")
        screens.take(driver, "token-shown-once")

        shown.press("Back to the list")
        shown.dialog("Leave without the token?")
        shown.press("Stay")
        assert shown.text("#token") == token
        driver.back()
        shown.dialog("Leave without the token?")
        shown.press("Stay")
        assert shown.path == "/security/tokens/add" and shown.text("#token") == token
        assert shown.copied("Copy the token") == token
        choices = [option.text for option in shown.control("Bucket").find_elements(By.TAG_NAME, "option")]
        assert sorted(choices) == ["Campaigns – 1234567890", "Direct – 1234567890"], choices
        shown.choose("Bucket", "Campaigns – 1234567890")
        command = shown.copied("Copy Get the leads of the bucket")
        assert "user1@example.com" in run(command), "the copied command gets the leads"
        assert run(shown.copied("Copy See what the token may do"))["name"] == "Acme Affiliates"

        shown.press("Back to the list")
        shown.heading("Identification Tokens")
        shown.see("Acme Affiliates")
        row = next(row for row in driver.find_elements(By.CSS_SELECTOR, "tbody tr") if "Acme" in row.text).text
        for part in (token[:9], "Partner", credentials["affiliateID"], "127.0.0.1", "203.0.113.0/24"):
            assert part in row, (part, row)
        exact = driver.find_element(By.CSS_SELECTOR, "tbody tr time").get_attribute("title")
        ends = datetime.datetime.fromisoformat(exact.splitlines()[1])
        local = (ends + datetime.timedelta(hours=5, minutes=30)).strftime("%-I:%M %p")
        assert local in driver.find_element(By.CSS_SELECTOR, "tbody tr time").text.replace("\u202f", " "), (local, exact)
        assert abs(ends - datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=90)) < datetime.timedelta(hours=2)
        everything = driver.execute_script("return document.documentElement.outerHTML + JSON.stringify([{ ...sessionStorage }, { ...localStorage }, history.state])")
        assert token not in everything, "the token is nowhere any more"
        driver.back()
        shown.heading("Add a token")
        assert token not in driver.page_source
        assert leads(credentials, token, credentials["bucketId"], credentials["affiliateID"])[0] == 200


def whitelist_and_deletion(credentials, screens):
    made = admin(credentials, "POST", "/tokens", {"name": "Whitelisted", "roleId": "partner", "affiliateIDs": ["1234567890"], "whitelist": ["198.51.100.7"]})
    token = made["token"]
    works = lambda: leads(credentials, token, credentials["bucketId"], credentials["affiliateID"])[0] == 200
    assert not works()
    with console(credentials, credentials["adminToken"], "/security/tokens") as shown:
        shown.heading("Identification Tokens")
        until(shown.driver, lambda: admin(credentials, "GET", f"/tokens/{made['id']}")["lastRefused"], "the attempt is not noted")
        shown.driver.refresh()
        shown.see("1 refused")
        shown.press("1 refused")
        shown.heading("Whitelisted")
        shown.see("Address not in the whitelist")
        screens.take(shown.driver, "token-refused")
        shown.press("Add this address 127.0.0.1")
        shown.dialog("The token will be valid for 127.0.0.1 as well.")
        shown.press_and_hear("Add it", "Saved the whitelist")
        assert admin(credentials, "GET", f"/tokens/{made['id']}")["whitelist"] == ["198.51.100.7", "127.0.0.1"]
        until(shown.driver, works, "the address is not allowed")

        # Somebody else's change meanwhile is not lost.
        admin(credentials, "PATCH", f"/tokens/{made['id']}", {"whitelist": ["198.51.100.8", "127.0.0.1"]})
        shown.add("Addresses", "2001:db8::/32")
        shown.press("Save the whitelist")
        shown.see("Somebody changed this meanwhile.")
        assert admin(credentials, "GET", f"/tokens/{made['id']}")["whitelist"] == ["198.51.100.8", "127.0.0.1"]
        shown.press_and_hear("Save the whitelist", "Saved the whitelist")
        assert "meanwhile" not in shown.text(), "the message stays"
        assert admin(credentials, "GET", f"/tokens/{made['id']}")["whitelist"] == ["198.51.100.8", "127.0.0.1", "2001:db8::/32"]
        shown.press("× Remove 2001:db8::/32")
        shown.press("Identification Tokens")
        shown.dialog("Leave without saving?")
        shown.press("Leave")
        shown.heading("Identification Tokens")
        shown.press("Edit whitelist of Whitelisted")
        shown.heading("Whitelisted")
        for address in ("198.51.100.8", "127.0.0.1", "2001:db8::/32"):
            shown.press(f"× Remove {address}")
        shown.press("Save the whitelist")
        shown.dialog("With an empty whitelist the token works from anywhere.")
        shown.press_and_hear("Allow every address", "Saved the whitelist")
        assert admin(credentials, "GET", f"/tokens/{made['id']}")["whitelist"] == []

        shown.press("Delete")
        shown.dialog("cannot be restored")
        ActionChains(shown.driver).send_keys(Keys.ESCAPE).perform()
        shown.until(lambda: not shown.driver.find_elements(By.TAG_NAME, "dialog"), "Escape does not close it")
        assert shown.driver.switch_to.active_element.text == "Delete", "the focus is where it was"
        shown.press("Delete")
        shown.press_and_hear("Delete the token", "Deleted “Whitelisted”")
        shown.heading("Identification Tokens")
        assert "Whitelisted" not in shown.text("main")
        assert not works()
        shown.open(f"/security/tokens/{made['id']}")
        shown.heading("Not found")


def roles(credentials, screens):
    """Gives what is to be checked later: that a role's change has reached its token."""
    with console(credentials, credentials["adminToken"], "/security/roles") as shown:
        shown.press("+ Add")
        shown.heading("Add a role")
        shown.press("Add the role")
        shown.see("Enter a name.")
        shown.fill("Name", "Auditor")
        shown.check("Buckets", "View all")
        shown.check("Clients", "View")
        shown.press("Add the role")
        shown.heading("Roles")
        shown.see("Auditor")
        role = next(role for role in admin(credentials, "GET", "/roles")["items"] if role["name"] == "Auditor")
        assert role["permissions"] == ["buckets:view-all", "clients:view"], role
        made = admin(credentials, "POST", "/tokens", {"name": "Audit", "roleId": role["id"]})
        reads = lambda: leads(credentials, made["token"], credentials["bucketId"], credentials["affiliateID"])[0] == 200
        assert reads()

        shown.press("Auditor")
        shown.heading("Auditor")
        shown.check("Buckets", "View all")
        shown.fill("Name", "Auditor of clients")
        shown.press("Save the role")
        shown.heading("Roles")
        shown.see("Auditor of clients")
        changed = time.monotonic()
        shown.press("Auditor of clients")
        shown.press("Delete")
        shown.dialog("can’t be deleted")
        shown.press("Delete the role")
        shown.dialog("The role has tokens: delete them first")
        shown.press("Cancel")

        # Whoever takes its own right away is asked first.
        shown.press("Roles")
        shown.press("Administrator")
        shown.heading("Administrator")
        shown.check("Security", "Manage")
        shown.press("Save the role")
        shown.dialog("can’t undo this here")
        shown.press("Cancel")
        shown.press("Cancel")
        shown.press("Leave")
        shown.heading("Roles")

    def has_reached():
        while reads():
            assert time.monotonic() - changed < ROLE_PATIENCE, "the change does not reach the token"
            time.sleep(1)

    return has_reached


def newcomer(credentials, screens):
    """From nothing to leads, by what the pages say: a role, a bucket, a token, the command."""
    with console(credentials, credentials["adminToken"]) as shown:
        shown.heading("Overview")
        shown.press("Add a role")
        shown.fill("Name", "Media partner")
        shown.check("Buckets", "View own")
        shown.press("Add the role")
        shown.heading("Roles")
        shown.press("Overview")
        shown.press("Add a bucket")
        shown.fill("Name", "Autumn campaign")
        shown.fill("Affiliate", "MEDIA-7")
        shown.add("Sources", "newsletter", "google_ads")
        shown.press("Add the bucket")
        shown.heading("Autumn campaign")
        shown.see("No leads yet.")
        today = datetime.datetime.now(datetime.UTC).date()
        sign_up(credentials, "ann@example.com", affiliateID="MEDIA-7", sourceId="newsletter", firstName="Ann")
        shown.press("Generate one")
        shown.heading("Add a token")
        assert [chip.text.split()[0] for chip in shown.driver.find_elements(By.CSS_SELECTOR, ".chip")] == ["MEDIA-7"]
        shown.fill("Name", "Media partner, Berlin")
        shown.choose("Role", "Media partner")
        shown.press("Generate token")
        shown.see("The token is ready")
        assert list(run(shown.copied("Copy Get the leads of the bucket"))) == ["ann@example.com"]
        token = shown.text("#token")
        shown.press("Buckets")
        shown.press("Autumn campaign")
        shown.heading("Autumn campaign")
        figures = [figure.text.split("\n") for figure in shown.driver.find_elements(By.CSS_SELECTOR, ".figure")]
        # Days end at midnight, UTC.
        expected = "1" if datetime.datetime.now(datetime.UTC).date() == today else figures[1][1]
        assert figures == [["All", "1"], ["Today", expected], ["Last 7 days", "1"], ["Last 30 days", "1"]], figures
        shown.fill("Token", token)
        shown.choose("Command", "Leads of the source newsletter")
        assert list(run(shown.copied("Copy Leads of the source newsletter"))) == ["ann@example.com"]
        shown.choose("Command", "What changed in the last 30 days")
        assert list(run(shown.copied("Copy What changed in the last 30 days"))) == ["ann@example.com"]
        shown.fill("Token", credentials["signupKey"])
        shown.choose("Command", "Register a client (a token with Clients: Create)")
        created = run(shown.copied("Copy Register a client (a token with Clients: Create)"))
        shown.driver.refresh()
        shown.heading("Autumn campaign")
        shown.until(lambda: shown.driver.find_element(By.CSS_SELECTOR, ".figure dd").text == "2", "the new lead is not counted")
        assert set(leads(credentials, token, shown.path.split("/")[2], "MEDIA-7", {"keyBy": "id"})[1]) >= {created["id"]}
        return token


def buckets(credentials, screens):
    affiliate = "ROUTE/ä 'x'"
    for number in range(120):
        sign_up(credentials, f"route{number}@example.com", affiliateID=affiliate, sourceId="a" if number % 3 else "b")
    with console(credentials, credentials["adminToken"], "/buckets") as shown:
        shown.driver.find_element(By.CSS_SELECTOR, ".filters input").send_keys(affiliate, Keys.ENTER)
        shown.see("has no bucket")
        shown.press("+ Add")
        shown.heading("Add a bucket")
        assert shown.control("Affiliate").get_attribute("value") == affiliate
        shown.fill("Name", "Source a")
        shown.add("Sources", "a")
        shown.press("Add the bucket")
        shown.heading("Source a")
        source_a = shown.path.split("/")[2]
        shown.press("Route unassigned clients")
        shown.see("Done: 80 clients routed.")
        shown.press("Show the new numbers")
        shown.until(lambda: shown.driver.find_element(By.CSS_SELECTOR, ".figure dd").text == "80", "not routed")
        screens.take(shown.driver, "bucket-routed")
        found = leads(credentials, credentials["adminToken"], source_a, urllib.parse.quote(affiliate, safe=""), {"limit": 5000})
        assert found[0] == 200 and len(found[1]) == 80, found
        # A command with a quote, a blank, a slash and an umlaut in its path.
        shown.fill("Token", credentials["adminToken"])
        assert len(run(shown.copied("Copy Leads of this bucket"))) == 80

        shown.press("Buckets")
        shown.press("+ Add")
        shown.fill("Name", "Second")
        shown.fill("Affiliate", affiliate)
        shown.add("Sources", "a")
        shown.press("Add the bucket")
        shown.see("Source a is assigned to another bucket of the affiliate")
        assert shown.control("Name").get_attribute("value") == "Second", "nothing is lost"
        shown.press("× Remove a")
        shown.press("Add the bucket")
        shown.heading("Second")
        second = shown.path.split("/")[2]
        shown.add("Sources", "c")
        shown.fill("Name", "The rest")
        shown.press("Save")
        shown.heading("The rest")
        assert admin(credentials, "GET", f"/buckets/{second}")["sources"] == ["c"]
        shown.press("Delete")
        shown.press_and_hear("Delete the bucket", "Deleted “The rest”")
        shown.heading("Buckets")

        shown.open(f"/buckets/{source_a}")
        shown.press("Delete")
        shown.press("Delete the bucket")
        shown.dialog("The bucket has leads: move them to another one first")
        shown.press("Cancel")

        # The demo bucket's charts: what is drawn is what is counted.
        shown.open(f"/buckets/{credentials['bucketId']}")
        stats = admin(credentials, "GET", f"/buckets/{credentials['bucketId']}/stats")
        shown.until(lambda: shown.driver.find_elements(By.CSS_SELECTOR, "day-chart .bar"), "no chart")
        drawn = [row.text.split() for row in shown.driver.find_elements(By.CSS_SELECTOR, ".statuses tbody tr")]
        assert sum(int(row[-2]) for row in drawn) == stats["total"], drawn
        shown.press("Numbers")
        numbers = [int(cell.text) for cell in shown.driver.find_elements(By.CSS_SELECTOR, ".scroll td")]
        assert sum(numbers) == stats["total"], numbers
        shown.press("Last 30 days")
        shown.until(lambda: "range=30" in shown.path, "no address of its own")
        shown.until(lambda: len(shown.driver.find_elements(By.CSS_SELECTOR, "day-chart .bar")) == 30, "not 30 days")
        shown.press("contacted")
        shown.heading("Clients")
        assert f"bucketId={credentials['bucketId']}&status=contacted" in shown.path
        assert {row.text for row in shown.driver.find_elements(By.CSS_SELECTOR, "td[data-label=Status]")} == {"contacted"}


def clients(credentials, screens):
    bucket, affiliate = credentials["bucketId"], credentials["affiliateID"]
    lead = lambda: leads(credentials, credentials["partnerToken"], bucket, affiliate, {"emails": ["lead5@example.com"]})[1].get("lead5@example.com")
    with console(credentials, credentials["adminToken"], "/clients") as shown:
        shown.fill("Email", "nobody")
        shown.press("Search")
        shown.until(lambda: shown.error_of("Email") == "Must be a valid email address.", "no error")
        shown.fill("Email", "nobody@example.com")
        shown.press("Search")
        shown.see("No client fits")
        shown.fill("Email", "LEAD5@example.com")
        shown.press("Search")
        shown.until(lambda: len(shown.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == 1, "one client")
        shown.press("Jane Doe")
        shown.heading("Jane Doe")
        shown.fill("Status", "qualified")
        shown.press("Now")
        shown.press_and_hear("Save", "Saved the client")
        now = lead()
        assert now["status"] == "qualified" and now["ftd"], now

        # Another operator was faster: what is typed here stays, and what was not touched is shown as it is now.
        client = now["id"]
        admin(credentials, "PATCH", f"/clients/{client}", {"state": "frozen"})
        shown.fill("Status", "won")
        shown.press("Save")
        shown.see("Somebody changed this meanwhile.")
        assert shown.control("State").get_attribute("value") == "frozen"
        assert shown.control("Status").get_attribute("value") == "won"
        shown.press_and_hear("Save", "Saved the client")
        stored = admin(credentials, "GET", f"/clients/{client}")
        assert (stored["status"], stored["state"]) == ("won", "frozen"), stored

        shown.fill("Status", "")
        shown.press("Save")
        assert shown.error_of("Status") == "Enter a status."
        shown.fill("Status", "won")
        shown.press("None")
        shown.choose("Bucket", "Direct")
        shown.press_and_hear("Save", "Saved the client")
        assert lead() is None, "it is in the bucket still"
        stored = admin(credentials, "GET", f"/clients/{client}")
        assert stored["ftd"] is None and stored["bucketId"] != bucket
        shown.choose("Bucket", "None")
        shown.press_and_hear("Save", "Saved the client")
        assert admin(credentials, "GET", f"/clients/{client}")["bucketId"] is None, "it is in a bucket still"


def pages_have_addresses(credentials, screens):
    """Paging by cursor, deep links, the back button, and where one was."""
    with console(credentials, credentials["adminToken"], f"/clients?bucketId={credentials['bucketId']}&affiliateID=1234567890") as shown:
        driver = shown.driver
        rows = lambda: [row.text for row in driver.find_elements(By.CSS_SELECTOR, "tbody th small")]
        shown.open("/clients")
        shown.heading("Clients")
        first = rows()
        assert len(first) == 50
        shown.press("Next page →")
        shown.until(lambda: rows() and rows() != first, "no second page")
        second = rows()
        assert not set(first) & set(second)
        deep = shown.path
        driver.refresh()
        shown.settled()
        assert rows() == second, "the address names the page"
        shown.press("← Previous page")
        shown.until(lambda: rows() == first, "no way back")
        driver.back()
        shown.until(lambda: rows() == second, "the back button")
        driver.execute_script("scrollTo(0, document.documentElement.scrollHeight)")
        where = driver.execute_script("return scrollY")
        driver.find_elements(By.CSS_SELECTOR, "tbody th a")[-1].click()
        shown.until(lambda: shown.path.startswith("/clients/"), "no client")
        shown.settled()
        assert driver.execute_script("return [scrollY, document.activeElement.tagName]") == [0, "H1"]
        driver.back()
        shown.until(lambda: rows() == second, "the list again")
        shown.until(lambda: abs(driver.execute_script("return scrollY") - where) < 5, "where one was")
        driver.forward()
        shown.until(lambda: shown.path.startswith("/clients/"), "forward")
        shown.settled()
        # A deep link shows its page once one is signed in.
        driver.execute_script("sessionStorage.clear()")
        shown.open(deep)
        shown.sign_in(credentials["adminToken"])
        shown.until(lambda: rows() == second, "the deep link")
        shown.open("/nowhere")
        shown.heading("Not found")
        shown.press("Go to the overview")
        shown.heading("Overview")


def hostile_data(credentials, screens):
    """Names of strangers are text, and break no page."""
    ids = []
    for number, name in enumerate(HOSTILE):
        fields = {"firstName": name, "lastName": name, "affiliateID": "HOSTILE", "sourceId": name[:100], "status": name[:200], "meta": name * 4}
        ids.append(sign_up(credentials, f"hostile{number}@example.com", **fields))
    made = admin(credentials, "POST", "/buckets", {"name": HOSTILE[0], "affiliateID": "HOSTILE", "sources": [name[:128] for name in HOSTILE]})
    long = admin(credentials, "POST", "/buckets", {"name": "W" * 128, "affiliateID": "W" * 128, "sources": ["W" * 128]})
    role = admin(credentials, "POST", "/roles", {"name": HOSTILE[0] + "W" * 90, "permissions": ["buckets:view-own"]})
    token = admin(credentials, "POST", "/tokens", {"name": HOSTILE[0] + "W" * 90, "roleId": role["id"], "affiliateIDs": [HOSTILE[1], "W" * 128]})
    admin(credentials, "POST", f"/buckets/{made['id']}/route", {})
    paths = ["", "/clients?affiliateID=HOSTILE", *(f"/clients/{client}" for client in ids), f"/buckets/{made['id']}", f"/buckets/{long['id']}", "/buckets"]
    paths += [f"/security/roles/{role['id']}", "/security/roles", f"/security/tokens/{token['id']}", "/security/tokens", "/security/tokens/add", "/clients?status=" + urllib.parse.quote(HOSTILE[0])]
    for size in (PHONE, DESKTOP):
        with console(credentials, credentials["adminToken"], size=size) as shown:
            for number, path in enumerate(paths):
                shown.open(path)
                shown.settled()
                assert shown.driver.execute_script("return [window.owned ?? null, document.querySelectorAll('main img').length]") == [None, 0], path
                assert_fits(shown.driver, size[0], path)
                screens.take(shown.driver, f"hostile-{number}-{'phone' if size == PHONE else 'desktop'}")
            shown.open(f"/clients/{ids[0]}")
            shown.heading(f"{HOSTILE[0]} {HOSTILE[0]}")
            shown.open(f"/buckets/{made['id']}")
            shown.heading(HOSTILE[0])
            assert [f"{HOSTILE[0]}"] == [row.text for row in shown.driver.find_elements(By.CSS_SELECTOR, ".statuses th") if "<img" in row.text]


def mail(credentials, screens):
    """What the local stack wrote instead of sending it, as a mail program shows it."""
    with console(credentials, credentials["adminToken"], "/mail") as shown:
        driver = shown.driver
        shown.heading("Mail")
        sign_up(credentials, "mail0@example.com", firstName="Zoë", sendEmail=True)
        client = sign_up(credentials, "mail1@example.com", firstName=HOSTILE[0], sendEmail=True)

        def is_there():
            driver.refresh()
            shown.settled()
            return len(driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == 2

        shown.until(is_there, "the emails are not listed")
        rows = driver.find_elements(By.CSS_SELECTOR, "tbody tr")
        row = next(row for row in rows if "mail1@example.com" in row.text)
        row.find_element(By.TAG_NAME, "a").click()
        frame = shown.until(lambda: driver.find_element(By.CSS_SELECTOR, "iframe.email"), "no email")
        assert frame.get_attribute("sandbox") == "", "nothing is allowed in it"
        screens.take_whole(driver, "mail")
        driver.switch_to.frame(frame)
        # A name that could be markup or a link is greeted by none.
        shown.see("Your registration is complete.")
        assert HOSTILE[0] not in shown.text()
        assert not driver.find_elements(By.CSS_SELECTOR, "img, script")
        driver.switch_to.default_content()
        assert driver.execute_script("return window.owned ?? null") is None
        shown.press("Plain text")
        shown.see("Hello,", "article pre")
        file = shown.find("Open in a mail program (.eml)", "a").get_attribute("href")
        with urllib.request.urlopen(file, timeout=PATIENCE) as answer:
            message = email.message_from_bytes(answer.read(), policy=email.policy.default)
        assert message["To"] == "mail1@example.com" and message.get_body(("html",)) and message.get_body(("plain",))
        shown.press("Client")
        shown.until(lambda: shown.path == f"/clients/{client}", "no client")
        shown.settled()
        driver.back()
        shown.heading("Mail")
        next(row for row in driver.find_elements(By.CSS_SELECTOR, "tbody tr") if "mail0@" in row.text).find_element(By.TAG_NAME, "a").click()
        shown.see("mail0@example.com", "article")
        driver.switch_to.frame(driver.find_element(By.CSS_SELECTOR, "iframe.email"))
        shown.see("Zoë")
        driver.switch_to.default_content()


def session_loss(credentials, screens):
    """A token that is deleted while a form is filled in: another one, and on it goes."""
    mine = admin(credentials, "POST", "/tokens", {"name": "Short-lived", "roleId": "administrator"})
    with console(credentials, mine["token"], "/security/tokens/add") as shown:
        shown.fill("Name", "Kept through it all")
        shown.choose("Role", "Sign up")
        admin(credentials, "DELETE", f"/tokens/{mine['id']}")
        shown.press("Generate token")
        shown.dialog("Your token is not valid any more")
        ActionChains(shown.driver).send_keys(Keys.ESCAPE).perform()
        shown.dialog("Your token is not valid any more")
        shown.sign_in(mine["token"])
        shown.dialog("This token is refused.")
        screens.take(shown.driver, "session-lost")
        shown.sign_in(credentials["adminToken"])
        shown.see("The token is ready")
        shown.see("Kept through it all")
        made = [token for token in admin(credentials, "GET", "/tokens?limit=1000")["items"] if token["name"] == "Kept through it all"]
        assert len(made) == 1, made
        shown.copied("Copy the token")
        shown.press("Roles")
        shown.heading("Roles")
        shown.press("Local administrator", "summary")
        shown.press("Sign out")
        shown.see("You are signed out.")
        assert shown.driver.execute_script("return sessionStorage.length") == 0
        shown.driver.back()
        shown.see("Sign in")
        # A token that was taken back between two visits.
        shown.driver.execute_script("sessionStorage.setItem('wbcs.token', arguments[0])", mine["token"])
        shown.open("/clients")
        shown.see("Sign in")


def failures(credentials, screens):
    """No connection: the form stays, and the same press works later."""
    with console(credentials, credentials["adminToken"], "/buckets/add") as shown:
        driver = shown.driver
        offline = lambda is_off: driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": is_off, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
        driver.execute_cdp_cmd("Network.enable", {})
        shown.fill("Name", "Offline")
        shown.fill("Affiliate", "OFF")
        offline(True)
        shown.press("Add the bucket")
        shown.see("The server can't be reached. Check the connection. Nothing that you filled in is lost. Look at the list before you send it again")
        assert driver.find_element(By.CSS_SELECTOR, "form [role=alert]").text, "screen readers are told"
        screens.take(driver, "offline")
        offline(False)
        shown.press("Add the bucket")
        shown.heading("Offline")
        offline(True)
        shown.press("Clients", "nav a")
        shown.heading("This did not work")
        offline(False)
        shown.press("Try again")
        shown.heading("Clients")
        # A slow answer: one sees that something is under way, and the page stays until it is there.
        slow = {"offline": False, "latency": 3000, "downloadThroughput": -1, "uploadThroughput": -1}
        driver.execute_cdp_cmd("Network.emulateNetworkConditions", slow)
        driver.execute_script(LISTEN_FOR_PROGRESS)
        shown.press("Buckets", "nav a")
        seen = shown.until(lambda: driver.execute_script("return window.told"), "nothing shows that it loads")
        assert seen == ["Loading…", "true"], seen
        shown.heading("Buckets")
        assert not driver.find_elements(By.CSS_SELECTOR, ".progress.on")


def by_keyboard(credentials, screens):
    with console(credentials) as shown:
        driver = shown.driver
        active = lambda: driver.switch_to.active_element
        type_ = lambda *keys: ActionChains(driver).send_keys(*keys).perform()
        shown.until(lambda: active().tag_name == "input", "the field is not focused")
        type_(credentials["adminToken"], Keys.ENTER)
        shown.heading("Overview")
        assert active().tag_name == "h1", "the focus is on the page that one signed in to"
        driver.refresh()
        shown.heading("Overview")
        type_(Keys.TAB)
        assert active().text == "Skip to the content", active().text
        address = driver.current_url
        type_(Keys.ENTER)
        shown.until(lambda: active().tag_name == "main", "the link does not lead to the content")
        type_(Keys.TAB)
        assert active().text == "Roles", active().text
        assert driver.current_url == address, "the page is not shown anew"
        # The whole navigation, in the order that is seen.
        driver.execute_script("document.querySelector('.nav a').focus()")
        order = []
        for _ in range(5):
            order.append(active().text)
            type_(Keys.TAB)
        assert order == ["Overview", "Identification Tokens", "Roles", "Buckets", "Clients"], order
        driver.execute_script("document.querySelectorAll('.nav a')[1].focus()")
        type_(Keys.ENTER)
        shown.heading("Identification Tokens")
        assert active().tag_name == "h1", "the focus is on the new page"
        assert driver.title == "Identification Tokens · WBCS Console"
        visible = driver.execute_script("document.querySelector('.page-actions a').focus({ focusVisible: true }); return getComputedStyle(document.activeElement).outlineStyle")
        assert visible == "solid", "the focus is seen"
        type_(Keys.ENTER)
        shown.heading("Add a token")
        shown.control("Whitelist").send_keys("10.0.0.1,", "10.0.0.2", Keys.ENTER)
        assert len(driver.find_elements(By.CSS_SELECTOR, ".chip")) == 2
        type_(Keys.BACKSPACE)
        assert [chip.text.split()[0] for chip in driver.find_elements(By.CSS_SELECTOR, ".chip")] == ["10.0.0.1"]


def limited_roles(credentials, screens):
    reader = admin(credentials, "POST", "/tokens", {"name": "Reader", "roleId": "read-only-operator"})["token"]
    nav = lambda shown: [link.text for link in shown.driver.find_elements(By.CSS_SELECTOR, ".nav a") if link.text != "Mail"]
    with console(credentials, reader) as shown:
        assert nav(shown) == ["Overview", "Buckets", "Clients"], nav(shown)
        shown.open(f"/buckets/{credentials['bucketId']}")
        shown.heading("Campaigns")
        assert "Save" not in shown.text("main") and "Route" not in shown.text("main") and "Delete" not in shown.text("main")
        shown.open("/clients/69ce524d741e8f2238329fff")
        shown.heading("Jane Doe")
        assert not shown.driver.find_elements(By.CSS_SELECTOR, "main form")
        shown.open("/security/tokens")
        shown.heading("Not allowed")
        shown.see("Security: Manage")
    with console(credentials, credentials["partnerToken"]) as shown:
        assert nav(shown) == ["Overview", "Buckets"], nav(shown)
        shown.press("Buckets")
        shown.heading("Buckets")
        affiliates = {cell.text for cell in shown.driver.find_elements(By.CSS_SELECTOR, "td[data-label=Affiliate]")}
        assert affiliates == {"1234567890", "AFF-123"}, affiliates
    with console(credentials, credentials["signupKey"]) as shown:
        assert nav(shown) == ["Overview"]
        shown.see("has nothing to show here")


def looks(credentials, screens, axe):
    """Every page in both themes and two widths: it fits, and an accessibility check finds nothing."""
    token = next(token for token in admin(credentials, "GET", "/tokens")["items"] if token["name"] == "Demo partner")
    pages = {
        "sign-in": None,
        "overview": "",
        "tokens": "/security/tokens",
        "token-add": "/security/tokens/add",
        "token": f"/security/tokens/{token['id']}",
        "roles": "/security/roles",
        "role-add": "/security/roles/add",
        "role": "/security/roles/partner",
        "buckets": "/buckets",
        "buckets-none": "/buckets?affiliateID=nobody",
        "bucket-add": "/buckets/add",
        "bucket": f"/buckets/{credentials['bucketId']}",
        "clients": f"/clients?bucketId={credentials['bucketId']}",
        "client": "/clients/69ce524d741e8f2238329fff",
        "not-found": "/nowhere",
    }
    for size in (DESKTOP, PHONE):
        for dark in (False, True):
            kind = f"{'phone' if size == PHONE else 'desktop'}-{'dark' if dark else 'light'}"
            with console(credentials, size=size, dark=dark) as shown:
                for name, path in pages.items():
                    if path is None:
                        shown.see("Sign in")
                    else:
                        shown.driver.execute_script("sessionStorage.setItem('wbcs.token', arguments[0])", credentials["adminToken"])
                        shown.open(path)
                        shown.settled()
                    if name == "bucket":
                        shown.until(lambda: shown.driver.find_elements(By.CSS_SELECTOR, "day-chart .bar"), "no chart")
                    assert_fits(shown.driver, size[0])
                    assert_accessible(shown.driver, axe, f"{name}, {kind}")
                    screens.take_whole(shown.driver, f"{name}-{kind}")
                shown.press("Local administrator", "summary")
                assert_accessible(shown.driver, axe, f"account, {kind}")
                screens.take(shown.driver, f"account-{kind}")
                if size == PHONE:
                    shown.press("Menu")
                    assert_accessible(shown.driver, axe, f"menu, {kind}")
                    screens.take(shown.driver, f"menu-{kind}")
                shown.open(f"/security/tokens/{token['id']}")
                shown.press("Delete")
                shown.dialog("cannot be restored")
                assert_accessible(shown.driver, axe, f"dialog, {kind}")
                screens.take(shown.driver, f"dialog-{kind}")
                shown.press("Cancel")
    with console(credentials, credentials["adminToken"]) as shown:
        shown.press("Local administrator", "summary")
        shown.choose("Theme", "Dark")
        ground = lambda: shown.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        dark = ground()
        shown.driver.refresh()
        shown.settled()
        assert ground() == dark != "rgb(243, 245, 248)", "the theme is kept"


def assert_accessible(driver, axe, where):
    driver.execute_script(axe)
    found = driver.execute_async_script("""
        const done = arguments[0];
        axe.run(document, { resultTypes: ['violations'], iframes: false }).then(({ violations }) => done(violations.map(({ id, impact, help, nodes }) =>
            ({ id, impact, help, nodes: nodes.slice(0, 3).map(({ html, failureSummary }) => [html.slice(0, 300), failureSummary]) }))), (error) => done([String(error)]));
    """)
    assert not found, (where, found)


def main():
    axe = pathlib.Path(sys.argv[2]).read_text()
    screens = Screens(pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else None)
    with stack(sys.argv[1]) as credentials:
        looks(credentials, screens, axe)
        print("looks: ok")
        has_reached = roles(credentials, screens)
        print("roles: ok")
        for test in (published_steps, whitelist_and_deletion, newcomer, buckets, clients, pages_have_addresses, hostile_data, mail, session_loss, failures, by_keyboard, limited_roles):
            test(credentials, screens)
            print(f"{test.__name__}: ok", flush=True)
        has_reached()
        print("a role's change reaches its token: ok")


if __name__ == "__main__":
    main()
