"""The page in a real browser: open, zoom, slide, warp, download, by mouse and by keyboard."""

import io
import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import demo
from tests.commands import ROOT, call
from tests.web.conftest import LONG, blobs, png_of

playwright = pytest.importorskip("playwright.sync_api", reason="driving a browser needs playwright")

CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
AXE = ROOT / "build/axe-core/package/axe.min.js"
SHIPPED = "save/pretrained_models/edsr-s_lm-liif.pth"
MILLISECONDS = 1000 * LONG

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which .ci/run installs")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a server in a process of its own."""
    command = [sys.executable, "app.py", "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().split()[1]
        server.terminate()
        assert server.wait(LONG) in (0, -15)


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
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


def test_zooming_ends_at_x64_and_what_is_seen_is_what_demo_paints(page, tmp_path) -> None:
    pixels = blobs(40, 52)
    open_picture(page, pixels)
    page.locator("[name=mode][value=single]").check(force=True)
    settle(page)
    page.evaluate("continua.panes.zoomTo(20)")
    until(page, "Math.abs(continua.panes.scale() - 20) < 0.01")
    assert page.inner_text("#zoom") == "x20"
    page.evaluate("continua.panes.zoomTo(32)")
    until(page, "Math.abs(continua.panes.scale() - 32) < 0.01")
    settle(page)
    page.evaluate("document.querySelectorAll('#tools, .tag').forEach(part => (part.style.visibility = 'hidden'))")
    part = page.evaluate("continua.panes.part()")
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    call(demo, "--input", tmp_path / "photo.png", "--scale", 32, "--model", SHIPPED, "--output", tmp_path / "o.png")
    whole = np.array(Image.open(tmp_path / "o.png")).astype(int)
    left, top = round(part["left"] * 52 * 32), round(part["top"] * 40 * 32)
    seen = screen(page, "#views")
    crop = whole[top : top + seen.shape[0], left : left + seen.shape[1]]
    assert np.abs(seen - crop).mean() < 1.5  # the browser shifts by parts of a pixel
    page.evaluate("continua.panes.zoomTo(500)")
    until(page, "Math.abs(continua.panes.scale() - 64) < 0.1")


def test_the_slider_moves_by_mouse_and_keyboard(page) -> None:
    open_picture(page, np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8))
    before = screen(page, "#views")
    divider = page.locator("#divider")
    box = divider.bounding_box()
    page.mouse.move(box["x"] + 16, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] - 180, box["y"] + 300, steps=4)
    page.mouse.up()
    now = int(divider.get_attribute("aria-valuenow"))
    assert now < 30
    changed = np.abs(screen(page, "#views") - before).sum(2).max(0) > 60
    middle = before.shape[1] // 2
    assert changed[middle - 150 : middle - 20].mean() > 0.5  # the right model, where the left one was
    assert not changed[middle + 20 :].any()
    divider.press("ArrowRight")
    assert int(divider.get_attribute("aria-valuenow")) == now + 2
    divider.press("Home")
    assert divider.get_attribute("aria-valuenow") == "0"


def test_two_fingers_pinch_across_the_border_of_the_slider(page) -> None:
    open_picture(page, blobs(40, 52))
    before, box = page.evaluate("continua.panes.scale()"), page.locator("#divider").bounding_box()
    middle, y = box["x"] + box["width"] / 2, box["y"] + 150
    fingers = page.context.new_cdp_session(page)
    for kind, apart in (("Start", 50), ("Move", 80), ("Move", 110), ("Move", 140), ("End", None)):
        points = (
            [] if apart is None else [{"x": middle - apart, "y": y, "id": 0}, {"x": middle + apart, "y": y, "id": 1}]
        )
        fingers.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
        page.wait_for_timeout(50)
    until(page, f"continua.panes.scale() > {1.3 * before}")


def test_viewers_go_together_and_scores_follow(page) -> None:
    open_picture(page, blobs(80, 104), shrink=2)
    page.locator("[name=mode][value=four]").check(force=True)
    settle(page)
    page.locator("#views .pane").nth(2).hover()
    page.mouse.wheel(0, -400)
    until(
        page,
        "new Set(continua.panes.viewers.map(v => v.viewport.getZoom(true).toFixed(6))).size === 1 && "
        "continua.panes.viewers[2].viewport.getZoom(true) > 1.3",
    )
    until(page, "document.querySelectorAll('#scores tbody td').length >= 6")
    until(page, "[...document.querySelectorAll('#scores tbody td')].every(c => c.textContent.includes('/'))")


