"""Episodes: a step with reward and termination, batched steps with autoreset, whole replays in one call."""

from __future__ import annotations

import numpy as np

from .dynamics import act, observe, observe_one
from .generation import generate
from .kernels import allocating, inlined, kernel
from .missions import judge
from .rng import next_seed
from .state import VIEW, GridState

DISABLED, NEXT_STEP, SAME_STEP = range(3)
"""Autoreset after an episode ends: none; at the next step; within the same step."""


@inlined
def step_one(grids: GridState, b: int, action: int) -> tuple[float, bool, bool]:
    """Step grid `b`; returns reward, terminated (instruction fulfilled), truncated (step limit reached)."""
    grids.state[b].steps += 1
    act(grids, b, action)
    fulfilled = judge(grids, b, action)
    # minigrid's reward: 1 minus 0.9 of the share of the limit used
    reward = 1 - 0.9 * (grids.state[b].steps / grids.state[b].limits) if fulfilled else 0.0
    return reward, fulfilled, grids.state[b].steps >= grids.state[b].limits


@kernel
def reset_all(
    grids: GridState,
    levels: np.ndarray,
    seeds: np.ndarray,
    mask: np.ndarray,
    images: np.ndarray,
    directions: np.ndarray,
) -> bool:
    """Reset the grids in `mask` bool `[B]` from packed levels `[B, PACKED]` and seeds `[B]`.

    Writes the observations of all grids. Returns false if one could not be generated.
    """
    succeeded = True
    for b in range(len(seeds)):
        if mask[b]:
            succeeded = generate(grids, b, levels[b], seeds[b]) and succeeded
    observe(grids, images, directions)
    return succeeded


@allocating
def step_all(
    grids: GridState,
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
    """Step every grid with its action `[B]`; returns how many episodes were restarted.

    Writes observations (uint8 `[B, 7, 7, 3]`, int64 `[B]`), rewards float64, flags bool `[B]`. `over` bool
    `[B]` holds on entry which episodes are over, and on return which are now (SAME_STEP: which ended and were
    restarted; their last observations are in `last_images` and `last_directions`). The seed of the next
    episode is a function of the last one's.
    """
    restarted = 0
    # scratch of `observe_one`, shared by all grids of this call
    view = np.empty((VIEW, VIEW), np.uint8)
    lit = np.empty(VIEW, np.int64)
    for b in range(len(actions)):
        if mode == NEXT_STEP and over[b]:  # the action is ignored, as Gymnasium's vectors do
            generate(grids, b, levels[b], next_seed(grids.state[b].seeds))
            rewards[b], terminated[b], truncated[b], over[b] = 0.0, False, False, False
            restarted += 1
            continue
        rewards[b], terminated[b], truncated[b] = step_one(grids, b, actions[b])
        over[b] = terminated[b] or truncated[b]
        # the last observation must be written before the new episode overwrites the grid
        if mode == SAME_STEP and over[b]:
            observe_one(grids, b, last_images[b], view, lit)
            last_directions[b] = grids.state[b].agent[2]
            generate(grids, b, levels[b], next_seed(grids.state[b].seeds))
            restarted += 1
    observe(grids, images, directions)
    return restarted


@allocating
def replay_one(
    grids: GridState,
    level: np.ndarray,
    seed: int,
    actions: np.ndarray,
    images: np.ndarray,
    directions: np.ndarray,
    rewards: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
) -> None:
    """Replay a seed's episode in grid 0: actions `[T]`; writes T + 1 observations and `[T]` of the rest."""
    view = np.empty((VIEW, VIEW), np.uint8)
    lit = np.empty(VIEW, np.int64)
    # actions after the end are replayed too: the caller passes whole episodes
    generate(grids, 0, level, seed)
    observe_one(grids, 0, images[0], view, lit)
    directions[0] = grids.state[0].agent[2]
    for step in range(len(actions)):
        rewards[step], terminated[step], truncated[step] = step_one(grids, 0, actions[step])
        observe_one(grids, 0, images[step + 1], view, lit)
        directions[step + 1] = grids.state[0].agent[2]
