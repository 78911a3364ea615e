"""The tasks of MiniWoB++ as Gymnasium ids, `tutelage/web.click-test-v0` and so on."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

from .page_sources import miniwob_tasks

NAMESPACE = "tutelage"


def web_id(task: str) -> str:
    """Return the Gymnasium id of a task; a second slash is not allowed there, hence the point."""
    return f"{NAMESPACE}/web.{task}-v0"


def is_web(env_id: str) -> bool:
    """Say whether an environment is a page in a browser: each one takes a tab."""
    return env_id.startswith(f"{NAMESPACE}/web.")


def register_pages() -> None:
    """Register every task that the installed package `miniwob` has, once; none without it."""
    for task in miniwob_tasks():
        if web_id(task) not in registry:
            register(
                id=web_id(task),
                entry_point="tutelage.envs.web.environment:WebEnv",
                vector_entry_point="tutelage.envs.web.vector:WebVectorEnv",
                kwargs={"task": task},
            )
