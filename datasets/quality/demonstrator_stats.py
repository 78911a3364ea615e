"""Statistics of demonstrators: measures of each person's episodes, with the median person as reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from .episode_stats import EpisodeStats

FEWEST_PEOPLE = 3
"""Fewest people that must have played a task for its median to be used."""

TOLERANCE = 1.6
"""A gold episode is passed in at most this multiple of the expert's steps."""


@dataclass(frozen=True)
class MedianStats:
    """The median person's measures, (measure, task) → value; `outcomes`: (task, seed) → person → success."""

    values: Mapping[tuple[str, str], float] = field(default_factory=dict)
    outcomes: Mapping[tuple[str, int], Mapping[str, bool]] = field(default_factory=dict)


@dataclass(frozen=True)
class DemonstratorStats:
    """Statistics of one person's episodes.

    `rated` counts the episodes whose success is known, `successes` those that succeeded. `gold` counts the
    rated gold episodes, `gold_passed` those that were solved in time. `repeats` counts the episodes on seeds
    that other people played too, `agreed` those that ended as most of the others' did. `own` holds the
    person's measures (those of MEASURES that are known), `usual` the median person's on the same tasks,
    weighted by how often this person played each. `own["length"]` is estimated from `beside_expert` solved
    episodes; `length_low` is the lower end of its 95 % interval.
    """

    person: str
    episodes: int
    rated: int
    successes: int
    gold: int = 0
    gold_passed: int = 0
    repeats: int = 0
    agreed: int = 0
    beside_expert: int = 0
    length_low: float | None = None
    own: Mapping[str, float] = field(default_factory=dict)
    usual: Mapping[str, float] = field(default_factory=dict)


def usual(rows: Iterable[EpisodeStats], tolerance: float = TOLERANCE) -> MedianStats:
    """Compute the median person's measures for every task that at least three people played.

    The order of the rows does not matter.
    """
    rows = [row for row in rows if row.role != "practice"]
    outcomes: dict[tuple[str, int], dict[str, bool]] = {}
    for row in rows:
        if row.success is not None:
            by_person = outcomes.setdefault((row.task, row.seed), {})
            by_person[row.person] = by_person.get(row.person, True) and row.success
    values = {}
    for task, task_rows in _grouped(rows, lambda row: row.task).items():
        people = [
            _measured(person_rows, tolerance)
            for person_rows in _grouped(task_rows, lambda row: row.person).values()
        ]
        for measure in MEASURES:
            person_values = [measures[measure] for measures in people if measure in measures]
            if len(person_values) >= FEWEST_PEOPLE:
                values[measure, task] = median(person_values)
    return MedianStats(
        values, {seed: by_person for seed, by_person in outcomes.items() if len(by_person) > 1}
    )


def evidence(
    rows: Iterable[EpisodeStats], crowd: MedianStats | None = None, tolerance: float = TOLERANCE
) -> dict[str, DemonstratorStats]:
    """Compute the statistics of each person in the rows, with `crowd` (default: the rows' own) as reference.

    Practice does not count. The order of the rows does not matter.
    """
    rows = [row for row in rows if row.role != "practice"]
    reference = usual(rows, tolerance) if crowd is None else crowd
    people = _grouped(rows, lambda row: row.person)
    return {person: _person_stats(person, people[person], reference, tolerance) for person in sorted(people)}


def _shares(name: str) -> Callable[[Sequence[EpisodeStats], float], float | None]:
    def mean(rows: Sequence[EpisodeStats], _: float) -> float | None:
        shares = [share for row in rows if (share := getattr(row, name)) is not None]
        return math.fsum(shares) / len(shares) if shares else None

    return mean


def _medians(name: str) -> Callable[[Sequence[EpisodeStats], float], float | None]:
    def middle(rows: Sequence[EpisodeStats], _: float) -> float | None:
        values = [getattr(row, name) for row in rows if getattr(row, name) is not None]
        return median(values) if values else None

    return middle


def _hidden(rows: Sequence[EpisodeStats], _: float) -> float:
    """Return the mean share of time that the page was hidden, capped at 1 per episode."""
    shares = (min(1.0, row.hidden_ms / max(1.0, row.seconds * 1000 + row.hidden_ms)) for row in rows)
    return math.fsum(shares) / len(rows)


