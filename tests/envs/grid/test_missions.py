"""Instructions are minigrid's: worlds and instructions copied from it are judged alike at every step."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from minigrid.envs.babyai.core import verifier
from minigrid.utils.baby_ai_bot import BabyAIBot
from tutelage.envs.grid.cells import COLORS, EMPTY, TYPES
from tutelage.envs.grid.dynamics import observe
from tutelage.envs.grid.language import sentence
from tutelage.envs.grid.levels import LEVELS
from tutelage.envs.grid.missions import begin
from tutelage.envs.grid.state import (
    AFTER,
    ALONE,
    ANY,
    GO_TO,
    OPEN,
    PICK_UP,
    PUT_NEXT,
    THEN,
    VIEW,
    GridState,
    empty_grids,
)
from tutelage.envs.grid.stepping import step_one
from tutelage.envs.registry import registry

NAMES = [name for name in LEVELS if name != "PutNext"]
PLACES = (None, "left", "right", "front", "behind")
VERBS = {
    verifier.GoToInstr: GO_TO,
    verifier.PickupInstr: PICK_UP,
    verifier.OpenInstr: OPEN,
    verifier.PutNextInstr: PUT_NEXT,
}
MEDDLING = [0.16, 0.16, 0.32, 0.14, 0.1, 0.1, 0.02]
"""How often a random player turns, goes ahead, picks up, drops, toggles and says that it is done."""


def made(name: str, seed: int) -> Any:
    registry()  # minigrid prints what it rejects until this has silenced it
    environment = gymnasium.make(f"BabyAI-{name}-v0", disable_env_checker=True)
    environment.reset(seed=seed)
    return environment.unwrapped


def copied(world: Any) -> GridState:
    """Copy a BabyAI world of minigrid at its start, with its instruction."""
    worlds = empty_grids(1, world.height, world.width)
    state, count = worlds.state[0], 0
    for x in range(world.width):
        for y in range(world.height):
            thing = world.grid.get(x, y)
            if thing is None:
                worlds.cells[0, y, x] = EMPTY
            elif thing.type != "wall":
                count += 1
                kind, color, door = (int(one) for one in thing.encode())
                worlds.cells[0, y, x] = state["codes"][count] = kind * 18 + color * 3 + door
                worlds.things[0, y, x] = count
                state["where"][count] = x, y
    state["agent"] = (*world.agent_pos, world.agent_dir)
    state["rooms"] = world.room_size, world.num_cols, world.num_rows
    state["limits"] = world.max_steps
    copy_instruction(state, world.instrs)
    begin(worlds, 0)
    return worlds


def copy_instruction(state: Any, instruction: Any) -> None:
    sequence = isinstance(instruction, verifier.BeforeInstr | verifier.AfterInstr)
    state["order"] = ALONE
    if sequence:
        state["order"] = THEN if isinstance(instruction, verifier.BeforeInstr) else AFTER
    halves = [instruction.instr_a, instruction.instr_b] if sequence else [instruction]
    for half, part in enumerate(halves):
        both = isinstance(part, verifier.AndInstr)
        for at, clause in enumerate([part.instr_a, part.instr_b] if both else [part]):
            row = state["clauses"][2 * half + at]
            row[0] = VERBS[type(clause)]
            if row[0] == PUT_NEXT:
                row[1:] = [*description(clause.desc_move), *description(clause.desc_fixed)]
            else:
                row[1:4] = description(clause.desc)


def description(one: Any) -> tuple[int, int, int]:
    color = ANY if one.color is None else COLORS.index(one.color)
    return TYPES.index(one.type), color, PLACES.index(one.loc)


def compare(world: Any, actions: list[int]) -> str:
    """Step both; returns how the episode ended."""
    mine = copied(world)
    assert sentence(mine, 0) == world.mission
    image, direction = np.zeros((1, VIEW, VIEW, 3), np.uint8), np.zeros(1, np.int64)
    for action in actions:
        seen, reward, terminated, truncated, _ = world.step(action)
        assert step_one(mine, 0, action) == (reward, terminated, truncated)
        observe(mine, image, direction)
        assert np.array_equal(image[0], seen["image"])
        assert direction[0] == seen["direction"]
        if terminated or truncated:
            return "fulfilled" if terminated else "late"
    return "going on"


def expert_actions(world: Any, meddling: float, seed: int) -> list[int]:
    """Let minigrid's own bot play, its keys sometimes replaced, until the end or until it is lost."""
    bot, generator = BabyAIBot(world), np.random.default_rng(seed)
    search = bot._breadth_first_search

    def counted(*arguments: Any, **named: Any) -> Any:
        if bot.bfs_counter > 1000:  # on a few seeds it searches for ever
            raise RuntimeError
        return search(*arguments, **named)

    bot._breadth_first_search = counted
    taken: list[int] = []
    while len(taken) < min(world.max_steps, 600):
        try:
            action = int(bot.replan(taken[-1] if taken else None))
        except Exception:  # the bot's own: it does not know what to do after other people's actions
            break
        if generator.random() < meddling:
            action = int(generator.choice(7, p=MEDDLING))
        taken.append(action)
        if any(world.step(action)[2:4]):
            break
    return taken


def play_both(name: str, worlds: int, first: int = 0) -> list[str]:
    """Compare on some worlds: random keys, the bot's, and the bot's with every fourth key replaced."""
    generator, endings = np.random.default_rng(first), []
    for seed in range(first, first + worlds):
        compare(made(name, seed), generator.choice(7, 200, p=MEDDLING).tolist())
        compare(made(name, seed), expert_actions(made(name, seed), 0.25, seed))
        endings.append(compare(made(name, seed), expert_actions(made(name, seed), 0.0, seed)))
    return endings


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_judged_as_minigrid_does(name: str) -> None:
    assert "fulfilled" in play_both(name, 4)


@pytest.mark.exam
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", NAMES)
def test_two_hundred_worlds_a_level_are_judged_as_minigrid_does(name: str) -> None:
    assert play_both(name, 200, first=1000).count("fulfilled") > 150
