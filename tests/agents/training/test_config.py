from __future__ import annotations

import math
import pickle
from dataclasses import FrozenInstanceError, asdict, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tutelage.agents.training.config import SELF_IMITATION_SEEDS, TrainConfig
from tutelage.errors import TutelageError
from tutelage.files.schema_errors import fields_of

FIELDS = fields_of(TrainConfig)
BOUNDS = {
    name: {bound: value for item in field.metadata for bound, value in asdict(item).items()}
    for name, field in FIELDS.items()
    if not isinstance(field.default, str | bool)
}
"""Setting → its bounds by pydantic's names: `ge` or `gt`, and `le` or `lt`."""

SWITCHES = [name for name, field in FIELDS.items() if isinstance(field.default, bool)]


def beyond(name: str, bound: float, direction: int) -> float:
    """Return the next value of a setting's type above or below a bound."""
    if FIELDS[name].annotation is int:
        return bound + direction
    return math.nextafter(bound, direction * math.inf)


def test_a_configuration_survives_yaml(tmp_path: Path) -> None:
    config = TrainConfig(size=3, learning_rate=0.5, weights="none")
    config.save(tmp_path / "config.yaml")
    assert TrainConfig.load(tmp_path / "config.yaml") == config


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("size: 3\nsteps: 7\n")
    config = TrainConfig.load(tmp_path / "c.yaml", {"steps": 9})
    assert (config.size, config.steps) == (3, 9)


def test_every_field_is_a_documented_scalar() -> None:
    for name, field in FIELDS.items():
        assert type(field.default) in (bool, int, float, str), name
        assert (field.description or "").endswith("."), name


def test_the_defaults_are_within_their_bounds() -> None:
    assert TrainConfig(**asdict(TrainConfig())) == TrainConfig()


@pytest.mark.parametrize("name", BOUNDS)
def test_a_number_is_accepted_up_to_its_bounds_and_refused_beyond(name: str) -> None:
    low, high = sorted(BOUNDS[name], key=("ge", "gt", "le", "lt").index)
    assert (low in ("ge", "gt"), high in ("le", "lt")) == (True, True)
    for key, direction in ((low, -1), (high, 1)):
        bound = BOUNDS[name][key]
        inside = bound if key in ("ge", "le") else beyond(name, bound, -direction)
        assert getattr(TrainConfig(**{name: inside}), name) == inside
        outside = beyond(name, bound, direction) if key in ("ge", "le") else bound
        with pytest.raises(
            TutelageError, match=rf"^at '{name}': input should be (greater|less) than .*, got"
        ):
            TrainConfig(**{name: outside})


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize(
    "value",
    [
        *(True, False, None, "3", "0.5", "", [], {}, b"1", 1j, Decimal(0), Fraction(1, 2)),
        *(math.nan, math.inf, -math.inf, 10**400, -(10**400)),
        *(np.int64(1), np.float32(0.5), np.bool_(True), np.array(0.5)),
    ],
    ids=lambda value: f"{type(value).__name__}-{value!s:.9}",
)
def test_what_is_no_finite_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(TutelageError, match=f"^at '{name}': .*, got"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize("name", BOUNDS)
def test_an_int_is_a_float_and_a_float_is_no_int(name: str) -> None:
    if FIELDS[name].annotation is int:
        with pytest.raises(TutelageError, match=f"^at '{name}': input should be a valid integer, got 3.0"):
            TrainConfig(**{name: 3.0})
    elif BOUNDS[name].get("ge") == 0:
        value = getattr(TrainConfig(**{name: 0}), name)
        assert (value, type(value)) == (0, float)


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value", [0, 1, 0.0, "true", "", None, [], np.bool_(True)], ids=repr)
def test_a_switch_is_true_or_false(name: str, value: Any) -> None:
    assert getattr(TrainConfig(**{name: True}), name) is True
    with pytest.raises(TutelageError, match=f"^at '{name}': .*, got"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize("name", ["weights", "dtype"])
@pytest.mark.parametrize("value", ["", "OUTCOME", "float64", 0, 1.0, True, None, ["none"]])
def test_a_choice_is_one_of_its_words(name: str, value: Any) -> None:
    with pytest.raises(TutelageError, match=f"^at '{name}': .*, got"):
        TrainConfig(**{name: value})


def test_a_copy_with_changes_is_checked() -> None:
    assert replace(TrainConfig(size=3), steps=7) == TrainConfig(size=3, steps=7)
    with pytest.raises(TutelageError, match=r"^at 'steps': "):
        replace(TrainConfig(), steps=0)


def test_a_value_without_its_name_is_reported_by_name() -> None:
    assert TrainConfig(3) == TrainConfig(size=3)
    with pytest.raises(TutelageError, match=r"^at 'steps': .*, got 0"):
        TrainConfig(3, 0)
    with pytest.raises(TutelageError, match="unexpected positional argument, got 7"):
        TrainConfig(*asdict(TrainConfig()).values(), 7)


def test_settings_are_fixed_and_travel_to_other_processes() -> None:
    config = TrainConfig(size=3)
    with pytest.raises(FrozenInstanceError):
        config.size = 4  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(config)) == config
    assert hash(config) == hash(TrainConfig(size=3))


def test_numbers_of_numpy_that_are_floats_are_saved_as_floats(tmp_path: Path) -> None:
    TrainConfig(ema=np.float64(0.5)).save(tmp_path / "config.yaml")
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["ema"] == 0.5


def test_self_imitation_has_as_many_seeds_as_its_range() -> None:
    episodes = SELF_IMITATION_SEEDS // 1000
    assert TrainConfig(self_imitation=1000, self_imitation_episodes=episodes)
    with pytest.raises(
        TutelageError, match=r"^at 'self_imitation_episodes': expected at most 100000 in each"
    ):
        TrainConfig(self_imitation=1000, self_imitation_episodes=episodes + 1)


def test_an_unknown_key_is_named_with_the_nearest() -> None:
    with pytest.raises(TutelageError, match=r"'stepz'; allowed: size, steps, .*; did you mean 'steps'"):
        TrainConfig.from_dict({"stepz": 3})
    with pytest.raises(TutelageError, match=r"'stepz'; allowed: size, steps, .*; did you mean 'steps'"):
        TrainConfig(stepz=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["self", "cls", 1, None, True, 1.5, ("a", "b"), ""])
def test_any_other_key_is_refused(name: Any) -> None:
    with pytest.raises(TutelageError, match=r"^settings: unknown key .*; allowed: size, steps, "):
        TrainConfig.from_dict({name: 3}, "settings")


def test_a_wrong_type_is_refused() -> None:
    with pytest.raises(TutelageError, match="at 'steps': input should be a valid integer, got 'many'"):
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
    with pytest.raises(TutelageError, match=f"at '{name}': "):
        TrainConfig(**{name: value})


def test_a_missing_file_and_one_that_is_no_yaml_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match="found none"):
        TrainConfig.load(tmp_path / "absent.yaml")
    (tmp_path / "bad.yaml").write_text("size: [3\n")
    with pytest.raises(TutelageError, match="expected YAML"):
        TrainConfig.load(tmp_path / "bad.yaml")
