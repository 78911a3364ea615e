"""Recorded observations are drawn: cameras as they are, numbers as curves with the step marked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tutelage.envs.drawing.observation_picture import WIDTH, ObservationPictures

STEPS = 6


def test_every_camera_is_shown_side_by_side_in_its_colors() -> None:
    red, green = (np.zeros((STEPS, 30, 40, 3), np.uint8) for _ in range(2))
    red[..., 0], green[..., 1] = 200, 100
    green[3:, ..., 1] = 250
    pictures = ObservationPictures({"left": red, "right": green})
    first, last = pictures.draw(0), pictures.draw(5)
    assert first.shape[1:] == (WIDTH, 3)
    assert (first[100, WIDTH // 4] == (200, 0, 0)).all()
    assert (first[100, WIDTH * 3 // 4] == (0, 100, 0)).all()
    assert (last[100, WIDTH * 3 // 4] == (0, 250, 0)).all()


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 4)])
def test_of_other_channels_the_last_is_gray(shape: tuple[int, ...]) -> None:
    frames = np.zeros((STEPS, *shape), np.uint8)
    if len(shape) == 3:
        frames[..., -1] = 77
    else:
        frames[...] = 77
    assert (ObservationPictures({"": frames}).draw(2)[100, 100] == 77).all()


def test_the_step_is_marked_and_words_stand_there() -> None:
    pictures = ObservationPictures(
        {"arm": np.arange(STEPS * 2.0).reshape(STEPS, 2), "say": np.array(["go"] * STEPS)}
    )
    assert pictures.words(0) == "go"
    marks = [np.flatnonzero((pictures.draw(step)[60] == (0xC2, 0x41, 0x0C)).all(1)) for step in range(STEPS)]
    middles = [int(mark.mean()) for mark in marks]
    assert middles == sorted(set(middles))
    assert len(np.unique(np.diff(middles))) <= 2  # equal distances, up to rounding


@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(0, 40)), elements=st.floats(width=64))
)
def test_any_numbers_are_drawn(numbers: np.ndarray) -> None:
    pictures = ObservationPictures({"state": numbers})
    for step in range(len(numbers)):
        assert pictures.draw(step).dtype == np.uint8
