"""A participant is paid by what they were shown when they agreed, whatever the study says by then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tutelage.crowd.recruiting.payment_table import entries
from tutelage.tests.support.toy_study import run, serving, walk_in

BEFORE = {"currency": "GBP", "base": 2, "bonus": {"by": "threshold", "amounts": {1: 0.5, 2: 1.25}}}
AFTER = {"currency": "EUR", "base": 0.1, "bonus": {"by": "solved", "each": 0.01}}
STUDY: dict[str, Any] = {"practice": None, "check": None, "episodes": 2}


@pytest.mark.slow
def test_a_rule_that_changes_midway_holds_for_those_who_agree_from_then_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, **STUDY, pay=BEFORE) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
            await ann.play()
            assert ann.way["bonus"] == {"bonus": "0.50 GBP", "most": "1.25 GBP"}
            reads = await walk_in(server, "person-reads")
            assert "1.25 GBP" in str(reads.way)
        async with serving(tmp_path, **STUDY, pay=AFTER) as server:
            for name, bonus, pay in (
                ("person-ann", "1.25 GBP", {"base": "2.00 GBP", "bonus": "1.25 GBP", "total": "3.25 GBP"}),
                ("person-reads", "0.02 EUR", {"base": "0.10 EUR", "bonus": "0.02 EUR", "total": "0.12 EUR"}),
            ):
                person = await walk_in(server, name)
                if person.stage == "consent":
                    assert "1.25 GBP" not in str(person.way)
                    await person.to_the_tasks()
                while person.stage == "play":
                    if person.way["outcome"]:
                        await person.send("next")
                    else:
                        await person.play()
                        assert person.way.get("bonus") is None or person.way["bonus"]["most"] == bonus
                assert person.way["pay"] == pay
            owed = {
                (row["person"], row["kind"]): (row["amount"], row["currency"])
                for row in entries(server.database, "pilot")
            }
            assert owed == {
                ("person-ann", "base"): ("2.00", "GBP"),
                ("person-ann", "bonus"): ("1.25", "GBP"),
                ("person-reads", "base"): ("0.10", "EUR"),
                ("person-reads", "bonus"): ("0.02", "EUR"),
            }

    run(story())


@pytest.mark.slow
def test_a_study_that_stops_to_pay_still_pays_those_who_agreed_before(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, **STUDY, pay=BEFORE) as server:
            ann = await walk_in(server)
            await ann.to_the_tasks()
        async with serving(tmp_path, **STUDY, pay=None) as server:
            ann = await walk_in(server)
            while ann.stage == "play":
                await (ann.send("next") if ann.way["outcome"] else ann.play())
            kinds = {row["kind"]: row["amount"] for row in entries(server.database, "pilot")}
            assert kinds == {"base": "2.00", "bonus": "1.25"}

    run(story())
