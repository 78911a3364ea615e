"""What came of each round of practice: a line of `practice.jsonl` each, written as it ends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..datasets.durable import write_whole

ROUNDS = "practice.jsonl"


@dataclass(frozen=True)
class Round:
    """What came of one round.

    `tried` is success by task at the first attempt, `kept` how many attempts joined the demonstrations,
    `select` success by task on select seeds afterwards.
    """

    number: int
    tried: Mapping[str, float]
    kept: int
    select: Mapping[str, float]

    def __str__(self) -> str:
        tried, select = (100 * float(np.mean(list(one.values()) or [0])) for one in (self.tried, self.select))
        return (
            f"round {self.number}: {tried:.1f} % of its first attempts succeeded, {self.kept:,} joined the "
            f"demonstrations; {select:.1f} % on select seeds now"
        )


def read_rounds(run: Path) -> list[Round]:
    """Read what came of the rounds of a run; none where it has not practised."""
    path = run / ROUNDS
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [Round(**json.loads(line)) for line in lines]


def write_rounds(run: Path, rounds: Sequence[Round]) -> None:
    """Write what came of all rounds so far."""
    lines = [
        json.dumps(asdict(one) | {"tried": dict(one.tried), "select": dict(one.select)}) for one in rounds
    ]
    write_whole(run / ROUNDS, "".join(f"{line}\n" for line in lines).encode())
