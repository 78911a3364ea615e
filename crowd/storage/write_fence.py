"""Write fence: every commit happens once, and only by the owner, on a shared database.

Each journal has one row of `writers`. Every commit of it begins by incrementing that row, in the same
transaction. So a commit whose answer was lost is recognized at its retry, even while the database is still
busy with the first attempt; and a locked row guarantees that no commit of that journal is underway. Seats are
taken from possibly live servers by that: see `crowd.cluster.seat_leases`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

import sqlalchemy as sql

from .database import make_tables

TABLES = sql.MetaData()
writers = sql.Table(
    "writers",
    TABLES,
    sql.Column("writer", sql.String, primary_key=True),
    sql.Column("commits", sql.BigInteger, nullable=False),
    sql.Column("taken", sql.BigInteger, nullable=False),  # number of seats taken from it so far
)


class WriteFence:
    """One journal's row of `writers`. Used by the journal's thread alone, except `name` and `on_taken`.

    `on_taken(connection)` returns, within a commit, the seats and episodes that are no longer this journal's,
    whenever the row says that some were taken since the last commit; they are `lost` from then on.
    """

    def __init__(self, engine: sql.Engine) -> None:
        self.name = uuid.uuid4().hex
        self.on_taken: Callable[[sql.Connection], frozenset[str]] = lambda _: frozenset()
        self.lost: frozenset[str] = frozenset()
        self._commits = 0
        self._taken = self._taken_now = 0
        make_tables(engine, TABLES)
        with engine.begin() as connection:
            connection.execute(writers.insert(), {"writer": self.name, "commits": 0, "taken": 0})

    def enter(self, connection: sql.Connection) -> bool:
        """Begin a commit; False when this commit has been made already and its answer was lost."""
        is_next_commit = (writers.c.writer == self.name) & (writers.c.commits == self._commits)
        increment = (
            writers.update()
            .where(is_next_commit)
            .values(commits=self._commits + 1)
            .returning(writers.c.taken)
        )
        taken_count = connection.execute(increment).scalar()
        if taken_count is None:
            return False
        if taken_count != self._taken:
            self.lost = self.on_taken(connection)
        self._taken_now = taken_count
        return True

    def left(self) -> None:
        """Record that the commit is on disk; the next one has the next number."""
        self._commits += 1
        self._taken = self._taken_now

    def withdraw(self, engine: sql.Engine) -> None:
        """Delete the row of a closed journal."""
        with engine.begin() as connection:
            connection.execute(writers.delete().where(writers.c.writer == self.name))
