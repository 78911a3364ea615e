"""The flags of `tutelage train`: its stores and folders, then one flag of each field of TrainConfig."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..agents.training.config import TrainConfig
from ..files.schema_errors import fields_of

_FIXED: dict[str, tuple[Any, Any]] = {
    "folders": (
        Annotated[list[Path], typer.Argument(help="Stores to train on.")],
        inspect.Parameter.empty,
    ),
    "out": (
        Annotated[Path, typer.Option("--out", "-o", help="The run's folder.")],
        inspect.Parameter.empty,
    ),
    "config": (Annotated[Path | None, typer.Option(help="YAML with the same keys as the flags.")], None),
    "parent": (
        Annotated[
            Path | None,
            typer.Option("--from", help="Start from the weights of a run or checkpoint.", metavar="RUN"),
        ],
        None,
    ),
    "resume": (Annotated[bool, typer.Option(help="Go on where the run in --out stopped.")], False),
    "as_json": (
        Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")],
        False,
    ),
}


def with_flags(train: Callable[..., None]) -> Callable[..., None]:
    """Give a function of `**flags` the signature that typer makes a command line of."""
    flags: dict[str, tuple[Any, Any]] = {
        name: (Annotated[type(setting.default) | None, _option(name, setting)], None)
        for name, setting in fields_of(TrainConfig).items()
    }
    place = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(name, place, annotation=kind, default=default)
        for name, (kind, default) in (_FIXED | flags).items()
    ]
    train.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    train.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return train


def _option(name: str, setting: Any) -> Any:
    """Return the option of a setting; one that is on or off is turned on by a flag, and off by a file."""
    if isinstance(setting.default, bool):
        return typer.Option(f"--{name.replace('_', '-')}", help=setting.description)
    return typer.Option(help=setting.description, show_default=str(setting.default))
