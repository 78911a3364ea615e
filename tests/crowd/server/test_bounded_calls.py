"""Calls of pages that block for the database: bounded, and soon refused where the database refuses."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import sqlalchemy as sql
from tutelage.crowd.server.bounded_calls import LONGEST_SECONDS, bounded_call


class Ledger:
    """A table of a database that is locked for as long as `locked` is set, but for its first caller."""

    def __init__(self) -> None:
        self.locked = threading.Event()
        self.refuses = True
        self._first = threading.Lock()

    def write(self, number: int) -> int:
        if self._first.acquire(blocking=False):
            if self.refuses:
                raise sql.exc.OperationalError("begin immediate", None, Exception("database is locked"))
            return number
        self.locked.wait(3 * LONGEST_SECONDS)
        return number


def test_what_the_database_refuses_to_one_is_refused_to_those_behind_it() -> None:
    ledger = Ledger()

    async def story() -> list[object]:
        calls = (bounded_call(ledger.write, number) for number in range(8))
        return list(await asyncio.gather(*calls, return_exceptions=True))

    began = time.monotonic()
    try:
        answers = asyncio.run(story())
    finally:
        ledger.locked.set()
    assert sorted({type(answer).__name__ for answer in answers}) == ["OperationalError", "TimeoutError"]
    assert time.monotonic() - began < LONGEST_SECONDS / 2


def test_one_success_gives_the_others_their_time_again() -> None:
    failing, sound = Ledger(), Ledger()
    sound.refuses = False
    with pytest.raises(sql.exc.OperationalError):
        asyncio.run(bounded_call(failing.write, 1))
    assert asyncio.run(bounded_call(sound.write, 2)) == 2

    async def longer_than_where_it_fails() -> int:
        asyncio.get_running_loop().call_later(1.5, sound.locked.set)
        return await bounded_call(sound.write, 3)

    assert asyncio.run(longer_than_where_it_fails()) == 3
