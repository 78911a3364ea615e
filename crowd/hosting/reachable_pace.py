"""Check that this machine keeps up with real-time tasks: steps and pictures are timed before serving."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from ...envs.capabilities import ReadsInput
from ...envs.task import RECORD, Task
from ...envs.task_env import failures
from ...envs.task_spec import supports
from ...errors import TutelageError
from ..storage.journal_records import EpisodeRecord
from .frame_codec import Encoder
from .host import EpisodePlayer
from .host_factory import runs_here

ENOUGH = 0.95
"""The share of the requested rate from which a task is fast enough; static/pace.js has the same."""
_SECONDS = 0.6
_MOST_STEPS = 40
_FEWEST_STEPS = 3


def pace_notes(tasks: Iterable[Task]) -> list[str]:
    """Return one line per real-time task that is too slow here, with the rate that would be kept.

    Built-in grids are skipped: a step takes microseconds. So are pictures that people click on: they wait.
    """
    notes: list[str] = []
    for task in tasks:
        if task.fps is None or runs_here(task) or supports(task, ReadsInput):
            continue
        try:
            with failures(task, "in step", "a participant would meet this too"):
                rate = reachable_rate(task)
        except TutelageError as error:
            notes.append(str(error))
            continue
        if rate < ENOUGH * task.fps:
            notes.append(
                f"task {task.id!r}: this machine reaches {_as_text(rate)} of the {task.fps:g} steps a second "
                f"that its pace asks for; lower the pace to {{fps: {_slower(rate)}}}, or render less"
            )
    return notes


def reachable_rate(task: Task) -> float:
    """Return the steps per second at which a task can be stepped, drawn and encoded here, in one process.

    3 to 40 steps are timed, for about 0.6 s; resets are not counted.
    """
    player = EpisodePlayer(task, Encoder(), with_observations=False)
    try:
        seed = RECORD.start
        start = player.begin(_record(task, seed))
        bindings = start.controls.bindings
        row = np.asarray(bindings[0].action if bindings else start.controls.idle, np.float64)
        _, view = player.act(row, 0, 0, 0)  # not timed: the first step may load or compile
        step_count, elapsed = 0, 0.0
        while step_count < _FEWEST_STEPS or (step_count < _MOST_STEPS and elapsed < _SECONDS):
            if view.done:
                seed += 1
                player.begin(_record(task, seed))
            step_started = time.perf_counter()
            _, view = player.act(row, 0, 0, 0)
            elapsed += time.perf_counter() - step_started
            step_count += 1
    finally:
        player.close()
    return step_count / max(elapsed, 1e-9)


def _record(task: Task, seed: int) -> EpisodeRecord:
    return EpisodeRecord("rehearsal", "rehearsal", "rehearsal", task.id, task.env, seed, b"")


def _as_text(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"


def _slower(rate: float) -> str:
    """Return a rate with a margin: four fifths of it."""
    return f"{int(0.8 * rate)}" if rate >= 2.5 else f"{0.8 * rate:.2g}"
