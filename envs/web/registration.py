"""Gymnasium ids of the tasks of MiniWoB++, e.g. `tutelage/web.click-test-v0`."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

from .page_sources import miniwob_tasks

NAMESPACE = "tutelage"


def web_id(task: str) -> str:
    """Return the Gymnasium id of a task; ids must not contain a second slash, hence the dot."""
    return f"{NAMESPACE}/web.{task}-v0"


def is_web(env_id: str) -> bool:
    """Return whether an environment is a page in a browser, which occupies a tab."""
    return env_id.startswith(f"{NAMESPACE}/web.")


def register_pages() -> None:
    """Register every task of the installed package `miniwob`, once; none without it."""
    for task in miniwob_tasks():
        if web_id(task) not in registry:
            register(
                id=web_id(task),
                entry_point="tutelage.envs.web.environment:WebEnv",
                vector_entry_point="tutelage.envs.web.vector:WebVectorEnv",
                kwargs={"task": task},
                nondeterministic=True,  # a page may depend on the time
            )
