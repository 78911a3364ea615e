"""A cache of features returns what would be computed, and never takes more bytes than it may."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tutelage.agents.policy.web.feature_cache import FeatureCache


@dataclass(frozen=True)
class Toy:
    text: str
    numbers: np.ndarray


def make(instruction: str, document: str) -> Toy:
    return Toy(f"{instruction} {document}", np.zeros(100 * len(document)))


texts = st.sampled_from(["", "a", "bb", "ccc", "\0", "\ud800"])


@given(st.lists(st.tuples(texts, texts), max_size=60), st.integers(0, 6000))
def test_what_is_cached_is_what_is_computed_and_the_bound_holds(
    pairs: list[tuple[str, str]], most: int
) -> None:
    cache = FeatureCache(make, lambda: most)
    for pair in pairs:
        assert cache(*pair).text == make(*pair).text
        assert cache.bytes <= most


def test_features_are_computed_once_while_they_fit() -> None:
    calls: list[str] = []

    def count(instruction: str, document: str) -> Toy:
        calls.append(document)
        return make(instruction, document)

    cache = FeatureCache(count, lambda: 1 << 20)
    assert cache("do", "a") is cache("do", "a")
    assert calls == ["a"]
    cache("other", "a")
    assert calls == ["a", "a"]


def test_a_full_cache_still_finds_a_part_of_what_comes_again() -> None:
    calls: list[str] = []

    def count(instruction: str, document: str) -> Toy:
        calls.append(document)
        return Toy("", np.zeros(1000))

    cache = FeatureCache(count, lambda: 50 * 8600)
    order = np.random.default_rng(0)
    documents = [str(number) for number in range(100)]
    for _ in range(20):
        for number in order.permutation(100):
            cache("", documents[number])
    assert len(calls) < 0.8 * 2000
