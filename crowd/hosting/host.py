"""Where episodes are played: one person's environment, behind a seam, here or in another process."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from ...datasets.trajectory import Trajectory
from ...envs.keys.controls import Controls
from ...envs.spaces import Observation, action_to_row
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ...envs.web.action_space import to_value
from ...envs.web.environment import WebEnv
from ...envs.web.human_input import HumanInput, HumanInputReader, InputOutcome, PageQuestion
from ..storage.journal_records import EpisodeRecord, StepRecord
from .episode import EpisodeProgress
from .frame_codec import Encoder, Picture
from .screen import FrameCache

Progress = Callable[[int, int], None]
"""Told how many steps of an episode have been played again, and of how many."""


def untold(_done: int, _of: int) -> None:
    """Tell no person how far it has come."""


class EnvironmentCrash(Exception):
    """What an environment in another process raised, or how it ended that process."""


class StepView(NamedTuple):
    """What an environment shows after a reset or a step, as far as a person and their session need it.

    `success` is None until the episode is over. `picture` is None when it looks as before. `observation`
    is None where nobody asks for it: a policy does, a page does not.
    """

    done: bool
    success: bool | None
    picture: Picture | None
    observation: Observation | None = None


class InputResult(NamedTuple):
    """What hands did to a page: `row` is an action to be taken now, and `more` to be read after that.

    `picture` is what shows ahead of any action, None when it looks as before; `question` asks for what the
    picture cannot show; `draft` says that something shows which is no action yet.
    """

    row: np.ndarray | None
    picture: Picture | None
    question: PageQuestion | None
    more: bool
    draft: bool


@dataclass(frozen=True, slots=True)
class EpisodeStart:
    """How an episode begins, or goes on: the journal's row and steps, and what the page must know.

    `torn` is how many of a restored episode's steps were damaged and left out. `atlas` names the picture
    that tiles are drawn from, and the side of one; None where there are no tiles.
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

    `observations` raises TutelageError when they are gone; `let_go` says that they are not wanted any more.
    """

    trajectory: Trajectory
    observations: Callable[[], Awaitable[Mapping[str, np.ndarray]]]
    let_go: Callable[[], None]


class EnvironmentHost(Protocol):
    """The environment of one task, for one person; it plays one episode after another.

    `begin` and `restore` raise TutelageError when the environment cannot be made, or does not begin as
    it did. What a foreign environment raises comes through as it is, or as WorldFault.
    """

    task: Task

    async def begin(self, record: EpisodeRecord) -> EpisodeStart:
        """Reset to the record's seed; the row that comes back has its digest and time."""
        ...

    async def restore(
        self, record: EpisodeRecord, steps: Sequence[StepRecord], told: Progress = untold
    ) -> EpisodeStart:
        """Play a journal's steps again, as far as they are sound; nothing else has to wait for that."""
        ...

    async def act(
        self, row: np.ndarray, time_ms: int, controller: int, frame: int
    ) -> tuple[StepRecord, StepView]:
        """Take one action, a row `[k]`."""
        ...

    async def skip(self, steps: Sequence[StepRecord]) -> list[StepRecord]:
        """Take the actions of some steps without drawing, for a moment's time: the first of them, or all.

        Returns what they gave, at least one; the last may have ended the episode. `draw` shows where it is.
        """
        ...

    async def read(self, gesture: HumanInput | None) -> InputResult:
        """Read what hands did to a web page (`envs.web.person`), or what more there is of it."""
        ...

    async def draw(self) -> Picture | None:
        """Draw what the environment shows now, for a page that has nothing yet."""
        ...

    async def finish(self, record: EpisodeRecord, missed: int) -> FinishedEpisode:
        """Hand over the episode, finished or given up; `record` is the journal's last word on it."""
        ...

    async def close(self) -> None:
        """Let go of the environment."""
        ...


