"""A real browser: headless Chromium with a fresh profile, driven through Debian's own chromedriver; nothing is downloaded."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

__all__ = ["ActionChains", "Keys", "Page", "WebElement", "missing", "page"]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
)
PATIENCE_S = 10.0


def missing() -> str | None:
    """Why there is no browser here, or None."""
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            return f"no {program} on PATH (Debian: apt-get install chromium chromium-driver)"
    return None


class Page:
    """One tab, looked at the way a person or a screen reader would."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str, *, width_px: int = 1280) -> None:
        self.resize(width_px)
        self.driver.get(url)

    def resize(self, width_px: int, height_px: int = 900) -> None:
        size = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """The only element that the selector finds, waited for."""
        found: list[WebElement] = self.until(lambda: self.all(selector), f"something at {selector}")
        assert len(found) == 1, f"{len(found)} elements at {selector}"
        return found[0]

    def texts(self, selector: str) -> list[str]:
        """
        The text of every element that the selector finds, hard spaces as plain ones.

        Read in one go, so that a list cannot change meanwhile.
        """
        script = "return [...document.querySelectorAll(arguments[0])].map((node) => node.innerText)"
        return [text.replace("\xa0", " ") for text in self.run(script, selector)]

    def shows(self, selector: str, texts: list[str]) -> None:
        """Wait until exactly these texts stand there."""
        with contextlib.suppress(TimeoutException):
            self.until(lambda: self.texts(selector) == texts, selector)
        assert self.texts(selector) == texts

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def run_module(self, body: str, *arguments: Any) -> Any:
        """What `body`, the body of an async function with `arguments`, returns; it may `await import("/….js")`."""
        script = f"const done = arguments[arguments.length - 1]; (async () => {{ {body} }})().then(done, (e) => done(String(e)))"
        return self.driver.execute_async_script(script, *arguments)

    def until(self, condition: Callable[[], Any], what: str, *, within_s: float = PATIENCE_S) -> Any:
        """The first true value of `condition`."""
        wait = WebDriverWait(self.driver, within_s, poll_frequency=0.03)
        return wait.until(lambda _driver: condition(), f"{what}, within {within_s} s")

    def click(self, selector: str) -> None:
        self.one(selector).click()

    def type(self, selector: str, text: str) -> None:
        """Replace what stands in a field."""
        field = self.one(selector)
        field.clear()
        field.send_keys(text)

    def complaints(self) -> list[str]:
        """What the browser logged since the last call: script errors, violations of the security policy, failed loads."""
        return [f"{entry['level']} {entry['message']}" for entry in self.driver.get_log("browser")]


@contextmanager
def page() -> Iterator[Page]:
    """A browser with one empty tab; it and its profile are gone afterwards."""
    profile = tempfile.mkdtemp(prefix="vg-chromium-")
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    try:
        driver.set_script_timeout(PATIENCE_S)
        yield Page(driver)
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)
