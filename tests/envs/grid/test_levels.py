"""Levels: worlds that are a pure function of the seed, spread as minigrid's are, and always solvable."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minigrid.envs.babyai import unlock
from minigrid.envs.babyai.goto import GoToImpUnlock
from scipy import stats
from tutelage.envs.grid.cells import CELL_CODES, COLORS, EMPTY, TYPES
from tutelage.envs.grid.environment import find_level
from tutelage.envs.grid.generation import generate
from tutelage.envs.grid.language import sentence
from tutelage.envs.grid.levels import LEVELS, Level
from tutelage.envs.grid.planner.memory import empty_memory, forget
from tutelage.envs.grid.planner.planner import advise
from tutelage.envs.grid.state import NOWHERE, VIEW, GridState, empty_grids
from tutelage.envs.grid.stepping import reset_all, step_one
from tutelage.envs.registry import registry
from tutelage.errors import TutelageError

SEEDS = 250
PEERS = [name for name in LEVELS if name != "PutNext"]


class MendedUnlock(unlock.Unlock):
    """minigrid's level with the numbers that its `is` was written for: Python's own small integers."""

    def _rand_int(self, low: int, high: int) -> int:
        return int(super()._rand_int(low, high))


class MendedImpUnlock(GoToImpUnlock):
    """See MendedUnlock."""

    def _rand_int(self, low: int, high: int) -> int:
        return int(super()._rand_int(low, high))


def worlds_of(level: Level, seeds: range) -> GridState:
    worlds = empty_grids(len(seeds), level.height, level.width)
    packed = np.repeat(level.packed()[None], len(seeds), 0)
    images, directions = np.zeros((len(seeds), VIEW, VIEW, 3), np.uint8), np.zeros(len(seeds), np.int64)
    everyone = np.ones(len(seeds), np.bool_)
    assert reset_all(worlds, packed, np.array(seeds, np.int64), everyone, images, directions)
    return worlds


def features(things: list[tuple[str, str, int]], mission: str, agent: tuple[int, int, int]) -> dict[str, Any]:
    """Describe a world by what can be counted: its objects as (kind, colour, state), what is asked, where."""
    kinds = Counter(kind for kind, _, _ in things)
    return {
        "doors": kinds["door"],
        "keys": kinds["key"],
        "red things": sum(color == "red" for _, color, _ in things),
        "locked doors": sum(state == 2 for _, _, state in things),
        "clauses": sum(mission.count(verb) for verb in ("go to", "pick up", "open", "put ")),
        "order": 2 * (", then" in mission) + ("after you" in mission),
        "first word": ("go", "pick", "open", "put").index(mission.split()[0]),
        "words": len(mission.split()),
        "column": agent[0],
        "direction": agent[2],
    }


def ours(name: str) -> list[dict[str, Any]]:
    worlds = worlds_of(LEVELS[name], range(SEEDS))
    found = []
    for b in range(SEEDS):
        looks = [int(code) for code in worlds.cells[b].ravel() if CELL_CODES[code, 0] in (4, 5, 6, 7)]
        things = [
            (TYPES[CELL_CODES[code, 0]], COLORS[CELL_CODES[code, 1]], int(CELL_CODES[code, 2]))
            for code in looks
        ]
        found.append(features(things, sentence(worlds, b), tuple(worlds.state["agent"][b].tolist())))
    return found


def theirs(name: str) -> list[dict[str, Any]]:
    registry()
    mended = {"Unlock": MendedUnlock, "GoToImpUnlock": MendedImpUnlock}
    world: Any = mended[name]() if name in mended else None
    if world is None:
        world = gymnasium.make(f"BabyAI-{name}-v0", disable_env_checker=True).unwrapped
    found = []
    for seed in range(SEEDS):
        with contextlib.redirect_stdout(io.StringIO()):
            world.reset(seed=seed)
        things = [
            (one.type, one.color, int(one.encode()[2]))
            for one in world.grid.grid
            if one is not None and one.type != "wall"
        ]
        found.append(features(things, world.mission, (*map(int, world.agent_pos), int(world.agent_dir))))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_worlds_are_spread_as_minigrids(name: str) -> None:
    mine, peer = ours(name), theirs(name)
    for feature in mine[0]:
        one, other = [row[feature] for row in mine], [row[feature] for row in peer]
        values = sorted(set(one) | set(other))
        if len(values) == 1:
            continue
        table = np.array([[sample.count(value) for value in values] for sample in (one, other)])
        assert stats.chi2_contingency(table).pvalue > 1e-5, (feature, table)


def test_put_next_has_the_objects_of_pickup_and_asks_for_two() -> None:
    rows = ours("PutNext")
    assert {row["first word"] for row in rows} == {3}
    assert np.mean([row["keys"] for row in rows]) == pytest.approx(6, abs=0.4)


@pytest.mark.parametrize("name", ["Unlock", "GoToImpUnlock"])
def test_the_key_never_lies_behind_its_own_door(name: str) -> None:
    worlds = worlds_of(LEVELS[name], range(200))
    for b in range(200):
        door, key = worlds.state["where"][b, 1], worlds.state["where"][b, 2]  # made first
        assert CELL_CODES[worlds.cells[b, door[1], door[0]]].tolist()[2] == 2
        # the key can be reached by somebody who opens every door but this one
        assert tuple(key) in reachable(worlds, b, tuple(door))


def reachable(worlds: GridState, b: int, shut: tuple[int, int]) -> set[tuple[int, int]]:
    x, y = (int(one) for one in worlds.state["agent"][b, :2])
    distances, waiting = {(x, y)}, [(x, y)]
    while waiting:
        x, y = waiting.pop()
        for near in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
            if (
                near in distances
                or near == shut
                or TYPES[CELL_CODES[worlds.cells[b, near[1], near[0]], 0]] == "wall"
            ):
                continue
            distances.add(near)
            if (
                worlds.cells[b, near[1], near[0]] == EMPTY
                or CELL_CODES[worlds.cells[b, near[1], near[0]], 0] == 4
            ):
                waiting.append(near)
    return distances


@pytest.mark.parametrize("name", LEVELS)
def test_a_world_is_a_function_of_its_seed(name: str) -> None:
    many = worlds_of(LEVELS[name], range(20, 40))
    for b in (0, 7, 19):
        one = worlds_of(LEVELS[name], range(20 + b, 21 + b))
        assert np.array_equal(one.cells[0], many.cells[b])
        assert one.state[0] == many.state[b]
    assert len({many.cells[b].tobytes() for b in range(20)}) == 20


@pytest.mark.parametrize("name", LEVELS)
def test_the_expert_solves_every_world_in_time(name: str) -> None:
    level = LEVELS[name]
    worlds, minds = empty_grids(1, level.height, level.width), empty_memory(1, level.height, level.width)
    for seed in range(150):
        assert generate(worlds, 0, level.packed(), seed)
        forget(minds, 0)
        fulfilled = late = False
        while not (fulfilled or late):
            _, fulfilled, late = step_one(worlds, 0, advise(worlds, minds, 0))
        assert fulfilled, seed


def test_asking_the_expert_twice_changes_nothing() -> None:
    level = LEVELS["BossLevel"]
    worlds, minds = empty_grids(1, level.height, level.width), empty_memory(1, level.height, level.width)
    for seed in range(10):
        generate(worlds, 0, level.packed(), seed)
        forget(minds, 0)
        for _ in range(60):
            action = advise(worlds, minds, 0)
            assert advise(worlds, minds, 0) == action
            if step_one(worlds, 0, action)[1]:
                break


@pytest.mark.parametrize("name", ["BossLevel", "PutNextLocal", "GoToImpUnlock", "UnblockPickup"])
def test_the_expert_takes_over_from_anybody(name: str) -> None:
    level, generator = LEVELS[name], np.random.default_rng(1)
    worlds, minds = empty_grids(1, level.height, level.width), empty_memory(1, level.height, level.width)
    solved = 0
    for seed in range(40):
        generate(worlds, 0, level.packed(), seed)
        forget(minds, 0)
        fulfilled = late = False
        while not (fulfilled or late):
            action = advise(worlds, minds, 0)
            if generator.random() < 0.3:
                action = int(generator.choice(5))  # anything but opening boxes, which destroys them
            _, fulfilled, late = step_one(worlds, 0, action)
        solved += fulfilled
    assert solved >= 38


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(LEVELS)), st.integers(0, 2**62), st.lists(st.integers(0, 6), max_size=80))
def test_nothing_is_lost_or_doubled_whatever_is_pressed(name: str, seed: int, keys: list[int]) -> None:
    level = LEVELS[name]
    worlds = empty_grids(1, level.height, level.width)
    generate(worlds, 0, level.packed(), seed)
    state = worlds.state[0]
    count = int((state["codes"] > 0).sum())
    for key in keys:
        step_one(worlds, 0, key)
    lying = worlds.things[0][worlds.things[0] > 0].tolist()
    held = [int(state["carried"][1])] if state["carried"][1] else []
    assert len(set(lying + held)) == len(lying + held) <= count
    assert 5 in keys or len(lying + held) == count  # an opened box is gone
    for thing in range(1, count + 1):
        x, y = state["where"][thing].tolist()
        assert thing in lying if x != NOWHERE else thing not in lying
        assert x == NOWHERE or worlds.things[0, y, x] == thing
    x, y, direction = state["agent"].tolist()
    assert TYPES[CELL_CODES[worlds.cells[0, y, x], 0]] in ("empty", "door")
    assert direction in range(4)


@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [
        ("GoToLocl", {}, "did you mean 'GoToLocal'?"),
        ("GoTo", {"room_sise": 5}, "did you mean 'room_size'?"),
        ("GoTo", {"room_size": 2}, "expected room_size from 4 to 40, got 2"),
        ("PutNextLocal", {"distractors": 1}, "expected distractors from 2 to 18, got 1"),
        ("Open", {"rows": 1, "columns": 1}, "there must be a door"),
        ("Synth", {"rows": 1, "columns": 1}, "expected two rooms or more where locked_percent is 50"),
    ],
)
def test_a_level_that_cannot_be_is_refused(name: str, options: dict[str, Any], wanted: str) -> None:
    with pytest.raises(TutelageError, match=wanted.replace("?", r"\?")):
        find_level(name, **options)
