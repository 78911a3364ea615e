"""A panel's server, a journal, and what settles with people there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tutelage.crowd.recruiting.payments import Payments
from tutelage.crowd.recruiting.prolific import ProlificClient
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.study_tables import StudyDatabase
from tutelage.tests.support.prolific_server import TOKEN, ProlificServer, prolific_server
from tutelage.tests.support.prolific_study import Make, recruiting


@pytest.fixture
def server() -> Iterator[ProlificServer]:
    with prolific_server() as running:
        yield running


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


@pytest.fixture
def ledger(journal: Journal) -> StudyDatabase:
    return StudyDatabase(journal.engine)


@pytest.fixture
def answer_seconds() -> float:
    """How long Prolific may take to answer: long, since a busy machine is no fault of its."""
    return 30.0


@pytest.fixture
def payments(
    server: ProlificServer, journal: Journal, ledger: StudyDatabase, answer_seconds: float
) -> Iterator[Make]:
    with closing(ProlificClient(TOKEN, server.address, timeout=answer_seconds, attempts=1)) as client:

        def make(**section: Any) -> Payments:
            return Payments(ledger, journal, client, recruiting(server, **section), "pilot")

        yield make
