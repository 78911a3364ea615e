"""Any settings train, or are refused in one line before anything is written."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tutelage.agents.evaluation.actors import ExpertActor
from tutelage.agents.evaluation.rollout import rollout
from tutelage.agents.policy.checkpoint import load
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError
from tutelage.tests.support.damage import flip_bit

NAMES = ("a", "b", "c", "d", "e")
SUITE = suite_from(
    {
        "suite": "five",
        "tasks": [
            {"id": name, "env": "CartPole-v1", "max_steps": 40, "expert": "cartpole"} for name in NAMES
        ],
    }
)
CONFIG = TrainConfig(size=1, steps=2, batch_steps=200, window=8, threads=1, workers=1, select_episodes=1)
FIELDS = [field.name for field in fields(TrainConfig)]
ABSURD: list[Any] = [
    *(0, -1, 2**31, 2**63, 10**30, True, None, "", "many", [], 0.0, -0.5, 1.5, 1e308, 1e-308),
    *(math.nan, math.inf, -math.inf),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.create(tmp_path_factory.mktemp("five"), SUITE)
    for task in SUITE:
        store.append(rollout(ExpertActor(), task, range(3), suite_name="five"))
    return store


@pytest.mark.parametrize("batch_steps", [1, 8, 16, 32])
def test_a_batch_that_holds_no_window_is_refused_before_anything_is_written(
    batch_steps: int, store: Store, tmp_path: Path
) -> None:
    config = replace(CONFIG, batch_steps=batch_steps, window=32, steps=50)
    with pytest.raises(TutelageError, match=r"expected --batch-steps .* got .* 160 are always enough"):
        train([store], tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_what_is_said_to_be_enough_is(store: Store, tmp_path: Path) -> None:
    train([store], tmp_path / "run", replace(CONFIG, batch_steps=160, window=32))
    assert load(tmp_path / "run" / "last").lineage["step"] == 2


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_is_trained_with_or_refused_by_its_name(name: str) -> None:
    for value in ABSURD:
        try:
            config = TrainConfig.from_dict({name: value})
        except TutelageError as error:
            message = str(error)
        else:
            message = name
            assert getattr(config, name) == value
        assert name in message
        assert "\n" not in message


@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changed=st.dictionaries(
        st.sampled_from(
            [name for name in FIELDS if name not in ("size", "self_imitation", "threads", "workers")]
        ),
        st.sampled_from([1, 2, 7, 200, 0.0, 0.5, 1e-9, 99.0, "none", "bfloat16"]),
        min_size=1,
        max_size=4,
    )
)
def test_any_combination_trains_or_ends_in_one_line(
    changed: dict[str, Any], store: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("runs") / "run"
    if changed.get("steps") == 200:  # it works, and takes its time
        changed["steps"] = 3
    message = ""
    try:
        config = TrainConfig.from_dict({**{name: getattr(CONFIG, name) for name in FIELDS}, **changed})
        kept = train([store], out, config, evaluate=lambda _: dict.fromkeys(NAMES, 0.5))
    except TutelageError as error:
        message = str(error)
    else:
        assert 1 <= load(kept).lineage["step"] <= config.steps
    assert "\n" not in message


def test_training_that_diverges_stops_in_one_line(store: Store, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=40, warmup=0)
    for name in ("learning_rate", "table_learning_rate"):
        object.__setattr__(config, name, 1e36)  # more than is allowed: no machine's rounding survives it
    with pytest.raises(TutelageError, match=r"expected (a finite loss|finite weights)"):
        train([store], tmp_path / "run", config)


def test_a_policy_that_does_not_fit_the_memory_is_refused_before_it_is_made(
    store: Store, tmp_path: Path
) -> None:
    with pytest.raises(TutelageError, match="fits the memory of this machine"):
        train([store], tmp_path / "run", replace(CONFIG, size=256))
    assert not (tmp_path / "run").exists()


def test_resuming_with_other_demonstrations_is_refused(store: Store, tmp_path: Path) -> None:
    grown = Store.create(tmp_path / "store", SUITE)
    grown.append(list(store.trajectories()))
    train([grown], tmp_path / "run", CONFIG)
    grown.append(rollout(ExpertActor(), SUITE["a"], range(3, 5), suite_name="five"))
    with pytest.raises(TutelageError, match=r"the demonstrations that .* was begun with, got others"):
        train([grown], tmp_path / "run", CONFIG, resume=True)


def test_a_run_that_stopped_before_its_first_state_begins_again(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    CONFIG.save(out / "config.yaml")
    notices: list[str] = []
    train([store], out, CONFIG, resume=True, notice=notices.append)
    assert "begins again at step 0" in notices[0]
    train([store], tmp_path / "whole", CONFIG)
    for name in ("last/policy.safetensors", "state.safetensors"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_a_damaged_state_is_passed_over_and_the_run_ends_as_if_never_stopped(
    store: Store, tmp_path: Path
) -> None:
    config = replace(CONFIG, steps=6, save_every=2)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train([store], whole, config)
    calls = iter(range(100))

    class Stop(Exception):
        pass

    def stop(policy: Any) -> dict[str, float]:
        if next(calls) == 4:  # two evaluations a step: without and with memory
            raise Stop
        return {"a": 0.5}

    config = replace(config, evaluate_every=2)
    with pytest.raises(Stop):
        train([store], stopped, config, evaluate=stop)
    flip_bit(stopped / "state.safetensors", bit=2)
    notices: list[str] = []
    train([store], stopped, config, resume=True, notice=notices.append, evaluate=lambda _: {"a": 0.5})
    assert "going on from the state before it, step 2" in notices[0]
    weights = "last/policy.safetensors"
    assert (stopped / weights).read_bytes() == (whole / weights).read_bytes()
    assert not (stopped / "state.older.safetensors").exists()
