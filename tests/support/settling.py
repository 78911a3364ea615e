"""A process that settles with one person of a study, to be killed while it does."""

from __future__ import annotations

import os

from tutelage.crowd.recruiting.admission import Recruiting
from tutelage.crowd.recruiting.payments import Payments
from tutelage.crowd.recruiting.prolific import client_from_environment
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.study_tables import StudyDatabase


def settle(database: str, section: str, token: str, now: float) -> None:
    """Settle with `ann` as a server of the study would, whose journal is the file `database`."""
    os.environ["PROLIFIC_API_TOKEN"] = token
    recruiting = Recruiting.model_validate_json(section)
    with Journal(database) as journal:
        client = client_from_environment(recruiting.prolific)
        Payments(StudyDatabase(journal.engine), journal, client, recruiting, "pilot").settle("ann", now)
