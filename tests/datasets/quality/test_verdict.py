"""Evidence and verdicts: each claim of datasets/quality/verdict.py and of the evidence that it judges by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.study_tables import StudyDatabase, people
from tutelage.crowd.studies.live_quality import FRESH_SECONDS, LiveQuality, write_down
from tutelage.datasets.quality.demonstrator_stats import evidence, usual
from tutelage.datasets.quality.episode_stats import EpisodeStats, conduct_in, conduct_of
from tutelage.datasets.quality.expert_lengths import expert_steps
from tutelage.datasets.quality.quality_table import view
from tutelage.datasets.quality.verdict import QualityThresholds, quality
from tutelage.datasets.simulation.simulated_crowd import crowd, simulate
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.suite import load_suite
from tutelage.envs.task import Task
from tutelage.errors import TutelageError
from tutelage.intervals import wilson

REQUIRED = QualityThresholds(after=5, success=0.4, gold=0.5)
TURN, REAL_TIME = Task("t", "CartPole-v1"), Task("t", "CartPole-v1", fps=30.0, idle=0)


def rows(person: str, outcomes: str, **values: Any) -> list[EpisodeStats]:
    """Make an episode of each letter: `+` solved, `-` not; everyone's seeds begin at another number."""
    first = 1000 * sum(map(ord, person))
    return [
        EpisodeStats(f"{person}-{at}", person, "t", first + at, outcome == "+", 10, 5.0, **values)
        for at, outcome in enumerate(outcomes)
    ]


CROWD = [one for name in ("ann", "bea", "cem", "dan") for one in rows(name, "+" * 9 + "-")]


def verdict_on(
    mine: list[EpisodeStats], required: QualityThresholds = REQUIRED, beside: list[EpisodeStats] = CROWD
) -> Any:
    return quality(evidence([*beside, *mine])[mine[0].person], required)


def test_three_episodes_condemn_nobody() -> None:
    bad = {"fast_share": 1.0, "idle_share": 1.0, "repeat_share": 1.0, "hidden_ms": 1e9, "role": "gold"}
    said = verdict_on(rows("eve", "---", **bad))
    assert said.met is None
    assert said.reasons == ()
    assert verdict_on(rows("eve", "---"), QualityThresholds(after=1, success=0.9)).met is True
    assert verdict_on(rows("eve", "---")).score > 0.5


def test_a_hostile_person_is_found_out_with_the_reason_in_a_sentence() -> None:
    said = verdict_on(rows("eve", "-" * 9 + "++++"))
    assert "solves 31 % (4 of 13) where the median person solves 90 %" in said.reasons
    assert verdict_on(rows("eve", "-" * 12 + "+")).met is False
    assert (
        "1 of 13 episodes are surely less than the 40 % asked for"
        in verdict_on(rows("eve", "-" * 12 + "+")).reasons
    )


def test_nothing_speaks_against_those_who_play_as_everybody() -> None:
    for name in ("ann", "bea", "cem", "dan"):
        said = quality(evidence(CROWD)[name], REQUIRED)
        assert said.reasons == ()
        assert said.met is True


@pytest.mark.parametrize(
    ("measure", "values"),
    [
        ("fast_share", {"fast_share": 0.95}),
        ("idle_share", {"idle_share": 0.95}),
        ("repeat_share", {"repeat_share": 0.98}),
        ("hidden_share", {"hidden_ms": 300_000.0}),
    ],
)
def test_each_odd_conduct_is_found_and_named(measure: str, values: dict[str, float]) -> None:
    said = verdict_on(rows("eve", "+" * 12, **values))
    assert [one.measure for one in said.findings if one.against] == [measure]
    assert said.met is True  # nobody is sent away for how they play, only for what comes of it


def test_length_speaks_against_those_who_wander() -> None:
    beside = [replace(one, expert_steps=9) for one in CROWD]
    wandering = [replace(one, steps=30 + at, expert_steps=9) for at, one in enumerate(rows("eve", "+" * 8))]
    (reason,) = verdict_on(wandering, beside=beside).reasons
    assert reason == "needs 3.7 times the expert's steps where the median person needs 1.1 times"
    assert verdict_on(wandering[:2], beside=beside).reasons == ()


def test_gold_is_passed_in_at_most_tolerance_times_the_experts_steps() -> None:
    gold = [
        replace(one, role="gold", expert_steps=10, steps=steps)
        for one, steps in zip(rows("eve", "+++-"), (10, 16, 17, 10), strict=True)
    ]
    assert evidence(gold)["eve"].gold == 4
    assert evidence(gold)["eve"].gold_passed == 2
    assert evidence(gold, tolerance=1.7)["eve"].gold_passed == 3


