"""The verbs about a study's people: find one of them, and what they are owed and were paid."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ..console.printable import csv_cell
from ..console.terminal import SafeConsole
from ..errors import TutelageError
from ..files.finite_json import json_text
from .json_output import print_json
from .study import DATABASE

StudyFolder = Annotated[Path | None, typer.Option(help="The folder that the study is served from.")]
Database = Annotated[
    str, typer.Option(envvar=DATABASE, help="The study's database, where it is not in the folder.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")]

_COLUMNS = ("id", "person", "kind", "state", "amount", "currency", "reason", "answer", "at")

console = SafeConsole()


def person(
    word: Annotated[str, typer.Argument(help="A pseudonym, a completion code, or an id at the panel.")],
    study: StudyFolder = None,
    database: Database = "",
    as_json: AsJson = False,
) -> None:
    """Find a participant of a study by completion code, panel id or pseudonym."""
    from ..crowd.privacy.people_search import find_people, open_study_database
    from ..crowd.recruiting.payment_table import entries, study_of

    with open_study_database(study, database) as ledger:
        name = study_of(ledger)
        matches = find_people(ledger, name, word)
        for row in matches:
            row["payments"] = entries(ledger, name, row["person"])
    if as_json:
        print_json("person", {"matches": matches})
    if not matches:
        raise TutelageError(
            f"expected a person with the pseudonym, code or id {word!r}, found none; check the letters"
        )
    if not as_json:
        for row in matches:
            _print_person(row)


def payments(
    study: StudyFolder = None,
    database: Database = "",
    person: Annotated[str, typer.Option(help="Only this person's: the pseudonym.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write all entries to a file: .csv or .json.")
    ] = None,
    record: Annotated[
        str, typer.Option(help="Write down a payment that was made or decided elsewhere.", metavar="STATE")
    ] = "",
    kind: Annotated[str, typer.Option(help="What --record is about: base or bonus.")] = "base",
    reason: Annotated[str, typer.Option(help="Why, or by which transfer; with --record.")] = "",
    reconcile: Annotated[
        Path | None,
        typer.Option(
            help="Compare with what was paid: a study file asks Prolific, a CSV file is a panel's statement.",
            metavar="FILE",
        ),
    ] = None,
    columns: Annotated[
        str,
        typer.Option(
            help="The statement's names of columns, with --reconcile: person=WorkerId,amount=Reward.",
            metavar="COLUMN=NAME,...",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List payments due and made: every amount, state, time and reason."""
    from ..crowd.privacy.people_search import open_study_database
    from ..crowd.recruiting.payment_table import entries, record_by_hand, study_of
    from ..files.folder_kinds import expect_file

    if record and not person:
        raise TutelageError("expected the person that --record is about, got none; give --person PSEUDONYM")
    if out is not None and out.suffix not in (".csv", ".json"):
        raise TutelageError(f"expected a file that ends in .csv or .json, got {out}")
    if out is not None:
        expect_file(out)
    if columns and (reconcile is None or reconcile.suffix != ".csv"):
        raise TutelageError("expected --reconcile with the CSV file that --columns is about, got none")
    other = "the statement" if reconcile is not None and reconcile.suffix == ".csv" else "Prolific"
    lines: list[str] = []
    with open_study_database(study, database, writes=bool(record) or reconcile is not None) as ledger:
        name = study_of(ledger)
        if record:
            record_by_hand(ledger, name, person, kind, record, reason)
        if reconcile is not None:
            lines = _reconcile(ledger, name, reconcile, columns)
        rows = entries(ledger, name, person)
    if out is not None:
        _write(out, rows)
    if as_json:
        print_json("payments", {"payments": rows, "differences": lines})
    elif out is None:
        console.print(_table(rows))
        for line in _sums(rows):
            console.print(line)
        for line in lines:
            console.print(f"differs: {line}")
    if lines:
        count = "1 difference" if len(lines) == 1 else f"{len(lines)} differences, the first"
        raise TutelageError(f"expected the ledger and {other} to agree, found {count}: {lines[0]}")


def _reconcile(ledger: Any, name: str, path: Path, columns: str) -> list[str]:
    if path.suffix == ".csv":
        from ..crowd.recruiting.payment_statement import read_statement, reconcile_statement

        return reconcile_statement(ledger, name, read_statement(path, _column_names(columns)))
    from ..crowd.studies.study_file import load_study

    study = load_study(path)
    if study.name != name or study.recruiting.prolific is None:
        raise TutelageError(f"expected the file of study {name!r}, with Prolific in it, got {study.name!r}")
    from ..crowd.recruiting.prolific import client_from_environment
    from ..crowd.recruiting.reconciliation import reconcile

    client = client_from_environment(study.recruiting.prolific)
    try:
        return reconcile(ledger, client, name)
    finally:
        client.close()


def _column_names(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",")] if text else []
    for column, _, name in pairs:
        if not column.strip() or not name.strip():
            raise TutelageError(f"expected --columns such as person=WorkerId,amount=Reward, got {text!r}")
    return {column.strip(): name.strip() for column, _, name in pairs}


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write all entries whole or not at all; no cell of the CSV is computed by a spreadsheet."""
    from ..files.atomic_files import disk_errors, write_whole

    text = io.StringIO()
    if path.suffix == ".json":
        text.write(json_text(rows, indent=2) + "\n")
    else:
        writer = csv.writer(text)
        writer.writerow(_COLUMNS)
        for row in rows:
            cells = {**row, "answer": json_text(row["answer"], is_sorted=True), "at": _moment(row["at"])}
            writer.writerow([csv_cell(cells[name]) for name in _COLUMNS])
    with disk_errors(path.parent):
        write_whole(path, text.getvalue().encode())


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("person", "kind", "amount", "state", "time", "reason"):
        table.add_column(name, justify="right" if name == "amount" else "left")
    for row in rows:
        amount = f"{row['amount']} {row['currency']}"
        table.add_row(row["person"], row["kind"], amount, row["state"], _moment(row["at"]), row["reason"])
    return table


def _sums(rows: list[dict[str, Any]]) -> list[str]:
    """Add up what stands now: the last entry of each payment, by state and currency."""
    last = {(row["person"], row["kind"]): row for row in rows}
    sums: Counter[tuple[str, str]] = Counter()
    for row in last.values():
        sums[row["state"], row["currency"]] += Decimal(row["amount"])  # type: ignore[assignment]
    lines = [f"{state}: {amount} {currency}" for (state, currency), amount in sums.items()]
    return lines or ["nothing is owed"]


def _print_person(row: dict[str, Any]) -> None:
    state = row["outcome"] or f"at {row['stage']}"
    code = f", code {row['code']}" if row["code"] else ""
    console.print(f"{row['person']}: {state}{code}, came by {row['source']} {_moment(row['joined'])}")
    for entry in row["payments"]:
        amount = f"{entry['amount']} {entry['currency']}"
        reason = f" ({entry['reason']})" if entry["reason"] else ""
        console.print(f"  {_moment(entry['at'])}  {entry['kind']} {amount} {entry['state']}{reason}")


def _moment(seconds: float) -> str:
    """Write a time of the ledger in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
