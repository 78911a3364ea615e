"""Kernels are compiled once a type, and anew when anything that they call has changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tutelage.envs.grid import kernels

COUNT = """
import sys
from numba.core.dispatcher import Dispatcher
from tutelage.envs.grid.environment import GridEnv
from tutelage.envs.grid.planner.planner import advise
from tutelage.envs.grid.planner.memory import empty_memory, forget
world = GridEnv("BossLevel")
world.reset(seed=0)
world.step(0)
minds = empty_memory(1, *world.grids.cells.shape[1:])
forget(minds, 0)
advise(world.grids, minds, 0)
compiled = {
    one.py_func.__qualname__: len(one.overloads)
    for name, module in sys.modules.items() if name.startswith("tutelage.envs.grid")
    for one in vars(module).values() if isinstance(one, Dispatcher)
}
print(len(compiled), *(name for name, count in compiled.items() if count > 1))
"""


def said(*command: str, **options: Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout


@pytest.mark.slow
def test_no_kernel_is_compiled_twice_for_a_constant_or_a_narrow_integer() -> None:
    count, *again = said(sys.executable, "-c", COUNT).split()
    assert int(count) > 80
    assert again == []


@pytest.mark.slow
def test_a_kernel_is_compiled_anew_when_another_file_has_changed(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    shutil.copy(kernels.__file__, package)
    head = "from .kernels import kernel\n"
    (package / "caller.py").write_text(
        f"{head}from .callee import value\n\n@kernel\ndef twice():\n    return 2 * value()\n"
    )
    for value in (1, 10):
        (package / "callee.py").write_text(f"{head}\n@kernel\ndef value():\n    return {value}\n")
        ask = "from package.caller import twice; print(twice())"
        assert int(said(sys.executable, "-c", ask, cwd=tmp_path)) == 2 * value


@pytest.mark.slow
def test_later_processes_find_what_was_compiled(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    shutil.copy(kernels.__file__, package)
    (package / "one.py").write_text("from .kernels import kernel\n\n@kernel\ndef one():\n    return 1\n")
    ask = "from package.one import one; one(); print(sum(one.stats.cache_hits.values()))"
    assert [int(said(sys.executable, "-c", ask, cwd=tmp_path)) for _ in range(2)] == [0, 1]


@pytest.mark.slow
def test_what_was_compiled_for_types_that_have_moved_is_compiled_anew(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    shutil.copy(kernels.__file__, package)
    (package / "caller.py").write_text(
        "from .kernels import kernel\n\n@kernel\ndef first(pair):\n    return pair.left\n"
    )
    for name in ("pairs", "couples"):
        module = package / f"{name}.py"
        module.write_text("from typing import NamedTuple\n\nclass Pair(NamedTuple):\n    left: int\n")
        ask = f"from package.caller import first; from package.{name} import Pair; print(first(Pair(3)))"
        assert said(sys.executable, "-c", ask, cwd=tmp_path) == "3\n"
        module.unlink()
