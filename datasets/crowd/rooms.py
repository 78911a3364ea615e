"""The rooms of a study's server that its people never see: the dashboard of whoever runs it."""

from __future__ import annotations

from starlette.routing import BaseRoute

from ..quality import Required
from .dashboard import routes
from .live_quality import LiveQuality
from .monitor import Plan
from .study import Study
from .study_server import StudyServer


def dashboard_rooms(server: StudyServer) -> list[BaseRoute]:
    """Make the routes of a server's dashboard, to be handed to `serve_study` or `make_app` as `rooms`."""
    study = server.study
    tolerance = Plan.of(study).tolerance
    judge = LiveQuality(server.ledger, study.name, required_of(study), tolerance)
    return routes(
        Plan.of(study),
        server.ledger,
        server.journal,
        server.store,
        server.secret,
        folder=server.folder,
        seats=server.open_seat,
        playbacks=server.playbacks,
        judge=judge.verdicts,
    )


def required_of(study: Study) -> Required:
    """Return what a study asks of everyone's quality."""
    asked = study.quality
    return Required() if asked is None else Required(asked.after, asked.success or 0.0, asked.gold or 0.0)
