"""Formats of other packages: a function that reads episodes from files, or writes a store to files.

What is named, `package.module:Object` or an entry point of `tutelage.formats`, is called, or its attribute
`read` or `write` if it has one.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...console.wording import agreeing, counted
from ...envs.admission import admit_all
from ...envs.spaces import action_size, action_to_row, flatten, leaves
from ...envs.suite import Suite
from ...envs.task import Task
from ...envs.task_env import TaskEnv
from ...errors import TutelageError, brief, nearest
from ...files.atomic_files import disk_errors, sync_folder
from ...files.bounded_files import real_path
from ...files.safe_tree import remove_tree, sync_tree
from ...foreign_code.objects import FORMATS, ObjectSpec, described, foreign_errors
from ..batch_replay import are_valid
from ..replay import Environments, prove_again
from ..store import Progress
from ..trajectory import KINDS, Trajectory, stack_observations
from .all_or_none import staged_import
from .facts import refuse_existing, unnest
from .foreign_episode import ForeignEpisode
from .reading_back import append_new, count_sentence

NEEDED = ("observations", "actions", "rewards", "terminated")
OPTIONAL = ("task", "truncated", "seed", "demonstrator", "kind", "infos", "times_ms", "episode")


def import_own(
    spec: ObjectSpec, source: str, out: Path, suite: Suite, progress: Progress | None = None
) -> list[str]:
    """Read the episodes that an object of another package yields from `source` into a store at `out`.

    The object is called with the text `source` and its keyword arguments, and returns an iterable of mappings
    with NEEDED and OPTIONAL keys (docs/extend.md). Observations are kept unless a replay of seed and actions
    proves them. All episodes are read, or none. Raises TutelageError for what it raises, and for an episode
    that is none of the suite.
    """
    read = _method(spec, "read")
    admit_all(suite)
    with staged_import(out, suite) as (store, existing), Environments(suite) as environments:
        reader = _Reader(spec, source, suite, environments)
        with foreign_errors(f"{spec.name} failed on {brief(source)}: "):
            records = read(source, **spec.kwargs)
        if isinstance(records, str | Mapping) or not isinstance(records, Iterable):
            raise TutelageError(f"expected {spec.name} to return episodes, got {brief(records)}; yield them")
        counts = append_new(store, reader.trajectories(records), existing, progress)
        if not any(counts):
            raise TutelageError(f"expected episodes of {spec.name} in {brief(source)}, got none")
    return [count_sentence(source, counts), *reader.report()]


def export_own(spec: ObjectSpec, store: Any, out: Path) -> list[str]:
    """Let an object of another package write a store to a new folder, whole or not at all.

    It is called with the store, a sequence of episodes, and a text, the folder, which exists and is empty. It
    may return sentences about what it cannot hold.
    """
    write = _method(spec, "write")
    out = real_path(out)  # the writer may change the current folder
    refuse_existing(out)
    fresh = out.parent / f".export-{uuid.uuid4().hex[:8]}"
    try:
        with disk_errors(out):
            fresh.mkdir(parents=True)
        with foreign_errors(f"{spec.name} failed to write to {out}: "):
            report = write(store, str(fresh), **spec.kwargs)
            sentences = [report] if isinstance(report, str) else list(report or ())
        if not all(isinstance(sentence, str) for sentence in sentences):
            raise TutelageError(f"expected {spec.name} to return sentences or nothing, got {brief(report)}")
        if fresh.is_symlink() or not fresh.is_dir():
            raise TutelageError(f"expected {spec.name} to write into its folder, which is gone")
        if not any(fresh.iterdir()):
            raise TutelageError(f"expected {spec.name} to write into its folder, which is empty")
        with disk_errors(out):
            sync_tree(fresh)
            fresh.rename(out)
            sync_folder(out.parent)
    except BaseException:
        remove_tree(fresh)
        raise
    return [
        f"wrote {out}",
        *(" ".join(sentence.split()) for sentence in sentences),
        "`tutelage edit STORE forget` does not reach what others have written.",
    ]


def _method(spec: ObjectSpec, name: str) -> Callable[..., Any]:
    """Load an object; return its attribute of that name, or the object itself if it has none.

    A class with that attribute is made without arguments first.
    """
    target = spec.load(FORMATS, "format")
    with foreign_errors(f"expected {spec.name} to have {name}(), got "):
        if isinstance(target, type) and hasattr(target, name):
            target = target()
        method = getattr(target, name, target)
    if not callable(method):
        raise TutelageError(f"expected {spec.name} to be a function or have {name}(), got {brief(target)}")
    made: Callable[..., Any] = method
    return made


class _Reader:
    """Converts records of one source to trajectories, and counts what they lacked."""

    def __init__(self, spec: ObjectSpec, source: str, suite: Suite, environments: Environments) -> None:
        self._spec, self._suite, self._environments = spec, suite, environments
        self._unseeded = self._stored = self._changed = 0
        self._names: set[str] = set()
        self._source = hashlib.blake2b(source.encode("utf-8", "replace"), digest_size=4).hexdigest()

    def trajectories(self, records: Iterable[Any]) -> Iterator[Trajectory]:
        for number, record in enumerate(self._raising(records)):
            where = f"{self._spec.name}, episode {number}: "
            try:
                episode, task = self._episode(record, number)
                trajectory = episode.trajectory(task, self._suite.name)
            except TutelageError as error:
                raise TutelageError(f"{where}{error}") from None
            except Exception as error:  # values of another package may raise anything
                raise TutelageError(f"{where}{described(error)}") from None
            if trajectory.episode in self._names:
                raise TutelageError(f"{where}expected a name of its own, got {trajectory.episode!r} again")
            self._names.add(trajectory.episode)
            if episode.seed is not None:
                trajectory = prove_again(trajectory, self._environments, dict(episode.observations))
            self._unseeded += episode.seed is None
            self._stored += episode.seed is not None and trajectory.observations is not None
            self._changed += bool(trajectory.casts)
            yield trajectory

    def report(self) -> list[str]:
        sentences = []
        if self._unseeded:
            sentences.append(
                f"{counted(self._unseeded, 'episode')} without a seed: the number stands for one, and "
                "observations are stored."
            )
        if self._changed:
            sentences.append(
                f"Episodes that a cast to the declared dtypes changed: {self._changed}; `tutelage inspect` "
                "says how."
            )
        if self._stored:
            sentences.append(
                f"Replay did not prove {counted(self._stored, 'episode')}, so "
                f"{agreeing(self._stored, 'its')} observations are stored."
            )
        return sentences

    def _raising(self, records: Iterable[Any]) -> Iterator[Any]:
        with foreign_errors(f"{self._spec.name} failed: "):
            yield from records

    def _episode(self, record: Any, number: int) -> tuple[ForeignEpisode, Task]:
        if not isinstance(record, Mapping):
            raise TutelageError(f"expected a mapping with {', '.join(NEEDED)}, got {brief(record)}")
        for key in record:
            if key not in (*NEEDED, *OPTIONAL):
                allowed = (*NEEDED, *OPTIONAL)
                raise TutelageError(
                    f"expected keys {', '.join(allowed)}, got {brief(key)}{nearest(str(key), allowed)}"
                )
        if missing := [key for key in NEEDED if key not in record]:
            raise TutelageError(f"expected a mapping with {', '.join(NEEDED)}, got none of {missing}")
        task = self._task(record.get("task"))
        environment = self._environments[task.id]
        casts: dict[str, str] = {}
        observations = _observations(environment, record["observations"], casts)
        rewards = _numbers("rewards", record["rewards"])
        if not len(rewards):
            raise TutelageError("expected at least one step, got none; leave such an episode out")
        kind = str(record.get("kind", "person"))
        if kind not in KINDS:
            raise TutelageError(f"expected kind to be one of {', '.join(KINDS)}, got {brief(kind)}")
        space = environment.action_space
        rows = [action_to_row(space, action) for action in record["actions"]]
        actions = np.stack(rows) if rows else np.zeros((0, action_size(space)))
        if not are_valid(actions, space):
            raise TutelageError(f"expected actions of {space}, got others")
        return ForeignEpisode(
            episode=_name(
                "episode", record.get("episode", f"{self._spec.short_name}-{self._source}-{number}")
            ),
            number=number,
            demonstrator=_name("demonstrator", record.get("demonstrator", self._spec.short_name)),
            kind=kind,
            observations=observations,
            actions=actions,
            rewards=rewards,
            terminated=_flag("terminated", record["terminated"]),
            truncated=_flag("truncated", record.get("truncated", False)),
            infos=self._infos(task, record.get("infos") or {}),
            casts=casts,
            seed=_seed(record.get("seed")),
            times_ms=_times(record.get("times_ms")),
        ), task

    def _task(self, name: Any) -> Task:
        names = [task.id for task in self._suite]
        if name is None and len(names) == 1:
            return self._suite[names[0]]
        if name not in names:
            raise TutelageError(
                f"expected task to be one of {', '.join(names)}, got {brief(name)}{nearest(str(name), names)}"
            )
        return self._suite[str(name)]

    def _infos(self, task: Task, infos: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Read what the success rule reads, {} where any is missing."""
        if not isinstance(infos, Mapping) or not all(str(key).startswith("info.") for key in infos):
            raise TutelageError(f"expected infos such as {{'info.success': [...]}}, got {brief(infos)}")
        numbers = {path.text: infos.get(path.text) for path in task.success.paths}
        if any(values is None for values in numbers.values()):
            return {}
        return {path: _numbers(path, values) for path, values in numbers.items()}