def test_failing_gold_misses_the_requirement_though_the_rest_is_solved() -> None:
    gold = [replace(one, role="gold") for one in rows("eve", "-" * 8)]
    said = verdict_on([*gold, *(replace(one, seed=one.seed + 500) for one in rows("eve", "+" * 20))])
    assert said.met is False
    assert "0 of 8 gold episodes are surely less than the 50 % asked for" in said.reasons


def test_agreement_is_with_most_others_on_the_same_seed() -> None:
    shared = [
        EpisodeStats(f"{who}-{s}", who, "t", s, True, 5, 1.0)
        for who in ("ann", "bea", "cem")
        for s in range(9)
    ]
    odd = [EpisodeStats(f"eve-{s}", "eve", "t", s, s == 0, 5, 1.0) for s in range(9)]
    one = evidence([*shared, *odd])["eve"]
    assert (one.repeats, one.agreed) == (9, 1)
    assert "ends as most others on 1 of 9 seeds that they played too" in quality(one).reasons
    assert (evidence([*shared, *odd])["ann"].agreed, evidence([*shared, *odd])["ann"].repeats) == (9, 9)
    assert evidence(odd)["eve"].repeats == 0


def test_practice_counts_for_nothing() -> None:
    assert evidence(rows("eve", "+++---", role="practice")) == {}


def sent_away(rate: float, episodes: int = 20) -> float:
    """Return the probability that a participant who solves `rate` is sent away, asked after every episode."""
    staying = {0: 1.0}  # solved so far -> probability
    for played in range(1, episodes + 1):
        after: dict[int, float] = dict.fromkeys(range(played + 1), 0.0)
        for solved, probability in staying.items():
            after[solved] += (1 - rate) * probability
            after[solved + 1] += rate * probability
        staying = {n: chance for n, chance in after.items() if played < 5 or wilson(n, played).high >= 0.4}
    return 1 - sum(staying.values())


def test_who_just_meets_the_requirement_is_rarely_sent_away_though_asked_after_every_episode() -> None:
    assert sent_away(0.4) < 0.12
    assert sent_away(0.55) < 0.02
    assert sent_away(0.1) > 0.9


@given(st.randoms(use_true_random=False))
def test_evidence_is_the_same_in_whatever_order_the_episodes_come(random: Any) -> None:
    mixed = [
        replace(one, reaction_ms=100.0 + 7 * at, idle_share=at % 7 / 7, expert_steps=at % 5, seed=at % 6)
        for at, one in enumerate([*CROWD, *rows("eve", "+-+-+")])
    ]
    expected = evidence(mixed)
    random.shuffle(mixed)
    assert evidence(mixed) == expected


def test_a_median_needs_three_people() -> None:
    two = [*rows("ann", "++"), *rows("bea", "++")]
    assert usual(two).values == {}
    assert usual([*two, *rows("cem", "--")]).values["success", "t"] == 1.0


def test_requirements_that_cannot_be_are_refused() -> None:
    with pytest.raises(TutelageError, match="expected success to be a share"):
        QualityThresholds(success=40)
    with pytest.raises(TutelageError, match="at least 1 episode"):
        QualityThresholds(after=0)


def trajectory(actions: list[int], times: list[int], **changes: Any) -> Trajectory:
    steps = len(actions)
    made = Trajectory(
        *("s", "t", "CartPole-v1", 7, "eve", "person"),
        actions=np.array(actions, float)[:, None],
        rewards=np.zeros(steps),
        times_ms=np.array(times, np.int32),
        controllers=np.zeros(steps, np.int8),
        frames=np.arange(steps, dtype=np.int32),
        terminated=True,
        truncated=False,
        success=True,
        digest=bytes(16),
    )
    return replace(made, **changes)


def test_conduct_is_measured_from_what_was_recorded() -> None:
    one = conduct_of(trajectory([0, 0, 0, 1], [300, 350, 20_350, 20_750]), TURN, role="gold", expert_steps=3)
    assert (one.steps, one.seconds, one.success, one.role, one.expert_steps) == (4, 20.75, True, "gold", 3)
    assert one.reaction_ms == 350.0
    assert one.fast_share == 0.25
    assert one.idle_share == pytest.approx(20_000 / 20_750)
    assert one.repeat_share == pytest.approx(2 / 3)


