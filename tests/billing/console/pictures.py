"""The pictures of docs/console.md, made anew: `python -m tests.billing.console.pictures [FOLDER]`.

A month of the demo in a store of its own, `rtmeter api` over it, and Chromium that looks: in light, in dark, and as a
telephone does.
"""

import csv
import io
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from rtmeter.demo.month import generate
from tests.billing.api.test_served import served
from tests.billing.console.chromium import browser, look_as, token_of, wait_until
from tests.store_process import serving

PICTURES = Path(__file__).parents[3] / "docs" / "pictures"
MOST_BYTES = 150_000
_SEED, _SUBSCRIBERS, _PARTNER = 1, 240, "harbourline"
_MONTH, _PERIOD = date(2026, 10, 1), "start=2026-10-01&end=2026-10-31"
_DESK, _NARROWER, _TELEPHONE = (1180, 860), (900, 700), (360, 740)
CSS = "css selector"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch)
        lines = data / "month.jsonl"
        month = generate(_SEED, _SUBSCRIBERS, _MONTH)
        lines.write_bytes(b"\n".join([*month.catalog_lines, *month.event_lines]))
        with serving(data, [lines]), served(data) as url, browser() as driver:
            for name in _pictures(driver, url, data):
                file = folder / f"console-{name}.png"
                driver.save_screenshot(str(file))
                assert file.stat().st_size < MOST_BYTES, f"{file} is larger than a page should load"
                print(file)


def _pictures(driver: Any, url: str, data: Path) -> Iterator[str]:
    """Make ready what is to be seen, name it, and go on once it is taken."""
    home = f"{url}/console"
    look_as(driver, *_DESK)
    driver.get(home)
    driver.find_element(CSS, "#token").send_keys(token_of(data, _PARTNER))
    driver.find_element(CSS, "main button").click()
    wait_until(driver, lambda _: driver.find_elements(CSS, ".figure, .empty"))
    for kind, first, last in (("CUSTOMER", "2026-10-01", "2026-10-31"), ("USER", "2026-10-01", "2026-10-31"), ("PARTNER", "2026-09-01", "2026-09-30")):  # fmt: skip
        driver.get(f"{home}/reports/new")
        driver.find_element(CSS, f"#type-{kind}").click()
        for name, day in (("start", first), ("end", last)):
            driver.execute_script("document.getElementById(arguments[0]).value = arguments[1]", name, day)
        driver.find_element(CSS, "main button").click()
        wait_until(driver, lambda _: driver.find_elements(CSS, ".state.completed"))
    driver.get(f"{home}/reports")
    made = [link.get_attribute("href") for link in driver.find_elements(CSS, "tbody a")]
    customer, subscriber = _billed(driver, made[1])
    for scheme in ("light", "dark"):
        look_as(driver, *_DESK, scheme)
        driver.get(f"{home}?{_PERIOD}")
        yield f"usage-{scheme}"
    look_as(driver, *_DESK)
    driver.get(f"{home}/reports")
    yield "reports-light"
    driver.get(f"{made[1]}/delete")
    yield "delete-light"
    look_as(driver, *_NARROWER, "dark")
    driver.get(f"{home}/explain?{_PERIOD}&customer={customer}&subscriber={subscriber}")
    yield "explain-dark"
    look_as(driver, *_TELEPHONE, "light", scale=2)
    driver.get(f"{home}?{_PERIOD}")
    driver.execute_script("document.querySelector('.figure').scrollIntoView()")
    yield "usage-360"
    look_as(driver, *_TELEPHONE, "dark", scale=2)
    driver.get(f"{home}/reports")
    yield "reports-360"


def _billed(driver: Any, report: str) -> tuple[str, str]:
    """A customer and a subscriber of a USER report whose package changed: it has more than one row."""
    text = driver.execute_async_script(
        "const done = arguments[1]; fetch(arguments[0] + '/download').then(a => a.text()).then(done)", report
    )
    own = [row for row in csv.DictReader(io.StringIO(text, newline="")) if row["PARTNER_ORG_ID"] == _PARTNER]
    rows_of = Counter(row["SUBSCRIBER_ID"] for row in own if row["SUBSCRIBER_ID"])
    subscriber = next(row for row in own if rows_of[row["SUBSCRIBER_ID"]] > 1)
    return subscriber["CUSTOMER_ORG_ID"], subscriber["SUBSCRIBER_ID"]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES)