def test_corners_are_dragged_and_the_matrix_is_what_demo_takes(page, tmp_path) -> None:
    pixels = blobs(40, 52)
    open_picture(page, pixels)
    page.locator("[name=mode][value=warp]").check(force=True)
    page.wait_for_selector("#warp[data-drawn=sharp]")
    first = page.input_value("#matrix")
    box = page.locator(".handle").nth(1).bounding_box()
    page.mouse.move(box["x"] + 13, box["y"] + 13)
    page.mouse.down()
    page.mouse.move(box["x"] - 80, box["y"] + 60, steps=5)
    page.wait_for_selector("#warp[data-drawn=coarse]")
    page.mouse.up()
    page.wait_for_selector("#warp[data-drawn=sharp]")
    page.locator(".turn").press("ArrowRight")
    page.wait_for_selector("#warp:not([aria-busy])")
    matrix = page.input_value("#matrix")
    assert matrix != first
    address = page.evaluate("document.querySelector('#warp canvas').toDataURL('image/png')")
    seen = np.array(Image.open(io.BytesIO(b64decode(address.partition(",")[2]))))
    height, width = seen.shape[:2]
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    size = f"{width}x{height}"
    options = ("--homography", matrix, "--size", size, "--model", SHIPPED, "--output", tmp_path / "o.png")
    call(demo, "--input", tmp_path / "photo.png", *options)
    painted = np.array(Image.open(tmp_path / "o.png"))
    assert np.array_equal(seen[..., 3], painted[..., 3])
    inside = painted[..., 3] == 255
    assert 0.1 < inside.mean() < 0.9
    assert np.abs(seen[inside].astype(int) - painted[inside]).max() <= 1


def test_windows_and_whole_pictures_are_downloaded(page) -> None:
    open_picture(page, blobs(40, 52))
    page.fill("#width", "130")
    assert page.input_value("#height") == "100"
    with page.expect_download() as download:
        page.click("#save-whole")
    assert Image.open(download.value.path()).size == (130, 100)
    assert download.value.suggested_filename == "photo_130x100.png"
    page.select_option("#ending", ".jpg")
    with page.expect_download() as download:
        page.click("#save-window")
    assert Image.open(download.value.path()).format == "JPEG"
    assert "--size 130x100" in page.input_value("#command")


def test_downloads_outlive_what_the_server_forgets(page) -> None:
    open_picture(page, blobs(40, 52))
    page.fill("#width", "130")
    page.context.clear_cookies()
    with page.expect_download() as download:
        page.click("#save-whole")  # of a picture that has to be sent again
    first = Path(download.value.path()).read_bytes()
    page.context.clear_cookies()
    with page.expect_download() as download:
        page.get_by_text("Save again").click()
    assert Path(download.value.path()).read_bytes() == first
    assert download.value.suggested_filename == "photo_130x100.png"


def test_a_long_download_is_cancelled(page) -> None:
    open_picture(page, blobs(40, 52))
    page.fill("#width", "5200")
    page.route("**/api/exports/*", unfinished)
    with page.expect_response("**/exports") as started:
        page.click("#save-whole")
    with page.expect_request(lambda request: request.method == "DELETE"):
        page.click("#exports button")
    until(page, "!document.querySelector('#exports li')")
    page.unroute("**/api/exports/*")
    name = started.value.json()["name"]
    until(page, f"fetch('/api/exports/{name}/file').then(answer => answer.status === 404)")


def unfinished(route: "playwright.Route") -> None:
    """An export that is never done, however quick the server is."""
    if route.request.method == "GET":
        route.fulfill(json={"state": "painting", "done": 0.5})
    else:
        route.continue_()


def test_a_picture_that_the_server_has_lost_is_opened_again(page) -> None:
    """Started again, short of memory, or the cookie is gone: the same place is seen in the same mode."""
    open_picture(page, blobs(80, 104), shrink=2)
    before = page.evaluate("continua.picture.picture")
    page.context.clear_cookies()
    page.evaluate("continua.panes.zoomTo(9)")
    until(page, f"continua.picture.picture !== '{before}' && continua.panes.main?.world.getItemCount()")
    settle(page)
    assert page.evaluate("continua.panes.scale()") == pytest.approx(9, rel=0.1)
    assert page.evaluate("continua.picture.reference")
    assert page.inner_text("#status") == ""
    assert page.locator("#views").get_attribute("class") == "slider"


def test_a_picture_that_is_lost_again_while_it_is_sent_is_sent_once_more(page) -> None:
    """As when another tab has opened one at the same time, and its answer brought another cookie."""
    open_picture(page, blobs(80, 104), shrink=2)
    before = page.evaluate("continua.picture.picture")
    sent = []

    def forget(route: "playwright.Route") -> None:
        sent.append(route.request.url)
        if len(sent) == 1:
            page.context.clear_cookies()
        route.continue_()

    page.route("**/encode?*", forget)
    page.context.clear_cookies()
    page.evaluate("continua.panes.zoomTo(9)")
    until(page, f"continua.picture.picture !== '{before}'")
    settle(page)
    assert len(sent) == 2
    assert page.evaluate("continua.picture.reference")
    assert page.inner_text("#status") == ""


