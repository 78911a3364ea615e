"""Import Minari datasets of other projects: convert them to trajectories, and report what is unknown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....console.wording import agreeing, counted
from ....envs.admission import admit_all
from ....envs.recorded import ENV_ID, describe_space
from ....envs.spaces import leaves
from ....envs.success import SuccessRule
from ....envs.suite import Suite, suite_from
from ....envs.task import Task
from ....envs.task_env import ACTION
from ....errors import TutelageError
from ....foreign_code.trust import Untrusted
from ...recorded_only import recorded_only
from ...replay import Environments, prove_again
from ...trajectory import Trajectory
from ..facts import join_actions, unnest
from ..foreign_episode import ForeignEpisode
from ..foreign_rules import success_rule
from .limits import read_along

_KINDS = {"human": "person", "expert": "expert"}


def foreign_suite(
    datasets: Sequence[Any], out: Path, report: list[str], *, is_recorded: bool = False
) -> Suite:
    """Return a suite with one task per dataset, from the environment that the dataset names.

    With `is_recorded`, tasks have recordings only, with the dataset's spaces.

    A task gets the success rule of its environment's bare id. The rules, and what the tasks of the store at
    `out` lack, are appended to `report`.
    """
    first = _plain_name(datasets[0].id)
    tasks = []
    for dataset in datasets:
        spec = dataset.env_spec
        task: dict[str, Any] = {"id": _plain_name(dataset.id), "env": spec.id if spec else dataset.id}
        if spec and (kwargs := {k: v for k, v in spec.kwargs.items() if k != "render_mode"}):
            task["kwargs"] = kwargs
        if is_recorded:
            spaces = {"observation": dataset.observation_space, "action": dataset.action_space}
            task |= {
                "env": ENV_ID,
                "kwargs": {name: describe_space(space) for name, space in spaces.items()},
            }
        if spec and spec.max_episode_steps:
            task["max_steps"] = spec.max_episode_steps
        task["success"], reason = success_rule(dataset)
        report.append(f"{dataset.id}: {reason}.")
        tasks.append(task)
    name = first if len(datasets) == 1 else _plain_name(datasets[0].id.rpartition("/")[0] or "minari")
    suite = admit_all(suite_from({"suite": name, "tasks": tasks}, "the Minari datasets"))
    report += recorded_only(suite, out)
    return suite


def foreign_trajectories(dataset: Any, task: Task, suite: Suite, report: list[str]) -> Iterator[Trajectory]:
    """Read a dataset; append unknown facts to `report`. Episodes without steps are left out."""
    kind = next((name for word, name in _KINDS.items() if word in dataset.id.lower()), "policy")
    report.append(
        f"{dataset.id} says neither when nor by whom each action was taken: times and frames are 0, and the "
        f"demonstrator is the dataset, of kind {kind}, after its name."
    )
    unseeded, stored, changed, unrated = 0, 0, 0, 0
    described = read_along(iter(dataset.storage.get_episode_metadata(dataset.episode_indices)), dataset.id)
    with Environments(suite) as environments:
        order = _leaf_order(environments, task, dataset)
        for episode, metadata in zip(
            read_along(dataset.iterate_episodes(), dataset.id), described, strict=True
        ):
            if not len(episode.rewards):
                continue
            seed = metadata.get("seed")
            unseeded += seed is None
            casts: dict[str, str] = {}
            flat = unnest(dataset.observation_space, episode.observations, casts=casts)
            observations = {path: flat[path] for path in order}
            trajectory = _trajectory(dataset, task, suite, kind, episode, seed, observations, casts)
            changed += bool(trajectory.casts)
            unrated += task.success.is_known and trajectory.success is None
            if seed is not None:
                trajectory = prove_again(trajectory, environments, observations)
            stored += trajectory.observations is not None
            yield trajectory
    if unseeded:
        report.append(
            f"{dataset.id} has {counted(unseeded, 'episode')} without a seed; its number in the "
            "file stands for one."
        )
    if unrated:
        places = ", ".join(path.text for path in task.success.paths)
        report.append(
            f"{dataset.id} does not hold {places}, which the success rule reads, in "
            f"{counted(unrated, 'episode')}: whether these succeeded is unknown."
        )
    if changed:
        report.append(
            f"{dataset.id}: episodes that a cast to the declared dtypes changed: {changed}; "
            "`tutelage inspect` says how."
        )
    if stored:
        report.append(
            f"{dataset.id}: replay did not prove {counted(stored, 'episode')}, "
            f"so {agreeing(stored, 'its')} observations are stored."
        )


def _leaf_order(environments: Environments, task: Task, dataset: Any) -> list[str]:
    """Return the leaf paths in the environment's order, which digests use; else in the dataset's order."""
    dataset_paths = [leaf.path for leaf in leaves(dataset.observation_space)]
    try:
        environment_paths = [leaf.path for leaf in leaves(environments[task.id].observation_space)]
    except Untrusted:
        raise
    except TutelageError:  # the environment is not installed: replay is impossible
        return dataset_paths
    return environment_paths if set(environment_paths) == set(dataset_paths) else dataset_paths


def _trajectory(
    dataset: Any,
    task: Task,
    suite: Suite,
    kind: str,
    episode: Any,
    seed: Any,
    observations: dict[str, np.ndarray],
    casts: dict[str, str],
) -> Trajectory:
    action_casts: dict[str, str] = {}
    actions = join_actions(unnest(dataset.action_space, episode.actions, casts=action_casts))
    rewards = np.asarray(episode.rewards, np.float64)
    foreign = ForeignEpisode(
        episode=f"{_plain_name(dataset.id)}-{int(episode.id)}",
        number=int(episode.id),
        demonstrator=dataset.id,
        kind=kind,
        observations=observations,
        actions=actions,
        rewards=rewards,
        terminated=bool(episode.terminations[-1]),
        truncated=bool(episode.truncations[-1]),
        infos=_infos(task.success, episode.infos or {}, len(rewards)),
        casts=casts | ({ACTION: next(iter(action_casts.values()))} if action_casts else {}),
        seed=None if seed is None else int(seed),
    )
    return foreign.trajectory(task, suite.name)


def _infos(rule: SuccessRule, infos: Mapping[str, Any], steps: int) -> dict[str, np.ndarray]:
    """Read a success rule's inputs from a dataset's infos, path → float64 `[T]`; {} where any is missing.

    Minari stores the info of the reset before those of the steps.
    """
    numbers: dict[str, np.ndarray] = {}
    for path in rule.paths:
        value: Any = infos
        for key in path.keys:
            value = value.get(key) if isinstance(value, Mapping) and isinstance(key, str) else None
        array = np.asarray(value)
        if value is None or array.dtype.kind not in "biuf" or array.size not in (steps, steps + 1):
            return {}
        numbers[path.text] = array.reshape(-1)[-steps:].astype(np.float64)
    return numbers


def _plain_name(name: str) -> str:
    """Convert a dataset's id to a valid name of a suite or task."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "minari"