def _numbers(name: str, values: Any) -> np.ndarray:
    """Return numbers or flags as float64 `[T]`."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "biuf"):
        raise TutelageError(f"expected {name} to be numbers, one a step, got {brief(values)}")
    return array.astype(np.float64)


def _times(values: Any) -> np.ndarray | None:
    if values is None:
        return None
    times = _numbers("times_ms", values)
    is_odd = not np.isfinite(times).all() or (times < 0).any() or (times >= 2**31).any()
    if is_odd or (np.diff(times) < 0).any():
        raise TutelageError(f"expected times_ms in ms since the reset that never fall, got {brief(values)}")
    return times.astype(np.int32)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_ | int | np.integer) or value not in (0, 1):
        raise TutelageError(f"expected {name} to be True or False, got {brief(value)}")
    return bool(value)


def _seed(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not -(2**63) <= value < 2**63:
        raise TutelageError(f"expected seed to be a whole number of at most 63 bits, got {brief(value)}")
    return int(value)


def _name(key: str, value: Any) -> str:
    text = str(value)
    if not text or not text.isprintable() or text.encode("utf-8", "replace").decode() != text:
        raise TutelageError(f"expected {key} to be a name, got {brief(text)}")
    return text


def _observations(environment: TaskEnv, values: Any, casts: dict[str, str]) -> dict[str, np.ndarray]:
    """Flatten T+1 observations: a sequence of them, or the space's parts, each stacked `[T+1, ...]`."""
    space = environment.observation_space
    paths = [leaf.path for leaf in leaves(space)]
    if isinstance(values, Mapping):
        flat = unnest(space, values, casts=casts)
        return {path: flat[path] for path in paths}
    if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str):
        raise TutelageError(f"expected a sequence of observations, got {brief(values)}")
    if not len(values):
        raise TutelageError("expected one observation more than rewards, got none")
    return stack_observations([flatten(space, value, casts=casts) for value in values])
