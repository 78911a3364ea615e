"""Servers that are asked for all sorts of things; afterwards, somebody must still be able to play there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, settings
from tutelage.datasets.store import Store
from tutelage.tests.support import small_room
from tutelage.tests.support.nursery import Nursery, Server, serving, until
from tutelage.tests.support.players import Player
from tutelage.tests.support.what_is_stored import check_store, check_study

MEGABYTES = 48
PANEL = {
    "study": "5f0000000000000000000001",
    "proof": "none",
    "api": "http://127.0.0.1:1",
    "complete": "person",
}
KEYS = {"PROLIFIC_API_TOKEN": "token", "PROLIFIC_WEBHOOK_SECRET": "secret"}
quickly = settings(
    max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
long = settings(quickly, max_examples=3000, derandomize=False)


@contextmanager
def served(nursery: Nursery, kind: str, folder: Path) -> Iterator[Server]:
    """Serve a recorder or a study with every route that there is; at the end, play there."""
    changes = {"recruiting": {"links": "open", "prolific": PANEL}, "breaks": {"every": 1}, "episodes": 2}
    small_room.write(folder, **changes)
    place = folder / "out" if kind == "study" else folder
    with serving(nursery, kind, folder, environment=KEYS) as server:
        _play(kind, server, "127.9.9.1")  # which takes the memory that any play takes
        until(lambda: Store.open(place).parts())
        before = server.megabytes
        yield server
        player = _play(kind, server, "127.9.9.9")
        assert server.megabytes < before + MEGABYTES
    if kind == "study":
        check_study(place, [player])
    check_store(place, player.kept)


def _play(kind: str, server: Server, source: str) -> Player:
    player = Player(random.Random(1), source)
    asyncio.run(player.play(server.address, 1000 if kind == "study" else 60))
    assert kind == "recorder" or player.way["outcome"] == "completed"
    assert len(player.steps) > 1
    return player
