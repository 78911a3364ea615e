"""A panel's statement beside the payment records: what agrees is recorded, what differs is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tutelage.crowd.recruiting.payment_statement import (
    StatementLine,
    read_statement,
    reconcile_statement,
)
from tutelage.crowd.recruiting.payment_table import entries, owe, record_by_hand
from tutelage.crowd.storage.database import open_database
from tutelage.crowd.storage.study_records import payments
from tutelage.crowd.storage.study_tables import StudyDatabase
from tutelage.errors import TutelageError
from tutelage.tests.crowd.privacy.test_forgetting import ANN, CANARY, EVE, people
from tutelage.tests.support.command_line import call

NOW = 1_700_000_000.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[StudyDatabase]:
    """A study that owes two people a base of 3.00 GBP, and one of them a bonus of 0.75 GBP."""
    people(tmp_path / "journal.sqlite")
    database = StudyDatabase(open_database(tmp_path / "journal.sqlite"))
    database.change(EVE, code="DONE1234", outcome="completed", stage="done")
    with database.write() as connection:
        connection.execute(payments.delete())
        owe(connection, "pilot", EVE, {"base": (300, "completed"), "bonus": (75, "solved")}, "GBP", NOW)
        owe(connection, "pilot", ANN, {"base": (300, "completed")}, "GBP", NOW)
    yield database
    database.engine.dispose()


def lines_of(folder: Path, text: str, **names: str) -> list[StatementLine]:
    path = folder / "statement.csv"
    path.write_text(text, "utf-8")
    return read_statement(path, names)


def states(ledger: StudyDatabase) -> dict[tuple[str, str], str]:
    return {(row["person"], row["kind"]): row["state"] for row in entries(ledger, "pilot")}


WHOLE = f"""person,kind,amount,currency,state,reason
{CANARY},,3.00,GBP,paid,batch 4
DONE1234,bonus,0.75,,,
{ANN},base,3,gbp,Rejected,no answer
"""


def test_what_agrees_is_recorded_once(ledger: StudyDatabase, tmp_path: Path) -> None:
    lines = lines_of(tmp_path, WHOLE)
    assert reconcile_statement(ledger, "pilot", lines, NOW) == []
    assert states(ledger) == {(EVE, "base"): "paid", (EVE, "bonus"): "paid", (ANN, "base"): "refused"}
    written = entries(ledger, "pilot")
    assert [row["reason"] for row in written[-3:]] == ["batch 4", "in the panel's statement", "no answer"]
    assert reconcile_statement(ledger, "pilot", lines, NOW) == []
    assert entries(ledger, "pilot") == written


@pytest.mark.parametrize(
    ("text", "difference"),
    [
        (f"{EVE},2.50", f"{EVE}: a base of 3.00 GBP is owed in the ledger, and the statement says 2.50 GBP"),
        (
            f"{EVE},3.00\n{EVE},3.00",
            f"{EVE}: a base of 3.00 GBP is paid in the ledger, and the statement pays",
        ),
        (f"{EVE},3.00", f"{ANN}: a base of 3.00 GBP is owed in the ledger, and not in the statement"),
        ("nobody-here,3.00", "line 2 of the statement names nobody of this study"),
    ],
)
def test_what_differs_is_named(ledger: StudyDatabase, tmp_path: Path, text: str, difference: str) -> None:
    lines = lines_of(tmp_path, f"person,amount\n{text}\n")
    differences = reconcile_statement(ledger, "pilot", lines, NOW)
    assert any(line.startswith(difference) for line in differences)
    assert "nobody-here" not in str(differences)


def test_another_currency_and_an_unowed_amount_change_nothing(ledger: StudyDatabase, tmp_path: Path) -> None:
    before = entries(ledger, "pilot")
    lines = lines_of(tmp_path, f"person,amount,currency,kind\n{EVE},3.00,USD,base\n{ANN},1.00,GBP,bonus\n")
    differences = reconcile_statement(ledger, "pilot", lines, NOW)
    assert f"{EVE}: a base of 3.00 GBP is owed in the ledger, and the statement says 3.00 USD" in differences
    assert f"{ANN}: a bonus of 1.00 GBP in the statement, none owed" in differences
    assert entries(ledger, "pilot") == before


def test_a_payment_that_was_recorded_stays_paid(ledger: StudyDatabase, tmp_path: Path) -> None:
    record_by_hand(ledger, "pilot", EVE, "base", "paid", "by transfer", NOW)
    lines = lines_of(tmp_path, f"person,amount,state\n{EVE},3.00,refused\n")
    assert reconcile_statement(ledger, "pilot", lines, NOW)[0] == (
        f"{EVE}: a base of 3.00 GBP is paid in the ledger, and the statement says refused"
    )
    assert states(ledger)[EVE, "base"] == "paid"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("WorkerId,Reward\nx,1\n", "expected a column 'person', found WorkerId, Reward; say which"),
        ("Person,amount\nx,1\n", "expected a column 'person', found Person, amount; did you mean 'Person'"),
        ("person,amount\nx,one\n", "line 2: expected an amount such as 1.50, got 'one'"),
        ("person,amount\nx,NaN\n", "line 2: expected an amount"),
        ("person,amount\nx,-1\n", "line 2: expected an amount"),
        ("person,amount\nx\n", "line 2: expected 2 cells, got 1"),
        ("person,amount\n,1\n", "line 2: expected a pseudonym, a completion code or an id"),
        ("person,amount,state\nx,1,maybe\n", "line 2: expected a state of paid"),
        ("person,amount,kind\nx,1,tip\n", "line 2: expected a kind of base or bonus, got 'tip'"),
        ("person,amount,currency\nx,1,XXX\n", "line 2: expected the code of a currency"),
        ('person,amount\n"x,1\n', "expected CSV"),
        ("", "expected a column 'person', found none"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TutelageError, match=message):
        lines_of(tmp_path, text)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("statement") / "s.csv"
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    with pytest.raises(TutelageError, match="expected"):  # no header has both
        read_statement(path, {"person": "a", "amount": "a b\r"})


def test_a_panels_own_columns_are_named_at_the_command_line(ledger: StudyDatabase, tmp_path: Path) -> None:
    path = tmp_path / "batch.csv"
    path.write_text(
        f"WorkerId,AssignmentStatus,Reward\n{CANARY},Approved,$3.00\n{ANN},Approved,$3.00\n", "utf-8-sig"
    )
    words = ["payments", "--study", tmp_path, "--reconcile", path, "--columns"]
    error = call(*words, "person=WorkerId, amount=Reward, state=AssignmentStatus", status=2)
    assert f"found 1 difference: {EVE}: a bonus of 0.75 GBP is owed in the ledger, and not in" in error
    assert CANARY not in error
    assert states(ledger)[EVE, "base"] == states(ledger)[ANN, "base"] == "approved"
    assert "did you mean 'Reward'" in call(*words, "person=WorkerId,amount=Rewards", status=2)
    assert "expected --columns such as" in call(*words, "WorkerId", status=2)
    assert "expected a column of person, amount" in call(*words, "who=WorkerId", status=2)
    assert "expected --reconcile with the CSV" in call(*words[:3], "--columns", "person=a", status=2)
