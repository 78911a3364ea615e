"""What is not of the declared dtype or shape is refused at rehearsal, and a stored fact afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from gymnasium import spaces
from tutelage.cli.main import app
from tutelage.datasets.store import Store
from tutelage.envs.preflight import rehearse
from tutelage.envs.spaces import action_to_row, flatten
from tutelage.envs.suite import suite_from
from tutelage.envs.task_env import ACTION, TaskEnv
from tutelage.errors import TutelageError
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.support.played import play, store_of
from tutelage.tests.support.toy_spaces import DECLARED, MODULE, SAME, undeclared
from typer.testing import CliRunner

CHANGES = {
    "float": "declared uint8 [2, 2, 3], got float64 [2, 2, 3] from 0.5 to 0.5: 0.5 became 0",
    "minus": "declared uint8 [2], got int64 [2] from -1 to 3: -1 became 255",
    "wide": "declared float32 [2], got float64 [2] from 0.5 to 1e+300: 1e+300 became inf",
    "long": "declared int32 [1], got int64 [1] from 1.09951e+12 to 1.09951e+12: 1.09951e+12 became 0",
    "turned": "declared uint8 [2, 2, 3], got uint8 [3, 2, 2] from 0 to 0: the shape was changed",
    "half": "declared int64 [], got float64 [] from 1.5 to 1.5: 1.5 became 1",
    "text": "declared text, got bytes",
}


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, MODULE)


@pytest.mark.parametrize("what", DECLARED)
@pytest.mark.parametrize("after", [0, 2])
def test_a_cast_that_changes_a_value_is_an_error_at_rehearsal(what: str, after: int) -> None:
    suite = suite_from(undeclared(what=what, after=after))
    with pytest.raises(TutelageError) as raised:
        rehearse(suite, people=True)
    assert str(raised.value) == (
        f"task 'odd': eye: {CHANGES[what]}; mend the space, or what the environment returns"
    )


@pytest.mark.parametrize("what", SAME)
def test_what_a_cast_keeps_is_no_error(what: str) -> None:
    rehearse(suite_from(undeclared(what=what)), people=True)


@pytest.mark.parametrize(
    ("space", "value", "message"),
    [
        (spaces.Box(0, 1, (2, 3)), np.zeros(5), "expected float32 [2, 3], got float64 [5] from 0 to 0"),
        (spaces.Box(0, 1, (2,)), None, "expected float32 [2], got None"),
        (spaces.Box(0, 1, (2,)), [[1], [1, 2]], "expected float32 [2], got [[1], [1, 2]]"),
        (spaces.Discrete(3), "one", "expected int64 [], got 'one'"),
        (spaces.Dict({"a": spaces.Discrete(3)}), {"b": 1}, "expected a part 'a' at 'the root', got none"),
    ],
)
def test_a_value_of_no_such_shape_is_one_line(
    space: spaces.Space[object], value: object, message: str
) -> None:
    with pytest.raises(TutelageError) as raised:
        flatten(space, value)
    assert message in str(raised.value)


def test_nothing_is_served_or_written(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(undeclared(what="float")), "utf-8")
    words = [
        "record",
        str(tmp_path / "odd.yaml"),
        "-o",
        str(tmp_path / "store"),
        "--no-browser",
        "--port",
        "0",
    ]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, TutelageError)
    assert "0.5 became 0" in str(result.exception)
    assert not (tmp_path / "store").exists()


def test_what_was_changed_later_is_stored_and_inspect_says_so(tmp_path: Path) -> None:
    document = undeclared(what="float", after=5)  # after the steps of a rehearsal
    rehearse(suite_from(document), people=True)
    store = store_of(tmp_path / "store", document, [[0] * 6, [1] * 4, [1] * 5])
    assert [trajectory.casts for trajectory in store.trajectories()] == [
        {"eye": CHANGES["float"]},
        {},
        {"eye": CHANGES["float"]},
    ]
    told = CliRunner().invoke(app, ["inspect", str(store.path)])
    assert told.exception is None
    text = " ".join(told.stdout.split())
    assert f"odd: eye: {CHANGES['float']} (in 2 episodes)" in text
    assert "but casts changed what was observed or done" in text
    assert "sound:" not in text
    inspection = json.loads(CliRunner().invoke(app, ["inspect", str(store.path), "--json"]).stdout)
    assert inspection["casts"] == [f"odd: eye: {CHANGES['float']} (in 2 episodes)"]
    assert inspection["problems"] == []


def test_the_fact_goes_through_an_export(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", undeclared(what="float", after=5), [[0] * 6])
    for words in (
        ("export", store.path, "--to", "lerobot", "-o", tmp_path / "robot"),
        ("import", "lerobot", tmp_path / "robot", "-o", tmp_path / "again"),
    ):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exception is None, result.output
    [again] = Store.open(tmp_path / "again").trajectories()
    [trajectory] = store.trajectories()
    assert again.casts == trajectory.casts == {"eye": CHANGES["float"]}


def test_an_action_that_a_cast_changes_is_an_error_or_a_fact() -> None:
    with pytest.raises(TutelageError, match=r"got 1\.7: declared int64 \[\], got float64 \[\]"):
        action_to_row(spaces.Discrete(3), 1.7)
    assert action_to_row(spaces.Discrete(3), 2.0).tolist() == [2.0]
    suite = suite_from(undeclared(what="whole"))
    environment = TaskEnv(suite.tasks[0])
    environment.reset(0)
    environment.step(np.array([1.0]))
    assert environment.casts == {}
    environment.step(np.array([1.25]))
    assert environment.casts == {ACTION: "declared Discrete(2), got 1.25: it became 1"}
    environment.reset(1)
    assert environment.casts == {}
    environment.close()
    assert play(suite, "odd", 0, [0] * 6).casts == {}
