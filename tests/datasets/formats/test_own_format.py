"""Formats of other packages: a function that reads episodes, or writes a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tutelage.api.store import Store
from tutelage.datasets.formats.exchange import import_store
from tutelage.errors import TutelageError
from tutelage.foreign_code.objects import parse_text
from tutelage.foreign_code.trust import Untrusted, trust
from tutelage.tests.support.command_line import run
from tutelage.tests.support.episode_log import EPISODES, SUITE, played

HERE = "tutelage.tests.support.episode_log"


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_TRUST", "")
    trust(["tutelage"])
    EPISODES.clear()


def imported(tmp_path: Path, *episodes: Any, name: str = f"{HERE}:read") -> tuple[Store, list[Any]]:
    EPISODES[:] = episodes
    (tmp_path / "suite.yaml").write_text(json.dumps(SUITE))
    lines = import_store(Path("somewhere"), name, tmp_path / "store", suite=str(tmp_path / "suite.yaml"))
    return Store.open(tmp_path / "store"), list(lines)


def test_episodes_are_proven_where_their_seed_is_known(tmp_path: Path) -> None:
    record = played(3)
    forged = record | {"observations": record["observations"] + 1.0}
    store, lines = imported(tmp_path, record | {"seed": 3}, record, forged | {"seed": 3})
    assert [episode.observations is None for episode in store] == [True, False, False]
    assert [episode.success for episode in store] == [False, False, False]
    assert np.array_equal(store[1].observations[""], record["observations"])
    assert store[0].seed == 3
    assert store.verify() == []
    assert lines == [
        "somewhere: 3 episodes added.",
        "1 episode without a seed: the number stands for one, and observations are stored.",
        "Replay did not prove 1 episode, so its observations are stored.",
    ]
    again, lines = imported(tmp_path, record | {"seed": 3})
    assert len(again) == 3
    assert lines[0] == "somewhere: 0 episodes added, 1 was there already."


def test_what_is_known_of_an_episode_is_kept(tmp_path: Path) -> None:
    about = {
        "demonstrator": "ann",
        "kind": "expert",
        "times_ms": range(12),
        "episode": "first",
        "task": "pole",
    }
    store, _ = imported(tmp_path, played(5) | {"truncated": True, "seed": 5, "task": "pole"} | about)
    episode = store[0]
    assert (episode.demonstrator, episode.kind, episode.episode) == ("ann", "expert", "first")
    assert episode.times_ms.tolist() == list(range(12))
    assert episode.truncated
    assert episode.success


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"actions": [0] * 3}, "expected 12 numbers as actions, got [3, 1]"),
        ({"actions": [9] * 12, "seed": 3}, "expected actions of Discrete(2), got others"),
        ({"rewards": []}, "expected at least one step"),
        ({"observations": np.zeros((13, 5))}, "5"),
        ({"observations": np.zeros((4, 4))}, "expected 13 observations"),
        ({"observations": "words"}, "expected a sequence of observations"),
        ({"task": "poles"}, "expected task to be one of pole, got 'poles'; did you mean 'pole'?"),
        ({"kind": "robot"}, "expected kind to be one of"),
        ({"reward": 1}, "got 'reward'; did you mean 'rewards'?"),
        ({"seed": "x"}, "expected seed to be a whole number"),
        ({"seed": True}, "expected seed to be a whole number"),
        ({"seed": 2**63}, "expected seed to be a whole number"),
        ({"terminated": "False"}, "expected terminated to be True or False"),
        ({"times_ms": [3, 2, 1] * 4}, "never fall"),
        ({"times_ms": [2**40] * 12}, "never fall"),
        ({"demonstrator": "a\ud800"}, "expected demonstrator to be a name"),
        ({"episode": "first"}, "expected a name of its own, got 'first' again"),
        ({"infos": [1, 2]}, "expected infos"),
        ({"rewards": [10**400] * 12}, "expected rewards to be numbers"),
        ({"rewards": None}, "expected rewards to be numbers"),
        ({"observations": []}, "expected one observation more than rewards"),
        ({"actions": []}, "expected 12 numbers as actions"),
        ({"times_ms": [1]}, "expected 12 numbers as times_ms"),
    ],
    ids=str,
)
def test_an_episode_that_is_none_is_told_in_one_line_and_nothing_is_read(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(TutelageError) as error:
        imported(tmp_path, played(1) | {"episode": "first"}, played(3) | change)
    assert str(error.value).startswith(f"{HERE}:read, episode 1: ")
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("bad", [ValueError("torn"), SystemExit(0), None, 7])
def test_so_is_a_reader_that_fails(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(TutelageError, match="episode_log:read"):
        imported(tmp_path, played(1), bad)
    assert not (tmp_path / "store").exists()


def test_a_module_that_nobody_trusts_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_TRUST", "")
    with pytest.raises(Untrusted, match="--trust tutelage"):
        imported(tmp_path, played(1))


def test_a_store_goes_out_and_comes_back_by_the_command_line(tmp_path: Path) -> None:
    imported(tmp_path, played(3) | {"seed": 3}, played(4) | {"seed": 4})
    store, out, back = tmp_path / "store", tmp_path / "lines", tmp_path / "back"
    done = run("export", store, "--to", f"{HERE}:Lines", "-o", out)
    assert done.returncode == 0, done.stderr
    assert "It holds actions only." in done.stdout
    done = run("import", f"{HERE}:Lines", out, "-o", back, "--suite", tmp_path / "suite.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert "2 episodes added" in json.loads(done.stdout)["report"][0]
    assert [episode.actions.tolist() for episode in Store.open(back)] == [
        episode.actions.tolist() for episode in Store.open(store)
    ]
    done = run("export", store, "--to", f"{HERE}:Fails", "-o", tmp_path / "half")
    assert done.returncode == 2
    assert "ValueError: no more paper" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "lines", "store", "suite.yaml"]


@pytest.mark.parametrize("how", ["number", "exit", "gone", "lazily", "nothing"])
def test_a_writer_that_goes_wrong_leaves_nothing(tmp_path: Path, how: str) -> None:
    imported(tmp_path, played(3) | {"seed": 3})
    before = sorted(path.name for path in tmp_path.iterdir())
    odd = f"{{{HERE}:Odd: {{how: {how}}}}}"
    done = run("export", "store", "--to", odd, "-o", "out", cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert len([line for line in done.stderr.splitlines() if not line.startswith("trusting")]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_class_is_made_and_its_sentences_are_lines(tmp_path: Path) -> None:
    imported(tmp_path, played(3) | {"seed": 3})
    done = run("export", "store", "--to", f"{HERE}:Odd", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "one two" in done.stdout
    assert (tmp_path / "out" / "half").is_file()


def test_a_name_that_is_no_format_says_how_to_bring_one(tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match="write a function that reads"):
        import_store(tmp_path, "rosbag", tmp_path / "store")
    with pytest.raises(TutelageError, match="--suite"):
        import_store(tmp_path, f"{HERE}:read", tmp_path / "store")
    assert parse_text(f"{{{HERE}:read: {{sign: 2}}}}", "a format").kwargs == {"sign": 2}
