"""A worker process with environments: executes the server's requests in order, until disconnected."""

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
from ...envs.capabilities import HumanInput
from ...envs.drawing.rendering import adopt
from ...envs.registry import registry
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ...envs.web.browser import close_shared
from ...errors import TutelageError
from ...foreign_code.trust import trust
from ..storage.journal_records import EpisodeRecord, StepRecord
from .frame_codec import Encoder, Picture
from .host import EpisodePlayer, EpisodeStart, InputResult, StepView
from .process_entropy import fragment_memory, reseed_generators

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

SIZE = struct.Struct("<I")
"""The length prefix of every message."""

_GRACE_SECONDS = 5.0
_SLICE_SECONDS = 0.05
"""How long an episode is replayed before another environment of the process gets its turn."""


def work(
    connection: socket.socket,
    specs: Sequence[EnvSpec],
    nice: bool,
    memory: int,
    trusted: Sequence[str] = (),
    chosen: Mapping[str, str] | None = None,
) -> None:
    """Answer requests (number, seconds, verb, arguments) with (number, fine, result) until disconnected.

    A request that takes longer than its seconds ends this process, even without a parent: by an alarm of the
    system, which needs no cooperation of an environment. A request that needs more than `memory` bytes for
    the process fails. `trusted` is what the server trusts, and `chosen` the drivers of pictures that it
    found: a forkserver that was started earlier has neither.
    """
    leave_to_parent()  # the parent closes the connection
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Python's way of ending child processes at its own end
    if nice and hasattr(os, "nice"):
        os.nice(10)
    _prefer_for_oom_killer()
    _limit_memory(memory)
    trust(trusted)
    adopt(chosen or {})
    _register(specs)
    reseed_generators()
    environments = WorkerEnvironments()
    try:
        for request in _requests(connection):
            request_id, seconds, verb, arguments = pickle.loads(request)
            with _alarm(seconds + _GRACE_SECONDS):
                reply = (request_id, *_execute(environments, verb, arguments))
            connection.sendall(packed(reply))
    except OSError:
        pass  # the server is gone
    with _alarm(_GRACE_SECONDS):
        environments.close()
        close_shared()


class WorkerEnvironments:
    """The environments of one process by place, and the observations of unproven episodes."""

    def __init__(self) -> None:
        self._players: dict[int, EpisodePlayer] = {}
        self._encoders: dict[str, Encoder] = {}
        self._observations: dict[str, dict[str, np.ndarray]] = {}

    def here(self) -> None:
        """Answer a request: the process has started."""

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

    def back_to(self, place: int, step_count: int) -> int | None:
        return self._players[place].back_to(step_count)

    def read(self, place: int, human_input: HumanInput | None) -> InputResult:
        return self._players[place].read(human_input)

    def draw(self, place: int) -> Picture | None:
        return self._players[place].draw()

    def finish(self, place: int, record: EpisodeRecord, missed: int) -> Trajectory:
        trajectory, self._observations[record.episode] = self._players[place].finish(record, missed)
        return trajectory

    def observations(self, episode: str) -> dict[str, np.ndarray]:
        if episode not in self._observations:
            raise TutelageError(f"expected the observations of episode {episode}, got none any more")
        return self._observations[episode]

    def let_go(self, episode: str) -> None:
        self._observations.pop(episode, None)

    def leave(self, place: int) -> None:
        if (player := self._players.pop(place, None)) is not None:
            player.close()

    def prove(self, trajectory: Trajectory, task: Task) -> bool:
        """Say whether a fresh environment reproduces the episode bit for bit."""
        fragment_memory()
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
            self._players[place] = EpisodePlayer(task, encoder, with_observations=False)
        return self._players[place]


def _prefer_for_oom_killer() -> None:
    """Make Linux end this process before the server when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _limit_memory(memory: int) -> None:
    """Limit this process's memory: an allocation beyond it is an error in its episode."""
    if resource is not None:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if soft == resource.RLIM_INFINITY or memory < soft:
            resource.setrlimit(resource.RLIMIT_DATA, (memory, hard))


def packed(message: Any) -> bytes:
    """Encode a message between the server and a worker."""
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return SIZE.pack(len(data)) + data


def portable(env_id: str) -> EnvSpec | None:
    """Describe a registered environment for another process; None if that is impossible."""
    spec = gymnasium.registry.get(env_id)
    if spec is None:
        return None
    entry = spec.entry_point
    if callable(entry) and (module := getattr(entry, "__module__", None)) is not None:
        entry = f"{'__mp_main__' if module == '__main__' else module}:{getattr(entry, '__qualname__', '')}"
    return replace(spec, entry_point=entry, vector_entry_point=None)


def _execute(environments: WorkerEnvironments, verb: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    try:
        return True, getattr(environments, verb)(*arguments)
    except TutelageError as error:
        return False, (True, str(error))
    except Exception as error:  # an environment may raise anything
        return False, (False, f"{type(error).__name__}: {error}")


def _requests(connection: socket.socket) -> Iterator[bytes]:
    with connection.makefile("rb") as stream:
        while len(head := stream.read(SIZE.size)) == SIZE.size:
            (size,) = SIZE.unpack(head)
            if len(body := stream.read(size)) < size:
                return
            yield body


def _register(specs: Sequence[EnvSpec]) -> None:
    """Register environments that the server's own program has registered, and no package does."""
    registered = registry() if "minigrid" in sys.modules else gymnasium.registry
    for spec in specs:
        if spec.id not in registered:
            gymnasium.registry[spec.id] = spec


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Have the system end this process after some seconds; without alarms, the server's limit applies."""
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
    """Name the modules that all workers share: they are imported before the first worker is made."""
    names = ["__main__", __name__]
    if importlib.util.find_spec("minigrid") and "minigrid" in sys.modules:
        names.append("minigrid.envs.babyai.core.roomgrid_level")
    return names
