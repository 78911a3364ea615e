"""The recorder's page to the eye, and to those who do not see it: it fits, it is legible, all has a name."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from tutelage.tests.browser.looks import every_look

Serve = Callable[..., str]
Open = Callable[..., Page]


def choose(page: Page, task: str) -> None:
    page.click(f"[data-task={task}]")
    page.wait_for_selector("#play:visible")


def phase(page: Page, name: str) -> None:
    page.wait_for_selector(f"body[data-phase={name}]")


@pytest.mark.slow
def test_it_fits_and_is_legible(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(episodes=3))
    look(page)
    choose(page, "taxi")
    page.wait_for_selector("canvas[data-frame]")
    look(page)
    page.keyboard.press("Escape")
    phase(page, "choosing")
    choose(page, "cartpole")
    page.keyboard.press("ArrowLeft")
    phase(page, "finished")
    look(page)


def look(page: Page) -> None:
    """See that what is shown fits and is legible, narrow and wide, light and dark."""
    for scheme in every_look(page):
        fits(page)
        legible(page, scheme)


def fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def legible(page: Page, scheme: str) -> None:
    """Every visible text stands out from what is behind it by 4.5 to 1 (WCAG AA)."""
    ratios = page.evaluate(CONTRAST)
    assert ratios
    assert {text: ratio for text, ratio in ratios.items() if ratio < 4.5} == {}
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == (scheme == "dark")


CONTRAST = """() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((one) => one / 255)
    .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parts(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.8) return colour;
    }
    return [255, 255, 255];
  };
  const found = {};
  for (const node of document.querySelectorAll("body *")) {
    const words = [...node.childNodes].filter((one) => one.nodeType === 3);
    const text = words.map((one) => one.data.trim()).join("");
    if (!text || !node.checkVisibility() || node.closest(".unseen, :disabled, noscript")) continue;
    const [a, b] = [light(parts(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    found[text] = (a + 0.05) / (b + 0.05);
  }
  return found;
}"""


def test_everything_has_a_role_and_a_name(serve: Serve, open_page: Open) -> None:
    page = open_page(serve())
    expect(page.get_by_role("heading", name="Choose a task", level=1)).to_be_visible()
    page.get_by_role("button", name="Goto local").press("Enter")
    phase(page, "playing")
    expect(page.get_by_role("application")).to_be_focused()
    expect(page.get_by_role("application")).to_have_accessible_name(re.compile("^(Go to|Goto) "))
    expect(page.get_by_role("progressbar", name="Steps taken")).to_be_visible()
    expect(page.get_by_role("group", name="Controls")).to_be_visible()
    expect(page.get_by_role("button", name="forward: up arrow")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="left arrow: turn left")).to_have_count(1)
    unnamed = "all => all.filter((one) => !one.textContent.trim() && !one.getAttribute('aria-label')).length"
    assert page.locator("button:visible, a:visible").evaluate_all(unnamed) == 0
    assert page.evaluate("document.querySelectorAll('img:not([alt]), [id=\"\"]').length") == 0
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
    # the keyboard reaches everything, and shows where it is
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_grids_are_crisp_and_motion_can_be_reduced(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(), reduced_motion="reduce")
    duration = "getComputedStyle(document.querySelector('.task')).transitionDuration"
    assert page.evaluate(duration) == "0s"
    choose(page, "goto-local")
    page.wait_for_selector("canvas.crisp")
    assert page.evaluate("getComputedStyle(document.getElementById('picture')).imageRendering") == "pixelated"


@pytest.mark.slow
def test_the_recorder_speaks_chinese_too(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(episodes=2), locale="zh-CN")
    assert page.locator("html").get_attribute("lang") == "zh"
    expect(page.get_by_role("heading", name="选择任务", level=1)).to_be_visible()
    choose(page, "goto-red-ball-grey")
    expect(page.locator("h1:visible")).to_have_text("走到红色球旁边")
    expect(page.get_by_role("button", name="前进: 上方向键")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#step")).to_have_text("第 1 步，最多 64 步")
    page.click("[data-language=en]")
    expect(page.locator("h1:visible")).to_have_text("Go to the red ball")
    expect(page.get_by_role("button", name="forward: up arrow")).to_be_visible()
    page.reload()
    phase(page, "playing")
    expect(page.locator("#step")).to_have_text("Step 1 of 64")
