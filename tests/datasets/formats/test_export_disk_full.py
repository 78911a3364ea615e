"""A full disk ends an export or import in one line and status 2, and nothing half-written is left."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tutelage.datasets.formats.exchange import export_store
from tutelage.datasets.store import Store
from tutelage.tests.cli.test_bad_input import hashes, refused
from tutelage.tests.support.command_line import run
from tutelage.tests.support.disks import fill, plain, small_disk

pytestmark = pytest.mark.xdist_group("bad_input")

SUITE = """
suite: small
tasks:
  - {id: balance, env: CartPole-v1, max_steps: 60, expert: cartpole}
  - {id: longer, env: CartPole-v1, max_steps: 90, expert: cartpole}
"""


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    (folder / "small.yaml").write_text(SUITE)
    made = run("simulate", folder / "small.yaml", "-o", folder / "crowd", "-n", "8", "--workers", "1")
    assert made.returncode == 0, made.stderr
    return folder / "crowd"


@pytest.mark.slow
@pytest.mark.parametrize("to", ["minari", "lerobot", "csv", "npz", "robomimic", "rlds"])
@pytest.mark.parametrize("kind", ["small disk", "small files"])
def test_an_export_to_a_full_disk_leaves_nothing(kind: str, to: str, crowd: Path, tmp_path: Path) -> None:
    limit = {"file_bytes": 2048} if kind == "small files" else {}
    with small_disk(tmp_path / "disk") if kind == "small disk" else plain(tmp_path / "disk") as disk:
        (disk / "mine.txt").write_text("mine")
        if kind == "small disk":
            (disk / "room").write_bytes(bytes(48 << 10))
            fill(disk / "ballast")
            (disk / "room").unlink()  # the export begins well, and then the disk is full
        before = hashes(disk)
        line = refused("export", crowd, "--to", to, "-o", disk / "new" / "out", **limit)
        assert "the disk is full" in line
        assert hashes(disk) == before
        assert not (disk / "new").exists()
        (disk / "ballast").unlink(missing_ok=True)
    again = run("export", crowd, "--to", to, "-o", tmp_path / "out")
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("to", ["minari", "lerobot"])
def test_an_import_to_a_full_disk_leaves_nothing(to: str, crowd: Path, tmp_path: Path) -> None:
    export_store(Store.open(crowd), to, tmp_path / "out")
    with small_disk(tmp_path / "disk") as disk:
        fill(disk / "ballast")
        line = refused("import", to, tmp_path / "out", "-o", disk / "back")
        assert "the disk is full" in line
        assert [path.name for path in disk.iterdir()] == ["ballast"]


def test_forgetting_on_a_full_disk_keeps_the_export_and_says_so(crowd: Path, tmp_path: Path) -> None:
    store = Store.open(shutil.copytree(crowd, tmp_path / "crowd", ignore=shutil.ignore_patterns(".exports")))
    who = store.episodes()["demonstrator"].to_pylist()[0]
    with small_disk(tmp_path / "disk") as disk:
        export_store(store, "lerobot", disk / "out")
        fill(disk / "ballast")
        line = refused("forget", who, "--store", store.path)
        assert "must be removed by hand" in line or "to be left" in line
        assert not list((disk / "out").rglob("*.new"))
        (disk / "ballast").unlink()
        again = run("forget", who, "--store", store.path)
        assert again.returncode == 0, again.stderr
