"""How continuous actions are made is a setting, follows from the data by default, and stays with a policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tutelage as tt
import yaml
from gymnasium import spaces
from tutelage.agents.evaluation.actors import ExpertActor, PolicyActor
from tutelage.agents.evaluation.rollout import rollout
from tutelage.agents.policy.checkpoint import load, shape_of
from tutelage.agents.training.action_heads import ActionProfile, HeadChoice
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.resuming import fixed, settings_for
from tutelage.console.signals import Stopped
from tutelage.datasets.arrays.sampler import TaskArrays
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.envs.task import TEST, Task
from tutelage.errors import TutelageError

TASKS = [
    {"id": "swing", "env": "Pendulum-v1", "expert": "pendulum", "max_steps": 40},
    {"id": "pole", "env": "CartPole-v1", "expert": "cartpole", "max_steps": 40},
]
SUITE = suite_from({"suite": "both", "tasks": TASKS})
CONFIG = TrainConfig(
    size=1,
    steps=6,
    batch_steps=48,
    window=8,
    warmup=2,
    threads=1,
    workers=1,
    save_every=2,
    action_head="flow",
    chunk=4,
    replan=2,
    device="cpu",
)


def store_of(folder: Path, *tasks: str) -> Store:
    store = Store.create(folder, SUITE)
    for task in tasks:
        store.append(rollout(ExpertActor(), SUITE[task], range(3), suite_name="both"))
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store_of(tmp_path_factory.mktemp("both"), "swing", "pole")


@pytest.fixture(scope="module")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train([store], tmp_path_factory.mktemp("runs") / "run", CONFIG).parent


def test_a_run_says_once_what_was_chosen_and_keeps_it(store: Store, tmp_path: Path) -> None:
    told: list[str] = []
    train([store], tmp_path / "run", replace(CONFIG, steps=2), notice=told.append)
    train([store], tmp_path / "run", replace(CONFIG, steps=3), resume=True, notice=told.append)
    chosen = [line for line in told if line.startswith("task ")]
    assert chosen == ["task 'swing': actions in chunks of 4 from a flow head (as --action-head says)"]
    assert load(tmp_path / "run" / "last").lineage["action_heads"].keys() == {"swing"}


def test_a_policy_with_both_heads_plays_what_it_was_taught(run: Path) -> None:
    loaded = load(run / "kept")
    assert loaded.policy.encoding.interface("swing").flow
    assert not loaded.policy.encoding.interface("pole").flow
    for task in SUITE:
        played = rollout(PolicyActor(loaded.policy), task, list(TEST.first(2)), suite_name="both")
        alone = [
            rollout(PolicyActor(loaded.policy), task, [seed], suite_name="both")[0] for seed in TEST.first(2)
        ]
        for together, single in zip(played, alone, strict=True):
            assert together.actions == pytest.approx(single.actions, abs=1e-4)
        assert rollout(PolicyActor(loaded.policy, greedy=False), task, [5], suite_name="both")


def test_in_a_loop_of_ones_own_there_are_no_probabilities(run: Path) -> None:
    actor = tt.load_policy(run).actor("swing")
    observation = np.array([1, 0, 0.5], np.float32)
    for _ in range(3):
        action = actor.act(observation)
        assert actor.action_space.contains(action)
        assert actor.probabilities is None


@pytest.mark.slow
def test_a_resumed_run_equals_one_that_was_not_stopped_bit_for_bit(store: Store, tmp_path: Path) -> None:
    def stopping(policy: object) -> dict[str, float]:
        raise Stopped(2)

    config = replace(CONFIG, holdout=0.3)
    with pytest.raises(Stopped):
        train([store], tmp_path / "run", replace(config, evaluate_every=3), evaluate=stopping)
    train([store], tmp_path / "run", config, resume=True)
    train([store], tmp_path / "whole", config)
    weights = [(tmp_path / name / "last" / "policy.safetensors").read_bytes() for name in ("run", "whole")]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_a_run_of_before_goes_on_with_bins(store: Store, tmp_path: Path) -> None:
    config = replace(CONFIG, action_head="auto", chunk=1, replan=1, steps=4)
    train([store], tmp_path / "run", config)
    settings = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    for name in ("action_head", "chunk", "replan"):
        del settings[name]
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(settings))
    resumed = settings_for(tmp_path / "run", None, {"steps": 6}, resume=True)
    assert not {"action_head", "chunk", "replan"} & fixed(resumed).keys()
    train([store], tmp_path / "run", resumed, resume=True)
    assert not load(tmp_path / "run" / "last").policy.flow


def test_a_child_keeps_the_head_of_its_parent(run: Path, store: Store, tmp_path: Path) -> None:
    parent = load(run / "kept")
    shape = {"size": 1, "window": 8, "features": "none", "chunk": 4, "replan": 2}
    assert shape_of(run / "kept") == shape
    child = load(
        train(
            [store],
            tmp_path / "child",
            replace(CONFIG, steps=1, action_head="auto", replan=1, freeze="all-but-head"),
            parent=parent,
        )
    ).policy
    flow = child.encoding.interface("swing").flow
    assert flow is not None
    assert (flow.chunk, flow.replan) == (4, 1)
    before = parent.policy.state_dict()
    moved = {name for name, weight in child.state_dict().items() if (weight != before[name]).any()}
    assert any(name.startswith("flow.") for name in moved)
    assert not any(name.startswith(("tokens.", "encoder.", "memory.")) for name in moved)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"action_head": "bins"},
            "expected a parent with --action-head bins for task 'swing', got flow;",
        ),
        ({"chunk": 5}, "expected a parent with --chunk 5, got one of 4; use --chunk 4"),
    ],
)
def test_another_head_or_chunk_than_the_parents_is_refused(
    run: Path, store: Store, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(TutelageError, match=message):
        train([store], tmp_path / "child", replace(CONFIG, **settings), parent=load(run / "kept"))


def test_a_flow_head_needs_continuous_actions(tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match=r"all continuous \(Box of floats\) .* got none among pole"):
        train([store_of(tmp_path / "poles", "pole")], tmp_path / "run", CONFIG)


@pytest.mark.parametrize(
    "settings",
    [
        {"action_head": "diffusion"},
        {"chunk": 0},
        {"chunk": 257},
        {"chunk": 2.5},
        {"replan": -1},
        {"replan": 257},
    ],
)
def test_settings_that_cannot_work_are_refused_in_one_line(settings: dict[str, object]) -> None:
    with pytest.raises(TutelageError) as caught:
        TrainConfig.from_dict(settings)
    assert "\n" not in str(caught.value)
    assert list(settings)[-1] in str(caught.value)


def shown(actions: np.ndarray, observations: np.ndarray, episodes: int = 8) -> list[TaskArrays]:
    """Return demonstrations of equal length with the given actions `[N, k]` and observations `[N, f]`."""
    steps = len(actions)
    return [
        TaskArrays(
            Task("toy", "Pendulum-v1"),
            {"": observations.astype(np.float32)},
            actions,
            np.linspace(0, steps, episodes + 1).astype(np.int64),
            np.ones(episodes, bool),
            ["ann"] * episodes,
            np.ones(episodes),
            np.zeros(steps, np.int8),
        )
    ]


TIME = np.linspace(0, 40, 800)
SMOOTH = np.stack([np.sin(TIME), np.cos(TIME)], 1)
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("actions", "objection"),
    [
        (SMOOTH[:, :1], ""),
        (np.round(SMOOTH[:, :1]), "a number takes 3 values only"),
        (np.sign(SMOOTH[:, :1]) + RANDOM.normal(0, 1e-3, (800, 1)), "lie at the ends of their range"),
        (RANDOM.uniform(-1, 1, (800, 1)), "they jump from step to step"),
        (np.sin(TIME * np.repeat(RANDOM.uniform(0.2, 1, 8), 100))[:, None], "demonstrations disagree"),
    ],
)
def test_auto_stays_with_bins_and_says_where_a_flow_head_is_worth_trying(
    actions: np.ndarray, objection: str
) -> None:
    profile = ActionProfile.of(shown(actions, SMOOTH))
    assert objection in profile.objection
    assert bool(objection) == bool(profile.objection)
    choice = HeadChoice(TrainConfig())
    space = spaces.Box(-2, 2, (1,), np.float32)
    chosen = choice(space, shown(actions, SMOOTH))
    assert chosen is None
    assert choice.reasons["toy"].startswith("actions from bins (")
    assert ("--action-head flow is worth a try" in choice.reasons["toy"]) == (not objection)
    assert choice(spaces.Discrete(3), shown(actions, SMOOTH)) is None


def test_auto_bears_infinities_and_a_single_episode() -> None:
    actions = SMOOTH[:, :1].copy()
    actions[::50] = np.nan
    assert "disagree" in ActionProfile.of(shown(actions, SMOOTH, episodes=1)).objection
