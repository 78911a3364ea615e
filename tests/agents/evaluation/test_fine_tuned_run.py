"""`train --from`: a run begins with another's weights, keeps its tasks, and is resumed by itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import tutelage as tt
from tutelage.agents.policy.checkpoint import load
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.datasets.sealed_yaml import sealed
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError
from tutelage.files.bounded_files import parse_yaml
from tutelage.tests.support.command_line import call

POLE = {"id": "pole", "env": "CartPole-v1", "expert": "cartpole"}
SWING = {"id": "swing", "env": "Pendulum-v1", "expert": "pendulum"}
SMALL: dict[str, Any] = {
    "steps": 4,
    "batch_steps": 64,
    "window": 8,
    "select_episodes": 2,
    "threads": 1,
    "workers": 1,
    "device": "cpu",
}
FLAGS = ["--steps", 6, "--batch-steps", 64, "--select-episodes", 2, "--threads", 1, "--workers", 1]


def store_of(folder: Path, *tasks: dict[str, Any]) -> Store:
    suite = suite_from({"suite": folder.name, "tasks": list(tasks)})
    return tt.simulate(suite, folder, 4)


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of one task with a run on it, and a store of another task."""
    folder = tmp_path_factory.mktemp("road")
    tt.train(store_of(folder / "poles", POLE), folder / "first", size=1, **SMALL)
    store_of(folder / "swings", SWING)
    return folder


def test_a_new_task_is_added_and_the_parent_is_kept(road: Path) -> None:
    call("train", road / "swings", "-o", road / "tuned", "--from", road / "first", *FLAGS)
    parent, child = load(road / "first" / "kept"), load(road / "tuned" / "last")
    assert child.policy.tasks == ("pole", "swing")
    assert child.policy.config.size == 1  # the parent's, without a flag
    assert child.policy.config.window == 8
    assert child.lineage["parent"] == parent.seal == load(road / "tuned" / "parent").seal
    shown = call("evaluate", road / "tuned", "-o", road / "both", "--episodes", 2, "--actor", "none")
    assert "swing" in shown
    # it goes on without being told where it began
    call("train", road / "swings", "-o", road / "tuned", "--resume", "--steps", 8)
    assert load(road / "tuned" / "last").lineage["step"] == 8
    error = call(
        "train",
        road / "swings",
        "-o",
        road / "tuned",
        "--resume",
        "--from",
        road / "tuned" / "last",
        status=2,
    )
    assert "expected the parent that" in error


def test_a_run_with_adapters_by_command_line(road: Path) -> None:
    call("train", road / "poles", "-o", road / "adapted", "--from", road / "first", "--adapters", 4, *FLAGS)
    child = load(road / "adapted" / "last")
    assert child.lineage["config"]["adapters"] == 4
    shown = call("evaluate", road / "adapted", "-o", road / "few", "--episodes", 2, "--actor", "none")
    assert "pole" in shown


def test_frozen_weights_are_those_of_the_parent(road: Path) -> None:
    words = ["--from", road / "first", "--freeze", "all-but-head"]
    call("train", road / "swings", "-o", road / "frozen", *words, *FLAGS)
    parent, child = (load(road / run / "last").policy.state_dict() for run in ("first", "frozen"))
    kept = load(road / "first" / "kept").policy.state_dict()
    for name, weight in kept.items():
        if name.startswith(("tokens.", "encoder.", "memory.")):
            assert (child[name] == weight).all(), name
    assert set(parent) < set(child)
    assert any((child[name][: len(kept[name])] != kept[name]).any() for name in kept)


def test_by_python_it_is_the_same(road: Path) -> None:
    run = tt.train(road / "poles", road / "again", parent=tt.load_policy(road / "first").path, **SMALL)
    assert run.policy.lineage["parent"] == load(road / "first" / "kept").seal
    assert run.policy.tasks == ("pole",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--freeze", "encoder"], "expected --from RUN with --freeze encoder, got none"),
        (["--adapters", 4], "expected --from RUN with --adapters 4, got none"),
        # refused when the parent has been copied into the run already
        (
            ["--from", "FIRST", "--adapters", 64],
            "expected --adapters below 64, the width of the policy, got 64",
        ),
        (["--from", "nowhere"], "expected a checkpoint at nowhere, found no policy.yaml there"),
        (["--from", "FIRST", "--size", 2], "expected a parent of size 2, got one of 1; use --size 1"),
        (["--from", "FIRST", "--window", 9], "expected a parent of window 9, got one of 8; use --window 8"),
        (["--from", "FIRST", "--freeze", "most"], "at 'freeze': input should be 'nothing', 'tokens'"),
        (["--device", "gpu"], "at 'device': input should be 'auto', 'cpu'"),
        (["--from", "FIRST", "--freeze", "tokens", "--self-imitation", 1], "expected 0 with freeze"),
    ],
)
def test_what_cannot_be_is_one_line(road: Path, tmp_path: Path, words: list[Any], message: str) -> None:
    given = [road / "first" if word == "FIRST" else word for word in words]
    error = call("train", road / "swings", "-o", tmp_path / "out", *given, *FLAGS, status=2)
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_a_device_that_is_not_there_is_told_before_anything_is_played(road: Path, tmp_path: Path) -> None:
    from tutelage.agents.policy.devices import DEVICES, _is_present

    for device in DEVICES[2:]:
        if not _is_present(device):
            for words in (["train", road / "swings"], ["evaluate", road / "first"]):
                error = call(*words, "-o", tmp_path / "out", "--device", device, status=2)
                assert "expected a device that is here" in error
                assert not (tmp_path / "out" / "kept").exists()
            with pytest.raises(TutelageError, match="expected a device that is here"):
                train([], tmp_path / "out", TrainConfig(device=device))


def test_a_parent_that_a_failed_start_left_is_not_taken_in_silence(road: Path, tmp_path: Path) -> None:
    shutil.copytree(road / "first" / "kept", tmp_path / "parent")
    error = call("train", road / "swings", "-o", tmp_path, *FLAGS, status=2)
    assert f"expected no parent in {tmp_path} without --from" in error
    call("train", road / "swings", "-o", tmp_path, "--from", road / "first", *FLAGS)
    assert load(tmp_path / "last").lineage["parent"] == load(road / "first" / "kept").seal


@pytest.mark.parametrize("policy", [{}, {"size": "2"}, {"size": 1, "window": 8, "depth": 3}, {"size": -1}])
def test_a_parent_whose_size_was_forged_is_one_line(
    road: Path, tmp_path: Path, policy: dict[str, Any]
) -> None:
    shutil.copytree(road / "first" / "kept", tmp_path / "forged")
    document = parse_yaml((tmp_path / "forged" / "policy.yaml").read_text("utf-8"), "policy.yaml")
    document = {key: value for key, value in document.items() if key not in ("seal", "file_sha256")}
    (tmp_path / "forged" / "policy.yaml").write_bytes(sealed(document | {"policy": policy}))
    words = ["--from", tmp_path / "forged", *FLAGS]
    error = call("train", road / "swings", "-o", tmp_path / "out", *words, status=2)
    assert "\n" not in error
    assert "expected" in error
