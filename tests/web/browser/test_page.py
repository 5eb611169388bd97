"""The page in a real browser: open, zoom, slide, warp, download, by mouse and by keyboard."""

import io
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import demo
from tests.commands import ROOT, call
from tests.web.browser.conftest import open_picture, screen, settle, until
from tests.web.conftest import blobs

if TYPE_CHECKING:
    from playwright import sync_api as playwright

pytestmark = pytest.mark.browser
AXE = ROOT / "build/axe-core/package/axe.min.js"
SHIPPED = "s"


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
    assert "--crop" in page.input_value("#command")


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


def unfinished(route: "playwright.Route") -> None:
    """An export that is never done, however quick the server is."""
    if route.request.method == "GET":
        route.fulfill(json={"state": "painting", "done": 0.5})
    else:
        route.continue_()


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
    until(page, f"fetch('api/exports/{name}/file').then(answer => answer.status === 404)")


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
    assert "x.png is not a picture" in page.inner_text("#status")


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
