"""One episode: actions, times, controllers and outcome; a frozen dataclass that validates itself."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..console.wording import counted
from ..envs.spaces import Observation
from ..errors import TutelageError

CONTROLLERS = ("person", "policy", "expert")
"""Who chose an action; a trajectory stores one index per step."""

LONG = 1024
"""Length of a text above which an array of texts has dtype object."""

KINDS = ("person", "expert", "simulated", "policy", "chance")


def controller_of(kind: str) -> str:
    """Return which of CONTROLLERS chooses the actions of a demonstrator of a kind."""
    return {"policy": "policy", "chance": "policy", "expert": "expert"}.get(kind, "person")


def new_episode_id() -> str:
    """Return a new unique episode id: 32 hexadecimal digits."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Trajectory:
    """T actions and everything needed to reproduce the T+1 observations.

    `actions` float64 `[T, k]` (see `envs.spaces.action_to_row`), `rewards` float64 `[T]`,
    `times_ms` int32 `[T]` (milliseconds from reset to the action), `controllers` int8 `[T]` (index into
    CONTROLLERS), `frames` int32 `[T]` (number of the frame shown when the key was pressed).
    `digest` is the 16-byte chained BLAKE2b over every observation, reward and flag (see `Digest`).
    `observations` is None when replay proved that seed and actions reproduce them, else leaf path →
    `[T+1, ...]` array. `infos` are the success rule's inputs from info: path → float64 `[T]`, see
    `envs.success.SuccessMonitor`. `casts` maps a leaf (or `(action)`) to the change by a cast to its declared
    dtype. `success` is None where the task has no success rule. Raises TutelageError when the lengths
    disagree.
    """

    suite: str
    task: str
    env: str
    seed: int
    demonstrator: str
    kind: str
    actions: np.ndarray
    rewards: np.ndarray
    times_ms: np.ndarray
    controllers: np.ndarray
    frames: np.ndarray
    terminated: bool
    truncated: bool
    success: bool | None
    digest: bytes
    observations: Mapping[str, np.ndarray] | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    casts: Mapping[str, str] = field(default_factory=dict)
    episode: str = field(default_factory=new_episode_id)
    started: str = ""  # ISO 8601, UTC
    steps_per_second: float | None = None  # the measured rate of a real-time episode
    study: str = ""
    consent: str = ""
    notes: str = ""
    infos: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        steps = len(self.actions)
        if self.actions.ndim != 2 or not steps:
            raise TutelageError(
                f"expected actions [T, k] with T >= 1, got {self.actions.shape} in {self.episode}"
            )
        for name in ("rewards", "times_ms", "controllers", "frames"):
            if getattr(self, name).shape != (steps,):
                got = getattr(self, name).shape
                raise TutelageError(f"expected {name} of shape ({steps},), got {got} in {self.episode}")
        for path, array in (self.observations or {}).items():
            if len(array) != steps + 1:
                raise TutelageError(
                    f"expected {counted(steps + 1, 'observation')} for {counted(steps, 'action')}, "
                    f"got {len(array)} at {path!r} in {self.episode}"
                )
        for path, array in self.infos.items():
            if array.shape != (steps,):
                raise TutelageError(
                    f"expected {path} of shape ({steps},), got {array.shape} in {self.episode}"
                )
        if self.kind not in KINDS:
            raise TutelageError(f"expected kind to be one of {', '.join(KINDS)}, got {self.kind!r}")

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def total(self) -> float:
        """The return: the sum of all rewards; infinite or NaN on overflow."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(self.rewards.sum())

    @property
    def seconds(self) -> float:
        """Time from reset to the last action, in seconds."""
        return float(self.times_ms[-1]) / 1000


class Digest:
    """A running, chained BLAKE2b over (observation, reward, terminated, truncated) of every step."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def copied(self) -> Digest:
        """Return a copy, which goes on by itself."""
        copy = Digest()
        copy._hash = self._hash.copy()
        return copy

    def update(self, observation: Observation, reward: float, terminated: bool, truncated: bool) -> bytes:
        """Add one step (the reset is the first, with reward 0) and return the digest so far, 16 bytes."""
        for path, value in observation.items():
            self._hash.update(path.encode())
            data = value.encode() if isinstance(value, str) else plain_bytes(value)
            self._hash.update(data)
        self._hash.update(plain_bytes(np.float64(reward)) + bytes((terminated, truncated)))
        return self._hash.digest()


def digest_of(
    observations: Mapping[str, np.ndarray], rewards: Iterable[float], terminated: bool, truncated: bool
) -> bytes:
    """Compute the digest of a whole episode from stacked observations `[T+1, ...]` and its end."""
    digest = Digest()
    last = len(next(iter(observations.values()))) - 1
    proof = b""
    for index, reward in enumerate((0.0, *rewards)):
        observation = {path: array[index] for path, array in observations.items()}
        proof = digest.update(observation, reward, terminated and index == last, truncated and index == last)
    return proof


def digest_of_steps(observations: Mapping[str, np.ndarray], rewards: np.ndarray, flags: np.ndarray) -> bytes:
    """Compute the final value of `Digest` from observations `[T+1, ...]`, rewards `[T]` and ends `[T, 2]`.

    In one call where texts do not change during the episode.
    """
    rows = len(rewards) + 1
    ends = np.concatenate([np.zeros((1, 2), np.uint8), flags.astype(np.uint8)])
    if any(array.dtype.kind in "OU" and (array != array[0]).any() for array in observations.values()):
        digest, proof = Digest(), b""
        for index, reward in enumerate((0.0, *rewards)):
            observation = {path: array[index] for path, array in observations.items()}
            proof = digest.update(observation, reward, *map(bool, ends[index]))
        return proof
    parts: list[np.ndarray] = []
    for path, array in observations.items():
        if array.dtype.kind in "OU":
            parts.append(_repeat_bytes(path.encode() + str(array[0]).encode(), rows))
        else:
            parts += [_repeat_bytes(path.encode(), rows), _rows_of_bytes(array)]
    parts += [_rows_of_bytes(np.concatenate(([0.0], rewards))), ends]
    return hashlib.blake2b(np.concatenate(parts, axis=1).tobytes(), digest_size=16).digest()


def _repeat_bytes(data: bytes, rows: int) -> np.ndarray:
    return np.broadcast_to(np.frombuffer(data, np.uint8), (rows, len(data)))


def _rows_of_bytes(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(plain_bytes(array), np.uint8).reshape(len(array), -1)


def plain_bytes(value: np.ndarray | np.generic) -> bytes:
    """Return the bytes of numbers, with all bit patterns of NaN made equal."""
    array = np.asarray(value)
    if array.dtype.kind == "f" and (missing := np.isnan(array)).any():
        array = np.where(missing, array.dtype.type(np.nan), array)
    return array.tobytes()


def stack_observations(steps: Sequence[Observation]) -> dict[str, np.ndarray]:
    """Stack T+1 observations leaf by leaf; text becomes a `text_array`."""
    return {
        path: text_array([observation[path] for observation in steps])
        if isinstance(steps[0][path], str)
        else np.stack([np.asarray(observation[path]) for observation in steps])
        for path in steps[0]
    }


def text_array(texts: Sequence[str]) -> np.ndarray:
    """Return a unicode array, or an object array of `str` if a text is long, as all would be that wide."""
    return np.array(texts, object if max(map(len, texts), default=0) > LONG else np.str_)
