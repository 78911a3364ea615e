"""Honest statistics: intervals for success and return, paired differences, and time to success.

All intervals are 95 % unless asked otherwise and cover one thing only: the luck of which seeds were
drawn. None of them covers a different training run, another suite, or people other than those who played.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from .errors import TutelageError

CONFIDENCE = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """An estimate with its bounds, from `n` episodes."""

    estimate: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Paired:
    """Two actors on the same seeds: how often both, only one or neither succeeded; `p` is two-sided."""

    both: int
    only_first: int
    only_second: int
    neither: int
    difference: Interval
    p: float


@dataclass(frozen=True)
class Curve:
    """Share solved within `steps` `[K]` steps, as a step function, with a pointwise band."""

    steps: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: int


def wilson(successes: float, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the success rate with Wilson's score interval (1927); `successes` may be a sum of shares.

    Covers the draw of seeds, also near 0 and 1 and for small n, where the textbook interval fails. Its
    coverage is 95 % on average over rates, not at each: it dips to about 0.92 at single rates and, very
    near 0 and 1, to about 0.84. Not covered: seeds that depend on each other, such as those that one
    person played.
    """
    if not 0 <= successes <= n or n < 1:
        raise TutelageError(f"expected 0 <= successes <= n and n >= 1, got {successes} of {n}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, more = successes / n, z * z / n
    center, reach = rate + more / 2, z * math.sqrt(rate * (1 - rate) / n + more / n / 4)
    low = (center - reach) / (1 + more) if successes else 0.0  # exactly, without the rounding of floats
    high = (center + reach) / (1 + more) if successes != n else 1.0
    return Interval(rate, low, high, n)


def mean_rate(rates: Sequence[Interval]) -> Interval:
    """Return the mean of several tasks' success rates, each weighing the same, from their own intervals.

    The bounds add up what each task's Wilson interval is unsure of (MOVER; Zou and Donner, Statistics in
    Medicine 27, 2008), so that, unlike a bootstrap, they keep their width where every episode succeeded.
    Covers the draw of seeds within these tasks; not the draw of the tasks, nor of the training run.
    """
    if not rates:
        raise TutelageError("expected at least one rate to average, got none")
    estimate, low, high = (
        np.array(column) for column in zip(*((r.estimate, r.low, r.high) for r in rates), strict=True)
    )
    mean = float(estimate.mean())
    below, above = (float(np.sqrt(((estimate - bounds) ** 2).sum())) / len(rates) for bounds in (low, high))
    return Interval(mean, max(0.0, mean - below), min(1.0, mean + above), sum(r.n for r in rates))


def mcnemar(first: np.ndarray, second: np.ndarray, confidence: float = CONFIDENCE) -> Paired:
    """Compare two actors' successes `[n]` on the same seeds.

    `p` is McNemar's exact test (the binomial test on the seeds where just one of them succeeded); the
    difference of success rates, first minus second, comes with Tango's score interval (Statistics in
    Medicine 17, 1998), whose statistic at a difference of 0 is McNemar's own.
    Covers the draw of seeds, given that both played each of them once. Does not cover: the
    many comparisons a report makes (nothing is corrected), or an actor's own randomness on a seed.
    """
    from scipy import stats

    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise TutelageError(f"expected two equally long lists, got {first.shape} and {second.shape}")
    b, c = int((first & ~second).sum()), int((~first & second).sum())
    p = float(stats.binomtest(b, b + c).pvalue) if b + c else 1.0
    low, high = _tango(b, c, first.size, confidence)
    return Paired(
        both=int((first & second).sum()),
        only_first=b,
        only_second=c,
        neither=int((~first & ~second).sum()),
        difference=Interval((b - c) / first.size, low, high, first.size),
        p=p,
    )


def _tango(b: int, c: int, n: int, confidence: float) -> tuple[float, float]:
    """Invert Tango's score statistic: the differences that it does not reject."""
    from scipy import optimize, stats

    z = float(stats.norm.ppf((1 + confidence) / 2))

    def score(difference: float) -> float:
        # q is the rate of "only second succeeded" that is likeliest if the difference were true
        linear = (2 * n - b + c) * difference - b - c
        q = (np.sqrt(max(linear**2 + 8 * n * c * difference * (1 - difference), 0.0)) - linear) / (4 * n)
        variance = n * (2 * q + difference * (1 - difference))
        return float((b - c - n * difference) / np.sqrt(max(variance, 1e-300)))

    estimate, edge = (b - c) / n, 1 - 1e-12
    low = -1.0 if score(-edge) <= z else optimize.brentq(lambda d: score(d) - z, -edge, estimate - 1e-12)
    high = 1.0 if score(edge) >= -z else optimize.brentq(lambda d: score(d) + z, estimate + 1e-12, edge)
    return float(low), float(high)


def mean_interval(
    values: np.ndarray, generator: np.random.Generator, confidence: float = CONFIDENCE
) -> Interval:
    """Return the mean of `[n]` values with a percentile bootstrap interval (`scipy.stats.bootstrap`).

    Covers the draw of seeds for any shape of distribution, given some dozens of values. With few values
    it is too narrow, and it knows nothing of a rare outcome that did not occur among them.
    """
    return task_mean([values], generator, confidence)


def paired_mean(
    first: np.ndarray, second: np.ndarray, generator: np.random.Generator, confidence: float = CONFIDENCE
) -> Interval:
    """Return the mean difference of two actors' returns `[n]` on the same seeds, first minus second.

    The pairs are resampled, so what a seed does to both alike cancels out; else as `mean_interval`.
    """
    return mean_interval(np.asarray(first, float) - np.asarray(second, float), generator, confidence)


def task_mean(
    scores: Sequence[np.ndarray], generator: np.random.Generator, confidence: float = CONFIDENCE
) -> Interval:
    """Return the mean over tasks, each weighing the same, of `scores`: one array of episodes a task.

    The interval is a stratified bootstrap: each task's episodes are resampled among themselves. Covers
    the draw of seeds within these tasks; not the draw of the tasks, nor of the training run. Where every
    episode scored the same it has no width: for success rates, use `mean_rate`.
    """

    def statistic(*tasks: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(np.mean([np.mean(task_scores, axis=axis) for task_scores in tasks], axis=0))

    return _bootstrap(scores, statistic, generator, confidence)


def interquartile_mean(
    scores: Sequence[np.ndarray], generator: np.random.Generator, confidence: float = CONFIDENCE
) -> Interval:
    """Return the mean of the middle half of all episodes' scores (IQM; Agarwal et al., 2021).

    A quarter of the episodes is cut off at each end, so neither a few disasters nor a few triumphs move
    it; tasks are stratified in the bootstrap and weigh as many episodes as they have. With scores of
    only 0 and 1 it says little beyond the mean. Covers and does not cover what `task_mean` does.
    """

    from scipy import stats

    def statistic(*tasks: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(stats.trim_mean(np.concatenate(tasks, axis=-1), 0.25, axis=axis))

    return _bootstrap(scores, statistic, generator, confidence)


def _bootstrap(
    samples: Sequence[np.ndarray], statistic: object, generator: np.random.Generator, confidence: float
) -> Interval:
    data = tuple(np.asarray(sample, float) for sample in samples)
    if not data or any(sample.ndim != 1 or not sample.size for sample in data):
        raise TutelageError(f"expected lists of at least one value, got {[sample.shape for sample in data]}")
    with np.errstate(all="ignore"):  # beyond what a float holds there is no interval: it comes out as NaN
        return _resampled(data, statistic, generator, confidence)


def _resampled(
    data: tuple[np.ndarray, ...], statistic: object, generator: np.random.Generator, confidence: float
) -> Interval:
    from scipy import stats

    estimate = float(statistic(*data, axis=-1))  # type: ignore[operator]
    n = sum(sample.size for sample in data)
    if not all(np.isfinite(values).all() for values in data):  # there is no interval around such a mean
        return Interval(estimate, math.nan, math.nan, n)
    if all(np.ptp(sample) == 0 for sample in data):
        return Interval(estimate, estimate, estimate, n)
    # a single value cannot be resampled by scipy; twice the same value is the same distribution
    data = tuple(np.repeat(sample, 2) if sample.size == 1 else sample for sample in data)
    interval = stats.bootstrap(
        data,
        statistic,
        n_resamples=RESAMPLES,
        batch=500,
        confidence_level=confidence,
        method="percentile",
        vectorized=True,
        rng=generator,
    ).confidence_interval
    return Interval(estimate, float(interval.low), float(interval.high), n)


def time_to_success(
    steps: np.ndarray, success: np.ndarray, limit: int, confidence: float = CONFIDENCE
) -> Curve:
    """Return the share of episodes solved within so many steps, from 0 to `limit`.

    An episode that failed, was given up or ran out of time counts as never solved, and the last point is
    the success rate. That is Kaplan and Meier's curve (1 minus survival) with every failure censored at
    the limit; since nothing is censored earlier, it is a plain share, and each point gets Wilson's interval.
    Covers the draw of seeds at each point by itself; the band as a whole holds less often than 95 %.
    """
    steps, success = np.asarray(steps), np.asarray(success, bool)
    if steps.shape != success.shape or not steps.size:
        raise TutelageError(f"expected as many steps as outcomes, got {steps.shape} and {success.shape}")
    solved = np.sort(steps[success])
    step_counts = np.unique(np.concatenate([[0], solved, [max(limit, solved[-1] if solved.size else 0)]]))
    counts = np.searchsorted(solved, step_counts, side="right")
    bounds = {int(k): wilson(int(k), steps.size, confidence) for k in np.unique(counts)}
    low = np.array([bounds[int(k)].low for k in counts])
    high = np.array([bounds[int(k)].high for k in counts])
    return Curve(step_counts, counts / steps.size, low, high, steps.size)
