"""A user's mistake ends in one clear line on stderr and exit status 2, and nothing is lost by it."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from tutelage.agents.policy import checkpoint
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.datasets.store import Store
from tutelage.tests.support.command_line import run
from tutelage.tests.support.damage import flip_bit
from tutelage.tests.support.disks import fill, plain, small_disk

pytestmark = pytest.mark.xdist_group("bad_input")  # the store and the policy are made once

SUITE = """
suite: small
tasks:
  - id: balance
    env: CartPole-v1
    max_steps: 40
    expert: cartpole
    controls: {ArrowLeft: 0, ArrowRight: 1}
"""


def refused(*arguments: str | Path, **options: Any) -> str:
    """Run a command that must fail as a user's mistake does; return its one line."""
    done = run(*arguments, **options)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    complaints = [line for line in lines if line.startswith("tutelage: ")]
    assert len(complaints) == 1, done.stderr
    assert lines[-1] == complaints[0], done.stderr
    return complaints[0]


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def suite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "small.yaml"
    path.write_text(SUITE, "utf-8")
    return path


@pytest.fixture(scope="module")
def demonstrations(suite_file: Path) -> Path:
    """Give a store of four demonstrations in two parts; tests copy it before they harm it."""
    folder = suite_file.parent / "crowd"
    for skip in ("0", "2"):
        made = run("simulate", suite_file, "-o", folder, "-n", "2", "--skip", skip, "--workers", "1")
        assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def policy(demonstrations: Path) -> Path:
    """Give a checkpoint that has seen three batches; tests copy it before they harm it."""
    config = TrainConfig(
        size=1, steps=3, batch_steps=32, threads=1, workers=1, evaluate_every=1000, weights="none"
    )
    return train([Store.open(demonstrations)], demonstrations.parent / "run", config, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("inspect", "nowhere"),
        ("train", "nowhere", "-o", "run"),
        ("evaluate", "nowhere", "-o", "measured"),
        ("report", "nowhere"),
        ("import", "nowhere", "--from", "lerobot", "-o", "out"),
        ("tasks", "nowhere.yaml"),
    ],
    ids=lambda command: "-".join(command),
)
def test_a_missing_folder_is_named(command: tuple[str, ...], tmp_path: Path) -> None:
    line = refused(*command, cwd=tmp_path)
    assert "expected" in line
    assert "nowhere" in line
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (("tasks", "first-step"), "got 'first-step'; did you mean 'first-steps'?"),
        (("simulate", "CartPol-v1", "-o", "out"), "got 'CartPol-v1'"),
        (("record", "first-stepz", "-o", "out"), "did you mean 'first-steps'?"),
        (("simulate", "first-steps", "-o", "out", "--task", "goto-locl"), "did you mean 'goto-local'?"),
        (("simulate", "first-steps", "-o", "out", "--seeds", "tset"), "did you mean 'test'?"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_an_unknown_task_is_answered_with_the_nearest(
    command: tuple[str, ...], wanted: str, tmp_path: Path
) -> None:
    assert wanted in refused(*command, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "right", "wrong", "wanted"),
    [
        ("simulate", "max_steps: 40", "max_stepz: 40", "unknown key 'tasks.0.max_stepz'"),
        ("simulate", "expert: cartpole", "expert: cartpool", "did you mean 'cartpole'?"),
        ("simulate", "env: CartPole-v1", "env: CartPole-v9", "did you mean 'CartPole-v1'"),
        ("record", "ArrowRight: 1}", "ArrowRigth: 1}", "did you mean 'ArrowRight'?"),
        ("record", "ArrowRight: 1}", "ArrowRight: 7}", "control 'ArrowRight'"),
        ("record", "suite: small", "suite: [small", "expected YAML"),
        ("record", "max_steps: 40", "success: 'rewards > 0'", "did you mean 'reward'?"),
    ],
)
def test_a_suite_with_a_typo_is_refused_where_the_typo_is(
    verb: str, right: str, wrong: str, wanted: str, tmp_path: Path
) -> None:
    path = tmp_path / "typo.yaml"
    path.write_text(SUITE.replace(right, wrong), "utf-8")
    more = ("-n", "1", "--workers", "1") if verb == "simulate" else ("--port", "0", "--no-browser")
    assert wanted in refused(verb, path, "-o", tmp_path / "out", *more)
    assert not (tmp_path / "out").exists(), "or mending the suite would make it another one than the store's"


@pytest.mark.slow
def test_a_store_takes_no_demonstrations_of_another_suite(demonstrations: Path) -> None:
    before = hashes(demonstrations)
    assert "suite" in refused("simulate", "CartPole-v1", "-o", demonstrations, "-n", "1")
    assert hashes(demonstrations) == before


