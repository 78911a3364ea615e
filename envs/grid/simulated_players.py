"""Simulated players in kernels: each follows the planner with its own kinds and rates of errors.

Each episode has a generator that is a function of the person and the seed, so it is reproducible, independent
of the number of processes.
"""

from __future__ import annotations

import numpy as np

from .dynamics import DONE
from .generation import generate
from .kernels import allocating, kernel
from .missions import described
from .planner.memory import PlannerMemory, forget
from .planner.planner import advise
from .rng import mix64
from .state import ANY, NO_VERB, GridState
from .stepping import step_one

SLIP, GIVE_UP, AGAINST, MISREAD, REACTION_MS, SPREAD = range(6)
"""Columns of a person: per step, the probability of a random key and of giving up; per episode, of playing
with random keys and of misreading the colors of the instruction; the median of the log-normal reaction times,
in ms, and their log standard deviation."""

# increment of SplitMix64, as in `rng`
_STEP = np.uint64(0x9E3779B97F4A7C15)


@kernel
def play_episodes(
    grids: GridState,
    memory: PlannerMemory,
    level: np.ndarray,
    keys: np.ndarray,
    people: np.ndarray,
    rng_states: np.ndarray,
    seeds: np.ndarray,
    actions: np.ndarray,
    times: np.ndarray,
    begins: np.ndarray,
) -> int:
    """Play the episodes of seeds `[N]` by people `[N, 6]` in grid 0; `rng_states` uint64 `[N]` is updated.

    `keys` lists the actions available. Writes actions uint8 and times int32 (ms since the reset), episode
    after episode, and where each begins, `[N + 1]`. Returns how many were played before the arrays were full.
    """
    count = 0  # steps written
    begins[0] = 0
    for n in range(len(seeds)):
        generate(grids, 0, level, seeds[n])
        # an episode has at most `limits` steps: stop before one that might not fit
        if count + grids.state[0].limits > len(actions):
            return n
        count = _play(grids, memory, keys, people[n], rng_states[n : n + 1], actions, times, count)
        begins[n + 1] = count
    return len(seeds)


@allocating
def _play(
    grids: GridState,
    memory: PlannerMemory,
    keys: np.ndarray,
    person: np.ndarray,
    rng: np.ndarray,
    actions: np.ndarray,
    times: np.ndarray,
    count: int,
) -> int:
    """Play one episode from step `count` of the arrays; returns the count after it."""
    state = grids.state[0]
    forget(memory, 0)
    ignores_task = _uniform(rng) < person[AGAINST]
    misread = _uniform(rng) < person[MISREAD]
    true_sets, read_sets = state.sets.copy(), state.sets.copy()
    if misread:
        _misread(grids, rng, read_sets)
    clock = 0.0
    while True:
        if _uniform(rng) < person[GIVE_UP]:
            return count
        action = DONE
        if not ignores_task:
            # the planner acts on what was read; the environment judges by the true instruction
            state.sets[:] = read_sets
            action = advise(grids, memory, 0)
            state.sets[:] = true_sets
            if misread and action == DONE:  # the misread instruction seems fulfilled
                return count
        if action == DONE or _uniform(rng) < person[SLIP]:
            action = keys[int(_uniform(rng) * len(keys))]
        # reaction time: log-normal, its normal deviate by Box and Muller
        log_deviation = (
            person[SPREAD] * np.sqrt(-2 * np.log(1 - _uniform(rng))) * np.cos(2 * np.pi * _uniform(rng))
        )
        clock += person[REACTION_MS] * np.exp(log_deviation)
        actions[count], times[count] = action, int(clock)
        count += 1
        _, fulfilled, timed_out = step_one(grids, 0, action)
        if fulfilled or timed_out:
            return count


@kernel
def _uniform(rng: np.ndarray) -> float:
    """Draw a number in [0, 1): the upper 53 bits over 2^53."""
    rng[0] += _STEP
    return np.float64(mix64(rng[0]) >> np.uint64(11)) / 9007199254740992.0


@kernel
def _misread(grids: GridState, rng: np.ndarray, sets: np.ndarray) -> None:
    """Replace each description's set by that of another color, where the grid has such objects."""
    state = grids.state[0]
    for c in range(4):
        for d in range(2):
            kind, color = state.clauses[c, 1 + 3 * d], state.clauses[c, 2 + 3 * d]
            if state.clauses[c, 0] == NO_VERB or kind == 0 or color == ANY:
                continue
            # try the colors from a random one on
            first = int(_uniform(rng) * 6)
            for turn in range(6):
                other_color = (first + turn) % 6
                objects = described(grids, 0, kind, other_color, 0)
                if other_color != color and objects != np.uint64(0):
                    sets[c, d] = objects
                    break
