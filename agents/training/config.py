"""Training settings: one dataclass of pydantic, read from YAML and flags, saved with the run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field, JsonValue, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from ...errors import TutelageError
from ...files.atomic_files import disk_errors, write_whole
from ...files.bounded_files import read_yaml
from ...files.schema_errors import fields_of, with_short_errors

MOST_LAYERS, MOST_WINDOW = 256, 4096
"""Largest size and window of a policy; a machine's memory may allow less."""

MOST_CHUNK = 256
"""Most steps of a chunk of actions."""

SELF_IMITATION_SEEDS = 100_000_000
"""Record seeds of a task available to all self-imitation rounds together."""

AUGMENTATIONS = ("none", "shift", "shift+color")
"""Changes to images while training, see `policy.images.augmentation`."""

FEATURES = re.compile(r"none|patches|efficientnet-lite0|(torchvision|timm):[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")
"""What reads images: none is learned convolutions, patches a linear map of each, others are pre-trained.

Names have no slash or colon of their own: timm would take those for an address.
"""

FEATURES_FORM = "none, patches, efficientnet-lite0, torchvision:NAME or timm:NAME"

_MANY = 1_000_000_000
_FREE: dict[str, JsonValue] = {"free": True}
"""Marks a setting that may change when a run is resumed: it affects no weight, but for rounding and draws."""


