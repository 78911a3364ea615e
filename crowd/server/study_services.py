"""Services of a study's server beside its seats: dashboard, proofs of arrivals, reports and payments."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator

import sqlalchemy as sql
from starlette.routing import BaseRoute, Route

from ...datasets.quality.demonstrator_stats import TOLERANCE
from ...errors import TutelageError
from ..dashboard import dashboard
from ..dashboard.monitor import StudyTargets
from ..dashboard.playback import Playbacks
from ..recruiting.panels import ProlificPanel, Proof
from ..studies.live_quality import LiveQuality
from ..studies.percentile import required_of
from ..studies.study import Study
from ..studies.study_server import StudyServer

SETTLE_SECONDS = 30.0
"""Interval between two rounds of settlement."""

WEBHOOK = "/prolific/webhook"
"""The path of Prolific's signed messages, which a program posts."""

_log = logging.getLogger("tutelage.crowd")


class StudyServices:
    """The services of a study beside its seats, connected to its server.

    Recruiting at Prolific needs its keys in the environment: raises TutelageError when one is missing.
    """

    def __init__(self, server: StudyServer) -> None:
        self._server = server
        study = server.study
        tolerance = study.gold.tolerance if study.gold else TOLERANCE
        self._quality = LiveQuality(server.database, study.name, required_of(study), tolerance)
        self._panel = (
            _ProlificServices(server, study.recruiting.prolific) if study.recruiting.prolific else None
        )
        self._stopping = threading.Event()

    @property
    def proof(self) -> Proof | None:
        """The proof of people whom a panel sends."""
        return self._panel.proof if self._panel else None

    def routes(self) -> list[BaseRoute]:
        """Return the dashboard's routes and, for Prolific, its webhook's."""
        server = self._server
        dashboard_routes = dashboard.routes(
            StudyTargets.of(server.study),
            server.database,
            server.journal,
            server.store,
            server.secret,
            folder=server.folder,
            seats=server.open_seat,
            playbacks=Playbacks(
                server.study.name, server.study.suite, server.journal, server.store, server.make_host
            ),
            judge=self._quality.verdicts,
        )
        return [*dashboard_routes, *(self._panel.routes() if self._panel else ())]

    @contextlib.contextmanager
    def settling(self) -> Iterator[None]:
        """Report and pay at the panel for as long as the study is served."""
        thread = threading.Thread(target=self._settle, name="settling", daemon=True)
        if self._panel:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            if self._panel:
                thread.join()

    def _settle(self) -> None:
        assert self._panel is not None
        while not self._stopping.wait(SETTLE_SECONDS):
            try:
                self._panel.payments.settle_due()
            except sql.exc.SQLAlchemyError as error:  # the database is away: everything stays due
                _log.warning("settling waits for the database: %s", type(error).__name__)


class _ProlificServices:
    """Services of a study that recruits at Prolific; the optional packages are imported here."""

    def __init__(self, server: StudyServer, prolific: ProlificPanel) -> None:
        from ..recruiting.payments import Payments
        from ..recruiting.prolific import client_from_environment
        from ..recruiting.prolific_webhook import SECRET

        study = server.study
        self._server, self._prolific = server, prolific
        self._client = client_from_environment(prolific)
        self._signing = os.environ.get(SECRET, "").strip()
        self.payments = Payments(
            server.database,
            server.journal,
            self._client,
            study.recruiting,
            study.name,
            server.context.texts,
        )
        self.proof = self._proof()

    def routes(self) -> list[BaseRoute]:
        """Return the webhook's route, if the environment has the secret that signs its messages."""
        from ..recruiting.prolific_webhook import webhook

        if not self._signing:
            return []
        server = self._server
        endpoint = webhook(server.database, server.secret, self._prolific, server.study.name, self._signing)
        return [Route(WEBHOOK, endpoint, methods=["POST"])]

    def _proof(self) -> Proof | None:
        from ..recruiting.prolific_checks import proof_by_submission
        from ..recruiting.prolific_token import TokenVerifier

        if self._prolific.proof == "token":
            return TokenVerifier(self._prolific).check
        if self._prolific.proof == "submission":
            return proof_by_submission(self._client, self._prolific)
        return None


def check_panel(study: Study) -> list[str]:
    """List the differences between Prolific's study and the file; empty without Prolific or without a key."""
    prolific = study.recruiting.prolific
    if prolific is None:  # the packages for Prolific are optional otherwise
        return []
    from ..recruiting.prolific import TOKEN, client_from_environment
    from ..recruiting.prolific_checks import problems_at_prolific

    if not os.environ.get(TOKEN):
        return []
    try:
        base = (study.pay.base_units, study.pay.currency) if study.pay else None
        return problems_at_prolific(client_from_environment(prolific), study.recruiting, base)
    except TutelageError as error:
        return [str(error)]
