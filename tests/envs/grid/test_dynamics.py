"""Our rules are MiniGrid's: worlds copied from minigrid and stepped alike give the same, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minigrid.minigrid_env import MiniGridEnv
from tutelage.envs.grid.cells import CELL_CODES, COLORS, EMPTY, TYPES, cell_code
from tutelage.envs.grid.dynamics import TOGGLE, observe, step
from tutelage.envs.grid.state import VIEW, GridState, empty_grids
from tutelage.envs.registry import registry

LEVELS = [
    *sorted(one for one in registry() if one.startswith("BabyAI-")),
    "MiniGrid-DoorKey-8x8-v0",
    "MiniGrid-LavaCrossingS9N2-v0",
    "MiniGrid-ObstructedMaze-Full-v0",
]
WORLDS, STEPS = 3, 60


def copied(environments: Sequence[Any]) -> GridState:
    """Copy the state of minigrid's environments: cells, objects and what boxes hold, agents, limits."""
    bare = [one.unwrapped for one in environments]
    worlds = empty_grids(len(bare), max(grid.height for grid in bare), max(grid.width for grid in bare))
    for b, one in enumerate(bare):
        state, count = worlds.state[b], 0
        for y in range(one.height):
            for x in range(one.width):
                thing = one.grid.get(x, y)
                worlds.cells[b, y, x] = EMPTY if thing is None else code(thing)
                if thing is None or thing.type in ("wall", "lava", "goal"):
                    continue
                count += 1
                worlds.things[b, y, x] = count
                state["codes"][count], state["where"][count] = code(thing), (x, y)
                if thing.contains is not None:
                    state["inside"][count] = count + 1
                    count += 1
                    state["codes"][count] = code(thing.contains)
        if one.carrying is not None:
            state["carried"] = code(one.carrying), count + 1
        state["agent"] = (*one.agent_pos, one.agent_dir)
        state["limits"] = one.max_steps
    return worlds


def code(thing: Any) -> int:
    kind, color, state = thing.encode()
    return int(kind) * 18 + int(color) * 3 + int(state)


def compare(level: str, plays: Sequence[Sequence[int]]) -> int:
    """Step minigrid and ours side by side; returns how many steps were compared."""
    environments = [gymnasium.make(level, disable_env_checker=True) for _ in plays]
    for seed, grid in enumerate(environments):
        grid.reset(seed=seed)
    worlds, bare = copied(environments), [one.unwrapped for one in environments]
    count = len(plays)
    images, directions = np.zeros((count, VIEW, VIEW, 3), np.uint8), np.zeros(count, np.int64)
    rewards, ended, cut = np.zeros(count), np.zeros(count, bool), np.zeros(count, bool)
    compared = 0
    for at in range(max(map(len, plays))):
        actions = np.array([play[at] if at < len(play) else 6 for play in plays])
        step(worlds, actions, rewards, ended, cut)
        observe(worlds, images, directions)
        for b, grid in enumerate(bare):
            if at >= len(plays[b]):
                continue
            # MiniGrid's own step, without what a level's mission adds to it
            seen, reward, terminated, truncated, _ = MiniGridEnv.step(grid, int(actions[b]))
            assert np.array_equal(images[b], seen["image"]), (level, b, at)
            assert directions[b] == seen["direction"]
            assert (rewards[b], ended[b], cut[b]) == (reward, terminated, truncated)
            compared += 1
    for b, grid in enumerate(bare):
        mine = CELL_CODES[worlds.cells[b, : grid.height, : grid.width]].swapaxes(0, 1)
        theirs = grid.grid.encode()
        assert np.array_equal(mine, theirs), (level, b)
    for grid in environments:
        grid.close()
    return compared


@pytest.mark.parametrize("level", LEVELS)
def test_random_keys_do_the_same_in_both(level: str) -> None:
    generator = np.random.default_rng(len(level))
    # mostly forward, so that something is met; every action comes
    plays = generator.choice(7, (WORLDS, STEPS), p=[0.14, 0.14, 0.36, 0.12, 0.1, 0.12, 0.02]).tolist()
    assert compare(level, plays) > STEPS


@given(st.lists(st.integers(0, 6), max_size=60), st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_nothing_is_lost_or_doubled_whatever_is_pressed(keys: list[int], seed: int) -> None:
    environment = gymnasium.make("BabyAI-BossLevel-v0", disable_env_checker=True)
    environment.reset(seed=seed)
    worlds = copied([environment])
    environment.close()
    before = set(worlds.things[worlds.things > 0])
    flags = np.zeros(1), np.zeros(1, bool), np.zeros(1, bool)
    for key in keys:
        step(worlds, np.array([key]), *flags)
        x, y, direction = worlds.state["agent"][0]
        assert TYPES[CELL_CODES[worlds.cells[0, y, x], 0]] in ("empty", "door")
        assert direction in range(4)
    lying = worlds.things[worlds.things > 0].tolist()
    held = [one for one in worlds.state["carried"][0, 1:].tolist() if one]
    assert len(lying + held) == len(set(lying + held))
    assert set(lying + held) <= before
    assert TOGGLE in keys or set(lying + held) == before  # an opened box is gone
    assert (worlds.state["carried"][0, 0] == 0) == (not held)
    assert set(CELL_CODES[worlds.cells[0].ravel(), 2]) <= {0, 1, 2}


def test_a_look_is_its_name() -> None:
    assert CELL_CODES[cell_code("door", "blue", "locked")].tolist() == [4, 2, 2]
    assert CELL_CODES[cell_code("ball", "grey")].tolist() == [6, COLORS.index("grey"), 0]
