"""Folders that an attacker hands over: pipes, links and false words in them neither hold up nor lead out."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.cli.main import app
from tutelage.console.wording import counted
from tutelage.crowd.server.recorder_app import listen
from tutelage.crowd.storage.journal import Journal
from tutelage.datasets.formats.exchange import export_store, import_store
from tutelage.datasets.formats.export_marker import MARKERS, write_marker
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError
from tutelage.files.state_folder import state_folder
from typer.testing import CliRunner

SUITE = suite_from({"suite": "poles", "tasks": [{"id": "pole", "env": "CartPole-v1", "max_steps": 20}]})


@pytest.fixture
def store(fill: Callable[..., Store], tmp_path: Path) -> Store:
    """Give a store of its own for each test."""
    filled = fill(SUITE, 1, 3)
    shutil.copytree(filled.path, tmp_path / "store")
    return Store.open(tmp_path / "store")


@pytest.fixture
def exported(store: Store, tmp_path: Path) -> Path:
    """Give a LeRobot export of the store."""
    export_store(store, "lerobot", tmp_path / "exported")
    return tmp_path / "exported"


def rewrite(store: Store, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest of a store, and seal it anew as its maker would."""
    path = store.path / "manifest.json"
    document = json.loads(path.read_bytes())
    del document["sha256"]
    change(document)
    body = json.dumps(document, separators=(",", ":")).encode()
    digest = hashlib.sha256(body).hexdigest().encode()
    path.write_bytes(b'%s,"sha256":"%s"}\n' % (body[:-1], digest))


def reseal(folder: Path, to: str, **changes: Any) -> None:
    """Change the marker of an export, and seal it anew as its maker would."""
    path = folder / MARKERS[to]
    document = json.loads(path.read_text()) | changes
    content = {name: document[name] for name in ("token", "task", "episodes", "suite", "files")}
    document["hash"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(document))


