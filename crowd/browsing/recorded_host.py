"""Shows an episode from its recorded observations, where no environment can play it again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...datasets.recorded_only import is_absent
from ...datasets.trajectory import Trajectory
from ...envs.drawing.observation_picture import ObservationPictures
from ...envs.keys.controls import Controls
from ...envs.recorded import is_recorded_only
from ...envs.task import Task
from ..dashboard.playback import as_steps
from ..hosting.frame_codec import Encoder, Picture
from ..hosting.host import EpisodeStart, StepView
from ..storage.journal_records import EpisodeRecord, StepRecord

AS_RECORDED = "Drawn from the recorded observations: no environment plays this episode again."


def is_shown_from_recording(trajectory: Trajectory, task: Task) -> bool:
    """Return whether an episode has observations, and nothing that could play it again."""
    return trajectory.observations is not None and (is_recorded_only(task) or is_absent(task))


class RecordedHost:
    """Goes through one episode's recorded steps; its pictures are drawn from the observations."""

    def __init__(self, task: Task, trajectory: Trajectory) -> None:
        assert trajectory.observations is not None
        self.task = task
        self._pictures = ObservationPictures(trajectory.observations)
        steps = as_steps(trajectory)
        self._steps = [*steps[:-1], steps[-1]._replace(success=trajectory.success)]
        self._encoder = Encoder()
        self._position = 0

    async def begin(self, record: EpisodeRecord) -> EpisodeStart:
        self._position = 0
        return EpisodeStart(
            record=record,
            steps=[],
            torn=0,
            now=self._view(),
            instruction=self.task.instruction or self._pictures.words(0) or self.task.id,
            limit=len(self._steps),
            controls=Controls(()),
        )

    async def act(
        self, row: np.ndarray, time_ms: int, controller: int, frame: int
    ) -> tuple[StepRecord, StepView]:
        self._position += 1
        return self._steps[self._position - 1], self._view()

    async def skip(self, steps: Sequence[StepRecord]) -> list[StepRecord]:
        begin, self._position = self._position, self._position + len(steps)
        return self._steps[begin : self._position]

    async def back_to(self, step_count: int) -> int | None:
        self._position = step_count
        return step_count

    async def draw(self) -> Picture:
        return self._encoder.encode(self._pictures.draw(self._position))

    async def close(self) -> None:
        self._position = 0

    def _view(self) -> StepView:
        picture = self._encoder.encode(self._pictures.draw(self._position))
        return StepView(self._position == len(self._steps), None, picture)
