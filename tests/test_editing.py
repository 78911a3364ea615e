"""Edits of a store: planned without a trace, proven by replay, made at one moment, undone whole."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tutelage.cli import app, main
from tutelage.datasets import edit_commit, edit_log
from tutelage.datasets.annotations import annotate
from tutelage.datasets.crowd.recorder import lock_folder
from tutelage.datasets.forgetting import Places, forget
from tutelage.datasets.manifest import MANIFEST
from tutelage.datasets.pending import EDITS, PENDING
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.errors import TutelageError
from tutelage.envs.gymnasium_task import TaskEnvironment
from tutelage.envs.suite import Suite, suite_from
from typer.testing import CliRunner

Recorder = Callable[..., Trajectory]
Same = Callable[[Trajectory, Trajectory], bool]


@pytest.fixture
def filled(store: Store, record: Recorder) -> Store:
    """Give a store of three parts by two demonstrators."""
    store.append([record(seed=seed, demonstrator="ann") for seed in range(3)])
    store.append([record(seed=3, demonstrator="bob"), record("unrepeatable", seed=4, demonstrator="ann")])
    store.append([record("cartpole", seed=5, demonstrator="bob")])
    return store


def edit(store: Store, *words: str) -> Any:
    """Call `tutelage edit STORE ...`; raises what it raises, returns what --json prints."""
    result = CliRunner().invoke(app, ["edit", str(store.path), *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in words else result.stdout


def episodes(store: Store) -> list[Trajectory]:
    return list(Store.open(store.path).trajectories())


def files(store: Store) -> dict[str, bytes]:
    paths = (path for path in store.path.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(store.path)): path.read_bytes() for path in paths}


def same(before: list[Trajectory], after: list[Trajectory], equal: Same) -> bool:
    return len(before) == len(after) and all(map(equal, before, after))


VERBS = (
    ["delete", "--by", "ann"],
    ["keep", "--task", "words"],
    ["tag", "--all", "--add", "checked", "--mark"],
    ["relabel", "--by", "bob", "--to-demonstrator", "carol"],
    ["trim", "--task", "cartpole", "--idle", "0"],
    ["suite", "--instruction", "cartpole=balance"],
)


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
    assert not (filled.path / EDITS).exists()
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


def test_compacted_edits_cannot_be_undone_and_leave_nothing(filled: Store) -> None:
    edit(filled, "delete", "--by", "bob", "--apply")
    assert "would remove what undoes 1 edit" in edit(filled, "compact")
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


def test_killed_at_any_step_it_is_as_before_or_as_after(filled: Store, tmp_path: Path, equal: Same) -> None:
    """A child process that forks before each step: no start of an interpreter a step."""
    held = episodes(filled)
    annotate(filled, {held[0].episode: {"note": "one"}})
    text = filled.manifest().document
    edits: list[Callable[[], object]] = [
        lambda: edit(filled, "delete", "--by", "ann", "--apply"),
        lambda: edit(filled, "suite", "--instruction", "cartpole=balance", "--apply"),
        lambda: edit(filled, "undo", "--apply"),
    ]
    outcomes = set()
    for work in edits:
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
                Store.open(filled.path).verify()
                if work is not edits[2]:
                    edit(filled, "undo", "--apply")
                else:
                    break
            assert [trajectory.episode for trajectory in Store.open(filled.path).trajectories()] == before[0]
        else:
            pytest.fail("it never came to its end")
    assert outcomes == {True, False}
    assert text


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do some work in a child that ends before its n-th change of a folder; says whether it was done."""
    child = os.fork()
    if child == 0:
        left = step
        try:

            def counted(function: Any) -> Any:
                def run(*args: Any, **options: Any) -> Any:
                    nonlocal left
                    left -= 1
                    if left < 0:
                        os._exit(9)
                    return function(*args, **options)

                return run

            for name in ("rename", "replace", "unlink", "mkdir", "rmdir"):
                setattr(os, name, counted(getattr(os, name)))
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9)
    return code == 0


