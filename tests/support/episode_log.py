"""A format of another package: what a test puts into EPISODES, and a JSON document a line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tutelage.api.store import Store
from tutelage.envs.suite import suite_from
from tutelage.envs.task_env import TaskEnv

SUITE = {"suite": "poles", "tasks": [{"id": "pole", "env": "CartPole-v1", "success": "return >= 9"}]}


def played(seed: int, steps: int = 12) -> dict[str, Any]:
    """Play an episode as another project would keep it."""
    environment = TaskEnv(suite_from(SUITE)["pole"])
    step = environment.reset(seed)
    observations, rewards, actions = [step.observation[""]], [], []
    while not step.done and len(actions) < steps:
        actions.append(len(actions) % 2)
        step = environment.step(np.array([float(actions[-1])]))
        observations.append(step.observation[""])
        rewards.append(step.reward)
    return {
        "observations": np.array(observations),
        "actions": actions,
        "rewards": rewards,
        "terminated": step.terminated,
    }


EPISODES: list[Any] = []


def read(source: str, sign: int = 1) -> Iterator[Any]:
    assert source == "somewhere"
    for episode in EPISODES:
        if isinstance(episode, BaseException):
            raise episode
        yield episode


class Lines:
    """A format with both ways: a JSON document a line."""

    @staticmethod
    def write(store: Store, folder: str) -> list[str]:
        lines = [json.dumps({"actions": episode.actions.tolist(), "seed": episode.seed}) for episode in store]
        (Path(folder) / "episodes.jsonl").write_text("\n".join(lines))
        return ["It holds actions only."]

    @staticmethod
    def read(folder: str) -> Iterator[dict[str, Any]]:
        for line in (Path(folder) / "episodes.jsonl").read_text().splitlines():
            yield played(json.loads(line)["seed"]) | {"seed": json.loads(line)["seed"]}


class Fails:
    @staticmethod
    def write(store: Store, folder: str) -> None:
        (Path(folder) / "half").write_text("")
        raise ValueError("no more paper")


class Odd:
    """Writers that go wrong in their own ways."""

    def write(self, store: Store, folder: str, how: str = "") -> Any:
        os.chdir("/")
        (Path(folder) / "half").write_text("")
        if how == "nothing":
            (Path(folder) / "half").unlink()
        if how == "number":
            return 5
        if how == "exit":
            raise SystemExit(0)
        if how == "gone":
            shutil.rmtree(folder)
        return (f"one{line}\ntwo" for line in ([1 / 0] if how == "lazily" else [""]))
