"""Settings of a recorder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..datasets.trajectory import Trajectory
from ..envs.suite import Suite
from ..envs.task import RECORD, TEST, SeedRange, Task


@dataclass(frozen=True)
class Settings:
    """One recorder: what is played, where it is stored, on which seeds, and by whom.

    `episodes` is the target number of demonstrations per task and person; None for no limit. `demonstrator`
    names everyone who plays here; None draws a pseudonym per seat. `on_kept` is called, outside the event
    loop, after a demonstration is in the store. `extra_pages` maps URL paths to files. `database` is the URL
    of the journal's database, if it is not a file in the folder, and `parts` the URL that finished parts are
    copied to. `unavailable` maps tasks of the suite that cannot be played here to the reason: they are left
    out. Foreign environments run in `processes`; a process whose step takes longer than `step_seconds` is
    ended.
    """

    suite: Suite
    out: Path
    seeds: SeedRange = RECORD
    demonstrator: str | None = None
    episodes: int | None = None
    on_kept: Callable[[Trajectory], None] | None = None
    extra_pages: Mapping[str, Path] = field(default_factory=dict)
    database: str = ""
    parts: str = ""
    processes: int = field(default_factory=lambda: os.cpu_count() or 1)
    step_seconds: float = 10.0
    unavailable: Mapping[str, str] = field(default_factory=dict)

    @property
    def tasks(self) -> list[Task]:
        """The tasks that can be played."""
        return [task for task in self.suite if task.id not in self.unavailable]

    @property
    def is_baseline(self) -> bool:
        """Say whether people play the test seeds, as policies do: in order, and the first try counts."""
        return self.seeds.start >= TEST.start
