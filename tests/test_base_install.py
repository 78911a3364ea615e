"""Without any extra, every verb works, or says in one line which extra it needs."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from tutelage.foreign_code.extras import EXTRAS

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
POLE = {"id": "pole", "env": "CartPole-v1", "max_steps": 20, "expert": "cartpole"}
VERBS = [
    # words, the extra that is named, "" where the verb works
    (["simulate", "pole.yaml", "-o", "store", "-n", "4", "--workers", "1"], ""),
    (["inspect", "store", "--workers", "1"], ""),
    (["quality", "store"], ""),
    (["tasks", "pole.yaml", "--json"], ""),
    (["serve", "example", "--check"], ""),
    (["train", "store", "-o", "run"], "train"),
    (["evaluate", "run", "-o", "measured"], "train"),
    (["report", "measured", "-o", "report.html"], "train"),
    (["demo", "--no-play", "-o", "demo"], "train"),
    (["record", "web", "-o", "web", "--no-browser"], "web"),
    (["record", "box.yaml", "-o", "box", "--no-browser"], "box2d"),
    (["simulate", "baby.yaml", "-o", "baby", "-n", "2"], "babyai"),
    (["tasks", "MiniGrid-Empty-5x5-v0"], "babyai"),
    (["record", "BabyAI-GoToLocal-v0", "-o", "baby", "--no-browser"], "babyai"),
    (["simulate", "pole.yaml", "-o", "over-ray", "-n", "4", "--ray", "local"], "ray"),
    (["export", "store", "--to", "minari", "-o", "minari"], "minari"),
    (["import", "minari", "store", "-o", "other"], "minari"),
]


def base_distributions() -> set[str]:
    """Return the names of all distributions that a plain `pip install tutelage` brings, but its own."""
    modules: set[str] = set()
    waiting = [Requirement(text) for text in importlib.metadata.requires("tutelage") or []]
    while waiting:
        requirement = waiting.pop()
        name = requirement.name.lower().replace("_", "-")
        extras = requirement.extras or {""}
        marker = requirement.marker
        if name in modules or (marker and not marker.evaluate({"extra": ""})):
            continue
        modules.add(name)
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                needed.marker = None
                waiting.append(needed)
    return modules


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What every verb says, one after another, in a process that has the base packages and no other."""
    folder, site = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("site")
    for name in base_distributions():
        distribution = importlib.metadata.distribution(name)
        for top in {path.parts[0] for path in distribution.files or [] if path.parts[0] != ".."}:
            place = Path(str(distribution.locate_file(top)))
            if place.exists() and top != "__pycache__" and not (site / top).exists():
                (site / top).symlink_to(place)
    (site / "tutelage").symlink_to(Path(__file__).resolve().parent.parent)
    for name, task in {
        "pole": POLE,
        "box": {"id": "box", "env": "LunarLander-v3"},
        "baby": {"id": "baby", "env": "BabyAI-GoToRedBallGrey-v0", "expert": "babyai"},
    }.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"suite": name, "tasks": [task]}))
    # isolated and without `site`: nothing but the standard library and the folder of links
    command = [sys.executable, "-I", "-S", "-c", BARE, str(site)]
    done = subprocess.run(
        command,
        input="".join(f"{json.dumps(words)}\n" for words, _ in VERBS),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "TUTELAGE_PROGRESS": "0"},
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_base_install_really_lacks_the_extras() -> None:
    base = base_distributions()
    assert {"numpy", "gymnasium", "typer", "rich"} <= base
    assert not base & {name.lower().replace("_", "-") for name in EXTRAS}


@pytest.mark.parametrize("at", range(len(VERBS)), ids=[" ".join(words[:2]) for words, _ in VERBS])
def test_a_verb_works_or_names_its_extra(at: int, bare: list[dict[str, Any]]) -> None:
    _, extra = VERBS[at]
    advice = bare[at]
    if not extra:
        assert (advice["status"], advice["errors"]) == (0, "")
        return
    assert advice["status"] == 2
    lines = advice["errors"].splitlines()
    assert len(lines) == 1, advice["errors"]
    assert lines[0].startswith("tutelage: ")
    assert f"pip install 'tutelage[{extra}]'" in lines[0]


def test_every_extra_is_one_of_the_project() -> None:
    project = (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text()
    for module, extra in EXTRAS.items():
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), (module, extra)
