"""The flags of `tutelage edit` that say which episodes are meant."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..console.printable import printable
from ..errors import TutelageError

Apply = Annotated[bool, typer.Option("--apply", help="Do it; without this, only say what would change.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The new store.")]

_CONDITIONS: dict[str, tuple[Any, Any]] = {
    "episodes": (
        Annotated[
            list[str] | None,
            typer.Argument(metavar="[EPISODE]...", help="Ids of episodes, or 6 characters that begin one."),
        ],
        None,
    ),
    "tasks": (
        Annotated[list[str] | None, typer.Option("--task", help="Only this task; again: or that one.")],
        None,
    ),
    "demonstrators": (
        Annotated[list[str] | None, typer.Option("--by", help="Only this demonstrator; again: or that one.")],
        None,
    ),
    "kinds": (
        Annotated[list[str] | None, typer.Option("--kind", help="Only this kind, such as person or expert.")],
        None,
    ),
    "tags": (
        Annotated[list[str] | None, typer.Option("--tag", help="Only with this tag; again: or that one.")],
        None,
    ),
    "success": (
        Annotated[
            bool | None,
            typer.Option("--success/--failure", help="Only successes, or only failures.", show_default=False),
        ],
        None,
    ),
    "unrated": (
        Annotated[bool, typer.Option("--unrated", help="Only where success is not known.")],
        False,
    ),
    "marked": (
        Annotated[
            bool | None,
            typer.Option(
                "--marked/--unmarked", help="Only those marked for removal, or not.", show_default=False
            ),
        ],
        None,
    ),
    "shortest": (
        Annotated[int | None, typer.Option("--min-steps", help="Only of so many steps or more.")],
        None,
    ),
    "longest": (
        Annotated[int | None, typer.Option("--max-steps", help="Only of so many steps or fewer.")],
        None,
    ),
    "text": (
        Annotated[str, typer.Option("--text", help="Only where these words stand: names, notes, tags, ids.")],
        "",
    ),
    "everything": (Annotated[bool, typer.Option("--all", help="All episodes.")], False),
}
"""The fields of `datasets.selection.Selection`: how each is given, and its default."""


def selecting(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the flags that say which episodes are meant; it gets them as its `selection`."""
    signature = inspect.signature(verb, eval_str=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(name, keyword, annotation=annotation, default=default)
        for name, (annotation, default) in _CONDITIONS.items()
    ]
    rest = [
        parameter.replace(kind=keyword)
        for name, parameter in signature.parameters.items()
        if name != "selection"
    ]
    parameters = [*rest[:1], *added, *rest[1:]]

    @functools.wraps(verb)
    def run(**given: Any) -> None:
        from ..datasets.editing.selection import Selection

        chosen = {name: given.pop(name) for name in _CONDITIONS}
        # a list that was not given is none, or empty
        verb(
            selection=Selection(**{name: value for name, value in chosen.items() if value not in (None, [])}),
            **given,
        )

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def pairs(given: list[str] | None, form: str) -> dict[str, str]:
    """Read values such as TASK=TEXT; raises TutelageError for one of another form."""
    read = {}
    for text in given or ():
        name, mark, value = text.partition("=")
        if not name or not mark or not value:
            raise TutelageError(f"expected {form}, got {printable(text)!r}")
        read[name] = value
    return read
