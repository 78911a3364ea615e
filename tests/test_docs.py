"""The documents: written from the program, complete, and every command in them runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from tutelage.cli.main import app
from tutelage.tests.support.command_line import run
from tutelage.tests.support.sources import ROOT

ORDER = ("README.md", "docs/tasks.md", "docs/demonstrations.md", "docs/policy.md", "docs/evaluation.md")
"""Later pages use what earlier ones made, as a reader would; pages that are not named come last."""

BLOCK = re.compile(r"(?P<before>[^\n]*)\n+```console\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: .+ -->")


def pages() -> list[Path]:
    paths = sorted((ROOT / "docs").rglob("*.md"))
    rest = [path for path in paths if path.relative_to(ROOT).as_posix() not in ORDER]
    return [*(ROOT / name for name in ORDER), *rest]


def commands(text: str) -> list[str]:
    """Return what is typed in the console blocks that run; `> ` and `\\` continue a command."""
    found: list[str] = []
    for block in BLOCK.finditer("\n" + text):
        if NOT_RUN.fullmatch(block["before"].strip()):
            continue
        typed: list[str] = []
        for line in block["text"].splitlines():
            if line.startswith("$ "):
                typed.append(line[2:])
            elif typed and (line.startswith("> ") or typed[-1].endswith("\\")):
                typed[-1] += "\n" + line.removeprefix("> ")
        found += typed
    return found


@pytest.mark.slow
def test_the_command_line_page_is_what_the_program_says() -> None:
    fresh = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_cli.py"), "--print"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == fresh.stdout, "out of date; run: make docs"


def test_every_verb_is_told_about() -> None:
    told = "\n".join(path.read_text("utf-8") for path in pages() if path.name not in ("cli.md", "log.md"))
    assert not [verb for verb in typer.main.get_group(app).commands if f"tutelage {verb}" not in told]


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in pages():
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_blocks_are_read_as_a_reader_types_them() -> None:
    runs = "```console\n$ a \\\n  b\nout\n$ cat <<E\n> x\n> E\n```\n\n"
    text = runs + "<!-- not run: long -->\n```console\n$ c\n```\n"
    assert commands(text) == ["a \\\n  b", "cat <<E\nx\nE"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_command_of_the_pages_runs(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}

    def type_in(command: str) -> subprocess.CompletedProcess[str]:
        if command.startswith("tutelage ") and not set(command) & set("|<>$;&*`\n"):
            return run(*shlex.split(command)[1:], cwd=tmp_path, seconds=300)
        return subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    for page in pages():
        for command in commands(page.read_text("utf-8")):
            done = type_in(command)
            assert done.returncode == 0, f"{page.name}: {command}\n{done.stdout[-1000:]}{done.stderr[-2000:]}"
            assert "Traceback" not in done.stderr, f"{page.name}: {command}\n{done.stderr[-2000:]}"
