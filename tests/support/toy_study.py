"""A small study on a frozen lake, and somebody who walks through it without a browser."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sql
import yaml
from tutelage.crowd.seats.protocol import parse
from tutelage.crowd.seats.session import Phase
from tutelage.crowd.storage.study_tables import PersonRecord
from tutelage.crowd.studies.participant import Participant
from tutelage.crowd.studies.study import Study
from tutelage.crowd.studies.study_checks import rehearse_study
from tutelage.crowd.studies.study_file import study_from
from tutelage.crowd.studies.study_server import StudyServer
from tutelage.errors import TutelageError

KEYS = {"ArrowLeft": 0, "ArrowDown": 1, "ArrowRight": 2, "ArrowUp": 3}
LAKE = {"id": "lake", "env": "FrozenLake-v1", "kwargs": {"is_slippery": False}, "controls": KEYS}
CAB = {"id": "cab", "env": "tutelage/Taxi-v0", "expert": "taxi", "success": "terminated", "max_steps": 40}
POLE = {
    "id": "pole",
    "env": "CartPole-v1",
    "controls": {"ArrowLeft": 0, "ArrowRight": 1},
    "pace": {"fps": 30, "idle": 0},
    "success": "reward > 0",
}
SUITE = {"suite": "small", "tasks": [LAKE, CAB, POLE], "evaluation": {"episodes": 4}}
ACROSS = (1, 1, 2, 2, 1, 2)
"""The way over the lake."""
INTO_A_HOLE = (1, 2)


def document(**changes: Any) -> dict[str, Any]:
    """Give a study's document; a section that is None is left out."""
    base = {
        "study": "pilot",
        "suite": "small.yaml",
        "people": 4,
        "episodes": 3,
        "tasks": {"lake": {}},
        "consent": "You agree to be recorded.",
        "instructions": "Cross the lake.",
        "practice": {"tasks": ["lake"]},
        "check": {"questions": [{"ask": "Where to?", "answers": ["across", "home"], "correct": 0}]},
    }
    return {key: value for key, value in (base | changes).items() if value is not None}


def write(folder: Path, **changes: Any) -> Path:
    """Write a study file and its suite into a folder; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.yaml").write_text(yaml.safe_dump(SUITE, allow_unicode=True, sort_keys=False), "utf-8")
    path = folder / "pilot.yaml"
    path.write_text(yaml.safe_dump(document(**changes), allow_unicode=True, sort_keys=False), "utf-8")
    return path


def study_in(folder: Path, **changes: Any) -> Study:
    write(folder, **changes)
    study, wrong = study_from(document(**changes), folder)
    if study is None or wrong:
        raise TutelageError("; ".join(wrong))
    return study


def serve(folder: Path, **changes: Any) -> StudyServer:
    """Open a study's server on a folder, as after each restart."""
    study = study_in(folder, **changes)
    controls, wrong = rehearse_study(study)
    assert not wrong, wrong
    return StudyServer(study, folder / "out", controls)


class Walker:
    """One person, with their participant and session."""

    def __init__(self, server: StudyServer, person: PersonRecord, participant: Participant) -> None:
        self.server = server
        self.person = person
        self.participant = participant

    @property
    def way(self) -> dict[str, Any]:
        """What their page was told last."""
        return self.participant.tell()[-1]

    @property
    def stage(self) -> str:
        return str(self.way["stage"])

    async def send(self, kind: str, **values: Any) -> None:
        async with self.participant.changing():
            assert await self.participant.answer(parse(json.dumps({"type": kind, **values})))

    async def play(self, actions: Sequence[int] = ACROSS) -> None:
        """Take actions until they or the episode are over."""
        session = self.participant.session
        if session.phase in (Phase.READY, Phase.PAUSED):
            session.start()
        for action in actions:
            async with self.participant.changing():
                await session.act(np.array([float(action)]))
                session._journal.flush()
                if session.phase is Phase.FINISHED:
                    await self.participant.finished()
                    return

    async def to_the_tasks(self) -> None:
        """Go through everything before the first task that counts."""
        await self.send("consent", given=True)
        await self.send("ready")
        if self.stage == "practice":
            await self.play()
            await self.send("next")
        if self.stage == "check":
            await self.send("answers", chosen=[0])


@contextlib.asynccontextmanager
async def serving(folder: Path, **changes: Any) -> AsyncIterator[StudyServer]:
    server = serve(folder, **changes)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def walk_in(server: StudyServer, name: str = "person-ann", language: str = "en") -> Walker:
    """Let somebody in, or back in."""
    person = await asyncio.to_thread(server.join, name, "link", language)
    seat = await server.seat_for_page(person.seat)
    assert seat is not None
    participant = seat.flow
    assert isinstance(participant, Participant)
    async with participant.changing():
        await participant.arrive()
    return Walker(server, person, participant)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 60))


def rows(server: StudyServer, table: sql.Table) -> list[dict[str, Any]]:
    return server.database.rows(sql.select(table))


def journalled(server: StudyServer) -> list[tuple[str, str, str]]:
    server.journal.flush()
    return [(one.role, one.task, one.state) for one in server.journal.episodes()]


async def until(true: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
