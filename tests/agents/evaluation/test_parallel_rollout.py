"""Tasks played in processes of their own come back as if they had been played here."""

from __future__ import annotations

import pytest
from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor
from tutelage.agents.evaluation.parallel_rollout import jobs_of, play
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


def played(workers: int, heard: list[tuple[str, str, int, int, int]]) -> list[tuple[str, str, list[bytes]]]:
    def hear(*what: str | int) -> None:
        heard.append(what)  # type: ignore[arg-type]

    actors = [ExpertActor(), ChanceActor(seed=2)]
    jobs = jobs_of(actors, list(SUITE), range(3), 256)
    given = play(actors, jobs, suite_name="toy", workers=workers, progress=hear)
    return [
        (job.task.id, actors[job.actor].name, [episode.digest for episode in result.trajectories])
        for job, result in given
    ]


@pytest.mark.slow
def test_two_processes_play_what_one_plays_in_the_same_order() -> None:
    alone: list[tuple[str, str, int, int, int]] = []
    shared: list[tuple[str, str, int, int, int]] = []
    assert played(2, shared) == played(1, alone)
    shared = [heard for heard in shared if heard[2]]
    assert [heard for heard in alone if heard[2] == 3] == shared
    assert [one[:2] for one in shared] == [
        ("cartpole", "expert"),
        ("cartpole", "random"),
        ("bare", "random"),
        ("lake", "random"),
    ]
