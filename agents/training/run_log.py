"""Results of self-imitation rounds: one line of `self_imitation.jsonl` a round, written when it ends."""

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

ROUNDS = "self_imitation.jsonl"
ATTEMPTS = "attempts.yaml"
"""File of the tasks already attempted in the current round."""

_REMEDY = "restore it from a copy, or move it away: the rounds are done again"


class TaskAttempts(NamedTuple):
    """Result of one task in a round: success rate at the first attempt, and number of attempts `kept`."""

    rate: float
    kept: int


@dataclass(frozen=True)
class SelfImitationRound:
    """Result of one round.

    `tried` is success by task at the first attempt, `kept` the number of attempts added to the
    demonstrations, `select` success by task on select seeds afterwards, `failed` the errors of environments.
    """

    number: int
    tried: Mapping[str, float]
    kept: int
    select: Mapping[str, float]
    failed: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        tried, select = (
            100 * float(np.mean(list(rates.values()) or [0])) for rates in (self.tried, self.select)
        )
        return (
            f"round {self.number}: {tried:.1f} % of its first attempts succeeded, {self.kept:,} joined the "
            f"demonstrations; {select:.1f} % on select seeds now"
        )


_ROUNDS = TypeAdapter(list[SelfImitationRound])


def read_attempts(run: Path, number: int, policy: str) -> dict[str, TaskAttempts]:
    """Read the results of tasks attempted before a round was stopped; {} if missing or of another policy."""
    try:
        document = read_sealed(run / ATTEMPTS, 1, "attempts")
        tasks = {
            task: TaskAttempts(float(rate), int(count)) for task, (rate, count) in document["tasks"].items()
        }
    except (
        FileNotFoundError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
    ):  # such tasks are attempted again
        return {}
    if (document.get("round"), document.get("policy")) != (number, policy):
        return {}
    return tasks


def write_attempts(run: Path, number: int, policy: str, tasks: Mapping[str, TaskAttempts]) -> None:
    """Write the results of attempted tasks; `policy` is its seal. Raises TutelageError for a full disk."""
    document = {
        "version": 1,
        "round": number,
        "policy": policy,
        "tasks": {task: [*attempts] for task, attempts in tasks.items()},
    }
    with disk_errors(run, "go on with --resume"):
        write_whole(run / ATTEMPTS, sealed(document))


def read_rounds(run: Path) -> list[SelfImitationRound]:
    """Read the results of a run's rounds; [] if there are none.

    Raises TutelageError when the file was changed or truncated.
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
        problem = str(error.errors()[0]["msg"])
        raise TutelageError(
            f"expected rounds of self-imitation in {path}, got: {problem}; {_REMEDY}"
        ) from None


def write_rounds(run: Path, rounds: Sequence[SelfImitationRound]) -> None:
    """Write the results of all rounds; the last line counts them. Raises TutelageError for a full disk."""
    records: list[dict[str, Any]] = [
        asdict(result)
        | {"tried": dict(result.tried), "select": dict(result.select), "failed": dict(result.failed)}
        for result in rounds
    ]
    with disk_errors(run, "go on with --resume"):
        write_whole(run / ROUNDS, seal_lines([*records, {"rounds": len(rounds)}]).encode())
