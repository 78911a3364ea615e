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

ALLOWED = 96 << 20
"""Bytes that training may allocate beyond what its imports take."""
EPISODES, TOGETHER = 70, 2

_TRAIN = """
import resource, sys
from pathlib import Path
import tutelage.tests.support.toy_long_page
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.datasets.store import Store

store, out, allowed = sys.argv[1:]
(line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData")]
limit = 1024 * int(line.split()[1]) + int(allowed)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
settings = dict(size=1, steps=6, batch_steps=16, window=4, warmup=2, threads=1, workers=1, device="cpu")
train([Store.open(Path(store))], Path(out), TrainConfig(weights="none", **settings))
"""


@pytest.mark.slow
def test_columns_three_times_as_large_as_the_memory_are_trained_on(tmp_path: Path) -> None:
    suite = suite_from({"suite": "long", "tasks": [{"id": "long", "env": "toys/LongPageToy-v0"}]})
    store = Store.create(tmp_path / "store", suite)
    for first in range(0, EPISODES, TOGETHER):
        seeds = range(first, first + TOGETHER)
        store.append(rollout(ChanceActor(), suite["long"], seeds, suite_name=suite.name, keep=True))
    assert EPISODES * STEPS * CHARACTERS > 3 * ALLOWED
    words = [str(store.path), str(tmp_path / "run"), str(ALLOWED)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    made = subprocess.run(
        [sys.executable, "-P", "-c", _TRAIN, *words],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "run" / "kept").is_dir()
    columns = sum(path.stat().st_size for path in (store.path / "columns").rglob("*") if path.is_file())
    assert columns > 3 * ALLOWED
