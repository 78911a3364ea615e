"""A Minari dataset that has another file of this machine read for it is refused before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from tutelage.datasets.formats.exchange import export_store, import_store
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError

LENGTH = 40


@pytest.fixture
def dataset(tmp_path: Path, fill: Callable[..., Store]) -> Path:
    """Give a folder with a Minari dataset, and a file outside of it that an episode could point at."""
    filled = fill(suite_from({"suite": "small", "tasks": [{"id": "pole", "env": "CartPole-v1"}]}), 1)
    export_store(filled, "minari", tmp_path / "handed")
    (tmp_path / "outside.bin").write_bytes(np.arange(LENGTH, dtype=np.float64).tobytes())
    with h5py.File(tmp_path / "outside.hdf5", "w") as file:
        file["rewards"] = np.arange(LENGTH, dtype=np.float64)
    return tmp_path / "handed"


def external_link(episode: h5py.Group, outside: Path) -> None:
    episode["rewards"] = h5py.ExternalLink(outside.with_suffix(".hdf5"), "rewards")


def external_storage(episode: h5py.Group, outside: Path) -> None:
    place = [(str(outside), 0, 8 * LENGTH)]
    episode.create_dataset("rewards", (LENGTH,), np.float64, external=place)


def virtual(episode: h5py.Group, outside: Path) -> None:
    layout = h5py.VirtualLayout((LENGTH,), np.float64)
    layout[:] = h5py.VirtualSource(outside.with_suffix(".hdf5"), "rewards", (LENGTH,))
    episode.create_virtual_dataset("rewards", layout)


ELSEWHERE = r"the numbers of /episode_0/rewards in .* in the file itself, got the names of other files"


@pytest.mark.parametrize(
    ("point", "line"),
    [
        (external_link, "got a link at /episode_0/rewards, which may lead elsewhere"),
        (external_storage, ELSEWHERE),
        (virtual, ELSEWHERE),
    ],
)
def test_data_that_lie_in_another_file_are_refused(
    dataset: Path, tmp_path: Path, point: Callable[[h5py.Group, Path], None], line: str
) -> None:
    with h5py.File(next(dataset.rglob("*.hdf5")), "a") as file:
        del file["episode_0"]["rewards"]
        point(file["episode_0"], tmp_path / "outside.bin")
    with pytest.raises(TutelageError, match=line):
        import_store(dataset, "minari", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_link_out_of_the_folder_is_refused(dataset: Path, tmp_path: Path) -> None:
    path = next(dataset.rglob("*.hdf5"))
    path.rename(tmp_path / "moved.hdf5")
    path.symlink_to(tmp_path / "moved.hdf5")
    with pytest.raises(TutelageError, match="got a link out of it"):
        import_store(dataset, "minari", tmp_path / "store")


def test_a_dataset_that_holds_its_own_data_is_read(dataset: Path, tmp_path: Path) -> None:
    import_store(dataset, "minari", tmp_path / "store")
    assert len(Store.open(tmp_path / "store")) == 1
