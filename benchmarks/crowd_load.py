"""How many people one core serves: simulated players over real WebSockets, the server on a core of its own.

The server is `tutelage record` as it is, with the processes of its environments, all pinned to one core; the
players are in this process, on another. Grid players press ten keys a second each, whatever comes back, and
an episode is kept when it ends; the delay is from the moment a key is due to its answer (a frame, or a line
where the picture stays the same), as the player's socket sees it. Real-time players balance CartPole-v1 at 30
frames a second by what they see; a frame is late when it comes more than half a period after its deadline, or
not at all. Afterwards the database is asked for every step that any player was told is saved.

A core is within the budget while the 99th percentile of the delay is at most 25 ms. Beside it stands what
CrowdPlay (Gerstgrasser et al., ICLR 2022) plans with: 6 players a machine, 80 MB a minute and player.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import psutil
import uvloop
import yaml
from _figures import figure, tell
from _players import GridPlayer, Player, PolePlayer

BUDGET_MS, PLAYERS, CROWDPLAY_PLAYERS, CROWDPLAY_MB = 25.0, 500, 6, 80.0
REAL_TIME_PLAYERS, LATE_SHARE = 60, 0.01
RECORD = "from tutelage.cli.main import main; main()"
SUITE = {
    "suite": "load",
    "tasks": [
        {
            "id": "grid",
            "env": "tutelage/GoToRedBallGrey-v0",
            "controls": {"ArrowLeft": 0, "ArrowRight": 1, "ArrowUp": 2},
        },
        {
            "id": "pole",
            "env": "CartPole-v1",
            "controls": {"ArrowLeft": 0, "ArrowRight": 1},
            "pace": {"fps": 30, "idle": 0},
        },
    ],
}
P = TypeVar("P", bound=Player)


@dataclass(frozen=True)
class Server:
    """A recorder that runs, and its folder."""

    address: str
    folder: Path
    process: psutil.Process

    def seconds(self) -> float:
        """Return the processor time of the server and all its processes so far."""
        return sum(sum(one.cpu_times()[:2]) for one in self._all())

    def bytes(self) -> int:
        """Return the memory that the server and its processes do not share with others."""
        return sum(one.memory_full_info().uss for one in self._all())

    def _all(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@dataclass(frozen=True)
class Measured:
    """What some seconds of play came to."""

    players: int
    seconds: float
    actions: int
    server_seconds: float
    client_seconds: float
    delays_ms: np.ndarray

    @property
    def p99(self) -> float:
        """The 99th percentile of the delay in ms; endless where most keys had no answer."""
        return float(np.percentile(self.delays_ms, 99)) if len(self.delays_ms) else float("inf")

    @property
    def share(self) -> float:
        """How much of its core the server used, in percent."""
        return 100 * self.server_seconds / self.seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 50 s")
    parser.add_argument("--out", type=Path, help="also keep the JSON object here")
    parser.add_argument(
        "--players", type=int, nargs="+", help="how many grid players, growing until the budget is missed"
    )
    parser.add_argument("--poles", type=int, default=REAL_TIME_PLAYERS, help="how many real-time players")
    parser.add_argument("--seconds", type=float, help="how long each count is measured")
    options = parser.parse_args()
    counts = options.players or ([PLAYERS] if options.quick else list(range(PLAYERS, 1001, 50)))
    seconds = options.seconds or (6 if options.quick else 30)
    gc.disable()  # a look for garbage among a thousand players would stop all of their clocks
    figures = on_grids(counts, seconds) | in_real_time(options.poles, seconds)
    tell("crowd_load", figures, ("uvicorn", "uvloop", "websockets", "starlette", "sqlalchemy"), options.out)


def on_grids(counts: Sequence[int], seconds: float) -> dict[str, dict[str, Any]]:
    """Let more and more people play grid worlds on one server; returns the figures."""
    with serving() as server:
        base = server.bytes()
        players, found, memory, traffic = uvloop.run(_grow(server, counts, seconds))
        steps, lost = look_up(server.folder, players)
    within = max((one.players for one in found if one.p99 <= BUDGET_MS), default=0)
    at = found[0]
    figures = {
        "players_per_core": figure(
            within,
            "players",
            "CrowdPlay's 6 a machine",
            within / CROWDPLAY_PLAYERS,
            PLAYERS / CROWDPLAY_PLAYERS,
        ),
        "action_to_frame_p50": figure(float(np.percentile(at.delays_ms, 50)), "ms"),
        "action_to_frame_p99": figure(at.p99, "ms", "25 ms", BUDGET_MS / at.p99, 1.0),
        "actions": figure(at.actions / at.seconds, "actions/s"),
        "server_per_action": figure(at.server_seconds / at.actions * 1e6, "us of processor"),
        "player_per_action": figure(at.client_seconds / at.actions * 1e6, "us of processor"),
        "server_share": figure(at.share, "% of a core"),
        "memory": figure((memory - base) / at.players / 1024, "KiB/seat"),
        "traffic": figure(traffic, "MB/min and player", "CrowdPlay's 80", CROWDPLAY_MB / traffic, 1.0),
        "steps_checked": figure(steps, "steps"),
        "steps_lost": figure(lost, "steps"),
        "errors": figure(sum(len(one.errors) for one in players), "messages"),
    }
    for one in found[1:]:
        figures[f"p99_of_{one.players}"] = figure(one.p99, "ms")
        figures[f"server_share_of_{one.players}"] = figure(one.share, "% of a core")
    return figures


def in_real_time(count: int, seconds: float) -> dict[str, dict[str, Any]]:
    """Let people balance poles in real time; returns the figures."""
    with serving() as server:
        players, measured = uvloop.run(_balance(server, count, seconds))
        _, lost = look_up(server.folder, players)
    frames, late = sum(one.frames for one in players), sum(one.late for one in players)
    share = late / frames
    return {
        "late_frames": figure(100 * share, "%", "1 %", LATE_SHARE / max(share, 1e-4), 1.0),
        "real_time_frames": figure(measured.actions / measured.seconds, "frames/s"),
        "real_time_per_step": figure(measured.server_seconds / measured.actions * 1e6, "us of processor"),
        "real_time_share": figure(measured.share, "% of a core"),
        "real_time_lost": figure(lost, "steps"),
    }


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Run a recorder on the first core, and this process on the last."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "load.yaml"
        suite.write_text(yaml.safe_dump(SUITE, sort_keys=False), "utf-8")
        command = [sys.executable, "-c", RECORD, "record", str(suite), "-o", f"{folder}/out"]
        os.sched_setaffinity(0, {cores[0]})
        process = subprocess.Popen(
            [*command, "--no-browser", "--port", "0", "--episodes", "1000000"],
            stdout=subprocess.PIPE,
            text=True,
        )
        os.sched_setaffinity(0, {cores[-1]})
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline(), process.stdout.readline()]
            address = lines[1].split("http://")[1].split("/")[0]
            wait_until_served(address)
            time.sleep(4)  # the processes of its environments have come up
            yield Server(address, Path(folder) / "out", psutil.Process(process.pid))
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
            os.sched_setaffinity(0, set(cores))


def wait_until_served(address: str) -> None:
    """Wait for the first page; kernels may have to be compiled before."""
    for _ in range(600):
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"http://{address}/")
            return
        time.sleep(0.1)
    raise TimeoutError("the server did not begin to serve within a minute")


async def _grow(
    server: Server, counts: Sequence[int], seconds: float
) -> tuple[list[GridPlayer], list[Measured], int, float]:
    players: list[GridPlayer] = []
    found: list[Measured] = []
    memory, traffic = 0, 0.0
    for count in counts:
        players += await seated(server, "grid", GridPlayer, count - len(players), len(players))
        await asyncio.sleep(2)
        before = sum(one.traffic for one in players)
        found.append(await measure(server, players, seconds))
        print(f"{count} players: p99 {found[-1].p99:.1f} ms, {found[-1].share:.0f} % of a core", flush=True)
        if len(found) == 1:
            memory = server.bytes()
            moved = sum(one.traffic for one in players) - before
            traffic = moved / 1e6 / (found[0].seconds / 60) / count
        if found[-1].p99 > BUDGET_MS:
            break  # a fuller server would not let the next ones in
    await part(players)
    return players, found, memory, traffic


async def _balance(server: Server, count: int, seconds: float) -> tuple[list[PolePlayer], Measured]:
    players = await seated(server, "pole", PolePlayer, count, 0)
    await asyncio.sleep(2)
    for one in players:
        one.stop()
        one.frames = one.late = 0
    measured = await measure(server, players, seconds)
    await part(players)
    return players, measured


async def seated(
    server: Server, task: str, kind: Callable[[str, str, str, random.Random], P], count: int, first: int
) -> list[P]:
    """Seat players, some at a time, as a crowd comes."""
    loop = asyncio.get_running_loop()
    host, port = server.address.rsplit(":", 1)

    async def sit(number: int) -> P:
        # one client each: cookies are a seat, and must not be shared
        async with httpx.AsyncClient(verify=False) as client:
            answer = await client.get(f"http://{server.address}/")
        cookie = answer.headers["set-cookie"].split(";")[0]
        player = kind(server.address, cookie, task, random.Random(number))
        await loop.create_connection(lambda: player, host, int(port))
        await asyncio.wait_for(player.ready, 30)
        return player

    players: list[P] = []
    for at in range(first, first + count, 10):
        players += await asyncio.gather(*(sit(n) for n in range(at, min(at + 10, first + count))))
    return players


async def measure(server: Server, players: Sequence[Player], seconds: float) -> Measured:
    """Let everybody play for some seconds, and see what it costs."""
    for one in players:
        if isinstance(one, GridPlayer):
            one.delays.clear()
    actions, began = sum(one.actions for one in players), time.perf_counter()
    server_seconds, client_seconds = server.seconds(), time.process_time()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    delays = [delay for one in players if isinstance(one, GridPlayer) for delay in one.delays]
    return Measured(
        players=len(players),
        seconds=took,
        actions=sum(one.actions for one in players) - actions,
        server_seconds=server.seconds() - server_seconds,
        client_seconds=time.process_time() - client_seconds,
        delays_ms=np.array(delays) * 1000,
    )


async def part(players: Sequence[Player]) -> None:
    """Stop playing, hear what is saved, and go."""
    for one in players:
        one.stop()
    await asyncio.sleep(1)
    for one in players:
        one.close()
    await asyncio.sleep(0.2)


def look_up(folder: Path, players: Sequence[Player]) -> tuple[int, int]:
    """Look every acknowledged step up in the database; returns how many there were, and how many are not."""
    query = "select episode, count(*), max(step) from steps where not dropped group by episode"
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite")) as journal:
        there = {episode: min(count, last) for episode, count, last in journal.execute(query)}
    told = {episode: saved for one in players for episode, saved in one.saved.items()}
    return sum(told.values()), sum(max(0, saved - there.get(one, 0)) for one, saved in told.items())


if __name__ == "__main__":
    main()
