"""Whether this machine keeps up with tasks in real time: their steps and pictures, timed before serving."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from ...datasets.replay import is_grid
from ...envs.task import RECORD, Task
from ...envs.task_env import failures
from ...envs.web.registration import is_web
from ...errors import TutelageError
from ..storage.journal_records import EpisodeRecord
from .frame_codec import Encoder
from .host import EpisodePlayer

ENOUGH = 0.95
"""The share of the asked rate from which on a task is fast enough; static/pace.js has the same."""
_SECONDS = 0.6
_MOST_STEPS = 40
_FEWEST_STEPS = 3


def pace_notes(tasks: Iterable[Task]) -> list[str]:
    """Say in one line a task which real-time tasks are too slow here, and at what rate they would keep up.

    Grid worlds and web pages are passed over: a step of the former takes microseconds, the latter wait.
    """
    notes: list[str] = []
    for task in tasks:
        if task.fps is None or is_grid(task) or is_web(task.env):
            continue
        try:
            with failures(task, "in step", "a participant would meet this too"):
                rate = reachable_rate(task)
        except TutelageError as error:
            notes.append(str(error))
            continue
        if rate < ENOUGH * task.fps:
            notes.append(
                f"task {task.id!r}: this machine reaches {_rounded(rate)} of the {task.fps:g} steps a second "
                f"that its pace asks for; lower the pace to {{fps: {_lower(rate)}}}, or render less"
            )
    return notes


def reachable_rate(task: Task) -> float:
    """Return the steps a second at which a task can be stepped, drawn and encoded here, in one process.

    3 to 40 steps are timed, for about 0.6 s; resets are not counted.
    """
    player = EpisodePlayer(task, Encoder(), seen=False)
    try:
        seed = RECORD.start
        begun = player.begin(_record(task, seed))
        bound = begun.controls.bindings
        row = np.asarray(bound[0].action if bound else begun.controls.idle, np.float64)
        _, now = player.act(row, 0, 0, 0)  # not timed: a first step may load or compile
        taken, elapsed = 0, 0.0
        while taken < _FEWEST_STEPS or (taken < _MOST_STEPS and elapsed < _SECONDS):
            if now.done:
                seed += 1
                player.begin(_record(task, seed))
            began = time.perf_counter()
            _, now = player.act(row, 0, 0, 0)
            elapsed += time.perf_counter() - began
            taken += 1
    finally:
        player.close()
    return taken / max(elapsed, 1e-9)


def _record(task: Task, seed: int) -> EpisodeRecord:
    return EpisodeRecord("rehearsal", "rehearsal", "rehearsal", task.id, task.env, seed, b"")


def _rounded(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"


def _lower(rate: float) -> str:
    """Return a rate that is kept with some room: four fifths of it."""
    return f"{int(0.8 * rate)}" if rate >= 2.5 else f"{0.8 * rate:.2g}"
