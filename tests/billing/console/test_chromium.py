"""The console as a clerk has it: a real browser, a real server, a real store. By mouse, by keyboard, without JavaScript."""

import hashlib
import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.billing.api.test_served import served
from tests.billing.console.chromium import browser, look_as, needs_chromium, token_of, wait_until
from tests.billing.console.colours import TEXT, contrast
from tests.month import MONTH

pytestmark = needs_chromium
OCTOBER = "start=2026-10-01&end=2026-10-31"
CSS = "css selector"
EXPLAINED = "customer=c-7-12&subscriber=s-7-12-0"
#: Of each text that is seen: what it says, its colour, that of the ground below it, and its size.
TEXTS = """
const ground = (node) => {
  for (let each = node; each; each = each.parentElement) {
    const colour = getComputedStyle(each).backgroundColor;
    if (!colour.endsWith(", 0)")) return colour;
  }
  return getComputedStyle(document.documentElement).colorScheme;
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement, style = getComputedStyle(node);
  if (!walker.currentNode.data.trim() || node.closest("svg") || !node.checkVisibility()) continue;
  found.push([walker.currentNode.data.trim(), style.color, ground(node)]);
}
return found;
"""


@pytest.fixture(scope="module")
def url(month_folder: Path) -> Iterator[str]:
    with served(month_folder) as address:
        yield address


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def chromium(downloads: Path) -> Iterator[Any]:
    with browser(downloads) as driver:
        yield driver


@pytest.fixture
def driver(chromium: Any, url: str) -> Any:
    """Nobody logged in, a window of a desk."""
    chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    look_as(chromium, 1280, 900)
    chromium.get_log("browser")
    return chromium


def log_in(driver: Any, url: str, token: str, path: str = "") -> None:
    driver.get(f"{url}/console{path}")
    driver.find_element(CSS, "#token").send_keys(token)
    press(driver, "Log in")
    wait_until(driver, lambda _: heading(driver) != "Log in")


def heading(driver: Any) -> str:
    return str(driver.execute_script("return document.querySelector('h1')?.textContent ?? ''"))


def text_of(driver: Any, selector: str) -> str:
    """What an element of the present page says: asked at once, while pages come and go."""
    return str(driver.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector))


def press(driver: Any, name: str) -> None:
    """A button or a link, by its name; once more where another page came in between."""
    from selenium.common.exceptions import StaleElementReferenceException

    def pressed(_: Any) -> bool:
        try:
            found = [each for each in driver.find_elements(CSS, "main button, main a, header a, header button") if each.text == name]  # fmt: skip
            if not found:
                return False
            found[0].click()
        except StaleElementReferenceException:
            return False
        return True

    wait_until(driver, pressed)


def completed(driver: Any) -> bool:
    return bool(driver.execute_script("return !!document.querySelector('.state.completed')"))


def api(url: str, token: str, path: str, method: str = "GET", body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{url}/v1{path}", data, headers, method=method), timeout=60
    ) as a:
        return json.loads(a.read() or b"null")


def test_a_clerk_logs_in_asks_for_a_report_downloads_and_deletes_it(
    driver: Any, url: str, month_folder: Path, downloads: Path
) -> None:
    token = token_of(month_folder, "P-alpha")
    log_in(driver, url, token, "/reports")
    assert urlsplit(driver.current_url).path == "/console/reports", "to where one wanted to go"
    press(driver, "New report")
    driver.find_element(CSS, "#type-CUSTOMER").click()
    for name, value in (("start", "2026-10-01"), ("end", "2026-10-31")):
        driver.execute_script("document.getElementById(arguments[0]).value = arguments[1]", name, value)
    press(driver, "Create report")
    wait_until(driver, lambda _: heading(driver) == "CUSTOMER report")
    page = driver.current_url
    wait_until(driver, completed)
    assert driver.current_url == page, "by itself, on its own page"
    press(driver, "Download CSV")
    file = downloads / "CUSTOMER_2026-10-01_2026-10-31.csv"
    wait_until(driver, lambda _: file.exists())
    link = api(url, token, f"/wholesale/billing/reports/{page.split('/')[-1]}")["tempDownloadURL"]
    with urllib.request.urlopen(link, timeout=60) as answer:
        assert file.read_bytes() == answer.read() == (MONTH / "expected" / "CUSTOMER-P-alpha.csv").read_bytes()
    shown = text_of(driver, ".facts code")
    assert shown == hashlib.sha256(file.read_bytes()).hexdigest()
    press(driver, "Delete…")
    wait_until(driver, lambda _: heading(driver) == "Delete this report?")
    press(driver, "Keep it")
    press(driver, "Delete…")
    press(driver, "Delete it")
    wait_until(driver, lambda _: "The report was deleted" in text_of(driver, "main"))
    driver.get(page)
    assert heading(driver) == "No such report"
    assert driver.get_cookie("rtmeter-console") is None or driver.get_cookie("rtmeter-console")["httpOnly"]
    driver.get(f"{url}/console")
    press(driver, "Log out")
    wait_until(driver, lambda _: heading(driver) == "Log in")
    driver.get(page)
    assert heading(driver) == "Log in"
    problems = [line["message"] for line in driver.get_log("browser") if "404" not in line["message"]]
    assert problems == [], "the policy lets through what the pages need"


def test_anothers_report_is_refused_as_one_that_is_not_there(driver: Any, url: str, month_folder: Path) -> None:
    owner = token_of(month_folder, "P-alpha")
    theirs = api(url, owner, "/wholesale/billing/reports", "POST", {"billingStartDate": "2026-10-01", "billingEndDate": "2026-10-02", "type": "PARTNER"})["id"]  # fmt: skip
    log_in(driver, url, token_of(month_folder, "P-beta"))
    said = []
    for report_id in (theirs, "no-such-report"):
        for what in ("", "/download", "/delete"):
            driver.get(f"{url}/console/reports/{report_id}{what}")
            text = text_of(driver, "main")
            assert heading(driver) == "No such report"
            said.append(re.sub(r"RTMETER_[\w-]+", "", text))
    assert len(set(said)) == 1


