"""Keys with slashes, dots or nothing in them: no leaf is lost, and our own exports come back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from tutelage.cli.main import app
from tutelage.datasets.arrays.task_arrays import load_columns
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Digest
from tutelage.envs.spaces import escape_key, flatten, leaves, unflatten
from tutelage.errors import TutelageError
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.support.played import store_of
from tutelage.tests.support.toy_spaces import MODULE, ODD_KEYS, OddKeys
from typer.testing import CliRunner

PATHS = {"a%2Fb", "a/b", "a/%", "a/%2E", "a%2Eb", "a%252Fb", "%", "%2E%2E/0", "%2E%2E/1"}
SMALL = ("--steps", "3", "--size", "1", "--batch-steps", "16", "--threads", "1")


def invoke(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None, result.output
    return result.stdout


@given(st.lists(st.text(st.characters() | st.sampled_from("%/.")), unique=True))
def test_different_keys_have_different_plain_names(keys: list[str]) -> None:
    names = [escape_key(key) for key in keys]
    assert len(set(names)) == len(keys)
    for name in names:
        assert name
        assert not {"/", ".", "\0"} & set(name)
        name.encode()


def test_every_leaf_has_a_path_of_its_own_and_counts_in_the_digest() -> None:
    space = OddKeys.observation_space
    value = space.sample()
    flat = flatten(space, value)
    assert list(flat) == [leaf.path for leaf in leaves(space)]
    assert {*flat} == PATHS | {"images/eye", "eye", "größe"}
    back: Any = unflatten(space, flat)
    assert {path: array.tobytes() for path, array in flatten(space, back).items()} == {
        path: array.tobytes() for path, array in flat.items()
    }
    first = Digest().update(flat, 0.0, False, False)
    for path, array in flat.items():
        assert Digest().update({**flat, path: array + array.dtype.type(1)}, 0.0, False, False) != first


def test_keys_that_are_the_same_as_text_are_refused() -> None:
    number = spaces.Discrete(3)
    with pytest.raises(TutelageError, match="expected keys that differ as text, got '1' twice"):
        leaves(spaces.Dict([(1, number), ("1", number)]))  # type: ignore[list-item]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv(VARIABLE, MODULE)
    actions = [{"go/left": 1, "go": {"left": 2}}, {"go/left": 0, "go": {"left": 1}}]
    return store_of(tmp_path / "store", ODD_KEYS, [[actions[0], actions[1], actions[0]]] * 3)


def test_nothing_vanishes_from_replay_and_training(store: Store, tmp_path: Path) -> None:
    assert not any(store.episodes()["stored"].to_pylist()), "expected replay to prove every leaf"
    columns = load_columns([store])["keys"]
    assert {*columns.observations} >= PATHS
    assert not np.array_equal(columns.observations["a/b"], columns.observations["a%2Fb"])
    assert columns.actions[:, :].tolist()[0] == [2.0, 1.0] or columns.actions.tolist()[0] == [1.0, 2.0]
    invoke("train", store.path, "-o", tmp_path / "run", *SMALL)
    invoke("evaluate", tmp_path / "run", "-o", tmp_path / "measured", "--episodes", 2, "--actor", "random")


@pytest.mark.parametrize("to", ["minari", "lerobot"])
def test_an_export_comes_back_whole_or_not_at_all(store: Store, tmp_path: Path, to: str) -> None:
    out = tmp_path / "odd-keys-v0"
    invoke("export", store.path, "--to", to, "-o", out)
    invoke("import", to, out, "-o", tmp_path / "again")
    for old, new in zip(store.trajectories(), Store.open(tmp_path / "again").trajectories(), strict=True):
        assert (old.episode, old.digest) == (new.episode, new.digest)
        np.testing.assert_array_equal(old.actions, new.actions)
    largest = max((path for path in out.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = largest.read_bytes()
    for broken in (data[: len(data) // 2], data[:-200] + bytes(200)):
        largest.write_bytes(broken)
        result = CliRunner().invoke(app, ["import", to, str(out), "-o", str(tmp_path / "broken")])
        assert isinstance(result.exception, TutelageError), result.output
        assert not (tmp_path / "broken").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".import")]
    shutil.rmtree(out)


def test_leaves_of_an_export_have_names_of_their_own(store: Store, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    invoke("export", store.path, "--to", "lerobot", "-o", tmp_path / "robot")
    [data] = (tmp_path / "robot/data").rglob("*.parquet")
    names = [name for name in pq.read_schema(data).names if name.startswith("observation.")]
    assert len(names) == len(set(names)) == len(leaves(OddKeys.observation_space))
    assert {"observation.images.eye", "observation.%69mages.eye", "observation.a.b"} <= set(names)
