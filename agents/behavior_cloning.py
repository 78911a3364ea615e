"""Behavior cloning: supervised learning on what people did; a step is a function of (config, data, step)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..datasets.sampler import Sampler, TaskColumns, load_columns
from ..datasets.store import Store
from ..datasets.verification import admit_played
from ..datasets.weights import Weight, episode_weights, weigh
from ..envs.errors import TutelageError
from ..envs.suite import Suite
from ..envs.task import RECORD
from .checkpoint import LoadedPolicy, save
from .judges import skills
from .policy import Policy
from .train_config import TrainConfig
from .training_progress import TrainingProgress
from .training_state import Log, load_state, save_state
from .training_step import Run, begin, make_sampler, schedule, training_step

Evaluate = Callable[[Policy], Mapping[str, float]]
"""Success by task on select seeds; chooses the kept checkpoint."""

LOG_EVERY = 10


def train(
    stores: Sequence[Store],
    out: Path,
    config: TrainConfig,
    *,
    evaluate: Evaluate | None = None,
    resume: bool = False,
    progress: bool = False,
    tell: Callable[[list[Weight]], None] | None = None,
    parent: LoadedPolicy | None = None,
    emphasis: Mapping[str, float] | None = None,
) -> Path:
    """Train one policy on everything in the stores that was recorded on record seeds.

    Writes `config.yaml`, `metrics.jsonl`, TensorBoard files, the state to resume from, and two
    checkpoints of the averaged weights: `last` and `kept`, the best on select seeds (without `evaluate`,
    the last). `tell` hears what each demonstrator's episodes weigh before the first step. Training goes on
    from the weights of `parent`, if there is one. `emphasis` multiplies the shares of tasks in a batch.
    Ctrl-C saves everything first. Returns the kept one. Raises TutelageError when there is
    nothing to learn from, or when `resume` finds another configuration.
    """
    for store in stores:
        admit_played(store)
    out.mkdir(parents=True, exist_ok=True)
    _check_config(out, config, resume)
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads or _cores())
    try:
        columns = _columns(stores, config, progress)
        skilled = skills(columns, config, progress) if config.weights in ("expertise", "both") else {}
        if tell:
            tell(weigh(columns, config.weights, skilled))
        sampler = make_sampler(columns, config, episode_weights(columns, config.weights, skilled), emphasis)
        run = begin(columns, config, parent.policy if parent else None, stores[0].suite)
        if resume:
            facts = load_state(out, run.policy, run.average, run.optimizer)
            run.step, run.best, run.select = facts["step"], facts["best"], facts["select"]
            run.average.forgetful = frozenset(facts["forgetful"])
        lineage = _lineage(stores, config, run.policy) | {"parent": parent.seal if parent else None}
        _loop(run, sampler, out, config, stores[0].suite, lineage, evaluate, progress)
    finally:
        torch.set_num_threads(threads)
    return out / "kept"


def _loop(
    run: Run,
    sampler: Sampler,
    out: Path,
    config: TrainConfig,
    suite: Suite,
    lineage: Mapping[str, Any],
    evaluate: Evaluate | None,
    progress: bool,
) -> None:
    log = Log(out, run.step)
    began, timed, seen = time.perf_counter(), 0.0, 0
    with TrainingProgress(config.steps, run.step, progress) as shown, _interruptible() as interrupted:
        while run.step < config.steps and not interrupted():
            at = time.perf_counter()
            batch = sampler.batch(run.step)
            loss, metrics = training_step(run, batch, config)
            timed += time.perf_counter() - at
            seen += sum(len(one.actions) for one in batch.values())
            if run.step % LOG_EVERY == 0 or run.step == config.steps:
                speed = {"steps_per_second": LOG_EVERY / timed, "samples_per_second": seen / timed}
                rate = config.learning_rate * schedule(run.step - 1, config)
                log.write(
                    run.step,
                    {
                        "loss": loss,
                        "task_loss": metrics,
                        "learning_rate": rate,
                        **speed,
                        "seconds": time.perf_counter() - began,
                    },
                )
                timed, seen = 0.0, 0
                shown.figures(loss, run.select, speed["steps_per_second"])
            shown.advance()
            if evaluate and (run.step % config.evaluate_every == 0 or run.step == config.steps):
                _select(run, out, suite, lineage, evaluate, log)
                shown.figures(loss, run.select, None)
            if run.step % config.save_every == 0:
                save_state(out, run.policy, run.average, run.optimizer, run.facts())
    save_state(out, run.policy, run.average, run.optimizer, run.facts())
    facts = {**lineage, "step": run.step}
    last = save(run.average, out / "last", suite=suite, lineage=facts)
    if run.best < 0:
        save(run.average, out / "kept", suite=suite, lineage=facts)
    log.close()
    if run.step < config.steps:
        raise TutelageError(
            f"stopped at step {run.step} of {config.steps}; saved in {last.parent}: go on with --resume"
        )


def _select(
    run: Run, out: Path, suite: Suite, lineage: Mapping[str, Any], evaluate: Evaluate, log: Log
) -> None:
    """Evaluate the averaged weights on select seeds, and keep them when they are the best so far.

    Each task is played with and without memory; what is better there is how it is played from now on.
    """
    run.average.eval()
    run.average.forgetful = frozenset()
    run.select = {task: float(rate) for task, rate in evaluate(run.average).items()}
    if run.average.config.forget:
        run.average.forgetful = frozenset(run.average.tasks)
        alone = evaluate(run.average)
        run.average.forgetful = frozenset(task for task, rate in alone.items() if rate > run.select[task])
        run.select = {task: max(rate, float(alone[task])) for task, rate in run.select.items()}
    score = float(np.mean(list(run.select.values())))
    log.write(run.step, {"select": run.select, "select_mean": score})
    if score >= run.best:
        run.best = score
        facts = dict(lineage) | {"step": run.step, "select": run.select}
        save(run.average, out / "kept", suite=suite, lineage=facts)


def _columns(stores: Sequence[Store], config: TrainConfig, progress: bool) -> dict[str, TaskColumns]:
    if not stores:
        raise TutelageError("expected at least one store to train on, got none")
    with TrainingProgress.counting("replaying", sum(map(len, stores)), progress) as advance:
        return load_columns(
            stores,
            seeds=RECORD,
            workers=config.workers,
            progress=advance,
            cache=stores[0].path / "columns",
            live=True,
        )


def _cores() -> int:
    """Count the cores this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _lineage(stores: Sequence[Store], config: TrainConfig, policy: Policy) -> dict[str, Any]:
    return {
        "config": asdict(config),
        "parts": {
            f"{one.path.name}/{part}": sha for one in stores for part, sha in one.part_hashes().items()
        },
        "parameters": sum(one.numel() for one in policy.parameters()),
    }


def _check_config(out: Path, config: TrainConfig, resume: bool) -> None:
    path = out / "config.yaml"
    if not resume:
        config.save(path)
        return
    before = TrainConfig.load(path)
    changed = [name for name, value in asdict(before).items() if asdict(config)[name] != value]
    if changed:
        raise TutelageError(
            f"expected the configuration that {out} was begun with, got another {changed[0]} "
            f"({asdict(config)[changed[0]]!r}, was {asdict(before)[changed[0]]!r}); resume with the same"
        )


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C end the loop after its step, so that everything is saved; a second one kills."""
    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, before)

    try:
        before = signal.signal(signal.SIGINT, ask)
    except ValueError:  # not in the main thread: nobody can press Ctrl-C there
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)
