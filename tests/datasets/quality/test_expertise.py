"""Expertise and weights: who answers what is seen weighs most; few episodes condemn nobody."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from tutelage.datasets.arrays.sampler import TaskArrays
from tutelage.datasets.quality.expertise import ExpertiseEstimate, expertise
from tutelage.datasets.quality.weights import episode_weights, table, weigh
from tutelage.envs.task import Task

SURE = ExpertiseEstimate(0.99, 1.0, 0.99, 40, 400)
HALF = ExpertiseEstimate(0.45, 0.5, 1.0, 40, 400)
HOSTILE = ExpertiseEstimate(0.02, 0.06, 1.0, 40, 400)


def ratios(share: float, episodes: int, seed: int, steps: int = 12) -> list[np.ndarray]:
    """Draw one of three actions a step: a share by a judge's own 94 %, the others by an even habit."""
    random = np.random.default_rng(seed)
    likely = np.where(random.random((episodes, steps)) < share, 0.94, 1 / 3)
    as_foretold = random.random((episodes, steps)) < likely
    return list(np.where(as_foretold, np.log(3 * 0.94), np.log(3 * 0.03)))


def crowd(**others: tuple[float, int]) -> dict[str, list[np.ndarray]]:
    people: dict[str, tuple[float, int]] = {f"careful-{n}": (0.97, 40) for n in range(5)}
    people |= others
    return {who: ratios(*one, seed=n) for n, (who, one) in enumerate(people.items())}


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.97])
def test_the_share_of_answers_is_found_again(share: float) -> None:
    found = expertise(crowd(eve=(share, 400)))["eve"]
    assert found.share == pytest.approx(share, abs=0.04)
    assert found.share < found.high < found.share + 0.07


def test_a_hostile_demonstrator_weighs_nothing_and_careful_ones_everything() -> None:
    found = expertise(crowd(eve=(0.0, 40)))
    assert found["eve"].weight == 0.0
    assert all(found[f"careful-{n}"].weight > 0.95 for n in range(5))


def test_three_episodes_condemn_nobody() -> None:
    weights = [expertise(crowd(eve=(0.0, count)))["eve"].weight for count in (1, 3, 6, 12, 40)]
    assert weights[1] > 0.4
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] == 0.0


def test_noisy_people_weigh_something_in_between() -> None:
    found = expertise(crowd(eve=(0.5, 60), fay=(0.8, 60)))
    assert 0.2 < found["eve"].weight < found["fay"].weight < 0.95


@settings(deadline=None, max_examples=25)
@given(st.randoms(use_true_random=False))
def test_expertise_is_the_same_in_whatever_order_people_and_episodes_come(random: Any) -> None:
    given_ = crowd(eve=(0.3, 9))
    expected = expertise(given_)
    for some in given_.values():
        random.shuffle(some)
    people = list(given_.items())
    random.shuffle(people)
    assert expertise(dict(people)) == expected


def test_with_fewer_than_four_people_nobody_is_judged() -> None:
    assert expertise({who: ratios(0.9, 5, 0) for who in ("ann", "bea", "eve")}) == {}
    assert expertise({}) == {}


def test_judges_that_foretell_nobody_judge_nobody() -> None:
    blind = {f"p{n}": list(np.random.default_rng(n).normal(-0.2, 0.1, (20, 9))) for n in range(6)}
    assert {one.weight for one in expertise(blind).values()} == {1.0}


def test_ratios_beyond_what_a_double_can_be_raised_to_are_no_trouble() -> None:
    found = expertise({**crowd(), "eve": [np.array([-2000.0, 2000.0, 900.0])]})
    assert 0 < found["eve"].share < 1


def columns(outcomes: Mapping[str, str], task: str = "t") -> TaskArrays:
    """Make two steps an episode: `+` solved, `-` not, for each person."""
    flat = [(who, one == "+") for who, some in outcomes.items() for one in some]
    count = len(flat)
    return TaskArrays(
        task=Task(task, "CartPole-v1"),
        observations={"": np.zeros((2 * count, 4))},
        actions=np.zeros((2 * count, 1)),
        starts=np.arange(count + 1) * 2,
        success=np.array([solved for _, solved in flat]),
        demonstrator=[who for who, _ in flat],
        returns=np.zeros(count),
        controllers=np.zeros(2 * count, np.int8),
    )


PLAYED = {"t": columns({"ann": "++-", "eve": "+-", "hal": "-+"})}
SKILLED = {"ann": SURE, "eve": HALF, "hal": HOSTILE}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("none", [1, 1, 1, 1, 1, 1, 1]),
        ("outcome", [1, 1, 0, 1, 0, 0, 1]),
        ("expertise", [1, 1, 1, 0.25, 0.25, 0, 0]),
        ("both", [1, 1, 0, 0.25, 0, 0, 0]),
    ],
)
def test_an_episode_weighs_by_outcome_by_who_played_it_or_by_both(
    weights: str, expected: list[float]
) -> None:
    skilled = SKILLED if weights in ("expertise", "both") else {}
    assert episode_weights(PLAYED, weights, skilled)["t"].tolist() == expected


def test_where_nobody_that_counts_succeeded_failures_are_the_best_there_is() -> None:
    failed = {"t": columns({"ann": "--", "hal": "+"})}
    assert episode_weights(failed, "both", SKILLED)["t"].tolist() == [1, 1, 0]
    alone = {"t": columns({"hal": "-+"})}
    assert episode_weights(alone, "both", SKILLED)["t"].tolist() == [0, 1]
    assert episode_weights({"t": columns({"hal": "--"})}, "both", SKILLED)["t"].tolist() == [1, 1]


def test_somebody_who_was_not_judged_counts_in_full() -> None:
    assert episode_weights({"t": columns({"new": "+"})}, "both", SKILLED)["t"].tolist() == [1]


def test_the_table_says_of_everyone_what_they_weigh_and_why() -> None:
    weights = weigh(PLAYED, "both", SKILLED)
    assert [(one.demonstrator, one.episodes, one.used, one.weight) for one in weights] == [
        ("ann", 3, 2, 1.0),
        ("eve", 2, 1, 0.25),
        ("hal", 2, 0, 0.0),
    ]
    shown = Console(width=100, record=True, file=io.StringIO())
    shown.print(table(weights))
    text = shown.export_text()
    assert text.index("hal") < text.index("eve") < text.index("ann")
    assert weights[0].reason == "acts as most people do; 2 episodes teach"
    assert weights[2].reason.startswith("left out: 2% of the actions, at most 6%, answer what is seen")


def test_the_reason_says_what_could_not_be_judged() -> None:
    assert {one.reason for one in weigh(PLAYED, "none")} == {"every episode counts"}
    assert weigh(PLAYED, "outcome")[0].reason == "2 episodes teach"
    assert weigh(PLAYED, "expertise")[0].reason == "too few people to compare"
    blind = dict.fromkeys(SKILLED, ExpertiseEstimate(0.1, 0.2, 0.1, 9, 90))
    assert weigh(PLAYED, "expertise", blind)[0].reason.startswith("nobody's actions can be foretold")
