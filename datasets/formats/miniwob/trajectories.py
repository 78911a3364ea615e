"""Convert a recording and its moves to a trajectory of a web task."""

from __future__ import annotations

import numpy as np

from ....envs.spaces import action_to_row, leaves
from ....envs.task import SEED_RANGES, Task
from ....envs.web.action_space import action_space, observation_space, to_value
from ....envs.web.observation import write_columns
from ....files.finite_json import json_text
from ...trajectory import CONTROLLERS, Trajectory, digest_of, stack_observations
from .moves import RecordedActions
from .recording import PAGE_COLUMNS, PageSnapshot, Recording
from .wording import with_its_color

STUDY = "miniwob-turk"


def to_trajectory(recording: Recording, actions: RecordedActions, task: Task, suite: str) -> Trajectory:
    """Return the trajectory of a demonstration: the observation before each move, the move, and the end.

    The last reward is the page's raw reward, without time decay. The seeds of the pages of 2017 are unknown:
    the seed written here only lies outside of the test range. The scaled reward and the original name of the
    task are stored in the notes, as JSON; `frames` are indices of pages.
    """
    recorded = actions.moves
    page_indices = [*(move.page for move in recorded), recording.events[-1].page]
    documents = {place: write_columns(_columns(actions.pages[place])) for place in set(page_indices)}
    instruction = _full_instruction(recording, actions)
    steps = [{"instruction": instruction, "elements": documents[place]} for place in page_indices]
    order = [leaf.path for leaf in leaves(observation_space(0, 0))]
    observations = stack_observations([{path: step[path] for path in order} for step in steps])
    rewards = np.zeros(len(recorded))
    rewards[-1] = recording.reward
    space, infos = action_space(), task.success.no_infos(len(recorded))
    return Trajectory(
        suite=suite,
        task=task.id,
        env=task.env,
        kwargs=task.kwargs,
        seed=int(recording.episode[:8], 16) % SEED_RANGES["record"].stop,
        demonstrator=recording.demonstrator,
        kind="person",
        actions=np.stack([action_to_row(space, to_value(move.action)) for move in recorded]),
        rewards=rewards,
        times_ms=np.maximum.accumulate([max(move.time, 0) for move in recorded]).astype(np.int32),
        controllers=np.full(len(recorded), CONTROLLERS.index("person"), np.int8),
        frames=np.array(page_indices[:-1], np.int32),
        terminated=True,
        truncated=False,
        success=task.success.outcome(task.success.judge(rewards, True, False, infos)),
        infos=infos,
        digest=digest_of(observations, rewards, True, False),
        observations=observations,
        versions={"miniwob-plusplus-demos": recording.round},
        episode=recording.episode,
        study=STUDY,
        notes=json_text({"task": recording.task, "scaled_reward": round(recording.scaled, 4)}),
    )


def _full_instruction(recording: Recording, actions: RecordedActions) -> str:
    last = actions.moves[-1]
    if recording.reward < 1 or last.action.element < 0:
        return recording.instruction
    return with_its_color(recording.instruction, actions.pages[last.page].bg[last.action.element])


def _columns(page: PageSnapshot) -> dict[str, list[object]]:
    return {name: [*getattr(page, name)] for name in PAGE_COLUMNS}