def test_a_forgotten_person_does_not_survive_in_what_undoes_edits(filled: Store) -> None:
    bob = [trajectory.episode for trajectory in episodes(filled) if trajectory.demonstrator == "bob"]
    anns = next(trajectory.episode for trajectory in episodes(filled) if trajectory.demonstrator == "ann")
    annotate(filled, {bob[0]: {"note": "by hand"}, anns: {"note": "as bob-the-tester did"}})
    edit(filled, "relabel", bob[0], "--to-demonstrator", "bob-the-tester", "--apply")
    edit(filled, "delete", "--all", "--apply")
    done = forget("bob-the-tester", Places(stores=[filled.path]))
    assert done.left == []
    plan = forget("bob", Places(stores=[filled.path]), approve=lambda _: False)
    assert any("that undo edits" in line for line in plan.planned)
    done = forget("bob", Places(stores=[filled.path]))
    assert done.left == []
    assert not any(b"bob" in data for data in files(filled).values())
    assert done.existed
    while (filled.path / EDITS).exists():
        edit(filled, "undo", "--apply")
    left = episodes(filled)
    assert left
    assert {trajectory.demonstrator for trajectory in left} == {"ann"}
    assert Store.open(filled.path).annotations()[anns].note == ""
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


def idle_episodes(actions: list[list[int]], task: str = "turn") -> tuple[Suite, list[Trajectory]]:
    """Play actions in a grid world that stands still when nothing is done, or in CartPole, which does not."""
    tasks = [
        {"id": "turn", "env": "tutelage/GoToRedBallGrey-v0"},
        {"id": "pole", "env": "CartPole-v1", "pace": {"fps": 10, "idle": 0}, "success": "return >= 400"},
    ]
    suite = suite_from({"suite": "idle", "tasks": tasks})
    from tutelage.datasets.crowd.worlds.episode import Episode
    from tutelage.datasets.journal import EpisodeRecord

    environment = TaskEnvironment(suite[task])
    played = []
    for seed, row in enumerate(actions):
        begun = EpisodeRecord("seat", "ann", "idle", task, suite[task].env, seed, b"", {}, kind="person")
        episode = Episode.begin(environment, begun)
        for at, action in enumerate(row):
            episode.take(np.array([float(action)]), 100 * (at + 1), 0, at)
        played.append(episode.trajectory())
    environment.close()
    return suite, played


def test_idle_steps_are_trimmed_where_replay_shows_that_nothing_else_changes(tmp_path: Path) -> None:
    suite, [trajectory, busy] = idle_episodes([[6, 6, 6, 0, 1, 6, 2, 6, 6], [0, 1, 2]])
    store = Store.create(tmp_path / "idle", suite)
    store.append([trajectory, busy])
    told = edit(store, "trim", "--all", "--idle", "6", "--apply", "--json")
    assert [(line["episode"], line["what"]) for line in told["episodes"]] == [
        (trajectory.episode, "3 idle steps at the start, 2 at the end: 9 → 4 steps")
    ]
    [after, same_as_before] = episodes(store)
    assert after.actions[:, 0].tolist() == [0, 1, 6, 2]
    assert after.times_ms.tolist() == [100, 200, 300, 400]
    assert after.frames.tolist() == [0, 1, 2, 3]
    assert after.digest != trajectory.digest
    assert same_as_before.digest == busy.digest
    assert "trimmed: 3 idle steps at the start, 2 at the end" in after.notes
    assert store.verify() == []
    only_end = edit(store, "undo", "--apply") and edit(
        store, "trim", "--all", "--end", "--idle", "6", "--apply", "--json"
    )
    assert only_end["episodes"][0]["what"] == "2 idle steps at the end: 9 → 7 steps"


