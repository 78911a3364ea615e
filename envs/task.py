"""Task: a Gymnasium environment with its arguments, success rule, step limit and controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import TutelageError, nearest
from ..foreign_code.objects import ObjectSpec, parse_object
from .success import SuccessRule


@dataclass(frozen=True)
class SeedRange:
    """A half-open range of seeds `[start, stop)`, the same for every task."""

    name: str
    start: int
    stop: int

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.stop))

    def __contains__(self, seed: object) -> bool:
        return isinstance(seed, int) and self.start <= seed < self.stop

    def first(self, count: int, skip: int = 0) -> range:
        """Return `count` seeds after the first `skip`; raises TutelageError past the end."""
        if self.start + skip + count > self.stop:
            raise TutelageError(f"{self.name} seeds end at {self.stop}, asked for {skip} + {count}")
        return range(self.start + skip, self.start + skip + count)


RECORD = SeedRange("record", 0, 1_000_000_000)
SELECT = SeedRange("select", 1_000_000_000, 1_500_000_000)
TEST = SeedRange("test", 1_500_000_000, 2_000_000_000)
SEED_RANGES = {seeds.name: seeds for seeds in (RECORD, SELECT, TEST)}
"""Disjoint seed ranges for demonstrations, checkpoint selection and reported results."""


def seed_range(name: str, what: str = "seeds") -> SeedRange:
    """Return a range of SEED_RANGES by its name; raises TutelageError for another, with `what` was named."""
    if name not in SEED_RANGES:
        raise TutelageError(
            f"expected {what} to be one of {', '.join(SEED_RANGES)}, got {name!r}{nearest(name, SEED_RANGES)}"
        )
    return SEED_RANGES[name]


@dataclass(frozen=True)
class Task:
    """The definition of a task, independent of who plays it.

    `id` is the name shown in tables; `env` is a registered Gymnasium id and `kwargs` its arguments.
    `max_steps` tightens the environment's own limit. `instruction` is the sentence for environments
    whose observation holds none. `fps` is None for a turn-based task, else frames per second, with
    `idle` the action for "no key". `controls` maps `KeyboardEvent.code` to an action; None means the
    environment's own. `action_names` name a Discrete space's actions. `expert` names an expert and
    `wrappers` what is put around the environment, innermost first: object names, or `{name: {keyword:
    value}}` (see `foreign_code.objects`). `imports` are modules that register environments; see
    `admission`. `keys` maps action names to keys; names that the environment lacks are ignored.
    `blank_first_frame` allows a first frame of a single color.
    """

    id: str
    env: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    max_steps: int | None = None
    success: SuccessRule = field(default_factory=SuccessRule)
    instruction: str = ""
    controls: Mapping[str, Any] | None = None
    fps: float | None = None
    idle: Any = None
    action_names: Sequence[str] = ()
    expert: str | Mapping[str, Any] | None = None
    imports: Sequence[str] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    blank_first_frame: bool = False
    wrappers: Sequence[str | Mapping[str, Any]] = ()

    @property
    def wrapper_specs(self) -> tuple[ObjectSpec, ...]:
        """The wrappers, the innermost first."""
        return tuple(parse_object(wrapper, "a wrapper") for wrapper in self.wrappers)

    @property
    def expert_spec(self) -> ObjectSpec | None:
        """The expert's name and arguments; None where the task names none."""
        return None if self.expert is None else parse_object(self.expert, "expert", names=None)

    @property
    def objects(self) -> tuple[ObjectSpec, ...]:
        """All that the task names of other packages' objects: expert, wrappers, success function."""
        named = (self.expert_spec, *self.wrapper_specs, self.success.function)
        return tuple(spec for spec in named if spec is not None)

    def differences(self, other: Task) -> list[str]:
        """Return the names of differing fields that affect the course or the outcome of an episode.

        Ignores keys, action names, experts and imports, and whether an id names its module.
        """
        names = [name for name in _DECISIVE if getattr(self, name) != getattr(other, name)]
        if [*self.wrappers] != [*other.wrappers]:
            names.append("wrappers")
        if dict(self.kwargs) != dict(other.kwargs):
            names.insert(0, "kwargs")
        if self.env.rpartition(":")[2] != other.env.rpartition(":")[2]:
            names.insert(0, "env")
        return names


_DECISIVE = ("max_steps", "success", "instruction", "fps", "idle")
