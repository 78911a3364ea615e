"""Copies of finished parts in a bucket: whole, in order, kept up while the bucket is away, and forgotten."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import fsspec
import pytest
from moto.server import ThreadedMotoServer
from tutelage.datasets.maintenance.replication import PartCopies, forget_remotely
from tutelage.datasets.remote import RemoteFolder
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.errors import TutelageError

Recorder = Callable[..., Trajectory]


@pytest.fixture(params=["s3", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        request.getfixturevalue("s3")
        return "s3://crowd/first/parts"
    return f"file://{tmp_path / 'elsewhere'}"


@contextlib.contextmanager
def copying(store: Store, url: str) -> Iterator[tuple[PartCopies, list[str]]]:
    heard: list[str] = []
    copies = PartCopies(store, url, heard.append)
    copies.start()
    try:
        yield copies, heard
    finally:
        copies.close()


def until(true: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.02)


def download(url: str, into: Path) -> Store:
    remote = RemoteFolder(url)
    into.mkdir()
    for name in remote.sizes():
        with remote.open(name) as file:
            (into / name).write_bytes(file.read())
    return Store.open(into)


def test_what_is_downloaded_is_the_store(store: Store, record: Recorder, url: str, tmp_path: Path) -> None:
    before = store.append([record(seed=1)])
    with copying(store, url) as (copies, heard):
        for seed in (2, 3):
            copies.put(store.append([record(seed=seed)]))
        until(lambda: not copies.waiting)
    assert before.name in RemoteFolder(url).sizes()
    again = download(url, tmp_path / "again")
    assert [one.seed for one in again.trajectories()] == [1, 2, 3]
    assert again.part_hashes() == store.part_hashes()
    assert heard == []


def test_a_copy_that_was_cut_short_is_made_again(
    store: Store, record: Recorder, url: str, tmp_path: Path
) -> None:
    part = store.append([record(seed=1)])
    half = tmp_path / part.name
    half.write_bytes(part.read_bytes()[:100])
    RemoteFolder(url).copy(half)
    with copying(store, url):
        pass
    assert download(url, tmp_path / "again").part_hashes() == store.part_hashes()


@pytest.mark.slow
def test_copies_wait_while_the_bucket_is_away(s3: ThreadedMotoServer, store: Store, record: Recorder) -> None:
    _, port = s3.get_host_and_port()
    url = "s3://crowd/parts"
    with copying(store, url) as (copies, heard):
        copies.put(store.append([record(seed=1)]))
        until(lambda: not copies.waiting)
        s3.stop()
        for seed in (2, 3):
            copies.put(store.append([record(seed=seed)]))  # comes back though no bucket does
        until(lambda: heard)
        assert copies.waiting == 2
        back = ThreadedMotoServer(port=port, verbose=False)
        back.start()
        until(lambda: not copies.waiting)
        assert len(RemoteFolder(url).sizes()) == 2 + 3
        back.stop()
    assert [re.split("wait|on", one)[0] for one in heard] == [
        f"The copies at {url} have to ",
        f"The copies at {url} go ",
    ]


def test_the_next_start_copies_what_was_left(s3: ThreadedMotoServer, store: Store, record: Recorder) -> None:
    _, port = s3.get_host_and_port()
    s3.stop()
    with copying(store, "s3://crowd/parts") as (copies, heard):
        copies.put(store.append([record(seed=1)]))
        until(lambda: heard)
    back = ThreadedMotoServer(port=port, verbose=False)
    back.start()
    with copying(store, "s3://crowd/parts") as (copies, _):
        until(lambda: len(copies.remote.sizes()) == 2 + 1)
    back.stop()


def test_a_part_that_goes_in_mid_copy_leaves_nothing_behind(store: Store, record: Recorder, url: str) -> None:
    gone = store.append([record(seed=1, demonstrator="eve")])
    left = store.append([record(seed=2, demonstrator="eve"), record(seed=3)])
    with copying(store, url) as (copies, heard):
        until(lambda: len(copies.remote.sizes()) == 2 + 2)
        store.forget("eve")
        copies.put(gone)
        for part in store.parts():
            copies.put(part)
        until(lambda: not copies.waiting)
        assert left.name not in copies.remote.sizes()
    assert heard == []


def test_what_others_put_there_after_a_listing_is_found(url: str) -> None:
    remote = RemoteFolder(url)
    remote.write("first", b"1")
    assert remote.sizes() == {"first": 1}
    elsewhere, folder = fsspec.url_to_fs(url, skip_instance_cache=True)
    elsewhere.pipe_file(f"{folder}/second", b"22")
    with remote.open("second") as file:
        assert file.read() == b"22"
    assert remote.sizes() == {"first": 1, "second": 2}


def test_forgetting_reaches_every_version_in_the_bucket(
    s3: ThreadedMotoServer, store: Store, record: Recorder, tmp_path: Path
) -> None:
    url = "s3://crowd/parts"
    boto3.client("s3").put_bucket_versioning(Bucket="crowd", VersioningConfiguration={"Status": "Enabled"})
    store.append([record(seed=1, demonstrator="eve"), record(seed=2)])
    store.append([record(seed=3, demonstrator="eve")])
    store.append([record(seed=4)])
    with copying(store, url):
        pass
    remote = RemoteFolder(url)
    boto3.client("s3").delete_object(Bucket="crowd", Key=f"parts/{store.parts()[1].name}")
    assert len(remote.versions()) == 4 + 1
    assert len(remote.sizes()) == 3 + 1
    assert forget_remotely(remote, "eve") == 1
    again = download(url, tmp_path / "again")
    assert [(one.seed, one.demonstrator) for one in again.trajectories()] == [(2, "ann"), (4, "ann")]
    assert again.verify() == []
    assert {name for name, _ in remote.versions()} == set(remote.sizes())
    assert forget_remotely(remote, "eve") == 0


def test_forgetting_leaves_others_as_they_were(
    store: Store, record: Recorder, url: str, tmp_path: Path
) -> None:
    store.append([record(seed=1, demonstrator="eve"), record(seed=2)])
    store.append([record(seed=4)])
    with copying(store, url):
        pass
    assert forget_remotely(RemoteFolder(url), "eve") == 1
    again = download(url, tmp_path / "again")
    assert [one.demonstrator for one in again.trajectories()] == ["ann", "ann"]
    assert store.parts()[1].name in RemoteFolder(url).sizes()


def test_a_url_that_leads_nowhere_is_named() -> None:
    with pytest.raises(TutelageError, match="s3://bucket"):
        RemoteFolder("nowhere://at/all")
