"""The grid world beside minigrid, in one run on one core: steps, worlds made, expert demonstrations.

Steps: random actions with observations, missions and resets; ours through `GridVectorEnv` with 1,024 worlds;
also beside XLand-MiniGrid with as many rooms, in the virtual environment that `make bench` makes. Worlds:
`reset` with a seed. Demonstrations: an episode of the level's expert from its seed to its end, ours with
actions and times written out; minigrid's are its own bot's, where it does not get lost. Rounds alternate;
the median of the rounds is reported. `of_bare_kernel` is our steps' share of a kernel that had MiniGrid's
moves and view and nothing else (no missions, no resets: 9.4 and 7.0 million steps a second, on another
machine of the same kind). `compile` is a first use with an empty cache, everything included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium
import numpy as np
from _figures import figure, tell
from minigrid.utils.baby_ai_bot import BabyAIBot
from tutelage.envs.grid.levels import LEVELS
from tutelage.envs.grid.planner.memory import empty_memory
from tutelage.envs.grid.simulated_players import play_episodes
from tutelage.envs.grid.state import VIEW, empty_grids
from tutelage.envs.grid.stepping import reset_all
from tutelage.envs.grid.vector import GridVectorEnv
from tutelage.envs.registry import registry

BARE = {"GoToRedBallGrey": 9.4e6, "BossLevel": 7.0e6}
WORLDS = 1024
XLAND = {"GoToRedBallGrey": "XLand-MiniGrid-R1-9x9", "BossLevel": "XLand-MiniGrid-R9-25x25"}
HERE = Path(__file__).parent
XLAND_PYTHON = HERE.parent / ".venv" / "xland" / "bin" / "python"
FIRST_USE = """
import time
began = time.perf_counter()
import numpy as np
from tutelage.envs.experts import GridExpert
from tutelage.envs.task_env import TaskEnv
from tutelage.envs.suite import load_suite
from tutelage.envs.grid.vector import GridVectorEnv
world = TaskEnv(load_suite("babyai")["boss-level"])
expert = GridExpert(world)
world.reset(0), expert.reset(), world.step(expert.act())
vector = GridVectorEnv("BossLevel", 2)
vector.reset(seed=0), vector.step(np.zeros(2, int))
print(time.perf_counter() - began)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 50 s")
    parser.add_argument("--xland", type=Path, default=XLAND_PYTHON, help="a Python that has xminigrid")
    parser.add_argument("--out", type=Path, help="also keep the JSON object here")
    options = parser.parse_args()
    registry()
    figures = {}
    for name in BARE:
        figures |= measure(name, rounds=3 if options.quick else 9)
        if options.xland.exists() and not options.quick:
            peer = xland_steps(options.xland, XLAND[name])
            figures[f"{name}_steps_xland"] = figure(peer, "steps/s")
            ours = figures[f"{name}_steps"]["value"]
            figures[f"{name}_steps_beside_xland"] = figure(ours, "steps/s", XLAND[name], ours / peer)
    if not options.quick:
        figures["compile"] = figure(first_use(), "s")
    tell("grid", figures, ("minigrid", "gymnasium", "numba", "numpy"), options.out)


def measure(name: str, rounds: int) -> dict[str, dict[str, Any]]:
    """Measure one level beside minigrid."""
    pairs: dict[str, tuple[Callable[[], float], Callable[[], float], str, float]] = {
        "steps": (vector_steps(name), peer_steps(name), "steps/s", 300),
        "worlds": (worlds_made(name), peer_worlds(name), "worlds/s", 200),
        "demonstrations": (demonstrations(name), peer_demonstrations(name), "demonstrations/s", 100),
    }
    figures = {}
    for what, (mine, peer, unit, budget) in pairs.items():
        mine(), peer()
        rates = [(mine(), peer()) for _ in range(rounds)]
        ours, theirs = (median(column) for column in zip(*rates, strict=True))
        figures[f"{name}_{what}"] = figure(ours, unit, "minigrid", ours / theirs, budget)
        figures[f"{name}_{what}_minigrid"] = figure(theirs, unit)
    share = figures[f"{name}_steps"]["value"] / BARE[name]
    figures[f"{name}_of_bare_kernel"] = figure(share, "of a bare kernel's steps")
    return figures


def rate(count: int, work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def vector_steps(name: str) -> Callable[[], float]:
    vector = GridVectorEnv(name, WORLDS, copy=False)
    vector.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 7, (200, WORLDS))

    def work() -> None:
        for row in actions:
            vector.step(row)

    return lambda: rate(actions.size, work)


def peer_steps(name: str) -> Callable[[], float]:
    world = gymnasium.make(f"BabyAI-{name}-v0", disable_env_checker=True)
    world.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 7, 3000)

    def work() -> None:
        for action in actions:
            if any(world.step(int(action))[2:4]):
                world.reset()

    return lambda: rate(len(actions), work)


def xland_steps(python: Path, name: str) -> float:
    command = [str(python), str(HERE / "peers" / "xland.py"), name, "9"]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def worlds_made(name: str) -> Callable[[], float]:
    level, count = LEVELS[name], 4096
    worlds = empty_grids(count, level.height, level.width)
    packed = np.repeat(level.packed()[None], count, 0)
    images, directions = np.zeros((count, VIEW, VIEW, 3), np.uint8), np.zeros(count, np.int64)
    everyone, seeds = np.ones(count, np.bool_), np.arange(count)
    return lambda: rate(count, lambda: reset_all(worlds, packed, seeds, everyone, images, directions))


def peer_worlds(name: str) -> Callable[[], float]:
    world = gymnasium.make(f"BabyAI-{name}-v0", disable_env_checker=True)
    return lambda: rate(30, lambda: [world.reset(seed=seed) for seed in range(30)])


def demonstrations(name: str) -> Callable[[], float]:
    level, count = LEVELS[name], 4000 if LEVELS[name].rows == 1 else 400
    worlds, minds = empty_grids(1, level.height, level.width), empty_memory(1, level.height, level.width)
    expert = np.tile([0.0, 0.0, 0.0, 0.0, 200.0, 0.0], (count, 1))
    room = count * 160 + 4000
    arguments = (
        *(worlds, minds, level.packed(), np.arange(6), expert),
        *(np.arange(count, dtype=np.uint64), np.arange(count)),
        *(np.zeros(room, np.uint8), np.zeros(room, np.int32), np.zeros(count + 1, np.int64)),
    )
    return lambda: rate(count, lambda: play_episodes(*arguments))


def peer_demonstrations(name: str) -> Callable[[], float]:
    world = gymnasium.make(f"BabyAI-{name}-v0", disable_env_checker=True)
    count = 60 if LEVELS[name].rows == 1 else 12

    def work() -> None:
        for seed in range(count):
            world.reset(seed=seed)
            bot, action = BabyAIBot(world), None
            for _ in range(500):
                try:
                    action = bot.replan(action)
                except Exception:  # the bot's own: it is lost
                    break
                if any(world.step(action)[2:4]):
                    break

    return lambda: rate(count, work)


def first_use() -> float:
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [sys.executable, "-c", FIRST_USE],
            env=os.environ | {"NUMBA_CACHE_DIR": cache},
            capture_output=True,
            text=True,
            check=True,
        )
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
