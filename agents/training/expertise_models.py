"""Expertise models: small policies that score, before training, how well demonstrators react to observations.

Demonstrators are split into two halves (cross-fitting). A model is trained on one half by behavior cloning,
without outcomes, and scores the other half, so that no demonstrator is scored by a model trained on their own
data. The scores go to `datasets.quality.expertise`. Results are a function of (seed, data), independent of
the order of episodes and of later training.
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
"""Most passes of a model over its half: an overfitted model scores other people badly."""

FEWEST_IN_BATCH = 64
HALVES = 2
EPISODES = 64
"""Most episodes of a demonstrator on a task that are used for training and scoring."""

_ROWS = 2048


def skills(
    columns: Mapping[str, TaskArrays], config: TrainConfig, progress: bool = False
) -> dict[str, ExpertiseEstimate]:
    """Estimate the expertise of all demonstrators; {} with fewer than FEWEST_PEOPLE."""
    names = sorted({person for arrays in columns.values() for person in arrays.demonstrator})
    if len(names) < FEWEST_PEOPLE:
        return {}
    half = {person: index % HALVES for index, person in enumerate(names)}
    sampled = {task: episodes_of(columns[task], _subsample(columns[task])) for task in sorted(columns)}
    ratios: dict[str, list[np.ndarray]] = {}
    with counting("judging", HALVES * JUDGE_STEPS, progress) as advance:
        for fold in range(HALVES):
            trainers = frozenset(person for person in names if half[person] != fold)
            judge, tasks = _train_judge(sampled, trainers, config, advance)
            for task in tasks:
                for person, ratio in _log_ratios(judge, sampled[task], trainers):
                    ratios.setdefault(person, []).append(ratio)
    return expertise(ratios)


def _subsample(arrays: TaskArrays) -> np.ndarray:
    """Return up to EPISODES episode indices of each person, evenly spaced in (seed, actions) order."""
    seeds = np.zeros(len(arrays.success), np.int64) if arrays.seeds is None else arrays.seeds
    spans = zip(arrays.starts[:-1], arrays.starts[1:], strict=True)
    keys = [
        (person, int(seed), arrays.actions[begin:end].tobytes())
        for person, seed, (begin, end) in zip(arrays.demonstrator, seeds, spans, strict=True)
    ]
    by_person: dict[str, list[int]] = {}
    for index in sorted(range(len(keys)), key=keys.__getitem__):
        by_person.setdefault(keys[index][0], []).append(index)
    sampled = [
        [group[i * len(group) // min(EPISODES, len(group))] for i in range(min(EPISODES, len(group)))]
        for group in by_person.values()
    ]
    return np.array([index for indices in sampled for index in indices], np.int64)


def _train_judge(
    columns: Mapping[str, TaskArrays],
    trainers: frozenset[str],
    config: TrainConfig,
    advance: Callable[[int], None] | None,
) -> tuple[Policy, list[str]]:
    """Train a policy on one half of the people; returns it with the tasks they have played."""
    weights = {task: _episode_weights(arrays, trainers) for task, arrays in columns.items()}
    trained = {task: columns[task] for task, task_weights in weights.items() if task_weights.any()}
    steps = sum(int(np.diff(arrays.starts)[weights[task] > 0].sum()) for task, arrays in trained.items())
    batch = int(np.clip(steps // 10, FEWEST_IN_BATCH, TrainConfig().batch_steps))
    small = TrainConfig(
        size=1,
        steps=max(1, min(JUDGE_STEPS, EPOCHS * steps // batch)),
        batch_steps=batch,
        warmup=10,
        dropout=0.0,
        action_head="bins",  # the others have no probabilities
        history_dropout=1.0,  # no memory: the past would reveal whose actions these are
        dtype=config.dtype,
        device=config.device,
        threads=config.threads,
        seed=config.seed,
    )
    run = begin(trained, small)
    sampler = make_sampler(trained, small, {task: weights[task] for task in trained})
    while run.step < small.steps:
        training_step(run, sampler.batch(run.step) or sampler.going_on(run.step), small)
        if advance:
            advance(1)
    return run.average.eval(), list(trained)


def _episode_weights(arrays: TaskArrays, trainers: frozenset[str]) -> np.ndarray:
    """Return episode weights `[E]` that cap each person's total steps at the median person's."""
    lengths = np.diff(arrays.starts).astype(np.float64)
    steps = dict.fromkeys(trainers & set(arrays.demonstrator), 0.0)
    for person, length in zip(arrays.demonstrator, lengths, strict=True):
        if person in steps:
            steps[person] += float(length)
    if not steps:
        return np.zeros(len(lengths))
    median = float(np.median(list(steps.values())))
    weights = np.array(
        [median / max(median, steps[person]) if person in steps else 0.0 for person in arrays.demonstrator]
    )
    return weights / ((weights * lengths).sum() / lengths[weights > 0].sum())


def _log_ratios(judge: Policy, arrays: TaskArrays, trainers: frozenset[str]) -> list[tuple[str, np.ndarray]]:
    """Score the others: an episode gives (person, log p(action | observation) - log p(action) `[T]`)."""
    first, ratios = 0, []
    names = arrays.demonstrator
    interface = judge.encoding.interface(arrays.task.id)
    numbers, is_encodable, options = _encoded(interface, arrays)
    frequencies = [_frequencies(part, numbers[:, i]) for i, part in enumerate(interface.parts)]
    while first < len(names):  # episodes are grouped by person
        stop = first
        while stop < len(names) and names[stop] == names[first]:
            stop += 1
        if names[first] not in trainers:
            rows = np.arange(arrays.starts[first], arrays.starts[stop])
            step_options = {kind: counts[rows] for kind, counts in options.items()}
            habit = _habit_log_probabilities(interface.parts, numbers[rows], frequencies, step_options)
            ratio = np.where(is_encodable[rows], _action_log_probabilities(judge, arrays, rows) - habit, 0.0)
            for episode_ratio in np.split(ratio, arrays.starts[first + 1 : stop] - arrays.starts[first]):
                ratios.append((names[first], episode_ratio))
        first = stop
    return ratios


def _encoded(interface: IOSpec, arrays: TaskArrays) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return the numbers of all actions, which can be expressed, and the options of each step by kind.

    Pages are read in pieces: all of them may be more than memory holds.
    """
    if interface.page is None:
        return (*encode_actions(interface, arrays.actions, {}), {})
    pieces = []
    for first in range(0, len(arrays), _ROWS):
        rows = np.arange(first, min(first + _ROWS, len(arrays)))
        observations = {path: leaf.take(rows, axis=0) for path, leaf in arrays.observations.items()}
        encoded = encode_actions(interface, arrays.actions[rows], observations)
        pieces.append((*encoded, _count_options(observations)))
    numbers, is_encodable, options = zip(*pieces, strict=True)
    return (
        np.concatenate(numbers),
        np.concatenate(is_encodable),
        {kind: np.concatenate([counts[kind] for counts in options]) for kind in options[0]},
    )


