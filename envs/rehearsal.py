"""Try a suite before anything is written: environments begin, keys are actions, experts exist."""

from __future__ import annotations

import os
from collections.abc import Iterable

from .controls import Controls
from .errors import TutelageError
from .experts import make_expert
from .gymnasium_task import TaskEnvironment, failures
from .rendering import OPENGL, SDL, adopt, find_drivers, is_blank
from .suite import Suite
from .task import Task
from .web.browser import close_shared


def rehearse(suite: Suite, experts: Iterable[str] = (), people: bool = False) -> list[str]:
    """Begin an episode of each task, read its keys, and make the experts of the tasks named in `experts`.

    With `people`, each task must show a picture and have keys; returns notes on actions that no key does.
    Raises TutelageError for the first mistake, which would otherwise show in the midst of playing, when
    a store already holds the suite with the mistake in it.
    """
    named = {suite[task].id for task in experts}
    notes: list[str] = []
    try:
        for task in suite:
            controls = try_out(task, expert=task.id in named, people=people)
            if people:
                notes += [*key_notes(task, controls), *success_notes(task)]
    finally:
        close_shared()  # people's pages are shown by other processes
    return notes


def try_out(task: Task, expert: bool = False, people: bool = False) -> Controls:
    """Try one task, see `rehearse`; returns its keys."""
    environment = TaskEnvironment(task, rgb=people)
    try:
        environment.reset(0)
        controls = environment.controls()
        if people:
            check_playable(task, controls)
            check_picture(task, environment)
        if expert:
            make_expert(task, environment)
    finally:
        environment.close()
    return controls


def check_playable(task: Task, controls: Controls) -> None:
    """Raise TutelageError where a person could not act in a task, or nothing would happen without a key."""
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


def check_picture(task: Task, environment: TaskEnvironment) -> None:
    """Draw the first picture; where it fails or is of one color, look for drivers that draw it.

    What is found holds for the processes to come. Raises TutelageError where nothing draws.
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
    found = find_drivers(task)
    if found is None:
        raise problem
    adopt(found)


_PICTURES = (
    "a page shows arrays [H, W, 3], PIL images and text; without a display, "
    "OpenGL needs libegl1 or libosmesa6"
)


def key_notes(task: Task, controls: Controls) -> list[str]:
    """Say which actions no key does, and what to do about it; an empty list where all can be done."""
    if not controls.unreached:
        return []
    return [
        f"task {task.id!r}: no key does {', '.join(controls.unreached)}; bind keys to what people need "
        "under `controls` in the suite"
    ]


def success_notes(task: Task) -> list[str]:
    """Say where no success rule is known, and what to do about it."""
    if task.success.is_known:
        return []
    return [
        f"task {task.id!r}: no success rule is known for {task.env}, so its return is shown and every "
        'demonstration counts alike; say what a success is in a suite, such as success: "return >= 100"'
    ]
