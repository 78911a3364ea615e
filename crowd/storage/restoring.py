"""Restores demonstrations from the journal to a store that has lost them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import sqlalchemy as sql

from ...console.wording import counted
from ...datasets.replay import Environments, prove_again
from ...datasets.store import Store
from ...datasets.trajectory import Trajectory
from ...envs.suite import Suite
from ...errors import TutelageError
from ...files.folder_lock import lock_folder
from ..cluster.store_claims import store_id
from ..hosting.host import EpisodePlayer
from ..seats.session import PRACTICE
from .database import is_sqlite, snapshot
from .journal import Journal
from .journal_records import JOURNAL, EpisodeRecord, StepRecord
from .study_tables import keepers

_BATCH_SIZE = 256  # episodes per part


@contextlib.contextmanager
def open_journal(store: Path, place: str = "", unchanged: bool = False) -> Iterator[Journal | None]:
    """Open a store's journal: the file, folder or URL at `place`, else the one in the store's folder.

    Yields None if there is none. A journal file must not be in use: raises TutelageError then, and when
    nothing is at `place`. With `unchanged` a copy is opened.
    """
    if "://" in place:
        with Journal(place, shared=True) as journal:
            yield journal
        return
    file = Path(place) if place else store / JOURNAL
    file = file / JOURNAL if file.is_dir() else file
    if not file.is_file():
        if place:
            raise TutelageError(f"expected a journal at {file}, found none; check the path")
        yield None
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(lock_folder(file.parent))
        yield stack.enter_context(Journal(stack.enter_context(snapshot(file)) if unchanged else file))


def restorable(journal: Journal, store: Path, suite: Suite, stored_ids: set[str]) -> list[EpisodeRecord]:
    """List the demonstrations of a suite that the journal has for this store and that it lacks.

    `stored_ids` are the episodes in the store. Those that another store holds, and those that running servers
    have yet to store, are left out.
    """
    states = ("stored", "kept") if is_sqlite(journal.engine) else ("stored",)
    records = [record for state in states for record in journal.episodes(state=state, suite=suite.name)]
    missing = [record for record in records if record.episode not in stored_ids and record.role != PRACTICE]
    elsewhere = _held_elsewhere(journal, store) if missing else set()
    return [record for record in missing if record.episode not in elsewhere]


def restore(
    journal: Journal,
    store: Store,
    records: Sequence[EpisodeRecord],
    tell: Callable[[str], None],
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Replay demonstrations from their steps, prove them and append them; returns how many came back.

    `tell` receives a sentence for each that cannot be restored.
    """
    restored = 0
    with Environments(store.suite) as environments:
        players: dict[str, EpisodePlayer] = {}
        for first in range(0, len(records), _BATCH_SIZE):
            batch = []
            for record in records[first : first + _BATCH_SIZE]:
                with contextlib.suppress(_NothingPlayedError):
                    try:
                        batch.append(_replay(record, journal.steps(record.episode), players, environments))
                    except TutelageError as error:
                        tell(f"episode {record.episode} cannot be brought back from the journal: {error}")
                    except Exception as error:  # an environment may raise anything
                        reason = f"{type(error).__name__}: {error}"
                        tell(f"episode {record.episode} cannot be brought back from the journal: {reason}")
                progress(1)
            if batch:
                store.append(batch)
                restored += len(batch)
            for trajectory in batch:
                journal.mark(trajectory.episode, "stored")
        for player in players.values():
            player.close()
    journal.flush()
    return restored


class _NothingPlayedError(Exception):
    """An episode that was given up before its first action: no store has it."""


def _replay(
    record: EpisodeRecord,
    steps: Sequence[StepRecord],
    players: dict[str, EpisodePlayer],
    environments: Environments,
) -> Trajectory:
    """Replay an episode of the journal; raises TutelageError unless it ends as recorded."""
    if not steps:
        if record.given_up:
            raise _NothingPlayedError
        raise TutelageError("expected its steps, found none")
    task = environments.suite[record.task]
    player = players.setdefault(record.task, EpisodePlayer(task, None, with_observations=False))
    start = player.restore(record, steps)
    if start.torn or not (start.now.done or record.given_up):
        player.close()  # the next episode gets a fresh environment
        raise TutelageError(
            f"expected it to replay to its end, got {start.torn} of {counted(len(steps), 'step')} torn"
        )
    trajectory, observations = player.finish(record, missed=0)
    return prove_again(trajectory, environments, observations)


def _held_elsewhere(journal: Journal, store: Path) -> set[str]:
    """List the demonstrations that another store of the same database has claimed."""
    with journal.engine.connect() as connection:
        if not sql.inspect(connection).has_table(keepers.name):
            return set()
        query = sql.select(keepers.c.episode).where(keepers.c.store != store_id(store))
        return set(connection.execute(query).scalars())
