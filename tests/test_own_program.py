"""A program of somebody's own that records people: its environments live in processes that import it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tutelage.tests.crowd.server.test_recorder_app import Page


@pytest.mark.slow
@pytest.mark.parametrize("guard", [True, False])
def test_it_records_its_own_environment_and_is_told_in_one_line_where_the_guard_is_missing(
    tmp_path: Path, guard: bool
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        PROGRAM.format(guard='__name__ == "__main__"' if guard else True, out=tmp_path / "out")
    )
    command = [sys.executable, str(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("Recording")
        if guard:
            assert_plays(running.stdout.readline().split()[2])
            running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=30)
    assert (running.returncode == 0) is guard
    if guard:
        assert errors == ""
    else:
        assert errors.count("Traceback") == 1
        assert 'under `if __name__ == "__main__":`' in errors.splitlines()[-1]


PROGRAM = """
from pathlib import Path
import gymnasium
from tutelage.crowd.server.recorder_app import record
from tutelage.envs.suite import suite_from

class Own(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Discrete(2)
    metadata = {{"render_modes": ["rgb_array"]}}
    def __init__(self, render_mode=None): self.render_mode = render_mode
    def reset(self, *, seed=None, options=None): return 0, {{}}
    def step(self, action): return 1, 1.0, True, False, {{}}
    def render(self): return __import__("numpy").zeros((8, 8, 3), "uint8")

if {guard}:
    gymnasium.register("own/Own-v0", entry_point=Own)
    task = {{"id": "own", "env": "own/Own-v0", "controls": {{"ArrowLeft": 0}}}}
    record(suite_from({{"suite": "own", "tasks": [task]}}), Path("{out}"), port=0, open_browser=False)
"""


def assert_plays(url: str) -> None:
    """Play the program's own environment, which another process has found in it."""
    with Page(url.removeprefix("http://").rstrip("/")) as page:
        page.send("choose", task="own")
        page.until("playing")
        page.press("ArrowLeft")
        assert page.until("finished")["episode"]["outcome"]["return"] == 1
