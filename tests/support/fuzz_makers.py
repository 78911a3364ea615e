"""A small sound specimen of every kind of file that an attacker may hand over, all in one folder."""

from __future__ import annotations

import asyncio
import json
import shutil
import warnings
from dataclasses import replace
from importlib import resources
from pathlib import Path

import gymnasium
import minari
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from tutelage.agents.evaluation.compare import measure
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.run_log import SelfImitationRound, write_rounds
from tutelage.crowd.seats.free_choice import FreeChoice, play
from tutelage.crowd.seats.seed_assignment import SeedAssignment
from tutelage.crowd.seats.session import Session
from tutelage.crowd.settings import Settings
from tutelage.crowd.storage.archiver import Archiver
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.journal_records import JOURNAL, SeatRecord
from tutelage.crowd.studies.study_checks import rehearse_study
from tutelage.crowd.studies.study_file import study_from
from tutelage.crowd.studies.study_server import StudyServer
from tutelage.datasets.formats.exchange import export_store, import_store
from tutelage.datasets.formats.miniwob.raw import raw_files, read_raw
from tutelage.datasets.formats.miniwob.recording import PAGE_COLUMNS, Recording
from tutelage.datasets.replay import Environments, replay_proven
from tutelage.datasets.simulation.simulated_crowd import simulate
from tutelage.datasets.store import Store
from tutelage.envs.suite import load_suite
from tutelage.tests.support import toy_study
from tutelage.tests.support.crowd_recording import BUTTON, FIELD, Hand
from tutelage.tests.support.robot_dataset import write_dataset

KEYS = {"ArrowLeft": 0, "ArrowRight": 1}
POLE = {"id": "pole", "env": "CartPole-v1", "max_steps": 20, "expert": "cartpole", "controls": KEYS}
CAB = {"id": "cab", "env": "tutelage/Taxi-v0", "max_steps": 20, "expert": "taxi", "instruction": "drive"}
SUITE = {"suite": "small", "tasks": [POLE, CAB], "evaluation": {"episodes": 2}}
CONFIG = {"size": 1, "steps": 2, "batch_steps": 32, "threads": 1, "workers": 1, "window": 8}
CONFIG |= {"evaluate_every": 1000, "select_episodes": 1, "weights": "none"}

PERSON = "person-ann"


def make(folder: Path) -> None:
    """Make the specimens: suite.yaml, pilot.yaml, config.yaml, store, run, measured, exports, recordings."""
    (folder / "suite.yaml").write_text(yaml.safe_dump(SUITE, sort_keys=False), "utf-8")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG), "utf-8")
    toy_study.write(folder)
    store = _store(folder)
    train([store], folder / "run", TrainConfig.load(folder / "config.yaml"), progress=False)
    write_rounds(
        folder / "run", [SelfImitationRound(1, {"pole": 0.5, "cab": 0.0}, 3, {"pole": 0.5, "cab": 0.25})]
    )
    measure([folder / "run"], folder / "measured", episodes=2, actors=["random"])
    for form in ("minari", "lerobot"):
        export_store(store, form, folder / form)
    Hand().click(FIELD).type("Ann").click(BUTTON, 30, 190).write(folder / "raw")
    _tables(folder)
    import_store(folder / "raw", "miniwob-turk", folder / "web")
    for name in ("copy", "lacking"):  # notes of exports stay behind: those are not known elsewhere
        shutil.copytree(folder / "store", folder / name, ignore=shutil.ignore_patterns(".exports"))
    (folder / "lacking" / store.parts()[0].name).unlink()
    _grid(folder)
    _recorded(folder)
    _studied(folder)
    _translated(folder)
    _foreign(folder)
    write_dataset(folder / "robot", lengths=(3, 2))
    write_dataset(folder / "older", "v2.1", "image", lengths=(3, 2))


def _store(folder: Path) -> Store:
    """Give a store of two parts; the observations of one episode are stored, as if it could not replay."""
    store = Store.create(folder / "store", load_suite(folder / "suite.yaml"))
    simulate(store.suite, store, {"pole": 3, "cab": 3}, workers=1)
    with Environments(store.suite) as environments:
        episode = next(store.trajectories(task="pole"))
        seen = replay_proven(episode, environments).observations
    store.append([replace(episode, episode="ab" * 16, observations=seen)])
    return store


