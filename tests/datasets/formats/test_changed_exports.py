"""Whatever is changed in an export of ours, import refuses it, or takes it in under another id if asked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tutelage.datasets.formats.exchange import export_store, import_store
from tutelage.datasets.formats.export_marker import MARKERS, ExportMarker, write_marker
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError
from tutelage.tests.datasets.test_fingerprint import other
from tutelage.tests.support.fuzz_seals import seal

h5py = pytest.importorskip("h5py")

SUITE = suite_from(
    {
        "suite": "mixed",
        "tasks": [
            {"id": "words", "env": "toys/Words-v0", "kwargs": {"length": 9}},
            {"id": "unrepeatable", "env": "toys/Unrepeatable-v0", "success": "terminated"},
            {"id": "taxi", "env": "tutelage/Taxi-v0"},
        ],
    }
)
FORMATS = ["minari", "lerobot"]


@pytest.fixture(scope="module")
def filled(fill: Callable[..., Store]) -> Store:
    return fill(SUITE, 3, 4)


@pytest.fixture(scope="module")
def exported(filled: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exported")
    for to in FORMATS:
        export_store(filled, to, folder / to)
    return {"minari": folder / "minari" / "mixed", "lerobot": folder / "lerobot"}


def dataset(exported: dict[str, Path], to: str, task: str) -> Path:
    return exported[to] / (f"{task}-v0" if to == "minari" else task)


def refused(folder: Path, to: str, out: Path, match: str = "expected") -> str:
    with pytest.raises(TutelageError, match=match) as caught:
        import_store(folder, to, out)
    assert not out.exists(), "no half store"
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".import")]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def hdf5_values(path: Path) -> list[tuple[str, str]]:
    """List everything that Minari's file holds about the first episode: data sets and attributes."""
    entries: list[tuple[str, str]] = []
    with h5py.File(path, "r") as file:
        group = file["episode_0"]
        entries += [("attribute", name) for name in group.attrs]
        group.visititems(
            lambda name, item: entries.append(("data", name)) if hasattr(item, "dtype") else None
        )
    return entries


def change_hdf5(path: Path, kind: str, name: str) -> None:
    with h5py.File(path, "a") as file:
        group = file["episode_0"]
        if kind == "attribute":
            value = group.attrs[name]
            group.attrs[name] = other(value.item() if hasattr(value, "item") else value)
            return
        values = group[name][()]
        if values.dtype == object:
            values[-1] = values[-1] + b"!"
        else:
            values = other(values)
        group[name][...] = values


@pytest.mark.slow
@pytest.mark.parametrize("task", ["words", "unrepeatable"])
def test_any_changed_value_in_minaris_file_is_seen(
    task: str, exported: dict[str, Path], tmp_path: Path
) -> None:
    source = dataset(exported, "minari", task)
    values = hdf5_values(source / "data" / "main_data.hdf5")
    assert {"actions", "rewards", "infos/times_ms", "infos/controllers", "terminations"} <= {
        name for _, name in values
    }
    assert {"seed", "demonstrator", "kind", "success", "notes", "study"} <= {name for _, name in values}
    for kind, name in values:
        folder = Path(shutil.copytree(source, tmp_path / "changed"))
        change_hdf5(folder / "data" / "main_data.hdf5", kind, name)
        changed = ExportMarker.read(folder, "minari").changed_files(folder)
        assert changed == ["data/main_data.hdf5"], name
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name", "group"),
    [
        ("data", "actions", "actions"),
        ("data", "infos/times_ms", "times"),
        ("data", "infos/controllers", "controllers"),
        ("attribute", "seed", "seed"),
        ("attribute", "demonstrator", "demonstrator"),
        ("data", "observations/words", "observations"),
    ],
)
def test_the_episode_and_what_was_changed_of_it_are_named(
    kind: str, name: str, group: str, exported: dict[str, Path], filled: Store, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(dataset(exported, "minari", "words"), tmp_path / "changed"))
    change_hdf5(folder / "data" / "main_data.hdf5", kind, name)
    first = next(iter(filled.trajectories(task="words")))
    line = refused(folder, "minari", tmp_path / "back", f"got other {group}: its data were changed")
    assert first.episode in line


