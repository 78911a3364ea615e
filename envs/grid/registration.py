"""The levels as Gymnasium ids, `tutelage/GoToRedBallGrey-v0` and so on; importing tutelage is enough."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

from .levels import LEVELS

NAMESPACE = "tutelage"


def is_level(env_id: str) -> bool:
    """Return whether an id is one of the levels."""
    name = env_id.removeprefix(f"{NAMESPACE}/")
    return name != env_id and name.removesuffix("-v0") in LEVELS


def register_levels() -> None:
    """Register every level, once; their limits depend on the instruction, so none is given here."""
    for name in LEVELS:
        if f"{NAMESPACE}/{name}-v0" not in registry:
            register(
                id=f"{NAMESPACE}/{name}-v0",
                entry_point="tutelage.envs.grid.environment:GridEnv",
                vector_entry_point="tutelage.envs.grid.vector:GridVectorEnv",
                kwargs={"level": name},
            )
