"""Training windows: the steps of each batch are a function of (seed, step) alone."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...console.wording import counted
from ...errors import TutelageError
from .task_arrays import TaskArrays, load_columns

CHECKED = 10_000
"""Most batches that are checked before training for being empty."""

__all__ = ["Sampler", "TaskArrays", "WindowBatch", "load_columns"]


@dataclass(frozen=True)
class WindowBatch:
    """B windows of one task, packed end to end into S steps; no padding.

    `rows` int64 `[S]` indexes the columns; `lengths` int64 `[B]` sums to S; `observations` leaf path →
    `[S, ...]`; `actions` float64 `[S, k]`; `weight` float32 `[S]`; `legal` bool `[S, n]` or None.
    """

    rows: np.ndarray
    lengths: np.ndarray
    observations: dict[str, np.ndarray]
    actions: np.ndarray
    weight: np.ndarray
    legal: np.ndarray | None = None


class Sampler:
    """Batches of windows over the columns of several tasks, without replacement within an epoch.

    In every epoch of a task, each step of each episode with a positive weight comes exactly once:
    episodes of up to `window` steps as they are, longer ones cut into windows of `window` steps from a
    random phase (the first and the last piece may be shorter). The windows are shuffled, laid end to
    end, epoch after epoch, and batch b holds those that begin within its share of steps: so a batch has
    `steps_per_batch` steps on average, and a task is missing from a batch only if its share of it is
    smaller than a window. Resuming needs the step number alone.

    `weights` map task id → `[E]`, the episodes' loss weights (a missing task: all 1; 0 leaves an episode
    out). `shares` map task id → relative share of a batch; by default the square root of its steps.
    """

    def __init__(
        self,
        columns: Mapping[str, TaskArrays],
        window: int,
        steps_per_batch: int,
        weights: Mapping[str, np.ndarray] | None = None,
        seed: int = 0,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        if not columns or window < 1 or steps_per_batch < len(columns):
            raise TutelageError(
                f"expected tasks, window >= 1 and steps_per_batch >= their number, "
                f"got {counted(len(columns), 'task')}, {window} and {steps_per_batch}"
            )
        loss_weights = weights or {}
        self._streams = {
            task: _Stream(task, arrays, window, loss_weights.get(task, np.ones(len(arrays.starts) - 1)), seed)
            for task, arrays in columns.items()
        }
        self.steps = _divide(steps_per_batch, self._streams, shares)

    def batch(self, step: int) -> dict[str, WindowBatch]:
        """Return batch number `step` (from 0) by task id."""
        return {task: self._streams[task].gather(windows) for task, windows in self._windows(step).items()}

    def going_on(self, step: int) -> dict[str, WindowBatch]:
        """Return, for a batch in which no window begins, the window that covers its first step."""
        task = max(self.steps, key=lambda name: self.steps[name])
        return {task: self._streams[task].around(step * self.steps[task])}

    def part(self, step: int, number: int, parts: int) -> dict[str, WindowBatch]:
        """Return part `number` (from 0) of batch `step` divided into `parts`, which may be empty.

        Together the parts hold each window of the batch once, or the one of `going_on` where none begins in
        it. Each has about the same number of steps of each task; which part gets the odd window rotates.
        """
        windows = self._windows(step)
        if not windows:
            return {} if number else self.going_on(step)
        shares = {
            task: part.share((number - turn - step) % parts, parts)
            for turn, (task, part) in enumerate(windows.items())
        }
        return {task: self._streams[task].gather(share) for task, share in shares.items() if len(share)}

    def size(self, step: int) -> int:
        """Return the number of steps in batch `step`, all its parts together."""
        windows = self._windows(step)
        if not windows:
            return sum(len(examples.rows) for examples in self.going_on(step).values())
        return sum(int(begun.lengths.sum()) for begun in windows.values())

    def first_empty(self, steps: int) -> int | None:
        """Return the first of `steps` batches in which no window begins; None where there is none.

        Checks at most CHECKED batches, and none where a task's share is as large as its longest window.
        """
        filled = np.zeros(min(steps, CHECKED), bool)
        for task, stream in self._streams.items():
            if self.steps[task] >= stream.longest:
                return None
            filled |= stream.begun(self.steps[task], len(filled))
        return None if filled.all() else int(np.argmin(filled))

    def epoch(self, step: int) -> dict[str, float]:
        """Return the number of passes over each task's steps before batch `step`."""
        return {task: step * self.steps[task] / stream.size for task, stream in self._streams.items()}

    def _windows(self, step: int) -> dict[str, _Windows]:
        """Return the windows of batch number `step` by task; a task without any is missing."""
        windows = {
            task: stream.between(step * self.steps[task], (step + 1) * self.steps[task])
            for task, stream in self._streams.items()
        }
        return {task: begun for task, begun in windows.items() if len(begun)}


@dataclass(frozen=True)
class _Windows:
    """Windows of one task, not yet gathered: first row in the columns, length and episode of each."""

    begins: np.ndarray
    lengths: np.ndarray
    episodes: np.ndarray

    def __len__(self) -> int:
        return len(self.begins)

    def share(self, number: int, parts: int) -> _Windows:
        """Return the windows that begin in one of `parts` equal shares of the steps."""
        if parts == 1:
            return self
        before = np.cumsum(self.lengths) - self.lengths
        is_in = before * parts // self.lengths.sum() == number
        return _Windows(self.begins[is_in], self.lengths[is_in], self.episodes[is_in])


