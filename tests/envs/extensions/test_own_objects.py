"""Experts, wrappers and success functions of other packages, named in a suite."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tutelage.datasets.simulation.simulated_crowd import crowd, simulate
from tutelage.datasets.store import Store
from tutelage.envs.capabilities import ReplaysMany, StepsTogether
from tutelage.envs.experts import make_expert
from tutelage.envs.preflight import try_out
from tutelage.envs.success import SuccessRule
from tutelage.envs.suite import Suite, load_suite, suite_from
from tutelage.envs.task import Task
from tutelage.envs.task_env import TaskEnv
from tutelage.envs.task_spec import supports
from tutelage.errors import EnvironmentFailure, TutelageError
from tutelage.foreign_code.trust import VARIABLE, Untrusted, trust, trusts_path
from tutelage.tests.support import own_objects
from tutelage.tests.support.own_objects import Model

OWN = own_objects.NAME


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    trust([OWN])


def suite(**task: Any) -> Suite:
    pole = {"id": "pole", "env": "CartPole-v1", "max_steps": 60, "success": "steps >= 60"}
    return suite_from({"suite": "own", "tasks": [pole | task]})


def played(task: Task, seed: int = 0) -> tuple[int, bool | None]:
    with closing(TaskEnv(task)) as environment:
        step, steps = environment.reset(seed), 0
        expert = make_expert(task, environment)
        expert.reset()
        while not step.done and (row := expert.act()) is not None:
            step, steps = environment.step(row), steps + 1
        return steps, step.success


def test_an_expert_of_ones_own_plays_with_its_arguments() -> None:
    good = suite(expert={f"{OWN}:Balance": {"gain": 9}})["pole"]
    assert played(good) == (60, True)
    steps, success = played(suite(expert={f"{OWN}:Balance": {"gain": -9}})["pole"])
    assert steps < 60
    assert success is False


def test_an_expert_that_returns_none_gives_up() -> None:
    assert played(suite(expert={f"{OWN}:Resigned": {"steps": 2}})["pole"]) == (2, None)


@pytest.mark.parametrize(
    ("expert", "line"),
    [
        (f"{OWN}:Absent", "expected 'Absent' in the module"),
        ({f"{OWN}:Resigned": {"step": 2}}, "expected it to be made for CartPole-v1, got TypeError"),
        (f"{OWN}:no_wrapper", r"expected an object with act\(observation\), got 3"),
        ({"cartpole": {"gain": 1}}, "expected no arguments for expert 'cartpole', got gain; leave"),
        ({f"{OWN}:Model": {"load": "absent.json"}}, "expected a saved model at absent.json, found none"),
    ],
)
def test_an_expert_that_cannot_be_made_is_told_in_one_line(expert: Any, line: str) -> None:
    task = suite(expert=expert)["pole"]
    trust(["absent.json"])
    with closing(TaskEnv(task)) as environment, pytest.raises(TutelageError, match=f"task 'pole': .*{line}"):
        make_expert(task, environment)


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (7, r"expected a value of Discrete\(2\) from act, got 7 \(it is outside\)"),
        (0.5, "expected a value of Discrete"),
        ("left", "expected a value of Discrete"),
        ([0, 1], "expected a value of Discrete"),
        ("raise", "failed in act: RuntimeError: no idea"),
    ],
)
def test_what_is_no_action_is_found_before_anything_is_simulated(answer: Any, line: str) -> None:
    task = suite(expert={f"{OWN}:Wrong": {"answer": answer}})["pole"]
    with pytest.raises(EnvironmentFailure, match=f"task 'pole': expert .*Wrong.*{line}"):
        try_out(task, expert=True)


def test_experts_need_trust_only_where_they_play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, "")
    task = suite(expert=f"{OWN}:Balance")["pole"]
    Store.create(tmp_path / "store", suite(expert=f"{OWN}:Balance"))
    with closing(TaskEnv(task)) as environment, pytest.raises(Untrusted, match=f"--trust {OWN}"):
        make_expert(task, environment)


def test_a_saved_model_lies_beside_the_suite_and_is_loaded_once(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps([0.6, 1.1, 9.0, 2.2]))
    file = tmp_path / "own.yaml"
    file.write_text(
        "suite: own\ntasks:\n"
        "  - {id: pole, env: CartPole-v1, max_steps: 60, success: steps >= 60,\n"
        f"     expert: {{'{OWN}:Model': {{load: model.json, device: cpu}}}}}}\n"
    )
    made = load_suite(file)
    full = str((tmp_path / "model.json").resolve())
    assert made["pole"].expert == {f"{OWN}:Model": {"load": full, "device": "cpu"}}
    before = Model.loads
    assert [played(made["pole"], seed) for seed in range(3)] == [(60, True)] * 3
    assert Model.loads == before + 1


def test_a_model_file_that_a_store_mentions_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.json").write_text("[1]")
    task = suite(expert={f"{OWN}:Model": {"load": str(tmp_path / "model.json")}})["pole"]
    with closing(TaskEnv(task)) as environment, pytest.raises(Untrusted, match=r"--trust .*model\.json"):
        make_expert(task, environment)


def test_a_folder_is_not_trusted_because_a_suite_calls_it_a_model(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    expert = f"{{'{OWN}:Model': {{load: {tmp_path}}}}}"
    file.write_text(f"suite: own\ntasks:\n  - {{id: pole, env: CartPole-v1, expert: {expert}}}\n")
    load_suite(file)
    assert not trusts_path(tmp_path / "page.html")
    assert not trusts_path(file)


def test_wrappers_stand_around_the_environment_in_their_order() -> None:
    flat = "gymnasium.wrappers:FlattenObservation"
    task = suite(wrappers=[{"gymnasium.wrappers:TimeAwareObservation": {"flatten": False}}, flat])["pole"]
    with closing(TaskEnv(task)) as environment:
        assert environment.reset(0).observation[""].shape == (5,)
        assert environment.limit == 60
    doubled = suite(wrappers=[f"{OWN}:Doubled", f"{OWN}:Doubled"])["pole"]
    with closing(TaskEnv(doubled)) as environment:
        environment.reset(0)
        assert environment.step(np.array([1.0])).reward == 4.0


def test_gymnasiums_wrappers_need_no_trust_unless_they_act(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    TaskEnv(suite(wrappers=["gymnasium.wrappers:FlattenObservation"])["pole"]).close()
    for acting in ("gymnasium.wrappers:RecordVideo", "gymnasium.wrappers.common:gym", f"{OWN}:Doubled"):
        with pytest.raises(Untrusted, match=f"--trust {acting.partition(':')[0]}"):
            TaskEnv(suite(wrappers=[acting])["pole"])


@pytest.mark.parametrize(
    ("wrapper", "line"),
    [
        (f"{OWN}:no_wrapper", "to return an environment, got 3; let it derive from gymnasium.Wrapper"),
        ({f"{OWN}:Doubled": {"times": 3}}, "to wrap CartPole-v1, got TypeError: .*'times'"),
        ({"gymnasium.wrappers:ResizeObservation": {"shape": [64, 64]}}, "to wrap CartPole-v1, got"),
    ],
)
def test_what_is_no_wrapper_is_told_in_one_line(wrapper: Any, line: str) -> None:
    with pytest.raises(TutelageError, match=f"task 'pole': .*{line}"):
        TaskEnv(suite(wrappers=[wrapper])["pole"])


def test_an_expert_of_ours_needs_the_actions_of_its_environment() -> None:
    task = suite(expert="cartpole", wrappers=[f"{OWN}:Backwards"])["pole"]
    with closing(TaskEnv(task)) as environment, pytest.raises(TutelageError, match="leave the actions"):
        make_expert(task, environment)


def test_wrappers_decide_what_an_episode_is() -> None:
    bare, wrapped = suite()["pole"], suite(wrappers=[f"{OWN}:Doubled"])["pole"]
    assert wrapped.differences(bare) == ["wrappers"]
    assert not wrapped.differences(replace(wrapped, expert="cartpole"))


def test_no_fast_path_is_taken_for_a_wrapped_task() -> None:
    grid, page = Task("grid", "tutelage/GoTo-v0"), Task("page", "tutelage/web.click-test-v0")
    assert supports(grid, ReplaysMany)
    assert supports(page, StepsTogether)
    around = ["gymnasium.wrappers:OrderEnforcing"]
    assert not supports(replace(grid, wrappers=around), ReplaysMany)
    assert not supports(replace(page, wrappers=around), StepsTogether)


def test_a_simulated_crowd_plays_wrapped_and_is_proven_by_replay(tmp_path: Path) -> None:
    made = suite(
        expert=f"{OWN}:Balance",
        wrappers=[f"{OWN}:Doubled"],
        success={f"{OWN}:lasting": {"least": 30, "infos": ["info.nothing"]}},
    )
    store = Store.create(tmp_path / "store", made)
    people = crowd({"careful": 1, f"{OWN}:TIRED": 1})
    assert simulate(made, store, {"pole": 8}, demonstrators=people) == 8
    episodes = list(Store.open(tmp_path / "store").trajectories())
    assert {episode.demonstrator for episode in episodes} == {"careful-01", "tired-01"}
    for episode in episodes:
        assert set(episode.rewards) == {2.0}
        ended = episode.terminated or episode.truncated
        assert episode.success == (ended and len(episode) >= 30)
        assert np.isnan(episode.infos["info.nothing"]).all()
    assert not Store.open(tmp_path / "store").verify()


@pytest.mark.parametrize("text", [f"{OWN}:lasting", f'{{"{OWN}:lasting": {{"least": 2}}}}'])
def test_a_success_function_judges_whole_episodes(text: str) -> None:
    rule = SuccessRule(text)
    assert rule.is_known
    assert SuccessRule(rule.text) == rule
    assert rule.judge([1.0] * 12, True, False, {}) is True
    assert rule.judge([1.0] * 2, True, False, {}) is ("least" in text)
    assert rule.judge([1.0], True, False, {}) is False  # None is no success
    assert rule.outcome(None) is False


def test_what_a_success_function_reads_is_the_suites_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    rule = SuccessRule("{my.absent:judge: {infos: [info.distance, \"info['on target']\"], most: 3}}")
    assert [path.text for path in rule.paths] == ["info.distance", "info['on target']"]
    assert rule.judge([0.0], True, False, {}) is None  # they are not there
    infos = {path.text: np.zeros(1) for path in rule.paths}
    with pytest.raises(Untrusted, match=r"--trust my\.absent"):
        rule.judge([0.0], True, False, infos)


@pytest.mark.parametrize(
    ("success", "line"),
    [
        (
            {f"{OWN}:lasting": {"infos": "info.x"}},
            "expected infos of .* to list places such as info.distance",
        ),
        ({f"{OWN}:lasting": {"infos": ["reward"]}}, "expected infos of .* to list places"),
        ({f"{OWN}:lasting": {}, "b:c": {}}, "got 2 entries"),
        ({"lasting": {}}, "expected success to be package.module:Object"),
        ("{a:b: [}", "expected YAML"),
    ],
)
def test_a_success_function_that_is_written_wrong_is_refused_when_it_is_read(success: Any, line: str) -> None:
    with pytest.raises(TutelageError, match=f"the suite: task 'pole': .*{line}"):
        suite(success=success)


def test_a_success_function_that_fails_is_told_in_one_line() -> None:
    with pytest.raises(TutelageError, match="to return True, False or None, got 'yes'"):
        SuccessRule(f"{OWN}:confused").judge([1.0], True, False, {})
    with pytest.raises(
        TutelageError, match=r"to judge an episode, got TypeError: .*; it is called with rewards"
    ):
        SuccessRule(f"{OWN}:no_wrapper").judge([1.0], True, False, {})


def test_a_profile_may_be_another_with_other_fields() -> None:
    (tired, calm) = crowd(
        {f"{{{OWN}:TIRED: {{slip: 0.2}}}}": 1, "{careful: {name: calm, reaction_ms: 900}}": 1}
    )
    assert (tired.name, tired.profile.slip, tired.profile.give_up) == ("tired-01", 0.2, 0.02)
    assert (calm.name, calm.profile.slip, calm.profile.reaction_ms) == ("calm-01", 0.005, 900)
    with pytest.raises(TutelageError, match="expected careful to have a name of its own, got 'careful'"):
        crowd({"{careful: {slip: 0.5}}": 1})


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("MISSPELT", "unknown field 'slipp' of a profile; .*did you mean 'slip'"),
        ("BOLD", "expected slip of a profile to be a share from 0 to 1, got 3"),
        ("Model", "to be a DemonstratorProfile or a mapping of its fields"),
    ],
)
def test_what_is_no_profile_is_told_in_one_line(name: str, line: str) -> None:
    with pytest.raises(TutelageError, match=line):
        crowd({f"{OWN}:{name}": 1})
