"""Episodes that nothing can play again are shown from what was recorded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from tutelage.datasets.formats.exchange import import_store
from tutelage.datasets.store import Store
from tutelage.tests.browser.test_browse import Open, Served, at_step, look, looks_well, serving, show
from tutelage.tests.support.robot_dataset import write_dataset

__all__ = ["look"]
TOLD = "Drawn from the recorded observations: no environment plays this episode again."


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("recordings")
    import_store(write_dataset(folder / "robot", camera="image"), "lerobot", folder / "store")
    with serving(Store.open(folder / "store")) as at:
        yield at


@pytest.mark.slow
def test_cameras_and_curves_are_shown_for_every_step(look: Open, served: Served) -> None:
    page = look()
    [episode] = [name for name in served.ids("robot") if name.startswith("robot-1-")]
    show(page, episode)
    at_step(page, 0)
    expect(page.locator("#shown")).to_contain_text("open the drawer", ignore_case=True)
    first = page.locator("#picture").screenshot()
    page.keyboard.press("End")
    at_step(page, 5)
    assert page.locator("#picture").screenshot() != first
    expect(page.locator("#screen-note")).to_have_text(TOLD)
    page.keyboard.press("Home")
    at_step(page, 0)
    assert page.locator("#picture").screenshot() == first
    looks_well(page)
