"""Who plays which seed: quotas, repeats, gold and baselines; a seed that somebody left goes to somebody else.

The seeds of demonstrations are taken in order. Whether a seed is played by one person or by several is a
function of the secret and the seed, so that every server comes to the same; which of somebody's episodes
are gold ones is a function of the secret and the person, so that nobody can foretell them.

Every claim is one row, and its unique place (seed, role, slot) is what keeps two servers from giving it
twice. A claim that was not renewed for the study's `claim_minutes` may be handed to the next person.
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
"""Roles whose seeds go to somebody else when they are left; the others are everybody's own."""

_LOCK = 0x7475746C  # one lock for all claims of a PostgreSQL database; held for some milliseconds
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
        self, study: Study, ledger: StudyDatabase, secret: Secret, clock: Callable[[], float] = time.time
    ) -> None:
        self._study = study
        self._ledger = ledger
        self._secret = secret
        self._clock = clock
        self._tasks = [task.id for task in study.tasks]

    def take(self, person: str) -> SeedClaim | None:
        """Give a person the claim they hold, else the next one; None when nothing is left for them."""
        for _ in range(_TRIES):
            try:
                with self._ledger.write() as connection:
                    self._lock(connection)
                    return self._held(connection, person) or self._next(connection, person)
            except sql.exc.IntegrityError:  # another server was quicker: look again
                continue
        raise TutelageError("expected a seed to be free within a moment, got none; try again")

    def held(self, person: str) -> SeedClaim | None:
        """Return the claim that a person holds, if it is still theirs."""
        with self._ledger.engine.connect() as connection:
            return self._one(connection, claims.c.person == person, claims.c.state == "held")

    def renew(self, claim: SeedClaim, episode: str = "") -> bool:
        """Hold a claim for longer, and note the episode it is played as; False when it is lost."""
        values: dict[str, Any] = {"until": self._until()} | ({"episode": episode} if episode else {})
        return self._change(claim, values)

    def give_back(self, person: str) -> None:
        """Let go of what a person holds but does not play: the next one who asks may have it."""
        with self._ledger.write() as connection:
            self.let_go(connection, person)

    def take_back(self, person: str) -> None:
        """Free every seed of a person whose episodes are removed, as if nobody had played them."""
        with self._ledger.write() as connection:
            self.let_go(connection, person, played=True)

    def let_go(self, connection: sql.Connection, person: str, played: bool = False) -> None:
        """Free what a person holds, and what they have `played`, within a transaction of the caller's."""
        states = ("held", "done") if played else ("held",)
        theirs = claims.update().where(self._mine(person), claims.c.state.in_(states))
        connection.execute(theirs.values(state="held", until=0.0, episode=""))

    def finish(self, connection: sql.Connection, claim: SeedClaim, episode: str) -> None:
        """Mark a claim as played, within a transaction of the caller's.

        It counts even when it had run out meanwhile, so long as nobody else has it.
        """
        connection.execute(
            claims.update()
            .where(claims.c.id == claim.id, claims.c.person == claim.person)
            .values(state="done", episode=episode)
        )

    def practice_seed(self, person: str, number: int) -> int:
        """Return the seed of somebody's practice episode: never one that a demonstration is made on."""
        return PRACTICE.start + self._secret.number("practice", self._study.name, person, number) % (
            PRACTICE.stop - PRACTICE.start
        )

    def is_gold(self, person: str, index: int) -> bool:
        """Say whether the episode `index` of a person (the first is 0) is a gold one.

        Their episodes are divided into as many stretches as there are gold ones; each has one, anywhere.
        """
        count, episodes = self._study.gold_episodes, self._study.episodes
        for stretch in range(count):
            start, stop = stretch * episodes // count, (stretch + 1) * episodes // count
            if start <= index < stop:
                chosen = self._secret.number("gold", self._study.name, person, stretch) % (stop - start)
                return index == start + chosen
        return False

    def people_of(self, task: str, seed: int) -> int:
        """Return how many people play a fresh seed: 1, or more where it is one of the repeated ones."""
        repeats = self._study.repeats
        if repeats is None:
            return 1
        drawn = self._secret.number("repeat", self._study.name, task, seed) % _SHARES
        return repeats.people if drawn < repeats.share * _SHARES else 1

    def _lock(self, connection: sql.Connection) -> None:
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
            connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_LOCK)))

    def _held(self, connection: sql.Connection, person: str) -> SeedClaim | None:
        """Take up again what a person holds, even if it has run out, so long as nobody else took it."""
        mine = self._one(connection, claims.c.person == person, claims.c.state == "held")
        if mine is None:
            return None
        until = self._until()
        connection.execute(claims.update().where(claims.c.id == mine.id).values(until=until))
        return SeedClaim(**{**vars(mine), "until": until})

    def _next(self, connection: sql.Connection, person: str) -> SeedClaim | None:
        played: Counter[str] = Counter()
        own = sql.select(claims.c.task, sql.func.count()).where(self._mine(person)).group_by(claims.c.task)
        for task, count in connection.execute(own):
            played[task] = count
        index = sum(played.values())
        if self._study.is_baseline:
            return self._baseline(connection, person, index)
        # whoever is short of a task gets that one; who starts with which differs from person to person
        order = sorted(
            self._tasks,
            key=lambda task: (
                played[task],
                self._secret.number("task", self._study.name, person, index, task),
            ),
        )
        if self.is_gold(person, index):
            return self._gold(connection, person, order[0])
        for task in order:
            claim = self._left(connection, person, task) or self._open(connection, person, task)
            if claim is not None:
                return claim
        return None

    def _baseline(self, connection: sql.Connection, person: str, index: int) -> SeedClaim:
        """Everybody plays every seed, in the same order, one task after the other."""
        task = self._tasks[index % len(self._tasks)]
        seed = self._study.seeds.start + index // len(self._tasks)
        return self._insert(connection, person, task, seed, "baseline", person)

    def _gold(self, connection: sql.Connection, person: str, task: str) -> SeedClaim:
        """Take a gold seed that the person has not played; everybody has them in another order."""
        known = {
            row.seed
            for row in connection.execute(
                sql.select(claims.c.seed).where(
                    self._mine(person), claims.c.task == task, claims.c.role == "gold"
                )
            )
        }
        pool = range(2 * self._study.gold_episodes)
        order = sorted(pool, key=lambda one: self._secret.number("gold order", person, task, one))
        seeds = (
            GOLD.start
            + self._secret.number("gold seed", self._study.name, task, one) % (GOLD.stop - GOLD.start)
            for one in order
        )
        seed = next(one for one in seeds if one not in known)
        return self._insert(connection, person, task, seed, "gold", person)

    def _left(self, connection: sql.Connection, person: str, task: str) -> SeedClaim | None:
        """Take over a claim that somebody left, on a seed that this person has not played."""
        found = self._one(
            connection,
            claims.c.study == self._study.name,
            claims.c.task == task,
            claims.c.role.in_(FREE),
            claims.c.state == "held",
            claims.c.until < self._clock(),
            claims.c.seed.not_in(self._seeds_of(person, task)),
        )
        if found is None:
            return None
        values = {"person": person, "until": self._until(), "episode": ""}
        connection.execute(claims.update().where(claims.c.id == found.id).values(**values))
        return SeedClaim(**{**vars(found), **values})

    def _open(self, connection: sql.Connection, person: str, task: str) -> SeedClaim | None:
        """Take a place on a repeated seed that is still open, else the next fresh seed, within the quota."""
        here = (claims.c.study == self._study.name) & (claims.c.task == task) & claims.c.role.in_(FREE)
        quota = self._study.quotas[task].quota if task in self._study.quotas else None
        if quota is not None:
            given = connection.execute(sql.select(sql.func.count()).select_from(claims).where(here)).scalar()
            if int(given or 0) >= quota:
                return None
        if self._study.repeats is not None:
            wanted = self._study.repeats.people
            begun = (
                sql.select(claims.c.seed, sql.func.count())
                .where(here, claims.c.role == "repeat", claims.c.seed.not_in(self._seeds_of(person, task)))
                .group_by(claims.c.seed)
                .having(sql.func.count() < wanted)
                .order_by(claims.c.seed)
                .limit(1)
            )
            if (row := connection.execute(begun).first()) is not None:
                # places are given in order and no row is ever removed, so their number is the next one's name
                return self._insert(connection, person, task, row[0], "repeat", str(row[1]))
        last = connection.execute(sql.select(sql.func.max(claims.c.seed)).where(here)).scalar()
        seed = FRESH.start if last is None else int(last) + 1
        if seed not in FRESH:
            return None
        role = "repeat" if self.people_of(task, seed) > 1 else "demonstration"
        return self._insert(connection, person, task, seed, role, "0")

    def _insert(
        self, connection: sql.Connection, person: str, task: str, seed: int, role: str, slot: str
    ) -> SeedClaim:
        row: dict[str, Any] = {"study": self._study.name, "task": task, "seed": seed, "role": role}
        row |= {"slot": slot, "person": person, "state": "held", "episode": "", "until": self._until()}
        made = connection.execute(claims.insert().values(**row).returning(claims.c.id)).scalar_one()
        return SeedClaim(id=made, **row)

    def _seeds_of(self, person: str, task: str) -> sql.Select[Any]:
        return sql.select(claims.c.seed).where(self._mine(person), claims.c.task == task)

    def _mine(self, person: str) -> sql.ColumnElement[bool]:
        return (claims.c.person == person) & (claims.c.study == self._study.name)

    def _one(self, connection: sql.Connection, *wanted: sql.ColumnElement[bool]) -> SeedClaim | None:
        query = sql.select(claims).where(claims.c.study == self._study.name, *wanted)
        row = connection.execute(query.order_by(claims.c.id).limit(1)).mappings().first()
        return None if row is None else SeedClaim(**{one.name: row[one.name] for one in fields(SeedClaim)})

    def _change(self, claim: SeedClaim, values: dict[str, Any]) -> bool:
        still = (claims.c.id == claim.id) & (claims.c.person == claim.person) & (claims.c.state == "held")
        with self._ledger.write() as connection:
            return bool(connection.execute(claims.update().where(still).values(**values)).rowcount)

    def _until(self) -> float:
        return self._clock() + 60 * self._study.limits.claim_minutes