def test_in_real_time_nobody_waits_so_there_are_no_reactions() -> None:
    one = conduct_of(trajectory([0, 0, 1, 0], [33, 66, 100, 133]), REAL_TIME)
    assert (one.reaction_ms, one.fast_share, one.idle_share) == (None, 0.0, 0.75)


def test_what_the_policy_did_is_not_held_against_a_person() -> None:
    mixed = trajectory([0, 1, 0], [10, 20, 420], controllers=np.array([1, 1, 0], np.int8))
    assert conduct_of(mixed, TURN).reaction_ms == 400.0
    assert conduct_of(trajectory([0], [10], controllers=np.ones(1, np.int8)), TURN).reaction_ms is None


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Store:
    suite = load_suite("first-steps")
    made = Store.create(tmp_path_factory.mktemp("crowd") / "store", suite)
    simulate(suite, made, {"goto-red-ball-grey": 210, "taxi": 40})
    return made


def test_a_store_of_a_simulated_crowd_says_who_does_not_care(played: Store) -> None:
    told: list[int] = []
    seen = view(played, progress=told.append)
    assert sum(told) == len(played)
    assert len(seen.people) == len(crowd())
    against = {one.person for one, said in seen.people if said.reasons}
    assert "hostile-01" in against
    assert not {name for name in against if name.startswith(("careful", "slow"))}
    by_name = {one.person: one for one, _ in seen.people}
    assert by_name["slow-01"].own["reaction_ms"] > 2 * by_name["careful-01"].own["reaction_ms"]
    assert by_name["careful-01"].own["length"] == pytest.approx(1.0, abs=0.2)
    assert by_name["hostile-01"].own.get("length", 9.0) > 1.5


def test_the_experts_steps_are_those_of_its_own_episodes(played: Store, tmp_path: Path) -> None:
    suite = played.suite
    found = expert_steps(suite, {"goto-red-ball-grey": [3, 1], "taxi": [2], "cartpole": []})
    assert set(found) == {("goto-red-ball-grey", 3), ("goto-red-ball-grey", 1), ("taxi", 2)}
    store = Store.create(tmp_path / "expert", suite)
    simulate(suite, store, {"goto-red-ball-grey": 4, "taxi": 3}, demonstrators=crowd({"expert": 1}))
    for one in store.trajectories():
        assert found.get((one.task, one.seed), len(one)) == len(one)
    assert all(one.expert_steps is None for one in conduct_in(played, experts=False))


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    with Journal(tmp_path / "journal.sqlite") as journal:
        made = StudyDatabase(journal.engine)
        with made.write() as connection:
            for at, name in enumerate(("ann", "bea", "cem", "dan", "eve", "fay")):
                study = "other" if name == "fay" else "first"
                row = {"person": name, "seat": str(at), "study": study, "source": "link", "language": "en"}
                row |= {"stage": "play", "progress": {}, "joined": 0.0, "seen": 0.0}
                connection.execute(people.insert(), row)
        yield made


def fill(ledger: StudyDatabase, episodes: list[EpisodeStats]) -> None:
    for episode in episodes:
        write_down(ledger, episode)


def test_the_ledger_gives_the_same_evidence_as_the_episodes_themselves(ledger: StudyDatabase) -> None:
    some = [replace(one, expert_steps=9, reaction_ms=300.0, fast_share=0.1) for one in CROWD]
    some += rows("eve", "---+---", role="gold", lag_ms=40.0)
    fill(ledger, [*some, *rows("fay", "----")])
    fill(ledger, some[:3])  # a second time changes nothing
    live = LiveQuality(ledger, "first", REQUIRED)
    expected = evidence(some)
    assert {name: live.evidence(name) for name in expected} == expected
    assert live.verdicts() == {name: quality(one, REQUIRED) for name, one in expected.items()}
    assert live.verdict("eve") == live.verdicts()["eve"]


def test_a_person_is_judged_by_their_latest_episode_beside_a_crowd_that_may_be_half_a_minute_old(
    ledger: StudyDatabase,
) -> None:
    now = 0.0
    clock: Callable[[], float] = lambda: now  # noqa: E731
    live = LiveQuality(ledger, "first", REQUIRED, clock=clock)
    assert live.verdict("eve") is None
    fill(ledger, [*CROWD, *rows("eve", "-" * 11)])
    said = live.verdict("eve")
    assert said is not None
    assert said.met is False
    assert said.reasons == ("0 of 11 episodes are surely less than the 40 % asked for",)
    now = FRESH_SECONDS
    said = live.verdict("eve")
    assert said is not None
    assert said.reasons[1] == "solves 0 % (0 of 11) where the median person solves 90 %"
