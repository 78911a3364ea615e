"""A model that Stable-Baselines3 has saved is an expert: `make exam` has that package."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tutelage.datasets.store import Store

pytestmark = [
    pytest.mark.exam,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        importlib.util.find_spec("stable_baselines3") is None, reason="the environment of `make exam` has it"
    ),
]

SUITE = """
suite: learned
tasks:
  - id: pole
    env: CartPole-v1
    max_steps: 50
    success: steps >= 50
    expert: {stable_baselines3:PPO: {load: model.zip, device: cpu}}
    wrappers: [{gymnasium.wrappers:TimeAwareObservation: {normalize_time: true}}]
"""
LEARN = """
import gymnasium
from stable_baselines3 import PPO
made = gymnasium.wrappers.TimeAwareObservation(gymnasium.make("CartPole-v1"), normalize_time=True)
model = PPO("MlpPolicy", made, seed=0, device="cpu", n_steps=128, batch_size=64)
model.learn(128)
model.save("model.zip")
"""
ACTIONS = """
import sys
import gymnasium
from stable_baselines3 import PPO
made = gymnasium.wrappers.TimeAwareObservation(
    gymnasium.make("CartPole-v1", max_episode_steps=500), normalize_time=True
)
model = PPO.load("model.zip", device="cpu")
for seed in range(3):
    observation, _ = made.reset(seed=seed)
    actions, done = [], False
    while not done and len(actions) < 50:
        actions.append(int(model.predict(observation, deterministic=True)[0]))
        observation, _, done, _, _ = made.step(actions[-1])
    print(*actions)
"""
PROGRAM = "from tutelage.cli.main import main; main()"


def test_a_saved_model_plays_as_it_does_by_itself(tmp_path: Path) -> None:
    (tmp_path / "learned.yaml").write_text(SUITE)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("TUTELAGE_TRUST", None)

    def run(program: str, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    run(LEARN)
    expected = [[int(word) for word in line.split()] for line in run(ACTIONS).stdout.splitlines()]
    run(PROGRAM, "simulate", "learned.yaml", "-o", "played", "-n", "3", "--who", "expert", "--workers", "1")
    played = {episode.seed: episode for episode in Store.open(tmp_path / "played").trajectories()}
    assert [played[seed].actions[:, 0].astype(np.int64).tolist() for seed in range(3)] == expected
    # a store that mentions the model lets nothing of it be loaded, and needs it for nothing but its expert
    run(PROGRAM, "inspect", "played")
    train = ("train", "played", "-o", "run", "--steps", "2", "--size", "1", "--select-episodes", "1")
    run(PROGRAM, *train)
    evaluate = ("evaluate", "run", "-o", "measured", "--episodes", "2", "--actor", "expert")
    refused = run(PROGRAM, *evaluate, status=2)
    assert "--trust stable_baselines3" in refused.stderr
    refused = run(PROGRAM, *evaluate, "--trust", "stable_baselines3", status=2)
    assert "model.zip" in refused.stderr
    run(PROGRAM, *evaluate, "--trust", "stable_baselines3", "--trust", str(tmp_path / "model.zip"))
