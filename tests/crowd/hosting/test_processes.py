"""How the processes of environments start."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tutelage.crowd.hosting.processes import start_method
from tutelage.crowd.hosting.remote_host import RemoteHost
from tutelage.crowd.hosting.worker_pool import WorkerPool
from tutelage.crowd.storage.journal_records import EpisodeRecord
from tutelage.envs.suite import load_suite


def test_a_long_folder_of_temporary_files_has_no_room_for_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    assert start_method() == "forkserver"
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + 34 * "é")
    assert start_method() == "spawn"


def test_environments_begin_whatever_the_folder_of_temporary_files(tmp_path: Path) -> None:
    folder = tmp_path / ("scratch-" + 60 * "x")
    folder.mkdir()
    program = "from tutelage.tests.crowd.hosting.test_processes import begin; begin()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert (done.stdout, done.returncode) == ("begun\n", 0), done.stderr


def begin() -> None:
    """Begin an episode in a process of a pool."""

    async def story() -> None:
        suite = load_suite("CartPole-v1")
        pool = WorkerPool(suite, 1)
        try:
            record = EpisodeRecord("seat", "ada", suite.name, "CartPole-v1", "CartPole-v1", 5, b"")
            host = RemoteHost(suite["CartPole-v1"], pool, pictures=False)
            await host.begin(record)
            print("begun")
        finally:
            await pool.close()

    asyncio.run(story())
