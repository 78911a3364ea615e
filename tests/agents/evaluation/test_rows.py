"""Rows have one schema for everyone, survive a file, and never hold an episode twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tutelage.agents.evaluation.rows import SCHEMA, joined, read_rows, rows_from, write_rows
from tutelage.datasets.trajectory import Trajectory
from tutelage.errors import TutelageError


def episode(kind: str = "policy", who: str = "bc", seed: int = 1_500_000_000) -> Trajectory:
    return Trajectory(
        suite="s",
        task="t",
        env="CartPole-v1",
        seed=seed,
        demonstrator=who,
        kind=kind,
        actions=np.zeros((3, 1)),
        rewards=np.array([0.0, 0.5, 1.0]),
        times_ms=np.array([10, 20, 2500], np.int32),
        controllers=np.zeros(3, np.int8),
        frames=np.arange(3, dtype=np.int32),
        terminated=True,
        truncated=False,
        success=True,
        digest=b"0" * 16,
    )


def test_a_row_holds_what_the_episode_came_to() -> None:
    (row,) = rows_from([episode()]).to_pylist()
    assert {key: row[key] for key in ("task", "actor", "kind", "success", "return", "steps", "seconds")} == {
        "task": "t",
        "actor": "bc",
        "kind": "policy",
        "success": True,
        "return": 1.5,
        "steps": 3,
        "seconds": 2.5,
    }


def test_people_are_one_more_actor_and_keep_their_pseudonyms() -> None:
    rows = rows_from([episode("person", "ada"), episode("person", "bob"), episode("simulated", "lazy-1")])
    assert rows["actor"].to_pylist() == ["people", "people", "simulated crowd"]
    assert rows["demonstrator"].to_pylist() == ["ada", "bob", "lazy-1"]
    assert rows_from([episode("person", "ada")], "ada herself")["actor"].to_pylist() == ["ada herself"]


def test_rows_survive_a_file_and_any_parquet_reader(tmp_path: Path) -> None:
    rows = rows_from([episode(seed=seed) for seed in range(5)])
    path = write_rows(tmp_path / "deep" / "rows.parquet", rows)
    assert read_rows(path).equals(rows)
    assert pq.read_table(path).schema.names == SCHEMA.names


def test_an_episode_that_comes_twice_is_kept_once() -> None:
    rows = rows_from([episode(), episode()])
    assert len(joined([rows, rows.slice(0, 1)])) == 2
    assert joined([]).schema == SCHEMA


def test_no_episodes_are_rows_too() -> None:
    assert rows_from([]).schema == SCHEMA


def test_a_missing_damaged_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match="found none"):
        read_rows(tmp_path / "rows.parquet")
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 not at all")
    with pytest.raises(TutelageError, match="damaged"):
        read_rows(damaged)
    foreign = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"x": [1]}), foreign)
    with pytest.raises(TutelageError, match="missing 'suite'"):
        read_rows(foreign)
