"""Charts are plain inline SVG in the page's own colours, with words for who cannot see them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from tutelage.agents.evaluation.comparison import MANY, Comparison
from tutelage.agents.evaluation.report import plots
from tutelage.agents.evaluation.report.html import render_template
from tutelage.agents.evaluation.report.sections import picture
from tutelage.agents.evaluation.report.svg_style import Panel
from tutelage.agents.evaluation.rows import SCHEMA


def comparison(tasks: Sequence[str] = ("goto-local", "cartpole")) -> Comparison:
    generator = np.random.default_rng(0)
    made = []
    for task in tasks:
        for actor, kind, rate in (
            ("bc <1>", "policy", 0.9),
            ("people", "person", 0.8),
            ("dice", "chance", 0.1),
        ):
            for i in range(20):
                success = bool(generator.random() < rate)
                who = f"p{i % 4}" if kind == "person" else actor
                steps, seconds = int(generator.integers(3, 60)), float(generator.random() * 9)
                made.append(
                    (
                        "first-steps",
                        task,
                        actor,
                        kind,
                        who,
                        i,
                        success,
                        rate * i,
                        steps,
                        seconds,
                        f"{task}{actor}{i}",
                        "",
                    )
                )
    return Comparison(pa.table([list(one) for one in zip(*made, strict=True)], SCHEMA))


SERIES = {
    name: (np.array([0.0, 10.0, 20.0]), np.array([0.1, 0.5, end]))
    for name, end in (("mean", 0.8), ("a", 0.7), ("b", 0.9))
}


def all_panels() -> list[Panel]:
    made = comparison()
    limits = {"goto-local": 64, "cartpole": 500}
    return [
        *plots.forest(made),
        *plots.curves(made, limits),
        *plots.effort(made),
        plots.training("run", SERIES, share=True),
        plots.training("run", {"loss": (np.arange(1.0, 50), 5 / np.arange(1.0, 50))}, share=False),
    ]


PANELS = all_panels()


def test_there_is_a_panel_a_task_and_one_for_the_mean() -> None:
    assert [one.heading for one in plots.forest(comparison())] == [
        "goto-local",
        "cartpole",
        "mean over tasks",
    ]


MANY_TASKS = comparison([*(f"task {i}" for i in range(23)), "cartpole"])


def test_many_tasks_are_rows_the_hardest_first_with_everyone_in_them() -> None:
    first, second, by_return = plots.forest(MANY_TASKS)
    assert [first.heading, second.heading] == ["the hardest 12", "13 to 23 of 23"]
    assert by_return.heading == "cartpole"
    rates = [float(one) for one in re.findall(r"bc <1> ([\d.]+)", first.note + second.note)]
    assert len(rates) == 23
    assert rates == sorted(rates)
    assert first.note.count("dice") == 12


def test_of_many_drawings_all_but_the_first_are_folded() -> None:
    drawings = plots.curves(MANY_TASKS, dict.fromkeys(MANY_TASKS.tasks, 64))
    page = render_template("training.html", drawings=drawings)
    shown, folded = page.split("<details>")
    assert shown.count("<figure") == MANY
    assert "<summary>11 more</summary>" in folded
    assert folded.count("<figure") == 11


def test_the_mean_of_as_many_tasks_as_are_shown_is_shown_too() -> None:
    page = picture(comparison([f"task {i}" for i in range(MANY)]))
    assert page.count("<figure") == MANY + 1
    assert "<details>" not in page


def test_time_to_success_leaves_out_tasks_decided_by_their_return() -> None:
    made = comparison()
    assert [one.heading for one in plots.curves(made, {"goto-local": 64, "cartpole": 500})] == ["goto-local"]


def test_effort_shows_one_point_a_person() -> None:
    (first, _) = plots.effort(comparison())
    assert "each of 4 demonstrators" in first.note


@pytest.mark.parametrize("panel", PANELS, ids=lambda one: one.heading)
def test_a_drawing_parses_scales_is_described_and_refers_to_nothing_outside(panel: Panel) -> None:
    root = ElementTree.fromstring(panel.svg)
    assert root.attrib["role"] == "img"
    assert root[0].tag == "title"
    assert root[0].text == panel.note
    assert set(root.attrib) == {"viewBox", "role"}
    assert "http" not in panel.svg
    assert "<style" not in panel.svg
    assert all(one.startswith("#") for one in re.findall(r'href="([^"]*)"', panel.svg))


@pytest.mark.parametrize("panel", PANELS, ids=lambda one: one.heading)
def test_every_colour_is_one_of_the_pages(panel: Panel) -> None:
    assert not re.findall(r"(?:fill|stroke): *#", panel.svg)
    known = {"ink", "muted", "rule", "paper", *(f"kind-{kind}" for kind in plots.MARKERS)}
    assert set(re.findall(r"var\(--([\w-]+)\)", panel.svg)) <= known


def test_text_stays_text_in_the_pages_font() -> None:
    svg = PANELS[0].svg
    assert "bc &lt;1&gt;" in svg
    assert "DejaVu" not in svg


def test_ids_do_not_clash_between_drawings() -> None:
    ids = [set(re.findall(r'id="([^"]*)"', one.svg)) for one in PANELS]
    assert sum(map(len, ids)) == len(set().union(*ids))


def test_the_same_rows_are_drawn_the_same() -> None:
    assert [one.svg for one in PANELS] == [one.svg for one in all_panels()]
