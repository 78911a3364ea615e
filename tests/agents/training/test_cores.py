"""Training takes the cores that are free, waits without spinning, and says when it is far too slow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tutelage.agents.training import cores
from tutelage.agents.training.cores import CpuUsage, ThroughputMonitor, allowed_cores, threads_for


def test_torch_waits_passively_unless_it_is_told_otherwise() -> None:
    program = "import os; import tutelage.agents.training.config; print(os.environ['OMP_WAIT_POLICY'])"
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "KMP_"))}
    for given, expected in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, env=bare | given, check=True)
        assert done.stdout.strip() == expected


def test_threads_are_as_many_as_cores_are_free_and_never_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cores, "allowed_cores", lambda: 8)
    assert [threads_for(free) for free in (0.0, 0.3, 1.0, 1.5, 1.7, 7.9, 30.0)] == [1, 1, 1, 1, 2, 8, 8]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_for(30.0) == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores can be bound on Linux only")
def test_cores_that_the_process_is_not_bound_to_are_not_counted() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert allowed_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


OLD = {"cpu/x/cpu.cfs_period_us": "100000"}
"""The period of a quota in control groups of version 1."""


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc": "0::/a/b\n", "a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 1.5),
        ({"proc": "0::/\n", "cpu.max": "300000 100000"}, 3.0),
        ({"proc": "4:cpu,cpuacct:/x\n", **OLD, "cpu/x/cpu.cfs_quota_us": "50000"}, 0.5),
        ({"proc": "4:cpu:/x\n", **OLD, "cpu/x/cpu.cfs_quota_us": "-1"}, float("inf")),
        ({"proc": "0::/none\n"}, float("inf")),
    ],
)
def test_the_quota_of_a_control_group_counts(files: dict[str, str], expected: float, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores.quota(tmp_path, tmp_path / "proc") == expected


def test_what_others_take_is_not_free() -> None:
    before, after = CpuUsage(0.0, 10.0, 5.0), CpuUsage(2.0, 11.0, 7.0)
    assert after.free_since(before) == pytest.approx(1.5)  # half a core was idle, one was ours


def test_a_rate_far_below_the_best_is_said_once_and_again_after_it_was_well() -> None:
    told: list[int] = []
    pace = ThroughputMonitor(2, told.append)
    notes = [pace.rate(rate) for rate in (5.0, 5.2, 4.0, 2.0, 1.5, 4.9, 0.03)]
    assert told == [2]
    assert [bool(text) for text in notes] == [False, False, False, True, False, False, True]
    assert notes[3].startswith("2 steps/s, where this machine has done 5.2")
    assert "--threads 1" in notes[3]
    assert notes[6].startswith("0.03 steps/s")
