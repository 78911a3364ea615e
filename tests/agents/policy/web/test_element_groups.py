from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tutelage.agents.policy.web.element_groups import READ, crowd_of, extremes, groups


def test_elements_of_a_kind_are_counted() -> None:
    assert crowd_of(["like", "like active", "like"]).tolist() == [2, 1, 2]


def test_the_least_and_the_greatest_of_a_kind_are_known() -> None:
    kinds = ["price", "price", "time", "time", "time", "alone", "price"]
    texts = ["Book for $368", "Book for $49", "17h 35m", "9h 50m", "17h 5m", "12", "sold out"]
    assert extremes(kinds, texts).tolist() == [
        [False, True],
        [True, False],
        [False, True],
        [True, False],
        [False, False],
        [False, False],
        [False, False],
    ]


def test_a_field_finds_its_label_wherever_that_stands() -> None:
    # body > (entry > field, "Genre"), (entry > "Year", (box > field)), button "Go"
    parents = [-1, 0, 1, 1, 0, 4, 4, 6, 0]
    reads = [False, False, False, True, False, True, False, False, True]
    found = groups(parents, reads)
    assert found[2] == [3]
    assert found[7] == [5]
    assert found[8] == [3, 5]


@st.composite
def trees(draw: st.DrawFn) -> list[int]:
    """Trees in document order: a parent is the element before, or an ancestor of it."""
    parents = [-1]
    for at in range(1, draw(st.integers(1, 30))):
        line = [at - 1]
        while parents[line[-1]] >= 0:
            line.append(parents[line[-1]])
        parents.append(draw(st.sampled_from(line)))
    return parents


@given(trees(), st.data())
def test_a_group_is_the_smallest_part_of_the_page_that_reads_something_else(
    parents: list[int], data: st.DataObject
) -> None:
    reads = data.draw(st.lists(st.booleans(), min_size=len(parents), max_size=len(parents)))

    def within(one: int, whole: int) -> bool:
        while one not in (whole, -1):
            one = parents[one]
        return one == whole

    for at, found in enumerate(groups(parents, reads)):
        others = [one for one in range(len(parents)) if reads[one] and not within(one, at)]
        group, expected = parents[at], []
        while group >= 0 and not expected:
            expected = [one for one in others if within(one, group)]
            group = parents[group]
        assert found == expected[:READ]


def test_a_page_without_any_text_has_groups_of_nothing() -> None:
    assert groups([-1, 0, 1], [False] * 3) == [[], [], []]
    assert np.array_equal(crowd_of([]), [])
