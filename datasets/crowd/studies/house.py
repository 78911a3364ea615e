"""What all visits to a study share: its file, its tables, its seeds, and what whoever runs it has decided."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sql

from ....envs.controls import Controls
from ...journal import EpisodeRecord, Journal
from ..ledger import Ledger, Person, consents, identities, people
from ..texts import Texts, load_texts
from .best_lengths import BestLengths
from .claims import Claim, Claims
from .played import conduct_row, has_succeeded, rows_of, write_down
from .standing import Standing
from .study import Study

T = TypeVar("T")


@dataclass
class House:
    """The rooms that visits use. Whatever touches the database is done `in_thread`."""

    study: Study
    ledger: Ledger
    journal: Journal
    claims: Claims
    bests: BestLengths
    controls: Mapping[str, Controls]
    """What the keys of each task are."""
    standing: Standing = field(default_factory=Standing)
    """Whether the study, or somebody in it, is paused or banned; read anew every second."""
    clock: Callable[[], float] = time.time
    remove: Callable[[str], None] = lambda _: None
    """Is told a pseudonym whose episodes are to be removed, after all of them have been stored."""

    def texts(self, language: str) -> Texts:
        """Return the texts of a language, with the study's own words in them."""
        return load_texts(language, self.study.folder, self.study.words.get(language, {}))

    async def in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run what blocks in a thread."""
        return await asyncio.to_thread(work, *arguments)

    def episodes(self, seat: str, *states: str) -> list[EpisodeRecord]:
        """Read a seat's episodes in some states, the last changed one last. Blocks."""
        self.journal.flush()
        return [one for one in self.journal.episodes(seat=seat) if one.state in states]

    def rows(self, person: str) -> list[dict[str, Any]]:
        """Read what a person has played that counts. Blocks."""
        with self.ledger.engine.connect() as connection:
            return rows_of(connection, person)

    def note(self, what: str, person: Person, reason: str) -> None:
        """Add an event about a person. Blocks."""
        self.ledger.note(self.study.name, what, person.person, reason[:500])

    def abandon(self, record: EpisodeRecord) -> None:
        """Give up an episode whose seed is somebody else's by now. Blocks."""
        self.journal.mark(record.episode, "abandoned").result()

    def give_up_seed(self, person: Person, claim: Claim | None, why: str) -> None:
        """Note that an episode could not be played, so that nobody else is given its seed. Blocks."""
        self.note("broken", person, why)
        if claim is not None:
            with self.ledger.write() as connection:
                self.claims.finish(connection, claim, "")

    def where_back(self, person: Person) -> str:
        """Return the address that a person came from and goes back to, or "". Blocks."""
        found = self.ledger.rows(sql.select(identities.c.ids).where(identities.c.person == person.person))
        ids = found[0]["ids"] if found else {}
        return self.study.recruiting.where_back(person.source, ids, person.code)

    def write(
        self, person: Person, row: Mapping[str, Any], claim: Claim | None, progress: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Write down an episode that is over, in one transaction; returns all that the person has played."""
        with self.ledger.write() as connection:
            write_down(connection, row)
            if claim is not None:
                self.claims.finish(connection, claim, row["episode"])
            change = people.update().where(people.c.person == person.person)
            connection.execute(change.values(progress=dict(progress), seen=self.clock()))
            return rows_of(connection, person.person)

    def decide(self, person: Person, decision: str, version: str, language: str, **values: Any) -> None:
        """Add to the consent ledger and change the person's row, in one transaction."""
        row = {"person": person.person, "study": self.study.name, "consent": version, "language": language}
        with self.ledger.write() as connection:
            connection.execute(consents.insert(), {**row, "decision": decision, "at": self.clock()})
            change = people.update().where(people.c.person == person.person)
            connection.execute(change.values(seen=self.clock(), **values))

    def has_room(self, person: str = "") -> bool:
        """Say whether one more may begin: places are those who completed, and those who are underway.

        Who has not been seen for the study's `claim_minutes` holds no place; `person` does not count.
        """
        with self.ledger.engine.connect() as connection:
            return self.room(connection, person) > 0

    def room(self, connection: sql.Connection, person: str = "") -> int:
        """Count the places that are left, within a transaction of the caller's."""
        lately = self.clock() - 60 * self.study.limits.claim_minutes
        holds = sql.or_(
            people.c.outcome == "completed", sql.and_(people.c.outcome == "", people.c.seen >= lately)
        )
        query = sql.select(sql.func.count()).select_from(people)
        taken = connection.execute(
            query.where(people.c.study == self.study.name, people.c.person != person, holds)
        ).scalar_one()
        return self.study.people - int(taken)

    def settle(self, claim: Claim, record: EpisodeRecord) -> None:
        """Write down an episode that ended just before a crash, from the journal alone. Blocks."""
        task = self.study.suite[record.task]
        steps = self.journal.steps(record.episode)
        success = has_succeeded(record, steps, task)
        expert = self.bests.known(task.id, record.seed)
        row = conduct_row(record, steps, task, success=success, expert_steps=expert)
        with self.ledger.write() as connection:
            write_down(connection, row)
            self.claims.finish(connection, claim, record.episode)
