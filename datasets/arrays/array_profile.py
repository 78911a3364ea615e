"""Profile the numbers of observations, by column: missing, constant, or outliers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

FENCE = 10.0
"""Multiples of the interquartile range beyond the quartiles; a number further out is an outlier."""

_WIDEST = 1024
"""Most numbers in a leaf that is profiled; images and grids have more and are skipped."""
_ROWS_AN_EPISODE, _ROWS = 64, 20_000
"""Most steps sampled of one episode and of a task, for quartiles only."""
_FEWEST = 10
"""Fewest episodes for reporting a constant column: in fewer, many columns are constant by chance."""
_RARE = 0.05
"""Largest share of outliers that is reported; a larger share is a mode of the distribution."""


@dataclass
class LeafProfile:
    """The columns `[k]` of one leaf over all steps: counts and bounds are exact, `sample` `[n, k]` is not."""

    steps: int
    nans: np.ndarray
    infinities: np.ndarray
    low: np.ndarray
    high: np.ndarray
    sample: np.ndarray
    episodes: int = 1

    @classmethod
    def of(cls, values: np.ndarray) -> LeafProfile:
        """Profile the steps `[n, k]` of an episode."""
        finite = np.isfinite(values)
        nans = np.isnan(values)
        stride = -(-len(values) // _ROWS_AN_EPISODE)
        return cls(
            len(values),
            nans.sum(0),
            (~finite & ~nans).sum(0),
            np.where(finite, values, np.inf).min(0),
            np.where(finite, values, -np.inf).max(0),
            values[::stride],
        )

    def join(self, other: LeafProfile) -> LeafProfile:
        """Merge two profiles of the same leaf."""
        remaining = max(0, _ROWS - len(self.sample))
        return LeafProfile(
            self.steps + other.steps,
            self.nans + other.nans,
            self.infinities + other.infinities,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            np.concatenate([self.sample, other.sample[:remaining]]),
            self.episodes + other.episodes,
        )


@dataclass
class ArrayProfile:
    """Profiles of the leaves of all tasks: (task, leaf path) → its columns."""

    leaves: dict[tuple[str, str], LeafProfile] = field(default_factory=dict)

    def add(self, task: str, observations: Mapping[str, np.ndarray]) -> None:
        """Profile the observations of an episode, leaf path → `[T+1, ...]`."""
        for path, array in observations.items():
            if array.dtype.kind in "biuf" and array.ndim <= 2 and array[0].size <= _WIDEST:
                self._add(task, path, LeafProfile.of(array.reshape(len(array), -1).astype(np.float64)))

    def join(self, other: ArrayProfile) -> None:
        """Merge another profile into this one."""
        for (task, path), leaf in other.leaves.items():
            self._add(task, path, leaf)

    def notes(self) -> list[str]:
        """List what is unusual about columns; columns with the same finding share a line."""
        return [
            f"{task}: {path or 'observation'}{_column_ranges(places, leaf)} {finding}"
            for (task, path), leaf in self.leaves.items()
            for finding, places in _unusual_columns(leaf).items()
        ]

    def _add(self, task: str, path: str, leaf: LeafProfile) -> None:
        before = self.leaves.get((task, path))
        if before is not None and before.nans.shape != leaf.nans.shape:
            return  # leaf sizes differ between episodes: training refuses such stores
        self.leaves[task, path] = leaf if before is None else before.join(leaf)


def _unusual_columns(leaf: LeafProfile) -> dict[str, list[int]]:
    """Map each finding, in words, to the columns that it describes."""
    unusual: dict[str, list[int]] = {}
    for column in range(len(leaf.nans)):
        for finding in _findings(leaf, column):
            unusual.setdefault(finding, []).append(column)
    return unusual


def _findings(leaf: LeafProfile, column: int) -> list[str]:
    words = [
        f"is {name} in {count:,} of {leaf.steps:,} observations"
        for name, count in (("NaN", leaf.nans[column]), ("infinite", leaf.infinities[column]))
        if count
    ]
    low, high = float(leaf.low[column]), float(leaf.high[column])
    if low == high and leaf.episodes >= _FEWEST:
        words.append(f"is always {low:.6g}" + (" where it is finite" if words else ""))
    elif low < high and (usual := _usual_range(leaf.sample[:, column])) is not None:
        far = [value for value, is_far in ((low, low < usual[0]), (high, high > usual[1])) if is_far]
        if far:
            extremes = " and ".join(f"{value:.6g}" for value in far)
            words.append(f"reaches {extremes}, far outside of {usual[2]:.6g} to {usual[3]:.6g}")
    return words


def _usual_range(sample: np.ndarray) -> tuple[float, float, float, float] | None:
    """Return the two fences, and the least and greatest number between them; None without a usual range."""
    values = sample[np.isfinite(sample)]
    if not len(values):
        return None
    first, third = np.quantile(values, (0.25, 0.75))
    reach = FENCE * (third - first)
    fences = float(first - reach), float(third + reach)
    within = values[(values >= fences[0]) & (values <= fences[1])]
    if reach <= 0 or len(within) < (1 - _RARE) * len(values):
        return None
    return *fences, float(within.min()), float(within.max())


def _column_ranges(columns: Sequence[int], leaf: LeafProfile) -> str:
    """Format columns of a leaf: nothing where it has one, else [0], [0-3, 7]."""
    if len(leaf.nans) == 1:
        return ""
    runs: list[list[int]] = []
    for column in columns:
        if runs and runs[-1][1] == column - 1:
            runs[-1][1] = column
        else:
            runs.append([column, column])
    return f"[{', '.join(str(a) if a == b else f'{a}-{b}' for a, b in runs)}]"
