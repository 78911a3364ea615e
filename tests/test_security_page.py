"""What SECURITY.md says is so: every row of the threat model has a test, every pin is the one installed."""

from __future__ import annotations

import ast
import re

import pytest
from tutelage.tests.support.sources import ROOT

PAGE = (ROOT / "SECURITY.md").read_text("utf-8")
ROWS = re.findall(r"\| `tests/([\w/]+\.py)(?:::(\w+))?` \|$", PAGE, re.MULTILINE)
PINS = re.findall(r"^\| `([\w.-]+==[^`]+)` \|", PAGE, re.MULTILINE)


def test_the_page_has_rows_and_pins() -> None:
    assert len(ROWS) > 30
    assert len(PINS) > 10
    assert len(ROWS) == len(re.findall(r"^\|.*`tests/", PAGE, re.MULTILINE))


@pytest.mark.parametrize(("file", "name"), ROWS, ids=lambda value: value or "file")
def test_a_row_of_the_threat_model_is_held_by_a_test_that_is_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert (name in names) if name else any(test.startswith("test_") for test in names)


@pytest.mark.parametrize("pin", PINS)
def test_a_pin_of_the_page_is_the_one_that_is_installed(pin: str) -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert pin.lower() in [line.strip().lower() for line in lines]
