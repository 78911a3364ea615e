"""Intervals cover what they say, agree with published formulas, and depend on the generator handed in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from tutelage.errors import TutelageError
from tutelage.intervals import (
    interquartile_mean,
    mcnemar,
    mean_interval,
    mean_rate,
    paired_mean,
    task_mean,
    time_to_success,
    wilson,
)


def outcomes(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    one = [True] * both + [True] * first + [False] * second + [False] * neither
    two = [True] * both + [False] * first + [True] * second + [False] * neither
    return np.array(one), np.array(two)


def test_wilson_is_the_formula_of_1927() -> None:
    k, n, z = 81, 263, stats.norm.ppf(0.975)
    middle = (k / n + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))
    got = wilson(k, n)
    assert (got.low, got.high) == pytest.approx((middle - half, middle + half))
    # Newcombe's worked example, Statistics in Medicine 17 (1998), table I
    assert (round(got.low, 4), round(got.high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize(("k", "n"), [(0, 3), (1, 7), (40, 50), (9, 9), (0, 1)])
def test_wilson_is_scipys(k: int, n: int) -> None:
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    got = wilson(k, n)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high))


@given(st.integers(1, 400), st.data())
def test_wilson_holds_its_estimate_and_stays_within_0_and_1(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    got, mirrored = wilson(k, n), wilson(n - k, n)
    assert 0 <= got.low <= got.estimate + 1e-12
    assert got.estimate - 1e-12 <= got.high <= 1
    assert got.low == pytest.approx(1 - mirrored.high)
    wider = wilson(k, n, 0.99)
    assert wider.low <= got.low + 1e-12
    assert wider.high >= got.high - 1e-12


@pytest.mark.parametrize("n", [16, 64, 256])
def test_wilson_covers_at_its_rate_over_a_grid(n: int) -> None:
    bounds = [wilson(k, n) for k in range(n + 1)]
    low, high = np.array([b.low for b in bounds]), np.array([b.high for b in bounds])
    rates = np.linspace(0.02, 0.98, 97)
    # exact, not simulated: the probability of every count whose interval holds the rate
    covered = [stats.binom.pmf(np.arange(n + 1), n, p)[(low <= p) & (p <= high)].sum() for p in rates]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.01)
    assert min(covered) > 0.83


def test_a_mean_of_rates_keeps_its_width_where_everything_succeeded() -> None:
    one = wilson(12, 12)
    found = mean_rate([one] * 4)
    assert (found.estimate, found.high, found.n) == (1.0, 1.0, 48)
    assert found.low == pytest.approx(1 - (1 - one.low) / 2)  # four tasks halve the doubt
    assert mean_rate([one]) == one


@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.99, 0.9, 0.75, 1.0, 0.97), (0.05, 0.2, 0.9)])
def test_a_mean_of_rates_covers_at_its_rate_in_simulation(rates: tuple[float, ...]) -> None:
    generator = np.random.default_rng(2)
    counts = generator.binomial(64, rates, size=(1000, len(rates)))
    table = [wilson(k, 64) for k in range(65)]
    found = [mean_rate([table[k] for k in row]) for row in counts]
    covered = np.mean([one.low <= np.mean(rates) <= one.high for one in found])
    assert 0.93 <= covered <= 0.99


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_impossible_counts(k: int, n: int) -> None:
    with pytest.raises(TutelageError, match="expected 0 <= successes"):
        wilson(k, n)


def test_mcnemar_is_the_exact_binomial_test_on_the_seeds_where_they_differ() -> None:
    got = mcnemar(*outcomes(40, 8, 1, 15))
    assert (got.both, got.only_first, got.only_second, got.neither) == (40, 8, 1, 15)
    assert got.p == pytest.approx(2 * sum(stats.binom.pmf([0, 1], 9, 0.5)))
    assert got.difference.estimate == pytest.approx(7 / 64)


def likelihood_score(b: int, c: int, n: int, difference: float) -> float:
    """Tango's statistic by brute force: maximise the likelihood numerically under the difference."""
    rest = n - b - c

    def negative(q: float) -> float:
        p = q + difference
        if p < 0 or 1 - p - q < 0:
            return np.inf
        logs = [
            count * np.log(max(rate, 1e-300)) for count, rate in ((b, p), (c, q), (rest, 1 - p - q)) if count
        ]
        return -float(sum(logs))

    low, high = max(0.0, -difference), (1 - difference) / 2
    q = optimize.minimize_scalar(negative, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return (b - c - n * difference) / np.sqrt(n * (2 * q + difference * (1 - difference)))


@pytest.mark.parametrize(("b", "c", "n"), [(12, 9, 40), (3, 0, 20), (30, 11, 256), (1, 14, 64)])
def test_tangos_bounds_are_where_the_score_statistic_reaches_its_quantile(b: int, c: int, n: int) -> None:
    found = mcnemar(*outcomes(0, b, c, n - b - c)).difference
    z = stats.norm.ppf(0.975)
    assert likelihood_score(b, c, n, found.low) == pytest.approx(z, abs=2e-3)
    assert likelihood_score(b, c, n, found.high) == pytest.approx(-z, abs=2e-3)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_the_paired_difference_is_antisymmetric_and_held(a: int, b: int, c: int, d: int) -> None:
    if not a + b + c + d:
        return
    first, second = outcomes(a, b, c, d)
    there, back = mcnemar(first, second), mcnemar(second, first)
    assert -1 <= there.difference.low <= there.difference.estimate + 1e-9
    assert there.difference.estimate - 1e-9 <= there.difference.high <= 1
    assert there.difference.low == pytest.approx(-back.difference.high, abs=1e-6)
    assert there.p == pytest.approx(back.p)
    assert 0 < there.p <= 1 + 1e-12


def test_the_paired_interval_covers_at_its_rate_in_simulation() -> None:
    generator = np.random.default_rng(7)
    for rates in ([0.6, 0.2, 0.1, 0.1], [0.9, 0.06, 0.01, 0.03], [0.3, 0.05, 0.05, 0.6]):
        counts = generator.multinomial(64, rates, size=400)
        found = [mcnemar(*outcomes(*row)).difference for row in counts]
        truth = rates[1] - rates[2]
        covered = np.mean([one.low <= truth <= one.high for one in found])
        assert 0.92 <= covered <= 0.99


def test_the_bootstrap_covers_a_mean_at_about_its_rate() -> None:
    generator = np.random.default_rng(3)
    found = [mean_interval(generator.exponential(2.0, 60), generator) for _ in range(150)]
    assert 0.88 <= np.mean([one.low <= 2.0 <= one.high for one in found]) <= 1.0


def test_the_same_generator_gives_the_same_interval_and_the_global_one_has_no_say() -> None:
    values = np.random.default_rng(0).normal(size=50)
    scores = [values, values[:20] + 1]
    for statistic in (task_mean, interquartile_mean):
        np.random.seed(1)  # noqa: NPY002
        first = statistic(scores, np.random.default_rng(5))
        np.random.seed(2)  # noqa: NPY002
        assert statistic(scores, np.random.default_rng(5)) == first
        assert statistic(scores, np.random.default_rng(6)) != first


def test_each_task_weighs_the_same_in_the_mean_and_by_its_episodes_in_the_iqm() -> None:
    scores = [np.zeros(30), np.ones(10)]
    generator = np.random.default_rng(0)
    assert task_mean(scores, generator).estimate == 0.5
    assert interquartile_mean(scores, generator).estimate == 0.0


def test_the_stratified_bootstrap_never_mixes_tasks() -> None:
    # each task alone has no spread, so a bootstrap within tasks has none either
    found = task_mean([np.full(8, 0.2), np.full(8, 0.8)], np.random.default_rng(0))
    assert (found.low, found.estimate, found.high) == (0.5, 0.5, 0.5)


def test_iqm_cuts_a_quarter_at_each_end() -> None:
    values = np.array([-1000.0, 1, 2, 3, 4, 5, 6, 1000])
    assert interquartile_mean([values], np.random.default_rng(0)).estimate == pytest.approx(3.5)


def test_pairing_cancels_what_a_seed_does_to_both() -> None:
    generator = np.random.default_rng(0)
    seeds = generator.normal(scale=100, size=80)
    found = paired_mean(seeds + 1 + generator.normal(size=80), seeds, generator)
    assert 0.5 < found.low < found.high < 1.5


def test_one_value_has_an_interval_without_width() -> None:
    found = mean_interval(np.array([4.0]), np.random.default_rng(0))
    assert (found.low, found.estimate, found.high, found.n) == (4.0, 4.0, 4.0, 1)


def test_no_values_are_refused() -> None:
    with pytest.raises(TutelageError, match="at least one value"):
        mean_interval(np.array([]), np.random.default_rng(0))


def test_time_to_success_is_kaplan_meier_with_failures_censored_at_the_limit() -> None:
    generator = np.random.default_rng(1)
    steps = generator.integers(1, 60, 80)
    success = generator.random(80) < 0.7
    curve = time_to_success(steps, success, 64)
    data = stats.CensoredData(uncensored=steps[success], right=np.full((~success).sum(), 64))
    reference = stats.ecdf(data).cdf
    assert curve.share == pytest.approx(reference.evaluate(curve.steps))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=60))
def test_the_curve_rises_to_the_success_rate_within_its_band(episodes: list[tuple[int, bool]]) -> None:
    steps = np.array([one for one, _ in episodes])
    success = np.array([one for _, one in episodes])
    curve = time_to_success(steps, success, 50)
    assert (np.diff(curve.share) >= 0).all()
    assert curve.share[-1] == pytest.approx(success.mean())
    assert (curve.steps[0], curve.steps[-1]) == (0, 50)
    assert (curve.low <= curve.share + 1e-12).all()
    assert (curve.share <= curve.high + 1e-12).all()


def test_returns_that_no_float_holds_have_no_interval() -> None:
    interval = mean_interval(np.array([1.0, np.inf, 2.0]), np.random.default_rng(0))
    assert interval.estimate == np.inf
    assert not np.isfinite(interval.high)
