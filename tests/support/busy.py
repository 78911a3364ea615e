"""A study in full swing: simulated people have played in it, and their journal, store and ledger are real."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import sqlalchemy as sql
from tutelage.crowd.dashboard.monitor import StudyTargets
from tutelage.crowd.hosting.frame_codec import Encoder
from tutelage.crowd.hosting.host import InlineHost
from tutelage.crowd.seats.free_choice import FreeChoice
from tutelage.crowd.seats.seat import Seat
from tutelage.crowd.seats.seed_assignment import SeedAssignment
from tutelage.crowd.seats.session import Session
from tutelage.crowd.server.server_metrics import ServerMetrics
from tutelage.crowd.settings import Settings
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.journal_records import EpisodeRecord, SeatRecord, StepRecord
from tutelage.crowd.storage.secret import Secret
from tutelage.crowd.storage.study_tables import (
    StudyDatabase,
    claims,
    conduct,
    consents,
    identities,
    people,
    servers,
)
from tutelage.crowd.studies.live_quality import LiveQuality
from tutelage.crowd.studies.moderation import decide
from tutelage.crowd.studies.study import Study
from tutelage.crowd.studies.study_file import study_from
from tutelage.datasets.quality.episode_stats import conduct_of
from tutelage.datasets.quality.expert_lengths import expert_steps
from tutelage.datasets.quality.verdict import QualityThresholds
from tutelage.datasets.simulation.simulated_crowd import SimulatedPlayer, crowd, play
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.task import Task
from tutelage.envs.task_env import TaskEnv

TASKS = ("goto-red-ball-grey", "goto-local", "taxi")
STUDY = {
    "study": "first-crowd",
    "suite": "first-steps",
    "languages": ["en", "zh"],
    "title": {"en": "Grid errands", "zh": "网格任务"},
    "people": 40,
    "episodes": 12,
    "tasks": {TASKS[0]: {"quota": 90}, TASKS[1]: {"quota": 90}, TASKS[2]: {"quota": 30}},
    "gold": {"share": 0.1, "tolerance": 1.6},
    "consent": {"en": "Your keys are recorded.", "zh": "您的按键会被记录。"},
    "quality": {"after": 5, "success": 0.4, "gold": 0.5},
}
CROWD = {"careful": 8, "slow": 3, "noisy": 4, "lazy": 3, "mistaken": 2, "hostile": 3}
EXTERNAL = "5f3a9c0d1e2b4a6978c0ffee"
"""A panel's id of the first person, which must be seen nowhere."""


@dataclass
class Busy:
    """The parts of a study; `names` are the pseudonyms of those who played, in order."""

    folder: Path
    study: Study
    plan: StudyTargets
    secret: Secret
    journal: Journal
    database: StudyDatabase
    store: Store
    judge: LiveQuality
    names: list[str]

    @property
    def playing(self) -> list[str]:
        """Those who are playing now."""
        rows = self.database.rows(sql.select(people.c.person).where(people.c.stage == "play"))
        return [name for name in self.names if {"person": name} in rows]


@contextmanager
def busy(
    folder: Path, url: str = "", counts: dict[str, int] | None = None, minutes: float = 55
) -> Iterator[Busy]:
    """Make a study that people have been playing in for so many minutes; some are playing now."""
    study, wrong = study_from(STUDY)
    assert study is not None, wrong
    with Journal(url or folder / "journal.sqlite") as journal:
        ledger = StudyDatabase(journal.engine)
        one = Busy(
            folder=folder,
            study=study,
            plan=StudyTargets.of(study),
            secret=Secret.load(folder),
            journal=journal,
            database=ledger,
            store=Store.create(folder / "store", study.suite),
            judge=LiveQuality(ledger, study.name, QualityThresholds(after=5, success=0.4, gold=0.5)),
            names=[],
        )
        _fill(one, dict(counts or CROWD), 60 * minutes)
        yield one