def test_a_start_that_the_world_moved_on_in_is_refused(tmp_path: Path) -> None:
    suite, [trajectory] = idle_episodes([[0, 0, 1, 1, 0]], "pole")
    store = Store.create(tmp_path / "idle", suite)
    store.append([trajectory])
    with pytest.raises(TutelageError, match="a reset is another state, so the start cannot be cut"):
        edit(store, "trim", "--all")
    edit(store, "trim", "--all", "--end", "--apply")
    assert episodes(store)[0].actions[:, 0].tolist() == [0, 0, 1, 1]
    assert store.verify() == []


def test_an_end_that_ended_the_episode_is_refused(tmp_path: Path, record: Recorder) -> None:
    suite, [trajectory] = idle_episodes([[0] * 8], "pole")
    ended = replace(trajectory, terminated=True)
    store = Store.create(tmp_path / "idle", suite)
    store.append([ended])
    with pytest.raises(TutelageError, match="nothing but idle steps: delete it instead"):
        edit(store, "trim", "--all", "--start")
    toys = Store.create(
        tmp_path / "toys",
        suite_from(
            {"suite": "toys", "tasks": [{"id": "short", "env": "toys/Words-v0", "kwargs": {"length": 6}}]}
        ),
    )
    toys.append([record("short")])
    last = [int(part) for part in record("short").actions[-1]]
    with pytest.raises(TutelageError, match="its last step ended it"):
        edit(toys, "trim", "--all", "--idle", json.dumps(last))
    with pytest.raises(TutelageError, match="expected --idle to be an action as JSON"):
        edit(toys, "trim", "--all", "--idle", "{")
    with pytest.raises(TutelageError, match="expected an idle action in its suite, got none"):
        edit(toys, "trim", "--all")


def test_stores_are_merged_once_and_a_contradiction_is_refused(
    filled: Store, tmp_path: Path, record: Recorder, toys: Suite, equal: Same
) -> None:
    other = Store.create(tmp_path / "other", toys)
    new = record(seed=20, demonstrator="eve")
    other.append([new, episodes(filled)[0]])
    annotate(other, {new.episode: {"tags": ["late"]}})
    told = edit(filled, "merge", str(other.path), "--apply", "--json")
    assert [line["episode"] for line in told["episodes"]] == [new.episode]
    assert told["notes"] == ["passed over, being here already: 1 episode"]
    assert equal(episodes(filled)[-1], new)
    assert Store.open(filled.path).annotations()[new.episode].tags == ("late",)
    edit(filled, "undo", "--apply")
    assert new.episode not in [trajectory.episode for trajectory in episodes(filled)]
    edit(other, "relabel", new.episode, "--to-demonstrator", "eva", "--apply")
    broken = Store.create(tmp_path / "broken", toys)
    broken.append([replace(record(seed=21), rewards=np.zeros(12))])
    before = files(filled)
    with pytest.raises(TutelageError, match="expected every episode to replay"):
        edit(filled, "merge", str(broken.path), "--apply")
    third = suite_from({"suite": "third", "tasks": [{"id": "words", "env": "CartPole-v1"}]})
    Store.create(tmp_path / "third", third)
    with pytest.raises(TutelageError, match=r"expected task 'words' of .* to be the one of this store"):
        edit(filled, "merge", str(tmp_path / "third"))
    assert files(filled) == before


def test_a_merge_brings_tasks_that_are_new(filled: Store, tmp_path: Path, demonstrate: Any) -> None:
    suite = suite_from(
        {"suite": "more", "tasks": [{"id": "long", "env": "toys/Words-v0", "instruction": "go"}]}
    )
    other = Store.create(tmp_path / "more", suite)
    other.append([demonstrate(TaskEnvironment(suite["long"]), 3, suite="more")[0]])
    edit(filled, "merge", str(other.path), "--apply")
    store = Store.open(filled.path)
    assert store.suite["long"].instruction == "go"
    assert [trajectory.suite for trajectory in store.trajectories(task="long")] == ["toys"]
    assert store.verify() == []
    edit(filled, "undo", "--apply")
    assert Store.open(filled.path).suite.source == filled.suite.source


