"""A training state is put back as it was saved, or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as save_tensors
from torch import nn
from tutelage.agents.training import state
from tutelage.agents.training.optimizer import Optimizer
from tutelage.agents.training.state import OLDER, STATE, load_state, save_state
from tutelage.errors import TutelageError
from tutelage.tests.support.damage import flip_bit, for_any_bit

FACTS = {
    "step": 7,
    "best": 0.5,
    "select": {"go": 0.5},
    "selected": 6,
    "memoryless_tasks": ["go"],
    "begun_with": {"parts": {"a": "1"}},
}
EXPECTED = {"begun_with": {"parts": {"a": "1"}}}
Parts = tuple[nn.Module, nn.Module, Optimizer]


def parts(seed: int) -> Parts:
    torch.manual_seed(seed)
    policy, average = nn.Linear(3, 2), nn.Linear(3, 2)
    return policy, average, Optimizer(policy, 0.1, 0.1, 0.0)


def weights(of: Parts) -> list[Any]:
    modules = [*of[0].state_dict().values(), *of[1].state_dict().values(), *of[2].state.values()]
    return [tensor.tolist() for tensor in modules]


def read(
    run: Path, notice: list[str] | None = None, expected: Any = EXPECTED
) -> tuple[dict[str, Any], Parts]:
    target = parts(1)
    notices: list[str] = []
    return load_state(run, *target, expected, (notices if notice is None else notice).append), target


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a state of step 3, and one of step 7."""
    run = tmp_path_factory.mktemp("run")
    save_state(run, *parts(0), FACTS | {"step": 3})
    save_state(run, *parts(2), FACTS)
    return run


def copied(saved: Path, tmp_path: Path, data: bytes | None = None) -> Path:
    run = tmp_path / "copy"
    shutil.copytree(saved, run, dirs_exist_ok=True)
    if data is not None:
        (run / STATE).write_bytes(data)
    return run


def test_a_state_is_put_back_and_saving_it_again_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    facts, target = read(saved)
    assert facts == FACTS
    assert weights(target) == weights(parts(2))
    save_state(tmp_path, *target, facts)
    assert (tmp_path / STATE).read_bytes() == (saved / STATE).read_bytes()
    assert not (tmp_path / OLDER).exists()


@pytest.mark.slow
@for_any_bit(200)
def test_after_any_flipped_bit_the_older_state_is_used_and_said(
    saved: Path, tmp_path: Path, where: float, bit: int
) -> None:
    run = copied(saved, tmp_path)
    flip_bit(run / STATE, where, bit)
    notices: list[str] = []
    facts, target = read(run, notices)
    assert facts["step"] == 3
    assert weights(target) == weights(parts(0))
    (line,) = notices
    assert "state.safetensors" in line
    assert "step 3" in line


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.999])
def test_a_cut_state_is_not_used(saved: Path, tmp_path: Path, share: float) -> None:
    data = (saved / STATE).read_bytes()
    facts, _ = read(copied(saved, tmp_path, data[: int(share * len(data))]))
    assert facts["step"] == 3


def test_two_damaged_states_end_in_one_line(saved: Path, tmp_path: Path) -> None:
    run = copied(saved, tmp_path)
    for name in (STATE, OLDER):
        data = bytearray((run / name).read_bytes())
        data[-1] ^= 1
        (run / name).write_bytes(bytes(data))
    with pytest.raises(TutelageError, match=r"SHA-256 differs.*train anew in another folder"):
        read(run)


def test_a_run_that_died_between_the_two_renames_goes_on(saved: Path, tmp_path: Path) -> None:
    run = copied(saved, tmp_path)
    (run / STATE).unlink()
    assert read(run)[0]["step"] == 3


def test_other_demonstrations_are_refused_and_named(saved: Path) -> None:
    with pytest.raises(TutelageError, match=r"demonstrations that .*\(parts/a: was 1, is 2\)"):
        read(saved, expected={"begun_with": {"parts": {"a": "2"}}})


def forged(saved: Path, tmp_path: Path, facts: dict[str, Any], **changed: torch.Tensor | None) -> Path:
    """Write a state whose hash is right, with other facts and tensors."""
    tensors = {**state._read(saved / STATE)[0], **changed}
    about = json.dumps({"version": 3, "sha256": "0" * 64, "facts": facts})
    data = save_tensors(
        {name: tensor for name, tensor in tensors.items() if tensor is not None}, {"state": about}
    )
    hashed = state._hash(data).encode()
    return copied(saved, tmp_path, data.replace(b"0" * 64, hashed, 1))


@pytest.mark.parametrize(
    "changed",
    [
        {"policy.weight": torch.zeros(1)},
        {"policy.weight": torch.zeros(2, 3, dtype=torch.float64)},
        {"policy.weight": torch.full((2, 3), torch.nan)},
        {"average.bias": None},
        {"policy.more": torch.zeros(1)},
        {"optimizer.weight.momentum": torch.zeros(())},
    ],
    ids=lambda value: "-".join(value),
)
def test_tensors_that_do_not_fit_are_refused_not_broadcast(
    changed: dict[str, Any], saved: Path, tmp_path: Path
) -> None:
    with pytest.raises(TutelageError, match="to fit this configuration"):
        read(forged(saved, tmp_path, FACTS, **changed))


@pytest.mark.parametrize(
    "facts",
    [
        {"step": "7"},
        {"step": -1},
        {"step": True},
        {"step": 10**300},
        {"best": float("nan")},
        {"best": None},
        {"select": []},
        {"select": {"go": "x"}},
        {"selected": 6.0},
        {"memoryless_tasks": "go"},
        {"memoryless_tasks": [1]},
    ],
    ids=str,
)
def test_facts_that_cannot_be_are_refused(facts: dict[str, Any], saved: Path, tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match="expected step, best, select, selected and memoryless_tasks"):
        read(forged(saved, tmp_path, FACTS | facts))
