"""Rows on their way through an edit: on disk without a name, and a full disk is one line."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tutelage.datasets.editing.row_spool import RowSpool
from tutelage.datasets.schema import from_batch
from tutelage.datasets.trajectory import Trajectory
from tutelage.errors import TutelageError
from tutelage.tests.support.disks import small_disk

Recorder = Callable[..., Trajectory]


def test_what_went_in_comes_out_and_nothing_of_it_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: Recorder, equal: Callable[..., bool]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spool = RowSpool()
    episodes = [record(seed=seed) for seed in range(70)]
    spool.add(episodes[:65])
    assert not list(tmp_path.iterdir())
    spool.add(episodes[65:])
    rows = spool.table()
    assert not list(tmp_path.iterdir())
    assert len(spool) == len(rows) == 70
    back = [episode for batch in rows.to_batches() for episode in from_batch(batch)]
    assert all(equal(*pair) for pair in zip(episodes, back, strict=True))
    assert len(RowSpool().table()) == 0


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: Recorder) -> None:
    rows = RowSpool()
    rows.add(record("camera", seed=seed, stored=True, steps=30) for seed in range(64))
    with small_disk(tmp_path / "disk", in_use=True) as folder:
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        spool = RowSpool()
        with pytest.raises(TutelageError, match=r"expected to write to .*disk, got: the disk is full"):
            spool.add_rows(rows.table())
        del spool
