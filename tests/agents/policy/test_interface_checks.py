"""A policy plays a task of its name only where it sees and does what it was taught with."""

from __future__ import annotations

from typing import Any

import pytest
from tutelage.agents.evaluation.actors import PolicyActor
from tutelage.agents.evaluation.evaluate import evaluate
from tutelage.agents.policy.action_parts import ActionPart
from tutelage.agents.policy.encoding import Encoding, IOSpec, ObservationSpec
from tutelage.agents.policy.policy import Policy, PolicyConfig
from tutelage.agents.policy.web.page_actions import page_parts
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError

VECTOR = ObservationSpec("", "vector", (4,), edges=((0.0, 1.0),) * 4)
CHOICE = (ActionPart("choice", 2, 0.0),)


def play(env: str, *seen: ObservationSpec, parts: tuple[ActionPart, ...] = CHOICE) -> None:
    suite = suite_from({"suite": "toys", "tasks": [{"id": "t", "env": env, "max_steps": 3}]})
    policy = Policy(PolicyConfig(size=1, window=4), Encoding((IOSpec(seen, parts),), {"t": (0, "balance")}))
    evaluate(suite, [PolicyActor(policy.eval())], episodes=2)


@pytest.mark.parametrize(
    ("env", "seen", "parts"),
    [
        ("CartPole-v1", (VECTOR,), CHOICE),
        (
            "Pendulum-v1",
            (ObservationSpec("", "vector", (3,), edges=((0.0, 1.0),) * 3),),
            (ActionPart("bins", 41, -2, 2),),
        ),
        (
            "FrozenLake-v1",
            (ObservationSpec("", "discrete", (), (16,), (0,)),),
            (ActionPart("choice", 4, 0.0),),
        ),
    ],
)
def test_the_task_it_was_taught_is_played(env: str, seen: Any, parts: Any) -> None:
    play(env, *seen, parts=parts)


@pytest.mark.parametrize(
    ("env", "seen", "parts", "what"),
    [
        ("Pendulum-v1", (VECTOR,), CHOICE, "of another kind or size"),
        ("FrozenLake-v1", (VECTOR,), CHOICE, "of another kind or size"),
        ("CartPole-v1", (VECTOR,), (ActionPart("choice", 3, 0.0),), "takes other actions"),
        ("CartPole-v1", (VECTOR,), (ActionPart("bins", 41, 0.0, 1.0),), "takes other actions"),
        ("CartPole-v1", (VECTOR,), CHOICE * 2, "takes other actions"),
        ("CartPole-v1", (VECTOR, ObservationSpec("words", "text")), CHOICE, "sees other things"),
        ("CartPole-v1", (ObservationSpec("", "text"),), CHOICE, "of another kind or size"),
        ("CartPole-v1", (ObservationSpec("elements", "page"),), page_parts(()), "sees no page"),
    ],
)
def test_another_task_of_this_name_is_refused_in_one_line(env: str, seen: Any, parts: Any, what: str) -> None:
    with pytest.raises(TutelageError, match=what):
        play(env, *seen, parts=parts)
