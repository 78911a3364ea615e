"""Chunks of continuous actions: how they are scaled, cut from episodes, and carried out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from gymnasium import spaces

from ...envs.spaces import action_size, leaves
from .action_parts import BINS, ActionPart, FlowSpec
from .encoding import LOOKED_AT, IOSpec, fit_vector

DECAY = 0.1
"""Weights of overlapping chunks fall by this much a step of age, as `exp(-DECAY * age)`."""

REACH = 4.0
"""Actions of the data lie within this many usual ranges: rare ones are not scaled to huge numbers."""


FAR = 1000.0
"""Bounds that are so many usual ranges away are none."""


def is_continuous(space: spaces.Space) -> bool:
    """Return whether every number of an action is a real number, of a Box of floats."""
    inner = [leaf.space for leaf in leaves(space)]
    is_real = all(isinstance(box, spaces.Box) and np.issubdtype(box.dtype, np.floating) for box in inner)
    return is_real and action_size(space) > 0


def fit_chunks(
    space: spaces.Space, actions: np.ndarray, chunk: int, replan: int
) -> tuple[tuple[ActionPart, ...], FlowSpec]:
    """Fit the bounds and the usual ranges of continuous actions `[N, k]`.

    A number without bounds in the space, or with bounds beyond FAR, gets those of its usual range in the
    data, see `encoding.fit_vector`; sentinels, NaN and infinities fit nothing.
    """
    boxes = [leaf.space for leaf in leaves(space)]
    lows, highs = (
        np.concatenate([np.asarray(getattr(box, end), np.float64).ravel() for box in boxes])
        for end in ("low", "high")
    )
    space_lows, actions = lows, actions[:LOOKED_AT]
    spans = np.array(fit_vector("", (len(lows),), actions).spans)
    reach = FAR * np.maximum(spans[:, 1] - spans[:, 0], 1.0)
    lows = np.where(spans[:, 0] - lows <= reach, lows, np.minimum(spans[:, 0], highs))
    highs = np.where(highs - spans[:, 1] <= reach, highs, np.maximum(spans[:, 1], lows))
    least_range = np.maximum(1.0, 1e-6 * np.abs(lows))
    # data beyond a bound: the range ends at the bound
    lows = np.where(highs > lows, lows, np.maximum(space_lows, highs - least_range))
    highs = np.where(highs > lows, highs, lows + least_range)
    parts = tuple(
        ActionPart("bins", BINS, low, high) for low, high in zip(lows.tolist(), highs.tolist(), strict=True)
    )
    bounded = bound(parts, actions)
    ranges = []
    for column, span in zip(bounded.T, fit_vector("", (len(lows),), bounded).spans, strict=True):
        column = column[np.isfinite(column)]
        least, most = (column.min(), column.max()) if len(column) else span
        middle, width = (span[0] + span[1]) / 2, max(span[1] - span[0], (most - least) / (2 * REACH))
        width = max(width, 1e-6 * max(1.0, abs(middle)))  # a constant number
        ranges.append((middle - width / 2, middle + width / 2))
    return parts, FlowSpec(chunk, replan, tuple(ranges))


def bound(parts: Sequence[ActionPart], actions: np.ndarray) -> np.ndarray:
    """Clip actions `[N, k]` to their bounds; NaN for what teaches nothing: sentinels, NaN and infinities.

    A sentinel is farther outside of the bounds than these are apart.
    """
    low, high = (np.array([getattr(part, end) for part in parts]) for end in ("low", "high"))
    is_near = np.abs(actions - (low + high) / 2) <= 1.5 * (high - low)
    return np.where(is_near, np.clip(actions, low, high), np.nan)


def scale(spec: FlowSpec, actions: np.ndarray) -> np.ndarray:
    """Map actions `[..., k]` so that their usual range is [-1, 1]."""
    low, high = np.array(spec.ranges).T
    return 2 * (actions - low) / (high - low) - 1


def unscale(interface: IOSpec, numbers: np.ndarray) -> np.ndarray:
    """Map scaled numbers `[..., k]` back to actions within their bounds: the inverse of `scale`."""
    assert interface.flow is not None
    low, high = np.array(interface.flow.ranges).T
    least, most = (np.array([getattr(part, end) for part in interface.parts]) for end in ("low", "high"))
    return np.clip(low + (numbers.astype(np.float64) + 1) / 2 * (high - low), least, most)


def chunk_targets(
    interface: IOSpec, actions: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the scaled chunk that begins at each step, float32 `[S, chunk, k]`, and which numbers teach.

    Actions `[S, k]` lie window after window, `lengths` `[B]`. Numbers after a window's end teach nothing, nor
    do those that `bound` leaves out; they are 0.
    """
    assert interface.flow is not None
    numbers = scale(interface.flow, bound(interface.parts, actions))
    ends = np.repeat(np.cumsum(lengths), lengths)
    steps = np.arange(len(actions))[:, None] + np.arange(interface.flow.chunk)
    is_inside = steps < ends[:, None]
    chunks = numbers[np.where(is_inside, steps, 0)]
    teaches = is_inside[:, :, None] & np.isfinite(chunks)
    return np.where(teaches, chunks, 0).astype(np.float32), teaches


@dataclass
class ChunkPlayer:
    """The chunks that running episodes of one task carry out, one row an episode.

    `chunks` `[N, slots, chunk, k]` is a ring buffer by time, with one slot where a chunk is played before the
    next is generated, and `chunk` slots where overlapping chunks are averaged; `begun` int `[N, slots]` is
    the time step of each chunk's first action, -1 for an empty slot.
    """

    spec: FlowSpec
    chunks: np.ndarray = field(repr=False)
    begun: np.ndarray

    @classmethod
    def of(cls, spec: FlowSpec, episodes: int) -> ChunkPlayer:
        """Return the state of episodes that have no chunk yet."""
        slots = 1 if spec.replan else spec.chunk
        chunks = np.zeros((episodes, slots, spec.chunk, len(spec.ranges)))
        return cls(spec, chunks, np.full((episodes, slots), -1))

    def due(self, rows: np.ndarray, time: int) -> np.ndarray:
        """Return those of the episodes `rows` `[A]` that need a new chunk at a time step."""
        if not self.spec.replan:
            return rows
        begun = self.begun[rows, 0]
        return rows[(begun < 0) | (time - begun >= self.spec.replan)]

    def add(self, rows: np.ndarray, time: int, chunks: np.ndarray) -> None:
        """Store new scaled chunks `[A, chunk, k]` of episodes `rows`."""
        slot = time % self.begun.shape[1]
        self.chunks[rows, slot], self.begun[rows, slot] = chunks, time

    def numbers(self, rows: np.ndarray, time: int) -> np.ndarray:
        """Return the scaled action `[A, k]` of each episode at a time step."""
        age = time - self.begun[rows]
        is_open = (self.begun[rows] >= 0) & (age < self.spec.chunk)
        weight = np.where(is_open, np.exp(-DECAY * age), 0.0)
        weight /= weight.sum(1, keepdims=True)
        # `[A, slots, k]`: what each chunk has for this step
        age = np.where(is_open, age, 0)
        options = self.chunks[rows[:, None], np.arange(age.shape[1]), age]
        return np.asarray((weight[:, :, None] * options).sum(1))
