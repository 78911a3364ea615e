"""The journal's tables, and the checksum of a step, which is computed before it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sql

from ...files.finite_json import exact_json
from .row_checksums import checksum_column, checksum_of_bytes, index_unsealed

STEP_COLUMNS = (
    "step", "action", "reward", "terminated", "truncated", "time_ms", "controller", "frame", "digest",
    "success",
)  # fmt: skip
"""Columns of a step, in the order of `StepRecord`."""

TABLES = sql.MetaData()
seats = sql.Table(
    "seats",
    TABLES,
    sql.Column("seat", sql.String, primary_key=True),
    sql.Column("demonstrator", sql.String, nullable=False),
    sql.Column("task", sql.String, nullable=False),  # the current task; "" for none
    checksum_column(),
)
episodes = sql.Table(
    "episodes",
    TABLES,
    sql.Column("episode", sql.String, primary_key=True),
    sql.Column("seat", sql.String, nullable=False, index=True),
    sql.Column("demonstrator", sql.String, nullable=False),
    sql.Column("kind", sql.String, nullable=False),
    sql.Column("suite", sql.String, nullable=False),
    sql.Column("task", sql.String, nullable=False, index=True),
    sql.Column("env", sql.String, nullable=False),
    sql.Column("kwargs", sql.JSON, nullable=False),
    sql.Column("seed", sql.BigInteger, nullable=False),
    sql.Column("attempt", sql.Integer, nullable=False),
    sql.Column("started", sql.String, nullable=False),
    sql.Column("digest", sql.LargeBinary, nullable=False),  # after the reset
    sql.Column("state", sql.String, nullable=False, index=True),
    sql.Column("changed_ns", sql.BigInteger, nullable=False),
    sql.Column("notes", sql.String, nullable=False),
    sql.Column("study", sql.String, nullable=False, server_default=""),
    sql.Column("consent", sql.String, nullable=False, server_default=""),
    sql.Column("role", sql.String, nullable=False, server_default=""),
    checksum_column(),
)
steps = sql.Table(
    "steps",
    TABLES,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("episode", sql.String, nullable=False),
    sql.Column("step", sql.Integer, nullable=False),
    sql.Column("action", sql.JSON, nullable=False),
    sql.Column("reward", sql.Double),  # NULL for NaN
    sql.Column("terminated", sql.Boolean, nullable=False),
    sql.Column("truncated", sql.Boolean, nullable=False),
    sql.Column("time_ms", sql.Integer, nullable=False),
    sql.Column("controller", sql.Integer, nullable=False),
    sql.Column("frame", sql.Integer, nullable=False),
    sql.Column("digest", sql.LargeBinary, nullable=False),
    sql.Column("success", sql.Boolean),  # set at the step that ended the episode
    sql.Column("dropped", sql.Boolean, nullable=False, default=False),
    checksum_column(),
)
index_unsealed(seats, episodes, steps)
alive = steps.c.dropped.is_not(True)  # a damaged value, neither true nor false, must not hide a step
# the name identifies the condition: an older journal's index is another one
sql.Index("live_step", steps.c.episode, steps.c.step, unique=True, sqlite_where=alive, postgresql_where=alive)


def insert_steps(engine: sql.Engine) -> str:
    """Return the statement that inserts steps, for rows in the driver's own types."""
    mark = "?" if engine.dialect.paramstyle == "qmark" else "%s"
    columns = ("episode", *STEP_COLUMNS, "dropped", "checksum")
    return f"INSERT INTO steps ({', '.join(columns)}) VALUES ({', '.join([mark] * len(columns))})"


def action_text(action: Sequence[float]) -> str:
    """Encode an action as in its JSON column."""
    return f"[{float(action[0])!r}]" if len(action) == 1 else exact_json([float(part) for part in action])


def checksum_of_step(
    episode: str,
    step: int,
    action: str,
    reward: float | None,
    terminated: bool,
    truncated: bool,
    time_ms: int,
    controller: int,
    frame: int,
    digest: bytes,
    success: bool | None = None,
) -> int:
    """Return the checksum of a step that is not dropped."""
    # as read from a database: NaN is NULL there, and -0.0 is 0.0
    reward = float("nan") if reward is None else float(reward) + 0.0
    numbers = f"{step}\0{reward!r}\0{terminated:d}\0{truncated:d}\0{time_ms}\0{controller}\0{frame}"
    verdict = b"" if success is None else b"\0%d" % success
    return checksum_of_bytes(f"{episode}\0{action}\0{numbers}\0".encode() + digest + verdict)


def step_checksum(_: sql.Table, row: Mapping[Any, Any]) -> int:
    """Return the checksum of a row of `steps`; a dropped one has the complement."""
    values = {name: row[name] for name in STEP_COLUMNS}
    try:
        checksum = checksum_of_step(row["episode"], **values | {"action": action_text(row["action"])})
    except (TypeError, ValueError, LookupError, OverflowError):  # a damaged row may contain anything
        return 0
    return -1 - checksum if row["dropped"] else checksum


def is_sound_step(table: sql.Table, row: Mapping[Any, Any]) -> bool:
    """Say whether a row of `steps`, read back, is what was written."""
    return bool(row["checksum"] == step_checksum(table, row))
