"""A store larger than memory is trained on: its columns are mapped, and decoded batch by batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tutelage.agents.evaluation.actors import ChanceActor
from tutelage.agents.evaluation.rollout import rollout
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.tests.support.toy_long_page import CHARACTERS, STEPS

SHARE = 3
"""The columns are at least so many times as large as what training may allocate."""
EPISODES, TOGETHER = 130, 2

_TRAIN = """
import sys, threading, time
from pathlib import Path
import tutelage.tests.support.toy_long_page
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.datasets.store import Store


def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def watch():
    while True:
        sizes.append(anonymous())
        time.sleep(0.02)


settings = dict(size=1, steps=6, batch_steps=16, window=4, warmup=2, threads=1, workers=1, device="cpu")
small, large, out = map(Path, sys.argv[1:])
train([Store.open(small)], out / "small", TrainConfig(weights="none", **settings))  # imports what it needs
sizes = [anonymous()]
threading.Thread(target=watch, daemon=True).start()
train([Store.open(large)], out / "large", TrainConfig(weights="none", **settings))
print(max(sizes) - sizes[0])
"""


def recorded(folder: Path, episodes: int) -> Store:
    suite = suite_from({"suite": "long", "tasks": [{"id": "long", "env": "toys/LongPageToy-v0"}]})
    store = Store.create(folder, suite)
    for first in range(0, episodes, TOGETHER):
        seeds = range(first, first + TOGETHER)
        store.append(rollout(ChanceActor(), suite["long"], seeds, suite_name=suite.name, keep=True))
    return store


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read as on Linux")
def test_training_holds_a_small_part_of_its_columns(tmp_path: Path) -> None:
    small, large = (recorded(tmp_path / str(episodes), episodes) for episodes in (TOGETHER, EPISODES))
    assert EPISODES * STEPS * CHARACTERS > 500 << 20
    made = subprocess.run(
        [sys.executable, "-P", "-c", _TRAIN, str(small.path), str(large.path), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "run" / "large" / "kept").is_dir()
    columns = sum(path.stat().st_size for path in (large.path / "columns").rglob("*") if path.is_file())
    assert columns > 500 << 20
    assert int(made.stdout.splitlines()[-1]) < columns / SHARE
