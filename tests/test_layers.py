"""The shape of the code: imports go one way, without cycles; each file says what it does."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from tutelage.tests.support.sources import FOLDERS, MODULES, ROOT

ORDER = (
    {"errors"},
    {"intervals"},
    {"console"},
    {"files"},
    {"foreign_code"},
    {"envs"},
    {"datasets"},
    {"crowd", "agents"},  # which do not know each other
    {"api"},
    {"cli"},
)
"""What stands at the root; a module imports what stands before it, and its own folder."""

VAGUE = {"utils", "util", "common", "helpers", "helper", "base", "core", "misc"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path) for path in MODULES}


def imported(path: Path) -> set[str]:
    """Return the modules of the package that a module imports, anywhere in it."""
    package = list(path.relative_to(ROOT).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package[: len(package) - (node.level - 1)]
            start = ".".join([*above, *([node.module] if node.module else [])])
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tutelage":
            start = (node.module or "").removeprefix("tutelage").strip(".")
        else:
            continue
        for item in node.names:
            module = f"{start}.{item.name}".strip(".")
            found.add(module if module in NAMES else start)
    return found - {dotted(path)}


def place(module: str) -> int:
    return next((at for at, names in enumerate(ORDER) if module.split(".")[0] in names), len(ORDER))


def test_every_folder_has_its_place_in_the_order() -> None:
    assert set(FOLDERS) == {name for names in ORDER for name in names} - {"errors", "intervals"}


@pytest.mark.slow
def test_imports_go_one_way_between_folders() -> None:
    wrong = []
    for path in MODULES:
        module = dotted(path)
        for target in imported(path):
            same = module.split(".")[0] == target.split(".")[0]
            if target and not same and place(target) >= place(module):
                wrong.append(f"{name_of(path)} imports {target}")
    assert not wrong


def test_the_resolver_of_relative_imports_sees_what_is_there() -> None:
    targets = imported(ROOT / "crowd" / "server" / "recorder_app.py")
    assert {"errors", "crowd.seats.protocol", "envs.suite"} <= targets


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["tutelage", "tutelage.envs.suite", "tutelage.crowd.server.recorder_app", "tutelage.cli.main"]
)
def test_recording_needs_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or f"importing {module} imports torch"


def test_only_agents_and_what_stands_above_them_import_torch() -> None:
    for path in MODULES:
        if path.relative_to(ROOT).parts[0] in ("agents", "api", "cli"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [item.name for item in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert "torch" not in {name.split(".")[0] for name in names}, name_of(path)


@pytest.mark.slow
def test_the_first_line_of_a_module_says_what_it_does() -> None:
    firsts = {name_of(path): first_line(path) for path in MODULES if path.stat().st_size}
    assert not {name: first for name, first in firsts.items() if not is_sentence(first)}


def first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return docstring.splitlines()[0] if docstring else ""


def is_sentence(text: str) -> bool:
    return len(text.split()) >= 3 and text.endswith((".", "!", "?"))


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert not [
        name_of(path) for path in MODULES if VAGUE & set(path.relative_to(ROOT).with_suffix("").parts)
    ]
