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

import httpx
import psutil
import pytest
import sqlalchemy as sql
from tutelage.datasets.crowd.back_office import BackOffice
from tutelage.datasets.crowd.ledger import events
from tutelage.datasets.database import open_database
from tutelage.datasets.store import Store
from tutelage.envs.errors import TutelageError
from tutelage.tests.prolific_server import CODES, STUDY, TOKEN, Place, ProlificServer, prolific_server
from tutelage.tests.prolific_study import tell
from tutelage.tests.study_page import ACROSS, Page, browser
from tutelage.tests.toy_study import serve, write

pytestmark = pytest.mark.alone  # a clock that settles: needs steady time

ADMIN, WEBHOOK = "a-token-of-more-than-thirty-two-letters", "a-secret-between-prolific-and-us"
PROGRAM = """
from tutelage.datasets.crowd import back_office
back_office.SETTLE_SECONDS = 0.2
from tutelage.cli import main
main()
"""


@dataclass
class Served:
    """A study that is served by the command; `output` is what it has printed so far."""

    process: subprocess.Popen[str]
    address: str
    output: str

    def stop(self) -> tuple[str, str]:
        """Press Ctrl-C; gives all that was printed, and what went to the error stream."""
        self.process.send_signal(signal.SIGINT)
        out, errors = self.process.communicate(timeout=30)
        return self.output + out, errors


@pytest.fixture
def prolific() -> Iterator[ProlificServer]:
    with prolific_server() as running:
        yield running


def changes(prolific: ProlificServer) -> dict[str, Any]:
    section = {"study": STUDY, "proof": "none", "api": prolific.address}
    pay = {"currency": "GBP", "base": 1, "bonus": 1.5, "text": "One pound, and more for good work."}
    recruiting = {"codes": CODES, "prolific": section}
    return {
        "practice": None,
        "check": None,
        "episodes": 1,
        "pay": pay,
        "quality": {"after": 1, "success": 0.5, "ends": False},
        "recruiting": recruiting,
    }


@contextlib.contextmanager
def served(folder: Path, prolific: ProlificServer) -> Iterator[Served]:
    study = write(folder, **changes(prolific))
    command = [sys.executable, "-c", PROGRAM, "serve", str(study), "-o", str(folder / "out"), "--port", "0"]
    secrets = {
        "PROLIFIC_API_TOKEN": TOKEN,
        "PROLIFIC_WEBHOOK_SECRET": WEBHOOK,
        "TUTELAGE_ADMIN_TOKEN": ADMIN,
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, env=os.environ | secrets, **pipes)
    try:
        assert process.stdout is not None
        output = "".join(process.stdout.readline() for _ in range(3))
        assert "join at http://" in output, process.communicate()
        address = output.split("join at http://")[1].split("/")[0]
        until(lambda: _answers(address))
        yield Served(process, address, output)
    finally:
        process.kill()
        process.communicate()


def _answers(address: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://{address}/healthz").is_success
    return False


def until(true: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)


@contextlib.contextmanager
def arrived(prolific: ProlificServer, address: str, place: Place) -> Iterator[Page]:
    """Come from Prolific, and go as far as the task."""
    with browser(address) as client:
        client.get("/join", params=prolific.address_of(place))
        with Page(address, client) as page:
            page.send("consent", given=True)
            page.until(stage="instructions")
            page.send("ready")
            page.until(stage="play")
            yield page


def written(folder: Path, query: str) -> list[tuple[Any, ...]]:
    engine = open_database(folder / "out" / "journal.sqlite")
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sql.text(query))]
    finally:
        engine.dispose()


def test_who_is_done_is_reported_after_all_is_stored_and_paid_once(
    prolific: ProlificServer, tmp_path: Path
) -> None:
    place = prolific.join()
    prolific.fail("/transition/", hang=True)  # the first word of what she did
    with served(tmp_path, prolific) as server, arrived(prolific, server.address, place) as page:
        page.press(ACROSS)
        page.until(stage="play", number=1)
        while page.way["outcome"] is None:
            page.wait("way")
        assert place.status == "ACTIVE"
        page.send("next")
        page.until(stage="done")
        assert prolific.held.wait(30)
        assert written(tmp_path, "select state from episodes") == [("stored",)]
        assert len(Store.open(tmp_path / "out")) == 1
        prolific.release.set()
        until(lambda: written(tmp_path, "select 1 from events where what = 'settled'"))
        calls = len(prolific.calls)
        time.sleep(1)  # five more looks at whom something is due to
        assert (place.status, place.code) == ("APPROVED", CODES["completed"])
        [pence] = place.bonuses  # once, and by what is known of her: that is one episode
        assert 0 < pence < 150
        assert len(prolific.calls) == calls
        children = psutil.Process(server.process.pid).children(recursive=True)
        out, errors = server.stop()
        assert server.process.returncode == 0
        assert "Stopped; everything is saved." in out
        assert "Traceback" not in errors
        assert psutil.wait_procs(children, timeout=10)[1] == []
    whats = [what for (what,) in written(tmp_path, f"select what from {events.name} order by id")]
    assert [one for one in whats if one in ("complete", "approve", "bonus", "settled")] == [
        "complete",
        "approve",
        "bonus",
        "settled",
    ]


def test_prolific_may_say_who_has_left_and_the_admin_may_look(
    prolific: ProlificServer, tmp_path: Path
) -> None:
    place = prolific.join()
    with served(tmp_path, prolific) as server, arrived(prolific, server.address, place) as page:
        here = f"http://{server.address}"
        assert ADMIN not in server.output
        assert "shown this once" not in server.output
        assert httpx.get(f"{here}/admin").is_success
        for token, status in (("guess", 403), (ADMIN, 200)):
            answer = httpx.get(f"{here}/metrics", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == status
        assert "tutelage" in answer.text
        place.status = "RETURNED"
        assert tell(f"{here}/prolific/webhook", place, "another secret").status_code in (401, 403)
        assert page.way["stage"] == "play"
        assert tell(f"{here}/prolific/webhook", place, WEBHOOK).is_success
        page.until(stage="done", outcome="withdrew")
        until(lambda: written(tmp_path, "select 1 from events where what = 'settled'"))
        assert place.bonuses == place.messages == []
        _, errors = server.stop()
        assert "Traceback" not in errors


def test_without_the_key_to_prolific_nothing_is_served(
    prolific: ProlificServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROLIFIC_API_TOKEN", raising=False)
    server = serve(tmp_path, **changes(prolific))
    with pytest.raises(TutelageError, match="expected PROLIFIC_API_TOKEN in the environment"):
        BackOffice(server)
    asyncio.run(server.close())
