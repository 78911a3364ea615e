"""Pictures as data beside the pictures that they stand for: grid worlds as tiles, control tasks as shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from tutelage.envs.experts import make_expert
from tutelage.envs.grid.cells import CELL_CODES, LIFTED
from tutelage.envs.grid.environment import GridEnv
from tutelage.envs.grid.render import draw_view, draw_world
from tutelage.envs.grid.state import GridState, empty_grids
from tutelage.envs.grid.tile_atlas import pack_view, pack_world
from tutelage.envs.task import Task
from tutelage.envs.task_env import TaskEnv
from tutelage.envs.vector_graphics import scene_of

LEVELS = ("GoToRedBallGrey", "PutNextLocal", "UnblockPickup", "Unlock", "BossLevel")
SCENES = ("CartPole-v1", "Pendulum-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1")
SEED = 3


class Pair(NamedTuple):
    """What is sent, and what must be seen: uint8 `[H, W, 3]`."""

    data: bytes
    seen: np.ndarray


def every_look(tile: int) -> Iterator[Pair]:
    """Give worlds that hold whatever can stand in a cell; the agent carries whatever can be carried."""
    held = [0, *np.flatnonzero(LIFTED).tolist()]
    for at, carried in enumerate(held):
        worlds = _showcase()
        x, y = 1 + at * 5 % 18, 1 + at * 3 % 11
        worlds.state["agent"][0] = x, y, at % 4
        worlds.state["carried"][0, 0] = carried
        yield from _both(worlds, tile)


def played(level: str, tile: int, steps: int = 120, every: int = 5) -> Iterator[Pair]:
    """Give a level as its expert plays it: doors open, things are carried about."""
    environment = TaskEnv(Task("t", f"tutelage/{level}-v0", expert="grid"))
    expert = make_expert(environment.task, environment)
    bare = environment.env.unwrapped
    assert isinstance(bare, GridEnv)
    now = environment.reset(SEED)
    expert.reset()
    for at in range(steps):
        if at % every == 0 or now.done:
            yield from _both(bare.grids, tile)
        if now.done:
            return
        action = expert.act()
        assert action is not None
        now = environment.step(action)


def scenes(name: str, count: int = 12, every: int = 9) -> Iterator[Pair]:
    """Give a control task as it is moved about at random, as shapes and as it draws itself."""
    env: gymnasium.Env[Any, Any] = gymnasium.make(name, render_mode="rgb_array")
    env.reset(seed=SEED)
    env.action_space.seed(SEED)
    try:
        for at in range(count * every):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if at % every == 0:
                scene = scene_of(env)
                assert scene is not None
                picture: Any = env.render()
                yield Pair(scene.draw(), picture)
            if terminated or truncated:
                env.reset()
    finally:
        env.close()


def _showcase() -> GridState:
    worlds = empty_grids(1, 13, 20)
    worlds.cells[0, 1:12, 1:19] = np.arange(len(CELL_CODES), dtype=np.uint8).reshape(11, 18)
    return worlds


def _both(worlds: GridState, tile: int) -> Iterator[Pair]:
    yield Pair(pack_world(worlds, 0), draw_world(worlds, 0, tile))
    yield Pair(pack_view(worlds, 0), draw_view(worlds, 0, tile))
