"""Records of the journal: seats, episodes and steps, independent of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...datasets.trajectory import new_episode_id

JOURNAL = "journal.sqlite"
"""The journal's name in the recorder's folder, beside the store's parts."""
GIVEN_UP = "given up"
STATES = ("open", "finished", "kept", "stored", "discarded", "abandoned", "unplayed")
"""An episode is open while it is played, finished until it is decided about, kept, then stored.

`abandoned` was given up for good; `unplayed` was left before its first action, so its seed is free again."""


@dataclass(frozen=True)
class SeatRecord:
    """One person's seat: a secret's hash, their pseudonym and their current task."""

    seat: str
    demonstrator: str
    task: str = ""


@dataclass(frozen=True)
class EpisodeRecord:
    """One episode from its reset on; `digest` is the one after the reset, `state` one of STATES.

    In a study: its name, the hash of the consent text that was agreed to, and the episode's role
    (demonstration, repeat, gold, practice, baseline).
    """

    seat: str
    demonstrator: str
    suite: str
    task: str
    env: str
    seed: int
    digest: bytes
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 1
    kind: str = "person"
    started: str = ""
    state: str = "open"
    notes: str = ""
    study: str = ""
    consent: str = ""
    role: str = ""
    episode: str = field(default_factory=new_episode_id)

    @property
    def given_up(self) -> bool:
        """Say whether a person gave up midway: on test seeds such an episode is kept, as a failure."""
        return GIVEN_UP in self.notes.split("; ")


class StepRecord(NamedTuple):
    """Step `step` (the first is 1): its action row, the result, the time, the controller and the digest.

    `success` is the verdict of the task's rule at the step that ended the episode, None at any other.
    """

    step: int
    action: Sequence[float]
    reward: float
    terminated: bool
    truncated: bool
    time_ms: int
    controller: int
    frame: int
    digest: bytes
    success: bool | None = None


class SoundSteps(NamedTuple):
    """The steps of an episode before a damaged or missing one; `damage` names that one, "" for none."""

    steps: list[StepRecord]
    damage: str
