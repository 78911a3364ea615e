"""What a run needs to go on exactly where it stopped: weights, averages, moments, step; and its log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ..datasets.durable import disk_errors, write_whole
from ..envs.errors import TutelageError
from .optimizer import Optimizer

STATE, METRICS = "state.safetensors", "metrics.jsonl"


def save_state(
    run: Path, policy: nn.Module, average: nn.Module, optimizer: Optimizer, facts: Mapping[str, Any]
) -> None:
    """Write the whole state as one file, or leave the old one; `facts` are plain data such as the step."""
    tensors: dict[str, Tensor] = {f"optimizer.{name}": one for name, one in optimizer.state.items()}
    for prefix, module in (("policy", policy), ("average", average)):
        tensors |= {f"{prefix}.{name}": one.contiguous() for name, one in module.state_dict().items()}
    with disk_errors(run):
        write_whole(run / STATE, save_tensors(tensors, {"facts": json.dumps(facts)}))


def load_state(run: Path, policy: nn.Module, average: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Put a saved state back in place; returns its facts. Raises TutelageError when it does not fit."""
    try:
        with safe_open(run / STATE, "pt") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["facts"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (FileNotFoundError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise TutelageError(
            f"expected a training state at {run / STATE}, got: {error}; train without --resume"
        ) from None
    try:
        for prefix, module in (("policy", policy), ("average", average)):
            module.load_state_dict(_below(tensors, prefix))
        with torch.no_grad():
            for name, one in _below(tensors, "optimizer").items():
                optimizer.state[name].copy_(one)
    except (RuntimeError, KeyError) as error:
        raise TutelageError(
            f"expected the state in {run} to fit this configuration, got: {str(error).splitlines()[0]}; "
            f"resume with the configuration it was begun with"
        ) from None
    return facts


class Log:
    """`metrics.jsonl`, one object a line, and the same figures as TensorBoard event files."""

    def __init__(self, run: Path, step: int) -> None:
        self._path = run / METRICS
        kept = [line for line in self._lines() if json.loads(line)["step"] <= step] if step else []
        self._path.write_text("".join(f"{line}\n" for line in kept), "utf-8")
        self._board = _tensorboard(run / "tensorboard", step)

    def write(self, step: int, figures: Mapping[str, Any]) -> None:
        """Append one line; nested dicts become groups of curves."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        for name, value in figures.items():
            for key, number in value.items() if isinstance(value, dict) else [("", value)]:
                if self._board is not None and isinstance(number, int | float):
                    self._board.add_scalar(f"{name}/{key}" if key else name, number, step)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def _lines(self) -> list[str]:
        return self._path.read_text("utf-8").splitlines() if self._path.exists() else []


def _tensorboard(folder: Path, step: int) -> Any:
    """Return a writer, or None without the package: metrics.jsonl holds the same figures."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): one for name, one in tensors.items() if name.startswith(f"{prefix}.")
    }
