"""The Gymnasium faces of the grid world: one environment, and a vector of thousands that equals it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from tutelage.envs.grid.cells import CELL_CODES, COLORS, cell_code
from tutelage.envs.grid.environment import GridEnv
from tutelage.envs.grid.levels import LEVELS
from tutelage.envs.grid.render import as_text, draw_image, draw_view, draw_world
from tutelage.envs.grid.vector import GridVectorEnv

COUNT, STEPS = 12, 150


def same(one: dict[str, Any], many: dict[str, Any], b: int) -> bool:
    return (
        np.array_equal(one["image"], many["image"][b])
        and one["direction"] == many["direction"][b]
        and one["mission"] == many["mission"][b]
    )


@pytest.mark.parametrize("name", LEVELS)
def test_every_level_passes_gymnasiums_own_exam(name: str) -> None:
    environment = gymnasium.make(f"tutelage/{name}-v0", render_mode="rgb_array")
    check_env(environment.unwrapped)
    environment.close()


def test_a_snapshot_goes_on_as_before() -> None:
    environment = GridEnv("BossLevel")
    environment.reset(seed=5)
    keys = np.random.default_rng(0).integers(0, 6, 60)
    for key in keys[:20]:
        environment.step(int(key))
    kept = environment.snapshot()
    first = [environment.step(int(key)) for key in keys]
    environment.restore(kept)
    second = [environment.step(int(key)) for key in keys]
    assert all(
        np.array_equal(a[0]["image"], b[0]["image"]) and a[1:4] == b[1:4]
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_a_vector_is_many_single_environments(mode: str, threads: int) -> None:
    levels = ["GoToRedBallGrey", "BossLevel", "PickupLoc"]
    vector = GridVectorEnv(levels, COUNT, autoreset_mode=mode, threads=threads)
    singles = [GridEnv(levels[b % 3]) for b in range(COUNT)]
    seen, _ = vector.reset(seed=3)
    began = [one.reset(seed=3 + b)[0] for b, one in enumerate(singles)]
    assert all(same(began[b], seen, b) for b in range(COUNT))
    over, ended = [False] * COUNT, 0
    generator = np.random.default_rng(1)
    for _ in range(STEPS):
        actions = generator.choice(7, COUNT, p=[0.2, 0.2, 0.4, 0.1, 0.05, 0.05, 0.0])
        before = [single.grids.state["seeds"][0] for single in singles]
        seen, rewards, terminated, truncated, infos = vector.step(actions)
        for b, alone in enumerate(singles):
            if over[b]:
                seed = int(vector.grids.state["seeds"][b])
                assert seed != before[b]
                assert same(alone.reset(seed=seed)[0], seen, b)
                assert (rewards[b], terminated[b], truncated[b]) == (0, False, False)
                over[b] = False
                continue
            last, *outcome, _ = alone.step(int(actions[b]))
            assert outcome == [rewards[b], terminated[b], truncated[b]]
            done = bool(terminated[b] or truncated[b])
            ended += done
            if done and mode == "SameStep":
                assert infos["_final_obs"][b]
                assert np.array_equal(infos["final_obs"][b]["image"], last["image"])
                assert infos["final_obs"][b]["mission"] == last["mission"]
                assert same(alone.reset(seed=int(vector.grids.state["seeds"][b]))[0], seen, b)
            else:
                assert same(last, seen, b)
                over[b] = done
    assert ended > COUNT
    vector.close()


def test_gymnasium_makes_vectors_and_resets_some_of_them() -> None:
    vector = gymnasium.make_vec("tutelage/GoToLocal-v0", 4)
    first, _ = vector.reset(seed=0)
    assert vector.observation_space.contains(first)
    mask = np.array([False, True, False, False])
    second, _ = vector.reset(seed=[None, 77, None, None], options={"reset_mask": mask})
    assert np.array_equal(first["image"][0], second["image"][0])
    assert second["mission"][1] == GridEnv("GoToLocal").reset(seed=77)[0]["mission"]
    vector.close()


def test_many_episodes_in_one_call_are_what_single_steps_give() -> None:
    environment, other = GridEnv("SynthSeq"), GridEnv("SynthSeq")
    generator = np.random.default_rng(2)
    lengths = [5, 1, 30]
    begins = np.concatenate(([0], np.cumsum(lengths)))
    actions = generator.integers(0, 6, (begins[-1], 1))
    played = environment.replay_many(np.array([4, 9, 2]), begins, actions.astype(float))
    observed = played.observations
    for n, seed in enumerate((4, 9, 2)):
        seen, _ = other.reset(seed=seed)
        assert observed["mission"][begins[n] + n] == seen["mission"]
        assert np.array_equal(observed["image"][begins[n] + n], seen["image"])
        for t in range(begins[n], begins[n + 1]):
            seen, reward, terminated, truncated, _ = other.step(int(actions[t, 0]))
            assert np.array_equal(observed["image"][t + n + 1], seen["image"])
            assert observed["direction"][t + n + 1] == seen["direction"]
            got = played.rewards[t], played.terminated[t], played.truncated[t]
            assert got == (reward, terminated, truncated)


def test_rooms_and_distractors_can_be_chosen() -> None:
    environment = GridEnv("GoTo", room_size=5, rows=2, columns=2, distractors=3)
    environment.reset(seed=0)
    assert environment.grids.cells.shape == (1, 9, 9)
    kinds = CELL_CODES[environment.grids.cells[0], 0]
    assert np.isin(kinds, (5, 6, 7)).sum() == 3
    assert environment.max_steps == 25 * 4


def test_a_picture_tells_apart_what_a_person_must() -> None:
    names = ["ball", "key", "box", "door"]
    looks = [cell_code(name, color) for name in names for color in COLORS]
    looks += [cell_code("door", color, state) for color in COLORS for state in ("closed", "locked")]
    looks += [cell_code(name, "green") for name in ("wall", "empty", "unseen", "floor", "goal", "lava")]
    image = np.zeros((7, 7, 3), np.uint8)
    pictures = set()
    for code in looks:
        image[1, 2] = CELL_CODES[code]
        picture = draw_image(image, 16)
        assert picture.shape == (112, 112, 3)
        pictures.add(picture.tobytes())
    assert len(pictures) == len(looks)


def test_the_world_from_above_shows_what_is_in_view_and_which_way_the_agent_looks() -> None:
    environment = GridEnv("GoToObj", render_mode="rgb_array", perspective="world", tile=16)
    environment.reset(seed=1)
    picture = environment.render()
    assert picture.shape == (128, 128, 3)
    assert picture.dtype == np.uint8
    environment.step(0)
    assert not np.array_equal(draw_world(environment.grids, 0, 16), picture)
    assert draw_view(environment.grids, 0, 16).shape == (112, 112, 3)


def test_text_is_as_minigrid_prints_it() -> None:
    environment = GridEnv("GoToObj", render_mode="ansi")
    environment.reset(seed=1)
    mission, *rows = environment.render().split("\n")
    assert mission.startswith("go to the ")
    assert rows[0] == "WG" * 8
    assert sum(arrow in as_text(environment.grids, 0) for arrow in (">>", "VV", "<<", "^^")) == 1
