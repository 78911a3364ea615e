"""The first hundred thousand worlds of every level: solvable, solved, and the same however they are made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba import njit
from tutelage.envs.grid.generation import generate
from tutelage.envs.grid.levels import LEVELS
from tutelage.envs.grid.planner.memory import PlannerMemory, empty_memory, forget
from tutelage.envs.grid.planner.planner import advise
from tutelage.envs.grid.state import VIEW, GridState, chosen, copied, empty_grids
from tutelage.envs.grid.stepping import reset_all, step_one

SEEDS, BATCH = 100_000, 4096

pytestmark = [pytest.mark.exam, pytest.mark.timeout(1200)]


@njit(nogil=True)
def solved(worlds: GridState, minds: PlannerMemory, level: np.ndarray, first: int, steps: np.ndarray) -> None:
    """Write the steps that the expert takes for each seed, -1 if it runs out of time or none can be made."""
    for n in range(len(steps)):
        steps[n] = -1
        over = not generate(worlds, 0, level, first + n)
        forget(minds, 0)
        while not over:
            _, fulfilled, late = step_one(worlds, 0, advise(worlds, minds, 0))
            if fulfilled:
                steps[n] = worlds.state[0].steps
            over = fulfilled or late


@pytest.mark.parametrize("name", LEVELS)
def test_the_expert_solves_every_world_in_time(name: str) -> None:
    level = LEVELS[name]
    steps = np.zeros(SEEDS, np.int64)

    def share(first: int) -> None:
        worlds, minds = (make(1, level.height, level.width) for make in (empty_grids, empty_memory))
        solved(worlds, minds, level.packed(), first, steps[first : first + SEEDS // 2])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(share, (0, SEEDS // 2)))
    print(f"{name}: {steps.mean():.2f} steps")
    assert np.flatnonzero(steps < 0).tolist() == []


def remade(name: str, worlds: GridState, seeds: np.ndarray) -> None:
    count = len(worlds.cells)
    views = np.zeros((count, VIEW, VIEW, 3), np.uint8), np.zeros(count, np.int64)
    levels = np.repeat(LEVELS[name].packed()[None], count, 0)
    assert reset_all(worlds, levels, seeds, np.ones(count, np.bool_), *views)


@pytest.mark.parametrize("name", LEVELS)
def test_a_world_is_its_seeds_alone_in_batches_of_any_size_on_any_number_of_threads(name: str) -> None:
    level = LEVELS[name]

    def share(thread: int) -> list[GridState]:
        worlds = empty_grids(BATCH, level.height, level.width)
        made = []
        for first in range(thread * BATCH, SEEDS, 4 * BATCH):
            remade(name, worlds, np.arange(first, first + BATCH))
            made.append(copied(worlds))
        return made

    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(share, range(4)))
    alone = empty_grids(1, level.height, level.width)
    for seed in range(0, SEEDS, 7):
        remade(name, alone, np.array([seed]))
        batch, row = divmod(seed, BATCH)
        same = chosen(batches[batch % 4][batch // 4], slice(row, row + 1))
        for mine, theirs in zip(alone, same, strict=True):
            assert np.array_equal(mine, theirs), seed