def seat_of(busy: Busy, person: str) -> Seat:
    session = Session(SeatRecord("seat-of-watched", person), busy.study.suite, busy.journal, world_of)
    settings = Settings(busy.study.suite, busy.folder / "store")
    guide = FreeChoice(session, settings, busy.journal, SeedAssignment(settings.seeds, False, busy.journal))
    return Seat(session, guide, busy.journal)


def world_of(task: Task) -> InlineHost:
    return InlineHost(task, Encoder())


def _fill(busy: Busy, counts: dict[str, int], seconds: float) -> None:
    now, random = time.time(), np.random.default_rng(7)
    environments = {task: TaskEnv(busy.study.suite[task]) for task in TASKS}
    played: list[tuple[Trajectory, float, str]] = []
    for at, demonstrator in enumerate(crowd(counts)):
        name = busy.secret.pseudonym("prolific", EXTERNAL if at == 0 else demonstrator.name)
        busy.names.append(name)
        joined = now - seconds * float(random.uniform(0.1, 1))
        ended = joined + float(random.uniform(0.35, 1.4)) * (now - joined)
        moments = np.sort(random.uniform(joined, min(ended, now), int(random.integers(5, 13))))
        for n, moment in enumerate(moments):
            task = TASKS[n % 3 if n < 6 else n % 2]
            seed = 1000 * at + n
            player = SimulatedPlayer(demonstrator, environments[task])
            got = play(player, environments[task], seed, "first-steps")
            if got is not None:
                role = "gold" if n in (2, 7) else "repeat" if n == 3 else "demonstration"
                played.append((_theirs(got[0], name, busy), float(moment), role))
        _add_person(busy, name, joined, ended, now, at)
    _add_passers_by(busy, now, random)
    _keep(busy, played, random)
    _add_servers(busy, now, random)
    decide(busy.database, "first-crowd", "pause", reason="the consent text had a mistake")
    decide(busy.database, "first-crowd", "resume", reason="it is mended")
    decide(busy.database, "first-crowd", "pause", busy.playing[-1], "asks for a break by mail")


def _theirs(trajectory: Trajectory, name: str, one: Busy) -> Trajectory:
    consent = one.study.consent_version("en")
    return replace(trajectory, demonstrator=name, kind="simulated", study=one.study.name, consent=consent)


def _add_person(busy: Busy, name: str, joined: float, ended: float, now: float, at: int) -> None:
    over = ended < now
    row = {
        "person": name,
        "seat": f"seat-{at}",
        "study": busy.study.name,
        "source": "prolific",
        "language": "zh" if at % 4 == 3 else "en",
        "stage": "done" if over else "rest" if at % 6 == 5 else "play",
        "progress": {},
        "outcome": ("poor-quality" if at > 18 else "completed") if over else "",
        "code": "SECRET-CODE" if over else "",
        "joined": joined,
        "seen": min(ended, now + 3600),
        "ended": ended if over else None,
    }
    with busy.database.write() as connection:
        connection.execute(people.insert(), row)
        connection.execute(
            consents.insert(),
            {
                "person": name,
                "study": busy.study.name,
                "consent": busy.study.consent_version(row["language"]),
                "language": row["language"],
                "decision": "given",
                "at": joined + 40,
            },
        )
        if at == 0:
            ids = {"PROLIFIC_PID": EXTERNAL, "SESSION_ID": "session-" + EXTERNAL}
            connection.execute(identities.insert(), {"person": name, "source": "prolific", "ids": ids})
    if over:
        busy.database.note(busy.study.name, row["outcome"], name, details={"submission": EXTERNAL})


def _add_passers_by(busy: Busy, now: float, random: np.random.Generator) -> None:
    """Add people who have not played yet, or never will."""
    for at, (stage, outcome) in enumerate(
        [
            *[("consent", ""), ("instructions", ""), ("instructions", ""), ("practice", ""), ("check", "")],
            *[("done", "declined"), ("done", "declined"), ("done", "failed-check")],
        ]
    ):
        joined = now - float(random.uniform(30, 300))
        row = {
            "person": busy.secret.pseudonym("link", str(at)),
            "seat": f"passer-{at}",
            "study": busy.study.name,
            "source": "link",
            "language": "en",
            "stage": stage,
            "progress": {},
            "outcome": outcome,
            "code": "",
            "joined": joined,
            "seen": joined + 20 if outcome else now + 3600,
            "ended": joined + 20 if outcome else None,
        }
        with busy.database.write() as connection:
            connection.execute(people.insert(), row)


