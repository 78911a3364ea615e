"""Objects that suites of tests name by module: experts, wrappers, success functions, actors, profiles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

NAME = __name__


class Balance:
    """Plays CartPole by what it observes; `gain` is how much the angle counts."""

    def __init__(self, env: gymnasium.Env[Any, Any], gain: float = 9.0) -> None:
        self.env, self.gain, self.episodes = env, gain, 0

    def reset(self) -> None:
        self.episodes += 1

    def act(self, observation: np.ndarray) -> int:
        weights = np.array([0.6, 1.1, self.gain, 2.2])
        return int(weights @ observation[:4] > 0)


class Resigned:
    """Gives up after some steps."""

    def __init__(self, env: Any, steps: int) -> None:
        self.left = steps

    def act(self, observation: Any) -> int | None:
        self.left -= 1
        return 0 if self.left >= 0 else None


class Wrong:
    """Returns what is no action, or raises."""

    def __init__(self, env: Any = None, answer: Any = 7) -> None:
        self.answer = answer

    def act(self, observation: Any) -> Any:
        if self.answer == "raise":
            raise RuntimeError("no idea")
        return self.answer


class Model:
    """A model of the shape of Stable-Baselines3: `load`, then `predict`; its file is JSON."""

    loads = 0

    def __init__(self, weights: list[float]) -> None:
        self.weights = np.array(weights)

    @classmethod
    def load(cls, path: str, device: str = "auto") -> Model:
        Model.loads += 1
        return cls(json.loads(Path(path).read_text()))

    def predict(self, observation: np.ndarray, deterministic: bool = False) -> tuple[np.ndarray, None]:
        assert deterministic
        return np.array(int(self.weights @ observation > 0)), None


class Doubled(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Doubles rewards."""

    def step(self, action: Any) -> Any:
        observation, reward, *rest = self.env.step(action)
        return observation, 2 * float(reward), *rest


class Backwards(gymnasium.ActionWrapper[Any, Any, Any]):
    """Takes the actions the other way round, and one more."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.action_space = gymnasium.spaces.Discrete(3)

    def action(self, action: Any) -> Any:
        return 1 - min(int(action), 1)


def no_wrapper(env: Any) -> int:
    return 3


def lasting(
    rewards: np.ndarray, terminated: bool, truncated: bool, infos: Mapping[str, np.ndarray], least: int = 10
) -> bool | None:
    """Say whether an episode lasted; None for one that was cut off at once."""
    assert rewards.dtype == np.float64
    return None if len(rewards) == 1 else len(rewards) >= least


def confused(rewards: np.ndarray, terminated: bool, truncated: bool, infos: Any) -> str:
    return "yes"


class Alternating:
    """An actor: left, right, left, right; it counts from the beginning of its own episode."""

    def __init__(self, name: str = "alternating") -> None:
        self.name, self.count = name, 0

    def reset(self) -> None:
        self.count = 0

    def act(self, observation: Any) -> int:
        self.count += 1
        return self.count % 2


class Picky:
    """Plays one task only."""

    def plays(self, task: str) -> bool:
        return task == "pole"

    def act(self, observation: Any) -> int:
        return 0


TIRED = {"slip": 0.1, "give_up": 0.02}
MISSPELT = {"slipp": 0.1}
BOLD = {"slip": 3}
