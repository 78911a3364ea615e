"""Without any extra, every verb works, or says in one line which extra it needs."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from tutelage.foreign_code.extras import EXTRAS
from tutelage.tests.support.sources import ROOT

BARE = """
import contextlib, io, json, sys
sys.path[:0] = sys.argv[1:]
from tutelage.cli.main import main
for line in sys.stdin:
    words = json.loads(line)
    out, errors = io.StringIO(), io.StringIO()
    sys.argv = ["tutelage", *words]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            main()
        except SystemExit as error:
            status = error.code
    print(json.dumps({"status": status, "out": out.getvalue(), "errors": errors.getvalue()}), flush=True)
"""
MODULES = """
import importlib, json, pkgutil, sys
sys.path[:0] = sys.argv[1:]
import tutelage
failed = {}
for package in ("envs", "datasets", "files", "foreign_code", "console", "cli"):
    folder = importlib.import_module(f"tutelage.{package}")
    for module in pkgutil.walk_packages(folder.__path__, f"{folder.__name__}."):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            failed[module.name] = error.name
print(json.dumps(failed))
"""
POLE = {"id": "pole", "env": "CartPole-v1", "max_steps": 20, "expert": "cartpole"}
TAXI = {"id": "taxi", "env": "tutelage/Taxi-v0", "expert": "taxi"}
VERBS = [
    # words, the extra that is named, "" where the verb works
    (["simulate", "pole.yaml", "-o", "store", "-n", "4", "--workers", "1"], ""),
    (["inspect", "store", "--workers", "1"], ""),
    (["quality", "store"], ""),
    (["tasks"], ""),
    (["tasks", "pole.yaml", "--json"], ""),
    (["export", "store", "--to", "csv", "-o", "csv"], ""),
    (["export", "store", "--to", "npz", "-o", "npz"], ""),
    (["edit", "store", "tag", "--task", "taxi", "--add", "seen", "--apply"], ""),
    (["edit", "store", "undo", "--apply"], ""),
    (["repair", "store"], ""),
    (["record", "pole.yaml", "-o", "played", "--no-browser"], "crowd"),
    (["serve", "example", "--check"], "crowd"),
    (["browse", "store"], "crowd"),
    (["person", "ann", "--study", "store"], "crowd"),
    (["payments", "--study", "store"], "crowd"),
    (["forget", "ann", "--store", "store"], "crowd"),
    (["train", "store", "-o", "run"], "train"),
    (["evaluate", "run", "-o", "measured"], "train"),
    (["report", "measured", "-o", "report.html"], "train"),
    (["demo", "--no-play", "-o", "demo"], "train"),
    (["simulate", "baby.yaml", "-o", "baby", "-n", "2"], "babyai"),
    (["tasks", "MiniGrid-Empty-5x5-v0"], "babyai"),
    (["simulate", "pole.yaml", "-o", "over-ray", "-n", "4", "--ray", "local"], "ray"),
    (["export", "store", "--to", "minari", "-o", "minari"], "minari"),
    (["import", "minari", "store", "-o", "other"], "minari"),
]
WITH_CROWD = [
    (["serve", "example", "--check"], ""),
    (["record", "web", "-o", "web", "--no-browser"], "web"),
    (["record", "box.yaml", "-o", "box", "--no-browser"], "box2d"),
    (["record", "BabyAI-GoToLocal-v0", "-o", "baby", "--no-browser"], "babyai"),
]
WITH_TRAIN = [(["demo", "--play", "-o", "demo"], "crowd")]
INSTALLS = {"": VERBS, "crowd": WITH_CROWD, "train": WITH_TRAIN}
"""An extra that is installed → the verbs that are tried with it."""
CASES = [(extra, number) for extra, verbs in INSTALLS.items() for number in range(len(verbs))]


def distributions(*extras: str) -> set[str]:
    """Return the names of all distributions that `pip install tutelage[extras]` brings, but its own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names: set[str] = set()
    waiting = [Requirement(text) for text in [*project["dependencies"], f"tutelage[{','.join(extras)}]"]]
    while waiting:
        requirement = waiting.pop()
        name = requirement.name.lower().replace("_", "-")
        if name == "tutelage":
            texts = [text for extra in requirement.extras for text in project["optional-dependencies"][extra]]
            waiting += map(Requirement, texts)
            continue
        wanted_extras = requirement.extras or {""}
        marker = requirement.marker
        if name in names or (marker and not marker.evaluate({"extra": ""})):
            continue
        names.add(name)
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in wanted_extras
            ):
                needed.marker = None
                waiting.append(needed)
    return names