class EpisodePlayer:
    """What all worlds do with an environment, wherever they live: episode after episode, and its pictures.

    `encoder` is for pictures; None for none. `seen` says whether observations are wanted with every moment.
    """

    def __init__(self, task: Task, encoder: Encoder | None, seen: bool) -> None:
        self.task = task
        self._screen = FrameCache(encoder) if encoder else None
        self._seen = seen
        self._environment: TaskEnv | None = None
        self._episode: EpisodeProgress | None = None
        self._person: HumanInputReader | None = None

    @property
    def environment(self) -> TaskEnv:
        """The environment, made when it is first asked for."""
        if self._environment is None:
            self._environment = TaskEnv(self.task, rgb=self._screen is not None)
        return self._environment

    def begin(self, record: EpisodeRecord) -> EpisodeStart:
        return self._begun(EpisodeProgress.begin(self.environment, record), 0)

    def restore(self, record: EpisodeRecord, steps: Sequence[StepRecord]) -> EpisodeStart:
        return self._begun(*EpisodeProgress.restore(self.environment, record, steps))

    def rewind(self, record: EpisodeRecord) -> None:
        """Reset to a journal's episode, to `replay` its steps, a slice at a time, until it is `restored`."""
        self._episode = EpisodeProgress.rewound(self.environment, record)

    def replay(self, steps: Sequence[StepRecord], seconds: float) -> tuple[int, bool]:
        assert self._episode is not None
        return self._episode.replay(steps, seconds)

    def restored(self) -> EpisodeStart:
        assert self._episode is not None
        return self._begun(self._episode, 0)

    def act(self, row: np.ndarray, time_ms: int, controller: int, frame: int) -> tuple[StepRecord, StepView]:
        assert self._episode is not None
        step = self._episode.take(row, time_ms, controller, frame)
        return step, self._moment(self._episode, anew=False)

    def skip(self, steps: Sequence[StepRecord], seconds: float) -> list[StepRecord]:
        """Take actions without drawing, for about `seconds`, but at least one, and none after the end."""
        assert self._episode is not None
        taken: list[StepRecord] = []
        until = time.monotonic() + seconds
        for step in steps:
            row = np.array(step.action)
            taken.append(self._episode.take(row, step.time_ms, step.controller, step.frame))
            if self._episode.done or time.monotonic() >= until:
                break
        return taken

    def read(self, gesture: HumanInput | None) -> InputResult:
        assert self._person is not None
        heard = self._person.go_on() if gesture is None else self._person.hear(gesture)
        return self._read(heard)

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

    def _begun(self, episode: EpisodeProgress, torn: int) -> EpisodeStart:
        self._episode = episode
        environment = self.environment
        bare = environment.env.unwrapped
        self._person = HumanInputReader(bare) if isinstance(bare, WebEnv) else None
        return EpisodeStart(
            record=episode.record,
            steps=list(episode.steps),
            torn=torn,
            now=self._moment(episode, anew=True),
            instruction=environment.instruction or self.task.id,
            limit=environment.limit,
            controls=environment.controls() if self._screen else Controls(()),
            atlas=self._screen.atlas(environment) if self._screen else None,
        )

    def _read(self, heard: InputOutcome) -> InputResult:
        if heard.action is not None:
            row = action_to_row(self.environment.action_space, to_value(heard.action))
            return InputResult(row, None, heard.question, heard.more, heard.draft)
        picture = self._screen.draw(self.environment) if self._screen else None
        return InputResult(None, picture, heard.question, heard.more, heard.draft)

    def _moment(self, episode: EpisodeProgress, anew: bool) -> StepView:
        now = episode.now
        picture = self._screen.draw(self.environment, anew) if self._screen else None
        return StepView(now.done, now.success, picture, now.observation if self._seen else None)


class InlineHost:
    """A world in this very process and thread: for what is driven by a function instead of a person."""

    def __init__(self, task: Task, encoder: Encoder | None = None) -> None:
        self.task = task
        self._player = EpisodePlayer(task, encoder, seen=True)

    async def begin(self, record: EpisodeRecord) -> EpisodeStart:
        return self._player.begin(record)

    async def restore(
        self, record: EpisodeRecord, steps: Sequence[StepRecord], told: Progress = untold
    ) -> EpisodeStart:
        return self._player.restore(record, steps)

    async def act(
        self, row: np.ndarray, time_ms: int, controller: int, frame: int
    ) -> tuple[StepRecord, StepView]:
        return self._player.act(row, time_ms, controller, frame)

    async def skip(self, steps: Sequence[StepRecord]) -> list[StepRecord]:
        return self._player.skip(steps, math.inf)

    async def read(self, gesture: HumanInput | None) -> InputResult:
        return self._player.read(gesture)

    async def draw(self) -> Picture | None:
        return self._player.draw()

    async def finish(self, record: EpisodeRecord, missed: int) -> FinishedEpisode:
        trajectory, seen = self._player.finish(record, missed)

        async def observations() -> Mapping[str, np.ndarray]:
            return seen

        return FinishedEpisode(trajectory, observations, seen.clear)

    async def close(self) -> None:
        self._player.close()
