"""Episodes: a step with its reward and end, many worlds a step with autoreset, whole replays in one call."""

from __future__ import annotations

import numpy as np

from .dynamics import act, observe, observe_one
from .generation import generate
from .kernels import allocating, inlined, kernel
from .missions import judge
from .rng import following
from .state import VIEW, GridState

DISABLED, NEXT_STEP, SAME_STEP = range(3)
"""What happens to a world whose episode is over: nothing; a new one at the next step; a new one at once."""


@inlined
def step_one(worlds: GridState, b: int, action: int) -> tuple[float, bool, bool]:
    """Let world `b` act; returns its reward, whether its instruction is fulfilled, whether time is up."""
    worlds.state[b].steps += 1
    act(worlds, b, action)
    fulfilled = judge(worlds, b, action)
    reward = 1 - 0.9 * (worlds.state[b].steps / worlds.state[b].limits) if fulfilled else 0.0
    return reward, fulfilled, worlds.state[b].steps >= worlds.state[b].limits


@kernel
def reset_all(
    worlds: GridState,
    levels: np.ndarray,
    seeds: np.ndarray,
    chosen: np.ndarray,
    images: np.ndarray,
    directions: np.ndarray,
) -> bool:
    """Make the `chosen` worlds from packed levels `[B, PACKED]` and seeds `[B]`; false if one cannot be."""
    made = True
    for b in range(len(seeds)):
        if chosen[b]:
            made = generate(worlds, b, levels[b], seeds[b]) and made
    observe(worlds, images, directions)
    return made


@allocating
def step_all(
    worlds: GridState,
    levels: np.ndarray,
    actions: np.ndarray,
    mode: int,
    over: np.ndarray,
    images: np.ndarray,
    directions: np.ndarray,
    rewards: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
    last_images: np.ndarray,
    last_directions: np.ndarray,
) -> int:
    """Let every world take its action `[B]`; returns how many began anew.

    Writes what each sees (uint8 `[B, 7, 7, 3]`, int64 `[B]`), rewards float64, flags bool `[B]`. `over` says
    before which episodes are over, and after which are (SAME_STEP: which were, and began anew; what they
    saw last is in `last_images` and `last_directions`). The seed of the next world follows from the last.
    """
    anew = 0
    view = np.empty((VIEW, VIEW), np.uint8)
    seen = np.empty(VIEW, np.int64)
    for b in range(len(actions)):
        if mode == NEXT_STEP and over[b]:
            generate(worlds, b, levels[b], following(worlds.state[b].seeds))
            rewards[b], terminated[b], truncated[b], over[b] = 0.0, False, False, False
            anew += 1
            continue
        rewards[b], terminated[b], truncated[b] = step_one(worlds, b, actions[b])
        over[b] = terminated[b] or truncated[b]
        if mode == SAME_STEP and over[b]:
            observe_one(worlds, b, last_images[b], view, seen)
            last_directions[b] = worlds.state[b].agent[2]
            generate(worlds, b, levels[b], following(worlds.state[b].seeds))
            anew += 1
    observe(worlds, images, directions)
    return anew


@allocating
def replay_one(
    worlds: GridState,
    level: np.ndarray,
    seed: int,
    actions: np.ndarray,
    images: np.ndarray,
    directions: np.ndarray,
    rewards: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
) -> None:
    """Play the episode of a seed in world 0: actions `[T]`; writes T + 1 observations, `[T]` of the rest."""
    view = np.empty((VIEW, VIEW), np.uint8)
    seen = np.empty(VIEW, np.int64)
    generate(worlds, 0, level, seed)
    observe_one(worlds, 0, images[0], view, seen)
    directions[0] = worlds.state[0].agent[2]
    for t in range(len(actions)):
        rewards[t], terminated[t], truncated[t] = step_one(worlds, 0, actions[t])
        observe_one(worlds, 0, images[t + 1], view, seen)
        directions[t + 1] = worlds.state[0].agent[2]
