"""Profiles of simulated demonstrators: error rates of each, and their numbers in the simulated crowd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...envs.task import Task


@dataclass(frozen=True)
class DemonstratorProfile:
    """Behavior of one kind of demonstrator.

    `slip` is the probability that a step's action is replaced by a random bound key, `give_up` the
    probability per step of abandoning the episode, `against` the probability that an episode is played with
    random keys only. `misread` is the probability that an episode is played for another color than the
    instruction's; outside of tutelage's grid environments, such an episode is played with random keys.
    `wobble` is the standard deviation of noise on continuous actions, as a share of their range.
    `reaction_ms` is the median of log-normal reaction times, `reaction_spread` their log standard deviation.
    """

    name: str
    slip: float = 0.0
    give_up: float = 0.0
    against: float = 0.0
    misread: float = 0.0
    wobble: float = 0.0
    reaction_ms: float = 350.0
    reaction_spread: float = 0.35


PROFILES = {
    profile.name: profile
    for profile in (
        DemonstratorProfile("careful", slip=0.005, wobble=0.01),
        DemonstratorProfile("noisy", slip=0.08, wobble=0.06, reaction_ms=260.0),
        DemonstratorProfile("slow", slip=0.01, wobble=0.02, reaction_ms=900.0),
        DemonstratorProfile("lazy", slip=0.03, give_up=0.02, wobble=0.04),
        DemonstratorProfile("mistaken", slip=0.02, misread=0.35, wobble=0.03),
        DemonstratorProfile("hostile", against=1.0, reaction_ms=120.0),
        DemonstratorProfile("expert", reaction_ms=200.0, reaction_spread=0.0),
    )
}
CROWD: Mapping[str, int] = {"careful": 9, "slow": 3, "noisy": 5, "lazy": 2, "mistaken": 1, "hostile": 1}
"""Number of demonstrators of each profile in the simulated crowd: 21 people."""


@dataclass(frozen=True)
class SimulatedDemonstrator:
    """One pseudonymous player with a profile; its behavior is a function of (name, task, seed) only."""

    name: str
    profile: DemonstratorProfile

    @property
    def kind(self) -> str:
        """The `kind` of its trajectories; the expert's are never called demonstrations."""
        return "expert" if self.profile.name == "expert" else "simulated"

    @property
    def controller(self) -> str:
        """The controller recorded for its steps."""
        return "expert" if self.profile.name == "expert" else "person"

    def generator(self, task: Task, seed: int) -> np.random.Generator:
        """Return the random generator of one episode."""
        words = [ord(letter) for letter in f"{self.name}/{task.id}"]
        return np.random.default_rng([seed, *words])
