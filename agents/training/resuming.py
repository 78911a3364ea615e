"""Resuming a run: settings that must be unchanged, and settings that may differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...console.wording import counted
from ...errors import TutelageError
from ...files.bounded_files import read_yaml
from ...files.safe_tree import refuse_link
from ...files.schema_errors import fields_of
from .config import TrainConfig, free_settings

CONFIG = "config.yaml"

SELF_IMITATION_SETTINGS = ("steps", "self_imitation_episodes", "self_imitation_steps")
"""Settings that are free until self-imitation starts, and fixed afterwards."""
_LATER = (
    *("holdout", "freeze", "adapters", "augmentation", "features", "train_features"),
    *("action_head", "chunk"),
)
"""Fixed settings that runs of earlier releases do not have."""


def settings_for(
    out: Path,
    path: Path | None,
    overrides: Mapping[str, Any],
    resume: bool,
    defaults: Mapping[str, Any] | None = None,
) -> TrainConfig:
    """Combine the settings of a run: `overrides` first, then a file's, then those the run started with.

    A resumed run keeps every setting that is not given again; a new one takes the rest from `defaults`.
    Raises TutelageError for an unknown or invalid setting.
    """
    settings: dict[str, Any] = dict(defaults or {})
    if resume and (out / CONFIG).is_file():
        settings |= asdict(TrainConfig.load(out / CONFIG))
    if path is not None:
        TrainConfig.load(path, overrides)  # checks it alone, so that an error names the file
        settings |= read_yaml(path) or {}
    return TrainConfig.from_dict(settings | dict(overrides))


def fixed(config: TrainConfig, also: Iterable[str] = ()) -> dict[str, Any]:
    """Return the settings that affect the weights, and those named in `also`."""
    free = free_settings() - set(also)
    settings = {name: value for name, value in asdict(config).items() if name not in free}
    for name in _LATER:
        if settings[name] == fields_of(TrainConfig)[name].default:
            del settings[name]
    return settings


def expect_same_config(out: Path, config: TrainConfig, also: Iterable[str] = ()) -> TrainConfig:
    """Return the settings that a run started with.

    Raises TutelageError naming the first fixed setting (see `fixed`) that differs in `config`.
    """
    refuse_link(out / CONFIG)
    before = TrainConfig.load(out / CONFIG)
    was, now = fixed(before, also), fixed(config, also)
    for name in {**was, **now}:
        value = getattr(before, name)
        if getattr(config, name) != value:
            flag = f"--{name.replace('_', '-')}"
            raise TutelageError(
                f"expected {flag} {value}, which {out} was begun with, got {getattr(config, name)}; "
                f"resume with {flag} {value}, or train anew in another folder"
            )
    return before


def change_of_steps(before: TrainConfig, config: TrainConfig, step: int) -> str:
    """Return a note on the learning rate if the number of steps has changed, else "".

    Raises TutelageError for fewer steps than the run has done.
    """
    from .step import schedule  # imports torch, which is slow: errors in settings come first

    if config.steps < step:
        raise TutelageError(f"expected --steps of at least {step}, which are done, got {config.steps}")
    if config.steps == before.steps:
        return ""
    old, new = schedule(step, before), schedule(step, config)
    total = counted(config.steps, "step")
    return (
        f"{total} instead of {before.steps:,}: from step {step} on, the learning rate is that of a run of "
        f"{total}, {new:.2f} of its highest there (it was {max(old, 0.0):.2f})"
    )
