"""Calls of pages that block for the database or the disk: in threads of their own, and never for long.

The threads that serve files are others: whatever the database does, every page that needs none is served.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import ParamSpec, TypeVar

import sqlalchemy as sql

P = ParamSpec("P")
T = TypeVar("T")

LONGEST_SECONDS = 10.0
"""So long a page waits for a database that says nothing."""
TROUBLED_SECONDS = 1.0
"""So long a page waits for one that is known to fail: it may just have come back."""
_THREADS = 16
_LOOK_SECONDS = 0.1
_refused_at: dict[str, float] = {}
"""The functions whose last call that ended was refused by the database, and when that was."""


async def bounded_call(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Run what blocks in a thread; raises sqlalchemy's TimeoutError when that takes too long.

    What has begun by then goes on, unheard; what has not is never begun.
    """
    return await bounded_unless(lambda: False, work, *arguments, **options)


async def bounded_unless(
    is_troubled: Callable[[], object], work: Callable[P, T], *arguments: P.args, **options: P.kwargs
) -> T:
    """Do the same, and wait no longer than TROUBLED_SECONDS once `is_troubled` says so.

    Nor longer once another call of the same function was refused by the database, until one succeeds: those
    that wait behind it would be refused as well, each after a timeout of its own.
    """
    name = getattr(work, "__qualname__", "")
    loop = asyncio.get_running_loop()
    call = partial(contextvars.copy_context().run, _noted, name, partial(work, *arguments, **options))
    answer: asyncio.Future[T] = loop.run_in_executor(_threads(name), call)
    began = loop.time()
    try:
        while not answer.done():
            waited = loop.time() - began
            if waited > (TROUBLED_SECONDS if _is_refused(name) or is_troubled() else LONGEST_SECONDS):
                raise sql.exc.TimeoutError("the database does not answer")
            await asyncio.wait([answer], timeout=_LOOK_SECONDS)
        return answer.result()
    finally:
        answer.cancel()


def _noted(name: str, work: Callable[[], T]) -> T:
    """Call a function, and note whether the database refused it; also where the caller no longer waits."""
    try:
        result = work()
    except sql.exc.OperationalError:
        _refused_at[name] = time.monotonic()
        raise
    _refused_at.pop(name, None)
    return result


def is_anything_refused() -> bool:
    """Say whether the database has refused something lately, and not done the like since."""
    return any(_is_refused(name) for name in list(_refused_at))


def _is_refused(name: str) -> bool:
    # what nobody has asked for since may work again
    return time.monotonic() - _refused_at.get(name, -LONGEST_SECONDS) < LONGEST_SECONDS


@lru_cache
def _threads(name: str) -> ThreadPoolExecutor:
    """Return the threads of one function: those that wait to write keep none that reads waiting."""
    return ThreadPoolExecutor(_THREADS, thread_name_prefix=f"database {name}")
