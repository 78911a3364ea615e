"""Environment hosts: the interface to one person's environment, in this process or in a worker."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from ...datasets.trajectory import Trajectory
from ...envs.capabilities import HumanInput, InputOutcome, InputQuestion, InputReader, ReadsInput
from ...envs.keys.controls import Controls
from ...envs.spaces import Observation, action_to_row
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ..storage.journal_records import EpisodeRecord, StepRecord
from .episode import EpisodeProgress
from .frame_codec import Encoder, Picture
from .screen import FrameCache

Progress = Callable[[int, int], None]
"""Called with the number of replayed steps of an episode, and their total."""


def no_progress(_steps_done: int, _step_count: int) -> None:
    """Ignore progress."""


class EnvironmentCrash(Exception):
    """An exception of an environment in another process, or the end of that process."""


class StepView(NamedTuple):
    """The result of a reset or a step, as far as a person and their session need it.

    `success` is None until the episode is over. `picture` is None if it is unchanged. `observation` is None
    unless requested: policies need it, pages do not.
    """

    done: bool
    success: bool | None
    picture: Picture | None
    observation: Observation | None = None


class InputResult(NamedTuple):
    """The result of input to a page: `row` is an action to take now; `more` says that further actions follow.

    `picture` is a preview before any action, None if it is unchanged; `question` asks for what the picture
    cannot show; `draft` says that something is shown which is no action yet.
    """

    row: np.ndarray | None
    picture: Picture | None
    question: InputQuestion | None
    more: bool
    draft: bool


@dataclass(frozen=True, slots=True)
class EpisodeStart:
    """The start or resumption of an episode: the journal's row and steps, and the page's data.

    `torn` counts the damaged steps of a restored episode, which are left out. `atlas` names the picture of
    the tiles, and the side of one; None without tiles.
    """

    record: EpisodeRecord
    steps: list[StepRecord]
    torn: int
    now: StepView
    instruction: str
    limit: int
    controls: Controls
    atlas: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class FinishedEpisode:
    """A finished demonstration, not proven yet, and its observations (leaf path → `[T+1, ...]`).

    `observations` raises TutelageError when they are gone; `let_go` releases them.
    """

    trajectory: Trajectory
    observations: Callable[[], Awaitable[Mapping[str, np.ndarray]]]
    let_go: Callable[[], None]


class PlaybackHost(Protocol):
    """What goes through the steps of one episode, with pictures."""

    task: Task

    async def begin(self, record: EpisodeRecord) -> EpisodeStart:
        """Reset to the record's seed; the returned row has its digest and time."""
        ...

    async def act(
        self, row: np.ndarray, time_ms: int, controller: int, frame: int
    ) -> tuple[StepRecord, StepView]:
        """Take one action, a row `[k]`."""
        ...

    async def skip(self, steps: Sequence[StepRecord]) -> list[StepRecord]:
        """Take the actions of some or all steps without drawing, for a short time.

        Returns the resulting steps, at least one; the last may have ended the episode. `draw` shows the
        state.
        """
        ...

    async def back_to(self, step_count: int) -> int | None:
        """Return to a snapshot of the episode with at most so many steps; returns how many it has.

        None if the environment keeps no snapshots. `draw` shows the state.
        """
        ...

    async def draw(self) -> Picture | None:
        """Draw the environment's current picture, for a page that has none yet."""
        ...

    async def close(self) -> None:
        """Close the environment."""
        ...


class EnvironmentHost(PlaybackHost, Protocol):
    """The environment of one task, for one person; it plays one episode after another.

    `begin` and `restore` raise TutelageError when the environment cannot be made, or starts differently than
    recorded. Exceptions of a foreign environment pass through, or become EnvironmentCrash.
    """

    async def restore(
        self, record: EpisodeRecord, steps: Sequence[StepRecord], progress: Progress = no_progress
    ) -> EpisodeStart:
        """Replay a journal's steps, as far as they are sound, without blocking other tasks."""
        ...

    async def read(self, human_input: HumanInput | None) -> InputResult:
        """Read input to the picture (`capabilities.ReadsInput`), or the next pending action of it."""
        ...

    async def finish(self, record: EpisodeRecord, missed: int) -> FinishedEpisode:
        """Return the episode, finished or given up; `record` is the journal's final row."""
        ...


