"""An episode on a page is kept as seed and actions: another tab shows the same, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tutelage.datasets.replay import Environments, prove, replay_proven
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.suite import suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.envs.web.browser import shared
from tutelage.tests.envs.web.showing import PAGES

SUITE = suite_from(
    {
        "suite": "pages",
        "tasks": [
            {"id": name, "env": "tests/WebPage-v0", "kwargs": {"task": str(PAGES / f"{name}.html")}}
            for name in ("form", "checklist", "canvas", "moving")
        ],
    }
)


@pytest.fixture(scope="module", autouse=True)
def no_browser_left() -> Iterator[None]:
    yield
    shared().close()


@pytest.mark.slow
@pytest.mark.parametrize("task", [one.id for one in SUITE])
def test_seed_and_actions_give_a_page_back(demonstrate: Callable, tmp_path: Path, task: str) -> None:
    store = Store.create(tmp_path / "store", SUITE)
    environment, fresh = TaskEnv(SUITE[task]), TaskEnv(SUITE[task])
    for seed in range(3):
        trajectory, seen = demonstrate(environment, seed, suite="pages")
        proven: Trajectory = prove(trajectory, fresh, seen)
        assert proven.observations is None
        store.append([proven])
    with Environments(SUITE) as environments:
        kept = list(Store.open(store.path).trajectories())
        assert [replay_proven(one, environments).digest for one in kept] == [one.digest for one in kept]
    assert Store.open(store.path).verify() == []
    environment.close()
    fresh.close()