def _keep(busy: Busy, played: list[tuple[Trajectory, float, str]], random: np.random.Generator) -> None:
    """Write the journal, the store, and what the ledger has of each episode."""
    for trajectory, _, role in played:
        _write_down(busy, trajectory, role)
    busy.store.append([trajectory for trajectory, _, _ in played])
    seeds = {task: [each.seed for each, _, _ in played if each.task == task] for task in TASKS}
    needed = expert_steps(busy.study.suite, seeds)
    slow = {name: float(random.lognormal(3.3, 0.5)) for name in busy.names}
    rows = []
    for trajectory, moment, role in played:
        name = trajectory.demonstrator
        how = conduct_of(
            trajectory,
            busy.study.suite[trajectory.task],
            role=role,
            expert_steps=needed.get((trajectory.task, trajectory.seed)),
            hidden_ms=float(random.exponential(9000)) if random.random() < 0.08 else 0.0,
            lag_ms=round(slow[name] * float(random.lognormal(0, 0.25)), 1),
        )
        rows.append({**asdict(how), "at": moment})
    with busy.database.write() as connection:
        connection.execute(conduct.insert(), rows)
        connection.execute(claims.insert(), [_claim(busy, row, "done") for row in rows])
        held = [
            {
                "person": name,
                "task": TASKS[at % 2],
                "seed": 10**6 + at,
                "role": "demonstration",
                "episode": "",
            }
            for at, name in enumerate(busy.playing)
        ]
        connection.execute(claims.insert(), [_claim(busy, row, "held") for row in held])
    busy.journal.flush()


def _claim(one: Busy, row: dict, state: str) -> dict:
    keys = ("task", "seed", "role", "person", "episode")
    free = {"study": one.study.name, "slot": row["person"], "state": state, "until": time.time() + 3600}
    return {key: row[key] for key in keys} | free


def _write_down(one: Busy, trajectory: Trajectory, role: str) -> None:
    record = EpisodeRecord(
        seat="",
        demonstrator=trajectory.demonstrator,
        suite=trajectory.suite,
        task=trajectory.task,
        env=trajectory.env,
        seed=trajectory.seed,
        digest=b"",
        kwargs=trajectory.kwargs,
        kind="simulated",
        started="2026-11-23T10:00:00+00:00",
        state="stored",
        study=one.study.name,
        role=role,
        episode=trajectory.episode,
    )
    one.journal.begin(record)
    last = len(trajectory) - 1
    for at in range(len(trajectory)):
        one.journal.append(
            record.episode,
            StepRecord(
                step=at + 1,
                action=trajectory.actions[at].tolist(),
                reward=float(trajectory.rewards[at]),
                terminated=trajectory.terminated and at == last,
                truncated=trajectory.truncated and at == last,
                time_ms=int(trajectory.times_ms[at]),
                controller=0,
                frame=at,
                digest=trajectory.digest if at == last else b"",
            ),
        )


def _add_servers(busy: Busy, now: float, random: np.random.Generator) -> None:
    for name, seats, seen in (
        ("host-a-1f3c", 7, now + 3600),
        ("host-b-90ad", 5, now + 3600),
        ("host-a-77e0", 4, now - 900),
    ):
        meter = ServerMetrics()
        for lag in random.lognormal(3, 0.6, 400):
            meter.stepped()
            meter.shown(float(lag))
        row = {
            "server": name,
            "started": now - 7200,
            "seen": seen,
            "figures": {**meter.figures(), "seats": seats},
        }
        with busy.database.write() as connection:
            connection.execute(servers.insert(), row)
