"""A grid world that is played straight from the kernels gives what the environment gives, bit for bit."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from tutelage.crowd.hosting.episode import EpisodeProgress
from tutelage.crowd.hosting.frame_codec import TILES, Picture
from tutelage.crowd.hosting.grid_host import GridHost, SharedGridLevel
from tutelage.crowd.storage.journal_records import EpisodeRecord
from tutelage.datasets.replay import prove, replay
from tutelage.envs.experts import make_expert
from tutelage.envs.task import Task
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError
from tutelage.tests.envs.grid.test_tile_atlas import drawn

LEVELS = ("GoToRedBallGrey", "PickupLoc", "UnblockPickup", "BossLevel")


def task(level: str, perspective: str = "agent") -> Task:
    return Task("t", f"tutelage/{level}-v0", {"perspective": perspective}, expert="grid")


def record(one: Task, seed: int) -> EpisodeRecord:
    return EpisodeRecord("seat", "ada", "grid", "t", one.env, seed, b"", one.kwargs)


def actions(task: Task, seed: int) -> list[int]:
    """Give what the expert does, a quarter of it at random: things are carried, doors open and shut."""
    environment = TaskEnv(task)
    expert, rng = make_expert(task, environment), np.random.default_rng(seed)
    chosen: list[int] = []
    now = environment.reset(seed)
    expert.reset()
    while not now.done and len(chosen) < 600:
        advice = expert.act()
        assert advice is not None
        chosen.append(int(rng.integers(7)) if rng.random() < 0.25 else int(advice[0]))
        now = environment.step(np.array([float(chosen[-1])]))
    return chosen


def seen(picture: Picture) -> np.ndarray:
    assert picture.kind == TILES
    image = drawn(picture.data, 32)
    assert image.shape[:2] == (picture.height, picture.width)
    return image


@pytest.mark.parametrize("perspective", ["agent", "world"])
@pytest.mark.parametrize("level", LEVELS)
def test_it_gives_what_the_environment_gives(level: str, perspective: str) -> None:
    level_task = task(level, perspective)
    environment, ground = TaskEnv(level_task, rgb=True), SharedGridLevel(level_task)
    world = GridHost(ground)

    async def story(seed: int) -> None:
        episode = EpisodeProgress.begin(environment, record(level_task, seed))
        begun = await world.begin(record(level_task, seed))
        assert begun.record.digest == episode.record.digest
        assert (begun.limit, begun.instruction) == (environment.limit, environment.instruction)
        assert begun.controls == environment.controls()
        picture = begun.now.picture
        for at, action in enumerate(actions(level_task, seed)):
            row = np.array([float(action)])
            step, now = await world.act(row, 10 * at, 0, at)
            assert step == episode.take(row, 10 * at, 0, at)
            assert (now.done, now.success) == (episode.now.done, episode.now.success)
            assert (now.picture is None) == (picture is not None and picture == await world.draw())
            picture = now.picture or picture
            if at % 6 == 0 or now.done:
                assert picture is not None
                assert np.array_equal(seen(picture), environment.frame())
        assert now.done
        kept = await world.finish(begun.record, 0)
        again = episode.trajectory()
        assert (kept.trajectory.digest, kept.trajectory.success) == (again.digest, again.success)
        assert kept.trajectory.versions == again.versions
        mine, theirs = await kept.observations(), episode.observations()
        assert list(mine) == list(theirs)
        assert all(np.array_equal(mine[path], theirs[path]) for path in mine)

    for seed in range(3):
        asyncio.run(story(seed))


def test_an_episode_in_it_replays_and_verifies() -> None:
    level_task = task("BossLevel")
    world = GridHost(SharedGridLevel(level_task))

    async def story() -> None:
        begun = await world.begin(record(level_task, 11))
        for at, action in enumerate(actions(level_task, 11)):
            await world.act(np.array([float(action)]), 10 * at, 0, at)
        kept = await world.finish(begun.record, 0)
        assert replay(kept.trajectory, TaskEnv(level_task)).digest == kept.trajectory.digest
        proven = prove(kept.trajectory, TaskEnv(level_task), await kept.observations())
        assert proven.observations is None
        wrong = replace(kept.trajectory, seed=12)
        assert replay(wrong, TaskEnv(level_task)).digest != wrong.digest

    asyncio.run(story())


def test_it_is_taken_up_where_it_was_and_torn_steps_are_dropped() -> None:
    level_task = task("UnblockPickup")
    ground = SharedGridLevel(level_task)

    async def story() -> None:
        world = GridHost(ground)
        begun = await world.begin(record(level_task, 4))
        rows = [np.array([float(action)]) for action in actions(level_task, 4)]
        steps = [(await world.act(row, at, 0, at))[0] for at, row in enumerate(rows)]
        half = len(steps) // 2
        again = GridHost(ground)
        whole = await again.restore(begun.record, steps[:half])
        assert (whole.torn, whole.steps) == (0, steps[:half])
        for at in range(half, len(steps)):
            assert (await again.act(rows[at], at, 0, at))[0] == steps[at]
        for wrong in (
            [*steps[:5], steps[5]._replace(digest=b"x" * 16), *steps[6:9]],
            [*steps[:5], *steps[6:10]],
        ):
            torn = await again.restore(begun.record, wrong)
            assert (torn.torn, torn.steps) == (4, steps[:5])
            assert (await again.act(rows[5], 5, 0, 5))[0] == steps[5]
        with pytest.raises(TutelageError, match="to begin as it did"):
            await again.restore(replace(begun.record, seed=5), steps)

    asyncio.run(story())


def test_two_people_in_one_ground_do_not_meet() -> None:
    level_task = task("GoToRedBallGrey")
    ground = SharedGridLevel(level_task)

    async def story() -> None:
        first, second, alone = (GridHost(ground) for _ in range(3))
        await first.begin(record(level_task, 1))
        await second.begin(record(level_task, 2))
        await alone.begin(record(level_task, 1))
        for at, action in enumerate((2, 1, 2, 2, 0, 2)):
            row = np.array([float(action)])
            mine = (await first.act(row, at, 0, at))[0]
            await second.act(np.array([1.0]), at, 0, at)
            assert mine == (await alone.act(row, at, 0, at))[0]

    asyncio.run(story())
