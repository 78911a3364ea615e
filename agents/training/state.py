"""The state a run resumes from: weights, averages, moments, step; checked when read."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ...errors import TutelageError
from ...files.atomic_files import disk_errors, write_whole
from ...files.bounded_files import parse_json, read_bytes
from ...files.finite_json import exact_json
from .optimizer import Optimizer

STATE, OLDER = "state.safetensors", "state.older.safetensors"
"""The newest state and the one before it, the fallback if the newest is damaged."""

VERSION = 3
_OPEN = "0" * 64  # placeholder of the hash while it is computed


def save_state(
    run: Path, policy: nn.Module, average: nn.Module, optimizer: Optimizer, facts: Mapping[str, Any]
) -> None:
    """Write the whole state as one file and keep the previous one; on failure both stay unchanged.

    `facts` are plain data such as the step. The file contains the SHA-256 of all its bytes.
    """
    tensors: dict[str, Tensor] = {
        f"optimizer.{name}": tensor.cpu().contiguous() for name, tensor in optimizer.state.items()
    }
    for prefix, module in (("policy", policy), ("average", average)):
        tensors |= {
            f"{prefix}.{name}": tensor.cpu().contiguous() for name, tensor in module.state_dict().items()
        }
    # a single entry: the order of several is not fixed, and equal states must give equal files
    about = exact_json({"version": VERSION, "sha256": _OPEN, "facts": facts})
    data = save_tensors(tensors, {"state": about})
    with disk_errors(run, "go on with --resume"):
        fresh = run / f".{STATE}.new"
        write_whole(fresh, data.replace(_OPEN.encode(), _hash(data).encode(), 1))
        if (run / STATE).exists():
            (run / STATE).replace(run / OLDER)
        fresh.replace(run / STATE)


def forget_older(run: Path) -> None:
    """Remove the older state: a finished run does not need it."""
    (run / OLDER).unlink(missing_ok=True)


def load_state(
    run: Path,
    policy: nn.Module,
    average: nn.Module,
    optimizer: Optimizer,
    expected: Mapping[str, Any],
    notice: Callable[[str], None],
) -> dict[str, Any]:
    """Restore a saved state into the given modules and optimizer; returns its facts.

    If the newest state is damaged, the previous one is used and reported to `notice`. Raises TutelageError
    when both are damaged or missing, and when the state does not fit or belongs to another run: its facts
    must contain `expected`.
    """
    tensors, facts = _newest(run, notice)
    for name, value in expected.items():
        if (saved := facts.get(name)) != value:
            raise _mismatch(run, name, value, saved)
    _expect_facts(run, facts)
    for prefix, module in (("policy", policy), ("average", average)):
        _copy_tensors(run, _with_prefix(tensors, prefix), module.state_dict())
    _copy_tensors(run, _with_prefix(tensors, "optimizer"), optimizer.state)
    return facts


def _newest(run: Path, notice: Callable[[str], None]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the newest undamaged state: its tensors and facts."""
    try:
        return _read(run / STATE)
    except TutelageError as error:
        newest = error
    try:
        tensors, facts = _read(run / OLDER)
    except TutelageError:
        raise TutelageError(f"{newest}; copy it again, or train anew in another folder") from None
    notice(f"{newest}; going on from the state before it, step {facts.get('step')}")
    return tensors, facts


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read one state after checking every byte of it."""
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        raise TutelageError(f"expected a training state at {path}, found none") from None
    changed = TutelageError(f"expected {path} as it was saved, got other bytes (its SHA-256 differs)")
    try:
        size = int.from_bytes(data[:8], "little")
        header = parse_json(data[8 : 8 + size], str(path))
        about = parse_json(header["__metadata__"]["state"], str(path))
        sha256, version, facts = about["sha256"], about["version"], about["facts"]
        unsealed = data.replace(sha256.encode(), _OPEN.encode(), 1)
    except (KeyError, TypeError, AttributeError, TutelageError):
        raise changed from None
    if version != VERSION:
        raise TutelageError(f"expected a training state of version {VERSION} at {path}, got {version!r}")
    if _hash(unsealed) != sha256 or not isinstance(facts, dict):
        raise changed
    try:
        return load_tensors(data), facts
    except (SafetensorError, RuntimeError, ValueError, KeyError):
        raise changed from None


def _copy_tensors(run: Path, saved: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    """Copy tensors into targets of the same name, shape and type; raises TutelageError if they differ."""
    for name in sorted(set(saved) | set(target)):
        problem = ""
        if name not in saved or name not in target:
            problem = f"{name} on one side only"
        elif saved[name].shape != target[name].shape or saved[name].dtype != target[name].dtype:
            problem = f"another shape or type of {name}"
        elif not bool(torch.isfinite(saved[name]).all()):
            problem = f"a number in {name} that is not finite"
        if problem:
            raise TutelageError(
                f"expected the state in {run} to fit this configuration, got {problem}; "
                f"resume with the configuration it was begun with"
            )
    with torch.no_grad():
        for name, tensor in saved.items():
            target[name].copy_(tensor)


def _expect_facts(run: Path, facts: Mapping[str, Any]) -> None:
    step, best = facts.get("step"), facts.get("best")
    select, memoryless_tasks = facts.get("select"), facts.get("memoryless_tasks")
    sound = (
        all(type(number) is int and 0 <= number < 2**62 for number in (step, facts.get("selected")))
        and isinstance(best, int | float)
        and math.isfinite(best)
        and isinstance(select, dict)
        and all(isinstance(rate, int | float) for rate in select.values())
        and isinstance(memoryless_tasks, list)
        and all(isinstance(task, str) for task in memoryless_tasks)
    )
    if not sound:
        raise TutelageError(
            f"expected step, best, select, selected and memoryless_tasks in the training state of {run}, got "
            f"other values; copy it again, or train anew in another folder"
        )


def _mismatch(run: Path, name: str, now: Any, saved: Any) -> TutelageError:
    """Return the error for a state of another run: the first difference, its old and its new value."""
    path: list[str] = []
    while isinstance(now, Mapping) and isinstance(saved, Mapping):
        key = next(key for key in sorted({*now, *saved}, key=str) if now.get(key) != saved.get(key))
        path.append(str(key))
        now, saved = now.get(key), saved.get(key)
    subject = {"parts": "demonstrations", "parent": "parent"}.get(path[0] if path else "", "settings")
    return TutelageError(
        f"expected the {subject} that {run} was begun with, got others ({'/'.join(path) or name}: was "
        f"{_short(saved)}, is {_short(now)}); resume with the same, or train anew in another folder"
    )


def _short(value: Any) -> str:
    text = "not there" if value is None else str(value)
    return text if len(text) <= 16 else f"{text[:16]}…"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }
