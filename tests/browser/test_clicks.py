"""People click on the picture of anybody's environment that reads input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from tutelage.tests.support.nursery import Nursery
from tutelage.tests.support.what_is_stored import rows

COUNTER = {"id": "count", "env": "Counter-v0", "success": "reward > 0"}


@pytest.mark.slow
@pytest.mark.parametrize(("width", "touch"), [(1280, False), (400, True)])
def test_clicks_and_taps_are_actions(
    nursery: Nursery, browser: Browser, tmp_path: Path, width: int, touch: bool
) -> None:
    suite = {"suite": "counters", "tasks": [COUNTER]}
    imports = "tutelage.tests.support.counter_env"
    server = nursery.start("recorder", tmp_path / "store", suite=suite, imports=imports)
    page = browser.new_page(viewport={"width": width, "height": 800}, has_touch=touch)
    page.goto(f"http://{server.address}/")
    page.click("[data-task=count]")
    picture = page.locator("canvas[data-frame]:visible")
    picture.wait_for()
    box = picture.bounding_box()
    assert box is not None
    for step, place in enumerate((0.9, 0.9, 0.1), 1):
        position = {"x": place * box["width"], "y": box["height"] / 2}
        (picture.tap if touch else picture.click)(position=position)  # type: ignore[arg-type]
        expect(page.locator("#step")).to_have_attribute("data-step", str(step))
    page.context.close()
    server.stop()
    actions = rows(tmp_path / "store", "select action from steps order by step")
    assert [json.loads(action) for (action,) in actions] == [[1.0], [1.0], [0.0]]
