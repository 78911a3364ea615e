"""Encode any observation and action as numbers for a network; fitted on data, saved as YAML.

Tasks with the same observation and action spaces share one interface, and with it all weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from ...datasets.arrays.task_arrays import TaskArrays
from ...envs.spaces import JSONText, Leaf, leaves
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ...errors import TutelageError
from .action_parts import BINS, SKIPPED, ActionPart
from .images.layout import ImageLayout, image_layout
from .web.page_actions import ROW, PageActions, common_keys, page_actions, page_parts

TABLE_ROWS = 1 << 16  # most values of a discrete space, for one embedding each and for a choice
GRID_SIDE, GRID_VALUES = 32, 32  # most cells a side, and values below which cells are symbols
LOOKED_AT = 200_000
"""Most steps of a task that the encoding is fitted to."""

APART = 3.0
"""A value is an outlier if the gap before it is more than this many times the range of the values within."""

COMMON = 0.03  # cell values with at least this share are ground, the others are objects
VECTOR_FEATURES = 1024  # about as many for one vector leaf
FARTHEST = 1e150
"""Numbers are clipped to this magnitude, so that differences of two numbers stay finite."""


@dataclass(frozen=True)
class ObservationSpec:
    """How one leaf of an observation becomes tokens.

    kind `text`: one token a word. `page`: one token an element, and one a word of the instruction. `grid`
    (small symbol grids): one token for the ground (the positions of the `common` cell values), one for each
    object. `image`: one token a cell of a map, with axes in the order of `layout`; without one, as older
    checkpoints are, one token a patch of `patch` x `patch` pixels of an image `[H, W, C]` of uint8.
    `discrete`: one token a number, `sizes` values each, counted from `low`. `vector`: one token from each
    number's position among the quantiles `edges`; `spans` is each number's usual range (low, high) without
    outliers (of an image: black and white), and `missing` lists the numbers that were NaN or infinite in the
    data.
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
    layout: str = ""

    @property
    def image(self) -> ImageLayout:
        """The layout of a leaf of kind `image`."""
        return ImageLayout(self.layout or "HWC", self.shape, *(self.spans[0] if self.spans else (0.0, 255.0)))


@dataclass(frozen=True)
class IOSpec:
    """Observation leaves (`seen`) and action parts, shared by all tasks with the same spaces."""

    seen: tuple[ObservationSpec, ...]
    parts: tuple[ActionPart, ...]

    @property
    def page(self) -> PageActions | None:
        """The encoding of actions on a page; None for other observations."""
        return page_actions(self.parts) if any(spec.kind == "page" for spec in self.seen) else None

    @property
    def width(self) -> int:
        """Numbers in one action row of the environment."""
        return ROW if self.page else len(self.parts)


