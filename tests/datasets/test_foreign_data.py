"""Data that others recorded: the rule that judges them, what they allow without an environment, and ids."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium.envs.registration import EnvSpec
from tutelage.cli.edit_tables import id_length
from tutelage.datasets.formats.exchange import import_store
from tutelage.datasets.formats.foreign_rules import success_rule
from tutelage.datasets.store import Store
from tutelage.envs.registry import why_absent
from tutelage.envs.success import UNKNOWN
from tutelage.envs.suite import load_suite
from tutelage.errors import TutelageError
from tutelage.foreign_code.trust import trust
from tutelage.tests.support.command_line import call as tutelage
from tutelage.tests.support.sources import ROOT

minari = pytest.importorskip("minari")

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return what writes a Minari dataset of CartPole played at random, one episode a seed."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    environment = gymnasium.make("CartPole-v1")

    def episode(seed: int) -> Any:
        observation, _ = environment.reset(seed=seed)
        environment.action_space.seed(seed)
        observations, actions, terminated = [observation], [], False
        while not terminated:
            actions.append(environment.action_space.sample())
            observation, _, terminated, _, _ = environment.step(actions[-1])
            observations.append(observation)
        steps = len(actions)
        return minari.data_collector.EpisodeBuffer(
            seed=seed,
            observations=np.array(observations),
            actions=np.array(actions),
            rewards=[1.0] * steps,
            terminations=[False] * (steps - 1) + [True],
            truncations=[False] * steps,
            infos={},
        )

    def dataset(
        name: str,
        seeds: Sequence[int] = (1, 2),
        env: Any = None,
    ) -> Path:
        spaces = (
            {"env": env}
            if env
            else {
                "observation_space": environment.observation_space,
                "action_space": environment.action_space,
            }
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of authors and algorithms that are not named
            minari.create_dataset_from_buffers(name, [episode(seed) for seed in seeds], **spaces)
        return tmp_path / "minari" / name

    return dataset


@pytest.fixture
def robot_store(write: Write, tmp_path: Path) -> Path:
    """Return a store of data that name no environment."""
    import_store(write("own/robot-v0", range(11)), "minari", tmp_path / "own")
    return tmp_path / "own"


def test_a_foreign_dataset_is_judged_by_the_rule_of_its_bare_id(write: Write, tmp_path: Path) -> None:
    report = import_store(write("cart/rand-v0", env="CartPole-v1"), "minari", tmp_path / "cart")
    store = Store.open(tmp_path / "cart")
    [task] = store.suite
    [bare] = load_suite("CartPole-v1")
    assert task.success == bare.success
    assert task.success.text == "return >= 475"
    assert store.episodes()["success"].to_pylist() == [False, False]
    assert store.verify() == []
    assert any(
        "its success rule is 'return >= 475', as CartPole-v1 by itself has" in str(line) for line in report
    )


def test_a_dataset_without_an_environment_is_imported_with_what_it_lacks(
    write: Write, tmp_path: Path
) -> None:
    told = tutelage("import", write("own/robot-v0"), "--from", "minari", "-o", tmp_path / "own")
    told = " ".join(told.split())
    assert "it names no environment, so no success rule is known" in told
    assert "expected a registered Gymnasium id, got 'own/robot-v0'; if another package registers it" in told
    assert "looked through, edited and exported (csv, npz, robomimic, rlds), not trained on" in told
    assert "did you mean" not in told


def test_a_store_without_its_environment_does_what_it_says(robot_store: Path, tmp_path: Path) -> None:
    inspected = json.loads(tutelage("inspect", robot_store, "--workers", "1", "--json"))
    assert [task["success"] for task in inspected["tasks"]] == [None]
    [absent] = inspected["absent"]
    for words in (
        ["train", robot_store, "-o", tmp_path / "run"],
        ["export", robot_store, "--to", "minari", "-o", tmp_path / "m"],
    ):
        assert tutelage(*words, status=2) == absent
    assert "'own/robot-v0'" in absent
    assert f"`tutelage edit {robot_store} suite FILE`" in absent
    for to in ("csv", "npz", "robomimic", "rlds"):
        tutelage("export", robot_store, "--to", to, "-o", tmp_path / to)
    first = next(Store.open(robot_store).trajectories())
    assert first.observations is not None
    with np.load(tmp_path / "npz" / "episodes" / "000000.npz") as arrays:
        assert np.array_equal(arrays["observations/observation"], first.observations[""])


@pytest.mark.slow
def test_an_environment_and_a_rule_are_given_to_recorded_data_that_fit(
    robot_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_robot.py").write_text(
        "import gymnasium\nfrom gymnasium.envs.classic_control import CartPoleEnv\n"
        "class OneWay(CartPoleEnv):\n    def __init__(self, render_mode=None):\n"
        "        super().__init__(render_mode=render_mode)\n"
        "        self.action_space = gymnasium.spaces.Discrete(1)\n"
        "gymnasium.register('my/Robot-v0', CartPoleEnv)\ngymnasium.register('my/OneWay-v0', OneWay)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TUTELAGE_TRUST", "")
    trust(["my_robot"])
    document = yaml.safe_load(tutelage("edit", robot_store, "suite"))
    [task] = document["tasks"]
    file = tmp_path / "own.yaml"
    task["env"] = "tutelage/Taxi-v0"
    file.write_text(yaml.safe_dump(document))
    assert "its recorded observations are not those of tutelage/Taxi-v0" in tutelage(
        "edit", robot_store, "suite", file, status=2
    )
    task["env"] = "my_robot:my/OneWay-v0"
    file.write_text(yaml.safe_dump(document))
    assert "its recorded actions are not those of my_robot:my/OneWay-v0" in tutelage(
        "edit", robot_store, "suite", file, status=2
    )
    task |= {"env": "my_robot:my/Robot-v0", "success": "steps >= 20"}
    file.write_text(yaml.safe_dump(document))
    tutelage("edit", robot_store, "suite", file, "--apply")
    store = Store.open(robot_store)
    rows = store.episodes()
    assert rows["success"].to_pylist() == [steps >= 20 for steps in rows["steps"].to_pylist()]
    assert set(rows["env"].to_pylist()) == {"my_robot:my/Robot-v0"}
    assert store.verify() == []
    assert json.loads(tutelage("inspect", robot_store, "--workers", "1", "--json"))["absent"] == []
    task["env"] = "elsewhere:my/Robot-v0"
    file.write_text(yaml.safe_dump(document))
    assert "no replay shows that this is right" in tutelage("edit", robot_store, "suite", file, status=2)
    task["env"] = "CartPole-v1"  # it has an environment now: another is no correction that can be shown
    file.write_text(yaml.safe_dump(document))
    assert "no replay shows that this is right" in tutelage("edit", robot_store, "suite", file, status=2)


def test_ids_are_listed_as_long_as_tells_them_apart_and_no_rule_is_no_failure(robot_store: Path) -> None:
    listed = [
        line.split() for line in tutelage("edit", robot_store, "list").splitlines() if "own-robot" in line
    ]
    assert [cells[0] for cells in listed] == [f"own-robot-v0-{number}" for number in range(11)]
    assert {cells[4] for cells in listed} == {"–"}
    assert "own-robot-v0-10 " in tutelage("edit", robot_store, "delete", "own-robot-v0-10")


@pytest.mark.parametrize(
    ("shown", "others", "length"),
    [
        (["a" * 32], ["b" * 32], 12),
        (["a" * 32], ["a" * 14 + "b" * 18], 15),
        (["cart-rand-v0-1"], ["cart-rand-v0-10"], 15),
        ([], [], 12),
        (["same"], ["same"], 12),
    ],
)
def test_an_id_is_shown_by_twelve_characters_or_what_tells_it_apart(
    shown: list[str], others: list[str], length: int
) -> None:
    assert id_length(shown, [*shown, *others]) == length
    short = {name[:length] for name in {*shown, *others}}
    assert len(short) == len({*shown, *others})


@pytest.mark.parametrize(
    ("env_id", "near"),
    [
        ("own/robot-v0", ""),
        ("robots-v1", ""),
        ("CartPol-v1", "CartPole-v1"),
        ("cartpole-v9", "CartPole-v1"),
        ("FrozenLak-v1", "FrozenLake-v1"),
        ("ALE/Pong-v5", ""),
    ],
)
def test_a_near_id_is_offered_only_where_it_is_near(env_id: str, near: str) -> None:
    registered = ("Acrobot-v1", "CartPole-v0", "CartPole-v1", "FrozenLake-v1", "Taxi-v3", "phys2d/Pong-v5")
    why = why_absent(env_id, registered)
    assert (f"; did you mean {near!r}?" in why) if near else ("did you mean" not in why)
    remedy = "write ale_py:ALE/Pong-v5" if env_id.startswith("ALE") else f"name its module: MODULE:{env_id}"
    assert remedy in why
    assert why_absent("Taxi-v3", registered) == ""


@pytest.mark.parametrize("name", ["robomimic", "csv", "npz", "hdf5", "rlds"])
def test_a_format_that_is_not_read_is_shown_the_way(name: str, tmp_path: Path) -> None:
    told = tutelage("import", tmp_path, "--from", name, "-o", tmp_path / "out", status=2)
    assert "write a function that reads those files" in told
    page, anchor = told.rpartition("see ")[2].split("#")
    headings = (ROOT / page).read_text("utf-8").splitlines()
    written = [
        line.lstrip("# ").lower().replace(",", "").replace(" ", "-") for line in headings if line[:1] == "#"
    ]
    assert anchor in written


def test_a_changed_suite_is_given_to_its_store_and_recording_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "pole.yaml"
    task = {"id": "pole", "env": "CartPole-v1"}  # keys, pace and rule are left to the tables
    file.write_text(yaml.safe_dump({"suite": "poles", "tasks": [task]}))
    store = Store.create(tmp_path / "poles", load_suite(file))
    for change in ({"tasks": [task | {"instruction": "balance"}]}, {"suite": "better-poles"}):
        document = {"suite": "poles", "tasks": [task]} | change
        file.write_text(yaml.safe_dump(document))
        with pytest.raises(TutelageError, match=f"`tutelage edit {store.path} suite FILE`"):
            Store.create(store.path, load_suite(file))
        tutelage("edit", store.path, "suite", file, "--apply")
        assert Store.create(store.path, load_suite(file)).suite.source["suite"] == document["suite"]


def test_a_file_that_leaves_the_rule_out_keeps_the_store_s(robot_store: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    task = {"id": "own-robot-v0", "env": "own/robot-v0", "instruction": "go"}
    file.write_text(yaml.safe_dump({"suite": "own-robot-v0", "tasks": [task]}))
    tutelage("edit", robot_store, "suite", file, "--apply")
    [corrected] = Store.open(robot_store).suite
    assert (corrected.instruction, corrected.success.text) == ("go", UNKNOWN)


@pytest.mark.parametrize("name", ["reward_threshold", "max_episode_steps"])
@pytest.mark.parametrize("value", ["many", float("nan"), [1]])
def test_a_limit_that_is_no_number_is_refused(name: str, value: object) -> None:
    spec = EnvSpec("CartPole-v1", reward_threshold=475, max_episode_steps=500)
    setattr(spec, name, value)
    with pytest.raises(TutelageError, match=f"expected {name} of CartPole-v1 to be a finite number, got"):
        success_rule(SimpleNamespace(env_spec=spec))
