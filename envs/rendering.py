"""Where pictures are drawn on a machine without a display: the drivers of SDL and OpenGL, found by trying."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np

from ..files.finite_json import exact_json
from .task import Task

SDL, OPENGL = "SDL_VIDEODRIVER", "MUJOCO_GL"
CHOSEN = "TUTELAGE_DRIVERS"
"""The environment variable that names those of the drivers that were chosen here and not by the person."""

SDL_DRIVERS = ("offscreen,dummy", "offscreen", "dummy", "")
"""What SDL is asked to draw with, the best first: some packages show nothing with `dummy` alone."""

OPENGL_DRIVERS = ("egl", "osmesa", "glfw")
"""What MuJoCo is asked to draw with, the best first; the last needs a display."""

_USES_OPENGL = "import mujoco; context = mujoco.GLContext(16, 16); context.make_current()"
_TRIAL_SECONDS = 120.0


def prepare(uses_opengl: Callable[[], bool]) -> None:
    """Set what must stand before a package that draws is imported; what the person has set is kept.

    Without a display, SDL draws off screen, and MuJoCo with the first driver that works in a process of its
    own, which is tried once where `uses_opengl()` says that a task may need it.
    """
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if sys.platform != "linux" or has_display():
        return
    if SDL not in os.environ and not _is_chosen(SDL):
        adopt({SDL: SDL_DRIVERS[0]})
    if OPENGL not in os.environ and not _is_chosen(OPENGL) and uses_opengl():
        adopt({OPENGL: next(filter(_draws_with, OPENGL_DRIVERS[:2]), OPENGL_DRIVERS[0])})


def has_display() -> bool:
    """Say whether the desktop of this machine is at hand."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def drivers() -> dict[str, str]:
    """Return the drivers that are set, for a process that inherits nothing."""
    return {name: os.environ[name] for name in (SDL, OPENGL, CHOSEN) if name in os.environ}


def own_drivers() -> dict[str, str]:
    """Return the drivers that the person has set, which hold for other machines as well."""
    return {name: value for name, value in drivers().items() if name != CHOSEN and not _is_chosen(name)}


def adopt(chosen: Mapping[str, str]) -> None:
    """Draw with these from now on, here and in processes to come; an empty value unsets a variable.

    They count as chosen here, but for what `drivers` of another process gave, which says whose choice it was.
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
    """Say whether a picture `[H, W, 3]` is of one color, or a text has nothing but spaces."""
    if isinstance(frame, str):
        return not frame.strip()
    return bool((frame == frame[:1, :1]).all())


def find_drivers(task: Task) -> dict[str, str] | None:
    """Try a task's first picture with other drivers, in processes of their own; None where none draws.

    Only those are tried that the person has not set, of libraries that this process has loaded.
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
    plain = asdict(task) | {"success": task.success.text}
    try:
        document = exact_json(plain)
    except (TypeError, ValueError):  # arguments that no file can hold: from a program, not a suite
        return False
    return _ends_well(["-m", f"{__package__}.first_picture"], chosen, document)


def _ends_well(command: list[str], chosen: Mapping[str, str], document: str) -> bool:
    """Run Python with other drivers; says whether it ended with status 0, in time."""
    variables = {**os.environ, **chosen}
    for name in [name for name, value in chosen.items() if not value]:
        del variables[name]
    variables[CHOSEN] = " ".join(chosen)
    try:
        done = subprocess.run(
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
    return done.returncode == 0
