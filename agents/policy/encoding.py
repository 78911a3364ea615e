"""Any observation and action ↔ numbers a network takes: what is fitted on the data, and saved as YAML.

Tasks that see and do the same kinds of things share one interface, and with it all weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from ...datasets.arrays.task_arrays import TaskArrays
from ...envs.batch import steps_together
from ...envs.spaces import JSONText, Leaf, leaves
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ...errors import TutelageError
from .action_parts import BINS, SKIPPED, ActionPart
from .web.page_actions import ROW, PageActions, common_keys, page_actions, page_parts

GRID_SIDE, GRID_VALUES = 32, 32
LOOKED_AT = 200_000
"""Steps of a task that the encoding is fitted to, at most."""

APART = 3.0
"""A number is an outlier if the nearest one is this many times as far as all usual ones lie apart."""

COMMON = 0.03  # cell values above this share are ground, the others are things
VECTOR_FEATURES = 1024
FARTHEST = 1e150
"""Beyond it a number counts as this far, so that differences of two numbers stay finite."""


@dataclass(frozen=True)
class ObservationSpec:
    """How one leaf of an observation becomes tokens.

    kind `text`: a token a word. `page`: a token an element, and one a word of what is asked of it. `grid`
    (small symbol grids): one token for the ground (which of the `common` cell values stands where), one for
    each thing. `image`: a token a patch of `patch` pixels. `discrete`: a token a number, `sizes` values
    each, counted from `low`. `vector`: one token, made of each number's place between the quantiles `edges`;
    `spans` is each number's usual range (low, high), outliers left out, and `missing` lists the numbers that
    were NaN or infinite in the data.
    """

    path: str
    kind: str
    shape: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    low: tuple[int, ...] = ()
    common: tuple[tuple[int, ...], ...] = ()
    edges: tuple[tuple[float, ...], ...] = ()
    patch: int = 0
    spans: tuple[tuple[float, float], ...] = ()
    missing: tuple[int, ...] = ()


@dataclass(frozen=True)
class IOSpec:
    """What is seen and what is done, shared by every task that sees and does the same kinds of things."""

    seen: tuple[ObservationSpec, ...]
    parts: tuple[ActionPart, ...]

    @property
    def page(self) -> PageActions | None:
        """How actions on a page become numbers; None where what is seen is no page."""
        return page_actions(self.parts) if any(one.kind == "page" for one in self.seen) else None

    @property
    def width(self) -> int:
        """How many numbers a row of an environment's own action has."""
        return ROW if self.page else len(self.parts)