@torch.no_grad()
def _action_log_probabilities(judge: Policy, arrays: TaskArrays, rows: np.ndarray) -> np.ndarray:
    """Return log probabilities `[S]` of the actions given the observation of each step alone."""
    task, index = arrays.task.id, judge.encoding.tasks[arrays.task.id][0]
    log_probabilities = []
    for first in range(0, len(rows), _ROWS):
        batch = rows[first : first + _ROWS]
        observations = {path: leaf.take(batch, axis=0) for path, leaf in arrays.observations.items()}
        summaries, embedded, tokens = judge.look({task: observations})
        x = judge.remember(summaries, np.ones(len(batch), np.int64))
        interface, pools = judge.encoding.interface(task), embedded.pools([task], tokens)
        numbers, _ = encode_actions(interface, arrays.actions[batch], observations)
        loss = judge.decoder.loss(x, interface, index, numbers, pools)
        log_probabilities.append(-loss.cpu().double().numpy())
    return np.concatenate(log_probabilities)


def _habit_log_probabilities(
    parts: tuple[ActionPart, ...],
    numbers: np.ndarray,
    frequencies: list[np.ndarray],
    options: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Return log probabilities `[S]` of the actions under the person's own action frequencies.

    Frequencies leave out the step itself and start from those of all people (`frequencies`), with a prior
    weight of one count an option. Pointing parts are uniform over the elements or words of the page, whose
    number at each step is `options` by kind.
    """
    total = np.zeros(len(numbers))
    for i, part in enumerate(parts):
        rows = _decided_steps(part, numbers[:, i])
        if part.kind in POINTING:
            total[rows] -= np.log(options[part.kind][rows])
            continue
        chosen = _one_hot(targets(part, numbers[rows, i]), part)
        other_counts = chosen.sum(0) - chosen + part.size * frequencies[i]
        total[rows] += (chosen * np.log(other_counts / (len(rows) - 1 + part.size))).sum(1)
    return total


def _decided_steps(part: ActionPart, column: np.ndarray) -> np.ndarray:
    """Return the indices of the steps at which a part is decided."""
    return (
        np.flatnonzero(column != SKIPPED) if part.verbs or part.kind in POINTING else np.arange(len(column))
    )


def _frequencies(part: ActionPart, column: np.ndarray) -> np.ndarray:
    """Return the share of each option over all people, `[size]`; never 0 (add-one smoothing)."""
    if part.kind in POINTING:
        return np.ones(0)
    counts = _one_hot(targets(part, column[_decided_steps(part, column)]), part).sum(0)
    return (counts + 1.0) / (counts.sum() + part.size)


def _count_options(observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the number of tokens on the pages of each step `[S]` that can be pointed at, by kind."""
    elements = [len(read_columns(str(page))["ref"]) + 1 for page in observations["elements"]]
    words = [max(1, len(places_of(str(instruction)))) for instruction in observations["instruction"]]
    return {"element": np.array(elements), "word": np.array(words)}


def _one_hot(target: np.ndarray, part: ActionPart) -> np.ndarray:
    return np.eye(part.size)[target] if target.ndim == 1 else target.astype(np.float64)
