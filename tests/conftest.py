"""Toy environments and a way to record an episode, for the tests of what is recorded."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import settings
from moto.server import ThreadedMotoServer
from tutelage.console.progress import VARIABLE as PROGRESS
from tutelage.crowd.hosting.host import FinishedEpisode
from tutelage.crowd.seats.free_choice import FreeChoice
from tutelage.crowd.seats.seed_assignment import SeedAssignment
from tutelage.crowd.seats.session import Session
from tutelage.crowd.settings import Settings
from tutelage.crowd.storage.journal import Journal
from tutelage.crowd.storage.journal_records import SeatRecord
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory
from tutelage.envs.registry import registry
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.files.state_folder import CACHE_VARIABLE, STATE_VARIABLE
from tutelage.tests.support import postgres as postgres_server
from tutelage.tests.support import s3 as s3_server
from tutelage.tests.support.nursery import Nursery
from tutelage.tests.support.postgres import PostgreSQL
from tutelage.tests.support.random_episodes import Recorded, random_episode

# `make test` tries the same examples on every machine; `make soak` looks for others
settings.register_profile("shared machines", deadline=None, derandomize="TUTELAGE_EXPLORE" not in os.environ)
settings.load_profile("shared machines")


class Words(gymnasium.Env[Any, Any]):
    """A deterministic world with text, nested leaves, a mask and actions of several numbers."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012
    observation_space = spaces.Dict(
        {
            "words": spaces.Text(60),
            "pair": spaces.Tuple([spaces.Discrete(5, start=2), spaces.Box(-1, 1, (2, 3), np.float32)]),
            "bits": spaces.MultiBinary(4),
        }
    )
    action_space = spaces.MultiDiscrete([3, 4])

    def __init__(self, render_mode: str | None = None, length: int = 40) -> None:
        self.render_mode = render_mode
        self.length = length
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        self.goal = ["go to the gate", "öffne die Tür", ""][int(self.np_random.integers(3))]
        return self._look(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        reward = float(self.np_random.random()) * float(action[0]) - float(action[1])
        return self._look(), reward, self.steps >= self.length, False, {}

    def noise(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, (2, 3)).astype(np.float32)

    def _look(self) -> Any:
        pair = (2 + int(self.np_random.integers(5)), self.noise())
        return {"words": self.goal, "pair": pair, "bits": self.np_random.integers(0, 2, 4, dtype=np.int8)}


class Unrepeatable(Words):
    """The same world with noise from the operating system: no seed gives it back."""

    def noise(self) -> np.ndarray:
        return np.frombuffer(os.urandom(6), np.uint8).reshape(2, 3).astype(np.float32) / 255


class Camera(gymnasium.Env[Any, Any]):
    """A picture large enough to be one, a bare leaf, and continuous actions."""

    observation_space = spaces.Box(0, 255, (32, 40, 3), np.uint8)
    action_space = spaces.Box(-2, 2, (2, 2), np.float32)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return self._look(), {}

    def step(self, action: Any) -> Any:
        return self._look(), float(np.sum(action)), False, False, {}

    def _look(self) -> np.ndarray:
        return self.np_random.integers(0, 256, (32, 40, 3), dtype=np.uint8)


registry()  # servers of the tests fork their processes from one that has what is imported here
for name, toy in {"Words": Words, "Unrepeatable": Unrepeatable, "Camera": Camera}.items():
    gymnasium.register(f"toys/{name}-v0", entry_point=toy, max_episode_steps=60)  # type: ignore[arg-type]


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the state and caches of the tests, and of what they start, out of the person's own folders."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in (STATE_VARIABLE, CACHE_VARIABLE):
            patch.setenv(variable, str(tmp_path_factory.mktemp("own") / variable.lower()))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_lines_of_progress() -> Iterator[None]:
    """Let no test hear how far work has come, however slow the machine: it counts what is said."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PROGRESS, "0")
        yield


@pytest.fixture(scope="session")
def demonstrate() -> Callable[..., Recorded]:
    """Give the recorder of random episodes, see `random_episode`."""
    return random_episode


@pytest.fixture(scope="session")
def fill(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Store]:
    """Give a way to fill a new store: random episodes of every task of a suite, on the given seeds."""

    def run(suite: Suite, *seeds: int) -> Store:
        store = Store.create(tmp_path_factory.mktemp("filled") / "store", suite)
        for task in suite:
            environment = TaskEnv(task)
            recorded = [random_episode(environment, seed, suite=suite.name) for seed in seeds]
            keep = task.id == "unrepeatable"
            store.append([replace(one, observations=seen if keep else None) for one, seen in recorded])
        return store

    return run


def _same_array(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype.kind == "U":  # its width is not part of the text
        return other.dtype.kind == "U" and one.tolist() == other.tolist()
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def _equal(one: Trajectory, other: Trajectory) -> bool:
    for name, mine in vars(one).items():
        theirs = getattr(other, name)
        if isinstance(mine, dict) and isinstance(theirs, dict) and name == "observations":
            same = list(mine) == list(theirs) and all(_same_array(mine[path], theirs[path]) for path in mine)
        elif isinstance(mine, np.ndarray):
            same = _same_array(mine, theirs)
        else:
            same = mine == theirs
        if not same:
            return False
    return True


@pytest.fixture(scope="session")
def equal() -> Callable[[Trajectory, Trajectory], bool]:
    """Give the test that two trajectories agree in every field, bit for bit."""
    return _equal


@pytest.fixture(scope="session")
def toys() -> Suite:
    """Give a suite of toy tasks and one real one."""
    tasks = [
        {"id": "words", "env": "toys/Words-v0"},
        {"id": "short", "env": "toys/Words-v0", "kwargs": {"length": 6}},
        {"id": "unrepeatable", "env": "toys/Unrepeatable-v0"},
        {"id": "camera", "env": "toys/Camera-v0", "max_steps": 30},
        {"id": "cartpole", "env": "CartPole-v1"},
    ]
    return suite_from({"suite": "toys", "tasks": tasks})


@pytest.fixture
def record(demonstrate: Callable[..., Recorded], toys: Suite) -> Callable[..., Trajectory]:
    """Give a way to record a toy task's episode; `stored` keeps its observations."""
    environments = {task.id: TaskEnv(task) for task in toys}

    def one(task: str = "words", seed: int = 0, stored: bool = False, **options: Any) -> Trajectory:
        trajectory, seen = demonstrate(environments[task], seed, **options)
        return replace(trajectory, observations=seen) if stored or task == "unrepeatable" else trajectory

    return one


@pytest.fixture
def store(tmp_path: Path, toys: Suite) -> Store:
    """Give an empty store of the toy suite."""
    return Store.create(tmp_path / "store", toys)


_LONG = (
    *("test_docs", "test_demo", "test_library", "test_expertise_models", "test_fuzz_files"),
    *("test_behavior_cloning", "test_parallel", "test_story", "test_failures", "test_web_miniwob"),
    *("test_own_package", "test_packaging", "test_foreign_environments", "test_store_claims"),
    *("test_page_policy", "test_study_ends", "test_miniwob_by_hand", "test_hostile", "test_minari"),
    *("test_crash", "test_edit_crashes", "test_self_imitation", "test_dashboard", "test_pay"),
    *("test_study", "test_report_page", "test_deployment", "test_terminal", "test_own_actor"),
    *("test_parallel_rollout", "test_web_whatever_hands_do", "test_web_crash", "test_another_browser"),
    *("test_web_environment", "test_full_disk", "test_fuzz_messages", "test_odd_environments"),
)
"""The files that take longest, in this order."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, so that at the end no worker is busy while the others wait."""
    ranks = {f"{name}.py": rank for rank, name in enumerate(_LONG)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


@pytest.fixture
def filled(store: Store, record: Callable[..., Trajectory]) -> Store:
    """Give a store of three parts by two demonstrators."""
    store.append([record(seed=seed, demonstrator="ann") for seed in range(3)])
    store.append([record(seed=3, demonstrator="bob"), record("unrepeatable", seed=4, demonstrator="ann")])
    store.append([record("cartpole", seed=5, demonstrator="bob")])
    return store


def pytest_report_header() -> str:
    """Say at the top of every run whether the tests on real crowd demonstrations will run."""
    folder = _crowd_folder()
    return f"crowd demonstrations: {folder}" if folder else "crowd demonstrations: none, their tests skip"


@pytest.fixture(scope="session")
def crowd_data() -> Path:
    """The real crowd demonstrations: from TUTELAGE_DATA or beside the checkout; skip without."""
    if (folder := _crowd_folder()) is None:
        pytest.skip("needs the crowd demonstrations: set TUTELAGE_DATA to the folder with miniwob-turk/")
    return folder


def _crowd_folder() -> Path | None:
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("TUTELAGE_DATA", beside)) / "miniwob-turk"
    return folder if (folder / "episodes.parquet").is_file() else None


@pytest.fixture
def suite() -> Suite:
    tasks = [
        {"id": "lake", "env": "FrozenLake-v1", "kwargs": {"is_slippery": True}, "max_steps": 20},
        {"id": "pole", "env": "CartPole-v1", "pace": {"fps": 50, "idle": 0}},
        {"id": "unrepeatable", "env": "toys/Unrepeatable-v0", "kwargs": {"length": 4}},
    ]
    return suite_from({"suite": "small", "tasks": tasks})


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Say what runs the tests that are coroutines (marked `anyio`)."""
    return "asyncio"


@pytest.fixture
def delivered() -> list[FinishedEpisode]:
    """Give the list of all that was kept in the test's sessions."""
    return []


@pytest.fixture
def opened(
    tmp_path: Path, suite: Suite, delivered: list[FinishedEpisode]
) -> Iterator[Callable[..., Awaitable[FreeChoice]]]:
    """Give a way to open a session on the same journal, as after a restart."""
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(tmp_path / "journal.sqlite"))

        async def one(seat: str = "a", name: str = "ada", **options: Any) -> FreeChoice:
            settings = Settings(suite, tmp_path / "store", **options)
            assignment = SeedAssignment(settings.seeds, settings.is_baseline, journal)
            known = journal.seat(seat) or SeatRecord(seat, name)
            session = Session(known, suite, journal, kind="simulated", deliver=delivered.append)
            choice = FreeChoice(session, settings, journal, assignment)
            await choice.count()
            return choice

        yield one


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """Give a real PostgreSQL server, one a process of tests."""
    with postgres_server.running() as server:
        yield server


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Give what starts real servers, one a process of tests."""
    with Nursery() as one:
        yield one


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give an empty database, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'journal.sqlite'}"
    else:
        with request.getfixturevalue("postgres").database() as url:
            yield url


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadedMotoServer]:
    """Give a server that speaks S3, with a bucket `crowd`."""
    with s3_server.running(monkeypatch) as server:
        yield server
