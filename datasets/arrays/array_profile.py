"""What the numbers of observations are like, by column: missing, constant, far outside of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

FENCE = 10.0
"""Quartile ranges beyond the middle half of the data within which a number is no outlier."""

_WIDEST = 1024
"""Numbers that a leaf may have to be looked at; pictures and grids are not."""
_ROWS_AN_EPISODE, _ROWS = 64, 20_000
"""Steps that are sampled of one episode and of a task, at most: for quartiles only."""
_FEWEST = 10
"""Episodes from which on a column that never changes is worth a look: in fewer, many have no reason to."""
_RARE = 0.05
"""Share of numbers that may lie far outside of the others; more of them are a distribution of its own."""


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
        """Look at the steps `[n, k]` of an episode."""
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
        """Put two profiles of the same leaf together."""
        room = max(0, _ROWS - len(self.sample))
        return LeafProfile(
            self.steps + other.steps,
            self.nans + other.nans,
            self.infinities + other.infinities,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            np.concatenate([self.sample, other.sample[:room]]),
            self.episodes + other.episodes,
        )


@dataclass
class ArrayProfile:
    """What has been seen of the leaves of tasks: (task, leaf path) → its columns."""

    leaves: dict[tuple[str, str], LeafProfile] = field(default_factory=dict)

    def add(self, task: str, observations: Mapping[str, np.ndarray]) -> None:
        """Look at the observations of an episode, leaf path → `[T+1, ...]`."""
        for path, array in observations.items():
            if array.dtype.kind in "biuf" and array.ndim <= 2 and array[0].size <= _WIDEST:
                self._add(task, path, LeafProfile.of(array.reshape(len(array), -1).astype(np.float64)))

    def join(self, other: ArrayProfile) -> None:
        """Add what another profile has seen."""
        for (task, path), leaf in other.leaves.items():
            self._add(task, path, leaf)

    def notes(self) -> list[str]:
        """Say in one line each what is unusual about columns; columns alike share a line."""
        return [
            f"{task}: {path or 'observation'}{_places(places, leaf)} {what}"
            for (task, path), leaf in self.leaves.items()
            for what, places in _unusual(leaf).items()
        ]

    def _add(self, task: str, path: str, leaf: LeafProfile) -> None:
        before = self.leaves.get((task, path))
        if before is not None and before.nans.shape != leaf.nans.shape:
            return  # another size in another episode: training refuses such stores
        self.leaves[task, path] = leaf if before is None else before.join(leaf)


def _unusual(leaf: LeafProfile) -> dict[str, list[int]]:
    """Map what is unusual, in words, to the columns that it is said of."""
    unusual: dict[str, list[int]] = {}
    for column in range(len(leaf.nans)):
        for what in _findings(leaf, column):
            unusual.setdefault(what, []).append(column)
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
    elif low < high and (usual := _usual(leaf.sample[:, column])) is not None:
        far = [value for value, is_far in ((low, low < usual[0]), (high, high > usual[1])) if is_far]
        if far:
            extremes = " and ".join(f"{value:.6g}" for value in far)
            words.append(f"reaches {extremes}, far outside of {usual[2]:.6g} to {usual[3]:.6g}")
    return words


def _usual(sample: np.ndarray) -> tuple[float, float, float, float] | None:
    """Return the fences, and the least and greatest number within; None where there are none."""
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


def _places(columns: Sequence[int], leaf: LeafProfile) -> str:
    """Write which columns of a leaf: nothing where it has one, else [0], [0-3, 7]."""
    if len(leaf.nans) == 1:
        return ""
    runs: list[list[int]] = []
    for column in columns:
        if runs and runs[-1][1] == column - 1:
            runs[-1][1] = column
        else:
            runs.append([column, column])
    return f"[{', '.join(str(a) if a == b else f'{a}-{b}' for a, b in runs)}]"
