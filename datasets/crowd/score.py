"""How an attempt compares with those of others, and whether somebody does well enough to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sql

from .ledger import Ledger, conduct
from .sections import Gold, Quality

ENOUGH = 20
"""A percentile is shown once so many attempts of others are known."""


def better_than(ledger: Ledger, row: Mapping[str, Any]) -> int | None:
    """Return which share of others' attempts at the task a solved one is strictly better than, in percent.

    A solved attempt is better than every failed one, and than a solved one that took more steps: more
    steps for each that the expert needs on its seed, where the expert's length is known for both (seeds
    differ in how far there is to go). Equal ones are not beaten; the share is rounded down. Practice does
    not count, nor do a person's own attempts. None for a failure, and while there are fewer than ENOUGH.

    Covers how directly it was solved; says nothing of how fast, and of nobody's name.
    """
    if not row["success"]:
        return None
    longer = conduct.c.steps > row["steps"]
    if row["expert_steps"]:
        relative = conduct.c.steps * row["expert_steps"] > row["steps"] * conduct.c.expert_steps
        longer = sql.case((conduct.c.expert_steps > 0, relative), else_=longer)
    worse = sql.case((sql.or_(conduct.c.success.is_(False), longer), 1), else_=0)
    others = (
        (conduct.c.task == row["task"]) & (conduct.c.person != row["person"]) & (conduct.c.role != "practice")
    )
    with ledger.engine.connect() as connection:
        query = sql.select(sql.func.count(), sql.func.sum(worse)).select_from(conduct).where(others)
        count, beaten = (int(one or 0) for one in connection.execute(query).one())
    return 100 * beaten // count if count >= ENOUGH else None


def passes_gold(row: Mapping[str, Any], gold: Gold) -> bool:
    """Say whether a gold episode is passed: solved, in at most `tolerance` times the expert's steps."""
    if not row["success"] or not row["expert_steps"]:
        return bool(row["success"])
    return bool(row["steps"] <= gold.tolerance * row["expert_steps"])


def falls_short(rows: Sequence[Mapping[str, Any]], quality: Quality | None, gold: Gold | None) -> str:
    """Say in what a person's episodes, rows of `conduct`, fall short of the requirement; "" for in nothing.

    Nobody is judged before `after` episodes, nor on gold before the first gold one. These are the bare
    shares: two numbers that a person can be told. They do not allow for chance.
    """
    if quality is None or len(rows) < quality.after:
        return ""
    solved = sum(bool(row["success"]) for row in rows) / len(rows)
    if quality.success is not None and solved < quality.success:
        return f"solved {solved:.0%} of {len(rows)}, {quality.success:.0%} are required"
    golden = [row for row in rows if row["role"] == "gold"]
    if quality.gold is None or gold is None or not golden:
        return ""
    passed = sum(passes_gold(row, gold) for row in golden) / len(golden)
    if passed < quality.gold:
        return f"passed {passed:.0%} of {len(golden)} gold ones, {quality.gold:.0%} are required"
    return ""