@dataclass(frozen=True)
class Encoding:
    """All interfaces of a run; `tasks` maps task id → (index of its interface, fixed instruction or "")."""

    interfaces: tuple[IOSpec, ...]
    tasks: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    @classmethod
    def fit(cls, columns: Mapping[str, TaskArrays], extra_tasks: Iterable[Task] = ()) -> Encoding:
        """Fit the encoding to the data of every task; it never changes afterwards.

        `extra_tasks` have no data: web tasks among them are added, since all pages share one interface.
        Raises TutelageError for spaces without a fixed layout.
        """
        groups: dict[str, list[TaskArrays]] = {}
        environments: dict[str, TaskEnv] = {}
        for arrays in columns.values():
            environment = TaskEnv(arrays.task)
            key = _signature(arrays.task, environment)
            environments.setdefault(key, environment)
            groups.setdefault(key, []).append(arrays)
        tasks = {
            arrays.task.id: (index, arrays.task.instruction)
            for index, group in enumerate(groups.values())
            for arrays in group
        }
        interfaces = tuple(_interface(environments[key], group) for key, group in groups.items())
        # all pages share one layout: a new web task needs no data
        pages = {key: index for index, key in enumerate(environments) if interfaces[index].page is not None}
        for task in extra_tasks if pages else ():
            if task.id not in tasks and (key := _signature_of(task)) in pages:
                tasks[task.id] = (pages[key], task.instruction)
        for environment in environments.values():
            environment.close()
        return cls(interfaces, tasks)

    def interface(self, task: str) -> IOSpec:
        """Return a task's interface; raises TutelageError for a task the policy was not trained on."""
        if task not in self.tasks:
            raise TutelageError(f"expected one of the tasks {', '.join(self.tasks)}, got {task!r}")
        return self.interfaces[self.tasks[task][0]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for YAML."""
        tasks = {
            name: {"interface": index, "instruction": text} for name, (index, text) in self.tasks.items()
        }
        return {"interfaces": [_plain(asdict(interface)) for interface in self.interfaces], "tasks": tasks}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Encoding:
        """Read an encoding back; the inverse of `to_dict`."""
        interfaces = tuple(
            IOSpec(
                tuple(
                    ObservationSpec(**{key: _tuples(value) for key, value in spec.items()})
                    for spec in interface["seen"]
                ),
                tuple(
                    ActionPart(**{key: _tuples(value) for key, value in part.items()})
                    for part in interface["parts"]
                ),
            )
            for interface in data["interfaces"]
        )
        tasks = {name: (entry["interface"], entry["instruction"]) for name, entry in data["tasks"].items()}
        return cls(interfaces, tasks)


def encode_actions(
    interface: IOSpec, rows: np.ndarray, observations: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers `[S, k]` of actions `[S, n]`, and which actions can be expressed so, bool `[S]`."""
    if (page := interface.page) is None:
        return rows, np.ones(len(rows), bool)
    steps = zip(rows, observations["instruction"], observations["elements"], strict=True)
    numbers = np.stack([page.numbers(*step) for step in steps])
    return numbers, numbers[:, 0] != SKIPPED


def decode_actions(
    interface: IOSpec, numbers: np.ndarray, observations: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return the actions `[S, n]` of numbers `[S, k]`: the inverse of `encode_actions`."""
    if (page := interface.page) is None:
        return numbers
    steps = zip(numbers, observations["instruction"], observations["elements"], strict=True)
    return np.stack([page.row(*step) for step in steps])


def ground_and_things(
    spec: ObservationSpec, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Split grids `[S, H, W(, C)]` into ground, one-hot float32 `[S, cells * common]`, and M objects.

    Objects are returned as step `[M]`, cell `[M]` and values int64 `[M, channels]`.
    """
    cells = _cells(grid)
    # `[S, cells, 1, C]` against `[common, C]` → `[S, cells, common]`
    same = (cells[:, :, None, :] == np.array(spec.common, cells.dtype)).all(-1)
    step, cell = np.nonzero(~same.any(-1))
    values = np.clip(cells[step, cell].astype(np.int64), 0, GRID_VALUES - 1)
    return same.reshape(len(grid), -1).astype(np.float32), step, cell, values


def quantile_features(spec: ObservationSpec, vectors: np.ndarray) -> np.ndarray:
    """Return float32 `[S, F]`: the position of each number within each interval of its quantiles.

    Piecewise linear encoding (Gorishniy et al., "On embeddings for numerical features", 2022), plus one
    linear feature a number, which continues beyond the data's range. Infinities count as FARTHEST, NaN as
    the median; one more feature marks missing values, for numbers that had any in the data.
    """
    flat = vectors.reshape(len(vectors), -1).astype(np.float64)
    spans = spec.spans or tuple((edges[0], edges[-1]) for edges in spec.edges)
    features = []
    for column, edges, (low, high) in zip(flat.T, spec.edges, spans, strict=True):
        bounds = np.array(edges)
        # the scale is at least 1e-6 of the magnitude: constant numbers do not divide by 0
        median, scale = bounds[len(bounds) // 2], max(high - low, 1e-6 * max(1e-6, abs(high)))
        finite = np.clip(np.where(np.isnan(column), median, column), -FARTHEST, FARTHEST)
        # linear feature, within two usual ranges of the median
        features.append(np.clip((finite - median) / scale * 2, -4, 4)[:, None])
        if len(bounds) > 1:
            climbed = (finite[:, None] - bounds[:-1]) / np.diff(bounds)
            # centered: 0.5 at or above the interval, -0.5 at or below
            features.append(np.clip(climbed, 0, 1) - 0.5)
    if spec.missing:
        features.append(~np.isfinite(flat[:, list(spec.missing)]))
    return np.concatenate(features, 1).astype(np.float32)


def feature_count(spec: ObservationSpec) -> int:
    """Return the number of features F of `quantile_features`."""
    return sum(len(edges) for edges in spec.edges) + len(spec.missing)


def _signature_of(task: Task) -> str:
    """Return the key of a task's spaces; "" if its environment cannot be made here."""
    try:
        with closing(TaskEnv(task)) as environment:
            return _signature(task, environment)
    except TutelageError:
        return ""


def _signature(task: Task, environment: TaskEnv) -> str:
    """Return a key of the spaces; an unnamed leaf says too little, so the environment's id is added to it."""
    observed = [
        (leaf.path, type(leaf.space).__name__ if leaf.is_text else str(leaf.space))
        for leaf in leaves(environment.observation_space)
    ]
    env_id = task.env if any(not path for path, _ in observed) else ""
    return f"{observed} {environment.action_space} {env_id}"


def _interface(environment: TaskEnv, group: list[TaskArrays]) -> IOSpec:
    if any(isinstance(leaf.space, JSONText) for leaf in leaves(environment.observation_space)):
        # keys of the keyboard are the only part of a page's actions that is fitted
        keys = common_keys(np.concatenate([arrays.actions for arrays in group]))
        return IOSpec((ObservationSpec("elements", "page"),), page_parts(keys))
    specs = tuple(
        _fit_leaf(leaf, [arrays.observations[leaf.path] for arrays in group])
        for leaf in leaves(environment.observation_space)
    )
    actions = np.concatenate([arrays.actions for arrays in group])
    parts: list[ActionPart] = []
    for leaf in leaves(environment.action_space):
        size = int(np.prod(leaf.space.shape or (), dtype=np.int64))
        parts += _parts(leaf.space, actions[:, len(parts) : len(parts) + size])
    return IOSpec(specs, tuple(parts))


def _fit_leaf(leaf: Leaf, arrays: Sequence[np.ndarray]) -> ObservationSpec:
    """Fit a leaf to the arrays `[N, ...]` of all tasks that have it; large images are not read for it."""
    space, shape = leaf.space, tuple(leaf.space.shape or ())
    if leaf.is_text:
        return ObservationSpec(leaf.path, "text")
    layout = image_layout(space)
    if layout is not None and not _may_be_symbols(space, layout):
        return _image(leaf.path, layout)
    values = np.concatenate([array[:LOOKED_AT] for array in arrays])
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete) and not has_table(space):
        return fit_vector(leaf.path, shape, values())
    if isinstance(space, spaces.Discrete):
        return ObservationSpec(leaf.path, "discrete", shape, (int(space.n),), (int(space.start),))
    if isinstance(space, spaces.MultiDiscrete):
        sizes, low = space.nvec.ravel().tolist(), np.broadcast_to(space.start, shape).ravel().tolist()
        return ObservationSpec(leaf.path, "discrete", shape, tuple(sizes), tuple(low))
    # small integers on a small board: symbols, not intensities
    are_symbols = values.dtype.kind in "iu" and values.max(initial=0) < GRID_VALUES
    if isinstance(space, spaces.Box) and len(shape) in (2, 3) and are_symbols and max(shape[:2]) <= GRID_SIDE:
        return ObservationSpec(leaf.path, "grid", shape, common=_common(values))
    if layout is not None and not are_symbols:
        return _image(leaf.path, layout)
    return fit_vector(leaf.path, shape, values)


def _may_be_symbols(space: spaces.Space[Any], layout: ImageLayout) -> bool:
    """Return whether an image may be a board, or a stack of boards, depending on its values."""
    sides = layout.shape[:2] if len(layout.shape) < 4 else layout.size[:2]
    return space.dtype == np.uint8 and max(sides) <= GRID_SIDE


def _image(path: str, layout: ImageLayout) -> ObservationSpec:
    # at most 8 x 8 patches, at least 4 pixels wide
    patch = max(4, -(-max(layout.size[:2]) // 8))
    return ObservationSpec(
        path,
        "image",
        layout.shape,
        patch=patch,
        spans=((layout.low, layout.high),),
        layout=layout.axes,
    )


def has_table(space: spaces.Discrete | spaces.MultiDiscrete) -> bool:
    """Return whether each value of a discrete space has a row of a table; more are read as numbers."""
    return int(space.n if isinstance(space, spaces.Discrete) else space.nvec.sum()) <= TABLE_ROWS


def _cells(grid: np.ndarray) -> np.ndarray:
    """View grids `[S, H, W]` or `[S, H, W, C]` as cells `[S, H * W, C]`."""
    return grid.reshape(len(grid), grid.shape[1] * grid.shape[2], -1)


def _common(grids: np.ndarray) -> tuple[tuple[int, ...], ...]:
    cells = _cells(grids).reshape(-1, _cells(grids).shape[-1])
    values, counts = np.unique(cells, axis=0, return_counts=True)
    is_common = counts >= COMMON * len(cells)
    # at least one ground value, even if all are rare
    is_common[np.argmax(counts)] = True
    return tuple(tuple(int(x) for x in value) for value in values[is_common])


def fit_vector(path: str, shape: tuple[int, ...], values: np.ndarray) -> ObservationSpec:
    """Fit a vector leaf to the finite numbers of the data."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    finite = np.isfinite(flat)
    # about VECTOR_FEATURES features for the whole leaf; halved, as edges come in two sets
    intervals = int(np.clip(VECTOR_FEATURES // max(flat.shape[1], 1) // 2, 1, 32))
    columns = [np.clip(flat[finite[:, index], index], -FARTHEST, FARTHEST) for index in range(flat.shape[1])]
    columns = [column if len(column) else np.zeros(1) for column in columns]
    spans = tuple(_usual_range(column) for column in columns)
    edges = tuple(_edges(column, intervals, *span) for column, span in zip(columns, spans, strict=True))
    missing = tuple(np.flatnonzero(~finite.all(0)).tolist())
    return ObservationSpec(path, "vector", shape, edges=edges, spans=spans, missing=missing)


def _usual_range(column: np.ndarray) -> tuple[float, float]:
    """Return the range of the values without outliers, which are values behind a wide gap.

    The range starts as the middle half of the values and grows while the gap to the next value is at most
    APART times its width. So a rare state that other values lead up to is inside, however rare (the fences
    of a box plot would exclude it), and a sentinel value is outside, up to a quarter of the data.
    """
    # the middle half may be a single value: widen it until it is not
    for outside in (0.25, 0.1, 0.05, 0.01):
        low, high = np.quantile(column, (outside, 1 - outside))
        if low < high:
            return -_range_end(-column, -high, -low), _range_end(column, low, high)
    return float(column.min()), float(column.max())


def _range_end(column: np.ndarray, low: float, high: float) -> float:
    """Return the largest value that is reached from `high` without a wide gap."""
    above = np.unique(np.append(column[column > high], high))
    far = np.diff(above) > APART * (above[:-1] - low)
    return float(above[np.argmax(far)] if far.any() else above[-1])


def _edges(column: np.ndarray, intervals: int, low: float, high: float) -> tuple[float, ...]:
    """Return sorted edges: quantiles of the data, evenly spaced points of the usual range, and both ends.

    Half the edges follow the data, half the range, so that rare states get resolution too. If there are few
    distinct values, each is an edge, so that all stay distinguishable.
    """
    steps = np.linspace(0, 1, intervals + 1)
    values = np.unique(column)
    exact = values if len(values) <= len(steps) else np.quantile(column, steps)
    edges = np.unique(np.concatenate([exact, low + steps * (high - low), values[[0, -1]]]))
    # closer than this, the quotient of two float64 differences is rounding noise
    close = np.diff(edges) <= 4 * np.spacing(np.abs(edges[1:])) + 1e-300
    if len(values) <= len(steps):
        close &= ~np.isin(edges[1:], values)
    return tuple(edges[np.concatenate([[True], ~close])].tolist())


def _parts(space: spaces.Space[Any], actions: np.ndarray) -> list[ActionPart]:
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete) and not has_table(space):
        raise TutelageError(
            f"expected at most {TABLE_ROWS:,} actions to choose from, got {space}; wrap the environment to "
            "offer fewer, or numbers (Box)"
        )
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
    is_whole = np.issubdtype(space.dtype, np.integer)
    least, most = (np.iinfo(space.dtype).min, np.iinfo(space.dtype).max) if is_whole else (-np.inf, np.inf)
    # unbounded actions: the range of the demonstrations
    lows = np.where(space.low.ravel() == least, actions.min(0), space.low.ravel().astype(np.float64))
    highs = np.where(space.high.ravel() == most, actions.max(0), space.high.ravel().astype(np.float64))
    if is_whole and (highs - lows < BINS).all():
        sizes = highs - lows + 1
        return [ActionPart("choice", int(n), float(low)) for n, low in zip(sizes, lows, strict=True)]
    highs = np.where(highs > lows, highs, lows + 1.0)
    return [ActionPart("bins", BINS, float(low), float(high)) for low, high in zip(lows, highs, strict=True)]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
