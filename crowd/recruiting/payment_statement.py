"""Comparison of the payment records with a panel's statement, a CSV file of what it paid or refused.

Any panel's file will do, or a bank's list of transfers: `names` says which column means what. Nothing is
paid here.
"""

from __future__ import annotations

import csv
import io
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from ...console.wording import counted
from ...errors import TutelageError, nearest
from ...files.bounded_files import read_text
from ..privacy.people_search import find_people
from ..storage.study_tables import StudyDatabase
from .money import DECIMALS, amount, currency, fits, minor_units, shown
from .payment_table import KINDS, PaymentChange, change, entries

COLUMNS = ("person", "amount", "currency", "kind", "state", "reason")
"""What a column may mean; `person` and `amount` are needed. A kind is `base`, a state `paid`, unless said."""

_STATES = {
    "": "paid",
    "paid": "paid",
    "completed": "paid",
    "approved": "approved",
    "refused": "refused",
    "rejected": "refused",
    "returned": "refused",
}
_SYMBOLS = "$€£¥"


@dataclass(frozen=True)
class StatementLine:
    """One line of a statement; `word` is a pseudonym, a completion code or an id at the panel."""

    number: int
    word: str
    kind: str
    state: str
    value: Decimal
    currency: str
    reason: str


def read_statement(path: Path, names: Mapping[str, str] | None = None) -> list[StatementLine]:
    """Read a statement; `names` maps a meaning of COLUMNS to the file's own name of that column.

    Raises TutelageError naming the line of what cannot be read.
    """
    header_of = {column: column for column in COLUMNS} | dict(names or {})
    if unknown := set(header_of) - set(COLUMNS):
        raise TutelageError(f"expected a column of {', '.join(COLUMNS)}, got {min(unknown)!r}")
    reader = csv.reader(io.StringIO(read_text(path).removeprefix("\ufeff")), strict=True)
    lines = []
    try:
        header = [name.strip() for name in next(reader, [])]
        indices = {column: header.index(name) for column, name in header_of.items() if name in header}
        for column in ("person", "amount", *(names or {})):
            if column not in indices:
                raise TutelageError(
                    f"{path}: expected a column {header_of[column]!r}, found {', '.join(header) or 'none'}"
                    f"{nearest(header_of[column], header)}; say which one it is: --columns {column}=NAME"
                )
        for cells in reader:
            if cells:
                where = f"{path}, line {reader.line_num}"
                if len(cells) != len(header):
                    raise TutelageError(f"{where}: expected {len(header)} cells, got {len(cells)}")
                values = {column: cells[index].strip() for column, index in indices.items()}
                lines.append(_read_line(reader.line_num, values, where))
    except csv.Error as error:
        raise TutelageError(f"{path}, line {reader.line_num}: expected CSV, got {error}") from None
    return lines


def reconcile_statement(
    database: StudyDatabase, study: str, statement: Sequence[StatementLine], now: float | None = None
) -> list[str]:
    """Record what the statement says about amounts that are owed; returns a line per remaining difference.

    A line counts only where its amount is the one in the payment records. All is written, or nothing.
    """
    recorded_at = time.time() if now is None else now
    stated: dict[tuple[str, str], list[StatementLine]] = defaultdict(list)
    differences = []
    for line in statement:
        matches = find_people(database, study, line.word)
        if len(matches) == 1:
            stated[matches[0]["person"], line.kind].append(line)
        else:
            named = counted(len(matches), "person") if matches else "nobody"
            differences.append(f"line {line.number} of the statement names {named} of this study")
    recorded = {(row["person"], row["kind"]): row for row in entries(database, study)}
    with database.write() as connection:
        for (person, kind), row in recorded.items():
            lines = [line for line in stated.get((person, kind), []) if _is_same_amount(line, row)]
            if len({line.state for line in lines}) == 1:
                details = {"line": lines[0].number, "amount": str(lines[0].value)}
                reason = lines[0].reason or "in the panel's statement"
                change(
                    connection, person, [PaymentChange(kind, lines[0].state, reason, details)], recorded_at
                )
    recorded = {(row["person"], row["kind"]): row for row in entries(database, study)}
    for key in recorded | stated:
        differences += _differences(key, recorded.get(key), stated.get(key, []))
    return differences


def _read_line(number: int, values: Mapping[str, str], where: str) -> StatementLine:
    word, kind = values["person"], values.get("kind", "").lower() or KINDS[0]
    state = values.get("state", "").lower()
    if not word:
        raise TutelageError(f"{where}: expected a pseudonym, a completion code or an id, got an empty cell")
    if kind not in KINDS:
        raise TutelageError(f"{where}: expected a kind of {' or '.join(KINDS)}, got {kind!r}")
    if state not in _STATES:
        expected = ", ".join(filter(None, _STATES))
        raise TutelageError(f"{where}: expected a state of {expected}, got {state!r}")
    try:
        code = currency(values["currency"].upper()) if values.get("currency") else ""
        value = amount(values["amount"].lstrip(_SYMBOLS).strip())
    except ValueError as error:
        raise TutelageError(f"{where}: {error}") from None
    return StatementLine(number, word, kind, _STATES[state], value, code, values.get("reason", "")[:500])


def _is_same_amount(line: StatementLine, row: Mapping[str, str]) -> bool:
    return line.currency in ("", row["currency"]) and line.value == Decimal(row["amount"])


def _differences(
    key: tuple[str, str], row: Mapping[str, str] | None, lines: Sequence[StatementLine]
) -> list[str]:
    """Say how a person's payment of one kind differs; `row` is its last entry in the payment records."""
    person, kind = key
    if row is None:
        return [f"{person}: a {kind} of {_stated(line, '')} in the statement, none owed" for line in lines]
    entry = f"{person}: a {kind} of {row['amount']} {row['currency']} is {row['state']} in the ledger"
    if not lines:
        return [] if row["state"] == "refused" else [f"{entry}, and not in the statement"]
    others = [line for line in lines if not _is_same_amount(line, row)]
    different = [f"{entry}, and the statement says {_stated(line, row['currency'])}" for line in others]
    states = [line.state for line in lines if line not in others]
    if states.count("paid") > 1:
        different.append(f"{entry}, and the statement pays it {states.count('paid')} times")
    elif any(state != row["state"] for state in states):
        different.append(f"{entry}, and the statement says {' and '.join(dict.fromkeys(states))}")
    return different


def _stated(line: StatementLine, default: str) -> str:
    code = line.currency or default
    if code in DECIMALS and fits(line.value, code):
        return shown(minor_units(line.value, code), code)
    return f"{line.value:f} {code}".strip()
