"""A sign-up's autologin url in a real browser, on a stack of its own: with scripts, without them, and
by keyboard. Usage: autologin.py PROGRAM [SCREENSHOTS-DIRECTORY]"""

import json
import pathlib
import sys
import urllib.error
import urllib.request

from common import DESKTOP, PATIENCE, PHONE, Screens, assert_fits, browser, stack, until
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys


def sign_up(credentials, number, **fields):
    """Registers a client and gives its autologin url."""
    body = {"email": f"jane{number}@example.com", "phone": "+1234567890", "firstName": "Jane", "lastName": "Doe"}
    request = urllib.request.Request(
        credentials["baseUrl"] + "/tradersroom/api/auth/signup",
        json.dumps(body | fields).encode(),
        {"Content-Type": "application/json", "x-api-key": credentials["signupKey"]},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)["url"]


def status(url):
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def until_heading(driver, text):
    until(driver, lambda: driver.find_element(By.TAG_NAME, "h1").text == text, f"no page {text!r}")


def with_scripts(credentials, screens):
    url = sign_up(credentials, 1)
    with browser() as driver:
        driver.get(url)
        until_heading(driver, "Welcome, Jane")
        assert driver.current_url == credentials["baseUrl"] + "/tradersroom", driver.current_url
        page = driver.find_element(By.TAG_NAME, "main").text
        assert "Jane Doe" in page and "jane1@example.com" in page, page
        assert driver.execute_script("return document.cookie") == "", "the session is no script's to read"
        [cookie] = driver.get_cookies()
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/"), cookie
        driver.refresh()
        until_heading(driver, "Welcome, Jane")

        driver.find_element(By.TAG_NAME, "button").click()
        until_heading(driver, "You are signed out")
        assert driver.get_cookies() == [], driver.get_cookies()
        driver.get(url)
        until_heading(driver, "This link no longer works")
        assert status(url) == 410
        driver.find_element(By.LINK_TEXT, "Go to the Traders Room").click()
        until_heading(driver, "You are signed out")
        # The used link's own 410 is logged; nothing that the pages' policy kept out is.
        logged = [entry["message"] for entry in driver.get_log("browser")]
        assert not [message for message in logged if "Content Security Policy" in message], logged


def without_scripts(credentials, screens):
    url = sign_up(credentials, 2)
    with browser(scripts=False, size=PHONE) as driver:
        driver.get(url)
        until_heading(driver, "Signing you in")
        assert status(url) == 200, "looking does not use it up"
        screens.take(driver, "signing-in-phone-light")
        driver.find_element(By.TAG_NAME, "button").click()
        until_heading(driver, "Welcome, Jane")
        assert status(url) == 410
    url = sign_up(credentials, 3)
    with browser(scripts=False) as driver:
        driver.get(url)
        until_heading(driver, "Signing you in")
        driver.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB, Keys.ENTER)
        until_heading(driver, "Welcome, Jane")


def hostile_names(credentials, screens):
    name = "<img src=x onerror=\"document.title='owned'\">"
    for number, (size, dark) in enumerate([(PHONE, False), (PHONE, True), (DESKTOP, False), (DESKTOP, True)]):
        url = sign_up(credentials, 10 + number, firstName=name, lastName="W" * 1000)
        with browser(size=size, dark=dark) as driver:
            driver.get(url)
            until_heading(driver, f"Welcome, {name}")
            assert driver.title == f"Welcome, {name}", driver.title
            assert not driver.find_elements(By.TAG_NAME, "img")
            assert_fits(driver, size[0])
            driver.get(sign_up(credentials, 20 + number))
            until_heading(driver, "Welcome, Jane")
            assert_fits(driver, size[0])
            kind = f"{'phone' if size == PHONE else 'desktop'}-{'dark' if dark else 'light'}"
            screens.take(driver, f"welcome-{kind}")
            driver.get(url)
            screens.take(driver, f"gone-{kind}")


def main():
    screens = Screens(pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    with stack(sys.argv[1]) as credentials:
        for test in (with_scripts, without_scripts, hostile_names):
            test(credentials, screens)
            print(f"{test.__name__}: ok")


if __name__ == "__main__":
    main()
