"""Servers that are asked for all sorts of things; afterwards, somebody must still be able to play there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, settings
from tutelage.tests import small_room
from tutelage.tests.nursery import Nursery, Server, serving
from tutelage.tests.players import Player
from tutelage.tests.what_is_stored import check_store, check_study

MEGABYTES = 48
PANEL = {
    "study": "5f0000000000000000000001",
    "proof": "none",
    "api": "http://127.0.0.1:1",
    "complete": "person",
}
KEYS = {"PROLIFIC_API_TOKEN": "token", "PROLIFIC_WEBHOOK_SECRET": "secret"}
quickly = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
long = settings(quickly, max_examples=3000, derandomize=False)


@contextmanager
def served(nursery: Nursery, kind: str, folder: Path) -> Iterator[Server]:
    """Serve a recorder or a study with every route that there is; at the end, play there."""
    changes = {"recruiting": {"links": "open", "prolific": PANEL}, "breaks": {"every": 1}, "episodes": 2}
    small_room.write(folder, **changes)
    with serving(nursery, kind, folder, environment=KEYS) as server:
        before = server.megabytes
        yield server
        player = Player(random.Random(1), "127.9.9.9")
        asyncio.run(player.play(server.address, 40))
        assert server.megabytes < before + MEGABYTES
    if kind == "study":
        assert player.way["outcome"] == "completed"
        check_study(folder / "out", [player])
    check_store(folder / "out" if kind == "study" else folder, player.kept)
