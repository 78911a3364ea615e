"""A recording and its moves → a trajectory of a web task, as the store keeps it."""

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


def to_trajectory(recording: Recording, read: RecordedActions, task: Task, suite: str) -> Trajectory:
    """Make the trajectory of a demonstration: what was seen before each move, the move, and the end.

    The last reward is the page's own, not scaled by the time used up. The pages of 2017 had no seed that
    is known: the one written here only says that the episode is none of a test's. The scaled reward and the
    task's name of then are kept in the notes, as JSON; `frames` are places in the pages.
    """
    made = read.moves
    seen = [*(move.page for move in made), recording.events[-1].page]
    documents = {place: write_columns(_columns(read.pages[place])) for place in set(seen)}
    instruction = _in_full(recording, read)
    shown = [{"instruction": instruction, "elements": documents[place]} for place in seen]
    order = [leaf.path for leaf in leaves(observation_space(0, 0))]
    observations = stack_observations([{path: one[path] for path in order} for one in shown])
    rewards = np.zeros(len(made))
    rewards[-1] = recording.reward
    space, infos = action_space(), task.success.no_infos(len(made))
    return Trajectory(
        suite=suite,
        task=task.id,
        env=task.env,
        kwargs=task.kwargs,
        seed=int(recording.episode[:8], 16) % SEED_RANGES["record"].stop,
        demonstrator=recording.demonstrator,
        kind="person",
        actions=np.stack([action_to_row(space, to_value(move.action)) for move in made]),
        rewards=rewards,
        times_ms=np.maximum.accumulate([max(move.time, 0) for move in made]).astype(np.int32),
        controllers=np.full(len(made), CONTROLLERS.index("person"), np.int8),
        frames=np.array(seen[:-1], np.int32),
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


def _in_full(recording: Recording, read: RecordedActions) -> str:
    last = read.moves[-1]
    if recording.reward < 1 or last.action.element < 0:
        return recording.instruction
    return with_its_color(recording.instruction, read.pages[last.page].bg[last.action.element])


def _columns(page: PageSnapshot) -> dict[str, list[object]]:
    return {name: [*getattr(page, name)] for name in PAGE_COLUMNS}
