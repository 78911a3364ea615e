"""A process full of environments: does what the server asks, one thing after another, until hung up on."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import pickle
import signal
import socket
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from ...console.signals import leave_to_parent
from ...datasets.proof import is_same
from ...datasets.replay import replay
from ...datasets.trajectory import Trajectory
from ...envs.registry import registry
from ...envs.rendering import adopt
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ...envs.web.browser import close_shared
from ...envs.web.human_input import HumanInput
from ...errors import TutelageError
from ...foreign_code.trust import trust
from ..storage.journal_records import EpisodeRecord, StepRecord
from .frame_codec import Encoder, Picture
from .host import EpisodePlayer, EpisodeStart, InputResult, StepView
from .process_entropy import draw_apart, scatter

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

SIZE = struct.Struct("<I")
"""Before every message, its length."""

_GRACE_SECONDS = 5.0
_SLICE_SECONDS = 0.05
"""How long an episode is played again before another environment of the process has its turn."""


def work(
    line: socket.socket,
    specs: Sequence[EnvSpec],
    nice: bool,
    memory: int,
    trusted: Sequence[str] = (),
    chosen: Mapping[str, str] | None = None,
) -> None:
    """Answer requests (number, seconds, verb, arguments) with (number, fine, result) until the line closes.

    A request that takes longer than its seconds ends this process, even when nobody is left to see to it:
    an alarm of the system does that, and no code of an environment need cooperate. One that wants more than
    `memory` bytes for the process fails. `trusted` is what the server trusts, and `chosen` the drivers of
    pictures that it found: a forkserver that was started before knows nothing of them.
    """
    leave_to_parent()  # which hangs up
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by which Python ends what is left at its own end
    if nice and hasattr(os, "nice"):
        os.nice(10)
    _first_to_go()
    _no_more_than(memory)
    trust(trusted)
    adopt(chosen or {})
    _register(specs)
    draw_apart()
    room = WorkerEnvironments()
    try:
        for request in _requests(line):
            number, seconds, verb, arguments = pickle.loads(request)
            with _alarm(seconds + _GRACE_SECONDS):
                reply = (number, *_done(room, verb, arguments))
            line.sendall(packed(reply))
    except OSError:
        pass  # the server is gone
    with _alarm(_GRACE_SECONDS):
        room.close()
        close_shared()


class WorkerEnvironments:
    """The environments of one process by place, and the observations of what is not proven yet."""

    def __init__(self) -> None:
        self._players: dict[int, EpisodePlayer] = {}
        self._encoders: dict[str, Encoder] = {}
        self._kept: dict[str, dict[str, np.ndarray]] = {}

    def here(self) -> None:
        """Answer: whoever made this process knows then that it has come up."""

    def begin(self, place: int, task: Task, pictures: bool, record: EpisodeRecord) -> EpisodeStart:
        return self._player(place, task, pictures).begin(record)

    def rewind(self, place: int, task: Task, pictures: bool, record: EpisodeRecord) -> None:
        self._player(place, task, pictures).rewind(record)

    def replay(self, place: int, steps: Sequence[StepRecord]) -> tuple[int, bool]:
        return self._players[place].replay(steps, _SLICE_SECONDS)

    def restored(self, place: int) -> EpisodeStart:
        return self._players[place].restored()

    def act(
        self, place: int, row: np.ndarray, time_ms: int, controller: int, frame: int
    ) -> tuple[StepRecord, StepView]:
        return self._players[place].act(row, time_ms, controller, frame)

    def skip(self, place: int, steps: Sequence[StepRecord]) -> list[StepRecord]:
        return self._players[place].skip(steps, _SLICE_SECONDS)

    def read(self, place: int, gesture: HumanInput | None) -> InputResult:
        return self._players[place].read(gesture)

    def draw(self, place: int) -> Picture | None:
        return self._players[place].draw()

    def finish(self, place: int, record: EpisodeRecord, missed: int) -> Trajectory:
        trajectory, self._kept[record.episode] = self._players[place].finish(record, missed)
        return trajectory

    def observations(self, episode: str) -> dict[str, np.ndarray]:
        if episode not in self._kept:
            raise TutelageError(f"expected the observations of episode {episode}, got none any more")
        return self._kept[episode]

    def let_go(self, episode: str) -> None:
        self._kept.pop(episode, None)

    def leave(self, place: int) -> None:
        if (player := self._players.pop(place, None)) is not None:
            player.close()

    def prove(self, trajectory: Trajectory, task: Task) -> bool:
        """Say whether a fresh environment gives the same, bit for bit."""
        scatter()
        environment = TaskEnv(task)
        with contextlib.closing(environment):
            return is_same(trajectory, replay(trajectory, environment))

    def close(self) -> None:
        for place in list(self._players):
            with contextlib.suppress(Exception):  # an environment may raise anything
                self.leave(place)

    def _player(self, place: int, task: Task, pictures: bool) -> EpisodePlayer:
        if place not in self._players:
            encoder = self._encoders.setdefault(task.id, Encoder()) if pictures else None
            self._players[place] = EpisodePlayer(task, encoder, seen=False)
        return self._players[place]


def _first_to_go() -> None:
    """When memory runs out, Linux shall end an environment that eats it, and not the server."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _no_more_than(memory: int) -> None:
    """Refuse whatever asks for more memory than that: an error in the episode that does."""
    if resource is not None:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if soft == resource.RLIM_INFINITY or memory < soft:
            resource.setrlimit(resource.RLIMIT_DATA, (memory, hard))


def packed(message: Any) -> bytes:
    """Pack a message between the server and a process of its own."""
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return SIZE.pack(len(data)) + data


def portable(env_id: str) -> EnvSpec | None:
    """Describe a registered environment so that another process can register it; None if it can't be."""
    spec = gymnasium.registry.get(env_id)
    if spec is None:
        return None
    entry = spec.entry_point
    if callable(entry) and (module := getattr(entry, "__module__", None)) is not None:
        entry = f"{'__mp_main__' if module == '__main__' else module}:{getattr(entry, '__qualname__', '')}"
    return replace(spec, entry_point=entry, vector_entry_point=None)


def _done(room: WorkerEnvironments, verb: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    try:
        return True, getattr(room, verb)(*arguments)
    except TutelageError as error:
        return False, (True, str(error))
    except Exception as error:  # an environment may raise anything
        return False, (False, f"{type(error).__name__}: {error}")


def _requests(line: socket.socket) -> Iterator[bytes]:
    with line.makefile("rb") as reading:
        while len(head := reading.read(SIZE.size)) == SIZE.size:
            (size,) = SIZE.unpack(head)
            if len(body := reading.read(size)) < size:
                return
            yield body


def _register(specs: Sequence[EnvSpec]) -> None:
    """Register what the server's own program had registered, and no package does."""
    registered = registry() if "minigrid" in sys.modules else gymnasium.registry
    for spec in specs:
        if spec.id not in registered:
            gymnasium.registry[spec.id] = spec


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Have the system end this process after so long; where it has no such alarm, the server's must do."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def preloaded() -> list[str]:
    """Name the modules that all workers share, since they are imported before the first is made."""
    names = ["__main__", __name__]
    if importlib.util.find_spec("minigrid") and "minigrid" in sys.modules:
        names.append("minigrid.envs.babyai.core.roomgrid_level")
    return names
