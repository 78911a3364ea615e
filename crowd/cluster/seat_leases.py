"""Several servers on one database: which of them has a seat, and which of them are alive."""

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
"""A server whose heart has not beaten for so long is dead, by the clock of whoever looks."""

EPISODES = TABLES.tables["episodes"]
_log = logging.getLogger("tutelage.crowd")


class SeatLeases:
    """This server's seats, and its heartbeat. Calls block for the disk.

    A seat belongs to the server that took it last. Taking it waits for whatever the former owner is just
    committing, and is seen by its next commit: from then on the former owner's journal refuses every write
    about that seat, its ledger every transaction `ON_BEHALF_OF` it, and `on_lost(seat)` is called there. So
    two servers never write to one episode, alive or not, whatever their clocks say. `on_lost` comes from
    some thread, twice perhaps, and late perhaps, when the seat is back already: ask `holds` before letting
    go.
    `figures()` is what monitoring adds up over the servers; `store` names the store that this one fills.
    """

    def __init__(
        self,
        journal: Journal,
        ledger: StudyDatabase,
        *,
        on_lost: Callable[[str], None],
        store: str = "",
        figures: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        if journal.fence is None:
            raise TutelageError("expected a journal that servers share, got one of a single server")
        self.server = journal.fence.name
        self._journal = journal
        self._engine = ledger.engine
        self._on_lost = on_lost
        self._figures = figures
        self._ever: set[str] = set()
        self._lost: frozenset[str] = frozenset()
        self._refused: dict[str, frozenset[str]] = {}  # lost seat → its episodes when it was lost
        self._pulse: dict[str, tuple[float, float, str]] = {}  # server → its `seen`, when that changed, store
        self._looked = 0.0
        self._stopping = threading.Event()
        now = time.time()
        row = {"server": self.server, "started": now, "seen": now, "store": store, "figures": {}}
        with writing(self._engine) as connection:
            connection.execute(servers.insert(), row)
        journal.fence.on_taken = self._taken
        ledger.guard = self._check
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self.beat()
        self._thread.start()

    def holds(self, seat: str) -> bool:
        """Say whether a seat is this server's, as the database has it."""
        with self._engine.connect() as connection:
            return connection.execute(_owner(seat)).scalar() == self.server

    def take(self, seat: str) -> int:
        """Make a seat this server's; returns its epoch, which rises when it moves.

        Whoever had the seat here before, when it was lost and comes back, must have let go of it.
        """
        self._journal.flush()  # what was put down before it was lost is refused now, not let through later
        with writing(self._engine) as connection:
            connection.execute(insert_missing(self._engine, leases, {"seat": seat, "server": "", "epoch": 0}))
            row = sql.select(leases).where(leases.c.seat == seat).with_for_update()
            lease = connection.execute(row).mappings().one()
            if lease["server"] == self.server:
                self._ever.add(seat)  # it may have been taken before, and the answer lost
                return int(lease["epoch"])
            # in order, so that two servers never wait for each other
            for one in sorted({lease["server"], self.server}):
                tell = writers.update().where(writers.c.writer == one).values(taken=writers.c.taken + 1)
                connection.execute(tell)
            moved = {"server": self.server, "epoch": lease["epoch"] + 1, "page": ""}
            connection.execute(leases.update().where(leases.c.seat == seat).values(**moved))
            self._ever.add(seat)
            self._lost -= {seat}
        return int(moved["epoch"])

    def is_open_elsewhere(self, seat: str, page: str) -> bool:
        """Say whether another page than this one has the seat open, at another server that is alive."""
        query = sql.select(leases.c.server, leases.c.page).where(leases.c.seat == seat)
        with self._engine.connect() as connection:
            found = connection.execute(query).one_or_none()
        if found is None or found.server == self.server or found.page in ("", page):
            return False
        return found.server in self.living()

    def note_page(self, seat: str, page: str) -> None:
        """Note which page has a seat of this server's open; "" for none."""
        mine = (leases.c.seat == seat) & (leases.c.server == self.server)
        with writing(self._engine) as connection:
            connection.execute(leases.update().where(mine).values(page=page))

    def beat(self) -> None:
        """Say that this server is alive, and see who else is, and which seats have gone."""
        self._journal.flushed()  # a commit, at least one a beat: lost seats are noticed though nobody plays
        now = {"seen": time.time(), "figures": dict(self._figures())}
        with writing(self._engine) as connection:
            connection.execute(servers.update().where(servers.c.server == self.server).values(**now))
            self._tell_lost(self._lost_seats(connection))
        self.living()

    def living(self) -> dict[str, str]:
        """Look which servers are alive; returns them and the stores they fill."""
        with self._engine.connect() as connection:
            rows = connection.execute(sql.select(servers.c.server, servers.c.seen, servers.c.store)).all()
        at = time.monotonic()
        # who has not looked for long, because the database was away say, can tell nothing from old beats
        known = self._pulse if at - self._looked < DEAD_AFTER_SECONDS / 2 else {}
        self._looked = at
        self._pulse = {
            server: known[server] if server in known and known[server][0] == seen else (seen, at, store)
            for server, seen, store in rows
        }
        return {
            server: store
            for server, (_, since, store) in self._pulse.items()
            if since > at - DEAD_AFTER_SECONDS or server == self.server
        }

    def close(self) -> None:
        """Stop beating, and leave every seat to whoever comes."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(sql.exc.DBAPIError), writing(self._engine) as connection:
            mine = leases.update().where(leases.c.server == self.server)
            connection.execute(mine.values(server="", page=""))
            connection.execute(servers.delete().where(servers.c.server == self.server))

    def _beat_on(self) -> None:
        while not self._stopping.wait(BEAT_SECONDS):
            try:
                self.beat()
            except sql.exc.DBAPIError as error:  # the journal tells the players; here it is tried again
                _log.debug("no heartbeat: %s", type(error).__name__)

    def _check(self, connection: sql.Connection, seat: str) -> None:
        """Refuse to write on behalf of a lost seat; whoever wants to take it waits for this transaction."""
        if connection.execute(_owner(seat).with_for_update(read=True)).scalar() != self.server:
            raise TutelageError(MOVED)

    def _taken(self, connection: sql.Connection) -> frozenset[str]:
        """Return the seats that were this server's, and their episodes, for the journal to refuse."""
        lost = self._lost_seats(connection)
        self._tell_lost(lost)
        refused = {seat: episodes for seat, episodes in self._refused.items() if seat in lost}
        for seat in lost - refused.keys():
            query = sql.select(EPISODES.c.episode).where(EPISODES.c.seat == seat)
            refused[seat] = frozenset(connection.execute(query).scalars())
        self._refused = refused
        return lost.union(*refused.values())

    def _lost_seats(self, connection: sql.Connection) -> frozenset[str]:
        mine = connection.execute(sql.select(leases.c.seat).where(leases.c.server == self.server)).scalars()
        return frozenset(self._ever.copy()) - frozenset(mine)

    def _tell_lost(self, lost: frozenset[str]) -> None:
        new, self._lost = lost - self._lost, lost
        for seat in new:
            self._on_lost(seat)


def _owner(seat: str) -> sql.Select[Any]:
    return sql.select(leases.c.server).where(leases.c.seat == seat)
