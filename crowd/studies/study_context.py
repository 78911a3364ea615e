"""Context shared by all participants of a study: its file, tables, seeds and moderation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sql

from ...envs.keys.controls import Controls
from ..recruiting.agreed_pay import AgreedPay, agreed_pay
from ..recruiting.payment_table import owe
from ..storage.journal import Journal, saved
from ..storage.journal_records import EpisodeRecord
from ..storage.study_records import answers, devices
from ..storage.study_tables import PersonRecord, StudyDatabase, consents, identities, people
from ..translations import Translations
from .episode_records import conduct_row, counted, delete_person_rows, has_succeeded, rows_of, write_down
from .expert_length_cache import ExpertLengthCache
from .moderation import ModerationState
from .seed_claims import SeedClaim, SeedClaims
from .study import Study

T = TypeVar("T")
_LEFT_SECONDS = 60.0
"""Seconds after the end of a person's participation from which no server still handles it."""


@dataclass
class StudyContext:
    """State and database operations shared by all participants. Database access runs `in_thread`."""

    study: Study
    database: StudyDatabase
    journal: Journal
    claims: SeedClaims
    bests: ExpertLengthCache
    controls: Mapping[str, Controls]
    """The keys of each task."""
    moderation: ModerationState = field(default_factory=ModerationState)
    """The moderation of the study and its people; reread every second."""
    clock: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    remove: Callable[[str], None] = lambda _: None
    """Receives a pseudonym whose episodes are to be removed, once all of them are stored."""

    def texts(self, language: str) -> Translations:
        """Return the texts of a language, with the study's own words in them."""
        return self.study.texts(language)

    async def in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run a blocking call in a thread, once the journal can be written: no thread waits for a disk."""
        if self.journal.trouble is not None:
            await asyncio.wrap_future(self.journal.flushed())
        return await asyncio.to_thread(work, *arguments)

    def episodes(self, seat: str, *states: str) -> list[EpisodeRecord]:
        """Read a seat's episodes in some states, the last changed one last. Blocks."""
        self.journal.flush()
        return [record for record in self.journal.episodes(seat=seat) if record.state in states]

    def rows(self, person: str) -> list[dict[str, Any]]:
        """Read a person's episodes that count. Blocks."""
        with self.database.engine.connect() as connection:
            return rows_of(connection, person)

    def note(self, what: str, person: PersonRecord, reason: str) -> None:
        """Add an event about a person. Blocks."""
        self.database.note(self.study.name, what, person.person, reason[:500])

    def abandon(self, record: EpisodeRecord) -> None:
        """Give up an episode whose seed another person has taken. Blocks."""
        saved(self.journal.mark(record.episode, "abandoned"))

    def abandon_all(self, seat: str) -> None:
        """Give up the open episodes of a seat whose participation has ended. Blocks."""
        for record in self.episodes(seat, "open"):
            self.abandon(record)

    def abandon_what_was_left(self) -> None:
        """Give up episodes left open by a crash just after a participation ended. Blocks."""
        seats = {record.seat for record in self.journal.episodes(state="open", study=self.study.name)}
        if seats:
            ended = people.c.ended < self.clock() - _LEFT_SECONDS
            for row in self.database.rows(sql.select(people.c.seat).where(people.c.seat.in_(seats), ended)):
                self.abandon_all(row["seat"])

    def give_up_seed(self, person: PersonRecord, claim: SeedClaim | None, why: str) -> None:
        """Record that an episode could not be played, so that its seed is not given again. Blocks."""
        self.note("broken", person, why)
        if claim is not None:
            with self.database.write() as connection:
                self.claims.finish(connection, claim, "")

    def where_back(self, person: PersonRecord) -> str:
        """Return the address that a person came from and returns to, or "". Blocks."""
        rows = self.database.rows(sql.select(identities.c.ids).where(identities.c.person == person.person))
        ids = rows[0]["ids"] if rows else {}
        return self.study.recruiting.where_back(person.source, ids, person.code)

    def write(
        self,
        person: PersonRecord,
        row: Mapping[str, Any],
        claim: SeedClaim | None,
        progress: Mapping[str, Any],
    ) -> list[dict[str, Any]]:
        """Record a finished episode in one transaction; returns all that the person has played."""
        with self.database.write() as connection:
            write_down(connection, row)
            if claim is not None:
                self.claims.finish(connection, claim, row["episode"])
            change = people.update().where(people.c.person == person.person)
            connection.execute(change.values(progress=dict(progress), seen=self.clock()))
            return rows_of(connection, person.person)

    def let_in(self, person: PersonRecord, version: str, language: str, **values: Any) -> bool:
        """Record a person's consent and change their row, in one transaction; False if the study is full."""
        with self.database.write() as connection:
            if self.room(connection) < 1:
                return False
            self._note_decision(connection, person, "given", version, language)
            self._change(connection, person, values)
            return True

    def end(
        self,
        person: PersonRecord,
        decision: str,
        version: str,
        language: str,
        answered: Sequence[Mapping[str, Any]] = (),
        **values: Any,
    ) -> None:
        """End a person's participation in one transaction.

        Writes their row, their `decision` if there is one, their seeds, the rows of what they `answered`
        last, and what they are owed if they completed. A person who withdraws and keeps nothing frees every
        seed, and their statistics are deleted; anyone else frees the seed they hold.
        """
        is_removed = values["outcome"] == "withdrew" and not values["progress"].get("keeps")
        with self.database.write() as connection:
            if decision:
                self._note_decision(connection, person, decision, version, language)
            self.claims.let_go(connection, person.person, played=is_removed)
            if answered:
                connection.execute(answers.insert(), [dict(row) for row in answered])
            if is_removed:
                delete_person_rows(connection, person.person)
            if values["outcome"] == "completed":
                self.owe(connection, person.person, agreed_pay(values["progress"], self.study))
            self._change(connection, person, values)

    def owe(self, connection: sql.Connection, person: str, agreed: AgreedPay) -> None:
        """Record what a person who completed is owed, by the pay they agreed to."""
        if (pay := agreed.pay) is None:
            return
        episodes = counted(rows_of(connection, person))
        amounts = {"base": (pay.base_units, "completed")}
        if pay.bonus is not None:
            amounts["bonus"] = (pay.earned(agreed.episodes, episodes), pay.bonus.reason(episodes))
        owe(connection, self.study.name, person, amounts, pay.currency, self.clock())

    def answer_rows(
        self,
        person: PersonRecord,
        answers_chosen: Sequence[int],
        correct_answers: Sequence[int],
        attempt: int,
        language: str,
    ) -> list[dict[str, Any]]:
        """Make the rows of an attempt at the check: one per question, with the chosen answer."""
        pairs = zip(self.study.question_ids, answers_chosen, correct_answers, strict=True)
        return [
            {"person": person.person, "study": self.study.name, "question": question, "attempt": attempt}
            | {"answer": answer, "correct": answer == correct, "language": language, "at": self.clock()}
            for question, answer, correct in pairs
        ]

    def answered(self, person: PersonRecord, rows: Sequence[Mapping[str, Any]], **values: Any) -> None:
        """Record the answers to a check, and change the person's row, in one transaction. Blocks."""
        with self.database.write() as connection:
            connection.execute(answers.insert(), [dict(row) for row in rows])
            self._change(connection, person, values)

    def note_device(self, person: PersonRecord, device: Mapping[str, Any]) -> None:
        """Record a person's device, unless it equals the last record. Blocks."""
        query = (
            sql.select(devices)
            .where(devices.c.person == person.person)
            .order_by(devices.c.id.desc())
            .limit(1)
        )
        with self.database.write() as connection:
            last = connection.execute(query).mappings().first()
            if last is None or any(last[name] != value for name, value in device.items()):
                row = {"person": person.person, "study": self.study.name, **device, "at": self.clock()}
                connection.execute(devices.insert(), row)

    def has_room(self) -> bool:
        """Say whether one more person may begin. Blocks."""
        with self.database.engine.connect() as connection:
            return self.room(connection) > 0

    def room(self, connection: sql.Connection) -> int:
        """Count the free places, within the caller's transaction.

        Occupied are those of people who have completed, and of people who agreed and are underway. A person
        who only reads the consent has none, or else a script that joins would block the study; nor has a
        person who was not seen for the study's `claim_minutes`. Both may go on; a person who has agreed may
        finish.
        """
        seen_since = self.clock() - 60 * self.study.limits.claim_minutes
        underway = (people.c.outcome == "") & (people.c.stage != "consent") & (people.c.seen >= seen_since)
        query = sql.select(sql.func.count()).select_from(people)
        query = query.where(people.c.study == self.study.name, underway | (people.c.outcome == "completed"))
        return self.study.people - int(connection.execute(query).scalar_one())

    def settle(self, claim: SeedClaim, record: EpisodeRecord) -> None:
        """Record an episode that ended just before a crash, from the journal alone. Blocks."""
        task = self.study.suite[record.task]
        steps = self.journal.steps(record.episode)
        success = has_succeeded(record, steps, task)
        expert = self.bests.known(task.id, record.seed)
        row = conduct_row(record, steps, task, success=success, expert_steps=expert)
        with self.database.write() as connection:
            write_down(connection, row)
            self.claims.finish(connection, claim, record.episode)

    def _note_decision(
        self, connection: sql.Connection, person: PersonRecord, decision: str, version: str, language: str
    ) -> None:
        row = {"person": person.person, "study": self.study.name, "consent": version, "language": language}
        connection.execute(consents.insert(), {**row, "decision": decision, "at": self.clock()})

    def _change(self, connection: sql.Connection, person: PersonRecord, values: Mapping[str, Any]) -> None:
        change = people.update().where(people.c.person == person.person)
        connection.execute(change.values(seen=self.clock(), **values))
