"""Success that stands in info, or that counts if it ever held: one verdict wherever an episode is judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tutelage.agents.evaluation.actors import ChanceActor
from tutelage.agents.evaluation.evaluate import evaluate
from tutelage.agents.evaluation.rollout import rollout
from tutelage.crowd.hosting.host import EpisodePlayer
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.journal_records import EpisodeRecord
from tutelage.crowd.studies.episode_records import has_succeeded
from tutelage.datasets.formats.minari.exporter import export_minari, import_minari
from tutelage.datasets.inspection import inspect
from tutelage.datasets.proof import is_same
from tutelage.datasets.replay import Environments, prove_again, replay, replay_many
from tutelage.datasets.simulation.batch_simulation import play_batch
from tutelage.datasets.simulation.simulated_crowd import crowd
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.preflight import rehearse
from tutelage.envs.success import SuccessRule
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError
from tutelage.foreign_code.trust import trust
from tutelage.tests.support import toy_info

RIGHT, LEFT = 1.0, 0.0
PASSES = [RIGHT] * 4 + [LEFT] * 2  # stands on 2 after the second and the last step
PASSES_BY = [RIGHT] * 6  # stands on 2 after the second step only
NEVER = [LEFT] * 6
assert toy_info.Visits


def suite(rule: str, **task: Any) -> Suite:
    return suite_from(
        {"suite": "visits", "tasks": [{"id": "walk", "env": "toys/Visits-v0", "success": rule} | task]}
    )


def played(rule: str, actions: list[float], **task: Any) -> Trajectory:
    """Play one episode through the world that people play in, and return what is kept of it."""
    [made] = suite(rule, **task)
    player = EpisodePlayer(made, None, with_observations=False)
    player.begin(record())
    for number, action in enumerate(actions):
        player.act(np.array([action]), 100 * number, 0, number)
    return player.finish(record(), 0)[0]


def record() -> EpisodeRecord:
    return EpisodeRecord("seat", "ada", "visits", "walk", "toys/Visits-v0", 3, b"")


@pytest.mark.parametrize(
    ("rule", "verdicts"),
    [
        ("info.success", (True, False, False)),
        ("info['success']", (True, False, False)),
        ("ever(info.success)", (True, True, False)),
        ("not ever(info.success)", (False, False, True)),
        ("ever(info.success and steps < 3)", (True, True, False)),
        ("ever(info.success and steps < 2)", (False, False, False)),
        ("terminated and info.walk.distance < 1", (True, False, False)),
        ("info.walk.return >= 2", (True, True, False)),
        ("info.walk.path[0] == 6", (False, True, False)),
        ("ever(info.walk.distance == 0) and info.walk.distance > 0", (False, True, False)),
        ("info.found", (True, False, False)),  # there only while it is so
        ("info.found != 1", (False, False, False)),  # no comparison holds with what is not there
        ("not info.found", (False, True, True)),
        ("info['by hand'] < 1", (False, False, False)),
        ("info.nowhere.deep", (False, False, False)),
    ],
)
def test_info_is_read_after_the_last_step_and_after_every_one(rule: str, verdicts: tuple[bool, ...]) -> None:
    for actions, verdict in zip((PASSES, PASSES_BY, NEVER), verdicts, strict=True):
        episode = played(rule, actions)
        assert episode.success is verdict, (rule, actions)
        judged = SuccessRule(rule).judge(episode.rewards, True, False, episode.infos)
        assert judged is verdict, (rule, actions)


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ("info", "'info' by itself says nothing; write it like info.success"),
        ("ever", "'ever' by itself says nothing"),
        ("info.success(1)", "Call is not allowed"),
        ("evr(terminated)", "Call is not allowed: 'evr'; did you mean 'ever'?"),
        ("ever()", "ever takes one rule, got 0"),
        ("ever(terminated, truncated)", "ever takes one rule, got 2"),
        ("ever(x=1)", "ever takes one rule, got 1"),
        ("ever(ever(terminated))", "ever inside of ever"),
        ("ever(score > 1)", "unknown name 'score'"),
        ("ever(reward + 1)", "BinOp is not allowed"),
        ("inof.success", "not allowed but of info"),
        ("reward.real > 0", "not allowed but of info"),
        ("info[steps]", "a key in [] must be a text in quotes, or a whole number"),
        ("info['a':'b']", "a key in [] must be"),
        ("info.success == 'yes'", "'yes' is not a number"),
    ],
)
def test_what_is_no_rule_about_info_is_refused_with_its_reason(rule: str, complaint: str) -> None:
    with pytest.raises(TutelageError) as caught:
        suite(rule)
    assert str(caught.value).startswith("the suite: task 'walk': expected a success rule like 'reward > 0'")
    assert repr(rule) in str(caught.value)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("rule", ["info.name", "info.walk", "ever(info.walk.path)"])
def test_what_is_no_number_is_named_before_anything_is_served(rule: str) -> None:
    if rule == "ever(info.walk.path)":
        rehearse(suite("ever(info.walk.path[0])"))
        rule = "ever(info.walk)"
    with pytest.raises(
        TutelageError, match=r"task 'walk': expected info\.\w+ to be a number, true or false, got"
    ):
        rehearse(suite(rule))


def test_a_wrong_key_of_info_is_named_with_the_nearest_before_anything_is_served() -> None:
    message = r"info\.sucess .* got keys success, walk, by hand, name.*; did you mean 'success'\?"
    with pytest.raises(TutelageError, match=message):
        rehearse(suite("ever(info.sucess)"))
    [note] = rehearse(suite("info.nowhere.deep"))
    assert "info.nowhere.deep" in note
    assert rehearse(suite("info.walk.distance < 1")) == []


@pytest.mark.parametrize("fickle", [False, True])
def test_a_store_keeps_what_proves_the_success(fickle: bool, tmp_path: Path) -> None:
    made = suite("ever(info.success)", kwargs={"fickle": fickle})
    episodes = rollout(ChanceActor(), made["walk"], range(12), suite_name="visits", keep=True)
    assert {episode.success for episode in episodes} == {True, False}
    store = Store.create(tmp_path / "store", made)
    with Environments(made) as environments:
        store.append([prove_again(episode, environments, episode.observations or {}) for episode in episodes])
    assert set(store.episodes()["stored"].to_pylist()) == {fickle}
    assert inspect(store).problems == []
    solved = next(episode for episode in store.trajectories() if episode.success)
    lied = Store.create(tmp_path / "lied", made)
    lied.append([replace(solved, success=False)])
    assert any("success to be what the rule" in problem for problem in inspect(lied).problems)
    forged = Store.create(tmp_path / "forged", made)
    forged.append([replace(solved, success=False, infos={"info.success": np.zeros(len(solved))})])
    if not fickle:
        assert any("other values of info.success" in problem for problem in inspect(forged).problems)
    bare = Store.create(tmp_path / "bare", made)
    bare.append([replace(solved, infos={})])
    assert any("expected the values of info.success" in problem for problem in inspect(bare).problems)


def test_info_that_does_not_repeat_itself_is_kept_with_the_observations() -> None:
    episode = played("info.success", PASSES)
    with Environments(suite("info.success")) as environments:
        assert is_same(episode, replay(episode, environments["walk"]))
        other = replace(episode, infos={"info.success": 1 - episode.infos["info.success"]})
        assert prove_again(other, environments, {"": np.zeros(7)}).observations is not None


def test_exports_carry_what_proves_the_success(tmp_path: Path) -> None:
    made = suite("info.walk.distance < 1 or ever(info.found)")
    store = Store.create(tmp_path / "store", made)
    store.append(rollout(ChanceActor(), made["walk"], range(6), suite_name="visits"))
    export_minari(store, "walk-v0", root=tmp_path / "out")
    import_minari(tmp_path / "out", tmp_path / "back")
    for there, back in zip(store.trajectories(), Store.open(tmp_path / "back").trajectories(), strict=True):
        assert there.infos.keys() == back.infos.keys() == {"info.walk.distance", "info.found"}
        assert all(np.array_equal(there.infos[at], back.infos[at], equal_nan=True) for at in there.infos)


def test_the_journal_alone_says_how_an_episode_went(tmp_path: Path) -> None:
    [task] = suite("ever(info.success)")
    for actions, verdict in ((PASSES_BY, True), (NEVER, False)):
        player = EpisodePlayer(task, None, with_observations=False)
        begun = player.begin(record())
        with Journal(tmp_path / f"{verdict}.sqlite") as journal:
            journal.begin(begun.record)
            for number, action in enumerate(actions):
                journal.append(begun.record.episode, player.act(np.array([action]), number, 0, number)[0])
            journal.flush()
            steps = journal.steps(begun.record.episode)
        assert [step.success for step in steps] == [None] * 5 + [verdict]
        assert has_succeeded(begun.record, steps, task) is verdict


@pytest.mark.parametrize(
    "rule", ["ever(reward > 0)", "ever(steps == 2) and reward > 0", "not info.lost", "info.won"]
)
def test_the_kernels_of_grid_worlds_judge_as_their_environment_does(rule: str) -> None:
    made = suite_from(
        {
            "suite": "grid",
            "tasks": [{"id": "go", "env": "tutelage/GoToObj-v0", "success": rule, "expert": "grid"}],
        }
    )
    environment = TaskEnv(made["go"])
    episodes = play_batch(environment, crowd({"careful": 1, "hostile": 1}), range(6), "grid", "")
    with Environments(made) as environments:
        for episode, quick in zip(episodes, replay_many(episodes, environments), strict=True):
            slow = replay(episode, environment)
            assert not isinstance(quick, TutelageError)
            assert episode.success == quick.success == slow.success
            assert episode.infos.keys() == quick.infos.keys() == slow.infos.keys()


def test_a_table_of_an_evaluation_counts_what_info_says(tmp_path: Path) -> None:
    trust(["tutelage"])
    rates = {}
    for rule in ("info.success", "ever(info.success)", "ever(info.nowhere)"):
        result = evaluate(suite(rule), [ChanceActor()], episodes=16, out=tmp_path / rule[:6])
        rates[rule] = float(np.mean(result.rows["success"].to_numpy()))
        assert Store.open(tmp_path / rule[:6] / "episodes").verify() == []
    assert 0 < rates["info.success"] < rates["ever(info.success)"] < 1
    assert rates["ever(info.nowhere)"] == 0
