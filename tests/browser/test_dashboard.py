"""The dashboard in a real browser: signed in to, looked at, acted from, by mouse and by keys."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tutelage.crowd.storage.study_tables import conduct
from tutelage.crowd.studies.moderation import moderation_state
from tutelage.tests.browser.looks import every_look, findings
from tutelage.tests.browser.test_looks import CONTRAST, fits
from tutelage.tests.support.busy import Busy, busy
from tutelage.tests.support.busy_server import Served, serving
from websockets.sync.client import connect

Open = Callable[..., Page]
SVG_CONTRAST = CONTRAST.replace('querySelectorAll("body *")', 'querySelectorAll("svg text")').replace(
    "getComputedStyle(node).color", "getComputedStyle(node).fill"
)


@pytest.fixture(scope="module")
def busy_study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    with busy(tmp_path_factory.mktemp("busy")) as made:
        yield made


@pytest.fixture(scope="module")
def served(busy_study: Busy) -> Iterator[Served]:
    with serving(busy_study) as at:
        yield at


@pytest.fixture
def arrive(browser: Browser, served: Served) -> Iterator[Open]:
    """Give a way to come to the dashboard in a profile of its own; what goes wrong there fails the test."""
    wrong: list[str] = []
    origin = served.url.removesuffix("/admin")

    def complain(kind: str, text: str) -> None:
        # what the server refuses is no mistake of the page
        if kind in ("error", "warning") and not re.search(
            "status of (401|403|409|429)|INTERNET_DISCONNECTED", text
        ):
            wrong.append(text)

    with contextlib.ExitStack() as stack:

        def open_page(**options: Any) -> Page:
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda message: complain(message.type, message.text))
            page.on("request", lambda sent: None if sent.url.startswith(origin) else wrong.append(sent.url))
            page.goto(served.url)
            page.wait_for_selector("body:not([data-state=loading])")
            return page

        yield open_page
    assert not wrong


@pytest.fixture
def board(arrive: Open, served: Served) -> Open:
    """Give a way to come to the dashboard and sign in."""

    def open_board(**options: Any) -> Page:
        page = arrive(**options)
        page.fill("#token", served.token)
        page.keyboard.press("Enter")
        page.wait_for_selector("#board:visible")
        return page

    return open_board


def tile(page: Page, name: str) -> Any:
    return page.locator(".tile").filter(has_text=name).locator(".figure")


def person_row(page: Page, person: str) -> Any:
    return page.locator("#people tbody tr").filter(has=page.get_by_role("button", name=person))


def open_person(page: Page, person: str) -> None:
    page.fill("#find", person)
    person_row(page, person).get_by_role("button").click()
    page.wait_for_selector("#person[open]")


@pytest.mark.slow
def test_only_the_token_opens_the_door_and_signing_out_closes_it(arrive: Open, served: Served) -> None:
    page = arrive()
    expect(page.get_by_label("Admin token")).to_be_focused()
    page.keyboard.type("guess")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="expected the admin token")).to_be_visible()
    page.fill("#token", served.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Grid errands")).to_be_visible()
    assert page.input_value("#token") == ""
    assert served.token not in page.content()
    page.reload()
    page.wait_for_selector("#board:visible")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Admin token")).to_be_focused()
    page.reload()
    page.wait_for_selector("#door:visible")


def test_the_figures_are_the_database_s_and_follow_it(board: Open, busy_study: Busy) -> None:
    page = board()
    expect(page.locator("#running")).to_have_text("Running")
    kept = list(busy_study.store.trajectories())
    share = sum(each.success for each in kept) / len(kept)
    expect(tile(page, "Success")).to_have_text(f"{round(100 * share)}\u2009%")
    expect(page.locator(".tile").filter(has_text="in all")).to_contain_text(f"{len(kept)} in all")
    expect(page.locator("#tasks tbody tr")).to_have_count(3)
    expect(page.locator("#servers .alive")).to_have_count(2)
    row = {
        "episode": "new",
        "person": busy_study.names[0],
        "role": "demonstration",
        "task": "taxi",
        "seed": 1,
    }
    row |= {"success": True, "steps": 9, "seconds": 4.0, "at": time.time()}
    with busy_study.database.write() as connection:
        connection.execute(conduct.insert(), row)
    expect(page.locator(".tile").filter(has_text="in all")).to_contain_text(f"{len(kept) + 1} in all")
    with busy_study.database.write() as connection:
        connection.execute(conduct.delete().where(conduct.c.episode == "new"))


@pytest.mark.slow
def test_it_fits_and_is_legible_and_has_no_serious_finding(board: Open, busy_study: Busy) -> None:
    page = board()
    looks_well(page)
    page.get_by_text("Export", exact=True).click()
    looks_well(page)
    page.locator("#pace summary").click()
    open_person(page, busy_study.names[-1])
    expect(page.locator("#how tr.bad")).not_to_have_count(0)
    looks_well(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Pause study").click()
    expect(page.get_by_label("Reason")).to_be_focused()
    looks_well(page)


def looks_well(page: Page) -> None:
    """See that what is shown fits, is legible and has no finding, narrow and wide, light and dark."""
    for scheme in every_look(page, height=900):
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == (scheme == "dark")
        fits(page)
        for contrast in (CONTRAST, SVG_CONTRAST):
            assert {text: ratio for text, ratio in page.evaluate(contrast).items() if ratio < 4.5} == {}
        assert findings(page) == []


def test_the_door_has_no_serious_finding_either(arrive: Open) -> None:
    looks_well(arrive())


@pytest.mark.slow
def test_people_are_found_sorted_and_filtered(board: Open, busy_study: Busy) -> None:
    page = board()
    rows = page.locator("#people tbody tr")
    expect(page.locator("#listed")).to_have_text("31 people")
    expect(rows).to_have_count(25)
    page.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(31)
    page.get_by_role("button", name="Worth a look").click()
    expect(page.locator("#people tbody tr.look")).not_to_have_count(0)
    expect(person_row(page, busy_study.names[0])).to_have_count(0)
    page.get_by_role("button", name="Everyone").click()
    page.get_by_role("columnheader", name="Score").get_by_role("button").click()
    expect(page.get_by_role("columnheader", name="Score")).to_have_attribute("aria-sort", "descending")
    scores = [
        int(text[:-2])
        for text in page.locator("#people tbody tr td:last-child").all_inner_texts()
        if text != "–"
    ]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == len(busy_study.names)
    page.get_by_role("columnheader", name="Score").get_by_role("button").press("Enter")
    expect(page.get_by_role("columnheader", name="Score")).to_have_attribute("aria-sort", "ascending")
    page.get_by_label("Find a person").fill(busy_study.names[4][:-1])
    expect(rows).to_have_count(1)
    bad = person_row(page, busy_study.names[4]).locator(".bad")
    expect(bad).to_have_count(0)


@pytest.mark.slow
def test_charts_are_read_by_eye_by_pointer_and_as_tables(board: Open, busy_study: Busy) -> None:
    page = board()
    drawing = page.locator("#pace svg")
    expect(drawing).to_have_attribute("aria-label", re.compile("^Episodes a minute"))
    drawing.hover(position={"x": 300, "y": 60})
    expect(page.locator("#pace .readout")).to_have_text(re.compile(r"^\d\d:\d\d +\d"))
    page.locator("#pace summary").click()
    expect(page.locator("#pace table tbody tr")).to_have_count(60)
    page.get_by_role("button", name="Day").click()
    expect(page.locator("#pace table tbody tr")).to_have_count(96)
    expect(page.get_by_role("button", name="Day")).to_have_attribute("aria-pressed", "true")
    played = {trajectory.demonstrator for trajectory in busy_study.store.trajectories() if trajectory.success}
    expect(page.locator("#effort circle")).to_have_count(len(played))
    page.locator("#effort circle.dot-look").first.click()
    expect(page.locator("#person-name")).to_have_text(re.compile("^person-[0-9a-f]{12}$"))


@pytest.mark.slow
def test_an_episode_is_replayed_and_moved_through(board: Open, busy_study: Busy) -> None:
    page = board()
    open_person(page, busy_study.names[0])
    expect(page.locator("#episodes tr")).not_to_have_count(0)
    page.get_by_role("button", name=re.compile("^Replay Taxi")).first.click()
    expect(page.locator("#screen-title")).to_contain_text("Replay: Taxi, seed")
    page.locator("#player").get_by_role("button", name="Pause").click()
    moment, scrub = page.locator("#moment"), page.get_by_label("Step", exact=True)
    expect(moment).to_have_text(re.compile(r"^step \d+ of \d+"))
    expect(scrub).to_have_attribute("max", page.inner_text("#moment").split(" ")[3])
    scrub.fill("2")
    expect(moment).to_have_text(re.compile("^step 2 of "))
    expect(page.locator("#picture")).to_have_attribute("data-frame", "2")
    page.get_by_role("button", name="One step on").click()
    expect(page.locator("#picture")).to_have_attribute("data-frame", "3")
    assert page.inner_text("#action") in ("south", "north", "east", "west", "pick up", "drop off")
    page.get_by_role("button", name="One step back").press("Enter")
    expect(moment).to_have_text(re.compile("^step 2 of "))
    page.get_by_role("button", name=re.compile("^Speed")).click(click_count=2)
    last = page.get_attribute("#scrub", "max")
    scrub.fill(str(int(str(last)) - 1))
    page.locator("#player").get_by_role("button", name="Play").click()
    expect(moment).to_have_text(re.compile(f"^step {last} of {last}"))
    expect(page.locator("#player").get_by_role("button", name="Play")).to_be_visible()
    expect(page.locator("#screen-note")).to_have_text("")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#person")).to_be_hidden()


@pytest.mark.slow
def test_a_person_is_watched_live(board: Open, served: Served) -> None:
    page = board()
    origin = served.url.removesuffix("/admin")
    stop = threading.Event()

    def play() -> None:
        with connect(
            f"{origin.replace('http', 'ws')}/socket", additional_headers={"Origin": origin}
        ) as socket:
            threading.Thread(target=lambda: [None for _ in socket], daemon=True).start()
            socket.send(json.dumps({"type": "choose", "task": "goto-local"}))
            frame = 0
            while not stop.wait(0.15):
                for message in (
                    {"type": "down", "code": "ArrowLeft", "frame": frame},
                    {"type": "up", "code": "ArrowLeft"},
                ):
                    socket.send(json.dumps(message))
                frame = min(frame + 1, 40)

    player = threading.Thread(target=play)
    player.start()
    try:
        open_person(page, served.watched)
        expect(page.locator("#screen-title")).to_have_text("Live")
        expect(page.locator("#action")).to_have_text(re.compile("^Go to"))
        page.wait_for_selector("#picture[data-frame]")
        before = page.get_attribute("#picture", "data-frame")
        expect(page.locator("#picture")).not_to_have_attribute("data-frame", str(before))
        step = page.inner_text("#moment").split()[1]
        expect(page.locator("#moment")).to_have_text(re.compile(rf"^step (?!{step} )\d+ of 64 · playing"))
        page.get_by_role("button", name="Stop watching").click()
        expect(page.locator("#picture")).to_be_hidden()
        page.get_by_role("button", name="Watch live").click()
        expect(page.locator("#picture")).to_be_visible()
    finally:
        stop.set()
        player.join()


@pytest.mark.slow
def test_a_decision_needs_a_reason_and_shows_at_once(board: Open, busy_study: Busy) -> None:
    page = board()
    page.get_by_role("button", name="Pause study").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.get_by_role("dialog")).to_be_visible()  # the browser asks for the reason
    page.get_by_label("Reason").fill("the server moves")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.locator("#running")).to_have_text("Paused: the server moves")
    expect(page.locator("#events li").first).to_contain_text("Pause the server moves")
    assert moderation_state(busy_study.database, busy_study.study.name).paused
    page.get_by_role("button", name="Resume study").click()
    page.get_by_label("Reason").fill("it has moved")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#running")).to_have_text("Running")
    person = busy_study.playing[1]
    open_person(page, person)
    page.get_by_role("button", name="Ban").click()
    page.get_by_label("Reason").fill("a machine plays")
    page.get_by_role("dialog", name="Ban").get_by_role("button", name="Ban").click()
    expect(page.locator("#person-why")).to_have_text("Banned: a machine plays")
    expect(page.get_by_role("button", name="Ban")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(person_row(page, person)).to_have_attribute("data-standing", "banned")
    assert moderation_state(busy_study.database, busy_study.study.name).banned == {person: "a machine plays"}


@pytest.mark.slow
def test_what_is_decided_elsewhere_meanwhile_is_told_and_not_done_twice(
    board: Open, busy_study: Busy
) -> None:
    first, second = board(), board()
    for page in (first, second):
        page.get_by_role("button", name="Pause study").click()
        page.get_by_label("Reason").fill("both of us")
    first.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(first.locator("#running")).to_contain_text("Paused")
    second.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(second.get_by_role("alert").filter(has_text="paused already")).to_be_visible()
    second.get_by_role("button", name="Cancel").click()
    second.get_by_role("button", name="Resume study").click()
    second.get_by_label("Reason").fill("enough")
    second.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(first.locator("#running")).to_have_text("Running")


def test_exports_are_downloaded(board: Open, busy_study: Busy) -> None:
    page = board()
    for name, wanted in (("Records", "people.csv"), ("Demonstrations", "store/dataset.yaml")):
        page.get_by_text("Export", exact=True).click()
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        assert download.value.suggested_filename.startswith("first-crowd-")
        assert wanted in zipfile.ZipFile(download.value.path()).namelist()
        page.locator("h2").first.click()
        expect(page.locator("#export")).not_to_have_attribute("open", "")


@pytest.mark.slow
def test_a_server_that_is_away_is_told_and_comes_back(board: Open, busy_study: Busy) -> None:
    page = board()
    page.context.set_offline(True)
    expect(page.locator("#trouble")).to_have_text(
        re.compile("^The server does not answer; these are the figures of")
    )
    page.context.set_offline(False)
    expect(page.locator("#trouble")).to_be_hidden()
