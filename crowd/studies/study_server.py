"""A study while it is served: its database, its seats and participants, and what happens by the clock."""

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
from ..server.server_metrics import ServerMetrics, beat_alone, feel_pulse
from ..settings import Settings
from ..storage.database import cause
from ..storage.journal import saved
from ..storage.journal_records import EpisodeRecord, SeatRecord
from ..storage.secret import Secret
from ..storage.study_tables import ON_BEHALF_OF, PersonRecord, StudyDatabase, people
from .expert_length_cache import ExpertLengthCache
from .moderation import standing
from .participant import Participant
from .seed_claims import SeedClaims
from .study import Study
from .study_context import StudyContext

TICK_SECONDS = 1.0
_SEEN_EVERY = 15
"""Ticks between two notes of who is there."""
_SWEEP_EVERY = 60
_BEAT_EVERY = 2
ABSENT_SECONDS = 120.0
_PATIENCE_SECONDS = 2.0
_log = logging.getLogger("tutelage.crowd")


class StudyServer(Recorder):
    """One server of a study. `controls` are the keys of each task, see `proofreading.rehearse_study`.

    `folder` holds the secret, the store, the consent texts by their hash, and the database unless `database`
    names another. Raises TutelageError when the folder or the database belongs to another study.
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
        self.ledger = StudyDatabase(self.journal.engine)
        self.house = StudyContext(
            study=study,
            ledger=self.ledger,
            journal=self.journal,
            claims=SeedClaims(study, self.ledger, self.secret, clock=lambda: self.house.clock()),
            bests=ExpertLengthCache(study.suite, self.ledger),
            controls=controls,
            standing=standing(self.ledger, study.name),
            remove=self._remove,
        )
        if self.journal.fence is not None:
            self.company = ClusterMembership(self.journal, self.ledger, self.store, self.let_go, self.figures)
        self.meter = ServerMetrics()
        self._started = time.time()
        self._participants: dict[str, Participant] = {}
        self._touched: dict[str, float] = {}
        self._at_work: dict[str, asyncio.Task[None]] = {}
        self._removals: PendingRemovals | None = None
        self._running: list[asyncio.Task[None]] = []
        self._asked: dict[str, str] = {}
        self._last_event: int | None = None
        try:
            self._check_database()
            self._keep_consent_texts()
        except BaseException:
            self.journal.close()
            self._lock.close()
            raise

    async def start(self) -> None:
        """Store what a crash left, then begin to serve."""
        if self.company is None:  # else for each seat that comes, and by those who look for orphans
            await asyncio.to_thread(self._keep_what_was_finished)
        await super().start()
        self._removals = PendingRemovals(self.study.name, self.journal, self.ledger, self.store, self.copies)
        await self._remove_what_is_due()
        loops = self._run_clockwork(), feel_pulse(self.meter)
        self._running = [asyncio.create_task(loop) for loop in loops]

    async def close(self) -> None:
        """Write everything that waits, and let go of the folder."""
        for task in self._running:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._at_work:
            await asyncio.wait(self._at_work.values(), timeout=_PATIENCE_SECONDS)
        await super().close()
        await asyncio.to_thread(self.house.bests.close)

    async def seat_for_page(self, seat: str, page: str = "") -> Seat | None:
        """Return a seat with its participant, for a page to open; None for an unknown id."""
        if self.company is not None:
            await self.company.arrive(seat, page)
            if seat not in self._seats:
                left = await asyncio.to_thread(lambda: self._keep_what_was_finished(seat=seat))
                if left and self._keeper is not None:
                    self._keeper.recover(left)
        self._touched[seat] = time.monotonic()
        if seat not in self._seats:
            person = await asyncio.to_thread(lambda: self.ledger.person(seat=seat))
            if person is None or person.study != self.study.name:
                return None
            if seat not in self._seats:  # somebody else may have made it meanwhile
                self._seats[seat] = self._open(person)
        return self._seats[seat]

    async def left(self, seat: str) -> None:
        """Note that a page has just left a seat: it stays open for a while, they may only have reloaded."""
        self._touched[seat] = time.monotonic()
        if self.company is not None and not self.is_open(seat):
            await self.company.left(seat)

    def is_open(self, seat: str) -> bool:
        """Say whether a page has a seat open on this server."""
        return seat in self._seats and self._seats[seat].is_open

    async def let_go(self, name: str) -> None:
        """Close a seat that is another server's by now, or is to be read anew."""
        seat = self._seats.pop(name, None)
        for one in (self._participants, self._touched):
            one.pop(name, None)
        if seat is not None:
            await seat.hand_over()

    def figures(self) -> dict[str, Any]:
        """Return what the heartbeat of this server tells."""
        seats = sum(one.is_open for one in self._seats.values())
        counted = self.meter.figures(self.journal.trouble)
        return {**counted, "seats": seats, "restarts": self._workers.ended}

    def open_seat(self, seat: str) -> Seat | None:
        """Return a seat that is open on this server; nothing is read for it."""
        return self._seats.get(seat)

    def person_of(self, seat: str) -> PersonRecord | None:
        """Look up whose seat that is. Blocks."""
        return self.ledger.person(seat=seat)

    def join(self, person: str, source: str, language: str) -> PersonRecord:
        """Give a person their seat, or the one they have; who finds the study full is told there. Blocks."""
        if (known := self.ledger.person(person=person)) is not None:
            return known
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
            with self.ledger.write() as connection:
                if self.house.room(connection) < 1:
                    code = self.study.recruiting.code("full", source)
                    row |= {"stage": "done", "outcome": "full", "code": code, "ended": now}
                connection.execute(people.insert(), row)
        except sql.exc.IntegrityError:  # they came twice at once
            _log.debug("a person came by two requests at once")
        found = self.ledger.person(person=person)
        assert found is not None
        return found

    def _note(self, text: str) -> None:
        """What the keeper has to say is for whoever runs the study."""
        _log.warning("%s", text)

    def _open(self, person: PersonRecord) -> Seat:
        deliver = self._keeper.put if self._keeper else None
        record = SeatRecord(person.seat, person.person)
        session = Session(record, self.study.suite, self.journal, self.world, deliver=deliver)
        participant = Participant(session, self.house, person)
        seat = Seat(session, participant, self.journal, self.meter)
        participant.changing = seat.changing
        self._participants[person.seat] = participant
        return seat

    async def _run_clockwork(self) -> None:
        """Tick: read what was decided, look after every participant, note who is there."""
        ticks = 0
        while True:
            began = time.monotonic()
            ticks += 1
            try:
                await self._tick(ticks)
            except sql.exc.DBAPIError as error:
                _log.warning("the database was away at a tick of the study: %s", cause(error))
            except Exception:  # the clock must go on, whatever fails for one participant
                _log.exception("a tick of the study failed")
            await asyncio.sleep(max(0.05, TICK_SECONDS - (time.monotonic() - began)))

    async def _tick(self, ticks: int) -> None:
        if self.journal.trouble is not None:
            return
        self.house.standing = await asyncio.to_thread(standing, self.ledger, self.study.name)
        await self._look_after_browsers()
        for seat, participant in self._participants.items():
            if seat not in self._at_work and (work := participant.due()) is not None:
                self._do(seat, work)
        if self.company is None and ticks % _BEAT_EVERY == 0:
            await asyncio.to_thread(beat_alone, self.ledger, self._started, self.figures())
        if ticks % _SEEN_EVERY == 0:
            await asyncio.to_thread(self._note_seen, [one for one in self._seats if self._seats[one].is_open])
        if ticks % _SWEEP_EVERY == 0:
            self._let_go_of_the_absent()
            await asyncio.to_thread(self._end_old_sessions)
            await asyncio.to_thread(self.house.abandon_what_was_left)
            await self._remove_what_is_due()

    async def _look_after_browsers(self) -> None:
        """Let go of seats whose browsers were released, and ask about browsers that want to be let in."""
        now = time.time()
        self._last_event, released = await asyncio.to_thread(
            released_since, self.ledger, self.study.name, self._last_event
        )
        for seat in released:
            await self.let_go(seat)
        before, self._asked = self._asked, await asyncio.to_thread(asking, self.ledger, self.study.name, now)
        for seat in before.keys() | self._asked.keys():
            if seat in self._seats:
                self._seats[seat].ask_to_confirm(self._asked.get(seat, ""))

    def _do(self, seat: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do something for a seat beside everything else: what hangs there is that seat's trouble alone."""

        async def alone() -> None:
            ON_BEHALF_OF.set(seat)
            try:
                await work()
            except (TutelageError, sql.exc.SQLAlchemyError) as error:
                _log.warning("a participant could not go on by themselves: %s", error)

        task = self._at_work[seat] = asyncio.create_task(alone())
        task.add_done_callback(lambda _: self._at_work.pop(seat, None))

    def _note_seen(self, seats: list[str]) -> None:
        if seats:
            with self.ledger.write() as connection:
                here = people.update().where(people.c.seat.in_(seats), people.c.outcome == "")
                connection.execute(here.values(seen=time.time()))

    def _let_go_of_the_absent(self) -> None:
        """Close the seats that no page has open: environments cost memory, and the journal has the rest."""
        for name, seat in list(self._seats.items()):
            absent = time.monotonic() - self._touched.get(name, 0.0)
            if not seat.is_open and not seat.is_watched and absent > ABSENT_SECONDS:
                for one in (self._seats, self._participants, self._touched):
                    one.pop(name, None)
                self._do(name, seat.close)

    def _end_old_sessions(self) -> None:
        """End the sessions whose time is over of people who are not here."""
        minutes = self.study.limits.session_minutes
        if minutes is None:
            return
        open_ones = sql.select(people).where(people.c.study == self.study.name, people.c.outcome == "")
        for row in self.ledger.rows(open_ones):
            began = row["progress"].get("began")
            if began and row["seat"] not in self._seats and time.time() >= began + 60 * minutes:
                code = self.study.recruiting.code("timed-out", row["source"])
                self.house.claims.give_back(row["person"])
                self.house.abandon_all(row["seat"])
                values = {"stage": "done", "outcome": "timed-out", "code": code, "ended": time.time()}
                self.ledger.change(row["person"], **values)

    def _keep_what_was_finished(self, **whose: str) -> list[EpisodeRecord]:
        """Keep what had ended and was not yet kept when a server was killed: there is nothing to decide.

        Returns what is kept.
        """
        left = self.journal.episodes(state="finished", study=self.study.name, **whose)
        for one in left:
            self.journal.mark(one.episode, "discarded" if one.role == "practice" else "kept")
        self.journal.flush()
        return [one for one in left if one.role != "practice"]

    def _remove(self, person: str) -> None:
        """Remove the episodes of somebody who left and did not want them kept, once all have been stored."""
        if self._keeper is not None and self._removals is not None:
            removals = self._removals
            self._keeper.after(lambda: removals.carry_out(person))

    async def _remove_what_is_due(self) -> None:
        """Remove what a crash prevented, and what is here of people who withdrew at another server."""
        if self._removals is not None:
            for person in await asyncio.to_thread(self._removals.due):
                self._remove(person)

    def _check_database(self) -> None:
        others = sql.select(people.c.study).where(people.c.study != self.study.name).limit(1)
        if found := self.ledger.rows(others):
            raise TutelageError(
                f"expected a database of study {self.study.name!r}, got one of {found[0]['study']!r}; "
                "give every study its own folder or database"
            )

    def _keep_consent_texts(self) -> None:
        """Keep every consent text that is shown under its hash: the ledger of consents names only that."""
        texts = self.folder / "consents"
        with disk_errors(self.folder):
            texts.mkdir(exist_ok=True)
            for language in self.study.languages:
                path = texts / f"{self.study.consent_version(language)}.txt"
                if not path.exists():
                    write_whole(path, self.study.consent_text(language).encode())
