"""The verbs that carry demonstrations to and from other projects' formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console.progress import counting
from ..console.terminal import SafeConsole
from ..errors import TutelageError
from .json_output import print_json
from .named_objects import trusting

console = SafeConsole()


def _formats(incomplete: str) -> list[str]:
    from ..datasets.formats.exchange import FORMATS

    return [name for name in FORMATS if name.startswith(incomplete)]


def export_(
    folder: Annotated[Path, typer.Argument(help="A store: the folder that demonstrations are kept in.")],
    to: Annotated[
        str,
        typer.Option(
            help="minari, lerobot, csv, npz, robomimic, rlds, or package.module:Object.",
            autocompletion=_formats,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")] = False,
) -> None:
    """Write a store in another project's format, and say what that format cannot hold."""
    from ..datasets.formats.exchange import export_store, own_format
    from ..datasets.store import Store
    from ..files.folder_kinds import EXPORT, OTHER, expect_place

    expect_place(out, EXPORT, OTHER)  # formats that make folders in it say more
    trusting([to])
    if (spec := own_format(to)) is not None:
        from ..api.store import Store as EpisodeStore
        from ..datasets.formats.own_format import export_own

        report = export_own(spec, EpisodeStore.open(folder), out)
    else:
        store = Store.open(folder)
        with counting("writing", len(store)) as advance:
            report = export_store(store, to, out, advance)
    if as_json:
        print_json("export", {"store": folder, "to": to, "out": out, "report": report})
    else:
        for sentence in report:
            console.print(sentence)


def import_(
    source: Annotated[
        list[str],
        typer.Argument(
            metavar="[FORMAT] FOLDER",
            help="minari, lerobot, miniwob-turk or package.module:Object; what to read.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The store to write to.")],
    origin: Annotated[str, typer.Option("--from", help="The format, if not the first word.")] = "",
    suite: Annotated[
        str, typer.Option(help="Suite of the tasks: of web pages, and for a format of your own.")
    ] = "",
    changed: Annotated[
        bool,
        typer.Option(
            "--changed", help="Of an export of ours, take in episodes that were changed since, under new ids."
        ),
    ] = False,
    recorded: Annotated[
        bool,
        typer.Option(
            "--recorded", help="Of Minari datasets: take no environment, to train on the recordings alone."
        ),
    ] = False,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=8,
            max=1024,
            help="Longer side, in pixels, of pictures of a LeRobot dataset.",
            show_default="96",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document for machines instead of tables.")
    ] = False,
) -> None:
    """Read another project's demonstrations into a store; observations are kept unless replay proves them.

    Files of other formats are read by a function of yours: ten lines of Python, see docs/extend.md.
    """
    from ..datasets.formats.exchange import count_episodes, import_store
    from ..files.folder_kinds import STORE, expect_place

    expect_place(out, STORE)
    name, folder = _format_and_folder(source, origin)
    trusting([name])
    with counting("reading", count_episodes(folder, name) or None) as advance:
        lines = import_store(
            folder,
            name,
            out,
            advance,
            suite=suite,
            keep_changed=changed,
            image_size=image_size,
            is_recorded=recorded,
        )
    if as_json:
        report = [line for line in lines if isinstance(line, str)]
        counts = [census.to_dict() for census in lines if not isinstance(census, str)]
        print_json("import", {"store": out, "report": report, "counts": counts})
    else:
        for line in lines:
            console.print(line)


def _format_and_folder(words: list[str], origin: str) -> tuple[str, Path]:
    """Tell a format and a folder apart; raises TutelageError for other than one of each."""
    words = [origin] * bool(origin) + words
    if len(words) != 2:
        raise TutelageError(
            f"expected a format and a folder, such as `tutelage import miniwob-turk FOLDER -o STORE`, "
            f"got {' '.join(words)!r}"
        )
    return words[0], Path(words[1])
