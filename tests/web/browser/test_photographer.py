"""The page in a real browser as photographers use it: translucency, lists of files, presets, undo, reload, keyboard."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.web.browser.conftest import open_picture, screen, settle, until
from tests.web.conftest import blobs, png_of
from tests.web.test_films import film

pytestmark = pytest.mark.browser


def file_of(name: str, content: bytes) -> dict:
    return {"name": name, "mimeType": "image/png", "buffer": content}


def choose(page, mode: str) -> None:
    page.locator(f"[name=mode][value={mode}]").check(force=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_translucent_pictures_lie_once_on_a_checkerboard(page, scheme) -> None:
    """Neither lines at borders of tiles nor coarser tiles below."""
    page.emulate_media(color_scheme=scheme)
    pixels = np.zeros((300, 400, 4), np.uint8)
    pixels[:] = (200, 40, 90, 128)
    page.set_input_files("#file", [file_of("a.png", png_of(pixels))])
    page.wait_for_selector("#tools:not([hidden])")
    choose(page, "single")
    settle(page)
    for scale in (1.5, 6, 3.3):  # several levels are loaded
        page.evaluate(f"continua.panes.zoomTo({scale})")
        until(page, f"Math.abs(continua.panes.scale() - {scale}) < 0.01")
        settle(page)
    page.evaluate("document.querySelectorAll('#tools, .tag').forEach(part => (part.style.visibility = 'hidden'))")
    seen = screen(page, "#views").reshape(-1, 3)
    dark, bright = (np.rint(np.array([200, 40, 90]) * 128 / 255 + ground * 127 / 255) for ground in (204, 255))
    assert (seen >= dark - 2).all()  # in between where the browser enlarges
    assert (seen <= bright + 2).all()
    assert abs(seen.mean(0) - (dark + bright) / 2).max() < 2


def test_several_files_become_a_zip_and_a_broken_one_is_said(page) -> None:
    files = [file_of("a.png", png_of(blobs(40, 52))), file_of("b.png", b"no"), file_of("a.png", png_of(blobs(40, 52)))]
    page.set_input_files("#file", files)
    assert page.evaluate("document.activeElement.id") == "batch-start"
    page.select_option("#batch-size", "x2")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    archive = zipfile.ZipFile(download.value.path())
    assert archive.testzip() is None
    assert [entry.filename for entry in archive.infolist()] == ["a_104x80.png", "a_104x80-2.png"]
    assert Image.open(io.BytesIO(archive.read("a_104x80.png"))).size == (104, 80)
    said = page.locator("#batch-list li").all_inner_texts()
    assert "Done" in said[0]
    assert "is not a picture" in said[1]
    page.click("#batch-close")
    assert page.evaluate("document.activeElement.id") == "choose"


def test_a_picture_is_pasted(page) -> None:
    content = list(png_of(blobs(40, 52)))
    page.evaluate(
        """bytes => { const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(bytes)], 'image.png', { type: 'image/png' }));
        dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, cancelable: true })); }""",
        content,
    )
    page.wait_for_selector("#tools:not([hidden])")
    assert page.inner_text("#title").startswith("image.png")


def test_presets_and_the_call_of_what_was_saved(page) -> None:
    open_picture(page, blobs(80, 104), shrink=2)
    page.click("#presets button[value='3840x2160']")
    assert (page.input_value("#width"), page.input_value("#height")) == ("2808", "2160")
    page.fill("#long-side", "104")
    assert (page.input_value("#width"), page.input_value("#height")) == ("104", "80")
    until(page, "document.querySelector('#command').value.includes('--size 104x80')")
    files = []
    for button, option in (("#save-window", "--crop"), ("#save-whole", "--size 104x80"), ("#save-whole", "-2.png")):
        with page.expect_download() as download:
            page.click(button)
        command, file = page.input_value("#command"), download.value.suggested_filename
        assert option in command
        assert command.endswith(f"--output {file}")
        files.append(file)
        page.evaluate("continua.panes.zoomBy(1.3)")
        page.wait_for_timeout(500)
        assert page.input_value("#command") == command  # that of the download, wherever one looks now
    assert len(set(files)) == 3
    with page.expect_download() as download:
        page.click("#save-input")
    assert download.value.suggested_filename == "photo_x1-2.png"
    assert "--input photo_x1-2.png" in page.input_value("#command")
    assert Image.open(download.value.path()).size == (52, 40)


def test_crossed_corners_leave_no_call_and_changes_are_undone(page) -> None:
    open_picture(page, blobs(40, 52))
    choose(page, "warp")
    page.wait_for_selector("#warp[data-drawn=sharp]")
    first = page.input_value("#matrix")
    until(page, "document.querySelector('#command').value.includes('--homography')")
    corner = page.locator(".handle").nth(1)
    box, other = corner.bounding_box(), page.locator(".handle").nth(0).bounding_box()
    page.mouse.move(box["x"] + 13, box["y"] + 13)
    page.mouse.down()
    page.mouse.move(other["x"] - 40, other["y"] + 13, steps=4)
    page.mouse.up()
    assert page.locator("#warp").get_attribute("class") == "bad"
    assert (page.input_value("#command"), page.input_value("#matrix")) == ("", "")
    assert all(page.is_disabled(button) for button in ("#copy-command", "#copy-matrix", "#save-whole"))
    page.keyboard.press("Control+z")
    assert page.input_value("#matrix") == first
    until(page, "document.querySelector('#command').value.includes('--homography')")
    corner.press("ArrowLeft")
    page.click("#undo-warp")
    assert page.input_value("#matrix") == first
    page.wait_for_selector("#warp:not([aria-busy])")


def test_a_reload_keeps_the_view_and_other_tabs_have_their_own(page) -> None:
    open_picture(page, blobs(80, 104), shrink=2)
    choose(page, "four")
    settle(page)
    page.locator("#models select").nth(2).select_option("lanczos")
    page.click("#presets button[value=x2]")
    page.evaluate("continua.panes.zoomTo(9)")
    until(page, "Math.abs(continua.panes.scale() - 9) < 0.05")
    page.wait_for_timeout(600)
    state = (
        "[document.querySelector('#width').value, [...document.querySelectorAll('#models select')].map(s => s.value)]"
    )
    before = page.evaluate(state)
    page.reload()
    page.wait_for_selector("#tools:not([hidden])")
    settle(page)
    assert page.evaluate(state) == before
    assert page.evaluate("continua.panes.scale()") == pytest.approx(9, rel=0.02)
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector("#tools:not([hidden])")
    assert other.evaluate("document.querySelector('[name=mode]:checked').value") == "slider"
    other.locator("[name=mode][value=single]").check(force=True)
    page.reload()
    page.wait_for_selector("#tools:not([hidden])")
    assert page.evaluate("document.querySelector('[name=mode]:checked').value") == "four"


def test_the_keyboard_stays_where_it_was(page) -> None:
    page.focus("#choose")
    open_picture(page, blobs(40, 52))
    assert "openseadragon-canvas" in page.evaluate("document.activeElement.className")
    model = page.locator("#models select").nth(1)
    model.focus()
    model.select_option("lanczos")
    assert page.evaluate("[...document.querySelectorAll('#models select')].indexOf(document.activeElement)") == 1
    page.focus("#samples")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "choose"


def test_nothing_is_said_on_the_console_while_zooming_fast(page) -> None:
    said = []
    page.on("console", lambda message: said.append(message.text))
    open_picture(page, blobs(120, 160))
    for scale in (1, 20, 2, 60, 5, 0.7, 40, 3, 60, 1):
        page.evaluate(f"continua.panes.zoomTo({scale})")
        page.wait_for_timeout(60)
    settle(page)
    assert said == []


@pytest.mark.parametrize("size", [(360, 700), (1000, 700)])
def test_a_photograph_of_12_megapixels_opens_without_a_question(page, size) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    photo = np.array(Image.fromarray(blobs(60, 80)).resize((4000, 3000)))
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "JPEG")
    page.set_input_files("#file", [{"name": "phone.jpg", "mimeType": "image/jpeg", "buffer": stream.getvalue()}])
    page.wait_for_selector("#tools:not([hidden])")
    settle(page)
    page.evaluate("continua.panes.zoomTo(2)")
    until(page, "Math.abs(continua.panes.scale() - 2) < 0.01")
    settle(page)
    assert page.inner_text("#status") == ""
    for mode in ("slider", "four", "warp"):
        choose(page, mode)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_a_film_is_made_and_compared_with_what_was_sent(page) -> None:
    content = film(frames=30, height=96, width=128)
    page.set_input_files("#file", [{"name": "a.mp4", "mimeType": "video/mp4", "buffer": content}])
    page.select_option("#film-model", "bicubic")
    page.click("#film-start")
    page.wait_for_selector("#film-views:not([hidden])")
    until(page, "['film-before', 'film-after'].every(id => document.getElementById(id).readyState >= 2)")
    assert page.evaluate("document.getElementById('film-after').videoWidth") == 256
    page.evaluate("document.getElementById('film-after').currentTime = 0.5")
    until(page, "Math.abs(document.getElementById('film-before').currentTime - 0.5) < 0.05")
    page.locator("#film-split input").fill("20")
    clipped = page.evaluate("getComputedStyle(document.getElementById('film-before')).clipPath")
    assert clipped.startswith("inset(0px 80%")
    page.click("#film-play")
    until(page, "!document.getElementById('film-before').paused")
    page.click("#film-play")
    until(page, "document.getElementById('film-before').paused")
    with page.expect_download() as download:
        page.click("#film-save")
    assert download.value.suggested_filename == "a_x2.mp4"
    page.click("#film-close")
    assert page.evaluate("document.activeElement.id") == "choose"
