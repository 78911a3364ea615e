"""What the participants of a study share: its file, its tables, its seeds, and what moderation decided."""

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
from .episode_records import conduct_row, counted, has_succeeded, rows_of, strike_out, write_down
from .expert_length_cache import ExpertLengthCache
from .moderation import ModerationState
from .seed_claims import SeedClaim, SeedClaims
from .study import Study

T = TypeVar("T")
_LEFT_SECONDS = 60.0
"""So long after somebody's way has ended, no server is still at it."""


@dataclass
class StudyContext:
    """State and database operations shared by all participants of one study.

    What touches the database is done `in_thread`.
    """

    study: Study
    ledger: StudyDatabase
    journal: Journal
    claims: SeedClaims
    bests: ExpertLengthCache
    controls: Mapping[str, Controls]
    """What the keys of each task are."""
    standing: ModerationState = field(default_factory=ModerationState)
    """Whether the study, or somebody in it, is paused or banned; read anew every second."""
    clock: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    remove: Callable[[str], None] = lambda _: None
    """Is told a pseudonym whose episodes are to be removed, after all of them have been stored."""

    def texts(self, language: str) -> Translations:
        """Return the texts of a language, with the study's own words in them."""
        return self.study.texts(language)

    async def in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run what blocks in a thread, once the journal can be written: no thread waits for a full disk."""
        if self.journal.trouble is not None:
            await asyncio.wrap_future(self.journal.flushed())
        return await asyncio.to_thread(work, *arguments)

    def episodes(self, seat: str, *states: str) -> list[EpisodeRecord]:
        """Read a seat's episodes in some states, the last changed one last. Blocks."""
        self.journal.flush()
        return [one for one in self.journal.episodes(seat=seat) if one.state in states]

    def rows(self, person: str) -> list[dict[str, Any]]:
        """Read what a person has played that counts. Blocks."""
        with self.ledger.engine.connect() as connection:
            return rows_of(connection, person)

    def note(self, what: str, person: PersonRecord, reason: str) -> None:
        """Add an event about a person. Blocks."""
        self.ledger.note(self.study.name, what, person.person, reason[:500])

    def abandon(self, record: EpisodeRecord) -> None:
        """Give up an episode whose seed is somebody else's by now. Blocks."""
        saved(self.journal.mark(record.episode, "abandoned"))

    def abandon_all(self, seat: str) -> None:
        """Give up what is still open of whoever sits there, whose way has ended. Blocks."""
        for record in self.episodes(seat, "open"):
            self.abandon(record)

    def abandon_what_was_left(self) -> None:
        """Give up what was open when a way ended just before a crash, even if nobody comes back. Blocks."""
        seats = {one.seat for one in self.journal.episodes(state="open", study=self.study.name)}
        if seats:
            ended = people.c.ended < self.clock() - _LEFT_SECONDS
            for row in self.ledger.rows(sql.select(people.c.seat).where(people.c.seat.in_(seats), ended)):
                self.abandon_all(row["seat"])

    def give_up_seed(self, person: PersonRecord, claim: SeedClaim | None, why: str) -> None:
        """Note that an episode could not be played, so that nobody else is given its seed. Blocks."""
        self.note("broken", person, why)
        if claim is not None:
            with self.ledger.write() as connection:
                self.claims.finish(connection, claim, "")

    def where_back(self, person: PersonRecord) -> str:
        """Return the address that a person came from and goes back to, or "". Blocks."""
        found = self.ledger.rows(sql.select(identities.c.ids).where(identities.c.person == person.person))
        ids = found[0]["ids"] if found else {}
        return self.study.recruiting.where_back(person.source, ids, person.code)

    def write(
        self,
        person: PersonRecord,
        row: Mapping[str, Any],
        claim: SeedClaim | None,
        progress: Mapping[str, Any],
    ) -> list[dict[str, Any]]:
        """Write down an episode that is over, in one transaction; returns all that the person has played."""
        with self.ledger.write() as connection:
            write_down(connection, row)
            if claim is not None:
                self.claims.finish(connection, claim, row["episode"])
            change = people.update().where(people.c.person == person.person)
            connection.execute(change.values(progress=dict(progress), seen=self.clock()))
            return rows_of(connection, person.person)

    def let_in(self, person: PersonRecord, version: str, language: str, **values: Any) -> bool:
        """Note that a person agrees, and change their row, in one transaction; False when it is full."""
        with self.ledger.write() as connection:
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
        """End a person's way in one transaction: their row, their `decision` if there is one, their seeds,
        the rows of what they `answered` last, and what they are owed if they completed.

        Whoever withdraws without leaving what they did frees every seed, and nothing tells how they played;
        anybody else frees the seed they hold.
        """
        removed = values["outcome"] == "withdrew" and not values["progress"].get("keeps")
        with self.ledger.write() as connection:
            if decision:
                self._note_decision(connection, person, decision, version, language)
            self.claims.let_go(connection, person.person, played=removed)
            if answered:
                connection.execute(answers.insert(), [dict(row) for row in answered])
            if removed:
                strike_out(connection, person.person)
            if values["outcome"] == "completed":
                self.owe(connection, person.person, agreed_pay(values["progress"], self.study))
            self._change(connection, person, values)

    def owe(self, connection: sql.Connection, person: str, agreed: AgreedPay) -> None:
        """Write down what a person is owed who has completed, by what they agreed to."""
        if (pay := agreed.pay) is None:
            return
        played = counted(rows_of(connection, person))
        amounts = {"base": (pay.base_units, "completed")}
        if pay.bonus is not None:
            amounts["bonus"] = (pay.earned(agreed.episodes, played), pay.bonus.reason(played))
        owe(connection, self.study.name, person, amounts, pay.currency, self.clock())

    def answer_rows(
        self, person: PersonRecord, chosen: Sequence[int], right: Sequence[int], attempt: int, language: str
    ) -> list[dict[str, Any]]:
        """Make the rows of an attempt at the check: one for each question, with the chosen answer."""
        pairs = zip(self.study.question_ids, chosen, right, strict=True)
        return [
            {"person": person.person, "study": self.study.name, "question": question, "attempt": attempt}
            | {"answer": answer, "correct": answer == correct, "language": language, "at": self.clock()}
            for question, answer, correct in pairs
        ]

    def answered(self, person: PersonRecord, rows: Sequence[Mapping[str, Any]], **values: Any) -> None:
        """Write down the answers to a check, and change the person's row, in one transaction. Blocks."""
        with self.ledger.write() as connection:
            connection.execute(answers.insert(), [dict(row) for row in rows])
            self._change(connection, person, values)

    def note_device(self, person: PersonRecord, told: Mapping[str, Any]) -> None:
        """Write down what a person plays on, unless that is what was written last. Blocks."""
        query = (
            sql.select(devices)
            .where(devices.c.person == person.person)
            .order_by(devices.c.id.desc())
            .limit(1)
        )
        with self.ledger.write() as connection:
            last = connection.execute(query).mappings().first()
            if last is None or any(last[name] != value for name, value in told.items()):
                row = {"person": person.person, "study": self.study.name, **told, "at": self.clock()}
                connection.execute(devices.insert(), row)

    def has_room(self) -> bool:
        """Say whether one more may begin. Blocks."""
        with self.ledger.engine.connect() as connection:
            return self.room(connection) > 0

    def room(self, connection: sql.Connection) -> int:
        """Count the places that are left, within a transaction of the caller's.

        Taken are those of whoever has completed, and of whoever agreed and is underway. Who only reads what
        they are asked to agree to has none, or else a script that joins would shut everybody out; nor has
        who was not seen for the study's `claim_minutes`. Both may go on; whoever has agreed may finish.
        """
        lately = self.clock() - 60 * self.study.limits.claim_minutes
        underway = (people.c.outcome == "") & (people.c.stage != "consent") & (people.c.seen >= lately)
        taken = sql.select(sql.func.count()).select_from(people)
        taken = taken.where(people.c.study == self.study.name, underway | (people.c.outcome == "completed"))
        return self.study.people - int(connection.execute(taken).scalar_one())

    def settle(self, claim: SeedClaim, record: EpisodeRecord) -> None:
        """Write down an episode that ended just before a crash, from the journal alone. Blocks."""
        task = self.study.suite[record.task]
        steps = self.journal.steps(record.episode)
        success = has_succeeded(record, steps, task)
        expert = self.bests.known(task.id, record.seed)
        row = conduct_row(record, steps, task, success=success, expert_steps=expert)
        with self.ledger.write() as connection:
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
