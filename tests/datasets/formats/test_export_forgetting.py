"""Forgetting acts on nothing that a store's files name; an export is whole whenever its rewriting dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tutelage.cli.main import app
from tutelage.crowd.privacy.forgetting import ForgetResult, StudyLocations, forget
from tutelage.datasets.formats.exchange import export_store, import_store
from tutelage.datasets.formats.export_marker import MARKERS, ExportMarker
from tutelage.datasets.formats.export_registry import exports_of
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError
from tutelage.files.state_folder import state_folder
from tutelage.tests.crowd.privacy.test_forgetting import ANN, EVE, bytes_in
from tutelage.tests.support.command_line import run
from typer.testing import CliRunner

Recorder = Callable[..., Trajectory]
FORMATS = ["minari", "lerobot", "csv", "npz", "robomimic", "rlds"]


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_STATE", str(tmp_path / "state"))


@pytest.fixture
def crowd(tmp_path: Path, toys: Suite, record: Recorder) -> Store:
    """Give a store where Eve and Ann have played one task, and Eve alone another."""
    store = Store.create(tmp_path / "crowd", toys)
    store.append([record(seed=1, demonstrator=EVE), record(seed=2, demonstrator=ANN)])
    store.append([record("cartpole", seed=3, demonstrator=EVE)])
    return store


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def datasets(out: Path) -> list[Path]:
    marks = [path for mark in MARKERS.values() for path in out.rglob(mark)]
    return sorted(path.parent.parent for path in marks)


@pytest.mark.parametrize("to", FORMATS)
def test_a_note_in_a_strangers_store_leads_nowhere(to: str, crowd: Store, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "data").mkdir(parents=True)
    (mine / "meta").mkdir()
    for name in ("data/metadata.json", "meta/tutelage.json", "data/tutelage.json", "diary.txt"):
        (mine / name).write_text(f"about {EVE}")
    notes = crowd.path / ".exports"
    notes.mkdir()
    for name in ("0123456789abcdef", "0" * 32):
        (notes / f"{name}.json").write_text(json.dumps({"to": to, "out": str(mine), "folder": str(mine)}))
    before = contents(mine)
    done = forget(EVE, StudyLocations(stores=[crowd.path]))
    assert contents(mine) == before
    assert str(mine) not in json.dumps([done.planned, done.left, done.searched, done.unreachable])
    assert any("another person or machine" in place for place in done.unreachable)


@pytest.mark.slow
@pytest.mark.parametrize("to", FORMATS)
def test_forgetting_in_a_copy_leaves_the_originals_export_and_names_it(
    to: str, crowd: Store, tmp_path: Path
) -> None:
    export_store(crowd, to, tmp_path / "out")
    before = contents(tmp_path / "out")
    shutil.copytree(crowd.path, tmp_path / "copy")
    done = forget(EVE, StudyLocations(stores=[tmp_path / "copy"]))
    assert contents(tmp_path / "out") == before
    assert done.removed == {"episodes in stores": 2}
    assert len(done.left) == 2
    assert all("must be removed by hand" in left for left in done.left)
    # the original reaches it still
    done = forget(EVE, StudyLocations(stores=[crowd.path]))
    assert done.left == []
    assert done.removed == {"episodes in stores": 2, "exports written anew": 1, "exports removed": 1}
    assert bytes_in(tmp_path / "out", EVE) == []
    assert bytes_in(tmp_path / "out", ANN)


def test_another_store_at_the_same_place_does_not_reach_the_export(
    crowd: Store, tmp_path: Path, toys: Suite, record: Recorder
) -> None:
    export_store(crowd, "lerobot", tmp_path / "out")
    before = contents(tmp_path / "out")
    crowd.path.rename(tmp_path / "moved")
    shutil.copytree(tmp_path / "moved", crowd.path)
    done = forget(EVE, StudyLocations(stores=[crowd.path]))
    assert contents(tmp_path / "out") == before
    assert any("must be removed by hand" in left for left in done.left)


@pytest.mark.slow
@pytest.mark.parametrize("to", FORMATS)
def test_an_export_with_another_token_is_left_and_named(to: str, crowd: Store, tmp_path: Path) -> None:
    export_store(crowd, to, tmp_path / "out")
    for folder in datasets(tmp_path / "out"):
        path = folder / MARKERS[to]
        path.write_text(path.read_text().replace(ExportMarker.read(folder, to).token, "f" * 32))
    before = contents(tmp_path / "out")
    done = forget(EVE, StudyLocations(stores=[crowd.path]))
    assert contents(tmp_path / "out") == before
    assert sum("must be removed by hand" in left for left in done.left) == 2


@pytest.mark.parametrize("place", ["out", "out/words"])
def test_an_export_that_became_a_link_is_not_followed(place: str, crowd: Store, tmp_path: Path) -> None:
    export_store(crowd, "lerobot", tmp_path / "out")
    (tmp_path / place).rename(tmp_path / "precious")
    (tmp_path / place).symlink_to(tmp_path / "precious", target_is_directory=True)
    before = contents(tmp_path / "precious")
    done = forget(EVE, StudyLocations(stores=[crowd.path]))
    assert contents(tmp_path / "precious") == before
    assert any("must be removed by hand" in left for left in done.left)


def test_what_others_put_into_an_export_stays(crowd: Store, tmp_path: Path) -> None:
    export_store(crowd, "lerobot", tmp_path / "out")
    for task in ("words", "cartpole"):
        (tmp_path / "out" / task / "README.md").write_text("my card")
    (tmp_path / "out" / "words" / "linked").symlink_to(tmp_path / "elsewhere")
    done = forget(EVE, StudyLocations(stores=[crowd.path]))
    assert done.left == []
    for task in ("words", "cartpole"):
        assert (tmp_path / "out" / task / "README.md").read_text() == "my card"
    assert (tmp_path / "out" / "words" / "linked").is_symlink()
    assert sorted(path.name for path in (tmp_path / "out" / "cartpole").iterdir()) == ["README.md"]
    import_store(tmp_path / "out" / "words", "lerobot", tmp_path / "back")
    assert [trajectory.demonstrator for trajectory in Store.open(tmp_path / "back").trajectories()] == [ANN]


def test_links_in_a_study_are_neither_followed_nor_passed_over_in_silence(
    crowd: Store, tmp_path: Path, toys: Suite, record: Recorder
) -> None:
    other = Store.create(tmp_path / "other", toys)
    other.append([record(seed=1, demonstrator=EVE)])
    (crowd.path / "more").symlink_to(other.path, target_is_directory=True)
    done = forget(EVE, StudyLocations(crowd.path))
    assert len(Store.open(other.path)) == 1
    assert done.left == []
    assert any(str(crowd.path / "more") in place for place in done.unreachable)
    (crowd.path / "journal.sqlite").symlink_to(tmp_path / "others.sqlite")
    with pytest.raises(TutelageError, match="got a link"):
        forget(EVE, StudyLocations(crowd.path))


def test_every_deletion_is_listed_before_it_is_made(crowd: Store, tmp_path: Path) -> None:
    export_store(crowd, "lerobot", tmp_path / "out")
    before = contents(tmp_path)
    plans: list[ForgetResult] = []

    def refuse(plan: ForgetResult) -> bool:
        plans.append(plan)
        return False

    forget(EVE, StudyLocations(stores=[crowd.path]), approve=refuse)
    assert {k: v for k, v in contents(tmp_path).items() if not k.startswith("state/")} == {
        k: v for k, v in before.items() if not k.startswith("state/")
    }
    out = tmp_path.resolve() / "out"
    assert plans[0].outside == [
        f"{out / 'cartpole'}: lerobot export of {crowd.path}, removed",
        f"{out / 'words'}: lerobot export of {crowd.path}, written anew without them",
    ]
    command = ["forget", EVE, "--store", str(crowd.path)]
    dry = CliRunner().invoke(app, [*command, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert f"to do: {out / 'words'}" in dry.output
    assert bytes_in(tmp_path / "out", EVE)
    told = json.loads(CliRunner().invoke(app, [*command, "--json"]).output)
    assert told["outside"] == plans[0].outside
    assert bytes_in(tmp_path / "out", EVE) == []


def test_forgetting_nobody_ends_in_status_2_and_again_in_0(crowd: Store) -> None:
    command = ["forget", "person-unheard-of", "--store", str(crowd.path)]
    told = CliRunner().invoke(app, command)
    assert isinstance(told.exception, TutelageError)
    assert "found no person of that name" in str(told.exception)
    assert "is left" not in told.output
    for _ in range(2):  # a participant who was removed earlier is still known
        again = CliRunner().invoke(app, ["forget", EVE, "--store", str(crowd.path)])
        assert again.exception is None, again.exception
    assert EVE.encode() not in b"".join(contents(state_folder()).values())
    assert not any(EVE in name for name in contents(state_folder()))


DIES = """
import os, signal, sys
count = 0
notes = os.open({notes!r}, os.O_CREAT | os.O_RDWR)
def die(event, arguments):
    global count
    if event in {events!r}.split(","):
        if event == "open" and not ((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)):
            return
        if any(isinstance(path, (str, os.PathLike)) and "out" in os.fspath(path) for path in arguments):
            count += 1
            os.pwrite(notes, str(count).encode(), 0)
            if count == {step}:
                os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(die)
