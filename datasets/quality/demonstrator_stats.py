"""Evidence about demonstrators: what each one's episodes come to, beside what the median person does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from .episode_stats import EpisodeStats

FEWEST_PEOPLE = 3
"""So many must have played a task before its median says anything."""

TOLERANCE = 1.6
"""A gold episode is passed in at most so many times the expert's steps."""


@dataclass(frozen=True)
class MedianStats:
    """What the median person does: (measure, task) → value; `outcomes`: (task, seed) → person → success."""

    values: Mapping[tuple[str, str], float] = field(default_factory=dict)
    outcomes: Mapping[tuple[str, int], Mapping[str, bool]] = field(default_factory=dict)


@dataclass(frozen=True)
class DemonstratorStats:
    """What one person's episodes come to.

    `successes` are of the `rated` episodes, whose success is known.
    `gold_passed` of `gold` episodes of known length were solved in time; on `repeats` seeds that others
    played too, `agreed` ended as for most of them. `own` holds the person's measures (those of MEASURES that
    are known), `usual` the median person's on the same tasks, as often as this person played each.
    `beside_expert` solved episodes are behind `own["length"]`; `length_low` is its 95 % interval's lower end.
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
    """Say what the median person does, in every task that at least three people played; in any order."""
    rows = [one for one in rows if one.role != "practice"]
    outcomes: dict[tuple[str, int], dict[str, bool]] = {}
    for one in rows:
        if one.success is not None:
            seed = outcomes.setdefault((one.task, one.seed), {})
            seed[one.person] = seed.get(one.person, True) and one.success
    values = {}
    for task, theirs in _grouped(rows, lambda one: one.task).items():
        people = [_measured(mine, tolerance) for mine in _grouped(theirs, lambda one: one.person).values()]
        for measure in MEASURES:
            known = [one[measure] for one in people if measure in one]
            if len(known) >= FEWEST_PEOPLE:
                values[measure, task] = median(known)
    return MedianStats(values, {seed: who for seed, who in outcomes.items() if len(who) > 1})


def evidence(
    rows: Iterable[EpisodeStats], crowd: MedianStats | None = None, tolerance: float = TOLERANCE
) -> dict[str, DemonstratorStats]:
    """Gather the evidence for each person of the rows, beside a crowd (if not given, the rows' own).

    Practice does not count. The order of the rows does not matter.
    """
    rows = [one for one in rows if one.role != "practice"]
    beside = usual(rows, tolerance) if crowd is None else crowd
    people = _grouped(rows, lambda one: one.person)
    return {person: _gathered(person, people[person], beside, tolerance) for person in sorted(people)}


def _shares(name: str) -> Callable[[Sequence[EpisodeStats], float], float | None]:
    def mean(rows: Sequence[EpisodeStats], _: float) -> float | None:
        shares = [share for row in rows if (share := getattr(row, name)) is not None]
        return math.fsum(shares) / len(shares) if shares else None

    return mean


def _medians(name: str) -> Callable[[Sequence[EpisodeStats], float], float | None]:
    def middle(rows: Sequence[EpisodeStats], _: float) -> float | None:
        known = [getattr(one, name) for one in rows if getattr(one, name) is not None]
        return median(known) if known else None

    return middle


def _hidden(rows: Sequence[EpisodeStats], _: float) -> float:
    """Return the share of the time that the page was hidden, an episode's at most all of it."""
    shares = (min(1.0, one.hidden_ms / max(1.0, one.seconds * 1000 + one.hidden_ms)) for one in rows)
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
    "length": _length,  # steps over the expert's, the geometric mean of solved episodes
    "reaction_ms": _medians("reaction_ms"),
    "fast_share": _shares("fast_share"),
    "idle_share": _shares("idle_share"),
    "repeat_share": _shares("repeat_share"),
    "hidden_share": _hidden,
    "lag_ms": _medians("lag_ms"),
}
"""What is measured of a person's episodes: name → (rows, tolerance) → value, None where it is not known."""


def _measured(rows: Sequence[EpisodeStats], tolerance: float) -> dict[str, float]:
    found = {name: measure(rows, tolerance) for name, measure in MEASURES.items()}
    return {name: value for name, value in found.items() if value is not None}


def _gathered(
    person: str, rows: Sequence[EpisodeStats], crowd: MedianStats, tolerance: float
) -> DemonstratorStats:
    gold = _gold_passed(rows, tolerance)
    rated = [row.success for row in rows if row.success is not None]
    same = [agrees for one in rows if (agrees := _agrees(one, crowd)) is not None]
    return DemonstratorStats(
        person=person,
        episodes=len(rows),
        rated=len(rated),
        successes=sum(rated),
        gold=len(gold),
        gold_passed=sum(gold),
        repeats=len(same),
        agreed=sum(same),
        beside_expert=len(_log_lengths(rows)),
        length_low=_length_low(rows),
        own=_measured(rows, tolerance),
        usual=_expected(rows, crowd),
    )


def _expected(rows: Sequence[EpisodeStats], crowd: MedianStats) -> dict[str, float]:
    """Say what the median person would come to on the same tasks, played as often."""
    expected = {}
    for measure in MEASURES:
        counted = [one for one in rows if measure != "gold" or one.role == "gold"]
        known = [value for one in counted if (value := crowd.values.get((measure, one.task))) is not None]
        if known:
            expected[measure] = math.fsum(known) / len(known)
    return expected


def _gold_passed(rows: Sequence[EpisodeStats], tolerance: float) -> list[bool]:
    """Say of each gold episode whose success is known whether it was solved in time."""
    return [
        row.success and (row.expert_steps is None or row.steps <= tolerance * row.expert_steps)
        for row in rows
        if row.role == "gold" and row.success is not None
    ]


def _agrees(one: EpisodeStats, crowd: MedianStats) -> bool | None:
    """Say whether an episode ended as for most of the others on its seed.

    Returns None without others, for a tie, and where success is not known.
    """
    seed = crowd.outcomes.get((one.task, one.seed), {})
    others = [success for who, success in seed.items() if who != one.person]
    if one.success is None or 2 * sum(others) == len(others):
        return None
    return one.success == (2 * sum(others) > len(others))


def _length_low(rows: Sequence[EpisodeStats]) -> float | None:
    """Return the lower end of the mean log length's t interval; None below four solved episodes."""
    from scipy import stats  # here: it takes most of a second

    logs = _log_lengths(rows)
    if len(logs) < 4:
        return None
    mean = math.fsum(logs) / len(logs)
    spread = math.sqrt(math.fsum((one - mean) ** 2 for one in logs) / (len(logs) - 1) / len(logs))
    return math.exp(mean - float(stats.t.ppf(0.975, len(logs) - 1)) * spread)


def _log_lengths(rows: Sequence[EpisodeStats]) -> list[float]:
    return [math.log(one.steps / one.expert_steps) for one in rows if one.success and one.expert_steps]


def _grouped(
    rows: Iterable[EpisodeStats], key: Callable[[EpisodeStats], str]
) -> dict[str, list[EpisodeStats]]:
    groups: dict[str, list[EpisodeStats]] = {}
    for one in rows:
        groups.setdefault(key(one), []).append(one)
    return groups
