"""The interactive documentation in a real browser, on a stack of its own: it loads nothing from elsewhere, its
policy keeps nothing out that it needs, and it calls the API with a pasted token. Usage: docs.py PROGRAM"""

import json
import sys

from common import DESKTOP, PHONE, assert_fits, browser, stack, until
from selenium.webdriver.common.by import By


def first(driver, selector):
    return until(driver, lambda: driver.find_element(By.CSS_SELECTOR, selector), f"no {selector}")


def press(driver, selector):
    """A click, wherever the page has scrolled to."""
    driver.execute_script("arguments[0].click()", first(driver, selector))


def assert_clean(driver, base):
    """The console has no error, and every request went to the stack."""
    logged = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE" and "401" not in entry["message"]]
    assert not logged, logged
    loaded = driver.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    elsewhere = [name for name in loaded if not name.startswith((base, "data:"))]
    assert loaded and not elsewhere, elsewhere


def partners_call_the_api(credentials):
    base = credentials["baseUrl"]
    with browser() as driver:
        driver.get(base + "/docs")
        shown = first(driver, "#operations-Token_Self-check-token")
        assert not driver.find_elements(By.CSS_SELECTOR, "[id^=operations-Tokens-]"), "operators' calls are shown"
        assert "WBCS partner API" in driver.find_element(By.TAG_NAME, "h1").text
        press(driver, ".authorize")
        first(driver, ".auth-container input")
        for container in driver.find_elements(By.CSS_SELECTOR, ".auth-container"):
            token = credentials["signupKey" if "x-api-key" in container.text else "partnerToken"]
            container.find_element(By.TAG_NAME, "input").send_keys(token)
            driver.execute_script("arguments[0].click()", container.find_element(By.CSS_SELECTOR, "button.authorize"))
        press(driver, ".btn-done")
        driver.execute_script("arguments[0].querySelector('.opblock-summary-control').click()", shown)
        press(driver, "#operations-Token_Self-check-token .execute")
        answer = "#operations-Token_Self-check-token .live-responses-table .response-col_description code"
        named = lambda: json.loads(driver.find_element(By.CSS_SELECTOR, answer).text)["name"] == "Demo partner"
        until(driver, named, "no answer that names the token")
        assert_clean(driver, base)


def operators_see_all(credentials):
    base = credentials["baseUrl"]
    for size in (PHONE, DESKTOP):
        with browser(size=size) as driver:
            driver.get(base + "/docs/")
            until(driver, lambda: driver.find_element(By.LINK_TEXT, "With the admin API"), "no link").click()
            first(driver, "#operations-Tokens-admin-tokens-create")
            assert_fits(driver, size[0])
            assert_clean(driver, base)


def without_scripts(credentials):
    with browser(scripts=False) as driver:
        driver.get(credentials["baseUrl"] + "/docs")
        until(driver, lambda: "needs scripts" in driver.find_element(By.TAG_NAME, "main").text, "no word of scripts")
        driver.find_element(By.CSS_SELECTOR, "noscript a").click()
        until(driver, lambda: '"openapi": "3.1.0"' in driver.page_source, "no document")


def main():
    with stack(sys.argv[1]) as credentials:
        for test in (partners_call_the_api, operators_see_all, without_scripts):
            test(credentials)
            print(f"{test.__name__}: ok")


if __name__ == "__main__":
    main()