def test_a_split_moves_and_a_filter_copies(filled: Store, tmp_path: Path, equal: Same) -> None:
    held = episodes(filled)
    bobs = [trajectory for trajectory in held if trajectory.demonstrator == "bob"]
    annotate(filled, {bobs[0].episode: {"note": "mine"}})
    edit(filled, "filter", "--by", "bob", "-o", str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()
    edit(filled, "filter", "--by", "bob", "-o", str(tmp_path / "copy"), "--apply")
    assert same(bobs, list(Store.open(tmp_path / "copy").trajectories()), equal)
    assert same(held, episodes(filled), equal)
    edit(filled, "split", "--by", "bob", "-o", str(tmp_path / "moved"), "--apply")
    moved = Store.open(tmp_path / "moved")
    assert same(bobs, list(moved.trajectories()), equal)
    assert moved.annotations()[bobs[0].episode].note == "mine"
    assert moved.verify() == []
    assert same(
        [trajectory for trajectory in held if trajectory.demonstrator == "ann"], episodes(filled), equal
    )
    edit(filled, "undo", "--apply")
    edit(filled, "split", "--by", "bob", "-o", str(tmp_path / "moved"), "--apply")  # as after a crash
    with pytest.raises(TutelageError, match="found one with other episodes"):
        edit(filled, "split", "--by", "ann", "-o", str(tmp_path / "moved"), "--apply")


def test_a_suite_is_corrected_and_outcomes_follow_its_rules(filled: Store, tmp_path: Path) -> None:
    printed = yaml.safe_load(edit(filled, "suite"))
    assert printed == filled.suite.source
    pole = next(task for task in printed["tasks"] if task["id"] == "cartpole")
    pole |= {"instruction": "balance", "success": "steps >= 2", "controls": {"KeyA": 0, "KeyD": 1}}
    printed["tasks"][printed["tasks"].index(pole)]["id"] = "pole"
    file = tmp_path / "corrected.yaml"
    file.write_text(yaml.safe_dump(printed))
    words = ["suite", str(file), "--rename", "cartpole=pole"]
    edit(filled, *words, "--apply")
    store = Store.open(filled.path)
    assert store.suite["pole"].instruction == "balance"
    assert [trajectory.task for trajectory in store.trajectories()].count("pole") == 1
    assert store.verify() == []
    Store.create(filled.path, store.suite)  # a recorder goes on with the corrected suite
    edit(filled, "undo", "--apply")
    assert Store.open(filled.path).suite.source == filled.suite.source
    pole["env"] = "Acrobot-v1"
    file.write_text(yaml.safe_dump(printed))
    with pytest.raises(TutelageError, match="expected every episode to replay"):
        edit(filled, *words, "--apply")


def test_episodes_move_to_a_task_in_which_they_replay(tmp_path: Path) -> None:
    tasks = [
        {"id": "pole", "env": "CartPole-v1"},
        {"id": "short", "env": "CartPole-v1", "success": "steps >= 3", "max_steps": 3},
        {"id": "hill", "env": "MountainCar-v0"},
    ]
    suite = suite_from({"suite": "idle", "tasks": tasks})
    _, [trajectory] = idle_episodes([[0, 1, 0]], "pole")
    store = Store.create(tmp_path / "idle", suite)
    store.append([trajectory])
    with pytest.raises(TutelageError, match="it does not replay so"):
        edit(store, "relabel", "--all", "--to-task", "hill")
    with pytest.raises(TutelageError, match="expected a pseudonym"):
        edit(store, "relabel", "--all", "--to-demonstrator", "a b")
    with pytest.raises(TutelageError, match="expected a kind of person"):
        edit(store, "relabel", "--all", "--to-kind", "cat")
    edit(store, "relabel", "--all", "--to-kind", "expert", "--to-study", "pilot", "--apply")
    assert (episodes(store)[0].kind, episodes(store)[0].study) == ("expert", "pilot")


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
