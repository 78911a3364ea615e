"""Behavior cloning: supervised learning on what people did; a step is a function of (config, data, step)."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..datasets.durable import disk_errors
from ..datasets.safe_tree import refuse_link
from ..datasets.sampler import Sampler, TaskColumns, load_columns
from ..datasets.store import Store
from ..datasets.store_suite import union
from ..datasets.verification import admit_played
from ..datasets.weights import Weight, episode_weights, weigh
from ..envs.errors import TutelageError
from ..envs.printable import printable
from ..envs.suite import Suite
from ..envs.task import RECORD
from ..envs.wording import counted
from .checkpoint import LoadedPolicy, save
from .judges import skills
from .policy import Policy
from .train_config import TrainConfig
from .training_log import LOG_EVERY, RESUME, Log, read_log
from .training_progress import TrainingProgress
from .training_state import OLDER, STATE, forget_older, load_state, save_state
from .training_step import Run, begin, make_sampler, schedule, training_step

Evaluate = Callable[[Policy], Mapping[str, float]]
"""Success by task on select seeds; chooses the kept checkpoint."""


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
    notice: Callable[[str], None] | None = None,
) -> Path:
    """Train one policy on everything in the stores that was recorded on record seeds.

    Writes `config.yaml`, `metrics.jsonl`, TensorBoard files, the state to resume from, and two
    checkpoints of the averaged weights: `last` and `kept`, the best on select seeds (without `evaluate`,
    the last). `tell` hears what each demonstrator's episodes weigh before the first step. Training goes on
    from the weights of `parent`, if there is one. `emphasis` multiplies the shares of tasks in a batch.
    Ctrl-C saves everything first. `notice` is told what was not as it should be, and mended, in what `resume`
    found. Returns the kept one. Raises TutelageError when there is nothing to learn from, when `resume` finds
    another configuration, demonstrations or parent, when a batch would be empty, and when the disk is full:
    the run can be resumed then.
    """
    suite = union(stores)
    for store in stores:
        admit_played(store)
    notice = notice or _print_notice
    if resume:
        expect_same_config(out, config)
    for name in ("last", "kept", "tensorboard"):  # the run may come from an untrusted source
        refuse_link(out / name)
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads or _cores())
    try:
        columns = _columns(stores, config, progress)
        skilled = skills(columns, config, progress) if config.weights in ("expertise", "both") else {}
        if tell:
            tell(weigh(columns, config.weights, skilled))
        sampler = make_sampler(columns, config, episode_weights(columns, config.weights, skilled), emphasis)
        if parent is None:  # the shares of a round of practice are not for a person to choose
            _expect_full_batches(sampler, config, len(columns))
        run = begin(columns, config, parent.policy if parent else None, suite)
        lineage = _lineage(stores, config, run.policy) | {"parent": parent.seal if parent else None}
        if resume and _was_saved(out, config, notice):
            facts = load_state(out, run.policy, run.average, run.optimizer, {"lineage": lineage}, notice)
            run.step, run.best, run.select = facts["step"], facts["best"], facts["select"]
            run.average.forgetful = frozenset(facts["forgetful"])
        elif not resume:
            with disk_errors(out):
                out.mkdir(parents=True, exist_ok=True)
                config.save(out / "config.yaml")
        _loop(run, sampler, out, config, suite, lineage, evaluate, progress, notice)
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
    notice: Callable[[str], None],
) -> None:
    log = Log(out, run.step, notice)
    began, timed, seen = time.perf_counter(), 0.0, 0
    try:
        with TrainingProgress(config.steps, run.step, progress) as shown, _interruptible() as interrupted:
            while run.step < config.steps and not interrupted():
                at = time.perf_counter()
                batch = sampler.batch(run.step) or sampler.going_on(run.step)
                loss, metrics = training_step(run, batch, config)
                _expect_finite(loss, run.step)
                timed += time.perf_counter() - at
                seen += sum(len(examples.actions) for examples in batch.values())
                if run.step % LOG_EVERY == 0 or run.step == config.steps:
                    speed = {"steps_per_second": LOG_EVERY / timed, "samples_per_second": seen / timed}
                    rate = config.learning_rate * schedule(run.step - 1, config)
                    figures = {"loss": loss, "task_loss": metrics, "learning_rate": rate, **speed}
                    log.write(run.step, {**figures, "seconds": time.perf_counter() - began})
                    timed, seen = 0.0, 0
                    shown.figures(loss, run.select, speed["steps_per_second"])
                shown.advance()
                if evaluate and (run.step % config.evaluate_every == 0 or run.step == config.steps):
                    _select(run, out, suite, lineage, evaluate, log)
                    shown.figures(loss, run.select, None)
                if run.step % config.save_every == 0 and run.step < config.steps:
                    _save(run, out, lineage, log)
        _save(run, out, lineage, log)
    finally:
        log.close()
    facts = {**lineage, "step": run.step}
    last = save(run.average, out / "last", suite=suite, lineage=facts, then=RESUME)
    if run.best < 0:
        save(run.average, out / "kept", suite=suite, lineage=facts, then=RESUME)
    if run.step < config.steps:
        raise TutelageError(
            f"stopped at step {run.step} of {config.steps}; saved in {last.parent}: go on with --resume"
        )
    forget_older(out)


def _save(run: Run, out: Path, lineage: Mapping[str, Any], log: Log) -> None:
    log.sync()
    save_state(out, run.policy, run.average, run.optimizer, {**run.facts(), "lineage": dict(lineage)})


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
    score = run.best  # without a success rule, the latest is kept
    if run.select:
        score = float(np.mean(list(run.select.values())))
        log.write(run.step, {"select": run.select, "select_mean": score})
    if score >= run.best:
        run.best = score
        facts = dict(lineage) | {"step": run.step, "select": run.select}
        save(run.average, out / "kept", suite=suite, lineage=facts, then=RESUME)


def _columns(stores: Sequence[Store], config: TrainConfig, progress: bool) -> dict[str, TaskColumns]:
    if not stores:
        raise TutelageError("expected at least one store to train on, got none")
    with TrainingProgress.counting("replaying", sum(map(len, stores)), progress) as advance:
        return load_columns(
            stores,
            seeds=RECORD,
            workers=config.workers,
            progress=advance,
            cache=True,
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


def expect_same_config(out: Path, config: TrainConfig, but: str = "") -> None:
    """Raise TutelageError when a run was begun with other settings, except the one called `but`."""
    before = TrainConfig.load(out / "config.yaml")
    changed = [
        name for name, value in asdict(before).items() if name != but and asdict(config)[name] != value
    ]
    if changed:
        raise TutelageError(
            f"expected the configuration that {out} was begun with, got another {changed[0]} "
            f"({asdict(config)[changed[0]]!r}, was {asdict(before)[changed[0]]!r}); resume with the same"
        )


def _was_saved(out: Path, config: TrainConfig, notice: Callable[[str], None]) -> bool:
    """Say whether a run has a state to go on from; one that stopped before the first begins anew."""
    if any((out / name).exists() for name in (STATE, OLDER, "last")):
        return True
    if any(record["step"] > config.save_every for record in read_log(out).records):
        return True  # a state was due, and is missing: reading it says so
    notice(f"{out} stopped before its first state was saved: it begins again at step 0")
    return False


def _expect_full_batches(sampler: Sampler, config: TrainConfig, tasks: int) -> None:
    if (empty := sampler.first_empty(config.steps)) is not None:
        raise TutelageError(
            f"expected --batch-steps large enough that every batch holds a window (--window {config.window} "
            f"steps) of one of {counted(tasks, 'task')}, got {config.batch_steps}: batch {empty} "
            "would be empty; "
            f"{config.window * tasks} are always enough"
        )


def _expect_finite(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise TutelageError(
            f"expected a finite loss at step {step}, got {loss}; train anew with lower learning rates "
            f"(--learning-rate, --table-learning-rate)"
        )


def _print_notice(text: str) -> None:
    print(f"note: {printable(text)}", file=sys.stderr)


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
