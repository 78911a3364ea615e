"""Practice: the policy tries the tasks and learns from what it did right; round after round, supervised.

People teach it to walk. From then on the tasks themselves say which of its own attempts were successes, and
those join the demonstrations.
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
from ...datasets.parallel import JobDied, spread_safely
from ...datasets.proof import ReplayResult
from ...datasets.replay import Environments, replay_many
from ...datasets.store import Store
from ...datasets.suite_union import union
from ...datasets.trajectory import Trajectory
from ...envs.suite import Suite
from ...envs.task import SeedRange, Task
from ...envs.web.registration import is_web
from ...errors import TutelageError
from ...files.safe_tree import refuse_link, remove_tree
from ..evaluation.actors import PolicyActor
from ..evaluation.parallel_rollout import pack, unpack
from ..evaluation.rollout import rollout
from ..policy.checkpoint import LoadedPolicy, copy, load
from .behavior_cloning import Evaluate, train
from .config import TrainConfig
from .metrics_log import RESUME
from .resuming import CONFIG, PRACTISED, expect_same_config
from .run_log import (
    SelfImitationRound,
    TaskAttempts,
    read_attempts,
    read_rounds,
    write_attempts,
    write_rounds,
)

TRIED = SeedRange("tried", 300_000_000, 400_000_000)
"""Record seeds that are tried: far from where people begin to count theirs."""

TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
"""At which actions are drawn: whoever fails tries the same seed again, each time more freely."""

FIRST = 16
"""Seeds of every task that are tried in a round."""

MORE = 3
"""Of the other seeds, a share is tried that is so many times as large as the share of these that failed."""

KNOWN = 0.2
"""What a task that never fails is worth in a round, where one that always fails is worth 1 more."""

RATE = 0.4
"""Learning rates of a round, as shares of those that people taught with: it mends, it does not begin anew."""


def practise(
    stores: Sequence[Store],
    out: Path,
    config: TrainConfig,
    *,
    evaluate: Evaluate,
    progress: bool = False,
    tell: Callable[[SelfImitationRound], None] | None = None,
) -> Path:
    """Let a trained run practise for the rounds that `config` asks for; returns the best, `out/kept`.

    `out` is a run that `train` has ended. Round r lies in `out/practice-r`, the attempts that succeeded in
    the store `out/practice`, what came of each round in `practice.jsonl`. A round begins from the best policy
    so far, and is forgotten where it made nothing better. Rounds that are done are not done again.
    Raises TutelageError when the run was begun with other settings than these: all but the number of rounds
    and those that change no weight.
    """
    suite = union(stores)
    if not any(task.success.is_known for task in suite):
        raise TutelageError(
            f"expected tasks with a success rule to practise, got none in suite {suite.name!r}; give them "
            "`success` in the suite"
        )
    if expect_same_config(out, config, also=PRACTISED) != config:
        config.save(out / CONFIG)
    for name in ("practice", "kept"):
        refuse_link(out / name)
    store = Store.create(out / "practice", suite)
    rounds = read_rounds(out)
    best = load(out / "kept")
    score = _mean(best)
    for number in range(len(rounds) + 1, config.practise + 1):
        folder = out / f"practice-{number}"
        with _done_again(number, out):
            tried, kept, failed = attempt(best, store, config, number, progress)
            here = replace(
                config,
                steps=config.practise_steps,
                seed=config.seed + number,
                learning_rate=RATE * config.learning_rate,
                table_learning_rate=RATE * config.table_learning_rate,
                evaluate_every=min(config.evaluate_every, config.practise_steps),
            )
            remove_tree(folder)
            taught = [*stores, store] if len(store) else list(stores)
            worth = {task: KNOWN + 1 - success for task, success in tried.items()}
            made = load(
                train(taught, folder, here, evaluate=evaluate, progress=progress, parent=best, emphasis=worth)
            )
        rounds.append(SelfImitationRound(number, tried, kept, made.lineage.get("select", {}), failed))
        if _mean(made) > score:
            best, score = made, _mean(made)
            copy(folder / "kept", out / "kept")
        write_rounds(out, rounds)
        if tell:
            tell(rounds[-1])
    return out / "kept"


@contextmanager
def _done_again(number: int, out: Path) -> Iterator[None]:
    """Say of a round that is stopped that it is done again but for what was tried, and the others are not."""
    before = (
        f", those before it are kept in {out}" if number > 1 else f", the trained policy is kept in {out}"
    )
    advice = f"round {number} of practice begins again, without what it has tried{before}: {RESUME}"
    with signals.advice(advice):
        try:
            yield
        except Stopped as error:
            raise signals.conclude(advice) from error


def attempt(
    best: LoadedPolicy, store: Store, config: TrainConfig, number: int, progress: bool = False
) -> tuple[dict[str, float], int, dict[str, str]]:
    """Try every task on this round's seeds, store what succeeds.

    Returns success by task, how many were stored, and what happened in tasks whose environments failed. Tasks
    that were tried before the round was stopped are not tried again.
    """
    name = f"practice-{number}"
    begin = TRIED.start + (number - 1) * config.practise_episodes
    seeds = list(range(begin, begin + config.practise_episodes))
    rows = store.episodes()
    there = set(zip(rows["demonstrator"].to_pylist(), rows["task"].to_pylist(), strict=True))
    tasks = [task for task in best.suite if task.id in best.policy.tasks and task.success.is_known]
    run = store.path.parent
    done = read_attempts(run, number, best.seal)
    tasks = [task for task in tasks if task.id not in done]
    failures: dict[str, str] = {}
    work = partial(_attempt, pack(best.policy), name, seeds, best.suite, config.seed)
    with counting("trying", len(tasks), progress) as advance:
        for task, result in zip(tasks, spread_safely(work, tasks, config.workers), strict=True):
            first, right, why = (0.0, [], str(result)) if isinstance(result, JobDied) else result
            if right and (name, task.id) not in there:
                store.append(right)
            if why:
                failures[task.id] = why
            else:
                done[task.id] = TaskAttempts(first, len(right))
                write_attempts(run, number, best.seal, done)
            advance(1)
    tried = {task: attempted.rate for task, attempted in done.items()} | dict.fromkeys(failures, 0.0)
    return tried, sum(attempted.kept for attempted in done.values()), failures


def _attempt(
    packed: bytes, name: str, seeds: Sequence[int], suite: Suite, seed: int, task: Task
) -> tuple[float, list[Trajectory], str]:
    """Try one task on seeds until they succeed; returns success at the first attempt, and successes.

    The last is what happened where its environment failed, "" where it did not.

    What was seen of a web page is kept with them: a page may depend on when it was looked at. What can be
    replayed, is; a success that does not replay teaches nothing, as nobody could say what it answered.
    """
    policy, keep = unpack(packed), is_web(task.env)
    right: list[Trajectory] = []
    failures: dict[int, str] = {}

    def try_until_they_succeed(left: Sequence[int]) -> int:
        """Collect successes; returns how many seeds failed at the first attempt."""
        failed = 0
        for temperature in TEMPERATURES:
            if not left:
                break
            actor = PolicyActor(policy, name, False, seed, temperature)
            attempts = rollout(actor, task, left, suite_name=suite.name, keep=keep, failures=failures)
            right.extend(attempt for attempt in attempts if attempt.success)
            if temperature == TEMPERATURES[0]:
                failed = len(left) - sum(bool(attempt.success) for attempt in attempts)
            left = [attempt.seed for attempt in attempts if not attempt.success]
        return failed

    first, others = seeds[:FIRST], seeds[FIRST:]
    failed = try_until_they_succeed(first)
    more = others[: round(min(1, MORE * failed / len(first)) * len(others))]
    failed += try_until_they_succeed(more)
    with Environments(suite) as environments:
        again = replay_many(right, environments)
        right = [one for one, got in zip(right, again, strict=True) if isinstance(got, ReplayResult)]
    tries = len(first) + len(more)
    why = f"{len(failures)} of {counted(tries, 'seed')}: {next(iter(failures.values()))}" if failures else ""
    return 1 - failed / tries, right, why


def _mean(loaded: LoadedPolicy) -> float:
    select = loaded.lineage.get("select", {})
    return float(np.mean(list(select.values()))) if select else 0.0