@dataclass(frozen=True)
class _Epoch:
    """One epoch's windows in order: first row in the columns, length and episode of each."""

    number: int
    begins: np.ndarray
    lengths: np.ndarray
    episodes: np.ndarray
    offsets: np.ndarray  # steps of this epoch before each window


class _Stream:
    """One task's windows, epoch after epoch, as one endless stream of steps."""

    def __init__(self, task: str, columns: TaskArrays, window: int, weights: np.ndarray, seed: int) -> None:
        if (
            weights.shape != (len(columns.starts) - 1,)
            or not np.isfinite(weights).all()
            or (weights < 0).any()
        ):
            raise TutelageError(
                f"expected {len(columns.starts) - 1} finite weights >= 0 for task {task!r}, "
                f"got shape {weights.shape}"
            )
        self._columns = columns
        self._window = window
        self._weights = weights.astype(np.float32)
        self._used = np.flatnonzero(self._weights)
        self._key = (seed % 2**64) << 64 | zlib.crc32(task.encode())
        self._lengths = np.diff(columns.starts)[self._used]
        self.size = int(self._lengths.sum())
        self.longest = min(window, int(self._lengths.max(initial=0)))
        self._cached: list[_Epoch] = []
        if not self.size:
            raise TutelageError(f"expected a weight above 0 for some episode of task {task!r}, got none")

    def between(self, begin: int, end: int) -> _Windows:
        """Return the windows that begin in `[begin, end)` of the stream."""
        pieces = []
        while begin < end:
            epoch = self._epoch(begin // self.size)
            low = begin - epoch.number * self.size
            high = min(end - epoch.number * self.size, self.size)
            first, last = np.searchsorted(epoch.offsets, (low, high))
            pieces.append((epoch, slice(first, last)))
            begin = epoch.number * self.size + high
        return _Windows(
            *(
                np.concatenate([getattr(epoch, name)[part] for epoch, part in pieces])
                for name in ("begins", "lengths", "episodes")
            )
        )

    def around(self, step: int) -> WindowBatch:
        """Gather the one window that contains step `step` of the stream."""
        epoch = self._epoch(step // self.size)
        index = int(np.searchsorted(epoch.offsets, step - epoch.number * self.size, "right")) - 1
        window = slice(index, index + 1)
        return self.gather(_Windows(epoch.begins[window], epoch.lengths[window], epoch.episodes[window]))

    def begun(self, size: int, count: int) -> np.ndarray:
        """Return in which of the first `count` spans of `size` steps a window begins, bool `[count]`."""
        has_window = np.zeros(count, bool)
        for number in range(-(-size * count // self.size)):
            shares = (self._epoch(number).offsets + number * self.size) // size
            has_window[shares[shares < count]] = True
        return has_window

    def gather(self, windows: _Windows) -> WindowBatch:
        """Read the steps of windows from the columns."""
        lengths = windows.lengths
        before = np.cumsum(lengths) - lengths
        rows = np.arange(lengths.sum()) + np.repeat(windows.begins - before, lengths)
        columns = self._columns
        return WindowBatch(
            rows=rows,
            lengths=lengths,
            observations={path: array.take(rows, axis=0) for path, array in columns.observations.items()},
            actions=columns.actions.take(rows, axis=0),
            weight=np.repeat(self._weights[windows.episodes], lengths),
            legal=None if columns.legal is None else columns.legal.take(rows, axis=0),
        )

    def _epoch(self, number: int) -> _Epoch:
        """Return an epoch; the last two are cached, since a batch may span both."""
        for epoch in self._cached:
            if epoch.number == number:
                return epoch
        self._cached = [*self._cached[-1:], self._lay_out(number)]
        return self._cached[-1]

    def _lay_out(self, number: int) -> _Epoch:
        random = np.random.Generator(np.random.Philox(key=self._key, counter=number << 128))
        window, lengths = self._window, self._lengths
        phase = np.where(lengths > window, random.integers(0, window, len(lengths)), 0)
        counts = (phase > 0) + -(-(lengths - phase) // window)
        episode = np.repeat(np.arange(len(lengths)), counts)
        nth = np.arange(len(episode)) - np.repeat(np.cumsum(counts) - counts, counts)
        begin = phase[episode] - window * (phase[episode] > 0) + window * nth  # the first may lie before 0
        end = np.minimum(begin + window, lengths[episode])
        begin = np.maximum(begin, 0)
        order = random.permutation(len(episode))
        used = self._used[episode[order]]
        sizes = (end - begin)[order]
        return _Epoch(
            number, self._columns.starts[used] + begin[order], sizes, used, np.cumsum(sizes) - sizes
        )


def _divide(total: int, streams: Mapping[str, _Stream], shares: Mapping[str, float] | None) -> dict[str, int]:
    """Divide a batch's steps among tasks, by largest remainder; every task gets at least one."""
    shares_by_task = (
        {task: float(np.sqrt(stream.size)) for task, stream in streams.items()} if shares is None else shares
    )
    if set(shares_by_task) != set(streams) or not all(share > 0 for share in shares_by_task.values()):
        raise TutelageError(
            f"expected a share above 0 for each of {', '.join(streams)}, got {dict(shares_by_task)}"
        )
    exact = {task: total * shares_by_task[task] / sum(shares_by_task.values()) for task in streams}
    steps = {task: max(1, int(count)) for task, count in exact.items()}
    while (remainder := total - sum(steps.values())) != 0:
        able = [task for task in steps if remainder > 0 or steps[task] > 1]
        furthest = max(able, key=lambda task: (exact[task] - steps[task]) * (1 if remainder > 0 else -1))
        steps[furthest] += 1 if remainder > 0 else -1
    return steps
