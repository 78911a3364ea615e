"""A counter to be brought to a target: a toy environment that has every capability but tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from tutelage.envs.capabilities import HumanInput, InputOutcome, ReplayedEpisodes, SimulatedEpisodes, Stepped

LIMIT, FAR = 30, 9
WORDS = ("below", "there", "above")
EXPERT = "tutelage.tests.support.counter_env:CounterExpert"


class State(NamedTuple):
    count: int
    target: int
    steps: int


class CounterEnv(gymnasium.Env[dict[str, Any], int]):
    """Actions: less, more. The target follows from the seed; `taken` counts the steps of all environments."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    taken = 0

    def __init__(self, render_mode: str | None = None, limit: int = LIMIT, far: int = FAR) -> None:
        self.render_mode, self.limit, self.far = render_mode, limit, far
        self.observation_space = spaces.Dict(
            {
                "count": spaces.Box(-9999, 9999, (1,), np.float32),
                "target": spaces.Discrete(2 * far + 1, start=-far),
                "word": spaces.Text(9),
            }
        )
        self.action_space = spaces.Discrete(2)
        self.state = State(0, 0, 0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        super().reset(seed=seed)
        distance = int(self.np_random.integers(self.far // 2 + 1, self.far + 1))
        self.state = State(0, distance if self.np_random.integers(2) else -distance, 0)
        return self.observation(), {}

    def step(self, action: int) -> Stepped:
        CounterEnv.taken += 1
        count = self.state.count + (1 if action else -1)
        self.state = State(count, self.state.target, self.state.steps + 1)
        is_there = count == self.state.target
        return self.observation(), float(is_there), is_there, self.state.steps >= self.limit, {}

    def observation(self) -> dict[str, Any]:
        count, target, _ = self.state
        word = WORDS[int(np.sign(count - target)) + 1]
        return {"count": np.array([count], np.float32), "target": target, "word": word}

    def render(self) -> Any:
        picture = np.zeros((20, 40, 3), np.uint8)
        picture[:, : 20 + self.state.count % 20] = 200
        return picture

    # ReplaysMany

    def replay_many(self, seeds: np.ndarray, starts: np.ndarray, actions: np.ndarray) -> ReplayedEpisodes:
        counts, targets, words, rewards, terminated, truncated = [], [], [], [], [], []
        for seed, start, end in zip(seeds.tolist(), starts[:-1], starts[1:], strict=True):
            self.reset(seed=seed)
            path = np.concatenate(([0], np.cumsum(2 * actions[start:end, 0] - 1)))
            target = self.state.target
            counts.append(path)
            targets.append(np.full(len(path), target))
            words += [WORDS[side] for side in np.sign(path - target).astype(int) + 1]
            terminated.append(path[1:] == target)
            truncated.append(np.arange(1, len(path)) >= self.limit)
            rewards.append(terminated[-1].astype(np.float64))
        observations = {
            "count": np.concatenate(counts).astype(np.float32)[:, None],
            "target": np.concatenate(targets),
            "word": np.array(words, object),
        }
        return ReplayedEpisodes(
            observations, np.concatenate(rewards), np.concatenate(terminated), np.concatenate(truncated)
        )

    # Simulates

    @classmethod
    def simulated_expert(cls) -> str:
        return EXPERT

    def simulate(
        self, profiles: np.ndarray, keys: np.ndarray, random_seeds: np.ndarray, seeds: np.ndarray
    ) -> SimulatedEpisodes:
        episodes = []
        for n, (slip, give_up, against, *_) in enumerate(profiles):
            generator = np.random.default_rng(random_seeds[n])
            slip = 1.0 if generator.random() < against else slip
            self.reset(seed=int(seeds[n]))
            count, actions = 0, []
            while count != self.state.target and len(actions) < self.limit and generator.random() >= give_up:
                slipped = generator.random() < slip
                actions.append(generator.choice(keys) if slipped else int(self.state.target > count))
                count += 1 if actions[-1] else -1
            episodes.append(actions)
        starts = np.concatenate(([0], np.cumsum([len(actions) for actions in episodes])))
        times = np.concatenate([200 * np.arange(1, len(actions) + 1) for actions in episodes])
        return SimulatedEpisodes(np.concatenate(episodes)[:, None].astype(np.float64), times, starts)

    # Snapshots

    def snapshot(self) -> tuple[State, Any]:
        return self.state, self.np_random.bit_generator.state

    def restore(self, snapshot: tuple[State, Any]) -> dict[str, Any]:
        self.state, self.np_random.bit_generator.state = snapshot
        return self.observation()

    # StepsTogether

    together: list[int] = []  # noqa: RUF012
    """How many environments were stepped, call after call."""

    @classmethod
    def most_together(cls) -> int:
        return 3

    @classmethod
    def reset_together(
        cls, environments: Sequence[CounterEnv], seeds: Sequence[int | None]
    ) -> list[tuple[Any, dict[str, Any]]]:
        return [env.reset(seed=seed) for env, seed in zip(environments, seeds, strict=True)]

    @classmethod
    def step_together(cls, environments: Sequence[CounterEnv], actions: Sequence[Any]) -> list[Stepped]:
        cls.together.append(len(environments))
        return [env.step(action) for env, action in zip(environments, actions, strict=True)]

    # ReadsInput

    def input_reader(self) -> HalvesReader:
        return HalvesReader()


class Forgetful(CounterEnv):
    """Its snapshots are wrong, in a way that is an argument."""

    def __init__(self, wrong: str = "", **arguments: Any) -> None:
        super().__init__(limit=100_000, far=200, **arguments)
        self.wrong = wrong

    def snapshot(self) -> Any:
        if self.wrong == "raises":
            raise RuntimeError("no room")
        return self if self.wrong == "shares" else super().snapshot()

    def restore(self, snapshot: Any) -> Any:
        if self.wrong == "shares":
            self.state = snapshot.state
            return self.observation()
        return super().restore(snapshot) | {"target": 7}


class HalvesReader:
    """A click on the left half of the picture is less, on the right half more."""

    def hear(self, human_input: HumanInput) -> InputOutcome:
        if human_input.kind not in ("click", "tap"):
            return InputOutcome()
        return InputOutcome(action=int(human_input.x >= 20))

    def go_on(self) -> InputOutcome:
        return InputOutcome()


class CounterExpert:
    """Goes to the target; made from the environment, as a suite's `expert:` says."""

    def __init__(self, env: Any) -> None:
        self._env = env.unwrapped

    def act(self, observation: Any) -> int:
        return int(self._env.state.target > self._env.state.count)


gymnasium.register("Counter-v0", "tutelage.tests.support.counter_env:CounterEnv")
gymnasium.register("ShortCounter-v0", "tutelage.tests.support.counter_env:CounterEnv", max_episode_steps=4)
gymnasium.register(
    "LongCounter-v0", "tutelage.tests.support.counter_env:CounterEnv", kwargs={"limit": 100_000, "far": 200}
)
gymnasium.register("Forgetful-v0", "tutelage.tests.support.counter_env:Forgetful")
