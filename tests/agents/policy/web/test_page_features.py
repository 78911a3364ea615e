from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tutelage.agents.policy.web.page_features import (
    AMOUNTS,
    ATTRIBUTES,
    ELEMENT_SIZES,
    WORD_SIZES,
    extract_features,
    places_of,
    tokens_of,
)
from tutelage.agents.policy.word_embedding import BUCKETS, buckets_of
from tutelage.tests.support.toy_page import page

TEXTS = st.text(max_size=30)


def test_words_numbers_and_marks_are_tokens() -> None:
    assert tokens_of("Enter 7:29AM, @jo_e!") == (
        *("enter", "7", ":", "29", "am", ",", "@"),
        *("jo", "_", "e", "!"),
    )


@given(st.text(st.characters(codec="ascii"), max_size=60))
def test_tokens_stand_where_they_are_said_to(sentence: str) -> None:
    found = [sentence[begin:end].lower() for begin, end in places_of(sentence)]
    assert tuple(found) == tokens_of(sentence)


@given(TEXTS, st.lists(st.tuples(st.sampled_from(["t", "BUTTON"]), TEXTS, st.none() | TEXTS), max_size=6))
def test_whatever_a_page_says_the_numbers_are_within_their_tables(
    instruction: str, elements: list[tuple[str, str, str | None]]
) -> None:
    rows = extract_features(instruction, page(*elements))
    assert rows.words.shape[1] == len(WORD_SIZES)
    assert (rows.words >= 0).all()
    assert (rows.words < WORD_SIZES).all()
    assert rows.elements.shape == (len(elements) + 1, len(ELEMENT_SIZES))
    assert (rows.elements >= 0).all()
    assert (rows.elements < ELEMENT_SIZES).all()
    assert rows.amounts.shape == (len(elements) + 1, AMOUNTS)
    assert np.isfinite(rows.amounts).all()
    for bags, count, size in (
        (rows.instruction, len(rows.words), BUCKETS),
        (rows.text, len(elements) + 1, BUCKETS),
        (rows.value, len(elements) + 1, BUCKETS),
        (rows.attributes, len(elements) + 1, ATTRIBUTES),
        (rows.beside, len(elements) + 1, ATTRIBUTES),
    ):
        assert len(bags.begins) == count
        assert (np.diff(bags.begins) > 0).all()  # an empty bag would have no mean
        assert (bags.rows >= 0).all()
        assert (bags.rows < size).all()


def test_a_name_is_found_in_the_instruction_by_itself_and_by_what_stands_around_it() -> None:
    rows = extract_features('Press "joe" now', page(("BUTTON", "joe", None), ("BUTTON", "ann", None)))
    joe, ann = rows.amounts[1], rows.amounts[2]
    assert joe[:3].tolist() == [1, 1, 1]
    assert ann[:3].tolist() == [0, 0, 0]
    begins = [*rows.beside.begins, len(rows.beside.rows)]
    around_joe, around_ann = (set(rows.beside.rows[begins[at] : begins[at + 1]]) for at in (1, 2))
    assert len(around_joe) == 5  # two words before it, two behind it, and the place
    assert len(around_ann) == 1
    assert rows.words[2, 1] == 1  # "joe" is shown once
    assert rows.words[2, 3] == 1  # and is in quotes


def test_the_same_word_is_the_same_rows_wherever_it_stands() -> None:
    rows = extract_features("zorblax", page(("BUTTON", "Zorblax", None), ("INPUT_text", "", "zorblax")))
    expected = list(buckets_of("zorblax"))
    assert rows.instruction.rows.tolist() == expected
    text = rows.text.rows[rows.text.begins[1] : rows.text.begins[2]]
    assert text.tolist() == expected
    assert rows.value.rows[rows.value.begins[2] :].tolist() == expected
    assert rows.words[0, 2] == 1  # a field holds it


def test_colours_and_numbers_can_be_told_apart() -> None:
    document = json.loads(
        page(("DIV", "", None), ("DIV", "", None), ("text", "7", None), ("DIV", "12", None))
    )
    document["bg"] = [0, 0xFF0000FF, 0x0000FFFF, 0x00FF00FF, 0]
    rows = extract_features("", json.dumps(document))
    assert len({*rows.elements[:, 8]}) == 4
    assert rows.elements[:, 10].tolist() == [100, 100, 100, 7, 12]


def test_what_lights_up_under_the_pointer_is_not_looked_at() -> None:
    document = json.loads(page(("A", "Tab", None), ("INPUT_text", "", ""), ("SPAN", "", None)))
    document["classes"][3] = "ui-icon"
    classes = ["", "ui-state-active ui-state-hover", "tab-focus cell-over", "ui-icon"]
    lit = document | {
        "classes": classes,
        "bg": [0, 0xEDEDEDFF, 0xEDEDEDFF, 0xEDEDEDFF],
        "fg": [0xFF] * 4,
        "flags": [0, 2, 2, 2],
    }
    seen, expected = (extract_features("", json.dumps(page)) for page in (lit, document))
    assert np.array_equal(seen.elements, expected.elements)
    assert np.array_equal(seen.amounts, expected.amounts)
    assert np.array_equal(seen.attributes.rows, expected.attributes.rows)
    chosen = json.dumps(document | {"classes": ["", "ui-tabs-active active", "", "ui-icon"]})
    assert not np.array_equal(extract_features("", chosen).attributes.rows, expected.attributes.rows)


def test_a_day_and_a_month_are_found_in_a_date() -> None:
    shown = page(("A", "3", None), ("SPAN", "May", None), ("SPAN", "December", None), ("A", "4", None))
    rows = extract_features("Select 05/03/2016 as the date", shown)
    assert rows.amounts[1:, 0].tolist() == [1, 1, 0, 0]
    assert rows.elements[1:, 10].tolist() == [3, 5, 12, 4]
    assert rows.words[[1, 3], 1].tolist() == [1, 1]  # both are shown


def test_a_colour_that_is_said_is_like_the_elements_that_have_it() -> None:
    document = json.loads(page(("DIV", "", None), ("DIV", "", None), ("rect", "", None)))
    document["bg"], document["fg"] = [0, 0x800080FF, 0x008000FF, 0], [0xFF, 0xFF, 0xFF, 0x800080FF]
    named, unsaid = (
        extract_features(f"Click the {name} one", json.dumps(document)) for name in ("purple", "big")
    )
    assert named.amounts[1:, 23:27].tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]]
    assert not unsaid.amounts[:, 23:27].any()


def test_what_an_element_is_called_is_found_in_the_instruction() -> None:
    document = json.loads(
        page(("INPUT_checkbox", "", "false"), ("INPUT_radio", "", "false"), ("SPAN", "", None))
    )
    document["id"], document["classes"] = ["", "", "like-it", ""], ["", "", "", "reply active"]
    rows = extract_features('Click a "checkbox", or like and reply', json.dumps(document))
    assert rows.amounts[:, 27:30].tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
