"""A store that cannot be written is trained on and exported: locks, caches and notes lie elsewhere."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tutelage.agents.evaluation.report.sections import demonstrations
from tutelage.cli.main import app
from tutelage.datasets.arrays.task_arrays import load_columns
from tutelage.datasets.formats.lerobot.exporter import export_lerobot
from tutelage.datasets.inspection import inspect
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError
from tutelage.files.state_folder import CACHE_VARIABLE, STATE_VARIABLE
from tutelage.tests.support.disks import read_only
from typer.testing import CliRunner

UNPRIVILEGED = 65534


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a folder that other users can enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def poles(place: Path, demonstrate: Any) -> Store:
    suite = suite_from({"suite": "real", "tasks": [{"id": "pole", "env": "CartPole-v1"}]})
    store = Store.create(place / "poles", suite)
    environment = TaskEnv(suite["pole"])
    store.append([demonstrate(environment, seed, suite="real")[0] for seed in range(4)])
    return store


@pytest.fixture
def mounted(poles: Store, place: Path) -> Iterator[Path]:
    """Show the store a second time, on a file system that is read-only."""
    with read_only(poles.path, place / "mounted") as folder:
        yield folder


def replayed(path: Path) -> int:
    told: list[int] = []
    load_columns([Store.open(path)], cache=True, progress=told.append)
    return sum(told)


def run(*words: str) -> None:
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None:
        raise result.exception
    assert result.exit_code == 0, result.output


def test_train_and_export_read_a_store_on_a_read_only_disk(mounted: Path, tmp_path: Path) -> None:
    before = sorted(mounted.rglob("*"))
    run("train", str(mounted), "-o", str(tmp_path / "run"), "--steps", "1")
    assert replayed(mounted) == 0  # training has kept the columns elsewhere
    assert export_lerobot(Store.open(mounted), tmp_path / "lerobot")
    run("inspect", str(mounted), "--workers", "1")
    run("quality", str(mounted), "--no-experts")
    assert sorted(mounted.rglob("*")) == before
    with pytest.raises(TutelageError, match="expected to write to"):
        Store.open(mounted).forget("ann")


def test_a_store_of_another_user_is_read_as_it_is(poles: Store, place: Path) -> None:
    """The same where nothing can be mounted: by a user who may write nowhere but in their own folders."""
    if os.geteuid() != 0:
        pytest.skip("needs the right to become another user; the same is tested on a read-only disk")
    home = place / "own"
    home.mkdir()
    os.chown(home, UNPRIVILEGED, UNPRIVILEGED)
    replayed(poles.path)
    shutil.rmtree(poles.path / "columns")  # everything that is needed is imported now

    def work() -> None:
        os.environ |= {STATE_VARIABLE: str(home / "state"), CACHE_VARIABLE: str(home / "cache")}
        assert [replayed(poles.path), replayed(poles.path)] == [4, 0]
        assert demonstrations([Store.open(poles.path)], poles.suite)
        assert inspect(Store.open(poles.path)).problems == []
        with pytest.raises(TutelageError, match="expected to write to"):
            poles.append(list(poles.trajectories()))

    assert demonstrations([poles], poles.suite)
    assert inspect(poles).problems == []
    assert as_unprivileged_user(work)
    assert sorted(path.name for path in home.iterdir()) == ["cache", "state"]
    assert not (poles.path / "columns").exists()


def as_unprivileged_user(work: Callable[[], None]) -> bool:
    """Do some work as a user without rights, in a process of its own; True when it came to its end."""
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            os.setgroups([])
            os.setgid(UNPRIVILEGED)
            os.setuid(UNPRIVILEGED)
            work()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return status == 0
