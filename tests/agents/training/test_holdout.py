"""Held-out episodes are not trained on, and the loss on them is logged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tutelage.agents.evaluation.report.report import read_metrics
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.holdout import Holdout
from tutelage.agents.training.step import make_sampler
from tutelage.datasets.arrays.sampler import Sampler, TaskArrays, load_columns
from tutelage.datasets.formats.exchange import import_store
from tutelage.datasets.store import Store
from tutelage.errors import TutelageError
from tutelage.tests.support.robot_dataset import write_dataset

CONFIG = TrainConfig(
    size=1, steps=6, batch_steps=32, window=8, threads=1, workers=1, evaluate_every=2, holdout=0.25, warmup=0
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("robot")
    import_store(write_dataset(folder / "robot", camera="", lengths=(9,) * 12), "lerobot", folder / "store")
    return Store.open(folder / "store")


@pytest.fixture(scope="module")
def columns(store: Store) -> dict[str, TaskArrays]:
    return load_columns([store])


def rows_of(sampler: Sampler, batches: int) -> set[int]:
    return {int(row) for number in range(batches) for row in sampler.batch(number)["robot"].rows}


def test_what_is_held_out_is_never_taught(columns: dict[str, TaskArrays]) -> None:
    weights = {"robot": np.array([0.0, *[1.0] * 11])}
    holdout = Holdout.of(columns, weights, CONFIG)
    assert holdout.taught["robot"][0] == 0
    left_out = np.flatnonzero(weights["robot"] - holdout.taught["robot"])
    assert len(left_out) == 3
    starts = columns["robot"].starts
    held = {row for episode in left_out for row in range(starts[episode], starts[episode + 1])}
    assert rows_of(holdout.sampler, 3) == held
    assert not held & rows_of(make_sampler(columns, CONFIG, holdout.taught), 40)
    again = Holdout.of(columns, weights, CONFIG)
    assert np.array_equal(again.taught["robot"], holdout.taught["robot"])
    other = Holdout.of(columns, weights, replace(CONFIG, seed=1))
    assert not np.array_equal(other.taught["robot"], holdout.taught["robot"])


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_at_least_one_episode_is_held_out_and_one_is_taught(
    columns: dict[str, TaskArrays], share: float
) -> None:
    holdout = Holdout.of(columns, {"robot": np.ones(12)}, replace(CONFIG, holdout=share))
    assert (holdout.taught["robot"] > 0).sum() == (11 if share < 0.5 else 1)


def test_a_single_episode_cannot_be_held_out(columns: dict[str, TaskArrays]) -> None:
    with pytest.raises(TutelageError, match="at least two teaching episodes for --holdout"):
        Holdout.of(columns, {"robot": np.array([1.0, *[0.0] * 11])}, CONFIG)


def test_the_loss_on_them_is_logged_and_drawn(store: Store, tmp_path: Path) -> None:
    train([store], tmp_path / "run", CONFIG)
    records = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    measured = [record for record in records if "holdout_loss" in record]
    assert [record["step"] for record in measured] == [2, 4, 6]
    assert all(set(record["holdout_task_loss"]) == {"robot"} for record in measured)
    assert measured[-1]["holdout_loss"] < measured[0]["holdout_loss"]
    curves = read_metrics(tmp_path / "run")
    assert curves is not None
    assert list(curves[0]) == ["held-out loss"]  # six steps have one point of the training loss


def test_measuring_changes_no_weight_and_a_run_goes_on_with_it(store: Store, tmp_path: Path) -> None:
    train([store], tmp_path / "whole", replace(CONFIG, evaluate_every=100))
    train([store], tmp_path / "often", CONFIG)
    weights = [(tmp_path / name / "last/policy.safetensors").read_bytes() for name in ("whole", "often")]
    assert weights[0] == weights[1]
    with pytest.raises(TutelageError, match=r"expected --holdout 0\.25, which .* was begun with, got 0\.0"):
        train([store], tmp_path / "often", replace(CONFIG, holdout=0.0), resume=True)
    train([store], tmp_path / "often", replace(CONFIG, steps=8), resume=True)


def test_self_imitation_has_no_holdout() -> None:
    with pytest.raises(TutelageError, match="at 'self_imitation': expected 0 with holdout, got 1"):
        replace(CONFIG, self_imitation=1)
