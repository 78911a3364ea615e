"""Templates of the report: what strangers wrote stays text, and a forgotten placeholder is an error."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from jinja2 import UndefinedError
from markupsafe import Markup
from tutelage.agents.evaluation.comparison import Comparison
from tutelage.agents.evaluation.diagnostics import Diagnostics
from tutelage.agents.evaluation.report import html as report_html
from tutelage.agents.evaluation.report import sections
from tutelage.agents.evaluation.report.html import render_template
from tutelage.agents.evaluation.report.report import write_report
from tutelage.agents.evaluation.report.svg_style import Panel
from tutelage.agents.evaluation.rows import SCHEMA
from tutelage.envs.suite import Suite, suite_from
from tutelage.tests.support.sources import ROOT

MARKUP = "</title></section></script><script>alert('1')</script>\"&<b>"
HOSTILE = MARKUP + "{{ title }}{% endblock %}$title"
CONTROLS = "\x1b]0;owned\x07\x1b[2J\u202e\r"
ACTING = {"\x1b", "\x07", "\u202e", "\r"}
TEMPLATES = sorted(Path(report_html.__file__).parent.joinpath("templates").glob("*.html"))
TASK = "pole"


def suite() -> Suite:
    task = {"env": "CartPole-v1", "expert": "cartpole", "max_steps": 5}
    return suite_from({"suite": "toy", "tasks": [{"id": name, **task} for name in (TASK, "cart", "broken")]})


def rows(hostile: str) -> pa.Table:
    made = []
    for task in (TASK, "cart", "broken"):
        for kind in ("policy", "person", "simulated", "expert", "chance"):
            for seed in range(3):
                outcome = (kind == "expert", float(seed), 5, 1.0, f"{task}{kind}{seed}", "")
                if task == "broken":
                    outcome = (None, None, None, None, f"{task}{kind}{seed}", hostile)
                made.append((hostile, task, f"{kind} {hostile}", kind, hostile, seed, *outcome))
    return pa.table([list(column) for column in zip(*made, strict=True)], SCHEMA)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = write_report(
        tmp_path_factory.mktemp("hostile") / "report.html",
        suite=replace(suite(), name=HOSTILE + CONTROLS),
        rows=rows(HOSTILE),  # the font has no glyphs for control characters
        trajectories=[],
        train_runs=[],
        stores=[],
        title=HOSTILE + CONTROLS,
    )
    return path.read_text("utf-8")


def test_a_hostile_text_anywhere_in_a_report_stays_text(page: str) -> None:
    assert page.count("<script>") == 0
    assert page.count("</title>") == 1 + page.count("<svg viewBox")  # each plot has a title of its own
    assert page.count("</script>") == 4
    assert len(re.findall(r'<section id="\w+"><h2>', page)) == page.count("</section>") > 5
    assert "policy &lt;/title&gt;" in page
    assert "{{ title }}" in page  # no template within a template
    assert not ACTING & set(page)
    assert "\\x1b]0;owned\\x07" in page


@pytest.mark.parametrize("hostile", [HOSTILE, CONTROLS])
def test_no_table_lets_a_name_act(hostile: str) -> None:
    comparison = Comparison(rows(hostile), suite())
    habits = [
        Diagnostics(hostile, actor, 1, 1, 0.5, 0.5, 1.0, 2.0, 1.0) for actor in (comparison.subject, hostile)
    ]
    text = "".join(
        (
            sections.standing(comparison),
            sections.headline(comparison),
            sections.failures(comparison),
            sections.paired(comparison),
            sections.habits(comparison, habits),
            render_template("worst.html", subject=hostile, is_folded=True, tasks=[hostile]),
            render_template("made.html", facts={hostile: hostile}, is_test=True),
            render_template("training.html", drawings=[Panel(hostile, hostile, Markup("<svg></svg>"))]),
            render_template("data.html", kinds=[hostile], rows=[], total=sections.DatasetRow(*[hostile] * 6)),
        )
    )
    assert not ACTING & set(text)
    assert "alert('1')" not in text
    assert text.count("<section") == text.count("</section>") == 8


def test_texts_in_a_script_element_cannot_end_it() -> None:
    page = render_template(
        "report.html",
        **dict.fromkeys(("title", "subtitle", "style", "script", "downloads"), ""),
        sections=[],
        replays=[{"instruction": MARKUP, "total": float("nan")}],
        files={},
    )
    held = re.search(r'id="replays">(.*?)</script>', page)
    assert held is not None
    assert json.loads(held[1]) == [{"instruction": MARKUP, "total": None}]


def test_an_undefined_placeholder_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="tasks"):
        render_template("worst.html", subject="novice", is_folded=False)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_takes_text_for_html(path: Path) -> None:
    assert not re.search(r"\|\s*safe|autoescape", path.read_text("utf-8"))


def test_the_templates_of_pages_take_no_text_for_html_either() -> None:
    paths = sorted((ROOT / "crowd" / "templates").glob("*.html"))
    assert paths
    assert not [path for path in paths if re.search(r"\|\s*safe|autoescape", path.read_text("utf-8"))]
