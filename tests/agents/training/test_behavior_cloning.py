from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tutelage.agents.policy.checkpoint import load
from tutelage.agents.policy.policy import Policy
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.datasets.quality.weights import DemonstratorWeight
from tutelage.datasets.simulation.simulated_crowd import simulate
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError

SUITE = suite_from(
    {
        "suite": "two",
        "tasks": [
            {
                "id": "cartpole",
                "env": "CartPole-v1",
                "max_steps": 40,
                "success": "return >= 30",
                "expert": "cartpole",
                "instruction": "keep the pole upright",
            },
            {"id": "goto", "env": "BabyAI-GoToRedBallGrey-v0", "success": "reward > 0", "expert": "babyai"},
        ],
    }
)
CONFIG = TrainConfig(
    size=1, steps=24, batch_steps=48, window=8, warmup=4, threads=1, workers=1, save_every=4, evaluate_every=8
)

_TRAIN = """
import sys, yaml
from pathlib import Path
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.datasets.store import Store
from tutelage.errors import TutelageError
from tutelage.console.signals import Stopped
store, out, config, resume = sys.argv[1:]
try:
    train([Store.open(Path(store))], Path(out), TrainConfig.load(config), resume=resume == "resume")
except TutelageError as error:
    print(error)
    sys.exit(2)
except Stopped as error:
    print(error)
    sys.exit(128 + error.number)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store.create(tmp_path_factory.mktemp("crowd"), SUITE)
    simulate(SUITE, made, {"cartpole": 16, "goto": 24})
    return made


@pytest.fixture(scope="module")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whole run, with scores that make the middle checkpoint the best."""
    out = tmp_path_factory.mktemp("run")
    scores = iter((0.2, 0.8, 0.5))

    def evaluate(policy: Policy) -> Mapping[str, float]:
        assert not policy.training
        if policy.memoryless_tasks:  # without memory: better at one task only
            return {"cartpole": 0.0, "goto": 0.9}
        score = next(scores)
        return {"cartpole": score, "goto": 0.1}

    train([store], out, CONFIG, evaluate=evaluate)
    return out


def lines(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def same_weights(one: Path, other: Path) -> bool:
    return (one / "policy.safetensors").read_bytes() == (other / "policy.safetensors").read_bytes()


@pytest.mark.slow
def test_the_kept_checkpoint_is_the_best_on_select_seeds(run: Path) -> None:
    assert load(run / "kept").lineage["step"] == 16
    assert load(run / "last").lineage["step"] == 24
    assert not same_weights(run / "kept", run / "last")


def test_a_run_writes_down_what_it_did(run: Path) -> None:
    written = lines(run)
    assert [one["step"] for one in written if "loss" in one] == [10, 20, 24]
    assert [one["select_mean"] for one in written if "select" in one] == pytest.approx([0.55, 0.85, 0.7])
    assert all(set(one["task_loss"]) == {"cartpole", "goto"} for one in written if "loss" in one)  # type: ignore[call-overload]
    assert list((run / "tensorboard").glob("events*"))
    assert yaml.safe_load((run / "config.yaml").read_text()) == asdict(CONFIG)
    assert load(run / "kept").lineage["parts"]


@pytest.mark.slow
def test_the_loss_falls(store: Store, tmp_path: Path) -> None:
    train([store], tmp_path, replace(CONFIG, steps=80, dropout=0.0))
    losses = [float(one["loss"]) for one in lines(tmp_path)]  # type: ignore[arg-type]
    assert losses[-1] < 0.85 * losses[0]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    store: Store, run: Path, tmp_path: Path
) -> None:
    train([store], tmp_path / "again", CONFIG)
    train([store], tmp_path / "other", replace(CONFIG, seed=1))
    assert same_weights(tmp_path / "again" / "last", run / "last")
    assert not same_weights(tmp_path / "other" / "last", run / "last")


