"""What people did that can stand beside others: episodes of the very same tasks, on the very same seeds."""

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
    """Return people's episodes that count, and notes on those of each store that were left out, with reasons.

    An episode counts if a person played it, on one of `seeds`, in a task that is defined as the suite has it
    (`Task.differences`). Raises TutelageError for a store where none does, if they are `required`.
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
            raise TutelageError(_nothing(store, suite, seeds, reasons))
        if reasons and required:
            notes.append(_left_out(store.path, reasons, len(fitting)))
        episodes += fitting
    return episodes, notes


_COLUMNS = ("kind", "task", "seed")


def _misfit(kind: str, task: str, seed: int, store: Store, suite: Suite, seeds: Collection[int]) -> str:
    """Say why an episode does not count; "" where it does."""
    if kind != "person":
        return f"by another actor than a person ({kind})"
    if task not in [listed.id for listed in suite]:
        return f"of tasks that suite {suite.name!r} does not have"
    if different := suite[task].differences(store.suite[task]):
        return f"of task {task!r}, which is defined otherwise there ({', '.join(different)})"
    if seed not in seeds:
        return "on other seeds"
    return ""


def _left_out(path: Path, reasons: Counter[str], count: int) -> str:
    total = count + reasons.total()
    left = f"{reasons.total()} of {counted(total, 'episode')} in {printable(str(path))} left out"
    return f"{left}: {_listed(reasons)}"


def _listed(reasons: Counter[str]) -> str:
    return ", ".join(f"{count} {printable(reason)}" for reason, count in reasons.most_common())


def _nothing(store: Store, suite: Suite, seeds: Collection[int], reasons: Counter[str]) -> str:
    there = f"{reasons.total()} others: {_listed(reasons)}" if reasons else "an empty store"
    return (
        f"expected people in {store.path} who played tasks of suite {suite.name!r} on seeds "
        f"{min(seeds)} to {max(seeds)}, got {there}; leave this store out, or record with --seeds test"
    )