def test_all_of_it_by_keyboard(driver: Any, url: str, month_folder: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    def focused() -> str:
        return str(driver.execute_script("const e = document.activeElement; return (e.innerText || e.id || e.tagName).trim()"))  # fmt: skip

    def tab_to(name: str) -> None:
        for _ in range(60):
            driver.switch_to.active_element.send_keys(Keys.TAB)
            if focused() == name:
                style = driver.execute_script("const s = getComputedStyle(document.activeElement); return [s.outlineStyle, parseFloat(s.outlineWidth)]")  # fmt: skip
                assert style[0] != "none", f"{name}: one must see where one is"
                assert style[1] >= 2
                return
        raise AssertionError(f"{name} cannot be reached by tab; the last one was {focused()}")

    def enter(expected: str) -> None:
        driver.switch_to.active_element.send_keys(Keys.ENTER)
        wait_until(driver, lambda _: heading(driver) == expected)

    driver.get(f"{url}/console/reports")
    driver.find_element(CSS, "body").send_keys(Keys.TAB)
    assert focused() == "Skip to the content", "the first thing"
    tab_to("token")
    driver.switch_to.active_element.send_keys(token_of(month_folder, "P-beta"))
    enter("Reports")
    tab_to("New report")
    enter("New report")
    tab_to("type-CUSTOMER")
    driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    assert focused() == "type-USER"
    tab_to("start")
    driver.switch_to.active_element.send_keys("10012026")  # month, day, year: see chromium.browser
    tab_to("end")
    driver.switch_to.active_element.send_keys("10312026")
    tab_to("Create report")
    enter("USER report")
    wait_until(driver, completed)
    assert "2026-10-01 to 2026-10-31" in text_of(driver, ".facts")
    tab_to("Delete…")
    enter("Delete this report?")
    tab_to("Delete it")
    enter("Reports")
    wait_until(driver, lambda _: "The report was deleted" in text_of(driver, "main"))
    tab_to("Explain")
    enter("Why is this user billed?")
    tab_to("Log out")
    enter("Log in")


def test_without_javascript_a_report_is_made_too(driver: Any, url: str, month_folder: Path) -> None:
    log_in(driver, url, token_of(month_folder, "S-one"))
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    driver.get(f"{url}/console/reports/new")
    press(driver, "Create report")
    wait_until(driver, lambda _: driver.find_elements(CSS, ".state.completed"))
    press(driver, "Delete…")
    press(driver, "Delete it")
    wait_until(driver, lambda _: "The report was deleted" in text_of(driver, "main"))


def pages(driver: Any, url: str, month_folder: Path) -> Iterator[str]:
    """Every page, one after the other, with something on it."""
    driver.get(f"{url}/console/login")
    yield "login"
    token = token_of(month_folder, "P-alpha")
    log_in(driver, url, token)
    made = api(url, token, "/wholesale/billing/reports")["items"]
    report = made[0]["id"] if made else api(url, token, "/wholesale/billing/reports", "POST", {"billingStartDate": "2026-10-01", "billingEndDate": "2026-10-02", "type": "PARTNER"})["id"]  # fmt: skip
    for path in (
        f"?{OCTOBER}",
        "?start=x",
        "/reports?said=deleted",
        "/reports/new",
        f"/reports/{report}",
        f"/reports/{report}/delete",
        "/reports/no-such",
        f"/explain?{OCTOBER}&{EXPLAINED}",
        f"/explain?{OCTOBER}&customer=no&subscriber=such",
    ):
        driver.get(f"{url}/console{path}")
        yield path


def test_no_page_is_wider_than_a_telephone(driver: Any, url: str, month_folder: Path) -> None:
    look_as(driver, 360, 740)
    for path in pages(driver, url, month_folder):
        assert driver.execute_script("return document.documentElement.scrollWidth") == 360, path
    driver.execute_script("document.querySelector('h1').style.width = '361px'")
    assert driver.execute_script("return document.documentElement.scrollWidth") > 360, "the check can fail"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_is_far_enough_from_its_ground(driver: Any, url: str, month_folder: Path, scheme: str) -> None:
    look_as(driver, 1280, 900, scheme)
    judged = 0
    for path in pages(driver, url, month_folder):
        for text, colour, ground in driver.execute_script(TEXTS):
            assert contrast(_hex(colour), _hex(ground)) >= TEXT, (path, text, colour, ground)
            judged += 1
    assert judged > 300


def _hex(colour: str) -> str:
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    return f"#{red:02x}{green:02x}{blue:02x}"


def test_every_field_has_a_label_and_every_page_one_heading(driver: Any, url: str, month_folder: Path) -> None:
    for path in pages(driver, url, month_folder):
        nameless = driver.execute_script(
            "return [...document.querySelectorAll('input:not([type=hidden]), select, textarea')]"
            ".filter(e => !e.labels.length || !e.labels[0].innerText.trim()).map(e => e.outerHTML)"
        )
        assert nameless == [], path
        assert len(driver.find_elements(CSS, "h1")) == 1, path
        assert driver.execute_script("return document.documentElement.lang") == "en"
        double = driver.execute_script("const ids = [...document.querySelectorAll('[id]')].map(e => e.id); return ids.filter((id, n) => ids.indexOf(id) < n)")  # fmt: skip
        assert double == [], path