"""


EVENTS = "os.rename,os.remove,os.rmdir,os.mkdir,open"


def killed_at(step: int, verb: str, store: Path, out: Path, events: str = EVENTS) -> int | None:
    """Kill a process at its n-th change below `out`; returns how many it made if it came through."""
    notes = store.parent / "count"
    words = (
        ("forget", EVE, "--store", store) if verb == "forget" else ("export", store, "--to", verb, "-o", out)
    )
    done = run(*words, prelude=DIES.format(notes=str(notes), events=events, step=step))
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    return int(notes.read_text())


@pytest.fixture
def poles(tmp_path: Path) -> Store:
    """Give a store of two tasks that every process knows; Eve alone has played the second."""
    suite = suite_from(
        {
            "suite": "poles",
            "tasks": [{"id": "a", "env": "CartPole-v1"}, {"id": "b", "env": "CartPole-v1", "max_steps": 20}],
        }
    )
    return Store.create(tmp_path / "crowd", suite)


def fill_with_eve_and_ann(store: Store, demonstrate: Callable[..., tuple[Trajectory, object]]) -> None:
    for task, seed, who in (("a", 1, EVE), ("a", 2, ANN), ("b", 3, EVE)):
        environment = TaskEnv(store.suite[task])
        store.append([demonstrate(environment, seed, suite="poles", demonstrator=who)[0]])


def killed_and_forgotten(to: str, poles: Store, work: Path, step: int, events: str) -> int | None:
    """Kill a `forget` at a step and call it again; returns its number of steps when it was not killed."""
    shutil.copytree(poles.path, work / "crowd")
    store = Store.open(work / "crowd")
    export_store(store, to, work / "out")
    ended = killed_at(step, "forget", store.path, work / "out", events)
    done = forget(EVE, StudyLocations(stores=[store.path]))
    assert done.left == [], step
    assert bytes_in(work / "out", EVE) == [], step
    (left,) = datasets(work / "out")
    assert not [path for path in left.parent.iterdir() if path.name.endswith((".new", ".old"))], step
    assert bytes_in(work / "out", ANN) != [], step
    if to in ("minari", "lerobot"):  # which can be read back
        import_store(left, to, work / "back")
        back = Store.open(work / "back").trajectories()
        assert [trajectory.demonstrator for trajectory in back] == [ANN], step
    shutil.rmtree(work)
    return ended


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 3, 4, 5, 6])
def test_killed_while_folders_are_swapped_the_next_forget_finishes(
    step: int, poles: Store, tmp_path: Path, demonstrate: Callable[..., tuple[Trajectory, object]]
) -> None:
    fill_with_eve_and_ann(poles, demonstrate)
    # from the second on: the old state goes, the new one comes, and the old one's files are removed
    assert killed_and_forgotten("lerobot", poles, tmp_path / "work", step, "os.rename,os.remove") is None


@pytest.mark.soak
@pytest.mark.parametrize("to", FORMATS)
def test_killed_at_any_step_the_next_forget_finds_the_export_and_finishes(
    to: str, poles: Store, tmp_path: Path, demonstrate: Callable[..., tuple[Trajectory, object]]
) -> None:
    fill_with_eve_and_ann(poles, demonstrate)
    step, ended = 0, None
    while ended is None:
        step += 1
        ended = killed_and_forgotten(to, poles, tmp_path / str(step), step, EVENTS)
    assert step > 10


@pytest.mark.slow
@pytest.mark.parametrize("to", FORMATS)
def test_an_export_that_was_killed_is_removed_by_the_next_forget(
    to: str, poles: Store, tmp_path: Path, demonstrate: Callable[..., tuple[Trajectory, object]]
) -> None:
    environment = TaskEnv(poles.suite["a"])
    poles.append([demonstrate(environment, 1, suite="poles", demonstrator=EVE)[0]])
    for step in (2, 5):
        assert killed_at(step, to, poles.path, tmp_path / f"out-{step}") is None
    assert len(exports_of(poles).rewritable) == 2
    done = forget(EVE, StudyLocations(stores=[poles.path]))
    assert done.left == []
    assert bytes_in(tmp_path, EVE) == []
    assert exports_of(poles).rewritable == []


def test_a_full_registry_of_another_user_is_not_read(crowd: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = state_folder()
    os.chmod(folder, 0o777)
    with pytest.raises(TutelageError, match="you alone"):
        export_store(crowd, "lerobot", folder.parent / "out")
