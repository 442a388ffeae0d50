"""Debian's Chromium without a window, driven by its own driver; and the API as a process for it to look at."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
try:
    from selenium import webdriver
    from selenium.common.exceptions import TimeoutException
    from selenium.webdriver.support.wait import WebDriverWait
except ImportError:
    webdriver = None  # type: ignore[assignment]

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None or webdriver is None,
    reason="chromium, its driver or selenium is not installed, so no page was looked at: "
    "apt install chromium chromium-driver; pip install selenium",
)
WAIT_SECONDS = 60


@contextmanager
def browser(downloads: Path | None = None) -> Iterator[Any]:
    """A browser with a profile of its own; what it downloads goes to a folder."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    if downloads is not None:
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # In which order a day is typed follows the language, and on Linux that is in the environment.
    service = webdriver.ChromeService(DRIVER, env={**os.environ, "LANGUAGE": "en_US"})
    driver = webdriver.Chrome(options, service)
    try:
        yield driver
    finally:
        driver.quit()


def look_as(driver: Any, width: int, height: int, scheme: str = "light", scale: int = 1) -> None:
    """A window of this size, in CSS pixels, in the light or the dark colours."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def wait_until(driver: Any, holds: Any) -> Any:
    """What `holds(driver)` gives as soon as it is true; AssertionError with what the page says if it never is."""
    try:
        return WebDriverWait(driver, WAIT_SECONDS, 0.1).until(holds)
    except TimeoutException as waited:
        text = driver.execute_script("return document.body?.innerText")
        raise AssertionError(f"for {WAIT_SECONDS} s, in vain, on {driver.current_url}:\n{text}") from waited


def token_of(data_dir: Path, org: str, *more: str) -> str:
    """A token of an embedded installation's own key."""
    command = [sys.executable, "-m", "rtmeter", "token", "--org", org, "--data-dir", str(data_dir), *more]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