def install(site: Path, *extras: str) -> None:
    """Make a folder of links to tutelage and its packages, for a Python that sees nothing else."""
    for name in distributions(*extras):
        distribution = importlib.metadata.distribution(name)
        for top in {path.parts[0] for path in distribution.files or [] if path.parts[0] != ".."}:
            place = Path(str(distribution.locate_file(top)))
            if place.exists() and top != "__pycache__" and not (site / top).exists():
                (site / top).symlink_to(place)
    (site / "tutelage").symlink_to(ROOT)


def python(code: str, site: Path, folder: Path, words: str = "") -> str:
    """Run code in a Python that has nothing but the standard library and the links; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(site)],  # isolated, and without `site`
        input=words,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "TUTELAGE_PROGRESS": "0"},
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[dict[str, Any]]]:
    """What the verbs of an installation say, one after another in one process."""

    @cache
    def run(extra: str) -> list[dict[str, Any]]:
        folder, site = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("site")
        install(site, *filter(None, [extra]))
        for name, tasks in {
            "pole": [POLE, TAXI],
            "box": [{"id": "box", "env": "LunarLander-v3"}],
            "baby": [{"id": "baby", "env": "BabyAI-GoToRedBallGrey-v0", "expert": "babyai"}],
        }.items():
            (folder / f"{name}.yaml").write_text(yaml.safe_dump({"suite": name, "tasks": tasks}))
        words = "".join(f"{json.dumps(words)}\n" for words, _ in INSTALLS[extra])
        return [json.loads(line) for line in python(BARE, site, folder, words).splitlines()]

    return run


def test_the_base_install_really_lacks_the_extras() -> None:
    base = distributions()
    assert {"numpy", "gymnasium", "typer", "rich"} <= base
    assert not base & {name.lower().replace("_", "-") for name in EXTRAS}
    assert not base & {"pygame-ce", "uvloop", "pyjwt", "anyio", "h11"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("installed", "number"), CASES, ids=[" ".join(INSTALLS[extra][n][0][:2]) for extra, n in CASES]
)
def test_a_verb_works_or_names_its_extra(
    installed: str, number: int, outcomes: Callable[[str], list[dict[str, Any]]]
) -> None:
    _, extra = INSTALLS[installed][number]
    outcome = outcomes(installed)[number]
    if not extra:
        assert (outcome["status"], outcome["errors"]) == (0, "")
        return
    assert outcome["status"] == 2
    lines = outcome["errors"].splitlines()
    assert len(lines) == 1, outcome["errors"]
    assert lines[0].startswith("tutelage: ")
    assert f"pip install 'tutelage[{extra}]'" in lines[0]


def test_every_module_but_these_is_imported_without_an_extra(tmp_path: Path) -> None:
    install(tmp_path)
    failed = json.loads(python(MODULES, tmp_path, tmp_path))
    assert {module: EXTRAS[name] for module, name in failed.items()} == {
        "tutelage.cli.demo": "train",
        "tutelage.datasets.formats.robomimic_export": "minari",
        "tutelage.datasets.formats.robomimic_storage": "minari",
    }


def test_every_package_that_is_installed_for_development_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = {line.partition("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    assert distributions("dev") <= pins


def test_every_extra_is_one_of_the_project() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    for module, extra in EXTRAS.items():
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), (module, extra)
