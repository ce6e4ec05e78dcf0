"""What the walks through a browser share: a stack of its own, Chromium, screenshots."""

import base64
import contextlib
import json
import pathlib
import subprocess
import tempfile

import urllib3
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 180  # seconds
# For one command of the browser.
COMMAND_PATIENCE = 300  # seconds
PHONE, DESKTOP = (390, 844), (1280, 800)


@contextlib.contextmanager
def stack(program):
    """Starts the local stack on a free port and ends it; gives its credentials."""
    with tempfile.TemporaryDirectory() as directory:
        arguments = [program, "--memory", "--port", "0", "--data-dir", directory, "--log", "off"]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert any(line.startswith("Ready") for line in process.stdout), "the stack did not start"
                yield json.loads((pathlib.Path(directory) / "credentials.json").read_text())
            finally:
                process.terminate()


def started(options, attempts=3):
    """Chromium; on a machine under load it may not be there in the time that its driver gives it."""
    try:
        return webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    except (WebDriverException, urllib3.exceptions.HTTPError):
        if attempts == 1:
            raise
        return started(options, attempts - 1)


@contextlib.contextmanager
def browser(scripts=True, dark=False, size=DESKTOP):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", *quiet):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if not scripts:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    driver = started(options)
    try:
        driver.set_page_load_timeout(COMMAND_PATIENCE)
        driver.set_script_timeout(COMMAND_PATIENCE)
        driver.command_executor.client_config.timeout = COMMAND_PATIENCE + 60
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        motion = {"name": "prefers-reduced-motion", "value": "reduce"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, motion]})
        yield driver
    finally:
        driver.quit()


def until(driver, condition, message):
    """Waits for a condition; gives what it gave."""
    waiting = WebDriverWait(driver, PATIENCE, poll_frequency=0.05, ignored_exceptions=[Exception])
    return waiting.until(lambda _: condition(), message)


def assert_fits(driver, width, where=None):
    """Nothing is wider than the screen."""
    metrics = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})
    if metrics["cssContentSize"]["width"] > width:
        wide = driver.execute_script(
            "return [...document.body.querySelectorAll('*')].filter((element) => element.getBoundingClientRect().right > arguments[0])"
            ".map((element) => element.outerHTML.slice(0, 200))",
            width,
        )
        raise AssertionError((where, metrics["cssContentSize"], wide[:10]))


class Screens:
    def __init__(self, directory):
        self.directory = directory

    def take(self, driver, name):
        if self.directory:
            driver.save_screenshot(str(self.directory / f"{name}.png"))

    def take_whole(self, driver, name):
        """The page from top to bottom."""
        if self.directory:
            size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 4000), "scale": 1}
            taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
            (self.directory / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))
