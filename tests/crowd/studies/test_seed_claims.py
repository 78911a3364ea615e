"""Who plays which seed, as several servers and many people come and go."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.secret import Secret
from tutelage.crowd.storage.study_tables import StudyDatabase, claims
from tutelage.crowd.studies.seed_claims import SeedClaim, SeedClaims
from tutelage.crowd.studies.study import FRESH, GOLD, PRACTICE
from tutelage.envs.task import TEST
from tutelage.tests.support.toy_study import study_in

SECRET = Secret(bytes(range(32)))
MINUTE = 60.0


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ledger(database_url: str) -> Iterator[StudyDatabase]:
    with Journal(database_url) as journal:
        yield StudyDatabase(journal.engine)


def opened(folder: Path, ledger: StudyDatabase, time: Time | None = None, **changes: Any) -> SeedClaims:
    options = {"people": 1000, "tasks": ["lake"], "practice": None, "check": None, **changes}
    return SeedClaims(study_in(folder, **options), ledger, SECRET, time or Time())


def played(ledger: StudyDatabase, seed_claims: SeedClaims, claim: SeedClaim) -> None:
    with ledger.write() as connection:
        seed_claims.finish(connection, claim, f"episode-{claim.id}")


def take(seed_claims: SeedClaims, person: str) -> SeedClaim:
    claim = seed_claims.take(person)
    assert claim is not None
    return claim


def test_people_play_different_seeds_in_order(tmp_path: Path, ledger: StudyDatabase) -> None:
    one = opened(tmp_path, ledger)
    given_out = [take(one, f"person-{n}") for n in range(3)]
    assert [claim.seed for claim in given_out] == [0, 1, 2]
    assert {claim.role for claim in given_out} == {"demonstration"}
    assert take(one, "person-1").seed == 1  # what somebody holds, they are given again
    played(ledger, one, given_out[1])
    assert take(one, "person-1").seed == 3


def test_a_seed_that_somebody_left_goes_to_the_next_who_asks(tmp_path: Path, ledger: StudyDatabase) -> None:
    time = Time()
    one = opened(tmp_path, ledger, time)
    ann = take(one, "ann")
    time.now += 29 * MINUTE
    assert take(one, "bob").seed == 1
    time.now += 2 * MINUTE
    assert take(one, "cleo").seed == 0
    assert one.held("ann") is None
    assert not one.renew(ann)
    assert take(one, "ann").seed == 2


def test_activity_holds_a_claim(tmp_path: Path, ledger: StudyDatabase) -> None:
    time = Time()
    one = opened(tmp_path, ledger, time)
    ann = take(one, "ann")
    for _ in range(5):
        time.now += 20 * MINUTE
        assert one.renew(ann, "e1")
    assert take(one, "bob").seed == 1
    held = one.held("ann")
    assert held is not None
    assert held.episode == "e1"


def test_who_comes_back_before_anybody_else_wants_it_goes_on(tmp_path: Path, ledger: StudyDatabase) -> None:
    time = Time()
    one = opened(tmp_path, ledger, time)
    ann = take(one, "ann")
    time.now += 24 * 60 * MINUTE
    assert take(one, "ann").id == ann.id


def test_what_is_given_back_is_free_at_once(tmp_path: Path, ledger: StudyDatabase) -> None:
    one = opened(tmp_path, ledger)
    take(one, "ann")
    one.give_back("ann")
    assert take(one, "bob").seed == 0
    played(ledger, one, take(one, "bob"))
    one.take_back("bob")
    assert take(one, "cleo").seed == 0


def test_a_quota_is_never_exceeded_and_then_other_tasks_are_played(
    tmp_path: Path, ledger: StudyDatabase
) -> None:
    one = opened(tmp_path, ledger, tasks={"lake": {"quota": 3}, "cab": {}}, episodes=1)
    tasks = [take(one, f"person-{n}").task for n in range(12)]
    assert tasks.count("lake") == 3


def test_nothing_is_left_when_every_quota_is_full(tmp_path: Path, ledger: StudyDatabase) -> None:
    time = Time()
    one = opened(tmp_path, ledger, time, people=2, episodes=1, tasks={"lake": {"quota": 2}})
    take(one, "ann")
    take(one, "bob")
    assert one.take("cleo") is None
    time.now += 31 * MINUTE
    assert take(one, "cleo").seed == 0


@pytest.mark.slow
def test_a_person_plays_all_tasks_evenly_and_people_begin_with_different_ones(
    tmp_path: Path, ledger: StudyDatabase
) -> None:
    one = opened(tmp_path, ledger, tasks=["lake", "cab", "pole"], episodes=6)
    firsts = set()
    for person in range(12):
        tasks = []
        for _ in range(6):
            claim = take(one, f"person-{person}")
            tasks.append(claim.task)
            played(ledger, one, claim)
        assert set(Counter(tasks).values()) == {2}
        firsts.add(tasks[0])
    assert firsts == {"lake", "cab", "pole"}


@pytest.mark.slow
def test_a_share_of_the_seeds_is_played_by_so_many_people(tmp_path: Path, ledger: StudyDatabase) -> None:
    one = opened(tmp_path, ledger, repeats={"share": 0.3, "people": 3}, episodes=5)
    drawn = [one.people_of("lake", seed) for seed in range(2000)]
    assert 0.25 < drawn.count(3) / 2000 < 0.35
    for person in range(40):
        for _ in range(5):
            played(ledger, one, take(one, f"person-{person}"))
    rows = ledger.rows(sql.select(claims))
    players = Counter((row["seed"], row["role"]) for row in rows)
    last = max(row["seed"] for row in rows)
    for (seed, role), count in players.items():
        assert role == ("repeat" if one.people_of("lake", seed) == 3 else "demonstration")
        assert count == one.people_of("lake", seed) or seed > last - 10
    for seed in range(last):
        who = [row["person"] for row in rows if row["seed"] == seed]
        assert len(who) == len(set(who))


def test_gold_is_mixed_in_unforeseeably_and_the_same_each_time(tmp_path: Path, ledger: StudyDatabase) -> None:
    changes = {"tasks": ["cab"], "gold": {"share": 0.2}, "episodes": 20}
    seed_claims = opened(tmp_path, ledger, **changes)
    places = {
        person: [i for i in range(20) if seed_claims.is_gold(person, i)] for person in map(str, range(50))
    }
    assert all(len(found) == 4 for found in places.values())
    assert len({tuple(found) for found in places.values()}) > 40
    again = opened(tmp_path, ledger, **changes)
    assert [i for i in range(20) if again.is_gold("7", i)] == places["7"]
    foreign = SeedClaims(seed_claims._study, ledger, Secret(bytes(32)))
    assert any([i for i in range(20) if foreign.is_gold(p, i)] != found for p, found in places.items())


@pytest.mark.slow
def test_gold_seeds_are_shared_and_nobody_plays_one_twice(tmp_path: Path, ledger: StudyDatabase) -> None:
    one = opened(tmp_path, ledger, tasks=["cab"], gold={"share": 0.3}, episodes=10)
    for person in range(8):
        for _ in range(10):
            played(ledger, one, take(one, f"person-{person}"))
    rows = [row for row in ledger.rows(sql.select(claims)) if row["role"] == "gold"]
    assert len(rows) == 8 * 3
    assert all(row["seed"] in GOLD for row in rows)
    seeds = Counter(row["seed"] for row in rows)
    assert len(seeds) <= 6
    assert max(Counter((row["person"], row["seed"]) for row in rows).values()) == 1


def test_a_baseline_gives_everybody_all_seeds_in_the_same_order(
    tmp_path: Path, ledger: StudyDatabase
) -> None:
    one = opened(tmp_path, ledger, mode="baseline", tasks=["lake", "cab"], episodes=6, people=9)
    orders = []
    for person in ("ann", "bob"):
        order = []
        for _ in range(6):
            claim = take(one, person)
            order.append((claim.task, claim.seed))
            played(ledger, one, claim)
        orders.append(order)
    first = TEST.start
    assert orders[0] == orders[1] == [(t, first + n) for n in range(3) for t in ("lake", "cab")]


def test_practice_is_on_seeds_of_its_own(tmp_path: Path, ledger: StudyDatabase) -> None:
    one = opened(tmp_path, ledger)
    seeds = {one.practice_seed(person, number) for person in ("ann", "bob") for number in range(20)}
    assert len(seeds) == 40
    assert all(seed in PRACTICE and seed not in FRESH and seed not in GOLD for seed in seeds)


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "take", "finish", "finish", "leave", "wait", "renew", "take back"]),
        st.integers(0, 5),
    ),
    max_size=60,
)


@pytest.mark.slow
@hypothesis_settings(max_examples=25, deadline=None)
@given(
    moves=MOVES,
    people_a_seed=st.integers(2, 3),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    quota=st.sampled_from([None, 3, 8]),
)
def test_whatever_people_do_no_seed_and_no_quota_is_exceeded_and_none_is_wasted(
    tmp_path_factory: pytest.TempPathFactory,
    moves: list[tuple[str, int]],
    people_a_seed: int,
    share: float,
    quota: int | None,
) -> None:
    folder = tmp_path_factory.mktemp("claims")
    time = Time()
    changes: dict[str, Any] = {"episodes": 1, "people": 3, "tasks": {"lake": {"quota": quota}, "cab": {}}}
    if share:
        changes["repeats"] = {"share": share, "people": people_a_seed}
    with Journal(folder / "journal.sqlite") as journal:
        ledger = StudyDatabase(journal.engine)
        servers = [opened(folder, ledger, time, **changes) for _ in range(2)]
        holds: dict[int, SeedClaim] = {}
        for number, (move, who) in enumerate(moves):
            server, person = servers[number % 2], f"person-{who}"
            if move == "take":
                claim = server.take(person)
                holds = {one: held for one, held in holds.items() if claim is None or held.id != claim.id}
                if claim is not None:
                    holds[who] = claim
            elif move == "finish" and who in holds:
                with ledger.write() as connection:
                    server.finish(connection, holds.pop(who), "e")
            elif move == "leave":
                server.give_back(person)
            elif move == "take back":
                server.take_back(person)
                holds.pop(who, None)
            elif move == "renew" and who in holds:
                server.renew(holds[who])
            elif move == "wait":
                time.now += 31 * MINUTE
            _check(ledger, servers[0], quota)
        free = {
            row["id"]: row["task"]
            for row in ledger.rows(sql.select(claims))
            if row["state"] == "held" and row["until"] < time.now
        }
        for number in range(12):  # what was left is handed out before anything new of its task
            claim = servers[0].take(f"new-{number}")
            if claim is not None:
                assert claim.id in free or claim.task not in free.values()
                free.pop(claim.id, None)


def _check(ledger: StudyDatabase, server: SeedClaims, quota: int | None) -> None:
    rows = ledger.rows(sql.select(claims))
    players: dict[tuple[str, int], list[str]] = {}
    for row in rows:
        players.setdefault((row["task"], row["seed"]), []).append(row["person"])
    for (task, seed), who in players.items():
        assert len(who) == len(set(who)) <= server.people_of(task, seed)
    if quota is not None:
        assert sum(row["task"] == "lake" for row in rows) <= quota
    for task in ("lake", "cab"):
        seeds = {row["seed"] for row in rows if row["task"] == task}
        assert seeds == set(range(len(seeds)))  # no seed is passed over


def test_many_threads_at_once_are_given_different_seeds(tmp_path: Path, ledger: StudyDatabase) -> None:
    servers = [opened(tmp_path, ledger) for _ in range(4)]
    taken: list[SeedClaim] = []
    threads = [
        threading.Thread(target=lambda n=n: taken.append(take(servers[n % 4], f"person-{n}")))
        for n in range(24)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claim.seed for claim in taken) == list(range(24))
