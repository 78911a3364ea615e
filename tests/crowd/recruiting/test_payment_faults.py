"""Whatever breaks while a study settles with its people: a bonus is paid, and it is paid once."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tutelage.crowd.recruiting.payment_table import entries
from tutelage.crowd.recruiting.payments import Payments
from tutelage.crowd.recruiting.prolific import ProlificClient, ProlificError
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.study_tables import StudyDatabase
from tutelage.tests.support.prolific_server import TOKEN, Fault, ProlificServer
from tutelage.tests.support.prolific_study import CALLS, HOUR, NOW, Make, finish, history, recruiting
from tutelage.tests.support.settling import settle

FORK_SERVER = multiprocessing.get_context("forkserver")
FORK_SERVER.set_forkserver_preload(["tutelage.tests.support.settling"])


@pytest.fixture
def answer_seconds() -> float:
    """Calls that hang end soon; any call that ends without an answer is made again."""
    return 1.0


def until_settled(payments: Payments, spoil: Callable[[int], None] = lambda _: None) -> str:
    """Settle again and again, with hours between, until it is over or a week has passed."""
    result = "waiting"
    for turn in range(84):
        if result not in ("settled", "by-hand"):
            spoil(turn)
            try:
                result = payments.settle("ann", NOW + 2 * HOUR * turn)
            except ProlificError:
                result = "trouble"
    return result


def assert_paid_once(ledger: StudyDatabase) -> None:
    """See that the ledger says of each payment that it was paid, once and last."""
    for kind, amount in (("base", "3.00"), ("bonus", "0.75")):
        rows = [row for row in entries(ledger, "pilot", "ann") if row["kind"] == kind]
        assert {row["amount"] for row in rows} == {amount}
        assert [row["state"] for row in rows].count("paid") == 1
        assert (rows[0]["state"], rows[-1]["state"]) == ("owed", "paid")


@pytest.mark.slow
@pytest.mark.parametrize("call", range(CALLS))
@pytest.mark.parametrize("fault", ["before", "after", "hang", "busy"])
def test_whichever_call_fails_all_is_done_once(
    server: ProlificServer, ledger: StudyDatabase, payments: Make, call: int, fault: str
) -> None:
    place = finish(ledger, server.join())
    status, hang = (429 if fault == "busy" else 500), fault == "hang"
    server.faults = [Fault("/api/", 1, status, skip=call, after=fault == "after" or hang, hang=hang)]
    assert until_settled(payments()) == "settled"
    assert (place.status, place.code, place.bonuses) == ("APPROVED", "DONE1234", [75])
    assert_paid_once(ledger)


@pytest.mark.parametrize("seed", range(5))
def test_when_everything_fails_most_of_the_time_a_bonus_is_still_paid_once(
    server: ProlificServer, ledger: StudyDatabase, payments: Make, seed: int
) -> None:
    place = finish(ledger, server.join())
    generator = np.random.default_rng(seed)

    def spoil(turn: int) -> None:
        server.faults = []
        if turn < 40:
            status = int(generator.choice([429, 500, 503]))
            after = bool(status != 429 and generator.random() < 0.5)  # what is too much is not done
            server.faults = [Fault("/api/", 1, status, skip=int(generator.integers(3)), after=after)]

    assert until_settled(payments(), spoil) == "settled"
    assert (place.status, place.code, place.bonuses) == ("APPROVED", "DONE1234", [75])
    assert_paid_once(ledger)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["unheard", "heard"])
@pytest.mark.parametrize("call", range(CALLS))
def test_a_server_killed_in_the_midst_of_any_call_pays_once(
    server: ProlificServer,
    ledger: StudyDatabase,
    payments: Make,
    tmp_path: Path,
    call: int,
    after: bool,
) -> None:
    place = finish(ledger, server.join())
    server.faults = [Fault("/api/", 1, skip=call, after=after, hang=True)]
    section = recruiting(server).model_dump_json()
    child = FORK_SERVER.Process(target=settle, args=(str(tmp_path / "journal.sqlite"), section, TOKEN, NOW))
    child.start()
    try:
        assert server.held.wait(60)
    finally:
        child.kill()
        child.join()
    assert child.exitcode == -signal.SIGKILL
    server.release.set()
    assert until_settled(payments()) == "settled"
    assert (place.status, place.code, place.bonuses) == ("APPROVED", "DONE1234", [75])
    assert_paid_once(ledger)


def test_a_payment_whose_end_is_unknown_is_not_made_again_for_a_day(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    place = finish(ledger, server.join())
    server.fail("/pay/")
    for hours in (0, 1, 23.9):
        assert payments().settle("ann", NOW + hours * HOUR) == "waiting"
    assert server.told("/pay/") == 1
    place.bonuses.append(75)  # it was paid, and it took that long to show
    assert payments().settle("ann", NOW + 24.1 * HOUR) == "settled"
    assert server.told("/pay/") == 1


def test_a_bonus_of_the_same_amount_from_before_is_not_taken_for_this_one(
    server: ProlificServer, ledger: StudyDatabase, payments: Make
) -> None:
    place = finish(ledger, server.join())
    place.bonuses.append(75)
    server.fail("/pay/")
    assert until_settled(payments()) == "settled"
    assert place.bonuses == [75, 75]


def test_several_servers_at_once_pay_once(
    server: ProlificServer, ledger: StudyDatabase, tmp_path: Path
) -> None:
    place = finish(ledger, server.join())
    ready = threading.Barrier(4)
    results: list[str] = []

    def run() -> None:
        with (
            Journal(tmp_path / "journal.sqlite") as journal,
            closing(ProlificClient(TOKEN, server.address)) as client,
        ):
            ours = Payments(StudyDatabase(journal.engine), journal, client, recruiting(server), "pilot")
            ready.wait()
            results.append(ours.settle("ann", NOW))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert set(results) <= {"waiting", "settled"}
    assert place.bonuses == [75]
    assert [history(ledger).count(what) for what in ("complete", "approve", "bonus", "settled")] == [1] * 4