def refused(*arguments: str | Path) -> str:
    """Run a verb that must end in one line; returns it."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(result.exception, TutelageError), result.output
    return str(result.exception)


@pytest.mark.timeout(60)
def test_a_pipe_in_place_of_a_stores_lock_holds_nobody_up(store: Store) -> None:
    (store.path / ".lock").unlink(missing_ok=True)
    os.mkfifo(store.path / ".lock")
    (store.path / "part-foreign.parquet").write_bytes(b"")
    assert "part-foreign.parquet" in refused("inspect", store.path, "--no-verify")
    assert "part-foreign.parquet" in refused("quality", store.path)


@pytest.mark.parametrize("episodes", [1, 3, 10**15])
def test_a_manifest_that_counts_wrongly_is_named_and_mended(store: Store, episodes: int) -> None:
    def lie(document: dict[str, Any]) -> None:
        for entry in document["parts"].values():
            entry["episodes"] = episodes

    assert len(store.parts()) == 1
    assert len(store) == 2
    rewrite(store, lie)
    assert f"to have {counted(episodes, 'episode')}" in refused("inspect", store.path, "--no-verify")
    with pytest.raises(TutelageError, match=f"to have {counted(episodes, 'episode')}"):
        len(Store.open(store.path))
    assert "has 2 episodes" in refused("repair", store.path, "--dry-run")
    assert CliRunner().invoke(app, ["repair", str(store.path)]).exception is None
    assert len(Store.open(store.path)) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("episodes", value) for value in (0, -5, "3", None, True, 2.0, 10**300)),
        *(("bytes", value) for value in (-1, [1], "9", None)),
        *(("sha256", value) for value in (None, 5, [], "", "x" * 64)),
    ],
)
def test_a_manifest_says_only_what_can_be(store: Store, field: str, value: Any) -> None:
    def lie(document: dict[str, Any]) -> None:
        for entry in document["parts"].values():
            entry[field] = value

    rewrite(store, lie)
    assert "expected a manifest of version" in refused("inspect", store.path, "--no-verify")


@pytest.mark.parametrize("name", ["/../../elsewhere", "../x", "", "0123456789AB", "a" * 5000, ["a"]])
def test_the_name_of_a_stores_copied_manifest_leads_nowhere(store: Store, name: Any) -> None:
    rewrite(store, lambda document: document.update(store=name))
    assert "expected a manifest of version" in refused("inspect", store.path, "--no-verify")


@pytest.mark.parametrize("is_there", [True, False])
def test_a_journal_that_is_a_link_is_not_followed(store: Store, tmp_path: Path, is_there: bool) -> None:
    elsewhere = tmp_path / "elsewhere" / "journal.sqlite"
    elsewhere.parent.mkdir()
    if is_there:
        Journal(elsewhere).close()
    before = sorted(elsewhere.parent.iterdir())
    (store.path / "journal.sqlite").symlink_to(elsewhere)
    with pytest.raises(TutelageError, match="got a link to"):
        Journal(store.path / "journal.sqlite")
    if is_there:
        assert "got a link to" in refused("repair", store.path)
    assert sorted(elsewhere.parent.iterdir()) == before


@pytest.mark.parametrize("name", ["last", "kept", "tensorboard"])
def test_a_run_that_is_gone_on_with_writes_to_no_link_in_it(store: Store, tmp_path: Path, name: str) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    run.mkdir()
    elsewhere.mkdir()
    config = TrainConfig(size=1, steps=1, batch_steps=64, window=8)
    config.save(run / "config.yaml")
    (run / name).symlink_to(elsewhere)
    with pytest.raises(TutelageError, match="got a link to"):
        train([store], run, config, resume=True)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("files", value) for value in ([], None, "x", 5)),
        *(("task", value) for value in ([], {}, None, 5)),
        *(("episodes", value) for value in ("3", None, 3.0, True)),
        *(("token", value) for value in (None, 5)),
        ("suite", None),
    ],
)
def test_a_marker_of_other_types_is_refused(exported: Path, tmp_path: Path, field: str, value: Any) -> None:
    reseal(exported, "lerobot", **{field: value})
    for more in ([], ["--changed"]):
        assert f"expected {field} in" in refused("import", "lerobot", exported, "-o", tmp_path / "in", *more)
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize("name", ["meta/episodes/../../../x", "/etc/passwd", "meta//x", "x\0", "", "./x"])
def test_a_marker_names_files_of_the_export_only(exported: Path, tmp_path: Path, name: str) -> None:
    files = json.loads((exported / MARKERS["lerobot"]).read_text())["files"]
    reseal(exported, "lerobot", files={**files, name: "0" * 64})
    for more in ([], ["--changed"]):
        line = refused("import", "lerobot", exported, "-o", tmp_path / "in", *more)
        assert "expected files of the export in" in line


@pytest.mark.parametrize("kind", ["data", "meta/episodes"])
def test_a_link_in_an_export_leads_to_no_other_data(
    store: Store, exported: Path, tmp_path: Path, kind: str
) -> None:
    table = next((exported / kind).rglob("*.parquet"))
    private = tmp_path / "private.parquet"
    table.rename(private)
    table.symlink_to(private)
    marker = json.loads((exported / MARKERS["lerobot"]).read_text())
    write_marker(exported, "lerobot", marker["token"], marker["task"], marker["episodes"], marker["suite"])
    with pytest.raises(TutelageError, match=r"got a link to another place|was changed|were changed"):
        import_store(exported, "lerobot", tmp_path / "in")
    with pytest.raises(TutelageError, match="got a link to another place"):
        import_store(exported, "lerobot", tmp_path / "in", keep_changed=True)
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize(
    "changes",
    [{"folder": "/"}, {"folder": "/tmp/../etc"}, {"folder": "etc"}, {"folder": "/x\0"}, {"to": "nope"}],
)
def test_an_entry_of_the_registry_that_cannot_be_one_is_named(
    store: Store, exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, str]
) -> None:
    registry = state_folder() / "exports"
    token = json.loads((exported / MARKERS["lerobot"]).read_text())["token"]
    monkeypatch.setenv("TUTELAGE_STATE", str(tmp_path / "state"))
    entry = state_folder() / "exports" / f"{token}.json"
    entry.parent.mkdir()
    entry.write_text(json.dumps(json.loads((registry / entry.name).read_text()) | changes))
    person = store.episodes()["demonstrator"][0].as_py()
    assert f"expected one of your exports in {entry}" in refused("forget", person, "--store", store.path)
    assert person in Store.open(store.path).episodes()["demonstrator"].to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize("host", ["e\x1b[31m\u202e", "x" * 300, "a\0b", "\udc80"])
def test_a_host_that_cannot_be_one_is_named_in_one_line(host: str) -> None:
    with pytest.raises(TutelageError, match="expected --host to be an address"):
        listen(host, 0)
