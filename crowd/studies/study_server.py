"""A study while it is served: its database, seats and participants, and periodic work."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from ...envs.keys.controls import Controls
from ...errors import TutelageError
from ...files.atomic_files import disk_errors, write_whole
from ..cluster.membership import ClusterMembership
from ..privacy.pending_removals import PendingRemovals
from ..recruiting.browsers import asking, released_since
from ..seats.recorder import Recorder
from ..seats.seat import Seat
from ..seats.session import Session
from ..server.server_metrics import ServerMetrics, measure_loop_delay, write_heartbeat
from ..settings import Settings
from ..storage.database import cause
from ..storage.journal import saved
from ..storage.journal_records import EpisodeRecord, SeatRecord
from ..storage.secret import Secret
from ..storage.study_tables import ON_BEHALF_OF, PersonRecord, StudyDatabase, people
from .expert_length_cache import ExpertLengthCache
from .moderation import moderation_state
from .participant import Participant
from .seed_claims import SeedClaims
from .study import Study
from .study_context import StudyContext

TICK_SECONDS = 1.0
_SEEN_EVERY = 15
"""Ticks between two records of who is present."""
_SWEEP_EVERY = 60
_BEAT_EVERY = 2
ABSENT_SECONDS = 120.0
_PATIENCE_SECONDS = 2.0
_log = logging.getLogger("tutelage.crowd")


class StudyServer(Recorder):
    """One server of a study. `controls` are the keys of each task, see `study_checks.rehearse_study`.

    `folder` contains the secret, the store, the consent texts by their hash, and the database unless
    `database` names another. Raises TutelageError when the folder or the database belongs to another study.
    """

    def __init__(
        self,
        study: Study,
        folder: Path,
        controls: Mapping[str, Controls],
        database: str = "",
        parts: str = "",
    ) -> None:
        self.study = study
        self.folder = folder
        super().__init__(Settings(study.suite, folder, study.seeds, database=database, parts=parts))
        self.secret = Secret.load(folder)
        self.database = StudyDatabase(self.journal.engine)
        self.context = StudyContext(
            study=study,
            database=self.database,
            journal=self.journal,
            claims=SeedClaims(study, self.database, self.secret, clock=lambda: self.context.clock()),
            bests=ExpertLengthCache(study.suite, self.database),
            controls=controls,
            moderation=moderation_state(self.database, study.name),
            remove=self._remove,
        )
        if self.journal.fence is not None:
            self.cluster = ClusterMembership(
                self.journal, self.database, self.store, self.let_go, self.figures
            )
        self.metrics = ServerMetrics()
        self._started = time.time()
        self._participants: dict[str, Participant] = {}
        self._last_used: dict[str, float] = {}
        self._seat_work: dict[str, asyncio.Task[None]] = {}
        self._removals: PendingRemovals | None = None
        self._running: list[asyncio.Task[None]] = []
        self._browser_codes: dict[str, str] = {}
        self._last_event: int | None = None
        try:
            self._check_database()
            self._keep_consent_texts()
        except BaseException:
            self.journal.close()
            self._locks.close()
            raise

    async def start(self) -> None:
        """Store what a crash left, then start to serve."""
        if self.cluster is None:  # otherwise done per arriving seat, and by the search for orphans
            await asyncio.to_thread(self._keep_finished)
        await super().start()
        self._removals = PendingRemovals(
            self.study.name, self.journal, self.database, self.store, self.copies
        )
        await self._remove_due()
        loops = self._tick_loop(), measure_loop_delay(self.metrics)
        self._running = [asyncio.create_task(loop) for loop in loops]

    async def close(self) -> None:
        """Write everything that waits, and release the folder."""
        for task in self._running:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._seat_work:
            await asyncio.wait(self._seat_work.values(), timeout=_PATIENCE_SECONDS)
        await super().close()
        await asyncio.to_thread(self.context.bests.close)

    async def seat_for_page(self, seat: str, page: str = "") -> Seat | None:
        """Return the seat of an id, with its participant, for a page to open; None if it does not exist."""
        if self.cluster is not None:
            await self.cluster.arrive(seat, page)
            if seat not in self._seats:
                unfinished = await asyncio.to_thread(lambda: self._keep_finished(seat=seat))
                if unfinished and self._archiver is not None:
                    self._archiver.recover(unfinished)
        self._last_used[seat] = time.monotonic()
        if seat not in self._seats:
            person = await asyncio.to_thread(lambda: self.database.person(seat=seat))
            if person is None or person.study != self.study.name:
                return None
            if seat not in self._seats:  # another call may have made it meanwhile
                self._seats[seat] = self._open(person)
        return self._seats[seat]

    async def left(self, seat: str) -> None:
        """Record that a page has left a seat: it stays open for a while, since this may be a reload."""
        self._last_used[seat] = time.monotonic()
        if self.cluster is not None and not self.is_open(seat):
            await self.cluster.left(seat)

    def is_open(self, seat: str) -> bool:
        """Say whether a page has a seat open on this server."""
        return seat in self._seats and self._seats[seat].is_open

    async def let_go(self, name: str) -> None:
        """Close a seat that another server has by now, or that is to be reread."""
        seat = self._seats.pop(name, None)
        for by_seat in (self._participants, self._last_used):
            by_seat.pop(name, None)
        if seat is not None:
            await seat.hand_over()

    def figures(self) -> dict[str, Any]:
        """Return the counters in this server's heartbeat."""
        seats = sum(seat.is_open for seat in self._seats.values())
        counters = self.metrics.figures(self.journal.trouble)
        return {**counters, "seats": seats, "restarts": self._workers.ended}

    def open_seat(self, seat: str) -> Seat | None:
        """Return a seat that is open on this server, without reading the database."""
        return self._seats.get(seat)

    def person_of(self, seat: str) -> PersonRecord | None:
        """Look up the person of a seat. Blocks."""
        return self.database.person(seat=seat)

    def join(self, person: str, source: str, language: str) -> PersonRecord:
        """Give a person a seat, or return theirs; in a full study their outcome is `full`. Blocks."""
        if (existing := self.database.person(person=person)) is not None:
            return existing
        now = time.time()
        seat = f"{self.secret.number('seat', self.study.name, person):016x}"
        row: dict[str, Any] = {
            "person": person,
            "seat": seat,
            "study": self.study.name,
            "source": source,
            "language": language,
            "stage": "consent",
            "progress": {},
            "outcome": "",
            "code": "",
            "joined": now,
            "seen": now,
        }
        saved(self.journal.sit(SeatRecord(seat, person)), _PATIENCE_SECONDS)
        try:
            with self.database.write() as connection:
                if self.context.room(connection) < 1:
                    code = self.study.recruiting.code("full", source)
                    row |= {"stage": "done", "outcome": "full", "code": code, "ended": now}
                connection.execute(people.insert(), row)
        except sql.exc.IntegrityError:  # the person came twice at once
            _log.debug("a person came by two requests at once")
        participant = self.database.person(person=person)
        assert participant is not None
        return participant

    def _note(self, text: str) -> None:
        """Log a message of the archiver for the operator."""
        _log.warning("%s", text)

    def _open(self, person: PersonRecord) -> Seat:
        deliver = self._archiver.put if self._archiver else None
        record = SeatRecord(person.seat, person.person)
        session = Session(record, self.study.suite, self.journal, self.make_host, deliver=deliver)
        participant = Participant(session, self.context, person)
        seat = Seat(session, participant, self.journal, self.metrics)
        participant.changing = seat.changing
        self._participants[person.seat] = participant
        return seat

    async def _tick_loop(self) -> None:
        """Tick: read moderation decisions, check every participant, record who is present."""
        ticks = 0
        while True:
            began = time.monotonic()
            ticks += 1
            try:
                await self._tick(ticks)
            except sql.exc.DBAPIError as error:
                _log.warning("the database was away at a tick of the study: %s", cause(error))
            except Exception:  # one participant's failure must not stop the clock
                _log.exception("a tick of the study failed")
            await asyncio.sleep(max(0.05, TICK_SECONDS - (time.monotonic() - began)))

    async def _tick(self, ticks: int) -> None:
        if self.journal.trouble is not None:
            return
        self.context.moderation = await asyncio.to_thread(moderation_state, self.database, self.study.name)
        await self._update_browsers()
        for seat, participant in self._participants.items():
            if seat not in self._seat_work and (work := participant.due()) is not None:
                self._run_for_seat(seat, work)
        if self.cluster is None and ticks % _BEAT_EVERY == 0:
            await asyncio.to_thread(write_heartbeat, self.database, self._started, self.figures())
        if ticks % _SEEN_EVERY == 0:
            await asyncio.to_thread(
                self._note_seen, [name for name in self._seats if self._seats[name].is_open]
            )
        if ticks % _SWEEP_EVERY == 0:
            self._close_absent()
            await asyncio.to_thread(self._end_old_sessions)
            await asyncio.to_thread(self.context.abandon_what_was_left)
            await self._remove_due()

    async def _update_browsers(self) -> None:
        """Close seats whose browsers were released, and ask about browsers that want to join."""
        now = time.time()
        self._last_event, released = await asyncio.to_thread(
            released_since, self.database, self.study.name, self._last_event
        )
        for seat in released:
            await self.let_go(seat)
        earlier, self._browser_codes = (
            self._browser_codes,
            await asyncio.to_thread(asking, self.database, self.study.name, now),
        )
        for seat in earlier.keys() | self._browser_codes.keys():
            if seat in self._seats:
                self._seats[seat].ask_to_confirm(self._browser_codes.get(seat, ""))

    def _run_for_seat(self, seat: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run work for a seat in a separate task: a hang affects that seat only."""

        async def alone() -> None:
            ON_BEHALF_OF.set(seat)
            try:
                await work()
            except (TutelageError, sql.exc.SQLAlchemyError) as error:
                _log.warning("a participant could not go on by themselves: %s", error)

        task = self._seat_work[seat] = asyncio.create_task(alone())
        task.add_done_callback(lambda _: self._seat_work.pop(seat, None))

    def _note_seen(self, seats: list[str]) -> None:
        if seats:
            with self.database.write() as connection:
                update = people.update().where(people.c.seat.in_(seats), people.c.outcome == "")
                connection.execute(update.values(seen=time.time()))

    def _close_absent(self) -> None:
        """Close the seats without a page: environments cost memory, and the journal has the rest."""
        for name, seat in list(self._seats.items()):
            absent = time.monotonic() - self._last_used.get(name, 0.0)
            if not seat.is_open and not seat.is_watched and absent > ABSENT_SECONDS:
                for by_seat in (self._seats, self._participants, self._last_used):
                    by_seat.pop(name, None)
                self._run_for_seat(name, seat.close)

    def _end_old_sessions(self) -> None:
        """End the expired sessions of people who are absent."""
        minutes = self.study.limits.session_minutes
        if minutes is None:
            return
        query = sql.select(people).where(people.c.study == self.study.name, people.c.outcome == "")
        for row in self.database.rows(query):
            began = row["progress"].get("began")
            if began and row["seat"] not in self._seats and time.time() >= began + 60 * minutes:
                code = self.study.recruiting.code("timed-out", row["source"])
                self.context.claims.give_back(row["person"])
                self.context.abandon_all(row["seat"])
                values = {"stage": "done", "outcome": "timed-out", "code": code, "ended": time.time()}
                self.database.change(row["person"], **values)

    def _keep_finished(self, **filters: str) -> list[EpisodeRecord]:
        """Keep episodes that were finished when a server was killed: nothing is left to decide.

        Returns the kept ones.
        """
        records = self.journal.episodes(state="finished", study=self.study.name, **filters)
        for record in records:
            self.journal.mark(record.episode, "discarded" if record.role == "practice" else "kept")
        self.journal.flush()
        return [record for record in records if record.role != "practice"]

    def _remove(self, person: str) -> None:
        """Remove the episodes of a person who withdrew and keeps nothing, once all are stored."""
        if self._archiver is not None and self._removals is not None:
            removals = self._removals
            self._archiver.after(lambda: removals.carry_out(person))

    async def _remove_due(self) -> None:
        """Do the removals that a crash prevented, and those of people who withdrew at another server."""
        if self._removals is not None:
            for person in await asyncio.to_thread(self._removals.due):
                self._remove(person)

    def _check_database(self) -> None:
        query = sql.select(people.c.study).where(people.c.study != self.study.name).limit(1)
        if rows := self.database.rows(query):
            raise TutelageError(
                f"expected a database of study {self.study.name!r}, got one of {rows[0]['study']!r}; "
                "give every study its own folder or database"
            )

    def _keep_consent_texts(self) -> None:
        """Store every consent text under its hash: the table of consents has only that."""
        texts = self.folder / "consents"
        with disk_errors(self.folder):
            texts.mkdir(exist_ok=True)
            for language in self.study.languages:
                path = texts / f"{self.study.consent_version(language)}.txt"
                if not path.exists():
                    write_whole(path, self.study.consent_text(language).encode())
