"""One server among several on one database: seats move between servers, each demonstration is stored once."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import sqlalchemy as sql

from ...datasets.store import Store
from ..storage.journal import Journal
from ..storage.study_tables import StudyDatabase
from .seat_leases import SeatLeases
from .store_claims import StoreClaims, store_id

_log = logging.getLogger("tutelage.crowd")


class ClusterMembership:
    """This server's view of the other servers; `start` and `close` belong to the event loop that serves.

    `let_go(seat)` closes a seat if it is open on this server.
    """

    def __init__(
        self,
        journal: Journal,
        database: StudyDatabase,
        store: Store,
        let_go: Callable[[str], Awaitable[None]],
        figures: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._let_go = let_go
        self._arriving: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._loop: asyncio.AbstractEventLoop | None = None
        store_name = store_id(store.path)
        self.leases = SeatLeases(journal, database, on_lost=self._on_lost, store=store_name, figures=figures)
        self.store_claims = StoreClaims(journal, database, self.leases, store_name, store.suite.name)

    async def start(self) -> None:
        """Start the heartbeat."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self.leases.start)

    async def is_open_elsewhere(self, seat: str, page: str) -> bool:
        """Say whether another page than this one has the seat open on another live server."""
        return await asyncio.to_thread(self.leases.is_open_elsewhere, seat, page)

    async def arrive(self, seat: str, page: str) -> None:
        """Lease a seat to this server before anything is read about it, for a page that opens it here."""
        async with self._arriving[seat]:
            if not await asyncio.to_thread(self.leases.holds, seat):
                await self._let_go(seat)  # what an earlier lease left here is out of date
                await asyncio.to_thread(self.leases.take, seat)
            await asyncio.to_thread(self.leases.note_page, seat, page)

    async def left(self, seat: str) -> None:
        """Record that the page has closed."""
        try:
            await asyncio.to_thread(self.leases.note_page, seat, "")
        except sql.exc.DBAPIError as error:
            _log.debug("a page left, and could not be written off: %s", type(error).__name__)

    async def close(self) -> None:
        """Release this server's seats to the other servers."""
        await asyncio.to_thread(self.leases.close)

    def _on_lost(self, seat: str) -> None:
        if self._loop is not None and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._lose(seat), self._loop)

    async def _lose(self, seat: str) -> None:
        async with self._arriving[seat]:  # a page may be opening it again right now
            if not await asyncio.to_thread(self.leases.holds, seat):
                await self._let_go(seat)
