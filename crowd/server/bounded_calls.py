"""Blocking database and disk calls of page requests: in separate threads, with a time limit.

Files are served by other threads: whatever the database does, every page that needs no database is served.
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
"""How long a page waits for a database that does not answer."""
TROUBLED_SECONDS = 1.0
"""How long a page waits for a database that is known to fail: it may just have recovered."""
_THREADS = 16
_CHECK_SECONDS = 0.1
_refused_at: dict[str, float] = {}
"""Functions whose last finished call was refused by the database → the time of that."""


async def bounded_call(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Run a blocking call in a thread; raises sqlalchemy's TimeoutError when it takes too long.

    A call that has begun by then goes on, its result unused; one that has not is never begun.
    """
    return await bounded_unless(lambda: False, work, *arguments, **options)


async def bounded_unless(
    is_troubled: Callable[[], object], work: Callable[P, T], *arguments: P.args, **options: P.kwargs
) -> T:
    """Like `bounded_call`, but wait at most TROUBLED_SECONDS once `is_troubled` returns true.

    The same limit applies after the database refused another call of the same function, until one succeeds:
    calls that wait behind it would be refused as well, each after its own timeout.
    """
    name = getattr(work, "__qualname__", "")
    loop = asyncio.get_running_loop()
    call = partial(
        contextvars.copy_context().run, _record_refusal, name, partial(work, *arguments, **options)
    )
    answer: asyncio.Future[T] = loop.run_in_executor(_threads(name), call)
    began = loop.time()
    try:
        while not answer.done():
            waited = loop.time() - began
            if waited > (TROUBLED_SECONDS if _is_refused(name) or is_troubled() else LONGEST_SECONDS):
                raise sql.exc.TimeoutError("the database does not answer")
            await asyncio.wait([answer], timeout=_CHECK_SECONDS)
        return answer.result()
    finally:
        answer.cancel()


def _record_refusal(name: str, work: Callable[[], T]) -> T:
    """Call a function, and record whether the database refused it, even if the caller no longer waits."""
    try:
        result = work()
    except sql.exc.OperationalError:
        _refused_at[name] = time.monotonic()
        raise
    _refused_at.pop(name, None)
    return result


def is_anything_refused() -> bool:
    """Say whether the database refused a function's latest call, recently."""
    return any(_is_refused(name) for name in list(_refused_at))


def _is_refused(name: str) -> bool:
    # an old refusal expires: the call may work again
    return time.monotonic() - _refused_at.get(name, -LONGEST_SECONDS) < LONGEST_SECONDS


@lru_cache
def _threads(name: str) -> ThreadPoolExecutor:
    """Return the threads of one function: waiting writes block no reads."""
    return ThreadPoolExecutor(_THREADS, thread_name_prefix=f"database {name}")
