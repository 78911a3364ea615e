"""Tasks played in processes of their own come back as if they had been played here."""

from __future__ import annotations

from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor
from tutelage.agents.evaluation.play import play
from tutelage.envs.suite import suite_from

SUITE = suite_from(
    {
        "suite": "toy",
        "tasks": [
            {"id": "cartpole", "env": "CartPole-v1", "expert": "cartpole", "max_steps": 40},
            {"id": "bare", "env": "CartPole-v1", "max_steps": 10},
            {"id": "lake", "env": "FrozenLake-v1", "max_steps": 10},
        ],
    }
)


def played(workers: int, heard: list[tuple[str, str, int, int]]) -> list[tuple[str, str, list[bytes]]]:
    def hear(*what: str | int) -> None:
        heard.append(what)  # type: ignore[arg-type]

    given = play(
        [ExpertActor(), ChanceActor(seed=2)],
        list(SUITE),
        range(3),
        suite_name="toy",
        workers=workers,
        progress=hear,
    )
    return [(task.id, actor.name, [one.digest for one in some]) for task, actor, some in given]


def test_two_processes_play_what_one_plays_in_the_same_order() -> None:
    alone: list[tuple[str, str, int, int]] = []
    shared: list[tuple[str, str, int, int]] = []
    assert played(2, shared) == played(1, alone)
    assert [one for one in alone if one[2] == 3] == shared
    assert [one[:2] for one in shared] == [
        ("cartpole", "expert"),
        ("cartpole", "chance"),
        ("bare", "chance"),
        ("lake", "chance"),
    ]
