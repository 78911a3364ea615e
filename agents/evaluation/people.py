"""Select people's episodes that are comparable: the same task definitions on the same seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from ...console.printable import printable
from ...console.wording import counted
from ...datasets.store import Store
from ...datasets.trajectory import Trajectory
from ...envs.suite import Suite
from ...envs.task import SeedRange
from ...errors import TutelageError


def people_on(
    stores: Sequence[Store], suite: Suite, seeds: Collection[int], required: bool = True
) -> tuple[list[Trajectory], list[str]]:
    """Return people's comparable episodes, and notes on the omitted ones of each store, with reasons.

    An episode is comparable if a person played it, on one of `seeds`, in a task with the suite's definition
    (`Task.differences`). If `required`, raises TutelageError for a store without such episodes.
    """
    episodes: list[Trajectory] = []
    notes: list[str] = []
    for store in stores:
        fitting: list[Trajectory] = []
        reasons: Counter[str] = Counter()
        rows = store.episodes()
        for kind, task, seed in zip(*(rows[name].to_pylist() for name in _COLUMNS), strict=True):
            if reason := _misfit(kind, task, seed, store, suite, seeds):
                reasons[reason] += 1
        if reasons.total() < len(rows):
            around = SeedRange("asked", min(seeds), max(seeds) + 1)
            fitting = [
                episode
                for episode in store.trajectories(kinds=["person"], seeds=around)
                if not _misfit(episode.kind, episode.task, episode.seed, store, suite, seeds)
            ]
        if not fitting and required:
            raise TutelageError(_no_match_message(store, suite, seeds, reasons))
        if reasons and required:
            notes.append(_omission_note(store.path, reasons, len(fitting)))
        episodes += fitting
    return episodes, notes


_COLUMNS = ("kind", "task", "seed")


def _misfit(kind: str, task: str, seed: int, store: Store, suite: Suite, seeds: Collection[int]) -> str:
    """Return why an episode is not comparable; "" if it is."""
    if kind != "person":
        return f"by another actor than a person ({kind})"
    if task not in [listed.id for listed in suite]:
        return f"of tasks that suite {suite.name!r} does not have"
    if different := suite[task].differences(store.suite[task]):
        return f"of task {task!r}, which is defined otherwise there ({', '.join(different)})"
    if seed not in seeds:
        return "on other seeds"
    return ""


def _omission_note(path: Path, reasons: Counter[str], count: int) -> str:
    total = count + reasons.total()
    summary = f"{reasons.total()} of {counted(total, 'episode')} in {printable(str(path))} left out"
    return f"{summary}: {_listed(reasons)}"


def _listed(reasons: Counter[str]) -> str:
    return ", ".join(f"{count} {printable(reason)}" for reason, count in reasons.most_common())


def _no_match_message(store: Store, suite: Suite, seeds: Collection[int], reasons: Counter[str]) -> str:
    content = f"{reasons.total()} others: {_listed(reasons)}" if reasons else "an empty store"
    return (
        f"expected people in {store.path} who played tasks of suite {suite.name!r} on seeds "
        f"{min(seeds)} to {max(seeds)}, got {content}; leave this store out, or record with --seeds test"
    )
