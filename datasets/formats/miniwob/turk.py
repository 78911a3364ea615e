"""Import demonstrations of MiniWoB++ tasks recorded on Mechanical Turk in 2017: raw files or tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ....envs.suite import Suite, load_suite
from ....envs.task import Task
from ....envs.web.registration import web_id
from ....errors import TutelageError
from ...store import Progress, Store
from ...trajectory import Trajectory
from ..all_or_none import staged_import
from .census import Census
from .moves import moves
from .raw import raw_files, read_raw
from .recording import Recording, UnusableRecording, in_one_form
from .tables import TABLES, count_tables, read_tables
from .trajectories import to_trajectory

SUITE = "web-all"
_EPISODES_A_PART = 1024
_DUPLICATES = {"email-inbox-forward-nl-turk": "email-inbox-forward-nl"}
"""Folders of the public files that duplicate another task's demonstrations."""

NO_PAGE = "the suite has no such page"


def count_miniwob_turk(source: Path) -> int:
    """Return the number of files or rows that `import_miniwob_turk` reads; raises TutelageError for none."""
    if _is_tables(source):
        return count_tables(source)
    if not (files := raw_files(source)):
        raise TutelageError(
            f"expected demonstrations at {source}: folders of .json.gz files as published, or {TABLES[0]}; "
            f"found neither, check the path"
        )
    return len(files)


def import_miniwob_turk(
    source: Path, out: Path, suite: Suite | None = None, progress: Progress | None = None
) -> Census:
    """Read the demonstrations into a store at `out`; return counts of kept and dropped ones, with reasons.

    `source` holds the public repository's files or tables made of them; both give the same episodes. Episodes
    that the store holds already are left out; all are read, or none. `suite` (default: every web task)
    selects the tasks. Pages are stored as they were shown. Demonstrations of a task variant without delays
    (`-nodelay`) count as the plain task's.

    Raises TutelageError when there is nothing to read or the store cannot be written.
    """
    count_miniwob_turk(source)
    target_suite = suite or load_suite(SUITE)
    census = Census(str(source))
    with staged_import(Path(out), target_suite) as (store, existing):
        _fill(store, existing, source, census, progress)
    return census


def _fill(store: Store, existing: set[str], source: Path, census: Census, progress: Progress | None) -> None:
    """Append all demonstrations whose ids are not in `existing`."""
    tasks = {task.env: task for task in store.suite}
    waiting: list[Trajectory] = []
    for recording in _recordings(source):
        if (trajectory := _read_trajectory(recording, tasks, existing, census, store.suite.name)) is not None:
            waiting.append(trajectory)
            existing.add(trajectory.episode)
        if len(waiting) == _EPISODES_A_PART:
            store.append(waiting)
            waiting = []
        if progress:
            progress(1)
    if waiting:
        store.append(waiting)


def _is_tables(source: Path) -> bool:
    return (source / TABLES[0]).is_file()


def _recordings(source: Path) -> Iterator[Recording | UnusableRecording]:
    return read_tables(source) if _is_tables(source) else map(read_raw, raw_files(source))


def _read_trajectory(
    source: Recording | UnusableRecording,
    tasks: dict[str, Task],
    existing: set[str],
    census: Census,
    suite: str,
) -> Trajectory | None:
    """Return one demonstration's trajectory; if there is none, count the reason and return None."""
    name = _DUPLICATES.get(source.task, source.task).removesuffix("-nodelay")
    if isinstance(source, UnusableRecording):
        census.drop(name, source.reason)
    elif (task := tasks.get(web_id(name))) is None:
        census.drop(name, NO_PAGE)
    elif source.episode in existing:
        census.known(name)
    elif (actions := moves(recording := in_one_form(source))).reason:
        census.drop(name, actions.reason)
    else:
        census.keep(name, recording, actions)
        return to_trajectory(recording, actions, task, suite)
    return None
