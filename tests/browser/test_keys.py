"""Keys and pictures of environments that are not ours, in a real page: held together, shifted, as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tutelage.envs.suite import Suite, suite_from
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.browser.test_page import stored


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.setenv(VARIABLE, "tutelage.tests.support.toy_lamps")
    keys = {"KeyA": [1, 0, 0], "KeyB": [0, 1, 0], "ShiftLeft": [0, 0, 1]}
    task = {
        "id": "lamps",
        "env": "tutelage.tests.support.toy_lamps:toys/Lamps-v0",
        "controls": keys,
        "success": "terminated",
    }
    return suite_from({"suite": "lamps", "tasks": [task]})


@pytest.mark.slow
def test_keys_held_together_mix_modifiers_are_keys_and_text_is_text(
    serve: Callable[..., str], open_page: Callable[..., Page], tmp_path: Any
) -> None:
    page = open_page(serve())
    page.click("[data-task=lamps]")
    page.wait_for_selector("#play:visible")
    picture = page.locator("#picture")
    expect(picture).to_have_text("lamps: . . .")
    for step, key in enumerate(("a", "b", "Shift"), start=1):
        page.keyboard.down(key)
        page.wait_for_selector(f"#picture[data-frame='{step}']")
    page.wait_for_selector("body[data-phase=finished]")
    expect(picture).to_have_text("lamps: o o o")
    for key in ("a", "b", "Shift"):
        page.keyboard.up(key)
    page.keyboard.press("k")
    (episode,) = stored(tmp_path, 1)
    assert episode.actions.tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert episode.success
