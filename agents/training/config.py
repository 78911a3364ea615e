"""Training settings: one dataclass, read from YAML and flags, saved with the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from ...errors import TutelageError, nearest
from ...files.atomic_files import disk_errors, write_whole
from ...files.bounded_files import read_yaml

WEIGHTS = ("none", "outcome", "expertise", "both")
"""Episode weights: all equal; successful ones only; by demonstrator; both of the last two."""

MOST_LAYERS, MOST_WINDOW = 256, 4096
"""Largest size and window of a policy; a machine's memory may allow less."""

SELF_IMITATION_SEEDS = 100_000_000
"""Record seeds of a task available to all self-imitation rounds together."""

_MANY = 1_000_000_000
_RANGES: dict[str, tuple[float, float]] = {
    "size": (1, MOST_LAYERS),
    "steps": (1, _MANY),
    "batch_steps": (1, 10_000_000),
    "window": (1, MOST_WINDOW),
    "learning_rate": (0.0, 100.0),
    "table_learning_rate": (0.0, 100.0),
    "weight_decay": (0.0, 100.0),
    "dropout": (0.0, 1.0),
    "history_dropout": (0.0, 1.0),
    "warmup": (0, _MANY),
    "cooldown": (0.0, 1.0),
    "ema": (0.0, 1.0),
    "balance": (-10.0, 10.0),
    "threads": (0, 1024),
    "workers": (1, 256),
    "evaluate_every": (1, _MANY),
    "select_episodes": (1, 1_000_000),
    "save_every": (1, _MANY),
    "holdout": (0.0, 1.0),
    "self_imitation": (0, 1000),
    "self_imitation_episodes": (1, 1_000_000),
    "self_imitation_steps": (1, _MANY),
    "seed": (0, 2**62),
}
"""Lower and upper bound of each number; integer bounds mean an integer setting."""


def _setting(default: Any, help: str, *, free: bool = False) -> Any:
    """Describe a setting; a `free` one affects no weight and may change when a run is resumed."""
    return field(default=default, metadata={"help": help, "free": free})


@dataclass(frozen=True)
class TrainConfig:
    """Settings of `tutelage train`. Raises TutelageError for invalid values."""

    size: int = _setting(2, "Dial of the policy: layers of its step encoder; width and heads follow.")
    steps: int = _setting(
        1000, "Training steps (batches); a run that is resumed may be asked for more.", free=True
    )
    batch_steps: int = _setting(640, "Environment steps in a batch, all tasks together.")
    window: int = _setting(32, "Steps that memory reaches back.")
    learning_rate: float = _setting(0.02, "Learning rate of the matrices (Muon).")
    table_learning_rate: float = _setting(0.003, "Learning rate of tables and the rest (AdamW).")
    weight_decay: float = _setting(0.0, "Decoupled weight decay of the matrices.")
    dropout: float = _setting(0.1, "Share dropped of what blocks add to a step's summary, while training.")
    history_dropout: float = _setting(0.5, "Share of training windows whose steps see no past.")
    warmup: int = _setting(50, "Steps over which the learning rate rises.")
    cooldown: float = _setting(0.6, "Share of the steps, at the end, over which it falls to zero.")
    ema: float = _setting(0.98, "Decay of the averaged weights, which are the ones evaluated and saved.")
    weights: str = _setting("outcome", "Who teaches how much: none (all alike), outcome, expertise or both.")
    balance: float = _setting(0.5, "A task's share of a batch grows with its steps to this power.")
    dtype: str = _setting("float32", "float32, bfloat16, or auto: bfloat16 where the processor has it.")
    threads: int = _setting(0, "Processor threads; 0 takes as many as other programs leave free.", free=True)
    workers: int = _setting(2, "Processes that replay the stores, and that play web pages.", free=True)
    evaluate_every: int = _setting(250, "Steps between evaluations on select seeds.", free=True)
    select_episodes: int = _setting(32, "Select seeds a task at each evaluation.", free=True)
    holdout: float = _setting(
        0.0, "Share of each task's episodes that is not trained on; the loss on them is logged."
    )
    save_every: int = _setting(250, "Steps between saves of the whole state, to resume from.", free=True)
    self_imitation: int = _setting(
        0, "Rounds in which the policy tries the tasks and learns from its successes.", free=True
    )
    self_imitation_episodes: int = _setting(
        64,
        "Record seeds of a task that it tries in a round, at most; fewer where it seldom fails.",
        free=True,
    )
    self_imitation_steps: int = _setting(500, "Training steps of each round.", free=True)
    seed: int = _setting(0, "Seed of everything random in training.")

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            right = isinstance(value, int | float if isinstance(low, float) else int)
            _expect(right and not isinstance(value, bool), name, "a number", value)
            _expect(value >= low, name, f"at least {low}", value)
            _expect(value <= high, name, f"at most {high}", value)
        _expect(self.holdout < 1, "holdout", "in [0, 1)", self.holdout)
        _expect(not self.holdout or not self.self_imitation, "holdout", "0 with self-imitation", self.holdout)
        _expect(self.dropout < 1, "dropout", "in [0, 1)", self.dropout)
        _expect(self.ema < 1, "ema", "in [0, 1)", self.ema)
        _expect(self.cooldown > 0, "cooldown", "in (0, 1]", self.cooldown)
        _expect(self.weights in WEIGHTS, "weights", " or ".join(WEIGHTS), self.weights)
        dtypes = ("float32", "bfloat16", "auto")
        _expect(self.dtype in dtypes, "dtype", " or ".join(dtypes), self.dtype)
        tried = self.self_imitation * self.self_imitation_episodes
        _expect(
            tried <= SELF_IMITATION_SEEDS,
            "self_imitation_episodes",
            f"{SELF_IMITATION_SEEDS} in all rounds",
            tried,
        )

    @classmethod
    def load(cls, path: str | Path, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
        """Read a YAML file; `overrides` win. Raises TutelageError naming an unknown key and the nearest."""
        path = Path(path)
        if not path.is_file():
            raise TutelageError(f"expected a training configuration at {path}, found none; check the path")
        settings = read_yaml(path) or {}
        if not isinstance(settings, dict):
            raise TutelageError(f"{path}: expected keys and values, got {type(settings).__name__}")
        return cls.from_dict(settings | dict(overrides or {}), str(path))

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any], where: str = "training configuration") -> TrainConfig:
        """Build settings from plain data, checking names and types."""
        types = {setting.name: type(setting.default) for setting in fields(cls)}
        for name, value in settings.items():
            if not isinstance(name, str) or name not in types:
                raise TutelageError(f"{where}: unknown key {name!r}{nearest(name, types)}")
            allowed = (int, float) if types[name] is float else types[name]
            if isinstance(value, bool) or not isinstance(value, allowed):
                raise TutelageError(f"{where}: expected {name} as {types[name].__name__}, got {value!r}")
        return cls(**settings)

    def save(self, path: Path) -> None:
        """Write the settings as YAML."""
        with disk_errors(path):
            write_whole(path, yaml.safe_dump(asdict(self), sort_keys=False).encode())


def _expect(holds: bool, name: str, expected: str, got: Any) -> None:
    if not holds:
        raise TutelageError(f"expected {name} to be {expected}, got {got!r}")
