"""Continuous actions are scaled by what is usual, cut at the ends of windows, and carried out in order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tutelage.agents.policy.action_chunks import (
    DECAY,
    ChunkPlayer,
    chunk_targets,
    fit_chunks,
    is_continuous,
    scale,
    unscale,
)
from tutelage.agents.policy.action_parts import FlowSpec
from tutelage.agents.policy.encoding import IOSpec

BOUNDED = spaces.Box(np.float32([-1, 0]), np.float32([1, 5]))
OPEN = spaces.Box(-np.inf, np.inf, (2,), np.float64)
LARGEST = spaces.Box(-3e38, 3e38, (2,), np.float32)
NORMAL = np.random.default_rng(0).normal([0, 2], [0.3, 0.5], (400, 2)).clip([-1, 0], [1, 5])


def interface(space: spaces.Space[Any], actions: np.ndarray, chunk: int = 4, replan: int = 0) -> IOSpec:
    return IOSpec((), *fit_chunks(space, actions, chunk, replan))


@given(
    st.sampled_from([BOUNDED, OPEN]),
    arrays(np.float64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.floats(-1e6, 1e6)),
    arrays(np.float64, (5, 2), elements=st.floats(-2, 8)),
)
def test_decoding_is_the_inverse_of_encoding_within_the_bounds(
    space: spaces.Box, data: np.ndarray, actions: np.ndarray
) -> None:
    fitted = interface(space, data)
    assert fitted.flow is not None
    low, high = (np.array([getattr(part, end) for part in fitted.parts]) for end in ("low", "high"))
    assert (low < high).all()
    assert (space.low <= low).all()
    assert (high <= space.high).all()
    within = np.clip(actions, low, high)
    assert unscale(fitted, scale(fitted.flow, within)) == pytest.approx(within, rel=1e-6, abs=1e-6)
    wild = unscale(fitted, np.array([[-1e9, 1e9]]))
    assert (low <= wild).all()
    assert (wild <= high).all()


@pytest.mark.parametrize("space", [BOUNDED, OPEN, LARGEST])
@pytest.mark.parametrize("sentinel", [np.nan, np.inf, -np.inf, 1e9, -999.0])
def test_sentinels_change_nothing_and_teach_nothing(space: spaces.Box, sentinel: float) -> None:
    actions = NORMAL.copy()
    actions[::20, 0] = sentinel
    fitted, clean = interface(space, actions), interface(space, NORMAL)
    assert fitted.flow is not None
    assert clean.flow is not None
    assert np.array(fitted.flow.ranges) == pytest.approx(np.array(clean.flow.ranges), rel=0.2, abs=0.1)
    chunks, teaches = chunk_targets(fitted, actions, np.array([200, 200]))
    assert not teaches[::20, 0, 0].any()
    assert teaches[1::20, 0].all()
    assert np.isfinite(chunks).all()
    assert np.abs(chunks).max() < 10


def test_rare_actions_within_the_bounds_are_taught() -> None:
    actions = np.random.default_rng(0).normal((0, 1), 0.001, (400, 2))
    actions[::40] = [1, 5]  # such as a gripper that closes now and then
    fitted = interface(BOUNDED, actions)
    chunks, teaches = chunk_targets(fitted, actions, np.array([400]))
    assert teaches[:, 0].all()
    assert np.abs(chunks).max() < 20
    assert unscale(fitted, chunks[:, 0]) == pytest.approx(actions, abs=1e-6)


def test_a_number_that_never_changes_is_kept() -> None:
    actions = np.tile([0.25, 2.0], (9, 1))
    fitted = interface(BOUNDED, actions)
    assert fitted.flow is not None
    assert unscale(fitted, scale(fitted.flow, actions)) == pytest.approx(actions)


def test_a_chunk_ends_with_its_window() -> None:
    actions = np.arange(14.0).reshape(7, 2) / 14
    fitted = interface(BOUNDED, actions, chunk=3)
    assert fitted.flow is not None
    chunks, teaches = chunk_targets(fitted, actions, np.array([4, 3]))
    assert teaches[..., 0].sum(1).tolist() == [3, 3, 2, 1, 3, 2, 1]
    assert chunks[1, :, 0] == pytest.approx(scale(fitted.flow, actions)[1:4, 0])
    assert not chunks[~teaches].any()


def test_a_chunk_is_played_to_its_replan_and_then_the_next() -> None:
    player = ChunkPlayer.of(FlowSpec(4, 2, ((0.0, 1.0),)), 3)
    rows = np.array([0, 2])
    for time in range(6):
        due = player.due(rows, time)
        assert due.tolist() == ([0, 2] if time % 2 == 0 else [])
        player.add(due, time, np.arange(8.0).reshape(2, 4, 1)[: len(due)] + 100 * time)
        assert player.numbers(rows, time)[:, 0].tolist() == [
            100 * (time - time % 2) + time % 2 + first for first in (0, 4)
        ]


def test_overlapping_chunks_are_averaged_newest_first() -> None:
    player = ChunkPlayer.of(FlowSpec(3, 0, ((0.0, 1.0),)), 1)
    rows, chunks = np.array([0]), np.random.default_rng(0).normal(size=(6, 3))
    for time in range(6):
        assert player.due(rows, time).tolist() == [0]
        player.add(rows, time, chunks[time].reshape(1, 3, 1))
        ages = np.arange(min(time + 1, 3))
        weights = np.exp(-DECAY * ages) / np.exp(-DECAY * ages).sum()
        expected = sum(weight * chunks[time - age, age] for age, weight in zip(ages, weights, strict=True))
        assert player.numbers(rows, time)[0, 0] == pytest.approx(expected)


def test_only_boxes_of_floats_are_continuous() -> None:
    assert is_continuous(BOUNDED)
    assert is_continuous(spaces.Dict({"arm": BOUNDED, "hand": OPEN}))
    assert not is_continuous(spaces.Dict({"arm": BOUNDED, "hand": spaces.Discrete(2)}))
    assert not is_continuous(spaces.Box(0, 255, (2,), np.uint8))
    assert not is_continuous(spaces.Dict({}))
