"""A link for one person, opened in two real browsers; and what a visitor sees who came by a foreign name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tutelage.crowd.recruiting.admission import make_links
from tutelage.crowd.studies.study_server import StudyServer
from tutelage.tests.browser.lake import at
from tutelage.tests.browser.looks import WIDTHS, settle
from tutelage.tests.browser.test_looks import fits
from tutelage.tests.support.study_page import running

Serve = Callable[..., AbstractContextManager[tuple[StudyServer, str]]]


def profile(browser: Browser, **options: object) -> BrowserContext:
    """Make a browser profile of its own."""
    given = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options}
    return browser.new_context(**given)  # type: ignore[arg-type]


def opened(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.goto(url)
    return page


def fits_narrow_and_wide(page: Page) -> None:
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        settle(page)
        fits(page)


@pytest.mark.slow
def test_a_second_browser_is_let_in_by_the_first(serve_study: Serve, browser: Browser) -> None:
    languages = ("en-GB", "zh-CN")
    with serve_study(recruiting={"links": "one-time"}) as (server, address):
        links = make_links(server.database, server.secret, server.study.name, len(languages))
        for language, link in zip(languages, links, strict=True):
            url = f"http://{address}/join?link={link}"
            with profile(browser, locale=language) as first, profile(browser, locale=language) as second:
                page = opened(first, url)
                at(page, "consent")
                assert page.url == f"http://{address}/"
                other = opened(second, url)
                code = other.locator("#join-code")
                expect(code).not_to_be_empty()
                shown = code.inner_text()
                fits_narrow_and_wide(other)
                dialog = page.locator("#confirm")
                expect(dialog).to_be_visible()
                expect(dialog.locator("#confirm-code")).to_have_text(shown)
                expect(dialog.locator("#confirm-no")).to_be_focused()
                fits_narrow_and_wide(page)
                page.keyboard.press("Escape")  # a key of games must not answer
                expect(dialog).to_be_visible()
                dialog.locator("#confirm-yes").click()
                expect(dialog).to_be_hidden()
                other.wait_for_url(f"http://{address}/")


@pytest.mark.slow
def test_no_keeps_it_out_and_says_what_to_do(serve_study: Serve, browser: Browser) -> None:
    with serve_study(recruiting={"links": "one-time"}) as (server, address):
        [link] = make_links(server.database, server.secret, server.study.name, 1)
        url = f"http://{address}/join?link={link}"
        with profile(browser) as first, profile(browser) as second:
            page = opened(first, url)
            at(page, "consent")
            other = opened(second, url)
            page.locator("#confirm-no").click()
            expect(other.locator("#join-text")).to_contain_text("write to whoever invited you")
            assert other.url == url
            expect(page.locator("#confirm")).to_be_hidden()
            at(page, "consent")


@pytest.mark.slow
def test_a_refusal_page_fits_and_says_what_to_do(tmp_path: Path, browser: Browser) -> None:
    with running(tmp_path, host="0.0.0.0", named="http://study.example.org") as (_, address):
        port = address.rpartition(":")[2]
        with profile(browser) as context:
            page = opened(context, f"http://localhost:{port}/join")
            at(page, "consent")
            # a name of this machine that was not named to the server, as a stranger's would be
            page.goto(f"http://rebound.localhost:{port}/")
            expect(page.get_by_role("heading")).to_have_text("This address is not answered")
            expect(page.locator("p")).to_contain_text("--address")
            fits_narrow_and_wide(page)
