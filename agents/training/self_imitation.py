"""Filtered self-imitation (cf. filtered behavior cloning and expert iteration).

Each round samples rollouts of the policy at rising temperatures, adds the successful ones to the
demonstrations and continues behavior cloning. The tasks' success rules decide which rollouts succeeded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ...console.progress import counting
from ...console.signals import Stopped, signals
from ...console.wording import counted
from ...datasets.proof import ReplayResult
from ...datasets.replay import Environments, replay_many
from ...datasets.store import Store
from ...datasets.suite_union import union
from ...datasets.trajectory import Trajectory
from ...datasets.workers.parallel import JobDied, spread_safely
from ...envs.suite import Suite
from ...envs.task import SeedRange, Task
from ...envs.task_spec import is_reproducible
from ...errors import TutelageError
from ...files.safe_tree import refuse_link, remove_tree
from ..evaluation.actors import PolicyActor
from ..evaluation.parallel_rollout import pack, unpack
from ..evaluation.rollout import rollout
from ..policy.checkpoint import LoadedPolicy, copy, load
from .behavior_cloning import Evaluate, train
from .config import TrainConfig
from .metrics_log import RESUME
from .resuming import CONFIG, SELF_IMITATION_SETTINGS, expect_same_config
from .run_log import (
    SelfImitationRound,
    TaskAttempts,
    read_attempts,
    read_rounds,
    write_attempts,
    write_rounds,
)

TRIED = SeedRange("tried", 300_000_000, 400_000_000)
"""Record seeds of the rollouts: far from those that people record on."""

TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
"""Sampling temperatures: a failed seed is attempted again at the next one."""

FIRST = 16
"""Seeds attempted of every task in a round."""

MORE = 3
"""Share of the remaining seeds that is attempted, over the failure rate on the first seeds."""

KNOWN = 0.2
"""Emphasis of a task that never fails in a round; one that always fails has 1 more."""

RATE = 0.4
"""Learning rates of a round over those of training: rounds refine the policy."""


def self_imitate(
    stores: Sequence[Store],
    out: Path,
    config: TrainConfig,
    *,
    evaluate: Evaluate,
    progress: bool = False,
    tell: Callable[[SelfImitationRound], None] | None = None,
) -> Path:
    """Run the self-imitation rounds that `config` asks for; returns the best checkpoint, `out/kept`.

    `out` is a finished run of `train`. Round r is written to `out/self-imitation-r`, successful rollouts to
    the store `out/self-imitation`, results to `self_imitation.jsonl`. Each round starts from the best policy
    so far and is discarded if it does not improve it. Finished rounds are not repeated. Raises
    TutelageError when the run started with other settings, except the number of rounds and settings that
    affect no weight.
    """
    suite = union(stores)
    if not any(task.success.is_known for task in suite):
        raise TutelageError(
            f"expected tasks with a success rule to learn from successes, got none in suite {suite.name!r}; "
            "give them `success` in the suite"
        )
    if expect_same_config(out, config, also=SELF_IMITATION_SETTINGS) != config:
        config.save(out / CONFIG)
    for name in ("self-imitation", "kept"):
        refuse_link(out / name)
    store = Store.create(out / "self-imitation", suite)
    rounds = read_rounds(out)
    best = load(out / "kept", config.device)
    score = _mean(best)
    for number in range(len(rounds) + 1, config.self_imitation + 1):
        folder = out / f"self-imitation-{number}"
        with _resume_advice(number, out):
            tried, stored, failed = attempt(best, store, config, number, progress)
            round_config = replace(
                config,
                steps=config.self_imitation_steps,
                seed=config.seed + number,
                learning_rate=RATE * config.learning_rate,
                table_learning_rate=RATE * config.table_learning_rate,
                evaluate_every=min(config.evaluate_every, config.self_imitation_steps),
            )
            remove_tree(folder)
            train_stores = [*stores, store] if len(store) else list(stores)
            emphasis = {task: KNOWN + 1 - success for task, success in tried.items()}
            trained = load(
                train(
                    train_stores,
                    folder,
                    round_config,
                    evaluate=evaluate,
                    progress=progress,
                    parent=best,
                    emphasis=emphasis,
                ),
                config.device,
            )
        rounds.append(SelfImitationRound(number, tried, stored, trained.lineage.get("select", {}), failed))
        if _mean(trained) > score:
            best, score = trained, _mean(trained)
            copy(folder / "kept", out / "kept")
        write_rounds(out, rounds)
        if tell:
            tell(rounds[-1])
    return out / "kept"


@contextmanager
def _resume_advice(number: int, out: Path) -> Iterator[None]:
    """Add advice to a stop: the round starts again without its finished attempts; earlier rounds stay."""
    before = (
        f", those before it are kept in {out}" if number > 1 else f", the trained policy is kept in {out}"
    )
    advice = f"round {number} of self-imitation begins again, without what it has tried{before}: {RESUME}"
    with signals.advice(advice):
        try:
            yield
        except Stopped as error:
            raise signals.conclude(advice) from error


def attempt(
    best: LoadedPolicy, store: Store, config: TrainConfig, number: int, progress: bool = False
) -> tuple[dict[str, float], int, dict[str, str]]:
    """Attempt every task on this round's seeds and store successful episodes.

    Returns success by task, the number of stored episodes, and errors by task whose environment failed. Tasks
    attempted before the round was stopped are not attempted again.
    """
    name = f"self-imitation-{number}"
    begin = TRIED.start + (number - 1) * config.self_imitation_episodes
    seeds = list(range(begin, begin + config.self_imitation_episodes))
    rows = store.episodes()
    stored = set(zip(rows["demonstrator"].to_pylist(), rows["task"].to_pylist(), strict=True))
    tasks = [task for task in best.suite if task.id in best.policy.tasks and task.success.is_known]
    run = store.path.parent
    attempts = read_attempts(run, number, best.seal)
    tasks = [task for task in tasks if task.id not in attempts]
    failures: dict[str, str] = {}
    work = partial(_attempt, pack(best.policy), name, seeds, best.suite, config.seed)
    with counting("trying", len(tasks), progress) as advance:
        for task, result in zip(tasks, spread_safely(work, tasks, config.workers), strict=True):
            first, successes, reason = (0.0, [], str(result)) if isinstance(result, JobDied) else result
            if successes and (name, task.id) not in stored:
                store.append(successes)
            if reason:
                failures[task.id] = reason
            else:
                attempts[task.id] = TaskAttempts(first, len(successes))
                write_attempts(run, number, best.seal, attempts)
            advance(1)
    tried = {task: attempted.rate for task, attempted in attempts.items()} | dict.fromkeys(failures, 0.0)
    return tried, sum(attempted.kept for attempted in attempts.values()), failures


def _attempt(
    packed: bytes, name: str, seeds: Sequence[int], suite: Suite, seed: int, task: Task
) -> tuple[float, list[Trajectory], str]:
    """Attempt one task on seeds until they succeed.

    Returns success at the first attempt, the successful episodes, and the environment's error ("" if none).
    Episodes of environments that are registered as nondeterministic, such as web pages, keep their
    observations. Successes that do not
    replay are dropped: their observations cannot be reconstructed.
    """
    policy, keep = unpack(packed), not is_reproducible(task)
    successes: list[Trajectory] = []
    failures: dict[int, str] = {}

    def try_until_they_succeed(remaining: Sequence[int]) -> int:
        """Collect successes; returns how many seeds failed at the first attempt."""
        failed = 0
        for temperature in TEMPERATURES:
            if not remaining:
                break
            actor = PolicyActor(policy, name, False, seed, temperature)
            attempts = rollout(actor, task, remaining, suite_name=suite.name, keep=keep, failures=failures)
            successes.extend(attempt for attempt in attempts if attempt.success)
            if temperature == TEMPERATURES[0]:
                failed = len(remaining) - sum(bool(attempt.success) for attempt in attempts)
            remaining = [attempt.seed for attempt in attempts if not attempt.success]
        return failed

    first, rest = seeds[:FIRST], seeds[FIRST:]
    failed = try_until_they_succeed(first)
    extra = rest[: round(min(1, MORE * failed / len(first)) * len(rest))]
    failed += try_until_they_succeed(extra)
    with Environments(suite) as environments:
        replays = replay_many(successes, environments)
        successes = [
            success
            for success, result in zip(successes, replays, strict=True)
            if isinstance(result, ReplayResult)
        ]
    tries = len(first) + len(extra)
    reason = (
        f"{len(failures)} of {counted(tries, 'seed')}: {next(iter(failures.values()))}" if failures else ""
    )
    return 1 - failed / tries, successes, reason


def _mean(loaded: LoadedPolicy) -> float:
    select = loaded.lineage.get("select", {})
    return float(np.mean(list(select.values()))) if select else 0.0
