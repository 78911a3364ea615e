"""The demo, with a small crowd and a few steps: it ends with a report, whether or not a person has played."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from tutelage.agents.evaluation.actors import ChanceActor
from tutelage.agents.evaluation.rollout import rollout
from tutelage.cli import demo
from tutelage.console.terminal import SafeConsole
from tutelage.datasets.store import Store
from tutelage.envs.task import TEST


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_ends_with_a_report_and_people_come_into_it_when_they_have_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "DEMONSTRATIONS", dict.fromkeys(demo.DEMONSTRATIONS, 10))
    monkeypatch.setattr(demo, "QUICK_STEPS", 4)
    monkeypatch.setattr(demo, "QUICK_EPISODES", 2)
    monkeypatch.setattr(demo, "DEMO", replace(demo.DEMO, size=1, batch_steps=160, threads=1))
    console = SafeConsole(file=io.StringIO())
    options = {"quick": True, "play": False, "port": 0, "seed": 0, "console": console}
    done = demo.run_demo(tmp_path, **options)  # type: ignore[arg-type]
    assert done.page.stat().st_size > 100_000
    assert set(done.measured.rows["kind"].to_pylist()) == {"policy", "expert", "simulated", "chance"}
    assert (done.kept / "card.md").is_file()

    people = Store.open(tmp_path / "people")
    assert len(people) == 0
    (played,) = rollout(ChanceActor(), people.suite["cartpole"], [TEST.start], suite_name=people.suite.name)
    people.append([replace(played, kind="person", demonstrator="person-ann")])
    before = done.page.read_text("utf-8")
    demo._report(tmp_path, done.page, tmp_path / "run-quick", Store.open(tmp_path / "crowd-quick"), people)
    assert "person-ann" not in before
    assert ">people<" in done.page.read_text("utf-8")
    assert ">people<" not in before
