"""Text that was read cannot act where it is shown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tutelage.console.printable import csv_cell, printable


@given(st.text())
def test_nothing_that_acts_is_left(text: str) -> None:
    shown = printable(text)
    assert not {"Cc", "Cs", "Zl", "Zp"} & {unicodedata.category(char) for char in shown}
    assert not {"\n", "\r", "\x1b", "\x9b", "\u202e", "\u2028"} & set(shown)
    shown.encode("utf-8")


@given(st.text(st.characters(categories=("L", "N", "P", "Sm", "Sc", "So"))))
def test_ordinary_text_of_any_language_stays(text: str) -> None:
    assert printable(text) == text


def test_line_feeds_stay_where_lines_are_shown() -> None:
    assert printable("a\nb\x1b[2J", lines=True) == "a\nb\\x1b[2J"
    assert printable("a\nb") == "a\\nb"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_a_cell_that_a_spreadsheet_would_compute_is_text(text: str) -> None:
    assert str(csv_cell(text))[0] in "'\\"


def test_numbers_stay_numbers_in_cells() -> None:
    assert csv_cell(-1.5) == -1.5
    assert csv_cell("go") == "go"
