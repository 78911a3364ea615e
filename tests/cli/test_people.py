"""`tutelage person` and `tutelage payments`: a person is found, and every amount has its state and reason."""

from __future__ import annotations

import contextlib
import csv
import json
import sqlite3
from pathlib import Path

import pytest
from tutelage.cli.main import app
from tutelage.crowd.recruiting.payment_table import PaymentChange, change, entries, owe
from tutelage.crowd.storage.database import open_database
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.study_records import payments
from tutelage.crowd.storage.study_tables import StudyDatabase
from tutelage.errors import TutelageError
from tutelage.tests.crowd.privacy.test_forgetting import ANN, CANARY, EVE, people
from tutelage.tests.support.postgres import PostgreSQL
from tutelage.tests.support.prolific_server import CODES, STUDY, TOKEN, prolific_server
from tutelage.tests.support.prolific_study import finish
from tutelage.tests.support.toy_study import write
from typer.testing import CliRunner

NOW = 1_700_000_000.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of two people, one of whom is owed a base and a bonus."""
    people(tmp_path / "journal.sqlite")
    ledger = StudyDatabase(open_database(tmp_path / "journal.sqlite"))
    ledger.change(EVE, code="DONE1234", outcome="completed", stage="done")
    _owe(ledger)
    ledger.engine.dispose()
    return tmp_path


def _owe(ledger: StudyDatabase) -> None:
    with ledger.write() as connection:
        connection.execute(payments.delete())
        owe(connection, "pilot", EVE, {"base": (300, "completed"), "bonus": (75, "=1+1")}, "GBP", NOW)


def output_of(*words: str) -> str:
    """Return what the command prints; raises what it ends with."""
    done = CliRunner().invoke(app, [*words], catch_exceptions=False)
    return done.output


@pytest.mark.parametrize("word", [EVE, "DONE1234", CANARY])
def test_a_person_is_found_by_pseudonym_code_and_id(folder: Path, word: str) -> None:
    before = (folder / "journal.sqlite").read_bytes()
    text = output_of("person", word, "--study", str(folder))
    assert text.startswith(f"{EVE}: completed, code DONE1234, came by prolific 1970-01-01T00:00:01Z")
    assert "base 3.00 GBP owed (completed)" in text
    assert CANARY not in text
    [row] = json.loads(output_of("person", word, "--study", str(folder), "--json"))["matches"]
    assert (row["person"], row["payments"][0]["amount"]) == (EVE, "3.00")
    assert (folder / "journal.sqlite").read_bytes() == before  # only read


@pytest.mark.parametrize("word", ["DONE123", "shared-by-all", "", "5f3c", "'; drop table people"])
def test_a_word_that_names_no_single_person_is_refused(folder: Path, word: str) -> None:
    with pytest.raises(TutelageError, match="expected a person with the pseudonym, code or id"):
        output_of("person", word, "--study", str(folder))


def test_payments_are_listed_with_sums_and_written_down_by_hand(folder: Path) -> None:
    study = ["--study", str(folder)]
    assert "owed: 3.75 GBP" in output_of("payments", *study)
    hand = [
        "payments",
        *study,
        "--person",
        EVE,
        "--record",
        "paid",
        "--kind",
        "bonus",
        "--reason",
        "transfer 12",
    ]
    text = output_of(*hand)
    assert "paid: 0.75 GBP" in text
    assert "owed: 3.00 GBP" in text
    with pytest.raises(
        TutelageError, match="expected a bonus that can become paid, got one that is paid already"
    ):
        output_of(*hand)
    rows = json.loads(output_of("payments", *study, "--json"))["payments"]
    assert [(row["kind"], row["state"]) for row in rows] == [
        ("base", "owed"),
        ("bonus", "owed"),
        ("bonus", "paid"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--record", "paid"], "expected the person that --record is about"),
        (
            ["--record", "owed", "--person", EVE, "--reason", "x"],
            "expected a state of approved, paid, refused",
        ),
        (["--record", "paid", "--person", EVE], "expected a reason of 1 to 500 letters, got 0"),
        (
            ["--record", "paid", "--person", ANN, "--reason", "x"],
            "expected a base that .* is owed, found none",
        ),
        (
            ["--record", "paid", "--kind", "tip", "--person", EVE, "--reason", "x"],
            "expected a kind of base, bonus",
        ),
        (["-o", "x.txt"], r"expected a file that ends in \.csv or \.json"),
    ],
)
def test_what_cannot_be_written_down_is_one_line(folder: Path, words: list[str], message: str) -> None:
    before = output_of("payments", "--study", str(folder), "--json")
    with pytest.raises(TutelageError, match=message):
        output_of("payments", "--study", str(folder), *words)
    assert output_of("payments", "--study", str(folder), "--json") == before


def test_the_export_has_every_entry_and_no_cell_that_is_computed(folder: Path) -> None:
    output_of("payments", "--study", str(folder), "-o", str(folder / "p.csv"))
    output_of("payments", "--study", str(folder), "-o", str(folder / "p.json"))
    with (folder / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["amount"], row["currency"], row["state"]) for row in rows] == [
        ("3.00", "GBP", "owed"),
        ("0.75", "GBP", "owed"),
    ]
    assert rows[1]["reason"] == "'=1+1"
    assert rows[0]["at"] == "2023-11-14T22:13:20Z"
    assert [row["reason"] for row in json.loads((folder / "p.json").read_text())] == ["completed", "=1+1"]


def test_a_changed_amount_is_refused_and_named(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite")) as database:
        database.execute("UPDATE payments SET amount = 99999 WHERE kind = 'bonus'")
        database.commit()
    with pytest.raises(TutelageError, match="expected the row payments 2 as it was written"):
        output_of("payments", "--study", str(folder))


def test_reconciling_writes_what_prolific_paid_and_ends_with_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROLIFIC_API_TOKEN", TOKEN)
    with prolific_server() as server, Journal(tmp_path / "journal.sqlite") as journal:
        place = finish(StudyDatabase(journal.engine), server.join(status="APPROVED"))
        section = {"study": STUDY, "proof": "none", "api": server.address}
        path = write(tmp_path, check=None, recruiting={"codes": CODES, "prolific": section})
        words = ["payments", "--study", str(tmp_path), "--reconcile", str(path)]
        place.bonuses = [75]
        assert "paid: 3.75 GBP" in output_of(*words)
        place.bonuses = [75, 75]
        message = "found 1 difference: ann: Prolific shows a bonus of 0.75 GBP 2 times"
        with pytest.raises(TutelageError, match=message):
            output_of(*words)
        assert server.told("bonus") == 0


def test_without_a_study_one_line_says_so(tmp_path: Path) -> None:
    for words in (["person", "x"], ["payments"]):
        with pytest.raises(TutelageError, match="expected a study's folder or database, got neither"):
            output_of(*words)
        with pytest.raises(TutelageError, match=r"expected a study's database at .* found none"):
            output_of(*words, "--study", str(tmp_path))


def test_no_payment_is_paid_twice_and_nothing_is_owed_twice(folder: Path) -> None:
    ledger = StudyDatabase(open_database(folder / "journal.sqlite"))
    _check_only_added(ledger)


def test_the_ledger_is_the_same_on_postgresql(postgres: PostgreSQL) -> None:
    with postgres.database() as url:
        people(url)
        ledger = StudyDatabase(open_database(url))
        _owe(ledger)
        _check_only_added(ledger)
        assert ledger.damaged() == []
        text = output_of("person", CANARY, "--database", url)
        assert "base 3.00 GBP paid (seen)" in text
        ledger.engine.dispose()


def _check_only_added(ledger: StudyDatabase) -> None:
    before = entries(ledger, "pilot")
    paid = PaymentChange("base", "paid", "seen", {"status": "APPROVED"})
    with ledger.write() as connection:
        owe(connection, "pilot", EVE, {"base": (999, "again")}, "GBP", NOW)
        for _ in range(2):
            change(connection, EVE, [paid, PaymentChange("base", "refused", "too late")], NOW)
    after = entries(ledger, "pilot")
    assert after[: len(before)] == before
    [added] = after[len(before) :]
    assert (added["state"], added["amount"], added["answer"]) == ("paid", "3.00", {"status": "APPROVED"})
    ledger.engine.dispose()
