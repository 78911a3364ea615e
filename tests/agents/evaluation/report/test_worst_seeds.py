"""Replays show what the environment drew, to the pixel, of the seeds that say most."""

from __future__ import annotations

import base64
import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor
from tutelage.agents.evaluation.comparison import Comparison
from tutelage.agents.evaluation.report.worst_seeds import (
    LONGEST_SIDE,
    TILE,
    EpisodeFilm,
    render,
    worst_seeds,
)
from tutelage.agents.evaluation.rollout import rollout
from tutelage.agents.evaluation.rows import SCHEMA
from tutelage.envs.suite import load_suite, suite_from
from tutelage.envs.task import TEST
from tutelage.envs.task_env import TaskEnv
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.support.played import play
from tutelage.tests.support.toy_numbers import MODULE
from tutelage.tests.support.toy_numbers import SUITE as NUMBERS

SUITE = load_suite("first-steps")


def pictures(play: EpisodeFilm) -> list[np.ndarray]:
    """Put the pictures together again, as the page does."""
    data = base64.b64decode(play.atlas.partition(",")[2])
    atlas = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    columns = atlas.shape[1] // TILE
    across, down = -(-play.width // TILE), -(-play.height // TILE)
    screen = np.zeros((down * TILE, across * TILE, 3), np.uint8)
    shown = []
    for changes in play.moments:
        for place, tile in zip(changes[::2], changes[1::2], strict=True):
            y, x = divmod(place, across)
            v, u = divmod(tile, columns)
            screen[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE] = atlas[
                v * TILE : (v + 1) * TILE, u * TILE : (u + 1) * TILE
            ]
        shown.append(screen[: play.height, : play.width].copy())
    return shown


def test_every_picture_is_the_environments_own_to_the_pixel() -> None:
    task = SUITE["goto-local"]
    (trajectory,) = rollout(ChanceActor(), task, TEST.first(1), suite_name="s")
    play = render(trajectory, task, "chance")
    assert play.exact
    environment = TaskEnv(task, rgb=True)
    environment.reset(trajectory.seed)
    wanted = [environment.frame()]
    for row in trajectory.actions:
        environment.step(row)
        wanted.append(environment.frame())
    assert play.at == list(range(len(trajectory) + 1))
    for got, frame in zip(pictures(play), wanted, strict=True):
        assert np.array_equal(got, frame)


def test_long_and_large_episodes_are_thinned_but_keep_both_ends() -> None:
    task = SUITE["cartpole"]
    (trajectory,) = rollout(ExpertActor(), task, TEST.first(1), suite_name="s")
    play = render(trajectory, task, "expert", budget=9_000)
    assert (play.at[0], play.at[-1]) == (0, len(trajectory))
    assert len(play.at) < 201
    assert len(play.atlas) <= 9_000
    assert max(play.width, play.height) <= LONGEST_SIDE
    assert len(play.actions) == len(play.rewards) == len(trajectory)
    assert set(play.actions) == {"push left", "push right"}


def test_actions_without_a_key_go_by_the_environments_names() -> None:
    task = SUITE["goto-red-ball-grey"]
    (trajectory,) = rollout(ChanceActor(), task, TEST.first(1), suite_name="s")
    assert {"turn left", "forward", "pickup", "toggle"} <= set(render(trajectory, task, "chance").actions)


def test_a_replay_that_differs_says_so() -> None:
    task = SUITE["cartpole"]
    (trajectory,) = rollout(ChanceActor(), task, TEST.first(1), suite_name="s")
    trajectory.actions[0] = 1 - trajectory.actions[0]
    assert not render(trajectory, task, "chance").exact


def row(actor: str, kind: str, seed: int, success: bool, steps: int) -> tuple[object, ...]:
    return ("s", "t", actor, kind, actor, seed, success, 0.0, steps, 0.0, f"{actor}{seed}", "")


def test_failures_that_the_expert_solved_come_first_then_longest() -> None:
    policy = [(0, True, 9), (1, False, 5), (2, False, 7), (3, False, 8), (4, True, 30)]
    expert = {0: True, 1: True, 2: True, 3: False, 4: True}
    made = [row("bc", "policy", *one) for one in policy]
    made += [row("bot", "expert", seed, success, 4) for seed, success in expert.items()]
    table = pa.table([list(one) for one in zip(*made, strict=True)], SCHEMA)
    worst = worst_seeds(Comparison(table), "t", 4)
    assert [one.seed for one in worst] == [2, 1, 3, 4]
    assert [one.reason for one in worst[1:3]] == ["failed where the expert succeeded", "failed"]
    assert (worst[0].episode, worst[0].beside) == ("bc2", "bot2")


def test_actions_of_a_space_that_does_not_start_at_0_have_their_own_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, MODULE)
    suite = suite_from({**NUMBERS, "tasks": [{**NUMBERS["tasks"][0], "controls": {"KeyA": 1}}]})
    replayed = render(play(suite, "numbers", 0, [1, 2, 3, 4]), suite["numbers"], "person")
    assert replayed.actions == ["plain", "missing", "endless", "minus"]
    assert replayed.exact, "expected NaN to be NaN again"
