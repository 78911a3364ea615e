"""Work is spread over processes or a Ray cluster, and comes back the same and in order."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tutelage.datasets.store import Store
from tutelage.datasets.workers.parallel import spread
from tutelage.datasets.workers.worker_processes import ProcessEnded
from tutelage.foreign_code.trust import VARIABLE, Untrusted, trust
from tutelage.tests.support import toy_faults
from tutelage.tests.support.command_line import run
from tutelage.tests.support.toy_limit import POLE, limit

RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
}


def told(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from tutelage.cli.main import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | RAY,
    )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a Ray cluster of its own on this machine."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [Path(sys.executable).parent / "ray", "start", "--head", "--block", f"--port={port}"]
    options = ["--num-cpus=2", "--include-dashboard=false", "--node-ip-address=127.0.0.1"]
    log = tmp_path_factory.mktemp("ray") / "log"
    with log.open("w") as written:
        head = subprocess.Popen(
            [*command, *options], env=os.environ | RAY, stdout=written, stderr=subprocess.STDOUT
        )
    address = f"127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            assert head.poll() is None, log.read_text()
            time.sleep(0.1)
        yield address
    finally:
        head.terminate()
        head.wait(60)


def episodes(store: Path) -> list[tuple[Any, ...]]:
    return [
        (one.task, one.seed, one.demonstrator, one.actions.tobytes(), one.digest)
        for one in Store.open(store).trajectories()
    ]


def test_jobs_come_back_in_their_order() -> None:
    numbers = list(range(-20, 20))
    for workers in (1, 2):
        assert list(spread(abs, numbers, workers)) == [abs(one) for one in numbers]


@pytest.mark.soak
def test_a_crowd_over_a_ray_cluster_plays_the_same_episodes(cluster: str, tmp_path: Path) -> None:
    asked = ["simulate", "--suite", "babyai-small", "--demonstrations", "6001", "--out"]
    for more in ([tmp_path / "here"], [tmp_path / "ray", "--ray", cluster]):
        done = told(*asked, *more)
        assert done.returncode == 0, done.stderr
    assert episodes(tmp_path / "ray") == episodes(tmp_path / "here")
    assert len(episodes(tmp_path / "ray")) > 5900  # some lazy ones left before their first step


@pytest.mark.slow
def test_a_job_that_ends_its_process_in_a_cluster_costs_itself_only(cluster: str, tmp_path: Path) -> None:
    script = """if True:
        import sys
        from tutelage.datasets.workers.parallel import spread_safely
        from tutelage.tests.support import toy_faults
        if __name__ == "__main__":
            print(*map(repr, spread_safely(toy_faults.square, range(8), workers=2, ray=sys.argv[1])))
    """
    (tmp_path / "squares.py").write_text(script)
    command = [sys.executable, tmp_path / "squares.py", cluster]
    done = subprocess.run(command, env=os.environ | RAY, capture_output=True, text=True)
    results = done.stdout.splitlines()[-1].split()  # Ray prints of dead workers before
    assert results == ["0", "1", "4", "JobDied()", "16", "25", "36", "49"], done.stderr


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    asked = ["simulate", "babyai-small", "-n", "6", "--out", tmp_path / "store", "--ray", "127.0.0.1:1"]
    done = told(*asked)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "expected a Ray cluster at '127.0.0.1:1'" in line
    assert "ray start --head" in line


def test_a_process_that_ends_by_itself_is_an_error_of_one_line_where_nothing_outlives_it() -> None:
    with pytest.raises(ProcessEnded, match=r"one ended with status 9; lower --workers") as raised:
        list(spread(toy_faults.square, list(range(8)), workers=2))
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_workers_end_with_the_process_that_gave_them_work(tmp_path: Path) -> None:
    script = """if True:
        import sys
        from tutelage.datasets.workers.parallel import spread
        from tutelage.tests.datasets.workers.test_parallel import tell_and_stay
        if __name__ == "__main__":
            list(spread(tell_and_stay, [sys.argv[1]] * 2, workers=2))
    """
    (tmp_path / "killed.py").write_text(script)
    parent = subprocess.Popen([sys.executable, tmp_path / "killed.py", tmp_path])
    try:
        assert within(60, lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    finally:
        parent.kill()
        parent.wait()
    workers = [Path(f"/proc/{one.stem}") for one in tmp_path.glob("*.pid")]
    assert within(20, lambda: not any(one.exists() for one in workers))


def tell_and_stay(folder: str) -> None:
    (Path(folder) / f"{os.getpid()}.pid").touch()
    time.sleep(300)


def within(seconds: float, happens: Callable[[], bool]) -> bool:
    """Wait for something; say whether it came in time."""
    until = time.monotonic() + seconds
    while not (there := happens()) and time.monotonic() < until:
        time.sleep(0.1)
    return there


def test_what_was_trusted_is_trusted_in_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(Untrusted, match=r"task 'pole': .* import the module json; .* --trust json"):
        list(spread(limit, [POLE] * 2, workers=2))
    trust(["json"])
    assert list(spread(limit, [POLE] * 2, workers=2)) == [500, 500]


@pytest.mark.slow
def test_a_cluster_that_was_there_before_trusts_what_its_driver_trusts_and_plays_the_same(
    cluster: str, tmp_path: Path
) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text("{suite: own, tasks: [{id: pole, env: 'json:CartPole-v1', expert: cartpole}]}")
    asked = ["simulate", suite, "-n", "20", "--trust"]
    over_ray = ["--out", tmp_path / "store", "--ray", cluster]
    refused = told(*asked[:-1], *over_ray)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.rstrip().endswith("--trust json")
    done = told(*asked, "json", *over_ray)
    assert done.returncode == 0, done.stderr
    assert "trusting json: module json will run" in done.stderr.splitlines()
    assert run(*asked, "json", "--out", tmp_path / "here").returncode == 0
    assert len(played := episodes(tmp_path / "store")) > 10  # some lazy ones left before their first step
    assert played == episodes(tmp_path / "here")
