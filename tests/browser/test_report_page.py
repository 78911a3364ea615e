"""The report in a real Chromium: no request, no error, no sideways scroll, replays that play."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor
from tutelage.agents.evaluation.evaluate import evaluate
from tutelage.agents.evaluation.report.report import write_report
from tutelage.envs.suite import suite_from

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

SUITE = suite_from(
    {
        "suite": "toy",
        "tasks": [
            {"id": "go", "env": "BabyAI-GoToRedBallGrey-v0", "expert": "babyai"},
            {"id": "pole", "env": "CartPole-v1", "expert": "cartpole", "max_steps": 60},
        ],
    }
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # chance under a policy's name, so that there is something to fail and someone to fail beside
    loser = ChanceActor("novice")
    loser.kind = "policy"
    found = evaluate(SUITE, [loser, ExpertActor()], episodes=6)
    return write_report(
        tmp_path_factory.mktemp("report") / "report.html",
        suite=SUITE,
        rows=found.rows,
        trajectories=found.trajectories,
        train_runs=[],
        stores=[],
        title="A report",
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: playwright.Browser, report: Path) -> Iterator[playwright.Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    requests: list[str] = []
    errors: list[str] = []
    opened.on("request", lambda one: requests.append(one.url))
    opened.on("pageerror", lambda one: errors.append(str(one)))
    opened.on("console", lambda one: errors.append(one.text))
    opened.goto(report.as_uri())
    opened.locator(".player canvas").nth(1).wait_for()
    yield opened
    asked = [one for one in requests if not one.startswith("data:")]
    assert asked == [report.as_uri()]
    assert errors == []
    context.close()


def picture(player: playwright.Locator) -> str:
    return str(player.locator("canvas").evaluate("one => one.toDataURL()"))


def drawn(player: playwright.Locator) -> str:
    """Wait until the canvas holds a picture; returns it."""
    empty = "one => Object.assign(document.createElement('canvas'), {width: one.width, height: one.height})"
    nothing = player.locator("canvas").evaluate(f"one => ({empty})(one).toDataURL()")
    until(lambda: picture(player) != nothing)
    return picture(player)


def said(player: playwright.Locator) -> str:
    return str(player.locator(".said span").inner_text())


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait in Python: the page's security policy forbids it the evaluation that Playwright waits with."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.03)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 768, 1280])
def test_nothing_sticks_out_sideways(page: playwright.Page, width: int, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_drawings_follow_the_theme(page: playwright.Page) -> None:
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.append(
            page.evaluate(
                "[...document.querySelectorAll('.panel svg text')].map(one => getComputedStyle(one).fill)[0]"
            )
        )
    assert colours[0] != colours[1]


def test_arrow_keys_step_and_the_picture_action_and_reward_follow(page: playwright.Page) -> None:
    player = page.locator(".player").nth(1)
    player.locator(".stage").focus()
    first = drawn(player)
    assert said(player).startswith("step 0 of")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert said(player).startswith("reward 1.00 · step 2 of")
    assert player.locator(".said b").inner_text() in ("push left", "push right", "0", "1")
    until(lambda: picture(player) != first)
    page.keyboard.press("Home")
    until(lambda: picture(player) == first)
    page.keyboard.press("End")
    assert player.locator("input[type=range]").input_value() == player.locator(
        "input[type=range]"
    ).get_attribute("max")


def test_playing_moves_by_itself_and_stops_at_the_end(page: playwright.Page) -> None:
    player = page.locator(".player").nth(1)
    moment, last = player.locator("input"), player.locator("input").get_attribute("max")
    for _ in range(2):
        player.get_by_role("button", name="Speed").click()
    player.get_by_role("button", name="Play").click()
    until(lambda: int(moment.input_value()) > 3)
    player.get_by_role("button", name="Pause").click()
    stopped = said(player)
    page.wait_for_timeout(200)
    assert said(player) == stopped
    player.locator(".stage").focus()
    page.keyboard.press(" ")
    until(lambda: moment.input_value() == last)
    assert player.get_by_role("button", name="Play").is_visible()
    page.keyboard.press(" ")  # at the end it starts over
    assert int(moment.input_value()) < int(last or 0)


def test_the_scrubber_shows_any_moment(page: playwright.Page) -> None:
    player = page.locator(".player").first
    player.locator("input[type=range]").fill("5")
    assert "step 5 of 64" in said(player)


def test_another_seed_and_the_expert_can_be_chosen(page: playwright.Page) -> None:
    player = page.locator(".player").first
    seeds = player.get_by_role("group", name="Seed").get_by_role("button")
    assert seeds.count() == 3
    first = drawn(player)
    seeds.nth(1).click()
    until(lambda: seeds.nth(1).get_attribute("aria-pressed") == "true")
    until(lambda: picture(player) != first)
    player.get_by_role("button", name="expert").click()
    assert "expert succeeded" in player.locator(".about").inner_text()
    assert "novice" not in player.locator(".about").inner_text()


def test_every_control_has_a_name_and_every_drawing_a_description(page: playwright.Page) -> None:
    for one in page.locator("button, input").all():
        assert one.get_attribute("aria-label") or one.inner_text().strip()
    assert page.locator(".panel > svg:not([role=img])").count() == 0
    assert page.locator(".panel > svg > title").count() == page.locator(".panel > svg").count()


def test_files_are_downloaded_without_a_network(page: playwright.Page, tmp_path: Path) -> None:
    def download(button: playwright.Locator) -> Path:
        with page.expect_download() as waiting:
            button.click()
        path = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(path)
        return path

    files = page.locator("#files button")
    assert files.count() == 5
    paths = {path.name: path for path in (download(button) for button in files.all())}
    assert list(paths) == ["table.csv", "table.tex", "table.md", "rows.csv", "rows.parquet"]
    assert len(paths["rows.csv"].read_text().splitlines()[1:]) == 24
    assert pq.read_table(paths["rows.parquet"]).num_rows == 24
    assert paths["table.tex"].read_text().count("novice") == 1
    plot = page.locator("figure.panel").first
    drawing = download(plot.get_by_role("button", name="SVG of go"))
    assert drawing.name == "success-go.svg"
    assert ElementTree.parse(drawing).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(--" not in drawing.read_text("utf-8")
    picture_file = download(plot.get_by_role("button", name="PNG of go"))
    pixels = np.asarray(Image.open(picture_file).convert("RGB"))
    assert (pixels[:, -4:] == 255).all(), "something is cut at the right"
    assert (pixels == (0x1F, 0x5F, 0xBF)).all(axis=2).any(), "the policy has its colour"


def test_on_paper_there_are_no_controls_and_no_dark_background(page: playwright.Page, tmp_path: Path) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator(".player button:visible").count() == 0
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--paper')") == "#fff"
    paper = page.pdf(prefer_css_page_size=True)
    assert paper.startswith(b"%PDF")
