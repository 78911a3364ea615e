"""Capabilities: optional methods of an environment class, beyond Gymnasium's interface.

Any environment may implement them, ours or yours; none is required. Each is a protocol: an environment has
the capability if its class has the methods. What is gained:

ReplaysMany    fast proofs, imports and inspection; observations are replayed when a batch needs them
Simulates      fast simulated crowds
Snapshots      stepping back while looking at an episode, without a replay from the start
FewAtOnce      evaluation holds no more environments than this, where each takes much memory
StepsTogether  concurrent episodes in evaluation, for environments that wait (a browser, a simulator)
ReadsInput     people use mouse, touch and keyboard on the picture itself, instead of bound keys
DrawsTiles     pictures are sent as cell codes and drawn by the page; for grids like ours

Wrappers change what an environment says, so an environment within wrappers has none but ReadsInput and
DrawsTiles. `tests/support/counter_env.py` implements all but the last in a few lines each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

Stepped = tuple[Any, float, bool, bool, dict[str, Any]]
"""The result of Gymnasium's `step`."""


class ReplayedEpisodes(NamedTuple):
    """E replayed episodes with N steps in total, and N + E observations: one more an episode than steps.

    `observations` maps leaf paths to arrays `[N + E, ...]`, of objects for text; `rewards` float64 `[N]`,
    `terminated` and `truncated` bool `[N]`.
    """

    observations: Mapping[str, np.ndarray]
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


@runtime_checkable
class ReplaysMany(Protocol):
    """Replays many episodes in one call, equal to `reset` and `step` bit for bit."""

    def replay_many(self, seeds: np.ndarray, starts: np.ndarray, actions: np.ndarray) -> ReplayedEpisodes:
        """Replay E episodes with N actions: int64 seeds `[E]`, starts `[E + 1]`, actions float64 `[N, k]`.

        Episode e takes the actions `starts[e]` to `starts[e + 1]`. Overwrites the environment's own episode.
        """
        ...


class SimulatedEpisodes(NamedTuple):
    """E simulated episodes: actions `[N, k]`, ms since the reset int `[N]`, starts int64 `[E + 1]`."""

    actions: np.ndarray
    times_ms: np.ndarray
    starts: np.ndarray


@runtime_checkable
class Simulates(Protocol):
    """Plays whole episodes of simulated people; needs ReplaysMany, which adds the rewards."""

    @classmethod
    def simulated_expert(cls) -> str:
        """Name the expert, as a suite does, whose errors `simulate` adds."""
        ...

    def simulate(
        self, profiles: np.ndarray, keys: np.ndarray, random_seeds: np.ndarray, seeds: np.ndarray
    ) -> SimulatedEpisodes:
        """Play the episodes of seeds `[E]`, each by a person `profiles[e]`, float64 `[E, 6]`.

        The columns: probabilities of a random key and of giving up at a step; of playing against the task and
        of misreading it in an episode; median reaction time, in ms, and its log standard deviation. `keys`
        are the actions that people have. Randomness is a function of `random_seeds`, uint64 `[E]`.
        """
        ...


@runtime_checkable
class Snapshots(Protocol):
    """Returns to an earlier state of an episode."""

    def snapshot(self) -> Any:
        """Return a copy of the whole state, random generator included; later steps must not change it."""
        ...

    def restore(self, snapshot: Any) -> Any:
        """Restore a snapshot of this environment; returns its observation. May be called again with it."""
        ...


@runtime_checkable
class FewAtOnce(Protocol):
    """Is heavy: a process may hold only so many environments of the class."""

    @classmethod
    def most_together(cls) -> int:
        """Return how many environments may exist at once."""
        ...


@runtime_checkable
class StepsTogether(FewAtOnce, Protocol):
    """Resets and steps several environments of the class concurrently."""

    @classmethod
    def reset_together(
        cls, environments: Sequence[Any], seeds: Sequence[int | None]
    ) -> list[tuple[Any, dict[str, Any]]]:
        """Reset each environment with its own seed; returns what each `reset` returns, in order."""
        ...

    @classmethod
    def step_together(cls, environments: Sequence[Any], actions: Sequence[Any]) -> list[Stepped]:
        """Step each environment; returns what each `step` returns, in order."""
        ...


Kind = Literal["click", "tap", "press", "move", "release", "hover", "wheel", "key", "fill", "wait", "rest"]


@dataclass(frozen=True)
class HumanInput:
    """One input event; `x, y` are px of the picture.

    click, tap    with the mouse, with a finger
    press, move, release   press the button, move, release it: a drag
    hover         the pointer has come to rest
    wheel         scrolled by `amount` px, downwards if positive
    key           `key` (`KeyboardEvent.key`), with `held` modifiers
    fill          the answer to an `InputQuestion`: `text`
    wait          let time pass
    rest          no further input for now: a draft becomes actions
    """

    kind: Kind
    x: float = 0.0
    y: float = 0.0
    amount: float = 0.0
    key: str = ""
    held: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class InputQuestion:
    """Input that a browser asks for in a window of its own: options of a list, or a text.

    `tag` is the field's (`SELECT`, `INPUT_date`, ...); `options`, and the indices `chosen`, are those of a
    list.
    """

    tag: str
    value: str = ""
    options: tuple[str, ...] = ()
    chosen: tuple[int, ...] = ()
    several: bool = False


@dataclass(frozen=True)
class InputOutcome:
    """The result of an input event: an action to take now with `step`, or a question.

    `more`: call `go_on` after that for the next result; `draft`: a draft is shown, which is no action yet.
    """

    action: Any = None
    question: InputQuestion | None = None
    more: bool = False
    draft: bool = False


class InputReader(Protocol):
    """Converts input events to actions, values of the action space, in one episode."""

    def hear(self, human_input: HumanInput) -> InputOutcome:
        """Process an input event; returns its result, or an action to take first."""
        ...

    def go_on(self) -> InputOutcome:
        """Return the next result of the last event, after the previous action was taken."""
        ...


@runtime_checkable
class ReadsInput(Protocol):
    """Is used by people with mouse, touch and keyboard on its picture."""

    def input_reader(self) -> InputReader:
        """Return the reader of the episode that has just begun."""
        ...


class TileAtlas(NamedTuple):
    """The pictures of all tiles: a name that changes with them, a PNG, and the side of a tile in px."""

    name: str
    png: bytes
    side: int


@runtime_checkable
class DrawsTiles(Protocol):
    """Draws its picture from tiles, see `envs.grid.tile_atlas` for the format."""

    def tiles(self) -> bytes:
        """Return the current picture as packed cell codes; its second and third byte are columns and rows."""
        ...

    def atlas(self) -> TileAtlas:
        """Return the pictures of the tiles."""
        ...


_T = TypeVar("_T")
_HARMLESS = (OrderEnforcing, PassiveEnvChecker, TimeLimit)
"""Wrappers of `gymnasium.make` that change neither observations nor actions."""


def plain(env: gymnasium.Env[Any, Any], capability: type[_T]) -> _T | None:
    """Return the bare environment if it has a capability and no wrapper changes what it says, else None."""
    while isinstance(env, _HARMLESS):
        env = env.env
    return env if _has(type(env), capability) else None  # type: ignore[return-value]


def _has(made_by: type, capability: type) -> bool:
    """Return whether a class has a capability; asking a protocol takes longer than a step of CartPole."""
    answer = _ANSWERS.get((made_by, capability))
    if answer is None:
        answer = _ANSWERS[made_by, capability] = issubclass(made_by, capability)
    return answer


_ANSWERS: dict[tuple[type, type], bool] = {}
