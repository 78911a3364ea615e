"""Simulated people in the kernels: each asks the expert and errs in a way of its own.

Chance comes from dice that are a function of the person and the seed, so an episode is the same whoever
plays it again, on however many processes.
"""

from __future__ import annotations

import numpy as np

from .dynamics import DONE
from .generation import generate
from .kernels import allocating, kernel
from .missions import described
from .planner.memory import PlannerMemory, forget
from .planner.planner import advise
from .rng import mixed
from .state import ANY, NO_VERB, GridState
from .stepping import step_one

SLIP, GIVE_UP, AGAINST, MISREAD, REACTION_MS, SPREAD = range(6)
"""Columns of a person: the chance of a wrong key and of walking away at each step; of playing an episode
with random keys, and of reading another colour than the instruction's; the median of its log-normal
reaction times, and their log standard deviation."""

_STEP = np.uint64(0x9E3779B97F4A7C15)


@kernel
def play_episodes(
    worlds: GridState,
    minds: PlannerMemory,
    level: np.ndarray,
    keys: np.ndarray,
    people: np.ndarray,
    chances: np.ndarray,
    seeds: np.ndarray,
    actions: np.ndarray,
    times: np.ndarray,
    begins: np.ndarray,
) -> int:
    """Let people `[N, 6]` play the episodes of seeds `[N]` in world 0; `chances` uint64 `[N]` are their dice.

    `keys` are the actions they have. Writes actions uint8 and times int32 (ms since the reset) one episode
    after another, and where each begins, `[N + 1]`. Returns how many were played before the arrays were full.
    """
    count = 0
    begins[0] = 0
    for n in range(len(seeds)):
        generate(worlds, 0, level, seeds[n])
        if count + worlds.state[0].limits > len(actions):
            return n
        count = _play(worlds, minds, keys, people[n], chances[n : n + 1], actions, times, count)
        begins[n + 1] = count
    return len(seeds)


@allocating
def _play(
    worlds: GridState,
    minds: PlannerMemory,
    keys: np.ndarray,
    person: np.ndarray,
    dice: np.ndarray,
    actions: np.ndarray,
    times: np.ndarray,
    count: int,
) -> int:
    state = worlds.state[0]
    forget(minds, 0)
    against = _chance(dice) < person[AGAINST]
    misread = _chance(dice) < person[MISREAD]
    right, read = state.sets.copy(), state.sets.copy()
    if misread:
        _misread(worlds, dice, read)
    clock = 0.0
    while True:
        if _chance(dice) < person[GIVE_UP]:
            return count
        action = DONE
        if not against:
            state.sets[:] = read
            action = advise(worlds, minds, 0)
            state.sets[:] = right
            if misread and action == DONE:  # it thinks that it has done what was asked
                return count
        if action == DONE or _chance(dice) < person[SLIP]:
            action = keys[int(_chance(dice) * len(keys))]
        wait = person[SPREAD] * np.sqrt(-2 * np.log(1 - _chance(dice))) * np.cos(2 * np.pi * _chance(dice))
        clock += person[REACTION_MS] * np.exp(wait)
        actions[count], times[count] = action, int(clock)
        count += 1
        _, fulfilled, late = step_one(worlds, 0, action)
        if fulfilled or late:
            return count


@kernel
def _chance(dice: np.ndarray) -> float:
    """Throw a number in [0, 1)."""
    dice[0] += _STEP
    return np.float64(mixed(dice[0]) >> np.uint64(11)) / 9007199254740992.0


@kernel
def _misread(worlds: GridState, dice: np.ndarray, sets: np.ndarray) -> None:
    """Read another colour in every description for which the world has one."""
    state = worlds.state[0]
    for c in range(4):
        for d in range(2):
            kind, color = state.clauses[c, 1 + 3 * d], state.clauses[c, 2 + 3 * d]
            if state.clauses[c, 0] == NO_VERB or kind == 0 or color == ANY:
                continue
            first = int(_chance(dice) * 6)
            for turn in range(6):
                other = (first + turn) % 6
                objects = described(worlds, 0, kind, other, 0)
                if other != color and objects != np.uint64(0):
                    sets[c, d] = objects
                    break