class EpisodePlayer:
    """Plays one episode after another in an environment, with pictures; shared by all hosts.

    `encoder` encodes pictures; None for no pictures. `with_observations` says whether step views contain
    observations.
    """

    def __init__(self, task: Task, encoder: Encoder | None, with_observations: bool) -> None:
        self.task = task
        self._screen = FrameCache(encoder) if encoder else None
        self._has_observations = with_observations
        self._environment: TaskEnv | None = None
        self._episode: EpisodeProgress | None = None
        self._input_reader: InputReader | None = None

    @property
    def environment(self) -> TaskEnv:
        """The environment, made on first use."""
        if self._environment is None:
            self._environment = TaskEnv(self.task, rgb=self._screen is not None)
        return self._environment

    def begin(self, record: EpisodeRecord) -> EpisodeStart:
        return self._start(EpisodeProgress.begin(self.environment, record), 0)

    def restore(self, record: EpisodeRecord, steps: Sequence[StepRecord]) -> EpisodeStart:
        return self._start(*EpisodeProgress.restore(self.environment, record, steps))

    def rewind(self, record: EpisodeRecord) -> None:
        """Reset to a journal's episode, to `replay` its steps in slices, until it is `restored`."""
        self._episode = EpisodeProgress.rewound(self.environment, record)

    def replay(self, steps: Sequence[StepRecord], seconds: float) -> tuple[int, bool]:
        assert self._episode is not None
        return self._episode.replay(steps, seconds)

    def restored(self) -> EpisodeStart:
        assert self._episode is not None
        return self._start(self._episode, 0)

    def act(self, row: np.ndarray, time_ms: int, controller: int, frame: int) -> tuple[StepRecord, StepView]:
        assert self._episode is not None
        step = self._episode.take(row, time_ms, controller, frame)
        return step, self._view(self._episode, anew=False)

    def skip(self, steps: Sequence[StepRecord], seconds: float) -> list[StepRecord]:
        """Take actions without drawing, see `EpisodeProgress.skip`."""
        assert self._episode is not None
        return self._episode.skip(steps, seconds)

    def back_to(self, step_count: int) -> int | None:
        assert self._episode is not None
        return self._episode.back_to(step_count)

    def read(self, human_input: HumanInput | None) -> InputResult:
        assert self._input_reader is not None
        outcome = self._input_reader.go_on() if human_input is None else self._input_reader.hear(human_input)
        return self._read(outcome)

    def draw(self) -> Picture | None:
        return self._screen.draw(self.environment, anew=True) if self._screen else None

    def finish(self, record: EpisodeRecord, missed: int) -> tuple[Trajectory, dict[str, np.ndarray]]:
        """Return the episode, not proven, and its observations."""
        episode = self._episode
        assert episode is not None
        episode.record, episode.missed = record, missed
        return episode.trajectory(), episode.observations()

    def close(self) -> None:
        if self._environment is not None:
            self._environment.close()
        self._environment, self._episode = None, None

    def _start(self, episode: EpisodeProgress, torn: int) -> EpisodeStart:
        self._episode = episode
        environment = self.environment
        bare = environment.env.unwrapped
        self._input_reader = bare.input_reader() if isinstance(bare, ReadsInput) else None
        return EpisodeStart(
            record=episode.record,
            steps=list(episode.steps),
            torn=torn,
            now=self._view(episode, anew=True),
            instruction=environment.instruction or self.task.id,
            limit=environment.limit,
            controls=environment.controls() if self._screen else Controls(()),
            atlas=self._screen.atlas(environment) if self._screen else None,
        )

    def _read(self, outcome: InputOutcome) -> InputResult:
        if outcome.action is not None:
            row = action_to_row(self.environment.action_space, outcome.action)
            return InputResult(row, None, outcome.question, outcome.more, outcome.draft)
        picture = self._screen.draw(self.environment) if self._screen else None
        return InputResult(None, picture, outcome.question, outcome.more, outcome.draft)

    def _view(self, episode: EpisodeProgress, anew: bool) -> StepView:
        result = episode.now
        picture = self._screen.draw(self.environment, anew) if self._screen else None
        return StepView(
            result.done, result.success, picture, result.observation if self._has_observations else None
        )


class InlineHost:
    """A host in this process and thread, for episodes driven by a function instead of a person."""

    def __init__(self, task: Task, encoder: Encoder | None = None) -> None:
        self.task = task
        self._player = EpisodePlayer(task, encoder, with_observations=True)

    async def begin(self, record: EpisodeRecord) -> EpisodeStart:
        return self._player.begin(record)

    async def restore(
        self, record: EpisodeRecord, steps: Sequence[StepRecord], progress: Progress = no_progress
    ) -> EpisodeStart:
        return self._player.restore(record, steps)

    async def act(
        self, row: np.ndarray, time_ms: int, controller: int, frame: int
    ) -> tuple[StepRecord, StepView]:
        return self._player.act(row, time_ms, controller, frame)

    async def skip(self, steps: Sequence[StepRecord]) -> list[StepRecord]:
        return self._player.skip(steps, math.inf)

    async def back_to(self, step_count: int) -> int | None:
        return self._player.back_to(step_count)

    async def read(self, human_input: HumanInput | None) -> InputResult:
        return self._player.read(human_input)

    async def draw(self) -> Picture | None:
        return self._player.draw()

    async def finish(self, record: EpisodeRecord, missed: int) -> FinishedEpisode:
        trajectory, stacked = self._player.finish(record, missed)

        async def observations() -> Mapping[str, np.ndarray]:
            return stacked

        return FinishedEpisode(trajectory, observations, stacked.clear)

    async def close(self) -> None:
        self._player.close()
