"""Held-out demonstrations: episodes that a run never trains on, to measure its loss on them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ...datasets.arrays.sampler import Sampler, TaskArrays
from ...errors import TutelageError
from ..policy.policy import Policy
from .config import TrainConfig
from .step import make_sampler

BATCHES = 8
"""Most batches of one measurement."""


@dataclass(frozen=True)
class Holdout:
    """A share of each task's episodes that is left out; `taught` are the weights of the others, `[E]`."""

    taught: Mapping[str, np.ndarray]
    sampler: Sampler
    batches: int

    @classmethod
    def of(
        cls, columns: Mapping[str, TaskArrays], weights: Mapping[str, np.ndarray], config: TrainConfig
    ) -> Holdout:
        """Leave out `config.holdout` of each task's teaching episodes, at least one and not all.

        Which episodes depends on the seed and the task only. Raises TutelageError where no task has two.
        """
        taught, held = {}, {}
        for task, by_episode in weights.items():
            teaching = np.flatnonzero(by_episode)
            count = min(max(1, round(config.holdout * len(teaching))), len(teaching) - 1)
            random = np.random.default_rng([config.seed, zlib.crc32(task.encode())])
            left_out = np.zeros(len(by_episode), bool)
            left_out[random.permutation(teaching)[: max(count, 0)]] = True
            taught[task] = np.where(left_out, 0, by_episode)
            if left_out.any():
                held[task] = np.where(left_out, by_episode, 0)
        if not held:
            raise TutelageError(
                "expected a task of at least two teaching episodes for --holdout, got none; leave it out"
            )
        sampler = make_sampler({task: columns[task] for task in held}, config, held)
        steps = sum(int(np.diff(columns[task].starts)[used > 0].sum()) for task, used in held.items())
        return cls(taught, sampler, int(min(BATCHES, -(-steps // config.batch_steps))))

    def loss(self, policy: Policy) -> tuple[float, dict[str, float]]:
        """Return a policy's mean loss on held-out steps, and that of each task; always the same batches."""
        was_training = policy.training
        policy.eval()
        losses: list[float] = []
        by_task: dict[str, list[float]] = {}
        with torch.no_grad():
            for number in range(self.batches):
                batch = self.sampler.batch(number) or self.sampler.going_on(number)
                loss, metrics = policy.loss(batch)
                losses.append(float(loss))
                for task, value in metrics.items():
                    by_task.setdefault(task, []).append(value)
        policy.train(was_training)
        return float(np.mean(losses)), {task: float(np.mean(values)) for task, values in by_task.items()}
