"""Assignment of seeds: each person plays a seed once, and a baseline uses all seeds in order."""

from __future__ import annotations

import threading
from collections import defaultdict

from ...envs.task import SeedRange
from ...errors import TutelageError
from ..storage.journal import Journal


class SeedAssignment:
    """Hands out the next unused seed of a range.

    Recording: unused by anyone here, so that two people's demonstrations differ. Baseline (`in_order`):
    unused by this demonstrator, so that everyone plays the same seeds from the start of the range. A seed is
    used once its episode has begun, whatever its result, unless it was left unplayed.
    """

    def __init__(self, seeds: SeedRange, in_order: bool, journal: Journal) -> None:
        self.seeds = seeds
        self.in_order = in_order
        self._lock = threading.Lock()
        self._used: dict[tuple[str, str], set[int]] = defaultdict(set)
        for record in journal.episodes():
            if record.state != "unplayed" and record.seed in seeds:
                self._used[self._key(record.task, record.demonstrator)].add(record.seed)

    def take(self, task: str, demonstrator: str) -> int:
        """Return the first unused seed, and reserve it; raises TutelageError when none is left."""
        with self._lock:
            used = self._used[self._key(task, demonstrator)]
            # the used seeds are nearly always the first of the range, so this ends at once
            seed = self.seeds.start + len(used)
            seed = seed if self._all_before(used, seed) else self.seeds.start
            while seed in used:
                seed += 1
            if seed >= self.seeds.stop:
                raise TutelageError(f"expected an unused {self.seeds.name} seed for {task!r}, got none left")
            used.add(seed)
            return seed

    def give_back(self, task: str, demonstrator: str, seed: int) -> None:
        """Free a seed that was not played."""
        with self._lock:
            self._used[self._key(task, demonstrator)].discard(seed)

    def _key(self, task: str, demonstrator: str) -> tuple[str, str]:
        return (task, demonstrator if self.in_order else "")

    def _all_before(self, used: set[int], seed: int) -> bool:
        return not used or max(used) < seed
