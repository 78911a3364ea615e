"""How attempts compare, and who does well enough: the formulas as they are documented."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.study_tables import StudyDatabase, conduct, events
from tutelage.crowd.studies.percentile import ENOUGH, better_than, falls_short
from tutelage.tests.support.toy_study import INTO_A_HOLE, rows, run, serving, study_in, walk_in


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[StudyDatabase]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield StudyDatabase(journal.engine)


def row(person: str = "ann", success: bool = True, steps: int = 10, **values: Any) -> dict[str, Any]:
    base = {
        "episode": f"{person}-{steps}-{values}",
        "person": person,
        "role": "demonstration",
        "task": "lake",
    }
    base |= {"seed": 0, "success": success, "steps": steps, "seconds": 1.0, "expert_steps": None, "at": 0.0}
    base |= {"reaction_ms": None, "lag_ms": None}
    base |= dict.fromkeys(("fast_share", "idle_share", "repeat_share", "hidden_ms"), 0.0)
    return base | values


def fill(ledger: StudyDatabase, rows: list[dict[str, Any]]) -> None:
    with ledger.write() as connection:
        for number, one in enumerate(rows):
            connection.execute(conduct.insert(), {**one, "episode": f"e{number}"})


def test_a_percentile_is_the_share_that_is_strictly_worse(ledger: StudyDatabase) -> None:
    others = [row("bob", False, 3)] * 5 + [row("bob", True, 10)] * 10 + [row("bob", True, 20)] * 5
    fill(ledger, others)
    assert better_than(ledger, row(steps=10)) == 50  # 5 failed and 5 took longer; 10 were equal
    assert better_than(ledger, row(steps=5)) == 100
    assert better_than(ledger, row(steps=20)) == 25
    assert better_than(ledger, row(success=False)) is None


def test_nobody_is_compared_before_there_are_enough(ledger: StudyDatabase) -> None:
    fill(ledger, [row("bob")] * (ENOUGH - 1) + [row("ann")] * 30 + [row("bob", role="practice")] * 30)
    fill_other = [row("bob", task="cab")] * 30
    with ledger.write() as connection:
        for number, one in enumerate(fill_other):
            connection.execute(conduct.insert(), {**one, "episode": f"c{number}"})
    assert better_than(ledger, row(steps=1)) is None
    with ledger.write() as connection:
        connection.execute(conduct.insert(), {**row("cleo"), "episode": "last"})
    assert better_than(ledger, row(steps=1)) == 100


def test_seeds_that_are_further_are_no_worse(ledger: StudyDatabase) -> None:
    fill(ledger, [row("bob", steps=10, expert_steps=5)] * 20)
    assert better_than(ledger, row(steps=30, expert_steps=20)) == 100  # half as much again, and they twice
    assert better_than(ledger, row(steps=40, expert_steps=20)) == 0
    assert better_than(ledger, row(steps=9, expert_steps=4)) == 0


def test_nobody_is_sent_away_early_or_by_chance(tmp_path: Path) -> None:
    study = study_in(tmp_path, quality={"after": 3, "success": 0.5}, episodes=9)
    assert falls_short([], study) == ""
    assert falls_short([row(success=False)] * 3, study) == ""  # three condemn nobody
    assert falls_short([row(success=False)] * 4, study).startswith("0 of 4 episodes are surely less than")
    assert falls_short([row()] * 2 + [row(success=False)] * 4, study) == ""
    assert falls_short([row(success=False)] * 9, study_in(tmp_path, quality=None)) == ""


def test_gold_counts_by_itself_and_is_passed_in_not_much_more_than_the_expert(tmp_path: Path) -> None:
    options = {"tasks": ["cab"], "gold": {"share": 0.4, "tolerance": 1.5}, "episodes": 20}
    study = study_in(tmp_path, quality={"after": 5, "gold": 0.6}, **options)
    long = [row(role="gold", steps=16, expert_steps=10)] * 5
    short = [row(role="gold", steps=15, expert_steps=10)] * 5
    assert "0 of 5 gold episodes" in falls_short([row()] * 9 + long, study)
    assert falls_short([row()] * 9 + short, study) == ""


def test_who_falls_short_of_what_is_required_ends_politely(tmp_path: Path) -> None:
    async def story() -> None:
        options = {"practice": None, "check": None, "quality": {"after": 2, "success": 0.6}, "episodes": 9}
        async with serving(tmp_path, **options) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            for _ in range(4):
                await ann.play(INTO_A_HOLE)
                await ann.send("next")
            assert (ann.stage, ann.way["outcome"]) == ("done", "poor-quality")
            [event] = rows(server, events)
            assert event["what"] == "falls-short"
            assert "0 of 4 episodes are surely less than the 60 %" in event["reason"]

    run(story())


def test_a_gold_episode_has_the_experts_length(tmp_path: Path) -> None:
    async def story() -> None:
        options = {"practice": None, "check": None, "tasks": {"cab": {}}, "gold": {"share": 0.4}}
        async with serving(tmp_path, **options) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            for _ in range(3):
                await ann.send("discard")
                await ann.send("next")
            kinds = [one["role"] for one in rows(server, conduct)]
            assert sorted(kinds) == ["demonstration", "demonstration", "gold"]
            assert all(5 <= one["expert_steps"] <= 40 for one in rows(server, conduct))

    run(story())
