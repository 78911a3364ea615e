"""`-o` of every verb: nothing is written among things of another kind, or computed for it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tutelage.agents.evaluation.actors import ChanceActor
from tutelage.agents.evaluation.evaluate import evaluate
from tutelage.cli.main import app
from tutelage.datasets.formats.exchange import export_store
from tutelage.datasets.simulation.simulated_crowd import simulate
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.tests.support.command_line import run
from typer.main import get_command

SUITE = {
    "suite": "poles",
    "tasks": [{"id": "pole", "env": "CartPole-v1", "max_steps": 5, "expert": "cartpole"}],
}
KINDS = ("store", "study", "run", "evaluation", "export", "file", "foreign")

VERBS = {
    # words, without what is named by -o → kinds that the verb takes; only those that end at once are tried
    "record mine.yaml --no-browser": ("store",),
    "simulate mine.yaml -n 1 --workers 1": ("store",),
    "serve example --links 1": ("study", "store"),
    "import minari store": ("store",),
    "export store --to csv": (),
    "export store --to minari": ("export", "foreign"),
    "train store": ("run",),
    "evaluate run": ("evaluation",),
    "report evaluation": ("evaluation", "foreign", "file"),
    "report evaluation --figures": ("evaluation", "foreign"),
    "demo --no-play": (),
    "edit store filter --all": (),
    "edit store split --all": (),
    "payments --study study": ("file",),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with one thing of each kind."""
    place = tmp_path_factory.mktemp("folders")
    suite = suite_from(SUITE)
    (place / "mine.yaml").write_text(json.dumps(SUITE))
    store = Store.create(place / "store", suite)
    simulate(suite, store, {"pole": 2}, workers=1)
    evaluate(suite, [ChanceActor()], episodes=1, out=place / "evaluation")
    export_store(store, "csv", place / "export")
    Store.create(place / "study", suite)
    (place / "study" / "secret.key").write_bytes(b"0" * 32)
    for name in ("run/metrics.jsonl", "foreign/thesis.tex", "file"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text("mine\n")
    return place


def content(place: Path) -> dict[str, str]:
    """Return every file with the hash of its bytes, and folders; locks and caches do not count."""
    return {
        str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(place.rglob("*"))
        if path.name != ".lock"
    }


@pytest.mark.slow
@pytest.mark.parametrize("words", VERBS)
def test_a_verb_writes_nothing_among_things_of_another_kind(words: str, folders: Path) -> None:
    before = content(folders)
    for kind in KINDS:
        if kind in VERBS[words]:
            continue
        flag = [] if words.endswith("--figures") else ["-o"]
        done = run(*words.split(), *flag, kind, cwd=folders, seconds=60)
        line = done.stderr.strip().splitlines()[-1]
        assert done.returncode == 2, (words, kind, done.stdout, done.stderr)
        assert line.startswith("tutelage: expected"), (words, kind, line)
        assert kind in line, (words, kind, line)
        assert content(folders) == before, (words, kind)


def test_a_report_replaces_no_part_of_anything(folders: Path) -> None:
    before = content(folders)
    for flag, name in (
        ("-o", "store/dataset.yaml"),
        ("--rows", "evaluation/rows.parquet"),
        ("--table", "export/steps.csv"),
        ("-o", "file/report.html"),
    ):
        done = run("report", "evaluation", flag, name, cwd=folders)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), (name, done.stderr)
        assert content(folders) == before, name


def test_every_verb_with_an_out_is_in_the_table() -> None:
    tried = {words.split()[0] for words in VERBS}
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    with_out = {
        name
        for name, verb in verbs.items()
        if any("-o" in parameter.opts for parameter in verb.params)
        or any(
            "-o" in option.opts for inner in getattr(verb, "commands", {}).values() for option in inner.params
        )
    }
    assert with_out == tried
