"""Where no rule says what a success is, nothing that reads the store says that nobody succeeded."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tutelage.agents.evaluation.actors import ChanceActor
from tutelage.agents.evaluation.report.sections import demonstrations
from tutelage.agents.evaluation.rollout import rollout
from tutelage.cli.main import app
from tutelage.datasets.editing.trimming import trim
from tutelage.datasets.quality.demonstrator_stats import evidence
from tutelage.datasets.quality.episode_stats import EpisodeStats
from tutelage.datasets.quality.verdict import quality
from tutelage.datasets.replay import Environments
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import digest_of
from tutelage.envs.suite import Suite, suite_from
from typer.testing import CliRunner

SWING = {"id": "swing", "env": "Pendulum-v1", "max_steps": 5, "success": "unknown"}
POLE = {"id": "pole", "env": "CartPole-v1", "max_steps": 5, "success": "return >= 5"}


def run(*words: str | Path) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def suite() -> Suite:
    return suite_from({"suite": "both", "tasks": [SWING, POLE]})


@pytest.fixture
def store(suite: Suite, tmp_path: Path) -> Store:
    """Give a store in which ann played a task without a rule, and ben both."""
    made = Store.create(tmp_path / "store", suite)
    for task, who, count in (("swing", "ann", 4), ("swing", "ben", 2), ("pole", "ben", 2)):
        played = rollout(ChanceActor(), suite[task], range(count), suite_name="both")
        kept = {"demonstrator": who, "kind": "person"}
        made.append([replace(episode, **kept, episode=f"{who}-{task}-{episode.seed}") for episode in played])
    return made


def test_quality_judges_by_the_episodes_whose_success_is_known(store: Store) -> None:
    people = {row["person"]: row for row in json.loads(run("quality", store.path, "--json"))["people"]}
    ann, ben = people["ann"], people["ben"]
    assert (ann["episodes"], ann["rated"], ann["successes"], ann["score"]) == (4, 0, None, None)
    assert "success" not in ann["own"]
    assert [finding for finding in ann["findings"] if finding["measure"] == "success"] == []
    assert (ben["episodes"], ben["rated"], ben["successes"], ben["own"]["success"]) == (4, 2, 2, 1.0)
    assert "solves 100 % (2 of 2)" in str(ben["findings"])
    table = run("quality", store.path)
    assert "0%" not in table.replace("100%", "")
    assert "–" in next(line for line in table.splitlines() if "ann" in line)


def test_unknown_outcomes_meet_no_requirement_and_agree_with_none() -> None:
    rows = [
        EpisodeStats(f"{who}-{at}", who, "t", at, None, 10, 5.0, role="gold")
        for who in "abcd"
        for at in range(9)
    ]
    judged = evidence(rows)["a"]
    assert (judged.gold, judged.repeats, quality(judged).met) == (0, 0, None)
    assert quality(judged).score is None


def test_exports_have_no_place_for_what_is_not_known(store: Store, tmp_path: Path) -> None:
    for form in ("lerobot", "rlds", "csv", "npz"):
        told = run("export", store.path, "--to", form, "-o", tmp_path / form, "--json")
        is_told = "The success of episodes of swing is not known" in str(json.loads(told)["report"])
        assert is_told == (form in ("lerobot", "rlds"))
    for task, is_rated in (("swing", False), ("pole", True)):
        folder = tmp_path / "lerobot" / task
        features = json.loads((folder / "meta/info.json").read_text())["features"]
        columns = pq.read_schema(next(folder.glob("data/*/*.parquet"))).names
        assert ("next.success" in features, "next.success" in columns) == (is_rated, is_rated)
        about = json.loads((tmp_path / "rlds" / task / "features.json").read_text())
        named = about["featuresDict"]["features"]["episode_metadata"]["featuresDict"]["features"]
        assert ("success" in named) is is_rated
        shard = next((tmp_path / "rlds" / task).glob("*.tfrecord*")).read_bytes()
        assert (b"episode_metadata/success" in shard) is is_rated
        with (tmp_path / "csv" / task / "episodes.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["success"] for row in rows} == ({"True"} if is_rated else {""})
    run("import", "lerobot", tmp_path / "lerobot", "-o", tmp_path / "back")
    kept = Store.open(tmp_path / "back").episodes().sort_by("episode")["success"].to_pylist()
    assert kept == store.episodes().sort_by("episode")["success"].to_pylist()
    assert set(kept) == {None, True}


def test_lines_of_a_table_have_the_columns_of_its_head_whatever_each_episode_lacks(
    suite: Suite, tmp_path: Path
) -> None:
    store = Store.create(tmp_path / "store", suite)
    first, second = rollout(ChanceActor(), suite["pole"], range(2), suite_name="both")
    store.append([replace(first, success=None), second])
    run("export", store.path, "--to", "csv", "-o", tmp_path / "csv")
    with (tmp_path / "csv" / "episodes.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["seed"])
    assert [row["success"] for row in rows] == ["", "True"]
    assert [len(row["digest"]) for row in rows] == [32, 32]


def test_the_report_and_the_list_of_episodes_show_a_dash(store: Store, suite: Suite) -> None:
    lines = demonstrations([store], suite).split("<tr")
    last = {
        name: next(line for line in lines if f">{name}</td>" in line or f">{name}</th>" in line)
        for name in ("swing", "pole", "all")
    }
    assert [">–<" in line for line in last.values()] == [True, False, False]
    assert [">100<" in line for line in last.values()] == [False, True, True]
    listed = [line for line in run("edit", store.path, "list", "--all").splitlines() if "swing" in line]
    assert len(listed) == 6
    assert not [line for line in listed if " no " in line]
    rows = json.loads(run("edit", store.path, "list", "--all", "--json"))["episodes"]
    assert {row["success"] for row in rows if row["task"] == "swing"} == {None}


def test_an_episode_that_is_trimmed_keeps_an_unknown_success(suite: Suite) -> None:
    (kept,) = rollout(ChanceActor(), suite["swing"], [7], suite_name="both", keep=True)
    assert kept.observations is not None
    with Environments(suite) as environments:
        assert trim(kept, environments, 0, 1).success is None


def test_what_was_not_known_and_lost_its_end_by_trimming_counts_as_given_up(
    suite: Suite, tmp_path: Path
) -> None:
    (kept,) = rollout(ChanceActor(), suite["pole"], [7], suite_name="both", keep=True)
    unknown = replace(kept, terminated=False, truncated=False, success=None)
    assert unknown.observations is not None
    unknown = replace(unknown, digest=digest_of(unknown.observations, unknown.rewards, False, False))
    with Environments(suite) as environments:
        cut = trim(unknown, environments, 0, 1)
    assert cut.success is False
    store = Store.create(tmp_path / "store", suite)
    store.append([cut])
    assert store.verify() == []
