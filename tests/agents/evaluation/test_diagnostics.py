"""Habits are counted right, and the policy stands beside what it was taught with."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor
from tutelage.agents.evaluation.comparison import Comparison
from tutelage.agents.evaluation.diagnostics import diagnose, entropy, repeat_rate, still_rate
from tutelage.agents.evaluation.evaluate import evaluate
from tutelage.datasets.simulation.simulated_crowd import simulate
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from

SUITE = suite_from(
    {"suite": "toy", "tasks": [{"id": "go", "env": "BabyAI-GoToRedBallGrey-v0", "expert": "babyai"}]}
)


def column(*actions: float) -> np.ndarray:
    return np.array(actions)[:, None]


def test_repeats_are_counted_within_episodes_only() -> None:
    assert repeat_rate([column(1, 1, 2), column(2, 2)]) == pytest.approx(2 / 3)
    assert math.isnan(repeat_rate([column(1)]))


def test_standing_still_means_that_no_leaf_changed() -> None:
    image, text = np.array([[0, 1], [0, 1], [0, 2]]), np.array(["a", "a", "a"])
    assert still_rate([{"image": image, "mission": text}]) == 0.5
    assert still_rate([{"image": image, "mission": np.array(["a", "b", "b"])}]) == 0.0


def test_entropy_is_bits_from_none_to_all() -> None:
    space = spaces.Discrete(4)
    assert entropy(column(2, 2, 2), space) == (0.0, 2.0)
    assert entropy(column(0, 1, 2, 3), space) == (2.0, 2.0)


def test_continuous_actions_are_sorted_into_bins_first() -> None:
    box = spaces.Box(-2, 2, (1,))
    bits, most = entropy(column(*np.linspace(-2, 2, 1601)), box)
    assert most == 4.0
    assert bits == pytest.approx(4.0, abs=0.01)
    assert entropy(column(0.01, 0.02), box)[0] == 0.0
    unbounded = spaces.Box(-np.inf, np.inf, (1,))
    assert entropy(column(0.0, 5.0), unbounded)[0] == 1.0


@given(st.lists(st.integers(0, 5), min_size=1, max_size=50))
def test_entropy_never_passes_its_limit(actions: list[int]) -> None:
    bits, most = entropy(column(*actions), spaces.Discrete(6))
    assert 0 <= bits <= most + 1e-9


def test_actors_stand_beside_the_demonstrations(tmp_path: Path) -> None:
    found = evaluate(SUITE, [ExpertActor(), ChanceActor()], episodes=6)
    store = Store.create(tmp_path, SUITE)
    simulate(SUITE, store, {"go": 8})
    by_actor = {
        one.actor: one for one in diagnose(SUITE, Comparison(found.rows), found.trajectories, [store])
    }
    assert list(by_actor) == ["expert", "random", "demonstrations"]
    assert by_actor["expert"].detour == 1.0
    assert by_actor["random"].still_rate > by_actor["expert"].still_rate
    assert by_actor["random"].entropy > by_actor["expert"].entropy
    assert math.isnan(by_actor["demonstrations"].detour)
