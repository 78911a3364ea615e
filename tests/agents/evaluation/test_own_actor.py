"""Actors of other packages beside those that come along: the same seeds, one object for each environment."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor
from tutelage.agents.evaluation.compare import actor_spec
from tutelage.agents.evaluation.evaluate import evaluate
from tutelage.agents.evaluation.own_actor import OwnActor
from tutelage.agents.evaluation.rollout import rollout
from tutelage.envs.suite import suite_from
from tutelage.envs.task import TEST
from tutelage.errors import TutelageError
from tutelage.foreign_code.objects import ObjectSpec
from tutelage.foreign_code.trust import VARIABLE, Untrusted, trust
from tutelage.tests.support import own_objects

OWN = own_objects.NAME
SUITE = suite_from(
    {
        "suite": "poles",
        "tasks": [
            {"id": "pole", "env": "CartPole-v1", "expert": "cartpole", "success": "steps >= 30"},
            {"id": "other", "env": "CartPole-v1", "max_steps": 40, "success": "steps >= 30"},
        ],
    }
)


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    trust([OWN])


def actor(name: str, /, **kwargs: Any) -> OwnActor:
    return OwnActor(ObjectSpec(f"{OWN}:{name}", kwargs))


def test_each_environment_of_a_batch_has_an_object_of_its_own() -> None:
    together = rollout(actor("Alternating"), SUITE["pole"], TEST.first(6), suite_name="poles")
    alone = rollout(actor("Alternating"), SUITE["pole"], TEST.first(6), batch=1, suite_name="poles")
    for first, second in zip(together, alone, strict=True):
        assert first.actions.tolist() == second.actions.tolist()
        assert first.actions[:4].tolist() == [[1], [0], [1], [0]]
        assert (first.demonstrator, first.kind) == ("alternating", "policy")


def test_it_is_called_as_it_says_else_after_its_object() -> None:
    assert actor("Alternating", name="left and right").name == "left and right"
    assert actor("Picky").name == "Picky"


def test_it_plays_the_tasks_that_it_says() -> None:
    rows = evaluate(SUITE, [actor("Picky"), ChanceActor()], episodes=2).rows.to_pylist()
    assert {(row["task"], row["actor"]) for row in rows} == {
        ("pole", "Picky"),
        ("pole", "random"),
        ("other", "random"),
    }


@pytest.mark.slow
def test_workers_make_their_own() -> None:
    actors = [actor("Alternating"), actor("Wrong", answer=0), ExpertActor()]
    assert set(pickle.loads(pickle.dumps(actors[0])).__dict__) == {
        "spec",
        "name",
        "_players",
        "_environments",
        "_size",
    }
    alone = evaluate(SUITE, actors, episodes=3).rows.drop_columns(["seconds", "episode"])
    shared = evaluate(SUITE, actors, episodes=3, workers=2).rows.drop_columns(["seconds", "episode"])
    assert alone.equals(shared)


@pytest.mark.parametrize(
    ("answer", "line"),
    [(7, "actor Wrong: expected a value of Discrete"), ("raise", "actor Wrong failed in act: RuntimeError")],
)
def test_what_it_does_wrong_ends_its_own_episodes_only(answer: Any, line: str) -> None:
    result = evaluate(SUITE, [actor("Wrong", answer=answer), ChanceActor()], episodes=2)
    assert set(result.failures) == {("pole", "Wrong"), ("other", "Wrong")}
    assert line in result.failures["pole", "Wrong"]


def test_one_that_returns_none_gives_up() -> None:
    played = rollout(actor("Wrong", answer=None), SUITE["pole"], TEST.first(2), suite_name="poles")
    assert {(episode.notes, episode.success, len(episode)) for episode in played} == {("gave up", False, 1)}


@pytest.mark.parametrize(
    ("name", "kwargs", "line"),
    [
        ("Alternating", {"nmae": "x"}, "to make an actor, got TypeError: .*'nmae'"),
        ("Model", {"weights": [1]}, r"to make an object with act\(observation\), got"),
        ("Absent", {}, "expected 'Absent' in the module"),
    ],
)
def test_what_makes_no_actor_is_told_in_one_line(name: str, kwargs: dict[str, Any], line: str) -> None:
    with pytest.raises(TutelageError, match=line):
        actor(name, **kwargs)


def test_an_actor_of_a_module_that_is_not_trusted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(Untrusted, match=f"--actor: .*--trust {OWN}"):
        actor("Alternating")


def test_an_expert_that_is_not_trusted_is_refused_before_anything_is_played(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "")
    document = {**SUITE.source, "tasks": [{**SUITE.source["tasks"][0], "expert": f"{OWN}:Balance"}]}
    told: list[object] = []
    with pytest.raises(Untrusted, match=f"--trust {OWN}"):
        evaluate(
            suite_from(document),
            [ChanceActor(), ExpertActor()],
            episodes=1,
            progress=lambda *ended: told.append(ended),
        )
    assert not told


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("chance", "expected --actor to be expert, crowd, random or package.module:Object"),
        ("expret", "did you mean 'expert'"),
        ("expert,crowd", "expected --actor to be"),
        ("{random: {seed: 3}}", "expected no arguments for --actor random, got seed"),
    ],
)
def test_what_no_actor_is_called(text: str, line: str) -> None:
    with pytest.raises(TutelageError, match=line):
        actor_spec(text)


def test_another_module_is_another_evaluation() -> None:
    made = actor("Alternating", name="x").fingerprint()
    assert made["actor"] == {f"{OWN}:Alternating": {"name": "x"}}
    assert len(made["sha256"]) == 64
