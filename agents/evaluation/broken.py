"""Failing environments in a batch: their episodes end, the others continue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from ...envs.batch import reset_together, step_together
from ...envs.capabilities import StepsTogether
from ...envs.task import Task
from ...envs.task_env import StepResult, TaskEnv
from ...envs.task_spec import supports
from ...errors import EnvironmentFailure, TutelageError
from ...foreign_code.trust import Untrusted

_LONGEST = 500


class FailedEpisodes:
    """The failed episodes of one batch: `reasons` maps index in the batch → error message.

    If `strict`, an error is raised as EnvironmentFailure instead.
    """

    def __init__(self, task: Task, seeds: Sequence[int], strict: bool) -> None:
        self.reasons: dict[int, str] = {}
        self._task, self._seeds, self._strict = task, seeds, strict
        self._is_concurrent = supports(task, StepsTogether)

    @property
    def alive(self) -> np.ndarray:
        """The episodes that have not failed, bool `[N]`."""
        return np.array([i not in self.reasons for i in range(len(self._seeds))])

    def by_seed(self) -> dict[int, str]:
        """Return seed → error message."""
        return {self._seeds[i]: reason for i, reason in self.reasons.items()}

    @contextmanager
    def environment(self, places: Iterable[int], phase: str) -> Iterator[None]:
        """Record errors of an environment for the episodes at `places`; Untrusted is raised."""
        try:
            yield
        except Untrusted:
            raise
        except TutelageError as error:
            self._note(places, str(error).removeprefix(f"task {self._task.id!r}: "), error)
        except Exception as error:  # an environment may raise anything
            self._note(places, f"{self._task.env} failed {phase}: {described(error)}", error)

    @contextmanager
    def actor(self, places: Iterable[int], name: str) -> Iterator[None]:
        """Record errors of an actor for the episodes at `places`; its TutelageErrors are raised."""
        try:
            yield
        except EnvironmentFailure as error:
            self._note(places, str(error).removeprefix(f"task {self._task.id!r}: "), error)
        except TutelageError:
            raise
        except Exception as error:
            self._note(places, f"{name} failed in {self._task.env}: {described(error)}", error)

    def reset(self, environments: Sequence[TaskEnv], seeds: Sequence[int]) -> list[StepResult]:
        """Reset all environments; a failed one gets the step of another, which is not read."""
        steps: dict[int, StepResult] = {}
        for places in self._groups(range(len(seeds))):
            with self.environment(places, "in reset"):
                results = reset_together([environments[i] for i in places], [seeds[i] for i in places])
                steps.update(zip(places, results, strict=True))
        stand_in = next(iter(steps.values()), None)
        return [steps.get(i, stand_in) for i in range(len(seeds)) if stand_in is not None]  # type: ignore[misc]

    def step(
        self, environments: Sequence[TaskEnv], acting: Mapping[int, np.ndarray]
    ) -> dict[int, StepResult]:
        """Step environments with `acting` (index → action); returns the steps of those that did not fail."""
        steps: dict[int, StepResult] = {}
        for places in self._groups(acting):
            with self.environment(places, "in step"):
                results = step_together([environments[i] for i in places], [acting[i] for i in places])
                steps.update(zip(places, results, strict=True))
        return steps

    def _groups(self, places: Iterable[int]) -> list[list[int]]:
        """Return groups that step in one call: concurrent environments together, others singly."""
        listed = list(places)
        return [listed] if self._is_concurrent else [[i] for i in listed]

    def _note(self, places: Iterable[int], reason: str, error: Exception) -> None:
        if self._strict:
            raise EnvironmentFailure(f"task {self._task.id!r}: {reason}") from error
        for i in places:
            self.reasons.setdefault(i, reason)


def described(error: Exception) -> str:
    """Return an exception of foreign code as one line: its type and message."""
    message = " ".join(str(error).split()) or "nothing more"
    return f"{type(error).__name__}: {message[:_LONGEST]}"
