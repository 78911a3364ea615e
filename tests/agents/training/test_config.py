from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from tutelage.agents.training.config import TrainConfig
from tutelage.errors import TutelageError


def test_a_configuration_survives_yaml(tmp_path: Path) -> None:
    config = TrainConfig(size=3, learning_rate=0.5, weights="none")
    config.save(tmp_path / "config.yaml")
    assert TrainConfig.load(tmp_path / "config.yaml") == config


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("size: 3\nsteps: 7\n")
    config = TrainConfig.load(tmp_path / "c.yaml", {"steps": 9})
    assert (config.size, config.steps) == (3, 9)


def test_every_field_is_a_documented_scalar() -> None:
    for one in fields(TrainConfig):
        assert type(one.default) in (int, float, str), one.name
        assert one.metadata["help"].endswith("."), one.name


def test_an_unknown_key_is_named_with_the_nearest() -> None:
    with pytest.raises(TutelageError, match="'stepz'; did you mean 'steps'"):
        TrainConfig.from_dict({"stepz": 3})


def test_a_wrong_type_is_refused() -> None:
    with pytest.raises(TutelageError, match="expected steps as int, got 'many'"):
        TrainConfig.from_dict({"steps": "many"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", 0),
        ("steps", 0),
        ("dropout", 1.0),
        ("ema", 1.0),
        ("cooldown", 0.0),
        ("weights", "all"),
        ("dtype", "int8"),
    ],
)
def test_values_that_cannot_work_are_refused(name: str, value: Any) -> None:
    with pytest.raises(TutelageError, match=f"expected {name}"):
        TrainConfig(**{name: value})


def test_a_missing_file_and_one_that_is_no_yaml_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match="found none"):
        TrainConfig.load(tmp_path / "absent.yaml")
    (tmp_path / "bad.yaml").write_text("size: [3\n")
    with pytest.raises(TutelageError, match="expected YAML"):
        TrainConfig.load(tmp_path / "bad.yaml")
