"""An inspection counts what a store holds, proves it, and still speaks when a part is damaged."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

from rich.console import Console
from tutelage.datasets.inspection import Inspection, inspect
from tutelage.datasets.store import Store


def shown(found: Inspection, width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(found)
    return console.export_text()


def filled(store: Store, record: Any) -> Store:
    done = record("short", 1, demonstrator="bob")
    store.append([record("words", 1), replace(done, times_ms=done.times_ms * 0 + 3_600_000)])
    store.append([record("unrepeatable", 2, kind="simulated"), record("cartpole", 3, steps=200)])
    return store


def test_episodes_people_outcomes_hours_steps_and_bytes_are_counted(store: Store, record: Any) -> None:
    found = inspect(filled(store, record))
    steps = sum(len(one) for one in store.trajectories())
    assert (found.episodes, found.parts, found.steps) == (4, 2, steps)
    assert found.hours > 1
    assert found.bytes == sum(part.stat().st_size for part in store.parts())
    assert sum(found.outcomes.values()) == 4
    assert found.outcomes["left early"] == 2
    tasks = {one.task: one for one in found.tasks}
    assert (tasks["unrepeatable"].stored, tasks["unrepeatable"].replayed) == (1, 0)
    assert (tasks["words"].stored, tasks["words"].replayed) == (0, 1)
    assert tasks["camera"].episodes == 0
    assert [(one.demonstrator, one.kind, one.episodes) for one in found.people] == [
        ("ann", "person", 2),
        ("ann", "simulated", 1),
        ("bob", "person", 1),
    ]
    assert found.problems == []


def test_the_same_figures_are_plain_data_for_machines(store: Store, record: Any) -> None:
    found = inspect(filled(store, record), verify=False)
    assert json.loads(json.dumps(found.to_dict()))["tasks"][0]["task"] == "words"
    assert found.verified is False


def test_the_tables_say_sound_and_fit_in_80_columns(store: Store, record: Any) -> None:
    told: list[int] = []
    text = shown(inspect(filled(store, record), progress=told.append))
    assert sum(told) == 4
    assert "3 episodes replayed bit for bit, 1 with stored observations intact" in text
    assert "unrepeatable" in text
    assert "…" not in text
    assert "replay was not asked for" in shown(inspect(store, verify=False))


def test_a_damaged_part_is_a_problem_and_the_rest_is_shown(store: Store, record: Any) -> None:
    part = filled(store, record).parts()[0]
    data = bytearray(part.read_bytes())
    data[100] ^= 255
    part.write_bytes(data)
    found = inspect(Store.open(store.path))
    assert (found.episodes, found.parts) == (2, 1)
    assert part.name in found.problems[0]
    assert "1 problem:" in shown(found)


def test_an_empty_store_is_no_error(store: Store) -> None:
    found = inspect(store)
    assert (found.episodes, found.people, found.problems) == (0, [], [])
    assert "none yet" in " ".join(shown(found).split())  # wherever its lines break
