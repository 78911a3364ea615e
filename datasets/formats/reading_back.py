"""Read episodes of tutelage's exports back as they were written, or refuse them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...console.printable import printable
from ...console.wording import agreeing, counted
from ...envs.admission import admit_all
from ...envs.suite import Suite, suite_from
from ...errors import TutelageError
from ...files.bounded_files import parse_json
from ..fingerprint import changed_groups, fingerprint
from ..replay import Environments, prove_again, replay_proven
from ..store import Progress, Store
from ..trajectory import Trajectory, digest_of
from .export_marker import ExportMarker
from .fact_checks import check_facts, check_lengths
from .facts import PLAIN

CHANGED = "changed-"
"""Id prefix of imported episodes that were changed since their export."""

_EPISODES_A_PART = 512
_UNREADABLE = (
    KeyError,
    ValueError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    OSError,
    ArithmeticError,
)


@dataclass(frozen=True)
class ReadEpisode:
    """One episode as read from an export.

    `steps`: actions `[T, k]`, rewards, times_ms, controllers, frames `[T]`; `observations` leaf path →
    `[T+1, ...]`.
    """

    facts: Mapping[str, Any]
    steps: Mapping[str, np.ndarray]
    observations: Mapping[str, np.ndarray]

    def rebuild(self) -> tuple[Trajectory, list[str]]:
        """Rebuild the trajectory, and list the field groups that differ from the export."""
        facts, steps = self.facts, self.steps
        check_facts(facts, "an exported episode")
        check_lengths(steps, self.observations, f"episode {facts['episode']}")
        trajectory = Trajectory(
            **({"success": None} | {name: facts[name] for name in PLAIN if name in facts}),
            actions=steps["actions"].astype(np.float64),
            rewards=steps["rewards"].astype(np.float64),
            times_ms=steps["times_ms"].astype(np.int32),
            controllers=steps["controllers"].astype(np.int8),
            frames=steps["frames"].astype(np.int32),
            digest=bytes.fromhex(facts["digest"]),
            kwargs=json.loads(facts["kwargs"]),
            versions=json.loads(facts["versions"]),
            casts=json.loads(facts["casts"]),
            steps_per_second=facts.get("steps_per_second"),
            observations=dict(self.observations) if facts["stored"] else None,
            infos={
                path: np.array(numbers, np.float64)
                for path, numbers in parse_json(facts.get("infos", "{}"), "infos").items()
            },
        )
        changed = changed_groups(trajectory, parse_json(facts["fingerprints"], "fingerprints"))
        if self._digest(trajectory) != trajectory.digest and "observations" not in changed:
            changed.append("observations")
        return trajectory, changed

    def read_back(self, environments: Environments, where: str, keep_changed: bool) -> Trajectory:
        """Return the episode as it was exported, proven by replay where its observations were not stored.

        Raises TutelageError when any field was changed, or when it does not replay. With `keep_changed`, a
        changed episode gets a new id and a note, and one that does not replay keeps its observations.
        """
        trajectory, changed = self.rebuild()
        if changed and not keep_changed:
            raise TutelageError(f"{where}: {_describe(trajectory, changed)}; {_REMEDY}")
        if changed:
            note = f"changed since its export ({', '.join(changed)})" + (
                f": {trajectory.notes}" if trajectory.notes else ""
            )
            renamed = replace(
                trajectory,
                episode=CHANGED + fingerprint(trajectory),
                notes=note,
                digest=self._digest(trajectory),
            )
            return prove_again(renamed, environments, self.observations)
        if trajectory.observations is None:
            try:
                replay_proven(trajectory, environments)
            except TutelageError as error:
                if not keep_changed:
                    raise TutelageError(
                        f"{where}: {error}; or say --changed to store what was seen"
                    ) from None
                return replace(trajectory, observations=dict(self.observations))
        return trajectory

    def _digest(self, trajectory: Trajectory) -> bytes:
        return digest_of(self.observations, trajectory.rewards, trajectory.terminated, trajectory.truncated)


_REMEDY = "get another copy, or say --changed to import such episodes under other ids"


def common_suite(markers: Sequence[ExportMarker], source: Path) -> Suite:
    """Return the common suite of datasets that are imported together; raises TutelageError if they differ."""
    suite = admit_all(suite_from(markers[0].suite, str(source)))
    if any(marker.suite != markers[0].suite for marker in markers):
        raise TutelageError(f"expected exports of one suite under {source}, got several; import one by one")
    return suite


def first_change(episodes: Iterable[ReadEpisode]) -> str:
    """Describe the first changed episode and its changed fields; "" when none was, or it is unreadable."""
    try:
        for written in episodes:
            trajectory, changed = written.rebuild()
            if changed:
                return _describe(trajectory, changed)
    except (TutelageError, *_UNREADABLE):
        return ""
    return ""


def refuse_changed_files(folder: Path, marker: ExportMarker, find: Callable[[], str]) -> None:
    """Raise TutelageError unless all files of an export are unchanged; `find` describes a changed episode."""
    if changed := marker.changed_files(folder):
        message = (
            find()
            or f"expected {printable(changed[0])} as it was written, got another: its data were changed"
        )
        raise TutelageError(f"{folder}: {message}; {_REMEDY}")


def read_all(
    episodes: Iterable[ReadEpisode], environments: Environments, where: str, keep_changed: bool
) -> Iterator[Trajectory]:
    """Read back the episodes of one dataset, see `ReadEpisode.read_back`."""
    iterator = iter(episodes)
    while True:
        try:
            written = next(iterator, None)
            if written is None:
                return
            trajectory = written.read_back(environments, where, keep_changed)
        except _UNREADABLE as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise TutelageError(f"{where}: expected episodes as they were exported, got {text}") from None
        yield trajectory


def append_new(
    store: Store,
    trajectories: Iterator[Trajectory],
    existing: set[str],
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Append the episodes whose ids are not in `existing`; return the numbers of new and repeated ones."""
    added, repeated = 0, 0
    waiting: list[Trajectory] = []
    for trajectory in trajectories:
        if progress:
            progress(1)
        if trajectory.episode in existing:
            repeated += 1
            continue
        existing.add(trajectory.episode)
        waiting.append(trajectory)
        if len(waiting) == _EPISODES_A_PART:
            store.append(waiting)
            added += len(waiting)
            waiting = []
    if waiting:
        store.append(waiting)
    return added + len(waiting), repeated


def count_sentence(name: str, counts: tuple[int, int]) -> str:
    """Say how many episodes `append_new` has added, and how many were repeated."""
    added, repeated = counts
    return f"{name}: {counted(added, 'episode')} added" + (
        f", {repeated} {agreeing(repeated, 'was')} there already." if repeated else "."
    )


def _describe(trajectory: Trajectory, changed: list[str]) -> str:
    return (
        f"expected episode {printable(trajectory.episode)} as it was exported, got "
        f"other {', '.join(changed)}: its data were changed"
    )
