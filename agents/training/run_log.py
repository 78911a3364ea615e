"""What came of each round of practice: a line of `practice.jsonl` each, written as it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from ...datasets.sealed_yaml import read_sealed, sealed
from ...errors import TutelageError
from ...files.atomic_files import disk_errors, write_whole
from .sealed_lines import read_lines, seal_lines

ROUNDS = "practice.jsonl"
ATTEMPTS = "attempts.yaml"
"""What was tried so far in the round that is underway."""

_REMEDY = "restore it from a copy, or move it away: the rounds are done again"


class TaskAttempts(NamedTuple):
    """What came of one task in a round: success at the first attempt, and how many attempts were kept."""

    rate: float
    kept: int


@dataclass(frozen=True)
class SelfImitationRound:
    """What came of one round.

    `tried` is success by task at the first attempt, `kept` how many attempts joined the demonstrations,
    `select` success by task on select seeds afterwards, `failed` what happened where an environment did.
    """

    number: int
    tried: Mapping[str, float]
    kept: int
    select: Mapping[str, float]
    failed: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        tried, select = (100 * float(np.mean(list(one.values()) or [0])) for one in (self.tried, self.select))
        return (
            f"round {self.number}: {tried:.1f} % of its first attempts succeeded, {self.kept:,} joined the "
            f"demonstrations; {select:.1f} % on select seeds now"
        )


_ROUNDS = TypeAdapter(list[SelfImitationRound])


def read_attempts(run: Path, number: int, policy: str) -> dict[str, TaskAttempts]:
    """Read what tasks gave that were tried before a round was stopped; nothing where that is unknown."""
    try:
        document = read_sealed(run / ATTEMPTS, 1, "attempts")
        tasks = {
            task: TaskAttempts(float(rate), int(kept)) for task, (rate, kept) in document["tasks"].items()
        }
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):  # they are tried again
        return {}
    if (document.get("round"), document.get("policy")) != (number, policy):
        return {}
    return tasks


def write_attempts(run: Path, number: int, policy: str, tasks: Mapping[str, TaskAttempts]) -> None:
    """Write what tasks gave that a policy (its seal) tried in a round; raises TutelageError if it cannot."""
    document = {
        "version": 1,
        "round": number,
        "policy": policy,
        "tasks": {task: [*done] for task, done in tasks.items()},
    }
    with disk_errors(run, "go on with --resume"):
        write_whole(run / ATTEMPTS, sealed(document))


def read_rounds(run: Path) -> list[SelfImitationRound]:
    """Read what came of the rounds of a run; none where it has not practised.

    Raises TutelageError when the file was changed or cut.
    """
    path = run / ROUNDS
    records = read_lines(path, _REMEDY).records
    if not path.exists():
        return []
    *rounds, last = records or [{}]
    if last != {"rounds": len(rounds)}:
        raise TutelageError(f"expected the whole of {path}, got a part of it; {_REMEDY}")
    try:
        return list(_ROUNDS.validate_python(rounds))
    except ValidationError as error:
        what = str(error.errors()[0]["msg"])
        raise TutelageError(f"expected rounds of practice in {path}, got: {what}; {_REMEDY}") from None


def write_rounds(run: Path, rounds: Sequence[SelfImitationRound]) -> None:
    """Write what came of all rounds so far; the last line counts them. Raises TutelageError if it cannot."""
    records: list[dict[str, Any]] = [
        asdict(done) | {"tried": dict(done.tried), "select": dict(done.select), "failed": dict(done.failed)}
        for done in rounds
    ]
    with disk_errors(run, "go on with --resume"):
        write_whole(run / ROUNDS, seal_lines([*records, {"rounds": len(rounds)}]).encode())
