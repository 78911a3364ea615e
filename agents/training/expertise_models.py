"""Judges: small policies that say how well everyone's actions answer what is seen, before training begins.

People are dealt into two halves. A judge learns from one half, by behavior cloning and without a look at
outcomes, and judges the other: nobody is judged by a policy that has learned from them. What comes of it,
see `datasets.expertise`. Everything is a function of (seed, data), whatever the order of the episodes and
whatever is trained afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from ...console.progress import counting
from ...datasets.arrays.array_subset import episodes_of
from ...datasets.arrays.sampler import TaskArrays
from ...datasets.quality.expertise import FEWEST_PEOPLE, ExpertiseEstimate, expertise
from ...envs.web.observation import read_columns
from ..policy.action_parts import POINTING, SKIPPED, ActionPart, targets
from ..policy.encoding import IOSpec, encode_actions
from ..policy.policy import Policy
from ..policy.web.page_features import places_of
from .config import TrainConfig
from .step import begin, make_sampler, training_step

JUDGE_STEPS = 100
EPOCHS = 12
"""A judge goes through its half at most so many times: one that knows it by heart judges nobody well."""

FEWEST_IN_BATCH = 64
HALVES = 2
EPISODES = 64
"""Episodes of a person at a task that judges learn from and judge, at most."""

_ROWS = 2048


def skills(
    columns: Mapping[str, TaskArrays], config: TrainConfig, progress: bool = False
) -> dict[str, ExpertiseEstimate]:
    """Estimate everyone's expertise; empty with too few people to compare."""
    names = sorted({who for one in columns.values() for who in one.demonstrator})
    if len(names) < FEWEST_PEOPLE:
        return {}
    half = {who: at % HALVES for at, who in enumerate(names)}
    looked_at = {task: episodes_of(columns[task], _chosen(columns[task])) for task in sorted(columns)}
    ratios: dict[str, list[np.ndarray]] = {}
    with counting("judging", HALVES * JUDGE_STEPS, progress) as advance:
        for turn in range(HALVES):
            taught = frozenset(who for who in names if half[who] != turn)
            judge, known = _judge(looked_at, taught, config, advance)
            for task in known:
                for who, ratio in _judged(judge, looked_at[task], taught):
                    ratios.setdefault(who, []).append(ratio)
    return expertise(ratios)


