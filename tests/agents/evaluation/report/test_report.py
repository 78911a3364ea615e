"""The report is one file that asks for nothing, says every figure under its own head, and escapes all."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor, SimulatedActor
from tutelage.agents.evaluation.evaluate import Evaluation, evaluate
from tutelage.agents.evaluation.report.report import (
    read_metrics,
    self_imitation_runs,
    self_imitation_series,
    write_report,
)
from tutelage.agents.evaluation.report.sections import training
from tutelage.agents.evaluation.rollout import rollout
from tutelage.agents.training.run_log import SelfImitationRound, write_rounds
from tutelage.agents.training.sealed_lines import seal_lines
from tutelage.datasets.simulation.simulated_crowd import crowd, simulate
from tutelage.datasets.store import Store
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task import TEST
from tutelage.errors import TutelageError

SUITE = suite_from(
    {
        "suite": "toy",
        "tasks": [
            {"id": "go", "env": "BabyAI-GoToRedBallGrey-v0", "expert": "babyai"},
            {
                "id": "pole",
                "env": "CartPole-v1",
                "expert": "cartpole",
                "max_steps": 40,
                "success": "return >= 40",
            },
        ],
    }
)


class Page(HTMLParser):
    """Collects what a page links to, its tables, and whether every element is closed."""

    EMPTY = frozenset(["meta", "link", "img", "br", "input"])

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [
            value or "" for name, value in attrs if name in ("src", "href", "action", "poster", "data")
        ]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in self.EMPTY:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(SUITE, [ExpertActor(), SimulatedActor(crowd()), ChanceActor()], episodes=12)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.create(tmp_path_factory.mktemp("store"), SUITE)
    simulate(SUITE, store, {"go": 12, "pole": 12})
    played = rollout(SimulatedActor(crowd()), SUITE["go"], TEST.first(3), suite_name="toy")
    store.append(
        [replace(one, demonstrator=f"<b>ann {i}</b>", kind="person") for i, one in enumerate(played)]
    )
    return store


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run-a"
    folder.mkdir()
    figures: list[dict[str, Any]] = [{"step": i, "loss": 1 / (i + 1)} for i in range(30)]
    figures += [{"step": 29 + i // 10, "select": {"go": i / 30, "pole": 0.5}} for i in (10, 20, 30)]
    (folder / "metrics.jsonl").write_text(seal_lines(figures) + '{"step": 33, "lo')
    return folder


@pytest.fixture(scope="module")
def page(evaluation: Evaluation, store: Store, run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = write_report(
        tmp_path_factory.mktemp("out") / "report.html",
        suite=SUITE,
        rows=evaluation.rows,
        trajectories=evaluation.trajectories,
        train_runs=[run],
        stores=[store],
        title="Toys & <others>",
    )
    assert path.stat().st_size < 6_000_000
    return path.read_text(encoding="utf-8")


def table_with(page: str, *heads: str) -> list[dict[str, str]]:
    """Find the table that has these heads; a row that spans is carried down."""
    for head, *lines in Page(page).tables:
        if set(heads) <= set(head):
            rows: list[dict[str, str]] = []
            for line in lines:
                whole = line if len(line) == len(head) else [rows[-1][head[0]], *line]
                rows.append(dict(zip(head, whole, strict=True)))
            return rows
    raise AssertionError(f"no table with {heads}")


@pytest.mark.slow
def test_nothing_outside_the_file_is_asked_for(page: str) -> None:
    links = [one for one in Page(page).links if not one.startswith(("#", "data:"))]
    assert links == []
    assert not re.search(r"https?://|@import|url\((?!#)", page)


def test_every_element_is_closed_and_no_id_comes_twice(page: str) -> None:
    parsed = Page(page)
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))


def test_all_sections_are_there_in_order(page: str) -> None:
    found = re.findall(r'<section id="(\w+)"', page)
    assert found == [
        "success",
        "table",
        "paired",
        "time",
        "people",
        "worst",
        "habits",
        "training",
        "data",
        "files",
        "made",
        "words",
    ]


def test_every_word_a_stranger_wrote_is_escaped(page: str) -> None:
    assert "<title>Toys &amp; &lt;others&gt;</title>" in page
    assert "<b>ann" not in page


def test_the_headline_table_says_each_actors_figure(page: str, evaluation: Evaluation) -> None:
    (go, *_) = table_with(page, "task", "expert", "random")
    assert go["task"] == "gosuccess, %"
    assert go["expert"].startswith("100")
    wins = sum(
        r["success"] for r in evaluation.rows.to_pylist() if (r["task"], r["actor"]) == ("go", "random")
    )
    assert go["random"].removeprefix("≈ ").startswith(f"{100 * wins / 12:.1f}" if wins else "0")


def test_the_paired_table_has_its_figures_under_their_own_heads(
    page: str, evaluation: Evaluation, store: Store
) -> None:
    people = {one.seed: one.success for one in store.trajectories(kinds=["person"])}
    rows = evaluation.rows.to_pylist()
    dice = {r["seed"]: r["success"] for r in rows if (r["task"], r["actor"]) == ("go", "random")}
    pairs = [(people[seed], dice[seed]) for seed in people]
    line = next(
        comparison
        for comparison in table_with(page, "against", "p", "neither")
        if (comparison["task"], comparison["against"]) == ("go", "random")
    )
    counts = [line[name] for name in ("both", "only people", "only other", "neither")]
    wanted = [(True, True), (True, False), (False, True), (False, False)]
    assert counts == [str(pairs.count(one)) for one in wanted]
    difference = 100 * (pairs.count((True, False)) - pairs.count((False, True))) / 3
    assert float(line["success"].replace("−", "-")) == pytest.approx(difference, abs=0.05)


def test_people_in_the_store_appear_as_a_row_of_their_own(page: str) -> None:
    assert "people" in table_with(page, "task", "expert")[0]


def test_demonstrations_are_counted(page: str) -> None:
    whole = table_with(page, "task", "demonstrations", "succeeded, %")[-1]
    assert (whole["task"], whole["demonstrations"]) == ("all", "24")  # not the three on test seeds


def test_replays_are_embedded_as_lossless_webp(page: str) -> None:
    data = re.search(r'<script type="application/json" id="replays">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    replays = json.loads(data[1])
    assert {one["task"] for one in replays} == {"go"}  # the subject is people, who played nothing else
    assert all(
        play["atlas"].startswith("data:image/webp;base64,UklGR") for one in replays for play in one["plays"]
    )
    assert all(play["exact"] for one in replays for play in one["plays"])


def test_how_it_was_made_names_seeds_versions_and_command(page: str) -> None:
    said = html.unescape(page[page.index('id="made"') :])
    for needed in (
        "1500000000 to 1500000011 (the test range)",
        "numpy",
        "2,000 resamples, seed 0",
        "command",
    ):
        assert needed in said


def test_every_round_of_practice_has_its_curve(tmp_path: Path) -> None:
    for name in (
        "run",
        "run/self-imitation-1",
        "run/self-imitation-2",
        "run/self-imitation-10",
        "run/self-imitation",
    ):
        (tmp_path / name).mkdir()
    assert [folder.name for folder in self_imitation_runs(tmp_path / "run")] == [
        "self-imitation-1",
        "self-imitation-2",
        "self-imitation-10",
    ]


def test_practice_is_drawn_by_round_from_where_it_began(tmp_path: Path) -> None:
    assert self_imitation_series(tmp_path) == {}
    before = seal_lines([{"step": 9, "select": {"go": 0.5, "stay": 0.25}}])
    (tmp_path / "metrics.jsonl").write_text(before + '{"step": 10')
    write_rounds(
        tmp_path,
        [
            SelfImitationRound(1, {}, 7, {"go": 0.75, "stay": 0.25}),
            SelfImitationRound(2, {}, 9, {"go": 1, "stay": 0.5}),
        ],
    )
    series = self_imitation_series(tmp_path)
    assert {name: values.tolist() for name, (_, values) in series.items()} == {
        "go": [0.5, 0.75, 1],
        "stay": [0.25, 0.25, 0.5],
        "mean": [0.375, 0.5, 0.75],
    }
    assert series["mean"][0].tolist() == [0, 1, 2]
    assert "run: success on select seeds, %, by round of self-imitation" in training({}, {"run": series})


def test_a_report_without_people_runs_or_stores_leaves_their_sections_out(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    rows = evaluation.rows.filter(pa.compute.equal(evaluation.rows["kind"], "chance"))
    path = write_report(
        tmp_path, suite=SUITE, rows=rows, trajectories=[], train_runs=[], stores=[], title="bare"
    )
    assert path == tmp_path / "report.html"
    found = re.findall(r'<section id="(\w+)"', path.read_text())
    assert not {"people", "training", "data", "worst", "paired"} & set(found)
    assert {"success", "table", "made", "words"} <= set(found)


def test_the_same_rows_make_the_same_figures(evaluation: Evaluation, tmp_path: Path) -> None:
    def figures(name: str) -> str:
        path = write_report(
            tmp_path / name,
            suite=SUITE,
            rows=evaluation.rows,
            trajectories=[],
            train_runs=[],
            stores=[],
            title="t",
        )
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", path.read_text())

    assert figures("a.html") == figures("b.html")


def test_an_interrupted_or_forbidden_write_is_one_clear_line(evaluation: Evaluation, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(TutelageError, match=r"expected to write to .*r\.html"):
        write_report(
            blocked / "r.html",
            suite=SUITE,
            rows=evaluation.rows,
            trajectories=[],
            train_runs=[],
            stores=[],
            title="t",
        )


def test_metrics_are_read_past_a_torn_line_and_averaged_over_tasks(run: Path) -> None:
    metrics = read_metrics(run)
    assert metrics is not None
    loss, success = metrics
    assert loss["loss"][1][0] == 1.0
    assert set(success) == {"go", "pole", "mean"}
    assert success["mean"][1].tolist() == pytest.approx([(1 / 3 + 0.5) / 2, (2 / 3 + 0.5) / 2, 0.75])
    assert read_metrics(run / "none") is None


def test_a_suite_of_one_task_has_a_report_too(evaluation: Evaluation, tmp_path: Path) -> None:
    one = Suite("toy", SUITE.tasks[:1], 12, SUITE.source)
    rows = evaluation.rows.filter(pa.compute.equal(evaluation.rows["task"], "go"))
    path = write_report(
        tmp_path,
        suite=one,
        rows=rows,
        trajectories=evaluation.trajectories,
        train_runs=[],
        stores=[],
        title="one",
    )
    assert Page(path.read_text()).open == []


def test_a_task_that_the_suite_does_not_have_is_shown_up_to_its_longest_episode(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    only = suite_from({"suite": "toy", "tasks": [SUITE.source["tasks"][1]]})
    path = write_report(
        tmp_path,
        suite=only,
        rows=evaluation.rows,
        trajectories=[episode for episode in evaluation.trajectories if episode.task == "pole"],
        train_runs=[],
        stores=[],
        title="only",
    )
    assert Page(path.read_text()).open == []
