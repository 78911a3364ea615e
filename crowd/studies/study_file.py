"""A study's YAML file: all of its problems are reported at once."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...console.wording import counted
from ...envs.keys.controls import Controls
from ...errors import TutelageError, nearest
from ...files.bounded_files import parse_yaml, read_yaml
from ...files.schema_errors import explain
from .study import Study
from .study_checks import mistakes, rehearse_study

_NEEDED: dict[str, Any] = {"study": "unnamed", "suite": "", "people": 1, "episodes": 1, "consent": "none yet"}
"""Placeholders for required sections that are missing or wrong, so that the others can be checked."""


def load_study(path: str | Path) -> Study:
    """Load a study file, or a packaged study by its name.

    Raises TutelageError that names every problem.
    """
    document, folder, where = _read(path)
    study, found_problems = study_from(document, folder)
    if study is None or found_problems:
        raise TutelageError(f"{where}: " + _format_problems(found_problems))
    return study


def problems(path: str | Path) -> list[str]:
    """List every problem of a study file: place, expected, got, nearest name."""
    try:
        document, folder, _ = _read(path)
    except TutelageError as error:
        return [str(error)]
    return study_from(document, folder)[1]


def examine(path: str | Path) -> tuple[Study | None, dict[str, Controls], list[str]]:
    """Load a study file and try its tasks; returns the study, the keys of each task, and all problems.

    The study is None if too little of it can be read.
    """
    try:
        document, folder, _ = _read(path)
    except TutelageError as error:
        return None, {}, [str(error)]
    study, wrong = study_from(document, folder)
    if study is None or any(problem.startswith(("at 'suite'", "missing key 'suite'")) for problem in wrong):
        return study, {}, wrong
    controls, unplayable = rehearse_study(study)
    return study, controls, wrong + unplayable


def study_names() -> list[str]:
    """List the studies that come with the package."""
    folder = resources.files(__package__)
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def study_from(document: Any, folder: Path = Path()) -> tuple[Study | None, list[str]]:
    """Build a study from a parsed YAML document, and list the problems; None if it is no mapping."""
    if not isinstance(document, dict):
        return None, [f"expected the keys of a study, got {type(document).__name__}"]
    sections = {str(key): value for key, value in document.items()}
    messages: list[str] = []
    broken: set[str] = set()
    try:
        study = Study.model_validate(sections)
    except ValidationError as error:
        messages = [explain(complaint, Study) for complaint in error.errors()]
        broken = {str(complaint["loc"][0]) for complaint in error.errors()}
        # valid sections are checked too: every problem is reported at once
        valid = {key: value for key, value in sections.items() if key not in broken}
        study = Study.model_validate({**{key: _NEEDED[key] for key in _NEEDED if key in broken}, **valid})
    study.lies_in(folder)
    return study, messages + mistakes(study, frozenset(broken))


def _read(path: str | Path) -> tuple[Any, Path, str]:
    """Return a file's document, its folder and its name for messages."""
    if str(path) in study_names():
        text = resources.files(__package__).joinpath(f"{path}.yaml").read_text("utf-8")
        return parse_yaml(text, f"study {path}"), Path(), f"study {path}"
    path = Path(path)
    if path.suffix not in (".yaml", ".yml") or not path.exists():
        names = study_names()
        raise TutelageError(
            f"expected a study file (.yaml) or one of {', '.join(names)}, got {str(path)!r}"
            f"{nearest(str(path), names)}; check the path"
        )
    return read_yaml(path), path.parent, str(path)


def _format_problems(wrong: list[str]) -> str:
    if len(wrong) == 1:
        return wrong[0]
    return f"{counted(len(wrong), 'thing')} to mend:\n" + "\n".join(f"  {problem}" for problem in wrong)
