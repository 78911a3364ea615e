"""Colours as they are on a page and as they are said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tutelage.agents.policy.web.color_features import SORTS, likeness, named_in, rgba_of, sort_of

COLOURS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=9)
BLUE, NAVY, SKY, RED, GREY = 0x0000FFFF, 0x16168DFF, 0x7272DFFF, 0xFF0000FF, 0x808080FF


def test_colours_are_known_by_their_names_in_style_sheets() -> None:
    assert named_in(["click", "on", "purple", "and", "red"]).tolist() == [[128, 0, 128], [255, 0, 0]]
    assert named_in(["nothing"]).shape == (0, 3)


def test_a_named_colour_is_alike_in_all_and_its_shades_in_hue() -> None:
    alike = likeness(rgba_of([BLUE, NAVY, SKY, RED, GREY]), named_in(["blue"]))
    assert alike[0] == pytest.approx([1, 1])
    assert alike[1:3, 1] == pytest.approx([1, 1], abs=0.01)
    assert (alike[1:3, 0] < 0.5).all()
    assert alike[3:].max() == 0


def test_a_grey_has_no_hue_and_is_alike_in_all() -> None:
    assert likeness(rgba_of([GREY, BLUE]), named_in(["grey"])).tolist() == [[1, 0], [0, 0]]


def test_what_is_clear_is_like_nothing_and_of_a_sort_of_its_own() -> None:
    clear = rgba_of([0x0000FF00])
    assert likeness(clear, named_in(["blue"])).tolist() == [[0, 0]]
    assert sort_of(clear).tolist() == [SORTS - 1]


@given(COLOURS, COLOURS)
def test_any_colours_can_be_sorted_and_compared(seen: list[int], said: list[int]) -> None:
    rgba = rgba_of([*seen, -1])  # as JavaScript packs white
    assert (rgba >= 0).all()
    assert (rgba < 256).all()
    assert ((sort_of(rgba) >= 0) & (sort_of(rgba) < SORTS)).all()
    alike = likeness(rgba, rgba_of(said)[:, :3].astype(float))
    assert alike.shape == (len(rgba), 2)
    assert ((alike >= 0) & (alike <= 1)).all()
    assert np.isfinite(alike).all()
