"""Every verb, given a file that names a page: it says so in one line, and starts no browser."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from tutelage.agents.evaluation.rows import rows_from
from tutelage.agents.evaluation.saved_evaluation import NewEvaluation
from tutelage.agents.policy.checkpoint import save
from tutelage.agents.policy.encoding import ActionPart, Encoding, IOSpec, ObservationSpec
from tutelage.agents.policy.policy import Policy, PolicyConfig
from tutelage.cli.main import main
from tutelage.datasets.formats.exchange import export_store
from tutelage.datasets.formats.export_marker import write_marker
from tutelage.datasets.store import Store
from tutelage.envs.admission import SHOWN
from tutelage.envs.suite import Suite, suite_from
from tutelage.envs.task import TEST
from tutelage.envs.web.browser import PROGRAM
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.support.sources import ROOT

PAGES = ROOT / "tests" / "envs" / "web" / "pages"
ENV = "tutelage/web.click-test-v0"


def named(page: Path) -> Suite:
    task = {"id": "form", "env": ENV, "kwargs": {"task": str(page)}, "instruction": "press", "max_steps": 20}
    return suite_from({"suite": "handed-over", "tasks": [task], "evaluation": {"episodes": 2}})


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory, fill: Callable[..., Store]) -> Path:
    """Give a folder of all that an attacker may hand over, each naming a page that lies in it."""
    folder = tmp_path_factory.mktemp("handed over")
    page = folder / "form.html"
    page.write_bytes((PAGES / "form.html").read_bytes())
    suite = named(page)
    (folder / "suite.yaml").write_text(yaml.safe_dump(dict(suite.source)))
    honest = suite_from({"suite": "honest", "tasks": [{"id": "form", "env": "CartPole-v1", "max_steps": 20}]})
    filled = fill(honest, 1, 2)
    played = [
        replace(trajectory, suite=suite.name, env=ENV, kwargs=suite["form"].kwargs)
        for trajectory in filled.trajectories()
    ]
    Store.create(folder / "store", suite).append(played)
    tested = [replace(trajectory, seed=TEST.start + at) for at, trajectory in enumerate(played)]
    with NewEvaluation(folder / "evaluation", suite) as evaluation:
        evaluation.store.append(tested)
        evaluation.finish(rows_from(tested, "policy"), {})
    seen = ObservationSpec("", "vector", (2,), edges=((0.0, 0.5, 1.0), (-1.0, 0.0, 2.0)))
    encoding = Encoding((IOSpec((seen,), (ActionPart("choice", 2, 0.0),)),), {"form": (0, "press")})
    torch.manual_seed(0)
    save(Policy(PolicyConfig(size=1, window=4), encoding), folder / "kept", suite=suite, lineage={})
    for name in ("minari", "foreign", "lerobot"):
        export_store(filled, name.replace("foreign", "minari"), folder / name)
    _reseal(folder / "minari", "minari", suite)
    _reseal(folder / "lerobot", "lerobot", suite)
    _as_others_write(folder / "foreign", suite)
    (folder / "study.yaml").write_text(STUDY)
    return folder


STUDY = """
study: handed-over
suite: suite.yaml
people: 2
consent: You agree.
episodes: 1
"""


def _reseal(folder: Path, to: str, suite: Suite) -> None:
    """Let an export of ours name the suite, with every hash right: the attacker knows how."""
    path = next(folder.rglob("tutelage.json"))
    dataset = path.parents[1]
    marker = json.loads(path.read_text())
    path.unlink()
    write_marker(dataset, to, marker["token"], marker["task"], marker["episodes"], suite.source)


def _as_others_write(folder: Path, suite: Suite) -> None:
    """Make a Minari dataset one that another program wrote."""
    next(folder.rglob("tutelage.json")).unlink()
    path = next(folder.rglob("metadata.json"))
    document = json.loads(path.read_text())
    document.pop("tutelage", None)
    spec = json.loads(document["env_spec"])
    document["env_spec"] = json.dumps(spec | {"id": ENV, "kwargs": dict(suite["form"].kwargs)})
    path.write_text(json.dumps(document))


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the file that a started browser would write."""
    program, canary = tmp_path / "headless-shell", tmp_path / "started"
    program.write_text(f"#!/bin/sh\ntouch '{canary}'\n")
    program.chmod(0o755)
    monkeypatch.setenv(PROGRAM, str(program))
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setenv(SHOWN, "")
    return canary


def run(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int | str | None:
    """Run the command line; returns its status."""
    monkeypatch.setattr(sys, "argv", ["tutelage", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


ACTING = {
    "record": "record suite.yaml -o OUT --no-browser --port 0",
    "serve": "serve study.yaml -o OUT --port 0",
    "serve --check": "serve study.yaml --check",
    "simulate": "simulate suite.yaml -o OUT -n 2",
    "inspect": "inspect store",
    "browse": "browse store --no-browser",
    "edit trim": "edit store trim --all",
    "export minari": "export store --to minari -o OUT",
    "export lerobot": "export store --to lerobot -o OUT",
    "import minari": "import minari minari -o OUT",
    "import minari of others": "import minari foreign -o OUT",
    "import lerobot": "import lerobot lerobot -o OUT",
    "train": "train store -o OUT --steps 1 --size 1",
    "evaluate": "evaluate kept -o OUT",
    "evaluate --suite": "evaluate kept -o OUT --suite suite.yaml --workers 2",
    "report": "report evaluation -o OUT",
}


@pytest.mark.parametrize("verb", ACTING)
def test_a_verb_that_would_run_the_page_says_so_in_one_line(
    handed: Path,
    started: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    verb: str,
) -> None:
    monkeypatch.chdir(handed)
    before = sorted(handed.rglob("*"))
    assert run(monkeypatch, *ACTING[verb].replace("OUT", str(tmp_path / "out")).split()) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line]
    task = "honest-v0" if "foreign" in ACTING[verb] else "form"
    assert lines == [
        f"tutelage: task {task!r}: expected nothing here to act by itself, but this would run the page "
        f"{handed}/form.html; if you know where it comes from, say --trust '{handed}'"
    ]
    assert not started.exists()
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert sorted(handed.rglob("*")) == before


@pytest.mark.parametrize(
    "words", ["inspect store --no-verify", "quality store", "tasks suite.yaml", "edit store list"]
)
def test_a_verb_that_lists_runs_nothing_and_lists(
    handed: Path,
    started: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    words: str,
) -> None:
    monkeypatch.chdir(handed)
    lists_problems = words.startswith("tasks")
    assert run(monkeypatch, *words.split(), "--json") == (2 if lists_problems else 0)
    told = capfd.readouterr()
    assert ("--trust" in told.err) if lists_problems else not told.err.strip()
    listed = json.loads(told.out)
    if words.startswith("inspect"):
        assert (listed["episodes"], listed["tasks"][0]["env"]) == (2, ENV)
    elif words.startswith("quality"):
        assert len(listed["people"]) == 1
    elif words.startswith("edit"):
        assert len(listed["episodes"]) == 2
    else:
        assert listed["tasks"][0]["problem"].endswith(f"say --trust '{handed}'")
    assert not started.exists()


def test_with_trust_what_will_run_is_shown_once_and_then_it_runs(
    handed: Path, started: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(handed)
    monkeypatch.delenv(PROGRAM)
    assert run(monkeypatch, "tasks", "suite.yaml", "--json", "--trust", ".") == 0
    told = capfd.readouterr()
    assert told.err == f"trusting {handed}: page form.html will run\n"
