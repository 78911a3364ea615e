"""Try out a suite before anything is written: environments start, keys map to actions, experts exist."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import EnvironmentFailure, TutelageError
from ..foreign_code.trust import Untrusted
from .drawing.rendering import OPENGL, SDL, adopt, find_drivers, is_blank
from .experts import make_expert
from .extensions.own_expert import OwnExpert
from .info_path import InfoPath, resembling
from .keys.controls import Controls
from .suite import Suite
from .task import Task
from .task_env import TaskEnv, failures
from .web.browser import close_shared

_STEPS = 3
PROBED = 200
"""Most random steps within which the info keys that a success rule reads should appear."""


def rehearse(
    suite: Suite,
    experts: Iterable[str] = (),
    people: bool = False,
    failures: dict[str, str] | None = None,
) -> list[str]:
    """Start an episode of each task, read its keys, and make the experts of the tasks named in `experts`.

    Takes a few steps: observations and rewards must match the declared spaces. With `people`, each task must
    render a frame and have keys.

    Returns notes on actions without a key, and on info paths of a success rule that did not appear in an
    episode. A dict passed as `failures` receives the id of each task whose environment fails → the reason.
    Raises TutelageError for the first mistake, which would otherwise surface during play, when a store
    already holds the faulty suite.
    """
    expert_tasks = {suite[task].id for task in experts}
    notes: list[str] = []
    try:
        for task in suite:
            try:
                controls = try_out(task, expert=task.id in expert_tasks, people=people)
                if people:
                    notes += [*key_notes(task, controls), *success_notes(task)]
                notes += info_notes(task)
            except EnvironmentFailure as error:
                if failures is None:
                    raise
                failures[task.id] = str(error).removeprefix(f"task {task.id!r}: ")
    finally:
        close_shared()  # the pages of participants run in other processes
    return notes


def try_out(task: Task, expert: bool = False, people: bool = False) -> Controls:
    """Try out one task, see `rehearse`; returns its controls."""
    environment = _make_environment(task, people)
    try:
        environment.reset(0)
        controls = environment.controls()
        if people:
            check_playable(task, controls)
            check_picture(task, environment)
        if expert:
            player = make_expert(task, environment)
            if isinstance(player, OwnExpert):  # what it returns has to be an action
                player.reset()
                player.act()
        _take_steps(environment, controls)
        check_casts(environment)
    finally:
        environment.close()
    return controls


def _make_environment(task: Task, people: bool) -> TaskEnv:
    """Make a task's environment; any TutelageError becomes an EnvironmentFailure."""
    try:
        return TaskEnv(task, rgb=people)
    except (EnvironmentFailure, Untrusted):
        raise
    except TutelageError as error:
        raise EnvironmentFailure(str(error)) from None


def check_playable(task: Task, controls: Controls) -> None:
    """Raise TutelageError if a task has no keys, or is real-time and has no idle action."""
    if not controls.bindings and not controls.hands:
        raise TutelageError(
            f"task {task.id!r}: expected keys to play with, got none for {task.env}; give the task "
            "`controls` in its suite, such as {KeyA: [1, 0]}"
        )
    if task.fps is not None and controls.idle is None and not controls.hands:
        raise TutelageError(
            f"task {task.id!r}: expected an idle action for a real-time task, got none; "
            "give it one in its suite: pace: {fps: 15, idle: 0}"
        )


def check_casts(environment: TaskEnv) -> None:
    """Raise TutelageError if an observation differs from the declared space so that a cast changes it."""
    for leaf, change in environment.casts.items():
        raise TutelageError(
            f"task {environment.task.id!r}: {leaf or 'the observation'}: {change}; "
            "mend the space, or what the environment returns"
        )


def _take_steps(environment: TaskEnv, controls: Controls) -> None:
    """Take a few steps with the idle action, else the first key's action, to check their results."""
    row = controls.idle or next((binding.action for binding in controls.bindings), None)
    if row is None or controls.hands:
        return
    with failures(environment.task, "in step", "mend it before it is played"):
        for _ in range(_STEPS):
            try:
                if environment.step(np.array(row)).done:
                    return
            except EnvironmentFailure as error:  # what the success rule reads from info
                raise TutelageError(f"task {environment.task.id!r}: {error}") from None


def info_notes(task: Task) -> list[str]:
    """Play an episode of a task whose success rule reads info; return notes on paths that did not appear.

    Raises TutelageError for a path whose value is not a number, and for a missing path that resembles another
    key.
    """
    if not task.success.paths:
        return []
    missing, infos = _missing_paths(task)
    for path in missing:
        if near := resembling(path, infos):
            raise TutelageError(
                f"task {task.id!r}: expected {path.text} in info, which its success rule reads, {near}"
            )
    return [
        f"task {task.id!r}: {path.text}, which its success rule reads, did not show in info during "
        f"{len(infos)} random steps; where it never shows, it counts as false"
        for path in missing
    ]


def _missing_paths(task: Task) -> tuple[list[InfoPath], list[Mapping[str, Any]]]:
    """Take random actions until every path appeared or the episode ends; return missing paths and infos."""
    environment = TaskEnv(task)
    missing, infos = [*task.success.paths], list[Mapping[str, Any]]()
    try:
        environment.reset(0)
        while missing and len(infos) < PROBED:
            action = environment.action_space.sample()
            with failures(task, "in step", "it must take every action of its action space"):
                _, _, terminated, truncated, info = environment.env.step(action)
            infos.append(info)
            missing = [path for path in missing if math.isnan(_number(task, path, info))]
            if terminated or truncated:
                break
    finally:
        environment.close()
    return missing, infos


def _number(task: Task, path: InfoPath, info: Mapping[str, Any]) -> float:
    try:
        return path.read(info)
    except EnvironmentFailure as error:
        raise TutelageError(f"task {task.id!r}: {error}") from None


def check_picture(task: Task, environment: TaskEnv) -> None:
    """Render the first frame; if that fails or the frame is blank, search for drivers that draw it.

    Drivers found are set for this process and its children. Raises TutelageError if none draws.
    """
    problem: TutelageError
    try:
        with failures(task, "in render", _PICTURES):
            if task.blank_first_frame or not is_blank(environment.frame()):
                return
        drivers = ", ".join(f"{name}={os.environ.get(name, '')!r}" for name in (SDL, OPENGL))
        problem = TutelageError(
            f"task {task.id!r}: expected {task.env} to draw more than one color at first, got a blank "
            f"picture ({drivers}); set these variables to what draws on this machine, or give the task "
            "`blank_first_frame: true` in its suite"
        )
    except TutelageError as error:
        problem = error
    chosen = find_drivers(task)
    if chosen is None:
        raise problem
    adopt(chosen)


_PICTURES = (
    "a page shows arrays [H, W, 3], PIL images and text; without a display, "
    "OpenGL needs libegl1 or libosmesa6"
)


def key_notes(task: Task, controls: Controls) -> list[str]:
    """Return a note on the actions that no key reaches; an empty list if there are none."""
    if not controls.unreached:
        return []
    return [
        f"task {task.id!r}: no key does {', '.join(controls.unreached)}; bind keys to what people need "
        "under `controls` in the suite"
    ]


def success_notes(task: Task) -> list[str]:
    """Return a note if no success rule is known, with the remedy."""
    if task.success.is_known:
        return []
    return [
        f"task {task.id!r}: no success rule is known for {task.env}, so its return is shown and every "
        'demonstration counts alike; say what a success is in a suite, such as success: "return >= 100"'
    ]
