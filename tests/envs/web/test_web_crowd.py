"""A page shows itself as the crowd's recordings show it: a policy is trained on those and acts here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tutelage.envs.web.browser import Browser
from tutelage.envs.web.environment import WebEnv
from tutelage.envs.web.observation import BOOLEAN, COLUMNS, OWN_TEXT, read_columns, write_columns
from tutelage.envs.web.page_sources import miniwob_tasks

if not miniwob_tasks():
    pytest.skip("needs the package miniwob: pip install 'tutelage[web]'", allow_module_level=True)

TASKS = (
    *("click-checkboxes", "click-collapsible", "click-color", "click-dialog", "click-pie", "click-shape"),
    *(
        "click-tab-2",
        "email-inbox",
        "enter-date",
        "enter-time",
        "login-user",
        "navigate-tree",
        "search-engine",
    ),
    *("social-media", "tic-tac-toe", "use-spinner"),
)
SEEDS = 8


def first_pages(folder: Path, task: str) -> list[dict[str, list[Any]]]:
    """Return what the demonstrations of a task showed first."""
    episodes = pq.read_table(folder / "episodes.parquet", columns=["ep", "task"]).to_pandas()
    numbers = episodes.ep[episodes.task == task].tolist()[:40]
    wanted = [("ep", "in", numbers), ("snap", "=", 0)]
    return pq.read_table(folder / "snaps.parquet", columns=list(COLUMNS), filters=wanted).to_pylist()


def kinds(columns: dict[str, list[Any]]) -> set[tuple[str, str, str, int]]:
    """Return what sorts of elements a page has: tag, id and classes without numbers, what they hold."""
    parts = zip(columns["tag"], columns["id"], columns["classes"], columns["flags"], strict=True)
    return {
        (tag, re.sub(r"\d+", "#", name), re.sub(r"\d+", "#", classes), flags & (OWN_TEXT | BOOLEAN))
        for tag, name, classes, flags in parts
    }


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_task_shows_the_kinds_of_elements_that_the_crowd_saw(
    crowd_data: Path, browser: Browser, task: str
) -> None:
    recorded = [kinds(page) for page in first_pages(crowd_data, task)]
    env = WebEnv(task, browser=browser)
    shown = [kinds(read_columns(env.reset(seed=seed)[0]["elements"])) for seed in range(SEEDS)]
    env.close()
    assert set.union(*shown) <= set.union(*recorded)
    assert len(set.intersection(*shown) & set.intersection(*recorded)) >= 3  # body, wrap, area


def test_a_recorded_page_can_be_written_as_a_shown_one(crowd_data: Path) -> None:
    for page in first_pages(crowd_data, "login-user"):
        assert read_columns(write_columns(page)) == page
