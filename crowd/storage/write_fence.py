"""Every commit once, and by its owner only: what a journal on a shared database checks each commit against.

Each journal has one row of `writers`. Its every commit begins by counting that row up, in the same
transaction. So a commit whose answer was lost is recognised when it is tried again, even while the database
is still busy with the first try; and whoever locks the row knows that no commit of that journal is underway.
That is how a seat is taken from a server that may be alive: see `crowd.servers.leases`.
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
    sql.Column("taken", sql.BigInteger, nullable=False),  # how often a seat was taken from it
)


class WriteFence:
    """One journal's row of `writers`. Used by the journal's thread alone, but for `name` and `on_taken`.

    `on_taken(connection)` is asked, within a commit, which seats and episodes are no longer this journal's,
    whenever the row says that some were taken since the last commit; they are `lost` from then on.
    """

    def __init__(self, engine: sql.Engine) -> None:
        self.name = uuid.uuid4().hex
        self.on_taken: Callable[[sql.Connection], frozenset[str]] = lambda _: frozenset()
        self.lost: frozenset[str] = frozenset()
        self._commits = 0
        self._taken = self._seen = 0
        make_tables(engine, TABLES)
        with engine.begin() as connection:
            connection.execute(writers.insert(), {"writer": self.name, "commits": 0, "taken": 0})

    def enter(self, connection: sql.Connection) -> bool:
        """Begin a commit; False when this very commit has been made already and its answer was lost."""
        mine = (writers.c.writer == self.name) & (writers.c.commits == self._commits)
        count = writers.update().where(mine).values(commits=self._commits + 1).returning(writers.c.taken)
        seen = connection.execute(count).scalar()
        if seen is None:
            return False
        if seen != self._taken:
            self.lost = self.on_taken(connection)
        self._seen = seen
        return True

    def left(self) -> None:
        """Note that the commit is on disk; the next one has the next number."""
        self._commits += 1
        self._taken = self._seen

    def withdraw(self, engine: sql.Engine) -> None:
        """Remove the row of a journal that is closed."""
        with engine.begin() as connection:
            connection.execute(writers.delete().where(writers.c.writer == self.name))
