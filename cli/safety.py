"""The flags of every verb that reads what others may have made: --trust and --limits."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ..files import bounded_files
from ..foreign_code.trust import trust

_Trust = Annotated[
    list[str] | None,
    typer.Option(
        "--trust", metavar="FOLDER|MODULE", help="Let pages in this folder run, or this module be imported."
    ),
]
_Factor = Annotated[
    float | None,
    typer.Option("--limits", metavar="FACTOR", help="Multiply the limits on what a file may hold."),
]


def reads_files(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb `--trust` and `--limits`, which hold while it runs, in the processes it starts too."""
    signature = inspect.signature(verb, eval_str=True)
    place = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter("trusted", place, annotation=_Trust, default=None),
        inspect.Parameter("limits", place, annotation=_Factor, default=None),
    ]

    @functools.wraps(verb)
    def run(*args: Any, trusted: list[str] | None = None, limits: float | None = None, **kwargs: Any) -> None:
        trust(trusted or [])
        if limits is not None:
            os.environ[bounded_files.VARIABLE] = str(limits)
        bounded_files.Limits.current()
        verb(*args, **kwargs)

    parameters = [*signature.parameters.values(), *added]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
