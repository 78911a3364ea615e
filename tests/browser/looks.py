"""A page seen narrow and wide, light and dark, and what axe finds on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDTHS = (400, 1280)
_SETTLE = """async () => {
  for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
  const ends = (one) => Number.isFinite(one.effect.getComputedTiming().endTime);
  await Promise.allSettled(document.getAnimations().filter(ends).map((one) => one.finished));
}"""
_FINDINGS = """async () => {
  const { violations } = await axe.run({ resultTypes: ["violations"] });
  const place = ({ html, target }) => ({ html, target });
  return violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.map(place) }));
}"""


def settle(page: Page) -> None:
    """Wait until the page has followed a change of its window and every transition has ended."""
    page.evaluate(_SETTLE)


def every_scheme(page: Page) -> Iterator[Literal["light", "dark"]]:
    """Show the page light, then dark; gives the scheme once it is there."""
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        settle(page)
        yield scheme


def every_look(page: Page, height: int = 800) -> Iterator[Literal["light", "dark"]]:
    """Show the page light and dark, narrow and wide each; gives the scheme once it is there."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": height})
        yield from every_scheme(page)


def findings(page: Page) -> list[dict[str, Any]]:
    """Return what axe finds wrong with what the page shows: each with id, impact and nodes."""
    if page.evaluate("typeof axe === 'undefined'"):
        page.evaluate(AXE_SCRIPT)
    return page.evaluate(_FINDINGS)


def serious_findings(page: Page) -> list[tuple[str, str]]:
    """Return the serious ones of what axe finds: each with the first node it is about."""
    return [
        (violation["id"], violation["nodes"][0]["html"])
        for violation in findings(page)
        if violation["impact"] in ("serious", "critical")
    ]
