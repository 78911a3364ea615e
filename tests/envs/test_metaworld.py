"""Meta-World's tasks play the same for the same seed, and their scripted policies solve them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import tutelage as tt
from tutelage.agents.evaluation.actors import ExpertActor
from tutelage.agents.evaluation.rollout import rollout
from tutelage.envs.families import completed, tables
from tutelage.envs.metaworld import ENV_ID, TIME_LIMIT, task_names
from tutelage.envs.suite import load_suite
from tutelage.envs.task import Task
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError

MT10 = load_suite("metaworld-10")


def test_the_suites_hold_all_tasks_each_with_words_of_its_own() -> None:
    suite = load_suite("metaworld-50")
    assert sorted(task.kwargs["task"] for task in suite) == sorted(task_names())
    assert len({task.instruction for task in suite}) == len(suite)
    assert {task.id for task in MT10} <= {task.id for task in suite}
    assert all(task.success.text == "terminated" for task in suite)


@pytest.mark.parametrize("name", ["reach", "drawer-open", "peg-insert-side"])
def test_a_seed_gives_the_same_episode_whatever_was_played_before(name: str) -> None:
    environment = gymnasium.make(ENV_ID, task=f"{name}-v3")

    def episode(seed: int) -> np.ndarray:
        seen, _ = environment.reset(seed=seed)
        rng, rows = np.random.default_rng(seed), [seen]
        for _ in range(40):
            rows.append(environment.step(rng.uniform(-1, 1, 4).astype(np.float32))[0])
        return np.stack(rows)

    first, other, again = episode(3), episode(4), episode(3)
    environment.close()
    assert (first == again).all()
    assert (first[0] != other[0]).any()
    assert (first == episode_in_new_environment(name)).all()


def episode_in_new_environment(name: str) -> np.ndarray:
    environment = gymnasium.make(ENV_ID, task=f"{name}-v3")
    seen, _ = environment.reset(seed=3)
    rng, rows = np.random.default_rng(3), [seen]
    for _ in range(40):
        rows.append(environment.step(rng.uniform(-1, 1, 4).astype(np.float32))[0])
    environment.close()
    return np.stack(rows)


@pytest.mark.slow
@pytest.mark.parametrize("task", list(MT10), ids=lambda task: task.id)
def test_the_scripted_policy_solves_most_seeds(task: Task) -> None:
    played = rollout(ExpertActor(), task, range(3), suite_name="metaworld-10")
    assert sum(bool(episode.success) for episode in played) >= 2
    assert all(episode.terminated for episode in played if episode.success)


def test_the_expert_solves_a_task_and_its_episode_is_proven_by_replay(tmp_path: object) -> None:
    suite = tt.load_suite({**MT10.source, "tasks": MT10.source["tasks"][:1]})
    store = tt.simulate(suite, str(tmp_path), 2, who=["careful"])
    assert len(store) == 2
    assert all(len(episode.actions) < TIME_LIMIT for episode in store)


def test_its_picture_is_the_right_way_up() -> None:
    environment = gymnasium.make(ENV_ID, task="reach-v3", render_mode="rgb_array", size=96)
    environment.reset(seed=0)
    picture = environment.render()
    environment.close()
    assert isinstance(picture, np.ndarray)
    assert (picture.shape, picture.dtype) == ((96, 96, 3), np.uint8)
    red = (picture[..., 0] > 120) & (picture[..., 1] < 60)  # the arm reaches down from its top
    rows = np.flatnonzero(red.any(1))
    assert red.any()
    assert rows.mean() < 60


def test_a_task_it_does_not_have_is_named_with_the_nearest() -> None:
    task = Task("typo", ENV_ID, kwargs={"task": "door-opn-v3"})
    with pytest.raises(TutelageError, match="got 'door-opn-v3'; did you mean 'door-open-v3'"):
        TaskEnv(task)


@pytest.mark.parametrize("name", ["metaworld-10", "metaworld-50"])
def test_people_play_every_task_by_the_keys_of_its_family(name: str) -> None:
    family = completed({"env": ENV_ID}, tables())
    for document in load_suite(name).source["tasks"]:
        assert {key: document[key] for key in ("controls", "pace", "success")} == {
            key: family[key] for key in ("controls", "pace", "success")
        }


def test_pixels_are_what_the_camera_sees_and_the_same_again() -> None:
    environment = gymnasium.make(ENV_ID, task="reach-v3", observation="pixels", pixels=32)
    seen, _ = environment.reset(seed=3)
    after = environment.step(np.ones(4, np.float32))[0]
    again, _ = environment.reset(seed=3)
    environment.close()
    assert (seen["image"].shape, seen["image"].dtype) == ((32, 32, 3), np.uint8)
    assert seen["gripper"].shape == (4,)
    assert (seen["image"] == again["image"]).all()
    assert (seen["gripper"] == again["gripper"]).all()
    assert (seen["image"] != after["image"]).any()
    red = (seen["image"][..., 0] > 120) & (seen["image"][..., 1] < 60)
    assert red.any()
    assert np.flatnonzero(red.any(1)).mean() < 20


def test_pixels_do_not_depend_on_other_environments() -> None:
    def pictures(environments: list[gymnasium.Env[Any, Any]]) -> list[np.ndarray]:
        for index, environment in enumerate(environments):
            environment.reset(seed=index)
        action = np.ones(4, np.float32)
        return [environment.step(action)[0]["image"] for _ in range(3) for environment in environments]

    def make(task: str) -> gymnasium.Env[Any, Any]:
        return gymnasium.make(ENV_ID, task=task, observation="pixels", pixels=32)

    both = [make("push-v3"), make("drawer-open-v3")]
    together = pictures(both)
    for environment in both:
        environment.close()
    alone = make("push-v3")
    assert np.array_equal(pictures([alone]), together[::2])
    alone.close()


def test_what_people_see_does_not_depend_on_other_environments() -> None:
    """Of Meta-World and of Gymnasium, whose renderer draws in the context that was made last."""
    tasks = [Task(name, ENV_ID, kwargs={"task": name, "size": 64}) for name in ("push-v3", "drawer-open-v3")]
    tasks.append(Task("hopper", "Hopper-v5", kwargs={"width": 96, "height": 96}))

    def pictures(environments: list[TaskEnv]) -> list[np.ndarray]:
        for environment in environments:
            environment.reset(3)
        drawn = [environment.frame() for _ in range(2) for environment in environments]
        return [np.asarray(picture) for picture in drawn]

    together = [TaskEnv(task, rgb=True) for task in tasks]
    both = pictures(together)
    for environment in together:
        environment.close()
    for index, task in enumerate(tasks):
        alone = TaskEnv(task, rgb=True)
        for picture, other in zip(pictures([alone]), both[index :: len(tasks)], strict=True):
            assert np.array_equal(picture, other), task.id
        alone.close()


def test_the_scripted_policy_plays_what_is_seen_as_pixels_too() -> None:
    kwargs = {"task": "reach-v3", "observation": "pixels", "pixels": 16}
    task = Task("reach", ENV_ID, kwargs=kwargs, expert="metaworld", success=MT10["reach"].success)
    [episode] = rollout(ExpertActor(), task, range(1), suite_name="metaworld-10")
    assert episode.success


def test_another_kind_of_observation_is_refused_in_one_line() -> None:
    with pytest.raises(TutelageError, match="expected observation state or pixels, got 'sound'"):
        TaskEnv(Task("reach", ENV_ID, kwargs={"task": "reach-v3", "observation": "sound"}))
