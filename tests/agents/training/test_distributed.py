"""Several processes, started by torchrun, train what one would; they end together, and can be resumed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import yaml
from safetensors.numpy import load_file
from tutelage.agents.policy.checkpoint import load
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.distributed import ALONE, Processes
from tutelage.datasets.simulation.simulated_crowd import simulate
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError

SUITE = suite_from(
    {
        "suite": "three",
        "tasks": [
            {
                "id": "cartpole",
                "env": "CartPole-v1",
                "max_steps": 30,
                "success": "return >= 25",
                "expert": "cartpole",
                "instruction": "keep the pole upright",
            },
            {"id": "short", "env": "CartPole-v1", "max_steps": 7, "expert": "cartpole"},
            {"id": "taxi", "env": "Taxi-v3", "success": "reward > 0", "expert": "taxi"},
        ],
    }
)
CONFIG = TrainConfig(
    size=1,
    steps=6,
    batch_steps=64,
    window=8,
    warmup=2,
    cooldown=0.01,  # none: the rate does not depend on the number of steps
    dropout=0.0,
    history_dropout=0.0,
    threads=1,
    workers=1,
    device="cpu",
    evaluate_every=4,
    select_episodes=2,
    save_every=3,
)
PATIENCE = 250
"""Seconds until a test gives up on a condition, on a machine that is busy with other work."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store.create(tmp_path_factory.mktemp("crowd") / "store", SUITE)
    simulate(SUITE, made, {"cartpole": 8, "short": 6, "taxi": 8})
    return made