@dataclass(frozen=True)
class Encoding:
    """All interfaces of a run; `tasks` maps task id → (index of its interface, its fixed instruction)."""

    interfaces: tuple[IOSpec, ...]
    tasks: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    @classmethod
    def fit(cls, columns: Mapping[str, TaskArrays], others: Iterable[Task] = ()) -> Encoding:
        """Fit the encoding to the data of every task; nothing of it changes afterwards.

        Of `others`, tasks without data, those are known too whose pages are seen as any other page is.
        Raises TutelageError for spaces that have no fixed layout.
        """
        groups: dict[str, list[TaskArrays]] = {}
        worlds: dict[str, TaskEnv] = {}
        for one in columns.values():
            world = TaskEnv(one.task)
            key = _signature(one.task, world)
            worlds.setdefault(key, world)
            groups.setdefault(key, []).append(one)
        tasks = {
            one.task.id: (index, one.task.instruction)
            for index, group in enumerate(groups.values())
            for one in group
        }
        interfaces = tuple(_interface(worlds[key], group) for key, group in groups.items())
        if any(pages := [one.page is not None for one in interfaces]):
            more = [one for one in others if steps_together(one) and one.id not in tasks]
            tasks |= {one.id: (pages.index(True), one.instruction) for one in more}
        for world in worlds.values():
            world.close()
        return cls(interfaces, tasks)

    def interface(self, task: str) -> IOSpec:
        """Return a task's interface; raises TutelageError for a task the policy was not taught."""
        if task not in self.tasks:
            raise TutelageError(f"expected one of the tasks {', '.join(self.tasks)}, got {task!r}")
        return self.interfaces[self.tasks[task][0]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for YAML."""
        tasks = {
            name: {"interface": index, "instruction": text} for name, (index, text) in self.tasks.items()
        }
        return {"interfaces": [_plain(asdict(one)) for one in self.interfaces], "tasks": tasks}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Encoding:
        """Read an encoding back; the inverse of `to_dict`."""
        interfaces = tuple(
            IOSpec(
                tuple(
                    ObservationSpec(**{key: _tuples(value) for key, value in seen.items()})
                    for seen in one["seen"]
                ),
                tuple(
                    ActionPart(**{key: _tuples(value) for key, value in part.items()})
                    for part in one["parts"]
                ),
            )
            for one in data["interfaces"]
        )
        tasks = {name: (one["interface"], one["instruction"]) for name, one in data["tasks"].items()}
        return cls(interfaces, tasks)


def encode_actions(
    interface: IOSpec, rows: np.ndarray, observations: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers `[S, k]` of actions `[S, n]`, and which of these can be taught, bool `[S]`."""
    if (page := interface.page) is None:
        return rows, np.ones(len(rows), bool)
    steps = zip(rows, observations["instruction"], observations["elements"], strict=True)
    numbers = np.stack([page.numbers(*one) for one in steps])
    return numbers, numbers[:, 0] != SKIPPED


def decode_actions(
    interface: IOSpec, numbers: np.ndarray, observations: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return the actions `[S, n]` that numbers `[S, k]` make up: the inverse of `decided`."""
    if (page := interface.page) is None:
        return numbers
    steps = zip(numbers, observations["instruction"], observations["elements"], strict=True)
    return np.stack([page.row(*one) for one in steps])


def ground_and_things(
    seen: ObservationSpec, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Split grids `[S, ...]` into ground float32 `[S, cells * common]` and things.

    A thing is (step `[M]`, cell `[M]`, its values int64 `[M, channels]`).
    """
    cells = _cells(grid)
    same = (cells[:, :, None, :] == np.array(seen.common, cells.dtype)).all(-1)
    step, cell = np.nonzero(~same.any(-1))
    values = np.clip(cells[step, cell].astype(np.int64), 0, GRID_VALUES - 1)
    return same.reshape(len(grid), -1).astype(np.float32), step, cell, values


def quantile_features(seen: ObservationSpec, vectors: np.ndarray) -> np.ndarray:
    """Return float32 `[S, F]`: how far each number has climbed through each interval of its quantiles.

    Piecewise linear encoding (Gorishniy et al., "On embeddings for numerical features", 2022), with one
    more feature a number that goes on beyond the data's range. A number that is not finite is as far as an
    infinity goes, or in the middle (NaN); where the data had such, one more feature says that it is missing.
    """
    flat = vectors.reshape(len(vectors), -1).astype(np.float64)
    spans = seen.spans or tuple((edges[0], edges[-1]) for edges in seen.edges)
    features = []
    for column, edges, (low, high) in zip(flat.T, seen.edges, spans, strict=True):
        bounds = np.array(edges)
        middle, scale = bounds[len(bounds) // 2], max(high - low, 1e-6 * max(1e-6, abs(high)))
        finite = np.clip(np.where(np.isnan(column), middle, column), -FARTHEST, FARTHEST)
        features.append(np.clip((finite - middle) / scale * 2, -4, 4)[:, None])
        if len(bounds) > 1:
            climbed = (finite[:, None] - bounds[:-1]) / np.diff(bounds)
            features.append(np.clip(climbed, 0, 1) - 0.5)
    if seen.missing:
        features.append(~np.isfinite(flat[:, list(seen.missing)]))
    return np.concatenate(features, 1).astype(np.float32)


def feature_count(seen: ObservationSpec) -> int:
    """Count the features that `quantile_features` makes."""
    return sum(len(edges) for edges in seen.edges) + len(seen.missing)


def patches(seen: ObservationSpec, images: np.ndarray) -> np.ndarray:
    """Cut images `[S, H, W, C]` into float32 `[S, patches, patch * patch * C]` in [-0.5, 0.5]."""
    size = seen.patch
    steps, height, width, channels = images.shape
    down, across = -(-height // size), -(-width // size)
    padded = np.zeros((steps, down * size, across * size, channels), np.float32)
    padded[:, :height, :width] = images.astype(np.float32) / 255 - 0.5
    cut = padded.reshape(steps, down, size, across, size, channels).swapaxes(2, 3)
    return cut.reshape(steps, down * across, size * size * channels)


def _signature(task: Task, world: TaskEnv) -> str:
    """Name what is seen and done; a bare space says too little, so its environment's id is added."""
    seen = [
        (one.path, type(one.space).__name__ if one.is_text else str(one.space))
        for one in leaves(world.observation_space)
    ]
    bare = task.env if any(not path for path, _ in seen) else ""
    return f"{seen} {world.action_space} {bare}"


def _interface(world: TaskEnv, group: list[TaskArrays]) -> IOSpec:
    if any(isinstance(leaf.space, JSONText) for leaf in leaves(world.observation_space)):
        keys = common_keys(np.concatenate([one.actions for one in group]))
        return IOSpec((ObservationSpec("elements", "page"),), page_parts(keys))
    seen = tuple(
        _see(leaf, np.concatenate([one.observations[leaf.path][:LOOKED_AT] for one in group]))
        for leaf in leaves(world.observation_space)
    )
    actions = np.concatenate([one.actions for one in group])
    parts: list[ActionPart] = []
    for leaf in leaves(world.action_space):
        size = int(np.prod(leaf.space.shape or (), dtype=np.int64))
        parts += _parts(leaf.space, actions[:, len(parts) : len(parts) + size])
    return IOSpec(seen, tuple(parts))


def _see(leaf: Leaf, values: np.ndarray) -> ObservationSpec:
    space, shape = leaf.space, tuple(leaf.space.shape or ())
    if leaf.is_text:
        return ObservationSpec(leaf.path, "text")
    if isinstance(space, spaces.Discrete):
        return ObservationSpec(leaf.path, "discrete", shape, (int(space.n),), (int(space.start),))
    if isinstance(space, spaces.MultiDiscrete):
        sizes, low = space.nvec.ravel().tolist(), np.broadcast_to(space.start, shape).ravel().tolist()
        return ObservationSpec(leaf.path, "discrete", shape, tuple(sizes), tuple(low))
    if isinstance(space, spaces.Box) and values.dtype.kind in "iu" and len(shape) in (2, 3):
        if max(shape[:2]) <= GRID_SIDE and values.max(initial=0) < GRID_VALUES:
            return ObservationSpec(leaf.path, "grid", shape, common=_common(values))
        if values.dtype == np.uint8 and len(shape) == 3:
            return ObservationSpec(leaf.path, "image", shape, patch=max(4, -(-max(shape[:2]) // 8)))
    return fit_vector(leaf.path, shape, values)


def _cells(grid: np.ndarray) -> np.ndarray:
    """View grids `[S, H, W]` or `[S, H, W, C]` as cells `[S, H * W, C]`."""
    return grid.reshape(len(grid), grid.shape[1] * grid.shape[2], -1)


def _common(grids: np.ndarray) -> tuple[tuple[int, ...], ...]:
    cells = _cells(grids).reshape(-1, _cells(grids).shape[-1])
    values, counts = np.unique(cells, axis=0, return_counts=True)
    often = counts >= COMMON * len(cells)
    often[np.argmax(counts)] = True
    return tuple(tuple(int(x) for x in value) for value in values[often])


def fit_vector(path: str, shape: tuple[int, ...], values: np.ndarray) -> ObservationSpec:
    """Fit a vector leaf to the finite numbers of the data."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    finite = np.isfinite(flat)
    intervals = int(np.clip(VECTOR_FEATURES // max(flat.shape[1], 1) // 2, 1, 32))
    columns = [np.clip(flat[finite[:, at], at], -FARTHEST, FARTHEST) for at in range(flat.shape[1])]
    columns = [column if len(column) else np.zeros(1) for column in columns]
    spans = tuple(_usual_range(column) for column in columns)
    edges = tuple(_edges(column, intervals, *span) for column, span in zip(columns, spans, strict=True))
    missing = tuple(np.flatnonzero(~finite.all(0)).tolist())
    return ObservationSpec(path, "vector", shape, edges=edges, spans=spans, missing=missing)


def _usual_range(column: np.ndarray) -> tuple[float, float]:
    """Return the range of the values without outliers: those behind a gap that nothing explains.

    From the middle half of the values the range grows as long as the next value is not APART times as far
    as the range is wide. So a rare state that values lead to is in it, however seldom (the fences of a box
    plot leave out what is rare), and a sentinel is not, however often up to a quarter.
    """
    for outside in (0.25, 0.1, 0.05, 0.01):
        low, high = np.quantile(column, (outside, 1 - outside))
        if low < high:
            return -_reach(-column, -high, -low), _reach(column, low, high)
    return float(column.min()), float(column.max())


def _reach(column: np.ndarray, low: float, high: float) -> float:
    """Return how far up the values go on from `high` without a gap."""
    above = np.unique(np.append(column[column > high], high))
    far = np.diff(above) > APART * (above[:-1] - low)
    return float(above[np.argmax(far)] if far.any() else above[-1])


def _edges(column: np.ndarray, intervals: int, low: float, high: float) -> tuple[float, ...]:
    """Return sorted edges: the data's quantiles, as many at even steps over the usual range, and both ends.

    Half the edges follow the data, half the range: rare states deserve resolution too. Of few values, each
    is an edge, so that all stay distinct.
    """
    steps = np.linspace(0, 1, intervals + 1)
    values = np.unique(column)
    exact = values if len(values) <= len(steps) else np.quantile(column, steps)
    edges = np.unique(np.concatenate([exact, low + steps * (high - low), values[[0, -1]]]))
    # closer than this, the quotient of two differences of float64 says nothing
    close = np.diff(edges) <= 4 * np.spacing(np.abs(edges[1:])) + 1e-300
    if len(values) <= len(steps):
        close &= ~np.isin(edges[1:], values)
    return tuple(edges[np.concatenate([[True], ~close])].tolist())


def _parts(space: spaces.Space[Any], actions: np.ndarray) -> list[ActionPart]:
    if isinstance(space, spaces.Discrete):
        return [ActionPart("choice", int(space.n), float(space.start))]
    if isinstance(space, spaces.MultiDiscrete):
        lows = np.broadcast_to(space.start, space.nvec.shape).ravel()
        return [
            ActionPart("choice", int(n), float(low)) for n, low in zip(space.nvec.ravel(), lows, strict=True)
        ]
    if isinstance(space, spaces.MultiBinary):
        return [ActionPart("choice", 2, 0.0)] * actions.shape[1]
    if not isinstance(space, spaces.Box):
        raise TutelageError(
            f"expected actions of Discrete, MultiDiscrete, MultiBinary or Box, got {type(space).__name__}; "
            f"wrap the environment to change it"
        )
    lows = np.where(np.isfinite(space.low), space.low, -np.inf).ravel()
    highs = np.where(np.isfinite(space.high), space.high, np.inf).ravel()
    lows = np.where(np.isfinite(lows), lows, actions.min(0))
    highs = np.where(np.isfinite(highs), highs, actions.max(0))
    highs = np.where(highs > lows, highs, lows + 1.0)
    return [ActionPart("bins", BINS, float(low), float(high)) for low, high in zip(lows, highs, strict=True)]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value
