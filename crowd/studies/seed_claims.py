"""Seed claims: quotas, repeats, gold and baselines; a seed that was left goes to another person.

The seeds of demonstrations are taken in order. Whether a seed is played by one person or by several is a
function of the secret and the seed, so that every server computes the same; which of a person's episodes are
gold is a function of the secret and the person, so that it is unpredictable.

Every claim is one row, and its unique place (seed, role, slot) prevents two servers from giving it twice. A
claim that was not renewed for the study's `claim_minutes` may be given to the next person.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sql

from ...errors import TutelageError
from ..storage.secret import Secret
from ..storage.study_tables import StudyDatabase, claims
from .study import FRESH, GOLD, PRACTICE, Study

FREE = ("demonstration", "repeat")
"""Roles whose seeds go to another person when they are left; the others are personal."""

_LOCK = 0x7475746C  # one lock for all claims of a PostgreSQL database; held for a few milliseconds
_TRIES = 20
_SHARES = 1 << 32


@dataclass(frozen=True)
class SeedClaim:
    """One row of `claims`."""

    id: int
    study: str
    task: str
    seed: int
    role: str
    slot: str
    person: str
    state: str
    episode: str
    until: float


class SeedClaims:
    """Hands out the seeds of one study. Calls block for the disk; several servers may make them at once."""

    def __init__(
        self, study: Study, database: StudyDatabase, secret: Secret, clock: Callable[[], float] = time.time
    ) -> None:
        self._study = study
        self._database = database
        self._secret = secret
        self._clock = clock
        self._tasks = [task.id for task in study.tasks]

    def take(self, person: str) -> SeedClaim | None:
        """Return the claim that a person holds, else the next one; None when nothing is left for them."""
        for _ in range(_TRIES):
            try:
                with self._database.write() as connection:
                    self._lock(connection)
                    return self._resume_held(connection, person) or self._next_claim(connection, person)
            except sql.exc.IntegrityError:  # another server was quicker: try again
                continue
        raise TutelageError("expected a seed to be free within a moment, got none; try again")

    def held(self, person: str) -> SeedClaim | None:
        """Return the claim that a person holds, if it is still theirs."""
        with self._database.engine.connect() as connection:
            return self._find_claim(connection, claims.c.person == person, claims.c.state == "held")

    def renew(self, claim: SeedClaim, episode: str = "") -> bool:
        """Extend a claim, and record the episode it is played as; False when it is lost."""
        values: dict[str, Any] = {"until": self._expiry()} | ({"episode": episode} if episode else {})
        return self._update(claim, values)

    def give_back(self, person: str) -> None:
        """Release what a person holds but does not play, for the next person."""
        with self._database.write() as connection:
            self.let_go(connection, person)

    def take_back(self, person: str) -> None:
        """Free every seed of a person whose episodes are removed, as if it had not been played."""
        with self._database.write() as connection:
            self.let_go(connection, person, played=True)

    def let_go(self, connection: sql.Connection, person: str, played: bool = False) -> None:
        """Free what a person holds, and what they have `played`, within the caller's transaction."""
        states = ("held", "done") if played else ("held",)
        release = claims.update().where(self._is_own(person), claims.c.state.in_(states))
        connection.execute(release.values(state="held", until=0.0, episode=""))

    def finish(self, connection: sql.Connection, claim: SeedClaim, episode: str) -> None:
        """Mark a claim as played, within the caller's transaction.

        It counts even if it has expired, unless another person has it.
        """
        connection.execute(
            claims.update()
            .where(claims.c.id == claim.id, claims.c.person == claim.person)
            .values(state="done", episode=episode)
        )

    def practice_seed(self, person: str, number: int) -> int:
        """Return the seed of a person's practice episode, from a range without demonstrations."""
        return PRACTICE.start + self._secret.number("practice", self._study.name, person, number) % (
            PRACTICE.stop - PRACTICE.start
        )

    def is_gold(self, person: str, index: int) -> bool:
        """Say whether the episode `index` of a person (the first is 0) is a gold one.

        The episodes are divided into as many stretches as there are gold ones; each has one, at a random
        place.
        """
        count, episodes = self._study.gold_episodes, self._study.episodes
        for stretch in range(count):
            start, stop = stretch * episodes // count, (stretch + 1) * episodes // count
            if start <= index < stop:
                chosen = self._secret.number("gold", self._study.name, person, stretch) % (stop - start)
                return index == start + chosen
        return False

    def people_of(self, task: str, seed: int) -> int:
        """Return how many people play a fresh seed: 1, or more if it is a repeated one."""
        repeats = self._study.repeats
        if repeats is None:
            return 1
        drawn = self._secret.number("repeat", self._study.name, task, seed) % _SHARES
        return repeats.people if drawn < repeats.share * _SHARES else 1

    def _lock(self, connection: sql.Connection) -> None:
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
            connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_LOCK)))

    def _resume_held(self, connection: sql.Connection, person: str) -> SeedClaim | None:
        """Resume the claim that a person holds, even if expired, unless another person has taken it."""
        claim = self._find_claim(connection, claims.c.person == person, claims.c.state == "held")
        if claim is None:
            return None
        until = self._expiry()
        connection.execute(claims.update().where(claims.c.id == claim.id).values(until=until))
        return SeedClaim(**{**vars(claim), "until": until})

    def _next_claim(self, connection: sql.Connection, person: str) -> SeedClaim | None:
        played: Counter[str] = Counter()
        query = (
            sql.select(claims.c.task, sql.func.count()).where(self._is_own(person)).group_by(claims.c.task)
        )
        for task, count in connection.execute(query):
            played[task] = count
        index = sum(played.values())
        if self._study.is_baseline:
            return self._claim_baseline(connection, person, index)
        # the task with the fewest episodes comes first; ties are ordered by person
        order = sorted(
            self._tasks,
            key=lambda task: (
                played[task],
                self._secret.number("task", self._study.name, person, index, task),
            ),
        )
        if self.is_gold(person, index):
            return self._claim_gold(connection, person, order[0])
        for task in order:
            claim = self._take_over(connection, person, task) or self._claim_open(connection, person, task)
            if claim is not None:
                return claim
        return None

    def _claim_baseline(self, connection: sql.Connection, person: str, index: int) -> SeedClaim:
        """Claim the next baseline seed: everyone plays every seed, in the same order, tasks alternating."""
        task = self._tasks[index % len(self._tasks)]
        seed = self._study.seeds.start + index // len(self._tasks)
        return self._insert(connection, person, task, seed, "baseline", person)

    def _claim_gold(self, connection: sql.Connection, person: str, task: str) -> SeedClaim:
        """Claim a gold seed that the person has not played; the order differs from person to person."""
        played_seeds = {
            row.seed
            for row in connection.execute(
                sql.select(claims.c.seed).where(
                    self._is_own(person), claims.c.task == task, claims.c.role == "gold"
                )
            )
        }
        pool = range(2 * self._study.gold_episodes)
        order = sorted(pool, key=lambda number: self._secret.number("gold order", person, task, number))
        seeds = (
            GOLD.start
            + self._secret.number("gold seed", self._study.name, task, number) % (GOLD.stop - GOLD.start)
            for number in order
        )
        seed = next(number for number in seeds if number not in played_seeds)
        return self._insert(connection, person, task, seed, "gold", person)

    def _take_over(self, connection: sql.Connection, person: str, task: str) -> SeedClaim | None:
        """Take over an abandoned claim on a seed that this person has not played."""
        claim = self._find_claim(
            connection,
            claims.c.study == self._study.name,
            claims.c.task == task,
            claims.c.role.in_(FREE),
            claims.c.state == "held",
            claims.c.until < self._clock(),
            claims.c.seed.not_in(self._seeds_of(person, task)),
        )
        if claim is None:
            return None
        values = {"person": person, "until": self._expiry(), "episode": ""}
        connection.execute(claims.update().where(claims.c.id == claim.id).values(**values))
        return SeedClaim(**{**vars(claim), **values})

    def _claim_open(self, connection: sql.Connection, person: str, task: str) -> SeedClaim | None:
        """Claim an open place on a repeated seed, else the next fresh seed, within the quota."""
        is_counted = (claims.c.study == self._study.name) & (claims.c.task == task) & claims.c.role.in_(FREE)
        quota = self._study.quotas[task].quota if task in self._study.quotas else None
        if quota is not None:
            claimed = connection.execute(
                sql.select(sql.func.count()).select_from(claims).where(is_counted)
            ).scalar()
            if int(claimed or 0) >= quota:
                return None
        if self._study.repeats is not None:
            places = self._study.repeats.people
            query = (
                sql.select(claims.c.seed, sql.func.count())
                .where(
                    is_counted, claims.c.role == "repeat", claims.c.seed.not_in(self._seeds_of(person, task))
                )
                .group_by(claims.c.seed)
                .having(sql.func.count() < places)
                .order_by(claims.c.seed)
                .limit(1)
            )
            if (row := connection.execute(query).first()) is not None:
                # places are given in order and rows are never removed, so their number names the next one
                return self._insert(connection, person, task, row[0], "repeat", str(row[1]))
        last = connection.execute(sql.select(sql.func.max(claims.c.seed)).where(is_counted)).scalar()
        seed = FRESH.start if last is None else int(last) + 1
        if seed not in FRESH:
            return None
        role = "repeat" if self.people_of(task, seed) > 1 else "demonstration"
        return self._insert(connection, person, task, seed, role, "0")

    def _insert(
        self, connection: sql.Connection, person: str, task: str, seed: int, role: str, slot: str
    ) -> SeedClaim:
        row: dict[str, Any] = {"study": self._study.name, "task": task, "seed": seed, "role": role}
        row |= {"slot": slot, "person": person, "state": "held", "episode": "", "until": self._expiry()}
        claim_id = connection.execute(claims.insert().values(**row).returning(claims.c.id)).scalar_one()
        return SeedClaim(id=claim_id, **row)

    def _seeds_of(self, person: str, task: str) -> sql.Select[Any]:
        return sql.select(claims.c.seed).where(self._is_own(person), claims.c.task == task)

    def _is_own(self, person: str) -> sql.ColumnElement[bool]:
        return (claims.c.person == person) & (claims.c.study == self._study.name)

    def _find_claim(
        self, connection: sql.Connection, *conditions: sql.ColumnElement[bool]
    ) -> SeedClaim | None:
        query = sql.select(claims).where(claims.c.study == self._study.name, *conditions)
        row = connection.execute(query.order_by(claims.c.id).limit(1)).mappings().first()
        return (
            None
            if row is None
            else SeedClaim(**{column.name: row[column.name] for column in fields(SeedClaim)})
        )

    def _update(self, claim: SeedClaim, values: dict[str, Any]) -> bool:
        is_held = (claims.c.id == claim.id) & (claims.c.person == claim.person) & (claims.c.state == "held")
        with self._database.write() as connection:
            return bool(connection.execute(claims.update().where(is_held).values(**values)).rowcount)

    def _expiry(self) -> float:
        return self._clock() + 60 * self._study.limits.claim_minutes
