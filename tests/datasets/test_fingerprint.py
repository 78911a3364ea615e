"""A fingerprint covers every field of a trajectory, bit for bit, and survives a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from tutelage.datasets.fingerprint import GROUPS, changed_groups, fingerprint, fingerprints
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory

Recorder = Callable[..., Trajectory]


def other(value: Any) -> Any:
    """Return another value of the same kind, as little different as can be."""
    if isinstance(value, np.ndarray):
        changed = value.copy()
        flat = changed.reshape(-1)
        if changed.dtype.kind == "U":
            flat[-1] = flat[-1] + "!" if flat[-1] == "" else flat[-1][:-1]
        else:
            raw = flat.view(np.uint8)
            raw[-1] ^= 1
        return changed
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return float(np.nextafter(value, np.inf))
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    if isinstance(value, str):
        return {"person": "expert"}.get(value, value + "!")
    if isinstance(value, dict):
        if not value:
            return {"length": 9}
        key = next(iter(value))
        return {**value, key: other(value[key])}
    assert value is None
    return 1.5


def test_the_groups_are_all_fields_once() -> None:
    names = [name for group in GROUPS.values() for name in group]
    assert sorted(names) == sorted(field.name for field in fields(Trajectory))


@pytest.mark.parametrize("name", [field.name for field in fields(Trajectory)])
@pytest.mark.parametrize("stored", [False, True])
def test_any_other_value_of_any_field_is_another_fingerprint(
    name: str, stored: bool, record: Recorder
) -> None:
    trajectory = record("words", seed=1, stored=stored)
    value = getattr(trajectory, name)
    if name == "observations" and value is None:
        changed = record("words", seed=1, stored=True)
        changed = replace(trajectory, observations=changed.observations)
    elif name == "infos":
        changed = replace(trajectory, infos={"info.success": np.zeros(len(trajectory))})
    else:
        changed = replace(trajectory, **{name: other(value)})
    assert fingerprint(changed) != fingerprint(trajectory)
    (group,) = [group for group, names in GROUPS.items() if name in names]
    assert changed_groups(changed, fingerprints(trajectory)) == [group]


def test_minus_zero_and_other_nans_are_other_values(record: Recorder) -> None:
    trajectory = replace(record(seed=1), actions=np.zeros((12, 2)))
    assert fingerprint(replace(trajectory, actions=-trajectory.actions)) != fingerprint(trajectory)


@pytest.mark.parametrize("task", ["words", "unrepeatable", "camera", "cartpole"])
def test_a_store_gives_the_same_fingerprint_back(task: str, store: Store, record: Recorder) -> None:
    trajectory = record(task, seed=3)
    store.append([trajectory])
    (back,) = store.trajectories()
    assert fingerprints(back) == fingerprints(trajectory)
