"""A server in a process of its own, a browser that shows its page, and what tests do there."""

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.commands import ROOT
from tests.web.conftest import LONG, png_of

if TYPE_CHECKING:
    from playwright import sync_api as playwright

CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
MILLISECONDS = 1000 * LONG


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Of a server in a process of its own."""
    command = [sys.executable, "app.py", "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().split()[1]
        server.terminate()
        assert server.wait(LONG) in (0, -15)


@pytest.fixture(scope="module")  # its driver leaves an event loop behind, which others' tests could not start
def browser() -> Iterator["playwright.Browser"]:
    playwright = pytest.importorskip("playwright.sync_api", reason="driving a browser needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium, which .ci/run installs")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=MILLISECONDS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address: str) -> Iterator["playwright.Page"]:
    """The page, which asks no other server for anything and has no error."""
    context = browser.new_context(viewport={"width": 1000, "height": 700}, accept_downloads=True)
    page, asked, errors = context.new_page(), [], []
    page.set_default_timeout(MILLISECONDS)
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#sample-list button")
    yield page
    assert errors == []
    assert all(url.startswith((address, "blob:", "data:")) for url in asked)
    context.close()


def open_picture(page: "playwright.Page", pixels: np.ndarray, shrink: int = 1) -> None:
    page.select_option("#shrink", str(shrink))
    page.set_input_files("#file", {"name": "photo.png", "mimeType": "image/png", "buffer": png_of(pixels)})
    page.wait_for_selector("#tools:not([hidden])")
    settle(page)


def until(page: "playwright.Page", condition: str) -> None:
    """Wait until JavaScript says so; the page's own policy forbids what playwright would wait with."""
    for _ in range(MILLISECONDS // 50):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never: {condition}")


def settle(page: "playwright.Page") -> None:
    """Wait until all viewers show their picture at full resolution."""
    until(
        page,
        "continua.panes.viewers.length && continua.panes.viewers.every("
        "v => v.world.getItemCount() && v.world.getItemAt(0).getFullyLoaded())",
    )


def screen(page: "playwright.Page", selector: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("RGB")).astype(int)