def cells(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*.parquet")):
        for name in pq.read_schema(path).names:
            yield path, name


def change_cell(path: Path, name: str) -> None:
    """Change one column's first value that is not null, keeping its type."""
    table = pq.read_table(path)
    at = table.column_names.index(name)
    values = table[name].to_pylist()
    row = next((row for row, value in enumerate(values) if value is not None), None)
    assert row is not None

    def change(value: Any) -> Any:
        if isinstance(value, list):
            return [change(value[0]), *value[1:]] if value else [0]
        return (
            {k: change(v) if v is not None else v for k, v in value.items()}
            if isinstance(value, dict)
            else other(value)
        )

    kind, before = table.schema.field(name).type, values[row]
    is_number = isinstance(before, int | float) and not isinstance(before, bool)
    values[row] = -before if is_number and before else change(before)
    pq.write_table(table.set_column(at, table.schema.field(name), pa.array(values, kind)), path)


@pytest.mark.parametrize("task", ["words", "unrepeatable"])
def test_any_changed_column_in_lerobots_files_is_refused(
    task: str, exported: dict[str, Path], tmp_path: Path
) -> None:
    source = dataset(exported, "lerobot", task)
    every = [(path.relative_to(source), name) for path, name in cells(source)]
    names = {name for _, name in every}
    assert {"action", "next.reward", "tutelage.time_ms", "tutelage/facts", "next.done", "timestamp"} <= names
    chosen = [cell for cell in every if not cell[1].startswith("stats/") and "action_rows" not in cell[1]]
    for path, name in [*chosen, *every[-2:]]:
        folder = Path(shutil.copytree(source, tmp_path / "changed"))
        change_cell(folder / path, name)
        refused(folder, "lerobot", tmp_path / "back", "changed|as it was written")
        shutil.rmtree(folder)


@pytest.mark.parametrize("fact", ["episode", "seed", "demonstrator", "kind", "started", "success", "notes",
                                  "study", "consent", "kwargs", "versions", "steps_per_second", "terminated",
                                  "stored", "digest"])  # fmt: skip
def test_a_changed_fact_is_named(fact: str, exported: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(dataset(exported, "lerobot", "words"), tmp_path / "changed"))
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    facts = [json.loads(text) for text in table["tutelage/facts"].to_pylist()]
    special = {"kwargs": '{"other": 1}', "versions": '{"other": "1"}', "digest": "00" * 16}
    facts[0][fact] = special[fact] if fact in special else other(facts[0][fact])
    texts = pa.array([json.dumps(episode_facts) for episode_facts in facts])
    at = table.column_names.index("tutelage/facts")
    pq.write_table(table.set_column(at, "tutelage/facts", texts), path)
    refused(folder, "lerobot", tmp_path / "back", "its data were changed")


@pytest.mark.slow
@pytest.mark.parametrize("to", FORMATS)
@settings(max_examples=12)
@given(data=st.data())
def test_any_flipped_bit_of_any_file_is_refused(
    to: str, data: st.DataObject, exported: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    source, place = dataset(exported, to, "taxi"), tmp_path_factory.mktemp("flipped")
    folder = Path(shutil.copytree(source, place / "changed"))
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    path = folder / data.draw(st.sampled_from(names))
    raw = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[at // 8] ^= 1 << at % 8
    path.write_bytes(raw)
    refused(folder, to, place / "back")
    shutil.rmtree(place)


@pytest.mark.parametrize("to", FORMATS)
def test_a_missing_file_and_a_missing_marker_are_refused(
    to: str, exported: dict[str, Path], tmp_path: Path
) -> None:
    source = dataset(exported, to, "taxi")
    names = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    for name in names:
        folder = Path(shutil.copytree(source, tmp_path / "changed"))
        (folder / name).unlink()
        refused(folder, to, tmp_path / "back")
        shutil.rmtree(folder)


@pytest.mark.parametrize("to", FORMATS)
def test_unchanged_all_comes_back_bit_for_bit(
    to: str, exported: dict[str, Path], filled: Store, tmp_path: Path, equal: Any
) -> None:
    import_store(exported[to], to, tmp_path / "back")
    back = {trajectory.episode: trajectory for trajectory in Store.open(tmp_path / "back").trajectories()}
    mine = {trajectory.episode: trajectory for trajectory in filled.trajectories()}
    assert mine.keys() == back.keys()
    assert all(equal(mine[episode], back[episode]) for episode in mine)


def resealed(folder: Path, to: str) -> None:
    """Write an export's marker anew, as an attacker does who knows the format."""
    path = folder / MARKERS[to]
    document = json.loads(path.read_text())
    path.unlink()
    write_marker(folder, to, document["token"], document["task"], document["episodes"], document["suite"])


@pytest.mark.parametrize("to", FORMATS)
def test_with_new_hashes_of_files_the_episodes_speak_for_themselves(
    to: str, exported: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(dataset(exported, to, "taxi"), tmp_path / "changed"))
    if to == "minari":
        change_hdf5(folder / "data" / "main_data.hdf5", "data", "actions")
    else:
        change_cell(folder / "data/chunk-000/file-000.parquet", "action")
    resealed(folder, to)
    refused(folder, to, tmp_path / "back", "got other actions: its data were changed")


@pytest.mark.parametrize("to", FORMATS)
def test_changed_episodes_are_taken_in_under_other_ids_when_asked(
    to: str, exported: dict[str, Path], filled: Store, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(dataset(exported, to, "taxi"), tmp_path / "changed"))
    if to == "minari":
        change_hdf5(folder / "data" / "main_data.hdf5", "data", "infos/times_ms")
    else:
        path = folder / "data/chunk-000/file-000.parquet"
        table = pq.read_table(path)
        times = table["tutelage.time_ms"].to_numpy() + (table["episode_index"].to_numpy() == 0)
        at = table.column_names.index("tutelage.time_ms")
        pq.write_table(table.set_column(at, table.schema.field(at), pa.array(times, pa.int32())), path)
    for _ in range(2):  # the second time adds nothing
        import_store(folder, to, tmp_path / "back", keep_changed=True)
    store = Store.open(tmp_path / "back")
    first, second = sorted(store.trajectories(), key=lambda trajectory: trajectory.seed)
    original = sorted(filled.trajectories(task="taxi"), key=lambda trajectory: trajectory.seed)
    assert first.episode.startswith("changed-")
    assert first.notes == f"changed since its export (times): {original[0].notes}"
    assert first.demonstrator == original[0].demonstrator, "a forgotten participant is found"
    assert not np.array_equal(first.times_ms, original[0].times_ms)
    assert second.episode == original[1].episode
    assert store.verify() == []


def test_a_failed_proof_is_an_error_and_not_stored_in_silence(
    exported: dict[str, Path], filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = gymnasium.registry["toys/Words-v0"]
    monkeypatch.setattr(spec, "entry_point", gymnasium.registry["toys/Unrepeatable-v0"].entry_point)
    folder = dataset(exported, "lerobot", "words")
    refused(folder, "lerobot", tmp_path / "back", "to replay as recorded")
    import_store(folder, "lerobot", tmp_path / "kept", keep_changed=True)
    kept = list(Store.open(tmp_path / "kept").trajectories())
    assert all(trajectory.observations is not None for trajectory in kept)


@pytest.mark.parametrize("to", FORMATS)
def test_a_refused_import_adds_nothing_to_a_store_that_is_there(
    to: str, exported: dict[str, Path], filled: Store, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(exported[to], tmp_path / "all"))
    import_store(dataset(exported, to, "taxi"), to, tmp_path / "back")
    before = {path.name: path.read_bytes() for path in (tmp_path / "back").glob("part-*")}
    last = root / ("words-v0" if to == "minari" else "words")
    (last / MARKERS[to]).write_text("{}")
    with pytest.raises(TutelageError, match="version"):
        import_store(root, to, tmp_path / "back")
    assert {path.name: path.read_bytes() for path in (tmp_path / "back").glob("part-*")} == before


@pytest.mark.parametrize("to", FORMATS)
def test_an_import_into_the_working_folder_and_below_new_folders_works(
    to: str, exported: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for out in (Path("."), Path("new/below")):
        import_store(dataset(exported, to, "taxi"), to, out)
        assert len(Store.open(out)) == 2
        assert not list(out.glob(".import*"))
    (tmp_path / "link").symlink_to(tmp_path / "new")
    with pytest.raises(TutelageError, match="got a link"):
        import_store(dataset(exported, to, "taxi"), to, tmp_path / "link")


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize(
    "changes",
    [{"files": None}, {"files": {"x": 3}}, {"suite": []}, {"episodes": "3"}, {"task": None}, {"token": 3}],
    ids=str,
)
def test_a_sealed_marker_of_other_types_is_refused(
    exported: dict[str, Path], tmp_path: Path, to: str, changes: dict[str, Any]
) -> None:
    folder = shutil.copytree(exported[to], tmp_path / "copy")
    path = next(path for path in folder.rglob("tutelage.json"))
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
    seal(path)
    with pytest.raises(TutelageError, match=r"expected .*tutelage\.json|expected files|as it was written"):
        import_store(folder, to, tmp_path / "out")


@pytest.mark.parametrize("to", FORMATS)
def test_a_link_that_leads_to_itself_is_refused(exported: dict[str, Path], tmp_path: Path, to: str) -> None:
    folder = shutil.copytree(exported[to], tmp_path / "copy")
    path = next(path for path in sorted(folder.rglob("*")) if path.suffix in (".hdf5", ".parquet"))
    path.unlink()
    path.symlink_to(path.name)
    with pytest.raises(TutelageError, match="expected"):
        import_store(folder, to, tmp_path / "out")