@pytest.fixture(scope="module")
def alone(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    out = tmp_path_factory.mktemp("alone")
    train([store], out, CONFIG)
    return out


@pytest.fixture
def launch(store: Store, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start torchrun with a number of processes, in a folder that is not the checkout's."""
    started: list[subprocess.Popen[str]] = []

    def start(count: int, out: Path, config: TrainConfig, *flags: str) -> subprocess.Popen[str]:
        settings = tmp_path / f"{out.name}.yaml"
        settings.write_text(yaml.safe_dump(asdict(config)))
        words = ["tutelage", "train", str(store.path), "--out", str(out), "--config", str(settings), *flags]
        started.append(torchrun(count, ["-m", *words], tmp_path))
        return started[-1]

    yield start
    for process in started:
        end(process)


def torchrun(count: int, words: list[str], folder: Path) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    return subprocess.Popen(
        [*program, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TUTELAGE_PROGRESS": "0"},
    )


def end(process: subprocess.Popen[str]) -> None:
    """End a torchrun that still runs, with its processes, which are in sessions of their own."""
    if process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in children:
            child.kill()
    process.communicate()


def finish(process: subprocess.Popen[str], status: int = 0) -> str:
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, output
    return output


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < limit
        time.sleep(0.05)


def expect_same_weights(first: Path, second: Path) -> None:
    """Fail unless two checkpoints agree but for rounding.

    AdamW moves a number whose gradient is rounding alone by a whole step, whatever its sign: one in a
    thousand may differ by that.
    """
    weights, others = (load_file(run / "last" / "policy.safetensors") for run in (first, second))
    assert weights.keys() == others.keys()
    apart = np.concatenate([np.abs(weights[name] - others[name]).ravel() for name in weights])
    assert np.quantile(apart, 0.999) < 1e-4
    assert apart.max() < 2 * CONFIG.steps * CONFIG.table_learning_rate


def step_of(run: Path) -> int:
    data = (run / "state.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return int(json.loads(header["__metadata__"]["state"])["facts"]["step"])


@pytest.mark.slow
def test_two_processes_train_what_one_trains(
    launch: Callable[..., subprocess.Popen[str]], alone: Path, tmp_path: Path
) -> None:
    output = finish(launch(2, tmp_path / "two", CONFIG))
    expect_same_weights(alone, tmp_path / "two")
    losses = [
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (alone, tmp_path / "two")
    ]
    (alone_line,), (line,) = ([line for line in lines if "loss" in line] for lines in losses)
    assert line["loss"] == pytest.approx(alone_line["loss"], rel=1e-4)
    assert line["task_loss"] == pytest.approx(alone_line["task_loss"], rel=1e-4)
    # the first process evaluates and prints, the other prints nothing
    assert [line["step"] for line in losses[1] if "select" in line] == [4, 6]
    assert output.count("who teaches how much") == output.count("kept policy: ") == 1
    assert load(tmp_path / "two" / "kept").lineage["select"].keys() == {"cartpole", "short", "taxi"}


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_run_is_resumed_with_another_number_of_processes(
    launch: Callable[..., subprocess.Popen[str]], alone: Path, tmp_path: Path, before: int, after: int
) -> None:
    finish(launch(before, tmp_path / "run", replace(CONFIG, steps=3)))
    finish(launch(after, tmp_path / "run", CONFIG, "--resume"))
    expect_same_weights(alone, tmp_path / "run")


@pytest.mark.slow
def test_a_stop_saves_the_state_and_is_told_once(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = launch(2, tmp_path / "run", replace(CONFIG, steps=100_000, evaluate_every=100_000))
    wait_for((tmp_path / "run" / "state.safetensors").exists, process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    (step,) = re.findall(r"tutelage: stopped; saved at step ([\d]+) of", output)
    assert step_of(tmp_path / "run") == int(step)
    finish(launch(1, tmp_path / "run", replace(CONFIG, steps=int(step) + 1), "--resume"))


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run_and_the_state_is_saved(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = launch(2, tmp_path / "run", replace(CONFIG, steps=100_000, save_every=100_000))
    wait_for((tmp_path / "run" / "metrics.jsonl").exists, process)
    wait_for(lambda: "loss" in (tmp_path / "run" / "metrics.jsonl").read_text(), process)
    (second,) = (
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if child.environ().get("RANK") == "1"
    )
    second.kill()
    output = finish(process, 1)  # torchrun's status for a process that failed
    (step,) = re.findall(r"tutelage: .*saved at step ([\d]+) of", output)
    assert step_of(tmp_path / "run") == int(step)


@pytest.mark.slow
def test_an_error_of_one_process_is_told_once_and_ends_all(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text(
        "import sys\n"
        "from tutelage.agents.training.distributed import joined\n"
        "from tutelage.errors import TutelageError\n"
        "try:\n"
        "    with joined() as processes:\n"
        "        processes.wait()\n"
        "        if processes.rank == 1:\n"
        "            raise TutelageError('expected this, got that')\n"
        "        processes.wait()\n"
        "except TutelageError as error:\n"
        "    print('told:', error, flush=True)\n"
        "    sys.exit(2)\n"
    )
    process = torchrun(2, [str(script)], tmp_path)
    try:
        output = finish(process, 1)
    finally:
        end(process)
    assert re.findall("told: .*", output) == ["told: expected this, got that"]
    assert "exitcode  : 2" in output


@pytest.mark.slow
def test_an_error_of_all_processes_is_told_once(
    launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    output = finish(launch(2, tmp_path / "run", replace(CONFIG, self_imitation=1)), 1)
    (told,) = re.findall("tutelage: (.*)", output)
    assert told.startswith("expected one process for --self-imitation, got 2; ")


def test_a_process_alone_waits_for_nobody() -> None:
    with ALONE.first_alone():
        ALONE.wait()
    weight = torch.nn.Parameter(torch.ones(2))
    table = torch.ones(3)
    ALONE.add_up([weight], table)
    assert weight.grad is None
    assert table.tolist() == [1, 1, 1]
    assert ALONE.tell({"step": 3}) == {"step": 3}


def test_several_processes_compute_on_processors_or_on_gpus_of_their_own() -> None:
    Processes(0, 2, 2).expect_device(torch.device("cpu"))
    with pytest.raises(TutelageError, match="expected device cpu or cuda for 2 processes, got mps"):
        Processes(0, 2, 2).expect_device(torch.device("mps"))
    with pytest.raises(
        TutelageError, match=f"as this machine has GPUs .{torch.cuda.device_count()}., got 99"
    ):
        Processes(0, 99, 99).expect_device(torch.device("cuda"))
