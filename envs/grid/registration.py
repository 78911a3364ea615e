"""Gymnasium ids of the levels, e.g. `tutelage/GoToRedBallGrey-v0`; registered when tutelage is imported."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

from .levels import LEVELS

NAMESPACE = "tutelage"


def is_level(env_id: str) -> bool:
    """Return whether an id is one of the levels."""
    name = env_id.removeprefix(f"{NAMESPACE}/")
    return name != env_id and name.removesuffix("-v0") in LEVELS


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
