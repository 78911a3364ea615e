"""The ruler for the package's code: sizes, cycles, names and comments, printed and held."""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median

import pytest
from tutelage.tests.support.sources import MODULES, ROOT
from tutelage.tests.test_layers import NAMES, dotted, imported

VAGUE_NAMES = ("one", "some", "found", "known", "wanted", "seen", "said", "own", "at", "each")
"""Names that are pronouns, participles or prepositions: they do not say what a variable holds."""

MOST_MODULES = 20
"""In one folder."""

COMMENTED = ("agents/policy", "envs/grid")
"""Folders whose code is mathematics: a reader needs shapes, units and reasons beside it."""


def names_bound(tree: ast.AST) -> Counter[str]:
    """Count the names that a module binds: variables, loop variables and parameters."""
    names: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names[node.id] += 1
        elif isinstance(node, ast.arg):
            names[node.arg] += 1
    return names


def comments_per_hundred(paths: list[Path]) -> float:
    """Return comments per hundred lines of code; docstrings and empty lines are no code."""
    comments = lines = 0
    for path in paths:
        text = path.read_text("utf-8")
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        comments += sum(token.type == tokenize.COMMENT and "noqa" not in token.string for token in tokens)
        lines += sum(bool(line.strip()) for line in text.splitlines())
    return 100 * comments / lines


def test_no_import_cycle_between_files() -> None:
    graph = {dotted(path): {name for name in imported(path) if name in NAMES} for path in MODULES}
    for folder in [name for name in graph if (ROOT / name.replace(".", "/") / "__init__.py").is_file()]:
        graph[folder] = {name for name in graph[folder] if not name.startswith(f"{folder}.")}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"a cycle of imports: {' -> '.join(error.args[1])}") from None


def test_no_folder_is_too_full() -> None:
    folders = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    assert not {str(folder): count for folder, count in folders.items() if count > MOST_MODULES}


def test_variables_are_named_after_what_they_hold() -> None:
    names: Counter[str] = Counter()
    places: dict[str, list[str]] = {}
    for path in MODULES:
        bound = names_bound(ast.parse(path.read_text("utf-8")))
        names += bound
        for name in VAGUE_NAMES:
            if bound[name]:
                places.setdefault(name, []).append(path.relative_to(ROOT).as_posix())
    vague = {name: names[name] for name in VAGUE_NAMES}
    share = sum(vague.values()) / names.total()
    print(f"names: {names.total()}, of them vague: {100 * share:.2f} % {vague}")
    assert not names["one"], places["one"]
    assert share < 0.01, places


def test_mathematics_has_its_comments() -> None:
    for folder in COMMENTED:
        paths = [path for path in MODULES if path.relative_to(ROOT).as_posix().startswith(f"{folder}/")]
        density = comments_per_hundred(paths)
        print(f"comments in {folder}: {density:.1f} per hundred lines")
        assert 4 <= density <= 8, folder


@pytest.mark.slow
def test_the_ruler_is_printed() -> None:
    lengths, functions = [], []
    for path in MODULES:
        text = path.read_text("utf-8")
        lengths.append(text.count("\n"))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.append((node.end_lineno or node.lineno) - node.lineno + 1)
    print(f"files: {len(lengths)}, lines: median {median(lengths):.0f}, longest {max(lengths)}")
    print(f"functions: {len(functions)}, lines: median {median(functions):.0f}, longest {max(functions)}")
    assert median(functions) <= 12
