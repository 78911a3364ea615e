"""What is on disk, read from outside: the journal, the ledger and the store, and how they agree."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg
from tutelage.datasets.store import Store
from tutelage.tests.support.players import STAGES, Player


def rows(place: Path | str, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Ask the database in a folder, or the one with a URL."""
    if isinstance(place, str):
        with psycopg.connect(place.replace("+psycopg", "")) as connection:
            return connection.execute(query, values).fetchall()  # type: ignore[arg-type]
    with contextlib.closing(sqlite3.connect(place / "journal.sqlite")) as database:
        return database.execute(query, values).fetchall()


def actions(place: Path | str) -> dict[str, list[int]]:
    """Give the actions of each episode that the journal has; each step is there once."""
    found: dict[str, list[int]] = {}
    query = "select episode, step, action from steps where not dropped order by episode, step"
    for episode, step, action in rows(place, query):
        row = json.loads(action) if isinstance(action, str) else action
        found.setdefault(episode, []).append(int(row[0]))
        assert step == len(found[episode]), f"step {step} of {episode}: twice, or out of order"
    return found


def check_acknowledged(place: Path | str, players: Iterable[Player]) -> None:
    """See that all that somebody was told is saved is on disk, as it was done."""
    on_disk = actions(place)
    for player in players:
        for episode, number in player.saved.items():
            there, done = on_disk.get(episode, [])[:number], player.steps[episode][:number]
            assert there == done, f"{episode}: {done} was acknowledged, {there} is on disk"


def check_store(folder: Path, kept: set[str]) -> None:
    """See that every episode that was kept is stored, and only once, and that the parts are sound."""
    store = Store.open(folder)
    ids = store.episodes()["episode"].to_pylist()
    assert kept <= set(ids)
    assert len(ids) == len(set(ids))
    assert store.verify() == []


def check_study(folder: Path, players: Iterable[Player]) -> None:
    """See that a study's ledger, journal and store tell one story, and the one that its people were told."""
    for player in players:
        if player.way:
            _check_person(folder, player)
    done = rows(folder, "select episode, person, task, seed, role from claims where state = 'done'")
    counted = rows(folder, "select episode, person, task, seed, role from conduct where role != 'practice'")
    done = [one for one in done if one[0]]  # a seed that could not be played is done without an episode
    assert sorted(done) == sorted(counted), (
        "a claim that is done has one episode that counts",
        {*done} - {*counted},
        {*counted} - {*done},
    )
    times = Counter((task, seed) for _, _, task, seed, role in done if role == "demonstration")
    assert all(count == 1 for count in times.values()), times
    [holders] = [Counter(name for (name,) in rows(folder, "select person from claims where state = 'held'"))]
    assert all(count == 1 for count in holders.values()), holders
    steps = {episode: len(taken) for episode, taken in actions(folder).items()}
    for episode, number in rows(folder, "select episode, steps from conduct"):
        assert steps.get(episode, 0) == number
    # who gives up before the first step has failed, and there is nothing to store of it
    stored, finished = (
        Store.open(folder).episodes()["episode"].to_pylist(),
        {one[0] for one in done} & {*steps},
    )
    assert sorted(stored) == sorted(finished), (finished - {*stored}, {*stored} - finished)


def _check_person(folder: Path, player: Player) -> None:
    [(person, stage, outcome, code)] = rows(
        folder, "select person, stage, outcome, code from people where person = ?", player.way["person"]
    )
    told, number = player.progress
    assert STAGES.index("play" if stage == "rest" else stage) >= told
    [(count,)] = rows(folder, "select count(*) from conduct where person = ? and role != 'practice'", person)
    assert count >= number
    decided = [row[0] for row in rows(folder, "select decision from consents where person = ?", person)]
    assert decided == (["given"] if stage != "consent" else []), decided
    if player.is_done:
        assert (outcome, code, count) == (player.way["outcome"], player.way["code"], number)
