"""`tutelage serve` with all its rooms: who is done at Prolific is paid once, and an admin may look."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import psutil
import pytest
import sqlalchemy as sql
from tutelage.crowd.recruiting.payments import KINDS
from tutelage.crowd.server.study_services import StudyServices
from tutelage.crowd.storage.database import open_database
from tutelage.datasets.store import Store
from tutelage.errors import TutelageError
from tutelage.tests.support.prolific_server import CODES, STUDY, TOKEN, Place, ProlificServer, prolific_server
from tutelage.tests.support.prolific_study import tell
from tutelage.tests.support.study_page import ACROSS, Page, browser, enter
from tutelage.tests.support.toy_study import serve, write

pytestmark = pytest.mark.xdist_group("back office")  # one server for all

ADMIN, WEBHOOK = "a-token-of-more-than-thirty-two-letters", "a-secret-between-prolific-and-us"
PROGRAM = """
from tutelage.crowd.server import study_services
study_services.SETTLE_SECONDS = 0.2
from tutelage.cli.main import main
main()
"""


@dataclass
class Served:
    """A study that the command serves into `folder`; `output` is what it has printed so far."""

    folder: Path
    address: str
    output: str


@pytest.fixture(scope="module")
def prolific() -> Iterator[ProlificServer]:
    with prolific_server() as running:
        yield running


def changes(prolific: ProlificServer) -> dict[str, Any]:
    section = {"study": STUDY, "proof": "none", "api": prolific.address}
    bonus = {"by": "solved", "each": 1.5}
    pay = {"currency": "GBP", "base": 1, "bonus": bonus, "text": "Paid within a week."}
    recruiting = {"codes": CODES, "prolific": section}
    return {
        "practice": None,
        "check": None,
        "episodes": 1,
        "pay": pay,
        "quality": {"after": 1, "success": 0.5, "ends": False},
        "recruiting": recruiting,
    }


@pytest.fixture(scope="module")
def server(prolific: ProlificServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve until the last test, and then end as by Ctrl-C: with everything saved, and no process left."""
    folder = tmp_path_factory.mktemp("office")
    study = write(folder, **changes(prolific))
    command = [sys.executable, "-c", PROGRAM, "serve", str(study), "-o", str(folder / "out"), "--port", "0"]
    given = os.environ | {"PROLIFIC_API_TOKEN": TOKEN, "PROLIFIC_WEBHOOK_SECRET": WEBHOOK}
    given["TUTELAGE_ADMIN_TOKEN"] = ADMIN
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, text=True, env=given, stdout=pipe, stderr=pipe)
    try:
        assert process.stdout is not None
        output = "".join(process.stdout.readline() for _ in range(3))
        assert "join at http://" in output, process.communicate()
        address = output.split("join at http://")[1].split("/")[0]
        until(lambda: _answers(address))
        yield Served(folder, address, output)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "Stopped; everything is saved." in out
        assert "Traceback" not in errors
        assert psutil.wait_procs(children, timeout=60)[1] == []
    finally:
        process.kill()
        process.communicate()


def _answers(address: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://{address}/healthz").is_success
    return False


def until(true: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)


@contextlib.contextmanager
def arrived(prolific: ProlificServer, address: str, place: Place) -> Iterator[Page]:
    """Come from Prolific, and go as far as the task."""
    with browser(address) as client:
        enter(client, f"/join?{urlencode(prolific.address_of(place))}")
        with Page(address, client) as page:
            page.send("consent", given=True)
            page.until(stage="instructions")
            page.send("ready")
            page.until(stage="play")
            yield page


def written(server: Served, query: str) -> list[tuple[Any, ...]]:
    engine = open_database(server.folder / "out" / "journal.sqlite")
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sql.text(query))]
    finally:
        engine.dispose()


def events_of(server: Served, outcome: str) -> list[str]:
    whose = f"select person from people where outcome = '{outcome}'"
    query = f"select what from events where person in ({whose}) order by id"
    return [what for (what,) in written(server, query)]


@pytest.mark.slow
def test_who_is_done_is_reported_after_all_is_stored_and_paid_once(
    prolific: ProlificServer, server: Served
) -> None:
    place = prolific.join(1)
    prolific.fail("/transition/", hang=True)  # the first word of what she did
    with arrived(prolific, server.address, place) as page:
        page.press(ACROSS)
        while page.way["outcome"] is None:
            page.wait("way")
        assert place.status == "ACTIVE"
        page.send("next")
        page.until(stage="done")
        assert prolific.held.wait(30)
        assert written(server, "select state from episodes where state != 'abandoned'") == [("stored",)]
        assert len(Store.open(server.folder / "out")) == 1
        prolific.release.set()
        until(lambda: "settled" in events_of(server, "completed"))
        calls = len(prolific.calls)
        time.sleep(1)  # five more looks at whom something is due to
        assert len(prolific.calls) == calls
    assert (place.status, place.code) == ("APPROVED", CODES["completed"])
    assert place.bonuses == [150]  # once, and by her own one task of one
    chain = ["complete", "approve", "bonus-set-up", "bonus-paying", "bonus", "settled"]
    assert [one for one in events_of(server, "completed") if one in KINDS] == chain


def test_prolific_says_who_has_left_and_their_page_says_so(prolific: ProlificServer, server: Served) -> None:
    place, webhook = prolific.join(2), f"http://{server.address}/prolific/webhook"
    with arrived(prolific, server.address, place) as page:
        place.status = "RETURNED"
        assert tell(webhook, place, "another secret").status_code == 401
        assert page.way["stage"] == "play"
        assert tell(webhook, place, WEBHOOK).is_success
        page.until(stage="done", outcome="withdrew")
        until(lambda: "settled" in events_of(server, "withdrew"))
    assert place.bonuses == place.messages == []


def test_the_dashboard_opens_to_the_token_of_the_environment_which_is_never_printed(server: Served) -> None:
    here = f"http://{server.address}"
    assert ADMIN not in server.output
    assert "shown this once" not in server.output
    assert httpx.get(f"{here}/admin").is_success
    for token, status in (("guess", 403), (ADMIN, 200)):
        answer = httpx.get(f"{here}/metrics", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status
    assert "tutelage" in answer.text


def test_without_the_key_to_prolific_nothing_is_served(
    prolific: ProlificServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROLIFIC_API_TOKEN", raising=False)
    server = serve(tmp_path, **changes(prolific))
    with pytest.raises(TutelageError, match="expected PROLIFIC_API_TOKEN in the environment"):
        StudyServices(server)
    asyncio.run(server.close())
