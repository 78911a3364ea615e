"""A store's suite: begin a store for it, and refuse what is not of it."""

from __future__ import annotations

from pathlib import Path

from ..console.printable import printable
from ..console.wording import counted
from ..envs.suite import Suite
from ..errors import TutelageError
from ..files.atomic_files import write_whole
from .manifest import DOCUMENT, MANIFEST, Manifest, seal_document
from .trajectory import Trajectory


def begin(path: Path, suite: Suite) -> None:
    """Write the files of an empty store; the caller holds the lock.

    Raises TutelageError where parts are that another `dataset.yaml` belongs to.
    """
    if any(path.glob("part-*.parquet")) or ((path / MANIFEST).exists() and Manifest.read(path).parts):
        raise TutelageError(
            f"expected {path / DOCUMENT} beside the parts that are there, found none; "
            f"list what is wrong and mend it with `tutelage repair {path}`"
        )
    text = seal_document(suite)
    Manifest(text).write(path)  # first: a store without dataset.yaml is begun anew after a crash
    write_whole(path / DOCUMENT, text.encode())


def other_suite(path: Path, there: Suite, suite: Suite) -> str:
    """Say in one line that a folder holds another suite than the given one, and how they differ."""
    if there.name != suite.name:
        return (
            f"expected {path} to hold suite {suite.name!r}, got {there.name!r}; choose another folder, or, "
            f"if this is the same suite corrected, give it to the store: {correction(path)}"
        )
    for mine, theirs in zip(suite, there, strict=False):
        if mine != theirs:
            what = f"task {theirs.id!r} differs"
            break
    else:
        what = f"it has {counted(len(there), 'task')}, not {len(suite)}, or another evaluation"
    return (
        f"expected {path} to hold this very suite {suite.name!r}, got another of that name ({what}); "
        f"correct the store's with {correction(path)}, choose another folder, or give the changed suite "
        f"another name"
    )


def correction(path: Path) -> str:
    """Return the command that gives a store a corrected suite."""
    return f"`tutelage edit {printable(path)} suite FILE`"


def check_belongs(path: Path, suite: Suite, episode: Trajectory) -> None:
    """Raise TutelageError unless an episode is of a task of the suite."""
    if episode.suite != suite.name:
        raise TutelageError(
            f"expected episodes of suite {suite.name!r} in {path}, got one of {episode.suite!r}; "
            f"append it to a store of its own, or correct this one's suite: {correction(path)}"
        )
    task = suite[episode.task]
    if (episode.env, dict(episode.kwargs)) != (task.env, dict(task.kwargs)):
        raise TutelageError(
            f"expected task {episode.task!r} to be {task.env} with {dict(task.kwargs)}, "
            f"got {episode.env} with {dict(episode.kwargs)} in {episode.episode}; append it to a store of "
            f"its own, or correct this one's suite: {correction(path)}"
        )
