"""Files that a suite's experts are loaded from: `expert: {stable_baselines3:PPO: {load: model.zip}}`.

A relative path is relative to the suite's file; the suite's document holds the full path from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...foreign_code.objects import ObjectSpec

LOAD = "load"
"""The keyword that names a file to load an expert's model from."""


def model_file(spec: ObjectSpec) -> str:
    """Return the file that an expert is loaded from, "" where it is made without one."""
    file = spec.kwargs.get(LOAD) if spec.module else None
    return file if isinstance(file, str) else ""


def with_model_files(document: Any, folder: Path) -> Any:
    """Return a suite's document with the full paths of model files that lie in `folder`."""
    tasks = document.get("tasks") if isinstance(document, Mapping) else None
    if not isinstance(tasks, list):
        return document
    return {**document, "tasks": [_with_full_path(task, folder) for task in tasks]}


def _with_full_path(task: Any, folder: Path) -> Any:
    expert = task.get("expert") if isinstance(task, Mapping) else None
    if not isinstance(expert, Mapping) or len(expert) != 1:
        return task
    (name, kwargs), *_ = expert.items()
    file = kwargs.get(LOAD) if isinstance(kwargs, Mapping) else None
    if not isinstance(file, str) or not file or "\0" in file or not (folder / file).is_file():
        return task
    return {**task, "expert": {name: {**kwargs, LOAD: str((folder / file).resolve())}}}
