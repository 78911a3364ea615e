"""Behavior cloning: supervised learning on demonstrations; a step is a function of (config, data, step)."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...console.printable import printable
from ...console.progress import counting
from ...console.signals import Stopped, signals
from ...console.wording import counted
from ...datasets.arrays.sampler import Sampler, TaskArrays, load_columns
from ...datasets.quality.weights import DemonstratorWeight, episode_weights, weigh
from ...datasets.recorded_only import expect_environments
from ...datasets.store import Store
from ...datasets.suite_union import union
from ...envs.suite import Suite
from ...envs.task import RECORD
from ...errors import TutelageError
from ...files.atomic_files import disk_errors
from ...files.safe_tree import refuse_link
from ..policy.checkpoint import LoadedPolicy, save
from ..policy.devices import choose_device
from ..policy.images.pretrained import expect_weights, is_network
from ..policy.policy import Policy, PolicyConfig
from .config import TrainConfig
from .cores import ThroughputMonitor
from .distributed import ALONE, LostProcess, Processes
from .expertise_models import skills
from .holdout import Holdout
from .metrics_log import LOG_EVERY, RESUME, MetricsLog, read_log
from .progress import TrainingProgress
from .resuming import CONFIG, change_of_steps, expect_same_config, fixed
from .state import OLDER, STATE, forget_older, load_state, save_state
from .step import TrainState, begin, divided_step, make_sampler, schedule

Evaluate = Callable[[Policy], Mapping[str, float]]
"""Returns success by task on select seeds, which chooses the kept checkpoint."""


def train(
    stores: Sequence[Store],
    out: Path,
    config: TrainConfig,
    *,
    evaluate: Evaluate | None = None,
    resume: bool = False,
    progress: bool = False,
    tell: Callable[[list[DemonstratorWeight]], None] | None = None,
    parent: LoadedPolicy | None = None,
    emphasis: Mapping[str, float] | None = None,
    notice: Callable[[str], None] | None = None,
    processes: Processes = ALONE,
) -> Path:
    """Train one policy on all episodes in the stores on record seeds; returns the kept checkpoint.

    Writes `config.yaml`, `metrics.jsonl`, TensorBoard files, the state to resume from, and two checkpoints
    of the averaged weights: `last` and `kept`, the best on select seeds (the last without `evaluate`).
    `tell` receives the weights of demonstrators before the first step. Weights start from `parent` if given.
    `emphasis` multiplies the shares of tasks in a batch. Ctrl-C and SIGTERM save the state first (of the last
    complete step). `notice` receives damage that `resume` found and repaired, the effect of a larger number
    of steps on the learning rate, and a training speed far below the machine's own. Raises TutelageError when
    there are no demonstrations, when `resume` finds another configuration (see `resuming`), other
    demonstrations or another parent, when a batch would be empty, and when the disk is full; the run can be
    resumed after that.

    Every one of several `processes` calls this with the same arguments and computes a part of each batch. The
    first alone caches the replayed stores, evaluates, calls `tell` and `notice`, and reads and writes `out`;
    it saves the state when another process ends.
    """
    # a device or weights that are not there are told before anything is read
    processes.expect_device(choose_device(config.device))
    if parent is None:
        expect_weights(config.features)
    suite = union(stores)
    for store in stores:
        store.admit_played()
        expect_environments(store)
    notice = (notice or _print_notice) if processes.is_first else _ignore
    before = expect_same_config(out, config) if resume else config
    if config.train_features and not is_network(config.features):
        raise TutelageError(
            f"expected --features with a pre-trained network for --train-features, got {config.features}"
        )
    if config.adapters >= (width := PolicyConfig(config.size).width):
        raise TutelageError(
            f"expected --adapters below {width}, the width of the policy, got {config.adapters}"
        )
    for name in ("last", "kept", "tensorboard"):  # the run may come from an untrusted source
        refuse_link(out / name)
    threads = torch.get_num_threads()
    pace = ThroughputMonitor(config.threads, torch.set_num_threads, processes.local)
    progress = progress and processes.is_first
    try:
        with processes.first_alone():  # the others find its cache
            columns = _columns(stores, config, progress)
        weights = _weights(columns, config, processes, progress, tell)
        holdout = Holdout.of(columns, weights, config) if config.holdout else None
        sampler = make_sampler(columns, config, holdout.taught if holdout else weights, emphasis)
        if emphasis is None:  # shares in a self-imitation round follow from it, not from flags
            _expect_full_batches(sampler, config, len(columns))
        run = begin(columns, config, parent, suite, processes.local)
        lineage = _lineage(stores, run.policy) | {"parent": parent.seal if parent else None}
        begun_with = {"settings": fixed(config), **lineage}
        log = None
        if processes.is_first:
            if resume and _was_saved(out, before, notice):
                expected = {"begun_with": begun_with}
                run.restore(load_state(out, run.policy, run.average, run.optimizer, expected, notice))
                if change := change_of_steps(before, config, run.step):
                    notice(change)
            with disk_errors(out):
                out.mkdir(parents=True, exist_ok=True)
                if not resume or before != config:
                    config.save(out / CONFIG)
            log = MetricsLog(out, run.step, notice)
        for task, reason in {} if resume or parent else run.heads.items():
            notice(f"task {task!r}: {reason}")
        run.restore(processes.tell(run.facts()))
        processes.share(run.tensors())
        lineage |= {"config": asdict(config), "action_heads": run.heads}
        training = _TrainingRun(run, out, config, suite, lineage, begun_with, log, holdout, processes)
        with closing(log) if log else nullcontext(), signals.installed(), signals.rescue(training.stop):
            try:
                _loop(training, sampler, pace, evaluate, progress, notice)
                training.save()
                training.save_policies()
            except Stopped as error:
                training.stop()
                training.save_policies()
                raise signals.conclude(training.advice) from error
            except LostProcess as error:
                advice = training.advice if log else f"{RESUME}, from the state that was saved last"
                with signals.advice(advice), signals.held():  # torchrun's SIGTERM may follow at once
                    training.stop()
                raise LostProcess(f"{error}; {advice}") from error
        if processes.is_first:
            forget_older(out)
        processes.wait()
    finally:
        torch.set_num_threads(threads)
    return out / "kept"


@dataclass(frozen=True)
class _TrainingRun:
    """A run with its inputs; `begun_with` holds what must be unchanged to resume it.

    Without a `log` it is that of a process that writes nothing.
    """

    run: TrainState
    out: Path
    config: TrainConfig
    suite: Suite
    lineage: Mapping[str, Any]
    begun_with: Mapping[str, Any]
    log: MetricsLog | None
    holdout: Holdout | None = None
    processes: Processes = ALONE

    @property
    def advice(self) -> str:
        """How to resume the run once it is saved."""
        return f"saved at step {self.run.step} of {self.config.steps} in {self.out}: {RESUME}"

    def save(self) -> None:
        """Write the state to resume from."""
        if self.log is None:
            return
        with self.run.whole:
            self.log.sync()
            facts = {**self.run.facts(), "begun_with": dict(self.begun_with)}
            save_state(self.out, self.run.policy, self.run.average, self.run.optimizer, facts)
            self.run.saved = self.run.step

    def save_policies(self) -> None:
        """Write the averaged weights as `last`, and as `kept` unless an evaluation has chosen others."""
        if self.log is None:
            return
        facts = {**self.lineage, "step": self.run.step}
        for name in ("last", "kept") if self.run.best < 0 else ("last",):
            save(self.run.average, self.out / name, suite=self.suite, lineage=facts, then=RESUME)

    def stop(self) -> None:
        """Save the state of a run that is being stopped; callable from any thread."""
        with self.run.whole:
            if self.run.saved != self.run.step:
                self.save()
            signals.conclude(self.advice)

    def select(self, evaluate: Evaluate) -> None:
        """Evaluate the averaged weights on select seeds and keep them if they are the best so far.

        Each task is played with and without memory; the better mode is used from then on.
        """
        run = self.run
        if self.log is not None:
            self._choose(self.log, evaluate)
        with signals.let_in():
            run.restore(self.processes.tell(run.facts()))

    def _choose(self, log: MetricsLog, evaluate: Evaluate) -> None:
        run = self.run
        try:
            with signals.let_in():
                select, memoryless_tasks = _select(run.average, evaluate)
        finally:
            run.average.memoryless_tasks = run.memoryless_tasks
        run.select, run.memoryless_tasks, run.average.memoryless_tasks = (
            select,
            memoryless_tasks,
            memoryless_tasks,
        )
        score = run.best  # without a success rule, the latest is kept
        if select:
            score = float(np.mean(list(select.values())))
            log.write(run.step, {"select": select, "select_mean": score})
        if score >= run.best:
            run.best = score
            facts = {**self.lineage, "step": run.step, "select": select}
            save(run.average, self.out / "kept", suite=self.suite, lineage=facts, then=RESUME)

    def measure_holdout(self) -> None:
        """Log the loss of the averaged weights on held-out episodes; no checkpoint is chosen by it."""
        if self.holdout is not None and self.log is not None:
            loss, by_task = self.holdout.loss(self.run.average)
            self.log.write(self.run.step, {"holdout_loss": loss, "holdout_task_loss": by_task})


def _loop(
    training: _TrainingRun,
    sampler: Sampler,
    pace: ThroughputMonitor,
    evaluate: Evaluate | None,
    progress: bool,
    notice: Callable[[str], None],
) -> None:
    run, config, log = training.run, training.config, training.log
    run_start, elapsed, samples = time.perf_counter(), 0.0, 0

    def is_due() -> bool:
        """Return whether an evaluation on select seeds is due; after a resume it may still be."""
        at_end = run.step % config.evaluate_every == 0 or run.step == config.steps
        return 0 < run.step != run.selected and at_end

    with TrainingProgress(config.steps, run.step, progress) as bar, signals.held():
        while True:
            if (evaluate or training.holdout) and is_due():
                bar.selecting()
                training.measure_holdout()
                if evaluate:
                    training.select(evaluate)
                run.selected = run.step
                bar.figures(run.select)
                pace.skip()
            if run.step % config.save_every == 0 and 0 < run.step < config.steps:
                training.save()
            if run.step >= config.steps:
                break
            step_start = time.perf_counter()
            with signals.let_in():
                samples += sampler.size(run.step)
            loss, metrics = divided_step(run, sampler, config, training.processes)
            _expect_finite(loss, run.step)
            elapsed += time.perf_counter() - step_start
            if run.step % LOG_EVERY == 0 or run.step == config.steps:
                speed = {"steps_per_second": LOG_EVERY / elapsed, "samples_per_second": samples / elapsed}
                rate = config.learning_rate * schedule(run.step - 1, config)
                figures = {"loss": loss, "task_loss": metrics, "learning_rate": rate, **speed}
                if log is not None:
                    log.write(run.step, {**figures, "seconds": time.perf_counter() - run_start})
                elapsed, samples = 0.0, 0
                bar.figures(run.select, loss, speed["steps_per_second"])
                if slow := pace.rate(speed["steps_per_second"]):
                    notice(slow)
            bar.advance()


def _select(policy: Policy, evaluate: Evaluate) -> tuple[dict[str, float], frozenset[str]]:
    """Return success by task on select seeds, and the tasks that score higher without memory."""
    policy.eval()
    policy.memoryless_tasks = frozenset()
    select = {task: float(rate) for task, rate in evaluate(policy).items()}
    if not policy.config.history_dropout:
        return select, frozenset()
    policy.memoryless_tasks = frozenset(policy.tasks)
    without_memory = {task: float(rate) for task, rate in evaluate(policy).items()}
    memoryless_tasks = frozenset(task for task, rate in without_memory.items() if rate > select[task])
    return {task: max(rate, without_memory[task]) for task, rate in select.items()}, memoryless_tasks


def _weights(
    columns: Mapping[str, TaskArrays],
    config: TrainConfig,
    processes: Processes,
    progress: bool,
    tell: Callable[[list[DemonstratorWeight]], None] | None,
) -> dict[str, np.ndarray]:
    """Return the episode weights by task, `[E]`; the first process computes them."""
    weights = {task: np.zeros(len(arrays.success)) for task, arrays in columns.items()}
    if processes.is_first:
        skilled = skills(columns, config, progress) if config.weights in ("expertise", "both") else {}
        if tell:
            tell(weigh(columns, config.weights, skilled))
        weights = episode_weights(columns, config.weights, skilled)
    if processes.count > 1:
        weights = {task: np.array(by_episode, np.float64) for task, by_episode in weights.items()}
        processes.share([torch.from_numpy(by_episode) for by_episode in weights.values()])
    return weights


def _columns(stores: Sequence[Store], config: TrainConfig, progress: bool) -> dict[str, TaskArrays]:
    if not stores:
        raise TutelageError("expected at least one store to train on, got none")
    with counting("replaying", sum(map(len, stores)), progress) as advance:
        return load_columns(
            stores,
            seeds=RECORD,
            workers=config.workers,
            progress=advance,
            cache=True,
            live=True,
        )


def _lineage(stores: Sequence[Store], policy: Policy) -> dict[str, Any]:
    return {
        "parts": {
            f"{store.path.name}/{part}": sha for store in stores for part, sha in store.part_hashes().items()
        },
        "parameters": sum(weight.numel() for weight in policy.parameters()),
    }


def _was_saved(out: Path, config: TrainConfig, notice: Callable[[str], None]) -> bool:
    """Return whether a run has a state to resume from; one that stopped before its first starts anew."""
    if any((out / name).exists() for name in (STATE, OLDER, "last")):
        return True
    if any(record["step"] > config.save_every for record in read_log(out).records):
        return True  # a state was due and is missing: reading it raises the error
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


def _ignore(text: str) -> None:
    """Take no notice: the first process tells."""


def _print_notice(text: str) -> None:
    print(f"note: {printable(text)}", file=sys.stderr)
