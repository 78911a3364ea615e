"""How a policy is trained: every setting in one place, as YAML, as flags, and saved beside the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from ..envs.errors import TutelageError, nearest

WEIGHTS = ("none", "outcome", "expertise", "both")
"""Every episode counts alike; only successful ones; by who made them; both of the last two."""


def _setting(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class TrainConfig:
    """Settings of `tutelage train`. Raises TutelageError for values that cannot work."""

    size: int = _setting(2, "Dial of the policy: layers of its step encoder; width and heads follow.")
    steps: int = _setting(1000, "Training steps (batches).")
    batch_steps: int = _setting(640, "Environment steps in a batch, all tasks together.")
    window: int = _setting(32, "Steps that memory reaches back.")
    learning_rate: float = _setting(0.02, "Learning rate of the matrices (Muon).")
    table_learning_rate: float = _setting(0.003, "Learning rate of tables and the rest (AdamW).")
    weight_decay: float = _setting(0.0, "Decoupled weight decay of the matrices.")
    dropout: float = _setting(0.1, "Share dropped of what blocks add to a step's summary, while training.")
    forget: float = _setting(0.5, "Share of training windows whose steps see no past.")
    warmup: int = _setting(50, "Steps over which the learning rate rises.")
    cooldown: float = _setting(0.6, "Share of the steps, at the end, over which it falls to zero.")
    ema: float = _setting(0.98, "Decay of the averaged weights, which are the ones evaluated and saved.")
    weights: str = _setting("outcome", "Who teaches how much: none (all alike), outcome, expertise or both.")
    balance: float = _setting(0.5, "A task's share of a batch grows with its steps to this power.")
    dtype: str = _setting("float32", "float32, bfloat16, or auto: bfloat16 where the processor has it.")
    threads: int = _setting(0, "Processor threads; 0 takes all cores.")
    workers: int = _setting(2, "Processes that replay the stores, and that play web pages.")
    evaluate_every: int = _setting(250, "Steps between evaluations on select seeds.")
    select_episodes: int = _setting(32, "Select seeds a task at each evaluation.")
    save_every: int = _setting(250, "Steps between saves of the whole state, to resume from.")
    practise: int = _setting(0, "Rounds in which the policy tries the tasks and learns from its successes.")
    practise_episodes: int = _setting(
        64, "Record seeds of a task that it tries in a round, at most; fewer where it seldom fails."
    )
    practise_steps: int = _setting(500, "Training steps of each round.")
    seed: int = _setting(0, "Seed of everything random in training.")

    def __post_init__(self) -> None:
        counts = ("size", "steps", "batch_steps", "window", "evaluate_every", "save_every")
        for name in (*counts, "practise_episodes", "practise_steps"):
            _expect(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        _expect(self.practise >= 0, "practise", "at least 0", self.practise)
        _expect(0 <= self.dropout < 1, "dropout", "in [0, 1)", self.dropout)
        _expect(0 <= self.forget <= 1, "forget", "in [0, 1]", self.forget)
        _expect(0 <= self.ema < 1, "ema", "in [0, 1)", self.ema)
        _expect(0 < self.cooldown <= 1, "cooldown", "in (0, 1]", self.cooldown)
        _expect(self.weights in WEIGHTS, "weights", " or ".join(WEIGHTS), self.weights)
        known = ("float32", "bfloat16", "auto")
        _expect(self.dtype in known, "dtype", " or ".join(known), self.dtype)

    @classmethod
    def load(cls, path: str | Path, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
        """Read a YAML file; `overrides` win. Raises TutelageError naming an unknown key and the nearest."""
        path = Path(path)
        if not path.is_file():
            raise TutelageError(f"expected a training configuration at {path}, found none; check the path")
        try:
            given = yaml.safe_load(path.read_text("utf-8")) or {}
        except yaml.YAMLError as error:
            raise TutelageError(f"{path}: expected YAML, got {' '.join(str(error).split())}") from None
        if not isinstance(given, dict):
            raise TutelageError(f"{path}: expected keys and values, got {type(given).__name__}")
        return cls.from_dict(given | dict(overrides or {}), str(path))

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], where: str = "training configuration") -> TrainConfig:
        """Build from plain data, checking names and types."""
        known = {one.name: type(one.default) for one in fields(cls)}
        for name, value in given.items():
            if name not in known:
                raise TutelageError(f"{where}: unknown key {name!r}{nearest(name, known)}")
            allowed = (int, float) if known[name] is float else known[name]
            if isinstance(value, bool) or not isinstance(value, allowed):
                raise TutelageError(f"{where}: expected {name} as {known[name].__name__}, got {value!r}")
        return cls(**given)

    def save(self, path: Path) -> None:
        """Write the settings as YAML."""
        path.write_text(yaml.safe_dump(asdict(self), sort_keys=False), "utf-8")


def _expect(holds: bool, name: str, wanted: str, got: Any) -> None:
    if not holds:
        raise TutelageError(f"expected {name} to be {wanted}, got {got!r}")
