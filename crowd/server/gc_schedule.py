"""Schedule of Python's garbage collector: full collections would stall a busy server during play.

With five hundred open seats a full collection takes 0.2 s, every five seconds by default. Nearly all garbage
is freed by reference counts or by young collections; only old cycles are left to this schedule.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable

_CHECK_SECONDS = 30.0
_SELDOM_SECONDS = 600.0
_NEVER = 1_000_000_000


async def run_gc_schedule(is_quiet: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
    """Replace automatic full collections until cancelled: collect when quiet, or else rarely."""
    thresholds = gc.get_threshold()
    gc.collect(1)  # a full collection takes half a second, and frees next to nothing at the start
    gc.freeze()  # modules and kernels are permanent, and are not scanned again
    gc.set_threshold(thresholds[0], thresholds[1], _NEVER)
    collected_at = clock()
    try:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            if is_quiet() or clock() - collected_at >= _SELDOM_SECONDS:
                gc.collect()
                collected_at = clock()
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
