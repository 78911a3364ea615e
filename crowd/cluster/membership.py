"""One server among several on one database: seats come and go, and each demonstration is stored once."""

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
    """What a server needs to know of the others; `start` and `close` belong to the event loop that serves.

    `let_go(seat)` is to close a seat, if it is open here.
    """

    def __init__(
        self,
        journal: Journal,
        ledger: StudyDatabase,
        store: Store,
        let_go: Callable[[str], Awaitable[None]],
        figures: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._let_go = let_go
        self._arriving: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._loop: asyncio.AbstractEventLoop | None = None
        name = store_id(store.path)
        self.leases = SeatLeases(journal, ledger, on_lost=self._on_lost, store=name, figures=figures)
        self.keepers = StoreClaims(journal, ledger, self.leases, name, store.suite.name)

    async def start(self) -> None:
        """Begin to beat."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self.leases.start)

    async def is_open_elsewhere(self, seat: str, page: str) -> bool:
        """Say whether another page than this one has the seat open, at another server that is alive."""
        return await asyncio.to_thread(self.leases.is_open_elsewhere, seat, page)

    async def arrive(self, seat: str, page: str) -> None:
        """Make a seat this server's before anything is read about it, for a page that opens it here."""
        async with self._arriving[seat]:
            if not await asyncio.to_thread(self.leases.holds, seat):
                await self._let_go(seat)  # what is left of it from an earlier time here is out of date
                await asyncio.to_thread(self.leases.take, seat)
            await asyncio.to_thread(self.leases.note_page, seat, page)

    async def left(self, seat: str) -> None:
        """Note that the page has gone."""
        try:
            await asyncio.to_thread(self.leases.note_page, seat, "")
        except sql.exc.DBAPIError as error:
            _log.debug("a page left, and could not be written off: %s", type(error).__name__)

    async def close(self) -> None:
        """Leave the seats to the others."""
        await asyncio.to_thread(self.leases.close)

    def _on_lost(self, seat: str) -> None:
        if self._loop is not None and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._lose(seat), self._loop)

    async def _lose(self, seat: str) -> None:
        async with self._arriving[seat]:  # it may be coming back just now
            if not await asyncio.to_thread(self.leases.holds, seat):
                await self._let_go(seat)