@with_short_errors
@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class TrainConfig:
    """Settings of `tutelage train`. Raises TutelageError for unknown names and invalid values."""

    size: int = Field(
        default=2,
        ge=1,
        le=MOST_LAYERS,
        description="Dial of the policy: layers of its step encoder; width and heads follow.",
    )
    steps: int = Field(
        default=1000,
        ge=1,
        le=_MANY,
        description="Training steps (batches); a run that is resumed may be asked for more.",
        json_schema_extra=_FREE,
    )
    batch_steps: int = Field(
        default=640, ge=1, le=10_000_000, description="Environment steps in a batch, all tasks together."
    )
    window: int = Field(default=32, ge=1, le=MOST_WINDOW, description="Steps that memory reaches back.")
    learning_rate: float = Field(
        default=0.02, ge=0, le=100, description="Learning rate of the matrices (Muon)."
    )
    table_learning_rate: float = Field(
        default=0.003, ge=0, le=100, description="Learning rate of tables and the rest (AdamW)."
    )
    weight_decay: float = Field(
        default=0.0, ge=0, le=100, description="Decoupled weight decay of the matrices."
    )
    dropout: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Share dropped of what blocks add to a step's summary, while training.",
    )
    history_dropout: float = Field(
        default=0.5, ge=0, le=1, description="Share of training windows whose steps see no past."
    )
    action_head: Literal["auto", "bins", "flow"] = Field(
        default="auto",
        description="How continuous actions are made: bins, flow, or auto: bins, with advice by the data.",
    )
    chunk: int = Field(
        default=1, ge=1, le=MOST_CHUNK, description="Steps that a flow head generates at once."
    )
    replan: int = Field(
        default=1,
        ge=0,
        le=MOST_CHUNK,
        description="Steps of a chunk that are played, at most all; 0 averages overlapping chunks.",
        json_schema_extra=_FREE,
    )
    warmup: int = Field(default=50, ge=0, le=_MANY, description="Steps over which the learning rate rises.")
    cooldown: float = Field(
        default=0.6, gt=0, le=1, description="Share of the steps, at the end, over which it falls to zero."
    )
    ema: float = Field(
        default=0.98,
        ge=0,
        lt=1,
        description="Decay of the averaged weights, which are the ones evaluated and saved.",
    )
    augmentation: Literal["none", "shift", "shift+color"] = Field(
        default="shift",
        description="Changes to images while training: none, shift (by 4 of 84 pixels) or shift+color.",
    )
    features: str = Field(
        default="none",
        description="Pre-trained network that reads images: efficientnet-lite0, torchvision:NAME, timm:NAME; "
        "none learns convolutions, patches a linear map.",
    )
    train_features: bool = Field(
        default=False, description="Train the network of --features too, at 0.03 of the rate of tables."
    )
    weights: Literal["none", "outcome", "expertise", "both"] = Field(
        default="outcome", description="Who teaches how much: none (all alike), outcome, expertise or both."
    )
    balance: float = Field(
        default=0.5,
        ge=-10,
        le=10,
        description="A task's share of a batch grows with its steps to this power.",
    )
    dtype: Literal["float32", "bfloat16", "auto"] = Field(
        default="float32", description="float32, bfloat16, or auto: bfloat16 where the device has it."
    )
    device: Literal["auto", "cpu", "cuda", "mps", "xpu"] = Field(
        default="auto",
        description="cpu, cuda, mps, xpu, or auto: an accelerator if there is one.",
        json_schema_extra=_FREE,
    )
    freeze: Literal["nothing", "tokens", "encoder", "all-but-head"] = Field(
        default="nothing",
        description="Weights of --from that are not trained: nothing, tokens, encoder or all-but-head.",
    )
    adapters: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="Rank of the change of matrices of --from (LoRA); 0 trains them whole.",
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        le=65_536,
        description="Parts that a batch is computed in, one after the other, to need less memory.",
        json_schema_extra=_FREE,
    )
    checkpoint_activations: bool = Field(
        default=False,
        description="Compute activations again in the backward pass instead of keeping them.",
        json_schema_extra=_FREE,
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Processor threads; 0 takes as many as other programs leave free.",
        json_schema_extra=_FREE,
    )
    workers: int = Field(
        default=2,
        ge=1,
        le=256,
        description="Processes that replay the stores, and that play web pages.",
        json_schema_extra=_FREE,
    )
    evaluate_every: int = Field(
        default=250,
        ge=1,
        le=_MANY,
        description="Steps between evaluations on select seeds.",
        json_schema_extra=_FREE,
    )
    select_episodes: int = Field(
        default=32,
        ge=1,
        le=1_000_000,
        description="Select seeds a task at each evaluation.",
        json_schema_extra=_FREE,
    )
    holdout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of each task's episodes that is not trained on; the loss on them is logged.",
    )
    save_every: int = Field(
        default=250,
        ge=1,
        le=_MANY,
        description="Steps between saves of the whole state, to resume from.",
        json_schema_extra=_FREE,
    )
    self_imitation: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Rounds in which the policy tries the tasks and learns from its successes.",
        json_schema_extra=_FREE,
    )
    self_imitation_episodes: int = Field(
        default=64,
        ge=1,
        le=1_000_000,
        description="Record seeds of a task that it tries in a round, at most; fewer where it seldom fails.",
        json_schema_extra=_FREE,
    )
    self_imitation_steps: int = Field(
        default=500, ge=1, le=_MANY, description="Training steps of each round.", json_schema_extra=_FREE
    )
    seed: int = Field(default=0, ge=0, le=2**62, description="Seed of everything random in training.")

    @field_validator("*", mode="before")
    @classmethod
    def _check_is_scalar(cls, value: Any) -> Any:
        if not isinstance(value, int | float | str):  # pydantic takes whatever has __float__ for a float
            raise ValueError("expected a number or text")
        return value

    @field_validator("features")
    @classmethod
    def _check_features(cls, features: str) -> str:
        if not FEATURES.fullmatch(features):
            raise ValueError(f"expected {FEATURES_FORM}")
        return features

    @field_validator("adapters")
    @classmethod
    def _check_adapters(cls, rank: int, info: ValidationInfo) -> int:
        if rank and (frozen := info.data.get("freeze")) in ("encoder", "all-but-head"):
            raise ValueError(f"expected 0 with freeze {frozen}, which leaves the matrices as they are")
        return rank

    @field_validator("self_imitation")
    @classmethod
    def _check_rounds(cls, rounds: int, info: ValidationInfo) -> int:
        for name, unset in (("holdout", 0), ("freeze", "nothing"), ("adapters", 0)):
            if rounds and info.data.get(name, unset) != unset:
                raise ValueError(f"expected 0 with {name}")
        return rounds

    @field_validator("self_imitation_episodes")
    @classmethod
    def _check_seeds(cls, episodes: int, info: ValidationInfo) -> int:
        rounds = info.data.get("self_imitation", 0)
        if rounds * episodes > SELF_IMITATION_SEEDS:
            raise ValueError(f"expected at most {SELF_IMITATION_SEEDS // rounds} in each of {rounds} rounds")
        return episodes

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
        """Build settings from plain data; `where` prefixes error messages."""
        try:
            return cls(**{str(name): value for name, value in settings.items()})
        except TutelageError as error:
            raise TutelageError(f"{where}: {error}") from None

    def save(self, path: Path) -> None:
        """Write the settings as YAML."""
        with disk_errors(path):
            write_whole(path, yaml.safe_dump(asdict(self), sort_keys=False).encode())


def free_settings() -> set[str]:
    """Return the names of settings that affect no weight, and may change when a run is resumed."""
    return {name for name, field in fields_of(TrainConfig).items() if field.json_schema_extra == _FREE}
