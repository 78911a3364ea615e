"""Going on with a run: what must be as it was when it was begun, and what may be another now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ...console.wording import counted
from ...errors import TutelageError
from ...files.bounded_files import read_yaml
from ...files.safe_tree import refuse_link
from .config import TrainConfig

CONFIG = "config.yaml"

PRACTISED = ("steps", "practise_episodes", "practise_steps")
"""Settings that are free while a run is trained, and fixed as soon as it has begun to practise."""


def settings_for(out: Path, path: Path | None, given: Mapping[str, Any], resume: bool) -> TrainConfig:
    """Put together the settings of a run: `given` ones, then a file's, then those it was begun with.

    A run that is resumed keeps every setting that is not given anew. Raises TutelageError for a setting that
    does not exist or cannot work.
    """
    settings: dict[str, Any] = {}
    if resume and (out / CONFIG).is_file():
        settings |= asdict(TrainConfig.load(out / CONFIG))
    if path is not None:
        TrainConfig.load(path, given)  # which names the file in what it says
        settings |= read_yaml(path) or {}
    return TrainConfig.from_dict(settings | dict(given))


def fixed(config: TrainConfig, also: Iterable[str] = ()) -> dict[str, Any]:
    """Return the settings that decide the weights, and those called `also`."""
    free = {setting.name for setting in fields(config) if setting.metadata["free"]} - set(also)
    return {name: value for name, value in asdict(config).items() if name not in free}


def expect_same_config(out: Path, config: TrainConfig, also: Iterable[str] = ()) -> TrainConfig:
    """Return the settings that a run was begun with.

    Raises TutelageError naming the first that decides its weights, or is called `also`, and differs now.
    """
    refuse_link(out / CONFIG)
    before = TrainConfig.load(out / CONFIG)
    was, now = fixed(before, also), fixed(config, also)
    for name, value in was.items():
        if now[name] != value:
            flag = f"--{name.replace('_', '-')}"
            raise TutelageError(
                f"expected {flag} {value}, which {out} was begun with, got {now[name]}; "
                f"resume with {flag} {value}, or train anew in another folder"
            )
    return before


def change_of_steps(before: TrainConfig, config: TrainConfig, step: int) -> str:
    """Say what becomes of the learning rate where a run is asked for another number of steps; "" if not.

    Raises TutelageError for fewer steps than are done.
    """
    from .step import schedule  # which imports torch: a mistake in the settings is said before

    if config.steps < step:
        raise TutelageError(f"expected --steps of at least {step}, which are done, got {config.steps}")
    if config.steps == before.steps:
        return ""
    old, new = schedule(step, before), schedule(step, config)
    asked = counted(config.steps, "step")
    return (
        f"{asked} instead of {before.steps:,}: from step {step} on, the learning rate is that of a run of "
        f"{asked}, {new:.2f} of its highest there (it was {max(old, 0.0):.2f})"
    )
