"""The crowd's demonstrations of MiniWoB++ tasks, recorded on Mechanical Turk in 2017: raw files or tables."""

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
_SAME = {"email-inbox-forward-nl-turk": "email-inbox-forward-nl"}
"""Folders of the public files that hold another task's demonstrations once more."""

NO_PAGE = "the suite has no such page"


def count_miniwob_turk(source: Path) -> int:
    """Count what `import_miniwob_turk` will look at; raises TutelageError when there is nothing."""
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
    """Read the crowd's demonstrations into a store at `out`; says what was kept, what not, and why.

    `source` holds the public repository's files or tables made of them; both give the same episodes, and
    those that the store holds already are left out; all are read or nothing is. `suite` (default: every web
    task) decides which tasks are wanted. Pages are stored as they were shown.
    Demonstrations of a task without delays are the plain task's.

    Raises TutelageError when there is nothing to read or the store can't be written.
    """
    count_miniwob_turk(source)
    chosen = suite or load_suite(SUITE)
    census = Census(str(source))
    with staged_import(Path(out), chosen) as (store, there):
        _fill(store, there, source, census, progress)
    return census


def _fill(store: Store, there: set[str], source: Path, census: Census, progress: Progress | None) -> None:
    """Append all demonstrations that are not `there` yet."""
    tasks = {task.env: task for task in store.suite}
    waiting: list[Trajectory] = []
    for one in _recordings(source):
        if (made := _read(one, tasks, there, census, store.suite.name)) is not None:
            waiting.append(made)
            there.add(made.episode)
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


def _read(
    one: Recording | UnusableRecording, tasks: dict[str, Task], there: set[str], census: Census, suite: str
) -> Trajectory | None:
    """Make one demonstration's trajectory, or count why there is none."""
    name = _SAME.get(one.task, one.task).removesuffix("-nodelay")
    if isinstance(one, UnusableRecording):
        census.drop(name, one.reason)
    elif (task := tasks.get(web_id(name))) is None:
        census.drop(name, NO_PAGE)
    elif one.episode in there:
        census.known(name)
    elif (made := moves(recording := in_one_form(one))).reason:
        census.drop(name, made.reason)
    else:
        census.keep(name, recording, made)
        return to_trajectory(recording, made, task, suite)
    return None
