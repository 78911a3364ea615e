"""Seeds to record, to select and to test are never the same, and a task says what it is."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tutelage.envs.task import RECORD, SEED_RANGES, SELECT, TEST, SeedRange, Task
from tutelage.errors import TutelageError


def test_the_seed_ranges_are_disjoint_and_found_by_name() -> None:
    for one, other in combinations(SEED_RANGES.values(), 2):
        assert one.stop <= other.start or other.stop <= one.start
    assert SEED_RANGES == {"record": RECORD, "select": SELECT, "test": TEST}


@given(seed=st.integers(0, 2**31))
def test_a_seed_belongs_to_one_range_at_most(seed: int) -> None:
    assert sum(seed in one for one in SEED_RANGES.values()) == int(seed < 2_000_000_000)


@given(start=st.integers(0, 50), length=st.integers(1, 50), count=st.integers(0, 60), skip=st.integers(0, 60))
def test_first_gives_seeds_of_the_range_or_refuses(start: int, length: int, count: int, skip: int) -> None:
    some = SeedRange("some", start, start + length)
    if skip + count > length:
        with pytest.raises(TutelageError, match=f"some seeds end at {start + length}, asked for"):
            some.first(count, skip)
    else:
        assert list(some.first(count, skip)) == list(some)[skip : skip + count]


def test_skipping_seeds_gives_others() -> None:
    assert not set(RECORD.first(10)) & set(RECORD.first(10, skip=10))


def test_only_whole_numbers_are_seeds() -> None:
    assert 3 in RECORD
    assert "3" not in RECORD
    assert 3.0 not in RECORD


def test_a_task_cannot_be_changed() -> None:
    task = Task("poles", "CartPole-v1")
    with pytest.raises(FrozenInstanceError):
        task.env = "tutelage/Taxi-v0"  # type: ignore[misc]


def test_tasks_share_no_arguments() -> None:
    assert Task("a", "CartPole-v1").kwargs == {}
    assert Task("a", "CartPole-v1").kwargs is not Task("b", "CartPole-v1").kwargs
    assert Task("a", "CartPole-v1") == Task("a", "CartPole-v1")
