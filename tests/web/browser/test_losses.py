"""The page in a real browser when the server loses pictures or does not answer, and when the user goes on or back."""

from typing import TYPE_CHECKING

import pytest

from tests.web.browser.conftest import open_picture, settle, until
from tests.web.conftest import blobs

if TYPE_CHECKING:
    from playwright import sync_api as playwright

pytestmark = pytest.mark.browser


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
    page.evaluate("continua.panes.zoomTo(40)")
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
    settle(page)  # nothing is left to be loaded: only the page itself can ask again
    with page.expect_response(lambda response: "/tiles/6/" in response.url) as answered:
        page.unroute("**/tiles/**")
    assert answered.value.status == 200


def test_nothing_is_asked_about_a_picture_that_was_closed(page) -> None:
    open_picture(page, blobs(40, 52), shrink=2)
    page.evaluate("continua.panes.zoomTo(3)")
    page.click("#samples")
    page.wait_for_timeout(500)  # scores are asked for 350 ms after the last movement; the fixture finds errors
