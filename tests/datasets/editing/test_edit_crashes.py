"""Whatever interrupts or damages an edit, the store is as before or as after; who is forgotten is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tutelage.cli.main import app
from tutelage.crowd.privacy.forgetting import StudyLocations, forget
from tutelage.datasets.editing import edit_log
from tutelage.datasets.editing.annotate import annotate
from tutelage.datasets.manifest import MANIFEST
from tutelage.datasets.pending import EDITS, PENDING
from tutelage.datasets.store import Store
from tutelage.errors import TutelageError
from tutelage.tests.support.edited import Same, edit, episodes, files, killed_at
from typer.testing import CliRunner


@pytest.mark.slow
def test_killed_at_any_step_it_is_as_before_or_as_after(filled: Store, tmp_path: Path, equal: Same) -> None:
    """A child process that forks before each step: no start of an interpreter a step."""
    held = episodes(filled)
    annotate(filled, {held[0].episode: {"note": "one"}})
    edits: list[tuple[Callable[[], object], str]] = [
        (lambda: edit(filled, "delete", "--by", "ann", "--apply"), "undo"),
        (lambda: edit(filled, "suite", "--instruction", "cartpole=balance", "--apply"), "undo"),
        (lambda: edit(filled, "undo", "--apply"), "redo"),
        (lambda: edit(filled, "redo", "--apply"), "undo"),
    ]
    outcomes = set()
    for work, back in edits:
        before = [trajectory.episode for trajectory in episodes(filled)], Store.open(filled.path).suite.source
        for step in range(1000):
            if killed_at(step, work):
                break
            store = Store.open(filled.path)
            assert store.verify() == []  # a reader, before any writer has cleaned up
            assert store.annotations()[held[0].episode].note in ("one", "")
            now = [trajectory.episode for trajectory in store.trajectories()], store.suite.source
            outcomes.add(now == before)
            annotate(store, {now[0][-1]: {"marked": step % 2 == 0}})  # the next writer finishes
            assert not (filled.path / PENDING).exists()
            there = [path.name for path in filled.path.iterdir() if path.suffix != ".tmp"]
            assert {name.partition("-")[0] for name in there} <= {
                *("part", "annotations", "manifest.json", "dataset.yaml", ".lock", EDITS)
            }
            if now != before:
                edit(filled, back, "--apply")
            assert [trajectory.episode for trajectory in Store.open(filled.path).trajectories()] == before[0]
        else:
            pytest.fail("it never came to its end")
    assert outcomes == {True, False}


def test_a_forgotten_person_does_not_survive_in_what_undoes_edits(filled: Store) -> None:
    bob = [trajectory.episode for trajectory in episodes(filled) if trajectory.demonstrator == "bob"]
    anns = next(trajectory.episode for trajectory in episodes(filled) if trajectory.demonstrator == "ann")
    annotate(filled, {bob[0]: {"note": "by hand"}, anns: {"note": "as bob-the-tester did"}})
    edit(filled, "relabel", bob[0], "--to-demonstrator", "bob-the-tester", "--apply")
    edit(filled, "delete", "--all", "--apply")
    done = forget("bob-the-tester", StudyLocations(stores=[filled.path]))
    assert done.left == []
    plan = forget("bob", StudyLocations(stores=[filled.path]), approve=lambda _: False)
    assert any("that undo edits" in line for line in plan.planned)
    done = forget("bob", StudyLocations(stores=[filled.path]))
    assert done.left == []
    assert not any(b"bob" in data for data in files(filled).values())
    assert done.existed
    while edit_log.count(filled.path):
        edit(filled, "undo", "--apply")
    assert not any(b"bob" in data for data in files(filled).values())
    left = episodes(filled)
    assert left
    assert {trajectory.demonstrator for trajectory in left} == {"ann"}
    assert Store.open(filled.path).annotations()[anns].note == ""
    assert Store.open(filled.path).verify() == []


def test_a_forgotten_person_does_not_survive_in_what_makes_edits_again(filled: Store) -> None:
    edit(filled, "relabel", "--by", "bob", "--to-demonstrator", "rob", "--apply")
    edit(filled, "undo", "--apply")
    assert len(edit_log.redo_records(filled.path)) == 1
    assert any(b"rob" in data for data in files(filled).values())
    assert forget("bob", StudyLocations(stores=[filled.path])).left == []
    assert not any(b"bob" in data or b"rob" in data for data in files(filled).values())
    edit(filled, "redo", "--apply")
    assert {trajectory.demonstrator for trajectory in episodes(filled)} == {"ann"}
    assert Store.open(filled.path).verify() == []


def test_a_forgotten_person_s_notes_go_with_their_episodes(filled: Store) -> None:
    rows = episodes(filled)
    annotate(
        filled,
        {trajectory.episode: {"note": f"by {trajectory.demonstrator}", "tags": ["x"]} for trajectory in rows},
    )
    Store.open(filled.path).forget("bob")
    assert {a.note for a in Store.open(filled.path).annotations().episodes.values()} == {"by ann"}
    assert not any(b"by bob" in data for data in files(filled).values())


def test_damaged_undo_data_is_named_and_forgetting_removes_it(filled: Store) -> None:
    edit(filled, "delete", "--by", "bob", "--apply")
    rows = filled.path / EDITS / "0001.parquet"
    data = bytearray(rows.read_bytes())
    data[len(data) // 2] ^= 1
    rows.write_bytes(data)
    with pytest.raises(TutelageError, match="it is damaged; the edits of this store can no longer be undone"):
        edit(filled, "undo", "--apply")
    record = filled.path / EDITS / "0001.json"
    record.write_bytes(record.read_bytes().replace(b"delete", b"Delete"))
    with pytest.raises(TutelageError, match="it is damaged"):
        edit(filled, "undo")
    Store.open(filled.path).forget("bob")
    assert not (filled.path / EDITS).exists()


def test_damaged_annotations_are_named_and_repaired(filled: Store) -> None:
    annotate(filled, {episodes(filled)[0].episode: {"note": "x"}})
    [path] = filled.path.glob("annotations-*.json")
    path.write_bytes(path.read_bytes().replace(b'"x"', b'"y"'))
    assert any("annotations" in problem for problem in Store.open(filled.path).verify())
    result = CliRunner().invoke(app, ["repair", str(filled.path)])
    assert result.exit_code == 0, result.output
    assert "notes, tags and marks are damaged" in result.stdout
    assert Store.open(filled.path).verify() == []
    assert Store.open(filled.path).annotations().episodes == {}


def test_a_manifest_made_anew_finds_the_annotations_again(filled: Store) -> None:
    victim = episodes(filled)[0].episode
    annotate(filled, {victim: {"note": "x"}})
    (filled.path / MANIFEST).unlink()
    assert CliRunner().invoke(app, ["repair", str(filled.path)]).exit_code == 0
    assert Store.open(filled.path).annotations()[victim].note == "x"
