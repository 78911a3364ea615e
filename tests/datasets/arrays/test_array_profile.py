"""Columns that are missing, constant or far outside of the others are named, and harm no policy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tutelage.agents.policy.encoding import fit_vector, quantile_features
from tutelage.cli.main import app
from tutelage.datasets.arrays.array_profile import ArrayProfile
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.support.played import store_of
from tutelage.tests.support.toy_numbers import MODULE, SIGNAL, right_actions
from typer.testing import CliRunner


def invoke(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None, result.output
    return result.stdout


def notes_of(*episodes: np.ndarray) -> list[str]:
    """Profile episodes one by one, as several processes do."""
    whole = ArrayProfile()
    for episode in episodes:
        part = ArrayProfile()
        part.add("task", {"leaf": episode})
        whole.join(part)
    return whole.notes()


def test_each_unusual_column_is_one_line_and_columns_alike_share_one() -> None:
    random = np.random.default_rng(0)
    values = random.uniform(0, 10, (1000, 8))
    values[7, 1] = np.nan
    values[8, 2] = -np.inf
    values[9, 3] = 1e9
    values[:, 4:7] = 3.25
    low, high = values[:, 0].min(), values[:, 0].max()
    assert notes_of(*np.split(values, 10)) == [
        "task: leaf[1] is NaN in 1 of 1,000 observations",
        "task: leaf[2] is infinite in 1 of 1,000 observations",
        *[note for note in notes_of(*np.split(values, 10)) if "1e+09" in note],
        "task: leaf[4-6] is always 3.25",
    ]
    assert any("leaf[3] reaches 1e+09, far outside of" in note for note in notes_of(values))
    assert low >= 0
    assert high <= 10
    assert notes_of(np.full((5,), np.nan)) == ["task: leaf is NaN in 5 of 5 observations"]
    assert notes_of(*[np.array([1.0, 1.0, np.inf])] * 10) == [
        "task: leaf is infinite in 10 of 30 observations",
        "task: leaf is always 1 where it is finite",
    ]


def test_what_a_few_episodes_never_changed_is_not_named() -> None:
    constant = np.full((100, 1), 2.5)
    assert notes_of(*[constant] * 9) == []
    assert notes_of(*[constant] * 10) == ["task: leaf is always 2.5"]


def test_usual_columns_are_not_named() -> None:
    random = np.random.default_rng(1)
    assert notes_of(random.normal(size=(500, 5))) == []
    assert notes_of(random.integers(0, 2, (500, 3))) == []
    assert notes_of(np.repeat([0.0, 1e6], 250)) == []
    assert notes_of(np.zeros((4, 7, 7, 3), np.uint8)) == [], "grids and pictures are not looked at"


KINDS = ("normal", "decades", "whole", "clock", "few", "clustered")


def drawn(kind: str, seed: int, count: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return {
        "normal": lambda: random.normal(size=count),
        "decades": lambda: 10 ** random.uniform(-12, 12, count) * random.choice([-1, 1], count),
        "whole": lambda: random.integers(-(10**6), 10**6, count).astype(float),
        "clock": lambda: 1.7e9 + random.uniform(0, 86400, count),
        "few": lambda: random.choice([0.0, 0.1, 1e-9, 7.5, -3.0], count),
        "clustered": lambda: random.choice([0.0, 1e3], count) + random.normal(size=count) * 1e-3,
    }[kind]()


@settings(max_examples=60)
@given(
    st.sampled_from(KINDS), st.integers(0, 2**32 - 1), st.integers(2, 600), st.integers(1, 64), st.booleans()
)
def test_order_and_distinctness_of_the_datas_own_values_survive(
    kind: str, seed: int, count: int, width: int, is_spoiled: bool
) -> None:
    column = drawn(kind, seed, count)
    if is_spoiled:
        column[0], column[-1] = np.inf, 1e30
    values = np.random.default_rng(seed).normal(size=(count, width))
    values[:, 0] = column
    leaf = fit_vector("", (width,), values)
    others = np.zeros((count, width))
    others[:, 0] = column
    features = quantile_features(leaf, others).astype(np.float64)
    assert np.isfinite(features).all()
    finite = np.isfinite(column)
    order = np.argsort(column[finite], kind="stable")
    ordered, climbed = column[finite][order], features[finite][order]
    assert (np.diff(climbed, axis=0) >= 0).all(), "expected the order of the values"
    edges = np.array(leaf.edges[0])
    place = np.clip(np.searchsorted(edges, ordered[:-1], side="right") - 1, 0, max(0, len(edges) - 2))
    interval = np.diff(edges)[place] if len(edges) > 1 else np.full(len(place), np.inf)
    held = np.diff(ordered) > interval * 2.0**-22  # nearer ones are the same float32 within their interval
    apart = np.abs(np.diff(climbed, axis=0)).sum(1) > 0
    assert apart[held].all(), "expected different values to stay different"


@pytest.mark.slow
def test_an_infinity_and_a_sentinel_are_named_and_a_policy_learns_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, MODULE)
    store = store_of(tmp_path / "store", SIGNAL, [right_actions(seed) for seed in range(40)])
    inspection = json.loads(invoke("inspect", store.path, "--json", "--workers", 1))
    assert inspection["problems"] == []
    assert inspection["columns"] == [
        "signal: observation[0] is infinite in 1 of 280 observations",
        "signal: observation[0] reaches 1e+30, far outside of 1 to 9",
        "signal: observation[2] is always 2.5",
    ]
    text = " ".join(invoke("inspect", store.path, "--workers", 1).split())
    assert "columns to look at: signal: observation[0] is infinite in 1 of 280 observations" in text
    run, measured = tmp_path / "run", tmp_path / "measured"
    small = ("--steps", 60, "--size", 1, "--batch-steps", 64, "--threads", 1)
    invoke("train", store.path, "-o", run, *small)
    figures = json.loads(
        invoke("evaluate", run, "-o", measured, "--episodes", 30, "--actor", "random", "--json")
    )
    cells = figures["tasks"]["signal"]
    assert cells["policy"]["success"]["estimate"] > 0.9
    assert cells["random"]["success"]["estimate"] < 0.1