def _chosen(one: TaskArrays) -> np.ndarray:
    """Choose up to EPISODES of each person, evenly along the seeds; the order is one of the content alone."""
    seeds = np.zeros(len(one.success), np.int64) if one.seeds is None else one.seeds
    spans = zip(one.starts[:-1], one.starts[1:], strict=True)
    keys = [
        (who, int(seed), one.actions[begin:end].tobytes())
        for who, seed, (begin, end) in zip(one.demonstrator, seeds, spans, strict=True)
    ]
    theirs: dict[str, list[int]] = {}
    for at in sorted(range(len(keys)), key=keys.__getitem__):
        theirs.setdefault(keys[at][0], []).append(at)
    some = [
        [mine[at * len(mine) // min(EPISODES, len(mine))] for at in range(min(EPISODES, len(mine)))]
        for mine in theirs.values()
    ]
    return np.array([at for mine in some for at in mine], np.int64)


def _judge(
    columns: Mapping[str, TaskArrays],
    taught: frozenset[str],
    config: TrainConfig,
    advance: Callable[[int], None] | None,
) -> tuple[Policy, list[str]]:
    """Train a policy on one half of the people; returns it with the tasks that they have played."""
    votes = {task: _votes(one, taught) for task, one in columns.items()}
    known = {task: columns[task] for task, each in votes.items() if each.any()}
    steps = sum(int(np.diff(one.starts)[votes[task] > 0].sum()) for task, one in known.items())
    batch = int(np.clip(steps // 10, FEWEST_IN_BATCH, TrainConfig.batch_steps))
    small = TrainConfig(
        size=1,
        steps=max(1, min(JUDGE_STEPS, EPOCHS * steps // batch)),
        batch_steps=batch,
        warmup=10,
        dropout=0.0,
        forget=1.0,  # without a past: it would tell a judge whose actions these are
        dtype=config.dtype,
        threads=config.threads,
        seed=config.seed,
    )
    run = begin(known, small)
    sampler = make_sampler(known, small, {task: votes[task] for task in known})
    while run.step < small.steps:
        training_step(run, sampler.batch(run.step) or sampler.going_on(run.step), small)
        if advance:
            advance(1)
    return run.average.eval(), list(known)


def _votes(one: TaskArrays, taught: frozenset[str]) -> np.ndarray:
    """Weigh episodes `[E]` so that nobody has more than the median person's say, however long they wander."""
    lengths = np.diff(one.starts).astype(np.float64)
    steps = dict.fromkeys(taught & set(one.demonstrator), 0.0)
    for who, length in zip(one.demonstrator, lengths, strict=True):
        if who in steps:
            steps[who] += float(length)
    if not steps:
        return np.zeros(len(lengths))
    middle = float(np.median(list(steps.values())))
    each = np.array([middle / max(middle, steps[who]) if who in steps else 0.0 for who in one.demonstrator])
    return each / ((each * lengths).sum() / lengths[each > 0].sum())


def _judged(judge: Policy, one: TaskArrays, taught: frozenset[str]) -> list[tuple[str, np.ndarray]]:
    """Judge whoever did not teach: an array a episode of log (as an answer / by habit), one number a step."""
    at, found = 0, []
    names = one.demonstrator
    interface = judge.encoding.interface(one.task.id)
    seen = {path: leaf.take(np.arange(len(one)), axis=0) for path, leaf in one.observations.items()}
    numbers, taught_at = encode_actions(interface, one.actions, seen if interface.page else {})
    options = _options_of(interface, seen)
    everyone = [_frequencies(part, numbers[:, i]) for i, part in enumerate(interface.parts)]
    while at < len(names):  # episodes are sorted by person
        end = at
        while end < len(names) and names[end] == names[at]:
            end += 1
        if names[at] not in taught:
            rows = np.arange(one.starts[at], one.starts[end])
            theirs = {kind: counts[rows] for kind, counts in options.items()}
            habit = _habit(interface.parts, numbers[rows], everyone, theirs)
            ratio = np.where(taught_at[rows], _answers(judge, one, rows) - habit, 0.0)
            for length in np.split(ratio, one.starts[at + 1 : end] - one.starts[at]):
                found.append((names[at], length))
        at = end
    return found


@torch.no_grad()
def _answers(judge: Policy, one: TaskArrays, rows: np.ndarray) -> np.ndarray:
    """Return log probabilities `[S]` of the actions, given what was seen at each step alone."""
    task, index = one.task.id, judge.encoding.tasks[one.task.id][0]
    found = []
    for at in range(0, len(rows), _ROWS):
        some = rows[at : at + _ROWS]
        seen = {path: leaf.take(some, axis=0) for path, leaf in one.observations.items()}
        summaries, scene, tokens = judge.look({task: seen})
        x = judge.remember(summaries, np.ones(len(some), np.int64))
        interface, pools = judge.encoding.interface(task), scene.pools([task], tokens)
        numbers, _ = encode_actions(interface, one.actions[some], seen)
        loss = judge.decoder.loss(x, interface, index, numbers, pools)
        found.append(-loss.double().numpy())
    return np.concatenate(found)


def _habit(
    parts: tuple[ActionPart, ...],
    numbers: np.ndarray,
    everyone: list[np.ndarray],
    options: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Return log probabilities `[S]` of the actions by how often the person chooses each, whatever is seen.

    The step itself is left out of the count, which begins with everyone's frequencies, as many as options.
    Out of habit, one of a page's elements or words, of which each step has `options` by kind, is as good as
    another.
    """
    total = np.zeros(len(numbers))
    for i, part in enumerate(parts):
        rows = _made(part, numbers[:, i])
        if part.kind in POINTING:
            total[rows] -= np.log(options[part.kind][rows])
            continue
        chosen = _one_hot(targets(part, numbers[rows, i]), part)
        others = chosen.sum(0) - chosen + part.size * everyone[i]
        total[rows] += (chosen * np.log(others / (len(rows) - 1 + part.size))).sum(1)
    return total


def _made(part: ActionPart, column: np.ndarray) -> np.ndarray:
    """Return the steps at which a part is decided."""
    return (
        np.flatnonzero(column != SKIPPED) if part.verbs or part.kind in POINTING else np.arange(len(column))
    )


def _frequencies(part: ActionPart, column: np.ndarray) -> np.ndarray:
    """Return how often everyone together chose each option, `[size]`; never 0."""
    if part.kind in POINTING:
        return np.ones(0)
    counts = _one_hot(targets(part, column[_made(part, column)]), part).sum(0)
    return (counts + 1.0) / (counts.sum() + part.size)


def _options_of(interface: IOSpec, seen: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Count what can be pointed at in each step `[S]`, by kind; nothing where there are no pages."""
    if interface.page is None:
        return {}
    elements = [len(read_columns(str(page))["ref"]) + 1 for page in seen["elements"]]
    words = [max(1, len(places_of(str(said)))) for said in seen["instruction"]]
    return {"element": np.array(elements), "word": np.array(words)}


def _one_hot(wanted: np.ndarray, part: ActionPart) -> np.ndarray:
    return np.eye(part.size)[wanted] if wanted.ndim == 1 else wanted.astype(np.float64)
