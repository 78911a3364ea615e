"""Replays of the worst seeds: episodes as small, lossless image sequences inside the page.

Frames are cut into tiles; distinct tiles are stored once in one lossless WebP atlas, and a frame is the list
of tiles that changed. A grid world takes a few kilobytes an episode, whatever its length.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Discrete
from PIL import Image

from ....datasets.proof import ReplayResult, is_same
from ....datasets.trajectory import Digest, Trajectory
from ....envs.drawing.pictures import text_picture
from ....envs.keys.controls import Controls
from ....envs.task import Task
from ....envs.task_env import TaskEnv
from ....errors import TutelageError
from ..comparison import Comparison

LONGEST_SIDE = 320
"""Pixels; larger frames are reduced by an integer factor."""

MOST_MOMENTS = 150
"""Most frames of an episode."""

TILE = 16
_ATLAS_COLUMNS = 64


@dataclass(frozen=True)
class EpisodeFilm:
    """One episode as frames of `width` x `height` pixels.

    `atlas` is a data URI: a WebP with `_ATLAS_COLUMNS` tiles a row. `moments[i]` lists the changes since the
    previous frame as position, tile, position, tile, ...; it is shown after `at[i]` of the T steps. `actions`
    (labels) and `rewards` are those of each step. `exact` is True if the replay equals the recording bit for
    bit.
    """

    actor: str
    seed: int
    success: bool | None
    total: float
    exact: bool
    instruction: str
    width: int
    height: int
    atlas: str
    at: list[int]
    moments: list[list[int]]
    actions: list[str]
    rewards: list[float]

    def to_dict(self) -> dict[str, object]:
        """Return plain data for the page's script."""
        return {**self.__dict__, "tile": TILE, "columns": _ATLAS_COLUMNS}


@dataclass(frozen=True)
class WorstSeed:
    """A selected seed: ids of the subject's episode and, if any, the expert's, and the reason."""

    task: str
    seed: int
    episode: str
    beside: str | None
    reason: str


def worst_seeds(comparison: Comparison, task: str, count: int = 3) -> list[WorstSeed]:
    """Select the seeds that say most about the subject's failures on a task.

    First seeds where it failed and the expert succeeded, then other failures, then the slowest successes;
    within each group longest first.
    """
    subject = comparison.episodes.get((task, comparison.subject))
    if subject is None:
        return []
    experts = [actor for actor in comparison.actors if comparison.kinds[actor] == "expert"]
    expert = comparison.episodes.get((task, experts[0])) if experts else None
    if experts and experts[0] == comparison.subject:
        expert = None
    expert_rows = expert.by_seed() if expert is not None else {}
    ranked = []
    for index, seed in enumerate(subject.seeds.tolist()):
        solved = expert is not None and seed in expert_rows and bool(expert.success[expert_rows[seed]])
        rank = 2 if subject.success[index] else 0 if solved else 1
        ranked.append((rank, -int(subject.steps[index]), seed, index))
    reasons = (
        "failed where the expert succeeded",
        "failed",
        "solved, but took longest",
    )
    if not subject.rated:
        reasons = ("took longest",) * 3
    return [
        WorstSeed(
            task,
            seed,
            str(subject.ids[index]),
            str(expert.ids[expert_rows[seed]]) if expert is not None and seed in expert_rows else None,
            reasons[rank],
        )
        for rank, _, seed, index in sorted(ranked)[:count]
    ]


def render(trajectory: Trajectory, task: Task, actor: str, budget: int = 500_000) -> EpisodeFilm:
    """Replay a trajectory in an environment that renders; the atlas takes at most `budget` bytes.

    Over budget, only every second, fourth, eighth, ... frame is kept, and always the first and the last.
    Raises TutelageError when the environment cannot render.
    """
    environment = TaskEnv(task, rgb=True)
    try:
        images, instruction, exact = _play(trajectory, environment)
        labels = _labels(trajectory, environment)
    finally:
        environment.close()
    steps, stride = list(images), 1
    while True:
        times = sorted({*steps[::stride], steps[-1]})
        atlas, moments = _tiled(np.stack([images[i] for i in times]))
        if len(atlas) <= budget or stride >= len(steps):
            break
        stride *= 2
    return EpisodeFilm(
        actor=actor,
        seed=trajectory.seed,
        success=trajectory.success,
        total=round(trajectory.total, 4),
        exact=exact,
        instruction=instruction,
        width=images[0].shape[1],
        height=images[0].shape[0],
        atlas=atlas,
        at=times,
        moments=moments,
        actions=labels,
        rewards=[round(float(reward), 4) for reward in trajectory.rewards],
    )