@pytest.mark.slow
def test_a_damaged_part_is_found_and_named_and_the_rest_stays(demonstrations: Path, tmp_path: Path) -> None:
    store = tmp_path / "crowd"
    shutil.copytree(demonstrations, store, ignore=shutil.ignore_patterns("columns"))
    part, sound = sorted(store.glob("*.parquet"))
    flip_bit(part)
    before = hashes(store)
    for command in (
        ("inspect", store),
        ("train", store, "-o", tmp_path / "run", "--workers", "1"),
        ("export", store, "--to", "lerobot", "-o", tmp_path / "lerobot"),
    ):
        assert part.name in refused(*command)
    assert hashes(store) == before
    part.rename(tmp_path / part.name)
    assert part.name in refused("inspect", store)
    mended = run("repair", store)
    assert mended.returncode == 0, mended.stderr
    assert part.name in mended.stdout
    inspected = run("inspect", store, "--json", "--workers", "1")
    assert inspected.returncode == 0, inspected.stderr
    assert json.loads(inspected.stdout)["problems"] == []
    assert sound.exists()


@pytest.mark.parametrize("name", [checkpoint.WEIGHTS, checkpoint.DESCRIPTION])
def test_a_checkpoint_with_one_flipped_byte_is_refused(name: str, policy: Path, tmp_path: Path) -> None:
    harmed = tmp_path / "policy"
    shutil.copytree(policy, harmed)
    flip_bit(harmed / name, 0.6)
    line = refused("evaluate", harmed, "-o", tmp_path / "measured", "--episodes", "1")
    assert name in line
    assert not (tmp_path / "measured").exists()


def test_a_port_in_use_is_named(suite_file: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = refused("record", suite_file, "-o", tmp_path / "out", "--port", port, "--no-browser")
    assert port in line


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        (("--steps", "0"), "at 'steps': input should be greater than or equal to 1, got 0"),
        (("--config", "typo.yaml"), "unknown key 'stepz'; allowed: size, steps, batch_steps,"),
        (("--config", "typo.yaml"), "did you mean 'steps'?"),
        (("--resume",), "run"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_a_setting_that_cannot_work_is_named(
    flags: tuple[str, ...], wanted: str, demonstrations: Path, tmp_path: Path
) -> None:
    (tmp_path / "typo.yaml").write_text("stepz: 3\n", "utf-8")
    assert wanted in refused("train", demonstrations, "-o", "run", *flags, cwd=tmp_path)


@pytest.mark.parametrize(
    ("features", "complaint"),
    [
        ("torchvision:resnet18", "torchvision:resnet18"),
        ("timm:resnet18", "timm:resnet18"),
        ("resnet18", "expected none, patches, efficientnet-lite0, torchvision:NAME or timm:NAME"),
        ("timm:hf-hub:someone/something", "got 'timm:hf-hub:someone/something'"),
    ],
)
def test_features_that_are_not_there_are_told_before_a_store_is_read(
    features: str, complaint: str, tmp_path: Path
) -> None:
    line = refused("train", tmp_path / "no store", "-o", tmp_path / "run", "--features", features)
    assert complaint in line
    assert "store" not in line.replace(str(tmp_path), "")
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_trained_over(demonstrations: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "kept").mkdir(parents=True)
    line = refused("train", demonstrations, "-o", tmp_path / "run", "--steps", "3")
    assert "go on with --resume or name another folder" in line
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_file_where_a_folder_should_be_is_named(suite_file: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine", "utf-8")
    line = refused("simulate", suite_file, "-o", tmp_path / "taken", "-n", "1", "--workers", "1")
    assert "taken" in line
    assert (tmp_path / "taken").read_text("utf-8") == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["small disk", "small files"])
def test_a_full_disk_loses_nothing(kind: str, suite_file: Path, demonstrations: Path, tmp_path: Path) -> None:
    limit = {"file_bytes": 2048} if kind == "small files" else {}
    with small_disk(tmp_path / "disk") if kind == "small disk" else plain(tmp_path / "disk") as disk:
        store = disk / "crowd"
        shutil.copytree(demonstrations, store, ignore=shutil.ignore_patterns("columns"))
        before = {name: digest for name, digest in hashes(store).items() if "manifest" not in str(name)}
        if kind == "small disk":
            fill(disk / "ballast")
        command = ("simulate", suite_file, "-o", store, "-n", "40", "--skip", "9", "--workers", "1")
        assert "the disk is full; nothing that was there is lost" in refused(*command, **limit)
        assert hashes(store).items() >= before.items()
        left = Store.open(store)
        assert left.verify() == []
        assert len(left) >= 4
        (disk / "ballast").unlink(missing_ok=True)
        again = run(*command)
        assert again.returncode == 0, again.stderr
        assert len(Store.open(store)) >= 44
