"""Environments that fail in the midst of a batch: which episodes end with them, while the others go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from ...envs.batch import reset_together, step_together, steps_together
from ...envs.task import Task
from ...envs.task_env import StepResult, TaskEnv
from ...errors import EnvironmentFailure, TutelageError
from ...foreign_code.trust import Untrusted

_LONGEST = 500


class FailedEpisodes:
    """The episodes of one batch that failed: `reasons` maps place in the batch → what happened.

    A `strict` one raises what happened instead, as EnvironmentFailure.
    """

    def __init__(self, task: Task, seeds: Sequence[int], strict: bool) -> None:
        self.reasons: dict[int, str] = {}
        self._task, self._seeds, self._strict = task, seeds, strict

    @property
    def alive(self) -> np.ndarray:
        """Which episodes go on, boolean `[N]`."""
        return np.array([i not in self.reasons for i in range(len(self._seeds))])

    def by_seed(self) -> dict[int, str]:
        """Return seed → what happened."""
        return {self._seeds[i]: reason for i, reason in self.reasons.items()}

    @contextmanager
    def environment(self, places: Iterable[int], phase: str) -> Iterator[None]:
        """Note what an environment raises for the episodes at these places; what is not trusted is raised."""
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
        """Note what goes wrong where an actor looks into an environment; what it refuses is raised."""
        try:
            yield
        except EnvironmentFailure as error:
            self._note(places, str(error).removeprefix(f"task {self._task.id!r}: "), error)
        except TutelageError:
            raise
        except Exception as error:
            self._note(places, f"{name} failed in {self._task.env}: {described(error)}", error)

    def reset(self, environments: Sequence[TaskEnv], seeds: Sequence[int]) -> list[StepResult]:
        """Begin all episodes; the step of one that failed is another's, and is not read."""
        steps: dict[int, StepResult] = {}
        for places in self._groups(range(len(seeds))):
            with self.environment(places, "in reset"):
                begun = reset_together([environments[i] for i in places], [seeds[i] for i in places])
                steps.update(zip(places, begun, strict=True))
        stand_in = next(iter(steps.values()), None)
        return [steps.get(i, stand_in) for i in range(len(seeds)) if stand_in is not None]  # type: ignore[misc]

    def step(
        self, environments: Sequence[TaskEnv], acting: Mapping[int, np.ndarray]
    ) -> dict[int, StepResult]:
        """Take the actions of those that act, by place; returns the steps of those that did not fail."""
        steps: dict[int, StepResult] = {}
        for places in self._groups(acting):
            with self.environment(places, "in step"):
                taken = step_together([environments[i] for i in places], [acting[i] for i in places])
                steps.update(zip(places, taken, strict=True))
        return steps

    def _groups(self, places: Iterable[int]) -> list[list[int]]:
        """Return what is done at once: the pages of a browser together, everything else one by one."""
        listed = list(places)
        return [listed] if steps_together(self._task) else [[i] for i in listed]

    def _note(self, places: Iterable[int], reason: str, error: Exception) -> None:
        if self._strict:
            raise EnvironmentFailure(f"task {self._task.id!r}: {reason}") from error
        for i in places:
            self.reasons.setdefault(i, reason)


def described(error: Exception) -> str:
    """Return an exception of other people's code as one line: its type and what it says."""
    what = " ".join(str(error).split()) or "nothing more"
    return f"{type(error).__name__}: {what[:_LONGEST]}"