def _play(trajectory: Trajectory, environment: TaskEnv) -> tuple[dict[int, np.ndarray], str, bool]:
    """Replay an episode; returns frames by number of steps, the instruction, and whether it is exact."""
    digest = Digest()
    step = environment.reset(trajectory.seed)
    proof = digest.update(step.observation, 0.0, False, False)
    rewards: list[float] = []
    instruction = environment.instruction
    images = {0: _small(environment.frame())}
    stride = -(-len(trajectory) // MOST_MOMENTS)
    for count, row in enumerate(trajectory.actions, start=1):
        step = environment.step(row)
        proof = digest.update(step.observation, step.reward, step.terminated, step.truncated)
        rewards.append(step.reward)
        if step.done or count % stride == 0 or count == len(trajectory):
            images[count] = _small(environment.frame())
        if step.done:
            break
    again = ReplayResult(
        rewards=np.array(rewards),
        terminated=step.terminated,
        truncated=step.truncated,
        success=environment.task.success.outcome(step.success),
        digest=proof,
        infos=environment.infos(),
        casts=dict(environment.casts),
    )
    return images, instruction, is_same(trajectory, again)


def _small(frame: np.ndarray | str) -> np.ndarray:
    image = Image.fromarray(text_picture(frame) if isinstance(frame, str) else frame)
    return np.asarray(image.reduce(-(-max(image.size) // LONGEST_SIDE)))


def _tiled(images: np.ndarray) -> tuple[str, list[list[int]]]:
    """Cut frames `[F, H, W, 3]` into tiles; returns the atlas of distinct tiles and the changes by frame."""
    height, width = images.shape[1:3]
    edge = ((0, 0), (0, -height % TILE), (0, -width % TILE), (0, 0))
    padded = np.pad(images, edge, mode="edge")
    count, tile_rows, tile_columns = len(padded), padded.shape[1] // TILE, padded.shape[2] // TILE
    tiles = (
        padded.reshape(count, tile_rows, TILE, tile_columns, TILE, 3)
        .swapaxes(2, 3)
        .reshape(count, tile_rows * tile_columns, -1)
    )
    changed = np.ones((count, tile_rows * tile_columns), bool)
    changed[1:] = (tiles[1:] != tiles[:-1]).any(axis=2)
    numbers: dict[bytes, int] = {}
    moments = [
        [
            part
            for place in np.flatnonzero(changed[frame]).tolist()
            for part in (place, numbers.setdefault(tiles[frame, place].tobytes(), len(numbers)))
        ]
        for frame in range(count)
    ]
    return _atlas(list(numbers)), moments


def _atlas(tiles: Sequence[bytes]) -> str:
    rows = -(-len(tiles) // _ATLAS_COLUMNS)
    sheet = np.zeros((rows * _ATLAS_COLUMNS, TILE, TILE, 3), np.uint8)
    sheet[: len(tiles)] = np.frombuffer(b"".join(tiles), np.uint8).reshape(-1, TILE, TILE, 3)
    grid = sheet.reshape(rows, _ATLAS_COLUMNS, TILE, TILE, 3).swapaxes(1, 2)
    buffer = io.BytesIO()
    image = Image.fromarray(grid.reshape(rows * TILE, _ATLAS_COLUMNS * TILE, 3))
    image.save(buffer, "WEBP", lossless=True, quality=50, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _labels(trajectory: Trajectory, environment: TaskEnv) -> list[str]:
    try:
        controls = environment.controls()
    except TutelageError:
        controls = None
    space = environment.action_space
    first = int(space.start) if isinstance(space, Discrete) else 0
    names = {float(number): name for number, name in enumerate(environment.action_names, first)}
    return [_label(row, controls, names) for row in trajectory.actions]


def _label(row: np.ndarray, controls: Controls | None, names: Mapping[float, str]) -> str:
    """Return an action's key label as in the recorder, else the environment's name, else its numbers."""
    numbers = " ".join(f"{x:g}" if x == int(x) else f"{x:.2f}".replace("-", "−") for x in row)
    bound = next((key.label for key in controls.bindings if key.action == tuple(row)), "") if controls else ""
    if not bound and len(row) == 1:
        bound = names.get(float(row[0]), "")
    return bound or numbers
