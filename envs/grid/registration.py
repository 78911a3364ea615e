"""Gymnasium ids of the levels, e.g. `tutelage/GoToRedBallGrey-v0`; registered when tutelage is imported."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

from .levels import LEVELS

NAMESPACE = "tutelage"


def register_levels() -> None:
    """Register every level, once; without `max_episode_steps`, since limits depend on the instruction."""
    for name in LEVELS:
        if f"{NAMESPACE}/{name}-v0" not in registry:
            register(
                id=f"{NAMESPACE}/{name}-v0",
                entry_point="tutelage.envs.grid.environment:GridEnv",
                vector_entry_point="tutelage.envs.grid.vector:GridVectorEnv",
                kwargs={"level": name},
            )