def _grid(folder: Path) -> None:
    """Write a store of the grid world, and a suite of it whose episodes take four steps."""
    tasks = [dict(task) for task in load_suite("babyai-small").source["tasks"][:2]]
    for name, most in (("rooms", {}), ("short", {"max_steps": 4})):
        document = {"suite": name, "tasks": [task | most for task in tasks], "evaluation": {"episodes": 2}}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    store = Store.create(folder / "grid", load_suite(folder / "rooms.yaml"))
    simulate(store.suite, store, {task.id: 2 for task in store.suite}, workers=1)


def _recorded(folder: Path) -> None:
    """Play at a recorder; write the same with a part missing that the journal can bring back."""
    out = folder / "recorded"
    suite = load_suite(folder / "short.yaml")
    store = Store.create(out, suite)
    with Journal(out / JOURNAL) as journal:

        async def play_all() -> None:
            settings = Settings(suite, out)
            keeper = Archiver(settings, journal, store, print)
            assignment = SeedAssignment(settings.seeds, settings.is_baseline, journal)
            seat = SeatRecord("a" * 32, PERSON)
            session = Session(seat, suite, journal, kind="person", deliver=keeper.put)
            choice = FreeChoice(session, settings, journal, assignment)
            await choice.count()
            for task in ("go-to-obj", "go-to-obj", "go-to-red-ball-grey"):
                await play(choice, task, lambda _: np.array([0.0]))
            keeper.close()

        asyncio.run(play_all())
        journal.flush()
    shutil.copytree(out, folder / "robbed")
    (folder / "robbed" / store.parts()[0].name).unlink()


def _studied(folder: Path) -> None:
    """Write a study in the grid world, and let two people begin it; one of them has finished a task."""
    changes = {"suite": "short.yaml", "tasks": {"go-to-obj": {}}, "practice": None}
    document = toy_study.document(**changes)
    (folder / "study.yaml").write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    study, wrong = study_from(document, folder)
    assert study is not None, wrong

    async def walk() -> None:
        server = StudyServer(study, folder / "studied", rehearse_study(study)[0])
        await server.start()
        ann = await toy_study.walk_in(server, PERSON)
        await ann.to_the_tasks()
        await ann.play((0, 0, 0, 0))
        await toy_study.walk_in(server, "person-bob")
        await server.close()

    asyncio.run(walk())


def _translated(folder: Path) -> None:
    """Write a study in a language of its own."""
    place = folder / "translated"
    sentences = {"en": "Cross the lake.", "xx": "Hop."}
    words = {"xx": {"Left": "L"}}
    toy_study.write(
        place, languages=["en", "xx"], consent=sentences, instructions=sentences, check=None, words=words
    )
    (place / "languages").mkdir()
    shipped = resources.files("tutelage.crowd").joinpath("languages", "zh.yaml").read_text("utf-8")
    (place / "languages" / "xx.yaml").write_text(shipped, "utf-8")


def _foreign(folder: Path) -> None:
    """Write a Minari dataset as others make them: of what was played, without a word of ours."""
    steps = {"actions": np.zeros(5, np.int64), "rewards": [1.0] * 5, "infos": {}}
    ends = {"terminations": [False] * 5, "truncations": [False] * 4 + [True]}
    buffers = [
        minari.data_collector.EpisodeBuffer(
            seed=seed, observations=np.zeros((6, 4), np.float32), **steps, **ends
        )
        for seed in (5, None)
    ]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers("foreign/human-v0", buffers, env=gymnasium.make("CartPole-v1"))


def _tables(folder: Path) -> None:
    """Write the recording as tables too."""
    recording = read_raw(raw_files(folder / "raw")[0])
    assert isinstance(recording, Recording)
    (folder / "tables").mkdir()
    episode = {
        "ep": 0,
        "task": recording.task,
        "round": recording.round,
        "assignment": "abc",
        "utterance": recording.instruction,
        "raw_reward": recording.reward,
        "reward": recording.scaled,
    }
    steps = [
        {
            "ep": 0,
            "t": event.time,
            "type": event.kind,
            "phase": event.phase,
            "target": event.target,
            "snap": event.page,
            "post": False,
            **{name: getattr(event, name) for name in ("x", "y", "key", "char")},
        }
        for event in recording.events
    ]
    pages = [{"ep": 0, **{name: [*getattr(page, name)] for name in PAGE_COLUMNS}} for page in recording.pages]
    tables = {"episodes": [episode], "steps": steps, "snaps": pages}
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / "tables" / f"{name}.parquet")
    empty = pq.read_table(folder / "tables" / "snaps.parquet").slice(0, 0)
    pq.write_table(empty, folder / "tables" / "snaps_flight.parquet")


def describe(folder: Path) -> str:
    """List what was made, for a person who looks for a case."""
    return json.dumps(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")), indent=1)
