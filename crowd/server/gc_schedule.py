"""When Python looks for garbage: not in the midst of play, where a look at everything stops a full server.

With five hundred seats open such a look takes a fifth of a second, and comes every five seconds by itself.
Nearly all garbage goes at once, by reference counts, or while it is young; only what is old and refers to
itself is left to this.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable

_LOOK_SECONDS = 30.0
_SELDOM_SECONDS = 600.0
_NEVER = 1_000_000_000


async def tidy(is_quiet: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
    """Take over from the collector until cancelled: look at everything when it is quiet, or else seldom."""
    before = gc.get_threshold()
    gc.collect(1)  # a look at everything takes half a second, and finds next to nothing at a start
    gc.freeze()  # modules and kernels stay for good, and are not looked at again
    gc.set_threshold(before[0], before[1], _NEVER)
    looked = clock()
    try:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if is_quiet() or clock() - looked >= _SELDOM_SECONDS:
                gc.collect()
                looked = clock()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
