"""Edits of a store: planned without a trace, proven by replay, made at one moment, undone whole."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tutelage.cli.main import main
from tutelage.crowd.browsing.index import EpisodeIndex
from tutelage.datasets.editing import edit_commit, edit_log
from tutelage.datasets.editing.annotate import annotate
from tutelage.datasets.pending import EDITS
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError
from tutelage.files.folder_lock import lock_folder
from tutelage.tests.support.edited import Recorder, Same, edit, episodes, files, play_actions, same

VERBS = (
    ["delete", "--by", "ann"],
    ["keep", "--task", "words"],
    ["tag", "--all", "--add", "checked", "--mark"],
    ["relabel", "--by", "bob", "--to-demonstrator", "carol"],
    ["trim", "--task", "cartpole", "--idle", "0"],
    ["suite", "--instruction", "cartpole=balance"],
)


@pytest.mark.slow
@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_a_dry_run_changes_no_byte_and_undo_gives_everything_back(
    filled: Store, equal: Same, words: list[str]
) -> None:
    before, held = files(filled), episodes(filled)
    assert "nothing was changed; do it with --apply" in edit(filled, *words)
    assert files(filled) == before
    edit(filled, *words, "--apply")
    assert Store.open(filled.path).verify() == []
    assert files(filled) != before
    assert "would undo" in edit(filled, "undo")
    edit(filled, "undo", "--apply")
    assert same(held, episodes(filled), equal)
    assert Store.open(filled.path).verify() == []
    assert Store.open(filled.path).annotations() == filled.annotations()
    assert edit_log.count(filled.path) == 0
    assert files(filled)["dataset.yaml"] == before["dataset.yaml"]


def test_edits_are_undone_in_turn_and_what_came_since_stays(
    filled: Store, record: Recorder, equal: Same
) -> None:
    held = episodes(filled)
    edit(filled, "delete", "--by", "bob", "--apply")
    edit(filled, "delete", "--task", "unrepeatable", "--apply")
    new = record(seed=9, demonstrator="dan")
    Store.open(filled.path).append([new])
    annotate(Store.open(filled.path), {held[0].episode: {"note": "later"}})
    edit(filled, "undo", "--apply")
    edit(filled, "undo", "--apply")
    assert same([*held, new], episodes(filled), equal)
    assert Store.open(filled.path).annotations()[held[0].episode].note == "later"
    with pytest.raises(TutelageError, match=r"expected an edit of .* to undo, found none"):
        edit(filled, "undo", "--apply")


@pytest.mark.slow
@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_what_was_undone_is_made_again_bit_for_bit(filled: Store, equal: Same, words: list[str]) -> None:
    first = episodes(filled)
    edit(filled, *words, "--apply")
    made, annotations = episodes(filled), Store.open(filled.path).annotations()
    suite = Store.open(filled.path).suite.source
    for _ in range(2):  # to and fro, as often as wanted
        edit(filled, "undo", "--apply")
        assert same(first, episodes(filled), equal)
        assert "would redo" in edit(filled, "redo")
        edit(filled, "redo", "--apply")
        store = Store.open(filled.path)
        assert same(made, episodes(filled), equal)
        assert (store.annotations(), store.suite.source, store.verify()) == (annotations, suite, [])
    edit(filled, "undo", "--apply")
    assert same(first, episodes(filled), equal)


def test_edits_are_made_again_in_turn_until_another_is_made(filled: Store, equal: Same) -> None:
    before = episodes(filled)
    edit(filled, "delete", "--by", "bob", "--apply")
    edit(filled, "tag", "--all", "--add", "good", "--apply")
    edit(filled, "undo", "--apply")
    edit(filled, "undo", "--apply")
    assert "`redo` makes it again: delete 2 episodes" in edit(filled)
    edit(filled, "redo", "--apply")
    assert [record.verb for record in edit_log.redo_records(filled.path)] == ["tag"]
    edit(filled, "tag", "--all", "--add", "other", "--apply")
    with pytest.raises(TutelageError, match=r"expected an undone edit of .* to make again, found none"):
        edit(filled, "redo")
    edit(filled, "undo", "--apply")
    edit(filled, "undo", "--apply")
    assert same(before, episodes(filled), equal)
    edit(filled, "compact", "--apply")
    assert not (filled.path / EDITS).exists()


def test_a_damaged_record_of_what_was_undone_prevents_no_other_edit(filled: Store) -> None:
    edit(filled, "delete", "--by", "bob", "--apply")
    edit(filled, "undo", "--apply")
    (record,) = (filled.path / EDITS).glob("*.json")
    record.write_bytes(record.read_bytes()[:-20])
    edit(filled, "tag", "--all", "--add", "good", "--apply")
    assert not record.exists()
    assert filled.verify() == []


def test_compacted_edits_cannot_be_undone_and_leave_nothing(filled: Store) -> None:
    edit(filled, "delete", "--by", "bob", "--apply")
    assert "would remove what undoes 1 edit or makes" in edit(filled, "compact")
    edit(filled, "compact", "--apply")
    assert not (filled.path / EDITS).exists()
    with pytest.raises(TutelageError, match="to undo, found none"):
        edit(filled, "undo")


def test_which_episodes_are_meant_must_be_said_and_must_be_there(filled: Store) -> None:
    for verb in ("delete", "keep", "trim"):
        with pytest.raises(TutelageError, match="expected which episodes"):
            edit(filled, verb)
    with pytest.raises(TutelageError, match="expected a task of the store"):
        edit(filled, "delete", "--task", "wrds")
    with pytest.raises(TutelageError, match="fits no episode"):
        edit(filled, "delete", "ffffff00")
    first = episodes(filled)[0].episode
    assert [line["episode"] for line in edit(filled, "delete", first[:8], "--json")["episodes"]] == [first]
    listed = edit(filled, "list", "--by", "bob", "--text", "cartPOLE", "--json")["episodes"]
    assert [row["task"] for row in listed] == ["cartpole"]


def test_a_store_that_is_recorded_into_is_not_edited(filled: Store) -> None:
    before = files(filled)
    with lock_folder(filled.path):
        edit(filled, "delete", "--by", "ann")
        for words in (["delete", "--by", "ann"], ["undo"], ["compact"]):
            with pytest.raises(TutelageError, match=r"expected an edit|another recorder"):
                edit(filled, *words, "--apply")
    assert files(filled) == before


def test_marks_of_the_page_are_read_and_go_with_their_episodes(filled: Store) -> None:
    victim, other = (trajectory.episode for trajectory in episodes(filled)[:2])
    annotate(filled, {victim: {"marked": True, "note": "slipped"}, other: {"tags": ["good"]}})
    edit(filled, "delete", "--marked", "--apply")
    store = Store.open(filled.path)
    assert victim not in store.episodes()["episode"].to_pylist()
    assert dict(store.annotations().episodes) == {other: store.annotations()[other]}
    edit(filled, "undo", "--apply")
    assert Store.open(filled.path).annotations()[victim].note == "slipped"


def test_a_table_shows_what_changes_and_text_of_strangers_does_not_act(
    store: Store, record: Recorder
) -> None:
    store.append([record(seed=1, demonstrator="\x1b[31mred")])
    shown = edit(store, "delete", "--all")
    assert "\x1b" not in shown
    assert "\\x1b[31mred" in shown
    assert "deleted" in shown


def test_history_lists_what_can_be_undone(filled: Store) -> None:
    edit(filled, "tag", "--all", "--add", "seen", "--apply")
    edit(filled, "delete", "--by", "bob", "--apply")
    shown = edit(filled)
    assert "annotate 6 episodes" in shown
    assert "delete 2 episodes" in shown
    assert "bob" not in shown
    assert [record.verb for record in edit_log.records(filled.path)] == ["tag", "delete"]
    assert edit_commit.undo(Store.open(filled.path)).verb == "delete"


def test_from_the_shell_a_mistake_is_one_line_and_status_2(
    filled: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tutelage", "edit", str(filled.path), "delete", "--task", "nothing"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("tutelage: expected a task of the store")
    assert "\n" not in told


def test_episodes_without_a_success_rule_are_not_failures(tmp_path: Path) -> None:
    tasks = [
        {"id": "pole", "env": "CartPole-v1", "success": "return >= 400"},
        {"id": "free", "env": "CartPole-v1", "success": "unknown"},
    ]
    suite = suite_from({"suite": "rated", "tasks": tasks})
    store = Store.create(tmp_path / "rated", suite)
    store.append([play_actions(suite, task, [0, 1]) for task in ("pole", "free")])
    for flag, task in (("--failure", "pole"), ("--unrated", "free")):
        assert [row["task"] for row in edit(store, "list", flag, "--json")["episodes"]] == [task]
    page = EpisodeIndex(store.path).page({"outcome": "unrated"})
    assert [(row["task"], row["success"]) for row in page["rows"]] == [("free", None)]
    assert " – " in edit(store, "list", "--task", "free")
