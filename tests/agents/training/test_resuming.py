"""A run that is resumed may differ in what changes no weight, and in its steps; all else is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor
from tutelage.agents.evaluation.rollout import rollout
from tutelage.agents.policy.checkpoint import load
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.resuming import settings_for
from tutelage.agents.training.state import STATE
from tutelage.console.signals import Stopped, signals
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError
from tutelage.tests.support.toy_images import image_task

SUITE = suite_from({"suite": "pole", "tasks": [{"id": "pole", "env": "CartPole-v1", "expert": "cartpole"}]})
CONFIG = TrainConfig(
    size=1, steps=10, batch_steps=32, window=8, warmup=2, cooldown=0.4, threads=1, workers=1, save_every=2
)
FREE: dict[str, Any] = {
    "threads": 2,
    "device": "cpu",
    "workers": 2,
    "evaluate_every": 7,
    "select_episodes": 3,
    "save_every": 5,
    "accumulate": 2,
    "checkpoint_activations": True,
    "replan": 0,
    "self_imitation": 2,
    "self_imitation_episodes": 9,
    "self_imitation_steps": 11,
}
FIXED: dict[str, Any] = {
    "size": 2,
    "batch_steps": 40,
    "window": 16,
    "learning_rate": 0.01,
    "table_learning_rate": 0.001,
    "weight_decay": 0.1,
    "dropout": 0.3,
    "history_dropout": 0.2,
    "action_head": "flow",
    "chunk": 4,
    "warmup": 3,
    "cooldown": 0.5,
    "ema": 0.9,
    "weights": "none",
    "balance": 1.0,
    "dtype": "bfloat16",
    "holdout": 0.5,
    "augmentation": "none",
    "features": "patches",
    "train_features": True,
    "freeze": "tokens",
    "adapters": 4,
    "seed": 1,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.create(tmp_path_factory.mktemp("pole"), SUITE)
    store.append(rollout(ExpertActor(), SUITE["pole"], range(2), suite_name="pole"))
    return store


@pytest.fixture(scope="module")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train([store], tmp_path_factory.mktemp("runs") / "run", CONFIG).parent


def stop_at(step: int, store: Store, out: Path, config: TrainConfig) -> None:
    """Train a run, and stop it as Ctrl-C does while the batch after `step` is looked at."""

    def stopping(policy: Any) -> dict[str, float]:
        raise Stopped(2)

    with pytest.raises(Stopped, match=f"saved at step {step} of {config.steps} .*--resume"):
        train([store], out, replace(config, evaluate_every=step), evaluate=stopping)
    assert not signals.number


def test_every_setting_is_free_or_fixed() -> None:
    assert {*FREE, *FIXED, "steps"} == set(TrainConfig.__dataclass_fields__)


@pytest.mark.slow
def test_what_changes_no_weight_may_be_another(store: Store, tmp_path: Path) -> None:
    stop_at(4, store, tmp_path / "run", CONFIG)
    now = replace(
        CONFIG, **{name: value for name, value in FREE.items() if name not in ("threads", "accumulate")}
    )
    train([store], tmp_path / "run", now, resume=True)
    train([store], tmp_path / "whole", CONFIG)
    weights = [(tmp_path / name / "last" / "policy.safetensors").read_bytes() for name in ("run", "whole")]
    assert weights[0] == weights[1]
    assert TrainConfig.load(tmp_path / "run" / "config.yaml") == now


def test_other_threads_are_accepted(store: Store, tmp_path: Path) -> None:
    stop_at(2, store, tmp_path / "run", CONFIG)
    train([store], tmp_path / "run", replace(CONFIG, threads=2, steps=3), resume=True)
    assert load(tmp_path / "run" / "last").lineage["step"] == 3


@pytest.mark.parametrize("name", FIXED)
def test_what_decides_the_weights_is_refused_with_the_old_and_the_new_value(
    name: str, store: Store, run: Path
) -> None:
    flag = f"--{name.replace('_', '-')}"
    old, new = getattr(CONFIG, name), FIXED[name]
    with pytest.raises(TutelageError) as caught:
        train([store], run, replace(CONFIG, **{name: new}), resume=True)
    assert str(caught.value).startswith(f"expected {flag} {old}, which {run} was begun with, got {new};")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_more_steps_before_the_rate_falls_are_the_run_that_asked_for_them_at_once(
    store: Store, tmp_path: Path
) -> None:
    longer = replace(CONFIG, steps=16)
    stop_at(4, store, tmp_path / "run", CONFIG)  # the rate of 10 steps falls from step 6 on
    told: list[str] = []
    train([store], tmp_path / "run", longer, resume=True, notice=told.append)
    train([store], tmp_path / "whole", longer)
    states = [(tmp_path / name / STATE).read_bytes() for name in ("run", "whole")]
    assert states[0] == states[1]
    # a busy machine is told of too
    assert [line for line in told if "this machine has done" not in line] == [
        "16 steps instead of 10: from step 4 on, the learning rate is that of a run of 16 steps, "
        "1.00 of its highest there (it was 1.00)"
    ]


@pytest.mark.slow
def test_images_are_changed_as_in_a_run_that_was_not_stopped(tmp_path: Path) -> None:
    config = replace(CONFIG, augmentation="shift+color", weights="none", batch_steps=8, window=4)
    toy = image_task("gray")
    task = {"id": "light", "env": toy.env, "kwargs": dict(toy.kwargs), "max_steps": toy.max_steps}
    suite = suite_from({"suite": "lights", "tasks": [task]})
    store = Store.create(tmp_path / "store", suite)
    store.append(rollout(ChanceActor(), suite["light"], range(3), suite_name="lights"))
    stop_at(4, store, tmp_path / "run", config)
    train([store], tmp_path / "run", config, resume=True)
    train([store], tmp_path / "whole", config)
    train([store], tmp_path / "plain", replace(config, augmentation="shift"))
    states = [(tmp_path / name / STATE).read_bytes() for name in ("run", "whole", "plain")]
    assert states[0] == states[1]
    assert states[0] != states[2]


@pytest.mark.slow
def test_a_run_that_has_ended_may_be_asked_for_more_and_not_for_less(store: Store, tmp_path: Path) -> None:
    train([store], tmp_path, CONFIG)
    told: list[str] = []
    train([store], tmp_path, replace(CONFIG, steps=20), resume=True, notice=told.append)
    assert load(tmp_path / "last").lineage["step"] == 20
    assert "from step 10 on" in told[0]
    assert "1.00 of its highest there (it was 0.00)" in told[0]
    with pytest.raises(TutelageError, match="expected --steps of at least 20, which are done, got 12"):
        train([store], tmp_path, replace(CONFIG, steps=12), resume=True)


@pytest.mark.slow
def test_a_stop_while_select_seeds_are_played_plays_them_again(store: Store, tmp_path: Path) -> None:
    config = replace(CONFIG, evaluate_every=4)
    stop_at(4, store, tmp_path / "run", config)
    for name, resume in (("run", True), ("whole", False)):
        train([store], tmp_path / name, config, evaluate=lambda _: {"pole": 0.5}, resume=resume)
    states = [(tmp_path / name / STATE).read_bytes() for name in ("run", "whole")]
    assert states[0] == states[1]


def test_a_run_that_is_resumed_keeps_what_is_not_given_anew(run: Path, tmp_path: Path) -> None:
    assert settings_for(run, None, {}, resume=True) == CONFIG
    assert settings_for(run, None, {"steps": 12}, resume=True) == replace(CONFIG, steps=12)
    (tmp_path / "more.yaml").write_text("{steps: 14, save_every: 3}")
    now = settings_for(run, tmp_path / "more.yaml", {"save_every": 4}, resume=True)
    assert now == replace(CONFIG, steps=14, save_every=4)
    assert settings_for(run, None, {}, resume=False) == TrainConfig()
