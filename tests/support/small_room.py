"""One small room as a suite and as a study, quick enough for hundreds of servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

CODES = ("ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp")
KEYS = {"ArrowLeft": 0, "ArrowDown": 1, "ArrowRight": 2}
ROOM = {
    "id": "room",
    "env": "tutelage/GoToRedBallGrey-v0",
    "kwargs": {"room_size": 4, "distractors": 0},
    "controls": KEYS,
}
"""It lives in the server's own process, and is over after 16 steps."""
LAKE = {
    "id": "lake",
    "env": "FrozenLake-v1",
    "kwargs": {"is_slippery": False},
    "controls": {**KEYS, "ArrowUp": 3},
}
"""It lives in a process for environments."""
SUITE: dict[str, Any] = {"suite": "small", "tasks": [ROOM]}


def write(folder: Path, *, suite: dict[str, Any] = SUITE, **changes: Any) -> Path:
    """Write a study of the first task of a suite, `pilot.yaml`, and the suite; returns the folder."""
    from tutelage.tests.support import toy_study  # which imports a lot, and only tests of studies need

    task = suite["tasks"][0]["id"]
    base = {"people": 100_000, "tasks": {task: {}}, "practice": {"tasks": [task], "until": "finished"}}
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in (("small", suite), ("pilot", toy_study.document(**{**base, **changes}))):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    return folder
