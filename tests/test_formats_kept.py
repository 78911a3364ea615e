"""What earlier versions wrote opens: stores, runs, evaluations and studies kept in `tests/fixtures`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tutelage as tt
from tutelage.agents.evaluation.saved_evaluation import read_evaluation
from tutelage.tests.support import toy_study
from tutelage.tests.support.make_fixture import EPISODES, make
from tutelage.tests.support.sources import ROOT

VERSIONS = sorted((ROOT / "tests" / "fixtures").iterdir())


@pytest.fixture(params=VERSIONS, ids=lambda folder: folder.name)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give a copy of what a version wrote: opening must not change the fixture."""
    return Path(shutil.copytree(request.param, tmp_path / "kept"))


def test_this_version_is_kept() -> None:
    assert tt.__version__ in {folder.name for folder in VERSIONS}


def test_its_store_opens_and_replays(kept: Path) -> None:
    store = tt.Store.open(kept / "store")
    assert store.verify() == []
    assert len(store) == EPISODES
    assert all(episode.success for episode in store)
    data = store.arrays()
    assert len(data.observations) == len(data.actions) == len(toy_study.ACROSS) * EPISODES


def test_its_run_acts(kept: Path) -> None:
    run = tt.Run(kept / "run")
    assert run.config.steps == 2
    assert run.metrics[-1]["step"] == 2
    actor = tt.load_policy(run).actor("lake")
    actor.reset()
    assert actor.act(0) in range(4)


def test_its_evaluation_is_read(kept: Path) -> None:
    saved = read_evaluation(kept / "evaluation")
    assert set(saved.rows["actor"].to_pylist()) == {"policy", "random"}


@pytest.mark.slow
def test_its_study_goes_on(kept: Path) -> None:
    async def story() -> None:
        async with toy_study.serving(kept / "study", episodes=2) as server:
            back = await toy_study.walk_in(server)
            assert back.stage == "done"
            assert len(server.store) == 2
            newcomer = await toy_study.walk_in(server, "person-bob")
            await newcomer.to_the_tasks()
            await newcomer.play()
            await toy_study.until(lambda: len(server.store) == 3)

    toy_study.run(story())


@pytest.mark.slow
def test_the_fixture_can_be_made_anew(tmp_path: Path) -> None:
    make(tmp_path / "anew")
    assert {path.name for path in (tmp_path / "anew").iterdir()} == {"store", "run", "evaluation", "study"}