def _spawn(store: Store, out: Path, config: Path, resume: bool = False) -> subprocess.Popen[str]:
    arguments = [str(store.path), str(out), str(config), "resume" if resume else "begin"]
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _TRAIN, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # says that it stopped, where the end of the step takes too long
        text=True,
        cwd=out.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, f"{path.name} never came"
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("weights", [pytest.param("outcome", marks=pytest.mark.soak), "both"])
def test_killed_and_resumed_equals_never_killed_bit_for_bit(
    store: Store, tmp_path: Path, weights: str
) -> None:
    config = replace(CONFIG, steps=36, dropout=0.2, weights=weights)
    config.save(tmp_path / "config.yaml")
    out = tmp_path / "killed"
    process = _spawn(store, out, tmp_path / "config.yaml")
    _wait_for(out / "state.safetensors", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "last").exists(), "the run ended before it was killed"
    resumed = _spawn(store, out, tmp_path / "config.yaml", resume=True)
    printed, _ = resumed.communicate(timeout=200)
    assert resumed.returncode == 0, printed
    train([store], tmp_path / "whole", config)
    assert same_weights(out / "last", tmp_path / "whole" / "last")
    assert (out / "state.safetensors").read_bytes() == (tmp_path / "whole" / "state.safetensors").read_bytes()
    shown = [[one["loss"] for one in lines(one)] for one in (out, tmp_path / "whole")]
    assert shown[0] == shown[1]


@pytest.mark.slow
def test_control_c_saves_says_so_and_can_be_resumed(store: Store, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=60)
    config.save(tmp_path / "config.yaml")
    out = tmp_path / "run"
    process = _spawn(store, out, tmp_path / "config.yaml")
    _wait_for(out / "state.safetensors", process)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "of 60 in" in printed
    assert "--resume" in printed
    stopped = load(out / "last").lineage["step"]
    assert 4 <= stopped < 60
    train([store], out, config, resume=True)
    assert load(out / "last").lineage["step"] == 60
    train([store], tmp_path / "whole", config)
    assert same_weights(out / "last", tmp_path / "whole" / "last")


def test_resuming_with_another_configuration_is_refused(store: Store, run: Path) -> None:
    with pytest.raises(TutelageError, match=r"expected --batch-steps 48, which .* was begun with, got 50"):
        train([store], run, replace(CONFIG, batch_steps=50), resume=True)


def test_a_damaged_state_is_refused_in_one_line(store: Store, run: Path, tmp_path: Path) -> None:
    CONFIG.save(tmp_path / "config.yaml")
    (tmp_path / "state.safetensors").write_bytes((run / "state.safetensors").read_bytes()[:1000])
    with pytest.raises(TutelageError, match=r"SHA-256 differs.*train anew in another folder"):
        train([store], tmp_path, CONFIG, resume=True)


@pytest.mark.slow
def test_failures_teach_nothing_by_default(store: Store, tmp_path: Path) -> None:
    outcome, every = tmp_path / "outcome", tmp_path / "none"
    train([store], outcome, CONFIG)
    train([store], every, replace(CONFIG, weights="none"))
    assert not same_weights(outcome / "last", every / "last")


@pytest.mark.slow
def test_what_everyone_weighs_is_told_before_training(store: Store, tmp_path: Path) -> None:
    told: list[DemonstratorWeight] = []
    train([store], tmp_path, replace(CONFIG, steps=1, weights="both"), tell=told.extend)
    assert len(told) == len({one.demonstrator for one in store.trajectories()})
    assert all(0 <= one.weight <= 1 and one.reason for one in told)
    assert any(one.expertise is not None for one in told)


def test_training_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match="at least one store"):
        train([], tmp_path, CONFIG)


def test_threads_are_put_back(store: Store, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    train([store], tmp_path, replace(CONFIG, steps=1))
    assert torch.get_num_threads() == before


def test_weights_are_finite(run: Path) -> None:
    assert all(np.isfinite(one.numpy()).all() for one in load(run / "last").policy.state_dict().values())
