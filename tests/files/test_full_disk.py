"""On a full disk training, evaluation and report end in one line, lose nothing, and can go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor
from tutelage.agents.evaluation.evaluate import evaluate
from tutelage.agents.evaluation.rollout import rollout
from tutelage.agents.evaluation.saved_evaluation import read_evaluation
from tutelage.agents.policy.checkpoint import load
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError
from tutelage.tests.support.command_line import run
from tutelage.tests.support.disks import fill, small_disk

SUITE = suite_from(
    {"suite": "toy", "tasks": [{"id": "t", "env": "CartPole-v1", "max_steps": 20, "expert": "cartpole"}]}
)
CONFIG = TrainConfig(
    size=1, steps=12, batch_steps=64, window=8, threads=1, workers=1, save_every=4, evaluate_every=4
)
FULL = "the disk is full; nothing that was there is lost; free some space"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.create(tmp_path_factory.mktemp("crowd") / "store", SUITE)
    store.append(rollout(ExpertActor(), SUITE["t"], range(4), suite_name="toy"))
    return store


@pytest.fixture(scope="module")
def whole(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a disk with room."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train([store], out, CONFIG, evaluate=always)
    return out


def always(policy: Any) -> dict[str, float]:
    return {"t": 0.5}


def size_of(run: Path) -> int:
    return sum(path.stat().st_size for path in run.rglob("*") if path.is_file()) // 1024


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
def test_training_that_fills_a_disk_can_be_resumed_to_the_same_weights(
    share: float, store: Store, whole: Path, tmp_path: Path
) -> None:
    # a state and its successor, two checkpoints: nearly three times what stays
    with small_disk(tmp_path / "disk", 3 * size_of(whole)) as disk:
        (disk / "ballast").write_bytes(bytes(int((3 - 1.5 * share) * size_of(whole) * 1024) - 20_000))
        run = disk / "run"
        try:
            train([store], run, CONFIG, evaluate=always)
        except TutelageError as error:
            message = str(error)
        else:
            message = ""
        if share <= 0.6:
            assert FULL in message
        assert "\n" not in message
        for name in ("kept", "last"):
            if (run / name / "policy.yaml").exists():
                load(run / name)
        (disk / "ballast").unlink()
        resumed: list[str] = []
        train([store], run, CONFIG, resume=True, evaluate=always, notice=resumed.append)
        for name in ("kept", "last"):
            weights = f"{name}/policy.safetensors"
            assert (run / weights).read_bytes() == (whole / weights).read_bytes()


@pytest.mark.slow
def test_a_disk_that_is_full_when_figures_are_written(store: Store, whole: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=30, save_every=5, evaluate_every=15)
    with small_disk(tmp_path / "disk", 10 * size_of(whole)) as disk:

        def fills(policy: Any) -> dict[str, float]:
            fill(disk / "ballast")
            return {"t": 0.5}

        with pytest.raises(TutelageError, match=f"{FULL} and go on with --resume"):
            train([store], disk / "run", config, evaluate=fills)
        (disk / "ballast").unlink()
        notices: list[str] = []
        train([store], disk / "run", config, resume=True, evaluate=always, notice=notices.append)
        assert load(disk / "run" / "last").lineage["step"] == 30


@pytest.mark.slow
def test_the_command_line_says_it_in_one_line(store: Store, whole: Path, tmp_path: Path) -> None:
    few = ("--size", "1", "--steps", "3", "--batch-steps", "64", "--select-episodes", "1", "--workers", "1")
    train_it = ("train", store.path, "-o", tmp_path / "run", *few)
    evaluate_it = ("evaluate", whole, "-o", tmp_path / "measured", "--episodes", "8", "--actor", "none")
    for command, most in ((train_it, 20_000), (evaluate_it, 1000)):
        done = run(*command, file_bytes=most)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("tutelage: ")]
        assert len(lines) == 1, done.stderr
        assert FULL in lines[0]
    assert not (tmp_path / "measured").exists()
    assert run(*train_it, "--resume").returncode == 0


def test_an_evaluation_on_a_full_disk_leaves_the_one_before_it(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 256) as disk:
        evaluate(SUITE, [ChanceActor()], episodes=3, out=disk / "measured")
        before = read_evaluation(disk / "measured").rows
        fill(disk / "ballast")
        with pytest.raises(TutelageError, match=FULL):
            evaluate(SUITE, [ExpertActor()], episodes=3, out=disk / "measured")
        assert read_evaluation(disk / "measured").rows.equals(before)
        (disk / "ballast").unlink()
        evaluate(SUITE, [ExpertActor()], episodes=3, out=disk / "measured")
        assert set(read_evaluation(disk / "measured").rows["actor"].to_pylist()) == {"expert"}


def test_a_report_on_a_full_disk_leaves_the_one_before_it(tmp_path: Path) -> None:
    from tutelage.agents.evaluation.compare import report_on

    evaluate(SUITE, [ExpertActor(), ChanceActor()], episodes=3, out=tmp_path / "measured")
    with small_disk(tmp_path / "disk", 256) as disk:
        (disk / "report.html").write_text("the one before")
        fill(disk / "ballast")
        with pytest.raises(TutelageError, match=FULL):
            report_on(tmp_path / "measured", disk / "report.html")
        assert (disk / "report.html").read_text() == "the one before"
        assert sorted(path.name for path in disk.iterdir()) == ["ballast", "report.html"]
