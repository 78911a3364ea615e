"""Worst seeds, rendered: an episode as pictures inside the page, exact to the pixel and small.

Every picture is cut into tiles; equal tiles are kept once, packed into one lossless WebP, and a moment is
the list of tiles that changed. So a grid world costs a few kilobytes an episode, whatever its length.
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
from ....envs.keys.controls import Controls
from ....envs.pictures import text_picture
from ....envs.task import Task
from ....envs.task_env import TaskEnv
from ....errors import TutelageError
from ..comparison import Comparison

LONGEST_SIDE = 320
"""Pixels; larger pictures are made smaller by a whole factor."""

MOST_MOMENTS = 150
"""Moments of an episode that are shown at most."""

TILE = 16
_ATLAS_COLUMNS = 64


@dataclass(frozen=True)
class EpisodeFilm:
    """One episode as pictures of `width` x `height` pixels.

    `atlas` is a data URI: a WebP with `_ATLAS_COLUMNS` tiles a row. `moments[i]` is what changed since the
    moment before, as place, tile, place, tile, ..., and is seen after `at[i]` of the T steps. `actions` and
    `rewards` say what was done at each step. `exact` says whether the environment gave back what was
    recorded, bit for bit.
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
        """Return what the page's script needs, as plain data."""
        return {**self.__dict__, "tile": TILE, "columns": _ATLAS_COLUMNS}


@dataclass(frozen=True)
class WorstSeed:
    """A seed worth looking at: the subject's episode, the expert's if it has one, and why it was chosen."""

    task: str
    seed: int
    episode: str
    beside: str | None
    reason: str


def worst_seeds(comparison: Comparison, task: str, count: int = 3) -> list[WorstSeed]:
    """Choose the seeds that say most about the subject's failures on a task.

    First those where it failed and the expert succeeded, then other failures, then the slowest successes;
    longest first each time.
    """
    mine = comparison.episodes.get((task, comparison.subject))
    if mine is None:
        return []
    experts = [one for one in comparison.actors if comparison.kinds[one] == "expert"]
    theirs = comparison.episodes.get((task, experts[0])) if experts else None
    if experts and experts[0] == comparison.subject:
        theirs = None
    beside = theirs.by_seed() if theirs is not None else {}
    ranked = []
    for at, seed in enumerate(mine.seeds.tolist()):
        solved = theirs is not None and seed in beside and bool(theirs.success[beside[seed]])
        rank = 2 if mine.success[at] else 0 if solved else 1
        ranked.append((rank, -int(mine.steps[at]), seed, at))
    reasons = (
        "failed where the expert succeeded",
        "failed",
        "solved, but took longest",
    )
    if not mine.rated:
        reasons = ("took longest",) * 3
    return [
        WorstSeed(
            task,
            seed,
            str(mine.ids[at]),
            str(theirs.ids[beside[seed]]) if theirs is not None and seed in beside else None,
            reasons[rank],
        )
        for rank, _, seed, at in sorted(ranked)[:count]
    ]


def render(trajectory: Trajectory, task: Task, actor: str, budget: int = 500_000) -> EpisodeFilm:
    """Play a trajectory again in an environment that draws; its pictures take at most `budget` bytes.

    Of an episode that would take more, only every second, third, ... moment is kept, and always the first
    and the last. Raises TutelageError when the environment cannot draw.
    """
    environment = TaskEnv(task, rgb=True)
    try:
        images, instruction, exact = _play(trajectory, environment)
        labels = _labels(trajectory, environment)
    finally:
        environment.close()
    steps, stride = list(images), 1
    while True:
        at = sorted({*steps[::stride], steps[-1]})
        atlas, moments = _tiled(np.stack([images[i] for i in at]))
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
        at=at,
        moments=moments,
        actions=labels,
        rewards=[round(float(one), 4) for one in trajectory.rewards],
    )


def _play(trajectory: Trajectory, environment: TaskEnv) -> tuple[dict[int, np.ndarray], str, bool]:
    """Step through an episode; return pictures by number of steps taken, the instruction, and if exact."""
    digest = Digest()
    step = environment.reset(trajectory.seed)
    proof = digest.update(step.observation, 0.0, False, False)
    rewards: list[float] = []
    instruction = environment.instruction
    images = {0: _small(environment.frame())}
    stride = -(-len(trajectory) // MOST_MOMENTS)
    for at, row in enumerate(trajectory.actions, start=1):
        step = environment.step(row)
        proof = digest.update(step.observation, step.reward, step.terminated, step.truncated)
        rewards.append(step.reward)
        if step.done or at % stride == 0 or at == len(trajectory):
            images[at] = _small(environment.frame())
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
    """Cut pictures `[F, H, W, 3]` into tiles: the atlas of the different ones, and what changed when."""
    height, width = images.shape[1:3]
    edge = ((0, 0), (0, -height % TILE), (0, -width % TILE), (0, 0))
    padded = np.pad(images, edge, mode="edge")
    count, high, wide = len(padded), padded.shape[1] // TILE, padded.shape[2] // TILE
    tiles = padded.reshape(count, high, TILE, wide, TILE, 3).swapaxes(2, 3).reshape(count, high * wide, -1)
    changed = np.ones((count, high * wide), bool)
    changed[1:] = (tiles[1:] != tiles[:-1]).any(axis=2)
    numbers: dict[bytes, int] = {}
    moments = [
        [
            part
            for place in np.flatnonzero(changed[one]).tolist()
            for part in (place, numbers.setdefault(tiles[one, place].tobytes(), len(numbers)))
        ]
        for one in range(count)
    ]
    return _atlas(list(numbers)), moments


def _atlas(tiles: Sequence[bytes]) -> str:
    rows = -(-len(tiles) // _ATLAS_COLUMNS)
    sheet = np.zeros((rows * _ATLAS_COLUMNS, TILE, TILE, 3), np.uint8)
    sheet[: len(tiles)] = np.frombuffer(b"".join(tiles), np.uint8).reshape(-1, TILE, TILE, 3)
    grid = sheet.reshape(rows, _ATLAS_COLUMNS, TILE, TILE, 3).swapaxes(1, 2)
    held = io.BytesIO()
    image = Image.fromarray(grid.reshape(rows * TILE, _ATLAS_COLUMNS * TILE, 3))
    image.save(held, "WEBP", lossless=True, quality=50, method=4)
    return "data:image/webp;base64," + base64.b64encode(held.getvalue()).decode()


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
    """Name an action as the recorder does; one that no key is bound to by the environment's own name."""
    numbers = " ".join(f"{x:g}" if x == int(x) else f"{x:.2f}".replace("-", "−") for x in row)
    bound = next((one.label for one in controls.bindings if one.action == tuple(row)), "") if controls else ""
    if not bound and len(row) == 1:
        bound = names.get(float(row[0]), "")
    return bound or numbers
