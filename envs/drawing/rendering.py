"""Rendering on a machine without a display: SDL and OpenGL drivers, found by trying."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from ...files.finite_json import exact_json
from ..task import Task

SDL, OPENGL = "SDL_VIDEODRIVER", "MUJOCO_GL"
CHOSEN = "TUTELAGE_DRIVERS"
"""Environment variable that names the driver variables which were set here and not by the user."""

SDL_DRIVERS = ("offscreen,dummy", "offscreen", "dummy", "")
"""SDL drivers in order of preference; some packages draw nothing with `dummy` alone."""

OPENGL_DRIVERS = ("egl", "osmesa", "glfw")
"""MuJoCo's OpenGL drivers in order of preference; the last needs a display."""

_USES_OPENGL = "import mujoco; context = mujoco.GLContext(16, 16); context.make_current()"
_TRIAL_SECONDS = 120.0


def prepare(uses_opengl: Callable[[], bool]) -> None:
    """Set environment variables that rendering packages read at import; the user's settings are kept.

    Without a display, SDL draws off screen, and MuJoCo uses the first driver that works in a subprocess,
    which is tried once, if `uses_opengl()` returns that a task may need it.
    """
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if sys.platform != "linux" or has_display():
        return
    if SDL not in os.environ and not _is_chosen(SDL):
        adopt({SDL: SDL_DRIVERS[0]})
    if OPENGL not in os.environ and not _is_chosen(OPENGL) and uses_opengl():
        adopt({OPENGL: next(filter(_draws_with, OPENGL_DRIVERS[:2]), OPENGL_DRIVERS[0])})


def draw_in_own_context(renderer: Any) -> None:
    """Make the OpenGL context of one of Gymnasium's MuJoCo renderers current, if it has one.

    It draws in the context of whichever renderer of the process was made last.
    """
    make_current = getattr(getattr(renderer, "viewer", None), "make_context_current", None)
    if make_current is not None:
        make_current()


def has_display() -> bool:
    """Return whether an X11 or Wayland display is available."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def drivers() -> dict[str, str]:
    """Return the driver variables that are set, for a process that inherits no environment."""
    return {name: os.environ[name] for name in (SDL, OPENGL, CHOSEN) if name in os.environ}


def own_drivers() -> dict[str, str]:
    """Return the driver variables that the user set, which apply to other machines as well."""
    return {name: value for name, value in drivers().items() if name != CHOSEN and not _is_chosen(name)}


def adopt(chosen: Mapping[str, str]) -> None:
    """Set driver variables for this process and its children; an empty value unsets a variable.

    They are marked as chosen here, unless they come from `drivers()` of another process, which includes
    CHOSEN.
    """
    for name, value in chosen.items():
        if value:
            os.environ[name] = value
        else:
            os.environ.pop(name, None)
    if CHOSEN not in chosen:
        names = {*os.environ.get(CHOSEN, "").split(), *chosen}
        os.environ[CHOSEN] = " ".join(sorted(names))


def is_blank(frame: np.ndarray | str) -> bool:
    """Return whether a picture `[H, W, 3]` has a single color, or a text only whitespace."""
    if isinstance(frame, str):
        return not frame.strip()
    return bool((frame == frame[:1, :1]).all())


def find_drivers(task: Task) -> dict[str, str] | None:
    """Render a task's first frame with other drivers, each in a subprocess; None if none draws.

    Tries only variables that the user has not set, of libraries that this process has loaded.
    """
    if sys.platform != "linux":
        return None
    for name, library, values in (
        (SDL, "pygame", SDL_DRIVERS),
        (OPENGL, "mujoco", OPENGL_DRIVERS),
    ):
        if library not in sys.modules or (name in os.environ and not _is_chosen(name)):
            continue
        for value in values:
            if value != os.environ.get(name, "") and _draws(task, {name: value}):
                return {name: value}
    return None


def _is_chosen(name: str) -> bool:
    return name in os.environ.get(CHOSEN, "").split()


def _draws_with(driver: str) -> bool:
    return _ends_well(["-c", _USES_OPENGL], {OPENGL: driver}, "")


def _draws(task: Task, chosen: Mapping[str, str]) -> bool:
    fields = asdict(task) | {"success": task.success.text}
    try:
        document = exact_json(fields)
    except (TypeError, ValueError):  # arguments from a program, which JSON cannot represent
        return False
    return _ends_well(["-m", f"{__package__}.first_picture"], chosen, document)


def _ends_well(command: list[str], chosen: Mapping[str, str], document: str) -> bool:
    """Run Python with other drivers; returns whether it exited with status 0 within the time limit."""
    variables = {**os.environ, **chosen}
    for name in [name for name, value in chosen.items() if not value]:
        del variables[name]
    variables[CHOSEN] = " ".join(chosen)
    try:
        process = subprocess.run(
            [sys.executable, *command],
            input=document,
            env=variables,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_TRIAL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return process.returncode == 0
