"""`tutelage report` writes the table, the rows and every plot as files that their own readers open."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor
from tutelage.agents.evaluation.evaluate import evaluate
from tutelage.agents.evaluation.report.figure_files import file_name
from tutelage.agents.evaluation.report.svg_style import PAPER_COLORS
from tutelage.cli.main import app
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError
from typer.testing import CliRunner, Result

TASKS = [
    {"id": name, "env": "CartPole-v1", "expert": "cartpole", "max_steps": 20} for name in ("pole", "Pole")
]


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured") / "evaluation"
    policy = ChanceActor("policy")
    policy.kind = "policy"
    suite = suite_from({"suite": "twins", "tasks": TASKS})
    evaluate(suite, [policy, ExpertActor(), ChanceActor(seed=3)], episodes=4, out=folder)
    return folder


def report(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["report", *(str(word) for word in words)])


@pytest.fixture(scope="module")
def written(evaluation: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("paper")
    words: list[str | Path] = [evaluation, "-o", out / "page.html", "--figures", out / "figures", "--json"]
    for name in ("table.csv", "table.tex", "table.md"):
        words += ["--table", out / name]
    for name in ("rows.csv", "rows.parquet"):
        words += ["--rows", out / name]
    done = report(*words)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["verb"], document["page"]) == ("report", str(out / "page.html"))
    assert sorted(document["figures"]) == sorted(map(str, (out / "figures").iterdir()))
    return out


@pytest.mark.slow
def test_all_rows_are_there_as_parquet_and_as_csv(written: Path, evaluation: Path) -> None:
    table = pq.read_table(written / "rows.parquet")
    assert table.equals(pq.read_table(evaluation / "rows.parquet"))
    lines = list(csv.DictReader(io.StringIO((written / "rows.csv").read_text())))
    assert len(lines) == len(table) == 24
    for line, row in zip(lines, table.to_pylist(), strict=True):
        assert {name: str(value) for name, value in row.items()} == line


def test_the_table_is_there_in_three_forms(written: Path) -> None:
    assert len(list(csv.DictReader(io.StringIO((written / "table.csv").read_text())))) == 9
    assert r"\toprule" in (written / "table.tex").read_text()
    assert (written / "table.md").read_text().startswith("| task | measure | policy | expert | random |")


@pytest.mark.slow
def test_every_plot_is_there_as_svg_and_png_in_the_colours_of_paper(written: Path) -> None:
    names = sorted(path.name for path in (written / "figures").iterdir())
    assert {
        "success-pole.svg",
        "success-pole.png",
        "success-Pole-2.svg",
        "success-mean-over-tasks.png",
    } <= set(names)
    for path in (written / "figures").iterdir():
        if path.suffix == ".svg":
            text = path.read_text("utf-8")
            assert ElementTree.fromstring(text).tag.endswith("svg")
            assert "var(--" not in text
            assert not re.search(r"#0000[01]\d", text)  # no stand-in is left
        else:
            pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
            colours = {"#{:02x}{:02x}{:02x}".format(*pixel) for pixel in np.unique(pixels, axis=0)}
            assert "#ffffff" in colours
            assert PAPER_COLORS["kind-policy"] in colours
            assert "#000011" not in colours
            edge = np.asarray(Image.open(path).convert("RGB"))
            assert (edge[:, -2:] == 255).all(), "something is cut at the right"


def test_the_page_holds_the_same_files(written: Path) -> None:
    page = (written / "page.html").read_text("utf-8")
    held = re.search(r'id="files-held">(.*?)</script>', page)
    assert held is not None
    files = json.loads(held[1])["files"]
    for name in ("table.csv", "table.tex", "table.md", "rows.csv"):
        assert gzip.decompress(base64.b64decode(files[name])) == (written / name).read_bytes()
    rows = pq.read_table(io.BytesIO(gzip.decompress(base64.b64decode(files["rows.parquet"]))))
    assert rows.equals(pq.read_table(written / "rows.parquet"))


def test_without_a_page_only_what_was_asked_for_is_written(
    evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert report(evaluation, "--table", "t.md").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["t.md"]


@pytest.mark.parametrize(("flag", "name"), [("--table", "t.xlsx"), ("--rows", "r.tex"), ("--table", "table")])
def test_an_unknown_ending_is_refused_before_anything_is_written(
    flag: str, name: str, evaluation: Path, tmp_path: Path
) -> None:
    done = report(evaluation, "-o", tmp_path / "page.html", flag, tmp_path / name)
    assert isinstance(done.exception, TutelageError)
    assert f"expected {flag} to name a file that ends in" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("heading", ["../../x", "a/b", "", "CON\n", "x" * 400, "$(rm)", "日本"])
def test_a_heading_makes_a_plain_file_name(heading: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}", file_name(heading))


def test_a_file_in_the_place_of_the_folder_is_refused(evaluation: Path, tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("a file")
    done = report(evaluation, "--figures", tmp_path / "figures")
    assert "expected a folder for figures" in str(done.exception)


DRAW = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "safetensors", "tensorboard"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
sys.argv = ["tutelage", "report", *sys.argv[1:]]
from tutelage.cli.main import main
main()
"""


@pytest.mark.slow
def test_an_evaluation_is_told_without_the_packages_of_a_policy(evaluation: Path, tmp_path: Path) -> None:
    words = [evaluation, "--figures", tmp_path / "figures", "--table", tmp_path / "table.csv"]
    done = subprocess.run(
        [sys.executable, "-c", DRAW, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert any((tmp_path / "figures").iterdir())
