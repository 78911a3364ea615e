"""Bring demonstrations back from the journal into a store that has lost them."""

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

_LOT = 256  # episodes a part


@contextlib.contextmanager
def open_journal(store: Path, place: str = "", unchanged: bool = False) -> Iterator[Journal | None]:
    """Open the journal of a store: the file or folder or URL at `place`, else the one in the store's folder.

    Gives None where there is none. A journal that is a file must not be in use: raises TutelageError then,
    and when nothing is at `place`. With `unchanged` it is a copy that is opened.
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


def restorable(journal: Journal, store: Path, suite: Suite, there: set[str]) -> list[EpisodeRecord]:
    """List the demonstrations of a suite that the journal has for this store and that are not `there`.

    Left out are those that another store holds, and those that servers at work are to store yet.
    """
    states = ("stored", "kept") if is_sqlite(journal.engine) else ("stored",)
    records = [record for state in states for record in journal.episodes(state=state, suite=suite.name)]
    missing = [record for record in records if record.episode not in there and record.role != PRACTICE]
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

    `tell` hears of each that cannot be brought back, in one sentence.
    """
    restored = 0
    with Environments(store.suite) as environments:
        players: dict[str, EpisodePlayer] = {}
        for first in range(0, len(records), _LOT):
            lot = []
            for record in records[first : first + _LOT]:
                with contextlib.suppress(_NothingPlayedError):
                    try:
                        lot.append(
                            _played_again(record, journal.steps(record.episode), players, environments)
                        )
                    except TutelageError as error:
                        tell(f"episode {record.episode} cannot be brought back from the journal: {error}")
                    except Exception as error:  # an environment may raise anything
                        what = f"{type(error).__name__}: {error}"
                        tell(f"episode {record.episode} cannot be brought back from the journal: {what}")
                progress(1)
            if lot:
                store.append(lot)
                restored += len(lot)
            for trajectory in lot:
                journal.mark(trajectory.episode, "stored")
        for player in players.values():
            player.close()
    journal.flush()
    return restored


class _NothingPlayedError(Exception):
    """An episode that was given up before its first action: no store has it."""


def _played_again(
    record: EpisodeRecord,
    steps: Sequence[StepRecord],
    players: dict[str, EpisodePlayer],
    environments: Environments,
) -> Trajectory:
    """Play an episode of the journal again; raises TutelageError unless it comes to the same end."""
    if not steps:
        if record.given_up:
            raise _NothingPlayedError
        raise TutelageError("expected its steps, found none")
    task = environments.suite[record.task]
    player = players.setdefault(record.task, EpisodePlayer(task, None, seen=False))
    begun = player.restore(record, steps)
    if begun.torn or not (begun.now.done or record.given_up):
        player.close()  # a fresh environment may do better with the next one
        raise TutelageError(
            f"expected it to replay to its end, got {begun.torn} of {counted(len(steps), 'step')} torn"
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
