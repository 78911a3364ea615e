"""A suite's mistakes show before anything is written."""

from __future__ import annotations

from typing import Any

import pytest
from tutelage.envs.preflight import rehearse
from tutelage.envs.suite import Suite, load_suite, suite_from
from tutelage.errors import TutelageError


def suite(**task: Any) -> Suite:
    good = {"id": "balance", "env": "CartPole-v1", "controls": {"ArrowLeft": 0}, "expert": "cartpole"}
    return suite_from({"suite": "one", "tasks": [good | task]})


def test_the_suite_that_comes_along_has_no_mistake() -> None:
    shipped = load_suite("first-steps")
    rehearse(shipped, experts=[task.id for task in shipped])


@pytest.mark.parametrize(
    ("task", "wanted"),
    [
        ({"env": "CartPole-v9"}, "did you mean 'CartPole-v1'"),
        ({"kwargs": {"gravity": 1}}, "CartPole-v1 failed when it was made"),
        ({"controls": {"ArowLeft": 0}}, "did you mean 'ArrowLeft'"),
        ({"controls": {"ArrowLeft": 2}}, "expected control 'ArrowLeft' to be an action"),
        ({"pace": {"fps": 5, "idle": 9}}, "expected the idle action to be an action"),
    ],
)
def test_a_mistake_is_found_without_playing(task: dict[str, Any], wanted: str) -> None:
    with pytest.raises(TutelageError, match=wanted):
        rehearse(suite(**task))


def test_an_expert_is_asked_for_only_where_it_plays() -> None:
    rehearse(suite(expert=None))
    with pytest.raises(TutelageError, match="did you mean 'cartpole'"):
        rehearse(suite(expert="cartpool"), experts=["balance"])
