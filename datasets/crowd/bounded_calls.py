"""Calls of pages that block for the database or the disk: in threads of their own, and never for long.

The threads that serve files are others: whatever the database does, every page that needs none is served.
"""

from __future__ import annotations

import asyncio
import contextvars
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
_THREADS = 32
_LOOK_SECONDS = 0.1


async def bounded_call(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Run what blocks in a thread; raises sqlalchemy's TimeoutError when that takes too long.

    What has begun by then goes on, unheard; what has not is never begun.
    """
    return await bounded_unless(lambda: False, work, *arguments, **options)


async def bounded_unless(
    is_troubled: Callable[[], object], work: Callable[P, T], *arguments: P.args, **options: P.kwargs
) -> T:
    """Do the same, and wait no longer than TROUBLED_SECONDS once `is_troubled` says so."""
    loop = asyncio.get_running_loop()
    call = partial(contextvars.copy_context().run, work, *arguments, **options)
    answer: asyncio.Future[T] = loop.run_in_executor(_threads(), call)
    began = loop.time()
    try:
        while not answer.done():
            waited = loop.time() - began
            if waited > (TROUBLED_SECONDS if is_troubled() else LONGEST_SECONDS):
                raise sql.exc.TimeoutError("the database does not answer")
            await asyncio.wait([answer], timeout=_LOOK_SECONDS)
        return answer.result()
    finally:
        answer.cancel()


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="database")