def test_a_lost_picture_waits_for_a_server_that_does_not_answer(page) -> None:
    open_picture(page, blobs(40, 52))
    before = page.evaluate("continua.picture.picture")
    page.route("**/api/pictures?*", lambda route: route.abort())
    page.context.clear_cookies()
    page.evaluate("continua.panes.zoomTo(9)")
    page.wait_for_selector("#status.bad")
    assert "does not answer" in page.inner_text("#status")
    page.unroute("**/api/pictures?*")
    until(page, f"continua.picture.picture !== '{before}'")
    settle(page)


def test_reload_back_and_forward_show_what_was_shown(page) -> None:
    open_picture(page, blobs(80, 104), shrink=2)
    page.reload()
    page.wait_for_selector("#tools:not([hidden])")
    settle(page)
    assert page.inner_text("#title").startswith("photo_x1-2.png")
    assert page.evaluate("continua.picture.reference")
    page.go_back()
    page.wait_for_selector("#start:not([hidden])")
    page.locator("#sample-list button").first.click()
    page.wait_for_selector("#tools:not([hidden])")
    page.click("#samples")
    page.wait_for_selector("#start:not([hidden])")
    page.context.clear_cookies()
    page.go_back()  # what this page has opened itself it can send again
    page.wait_for_selector("#tools:not([hidden])")
    settle(page)
    assert page.inner_text("#title").startswith("astronaut")
    page.context.clear_cookies()
    page.reload()
    page.wait_for_selector("#status.bad")
    assert "open it again" in page.inner_text("#status")
    assert page.locator("#start").is_visible()


def test_the_place_of_a_picture_is_the_one_it_was_on_its_way_to(page) -> None:
    open_picture(page, blobs(40, 52))
    page.evaluate("continua.panes.zoomTo(50); document.querySelector('[name=mode][value=four]').click()")
    settle(page)
    assert page.evaluate("continua.panes.main.viewport.getZoom()") > 3


def test_tiles_are_asked_for_again_when_the_server_did_not_answer(page) -> None:
    open_picture(page, blobs(40, 52))
    page.route("**/tiles/**", lambda route: route.abort())
    page.evaluate("continua.panes.zoomTo(40)")
    page.wait_for_selector("#status.bad")
    assert "does not answer" in page.inner_text("#status")
    with page.expect_response(lambda response: "/tiles/6/" in response.url) as answered:
        page.unroute("**/tiles/**")
    assert answered.value.status == 200


def test_nothing_is_asked_about_a_picture_that_was_closed(page) -> None:
    open_picture(page, blobs(40, 52), shrink=2)
    page.evaluate("continua.panes.zoomTo(3)")
    page.click("#samples")
    page.wait_for_timeout(500)  # scores are asked for 350 ms after the last movement; the fixture finds errors


def test_views_stay_together_when_the_window_changes(page) -> None:
    open_picture(page, blobs(40, 52))
    page.set_viewport_size({"width": 380, "height": 760})
    until(page, "continua.panes.viewers.every(v => v.viewport.getContainerSize().x === 380)")
    places = "continua.panes.viewers.map(v => [v.viewport.getZoom(true), ...Object.values(v.viewport.getCenter(true))])"
    left, right = page.evaluate(places)
    assert left == pytest.approx(right, abs=1e-6)


def test_a_broken_file_is_said_in_words(page) -> None:
    page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"})
    page.wait_for_selector("#status.bad")
    assert "x.png is no file of a picture" in page.inner_text("#status")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(page, scheme) -> None:
    if not AXE.is_file():
        pytest.skip("needs axe-core in build/, which .ci/run fetches by npm")
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # no colour on its way
    page.evaluate(Path(AXE).read_text())
    steps = {"start": lambda: None, "open": lambda: open_picture(page, blobs(40, 52), 2)}
    steps["warp"] = lambda: page.locator("[name=mode][value=warp]").check(force=True)
    for name, step in steps.items():
        step()
        found = page.evaluate("axe.run().then(result => result.violations)")
        serious = [fault for fault in found if fault["impact"] in ("serious", "critical")]
        assert not serious, (name, [(fault["id"], fault["nodes"][0]["html"]) for fault in serious])


def test_narrow_screens_do_not_scroll_sideways(page) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    open_picture(page, blobs(40, 52))
    for mode in ("slider", "four", "warp"):
        page.locator(f"[name=mode][value={mode}]").check(force=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
