"""The shape of the code: imports go one way, each file says what it does."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import tutelage

ROOT = Path(tutelage.__file__).parent
FOLDERS = ("envs", "datasets", "agents")  # each may import itself and what stands before it
MODULES = sorted(
    [one for folder in FOLDERS for one in (ROOT / folder).rglob("*.py")]
    + [*ROOT.glob("cli*.py"), ROOT / "__init__.py"]
)
VAGUE = {"utils", "util", "common", "helpers", "helper", "base", "core", "misc"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> set[str]:
    """Return the dotted names, below the package, of whatever a module imports of it."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    package = list(parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package[: len(package) - (node.level - 1)]
            start = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{start}.{one.name}".strip(".") for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tutelage":
            start = node.module.removeprefix("tutelage").strip(".")
            found |= {f"{start}.{one.name}".strip(".") for one in node.names}
        elif isinstance(node, ast.Import):
            found |= {
                one.name.removeprefix("tutelage").strip(".")
                for one in node.names
                if one.name.split(".")[0] == "tutelage"
            }
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_go_from_agents_to_datasets_to_envs_and_never_back(folder: str) -> None:
    allowed = FOLDERS[: FOLDERS.index(folder) + 1]
    wrong = [
        f"{name_of(path)} imports {target or 'the package itself'}"
        for path in (ROOT / folder).rglob("*.py")
        for target in imported(path)
        if target.split(".")[0] not in allowed
    ]
    assert not wrong


def test_the_resolver_of_relative_imports_sees_what_is_there() -> None:
    seen = imported(ROOT / "datasets" / "crowd" / "app.py")
    assert "envs.errors.TutelageError" in seen
    assert "datasets.trajectory.Trajectory" in seen


@pytest.mark.parametrize(
    "module", ["tutelage", "tutelage.envs.suite", "tutelage.datasets.crowd.app", "tutelage.cli"]
)
def test_recording_needs_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or f"importing {module} imports torch"


def test_envs_and_datasets_never_mention_torch_in_an_import() -> None:
    for path in (*(ROOT / "envs").rglob("*.py"), *(ROOT / "datasets").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert "torch" not in {one.split(".")[0] for one in names}, name_of(path)


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
