"""Seat leases of several servers on one database, and their heartbeats."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sql

from ...errors import TutelageError
from ..storage.commit_writer import MOVED
from ..storage.database import insert_missing, writing
from ..storage.journal import Journal
from ..storage.journal_tables import TABLES
from ..storage.study_tables import StudyDatabase, leases, servers
from ..storage.write_fence import writers

BEAT_SECONDS = 2.0
DEAD_AFTER_SECONDS = 12.0
"""A server without a heartbeat for so long is dead, by the clock of the server that checks."""

EPISODES = TABLES.tables["episodes"]
_log = logging.getLogger("tutelage.crowd")


class SeatLeases:
    """This server's seats, and its heartbeat. Calls block for the disk.

    A seat belongs to the server that took it last. Taking a seat waits for the commit that its former owner
    has underway, and is seen by that owner's next commit: from then on the former owner's journal refuses
    every write about the seat, its database refuses every transaction `ON_BEHALF_OF` it, and `on_lost(seat)`
    is called there. So two servers never write to one episode, alive or dead, whatever their clocks say.
    `on_lost` is called from any thread, possibly twice, and possibly late, when the seat is back: check
    `holds` before closing the seat.

    `figures()` returns the counters that monitoring sums over the servers; `store` names the store that this
    server fills.
    """

    def __init__(
        self,
        journal: Journal,
        database: StudyDatabase,
        *,
        on_lost: Callable[[str], None],
        store: str = "",
        figures: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        if journal.fence is None:
            raise TutelageError("expected a journal that servers share, got one of a single server")
        self.server = journal.fence.name
        self._journal = journal
        self._engine = database.engine
        self._on_lost = on_lost
        self._figures = figures
        self._ever_held: set[str] = set()
        self._lost: frozenset[str] = frozenset()
        self._refused: dict[str, frozenset[str]] = {}  # lost seat → its episodes when it was lost
        self._pulse: dict[str, tuple[float, float, str]] = {}  # server → `seen`, when it changed, store
        self._looked_at = 0.0
        self._stopping = threading.Event()
        now = time.time()
        row = {"server": self.server, "started": now, "seen": now, "store": store, "figures": {}}
        with writing(self._engine) as connection:
            connection.execute(servers.insert(), row)
        journal.fence.on_taken = self._find_lost
        database.guard = self._check
        self._thread = threading.Thread(target=self._beat_loop, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the heartbeat."""
        self.beat()
        self._thread.start()

    def holds(self, seat: str) -> bool:
        """Say whether a seat is leased to this server, according to the database."""
        with self._engine.connect() as connection:
            return connection.execute(_owner_query(seat)).scalar() == self.server

    def take(self, seat: str) -> int:
        """Lease a seat to this server; returns its epoch, which rises when the seat moves.

        A seat that was lost and comes back must have been closed here before.
        """
        self._journal.flush()  # queued writes of a lost seat are refused now, not let through later
        with writing(self._engine) as connection:
            connection.execute(insert_missing(self._engine, leases, {"seat": seat, "server": "", "epoch": 0}))
            query = sql.select(leases).where(leases.c.seat == seat).with_for_update()
            lease = connection.execute(query).mappings().one()
            if lease["server"] == self.server:
                self._ever_held.add(seat)  # it may have been taken before, with the answer lost
                return int(lease["epoch"])
            # in sorted order, so that two servers never deadlock
            for server in sorted({lease["server"], self.server}):
                count = writers.update().where(writers.c.writer == server).values(taken=writers.c.taken + 1)
                connection.execute(count)
            values = {"server": self.server, "epoch": lease["epoch"] + 1, "page": ""}
            connection.execute(leases.update().where(leases.c.seat == seat).values(**values))
            self._ever_held.add(seat)
            self._lost -= {seat}
        return int(values["epoch"])

    def is_open_elsewhere(self, seat: str, page: str) -> bool:
        """Say whether another page than this one has the seat open on another live server."""
        query = sql.select(leases.c.server, leases.c.page).where(leases.c.seat == seat)
        with self._engine.connect() as connection:
            lease = connection.execute(query).one_or_none()
        if lease is None or lease.server == self.server or lease.page in ("", page):
            return False
        return lease.server in self.living()

    def note_page(self, seat: str, page: str) -> None:
        """Record which page has a seat of this server open; "" for none."""
        is_own = (leases.c.seat == seat) & (leases.c.server == self.server)
        with writing(self._engine) as connection:
            connection.execute(leases.update().where(is_own).values(page=page))

    def beat(self) -> None:
        """Record this server's heartbeat, and read which servers are alive and which seats were lost."""
        self._journal.flushed()  # at least one commit per beat: lost seats are noticed without play
        now = {"seen": time.time(), "figures": dict(self._figures())}
        with writing(self._engine) as connection:
            connection.execute(servers.update().where(servers.c.server == self.server).values(**now))
            self._report_lost(self._lost_seats(connection))
        self.living()

    def living(self) -> dict[str, str]:
        """Read which servers are alive; returns server → the store it fills."""
        with self._engine.connect() as connection:
            rows = connection.execute(sql.select(servers.c.server, servers.c.seen, servers.c.store)).all()
        now = time.monotonic()
        # after a long gap, as in a database outage, old heartbeats tell nothing
        pulse = self._pulse if now - self._looked_at < DEAD_AFTER_SECONDS / 2 else {}
        self._looked_at = now
        self._pulse = {
            server: pulse[server] if server in pulse and pulse[server][0] == beat else (beat, now, store)
            for server, beat, store in rows
        }
        return {
            server: store
            for server, (_, since, store) in self._pulse.items()
            if since > now - DEAD_AFTER_SECONDS or server == self.server
        }

    def close(self) -> None:
        """Stop the heartbeat, and release every seat."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(sql.exc.DBAPIError), writing(self._engine) as connection:
            release = leases.update().where(leases.c.server == self.server)
            connection.execute(release.values(server="", page=""))
            connection.execute(servers.delete().where(servers.c.server == self.server))

    def _beat_loop(self) -> None:
        while not self._stopping.wait(BEAT_SECONDS):
            try:
                self.beat()
            except sql.exc.DBAPIError as error:  # the journal tells the players; the next beat tries again
                _log.debug("no heartbeat: %s", type(error).__name__)

    def _check(self, connection: sql.Connection, seat: str) -> None:
        """Refuse writes on behalf of a lost seat; a server that takes it waits for this transaction."""
        if connection.execute(_owner_query(seat).with_for_update(read=True)).scalar() != self.server:
            raise TutelageError(MOVED)

    def _find_lost(self, connection: sql.Connection) -> frozenset[str]:
        """Return the seats that this server lost, and their episodes, for the journal to refuse."""
        lost_seats = self._lost_seats(connection)
        self._report_lost(lost_seats)
        refused = {seat: episodes for seat, episodes in self._refused.items() if seat in lost_seats}
        for seat in lost_seats - refused.keys():
            query = sql.select(EPISODES.c.episode).where(EPISODES.c.seat == seat)
            refused[seat] = frozenset(connection.execute(query).scalars())
        self._refused = refused
        return lost_seats.union(*refused.values())

    def _lost_seats(self, connection: sql.Connection) -> frozenset[str]:
        held = connection.execute(sql.select(leases.c.seat).where(leases.c.server == self.server)).scalars()
        return frozenset(self._ever_held.copy()) - frozenset(held)

    def _report_lost(self, lost: frozenset[str]) -> None:
        new, self._lost = lost - self._lost, lost
        for seat in new:
            self._on_lost(seat)


def _owner_query(seat: str) -> sql.Select[Any]:
    return sql.select(leases.c.server).where(leases.c.seat == seat)