def _gold(rows: Sequence[EpisodeStats], tolerance: float) -> float | None:
    gold = _gold_passed(rows, tolerance)
    return sum(gold) / len(gold) if gold else None


def _length(rows: Sequence[EpisodeStats], _: float) -> float | None:
    logs = _log_lengths(rows)
    return math.exp(math.fsum(logs) / len(logs)) if logs else None


MEASURES: Mapping[str, Callable[[Sequence[EpisodeStats], float], float | None]] = {
    "success": _shares("success"),
    "gold": _gold,
    "length": _length,  # steps / expert's steps, geometric mean over solved episodes
    "reaction_ms": _medians("reaction_ms"),
    "fast_share": _shares("fast_share"),
    "idle_share": _shares("idle_share"),
    "repeat_share": _shares("repeat_share"),
    "hidden_share": _hidden,
    "lag_ms": _medians("lag_ms"),
}
"""Measures of a person's episodes: name → (rows, tolerance) → value, None where it is unknown."""


def _measured(rows: Sequence[EpisodeStats], tolerance: float) -> dict[str, float]:
    measures = {name: measure(rows, tolerance) for name, measure in MEASURES.items()}
    return {name: value for name, value in measures.items() if value is not None}


def _person_stats(
    person: str, rows: Sequence[EpisodeStats], crowd: MedianStats, tolerance: float
) -> DemonstratorStats:
    gold = _gold_passed(rows, tolerance)
    rated = [row.success for row in rows if row.success is not None]
    agreements = [agrees for row in rows if (agrees := _agrees(row, crowd)) is not None]
    return DemonstratorStats(
        person=person,
        episodes=len(rows),
        rated=len(rated),
        successes=sum(rated),
        gold=len(gold),
        gold_passed=sum(gold),
        repeats=len(agreements),
        agreed=sum(agreements),
        beside_expert=len(_log_lengths(rows)),
        length_low=_length_low(rows),
        own=_measured(rows, tolerance),
        usual=_expected(rows, crowd),
    )


def _expected(rows: Sequence[EpisodeStats], crowd: MedianStats) -> dict[str, float]:
    """Return the median person's measures on the same tasks, weighted by how often each was played."""
    expected = {}
    for measure in MEASURES:
        counted = [row for row in rows if measure != "gold" or row.role == "gold"]
        values = [value for row in counted if (value := crowd.values.get((measure, row.task))) is not None]
        if values:
            expected[measure] = math.fsum(values) / len(values)
    return expected


def _gold_passed(rows: Sequence[EpisodeStats], tolerance: float) -> list[bool]:
    """Return, for each gold episode whose success is known, whether it was solved in time."""
    return [
        row.success and (row.expert_steps is None or row.steps <= tolerance * row.expert_steps)
        for row in rows
        if row.role == "gold" and row.success is not None
    ]


def _agrees(row: EpisodeStats, crowd: MedianStats) -> bool | None:
    """Return whether an episode's success is that of the majority of other people on its seed.

    Returns None without other people, for a tie, and where success is not known.
    """
    by_person = crowd.outcomes.get((row.task, row.seed), {})
    outcomes = [success for person, success in by_person.items() if person != row.person]
    if row.success is None or 2 * sum(outcomes) == len(outcomes):
        return None
    return row.success == (2 * sum(outcomes) > len(outcomes))


def _length_low(rows: Sequence[EpisodeStats]) -> float | None:
    """Return the lower end of the mean log length's t interval; None below four solved episodes."""
    from scipy import stats  # lazy import: takes most of a second

    logs = _log_lengths(rows)
    if len(logs) < 4:
        return None
    mean = math.fsum(logs) / len(logs)
    spread = math.sqrt(math.fsum((log - mean) ** 2 for log in logs) / (len(logs) - 1) / len(logs))
    return math.exp(mean - float(stats.t.ppf(0.975, len(logs) - 1)) * spread)


def _log_lengths(rows: Sequence[EpisodeStats]) -> list[float]:
    return [math.log(row.steps / row.expert_steps) for row in rows if row.success and row.expert_steps]


def _grouped(
    rows: Iterable[EpisodeStats], key: Callable[[EpisodeStats], str]
) -> dict[str, list[EpisodeStats]]:
    groups: dict[str, list[EpisodeStats]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups
