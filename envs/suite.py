"""Parse suites from YAML. Errors name the wrong key, the allowed keys and the nearest one."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import TutelageError, brief, nearest
from ..files.bounded_files import parse_yaml, read_yaml
from ..files.schema_errors import explain
from ..foreign_code.objects import parse_object
from ..foreign_code.own_modules import note_suite_folder
from ..foreign_code.trust import is_installed_extension, trust, trusts_module
from .extensions.model_files import model_file, with_model_files
from .extensions.own_suites import installed_document, installed_suites, package_of
from .families import checked, completed, rule_of, tables
from .recorded import ENV_ID
from .success import UNKNOWN, SuccessRule, rule_text
from .task import Task


@dataclass(frozen=True)
class Suite:
    """A named list of tasks, and the number of test seeds per task for evaluation."""

    name: str
    tasks: tuple[Task, ...]
    episodes: int
    source: Mapping[str, Any]
    """The parsed YAML document, so that stores and checkpoints can contain the whole suite."""

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, task_id: str) -> Task:
        for task in self.tasks:
            if task.id == task_id:
                return task
        names = [task.id for task in self.tasks]
        raise TutelageError(
            f"expected a task of suite {self.name!r} ({', '.join(names)}), "
            f"got {task_id!r}{nearest(task_id, names)}"
        )


class _Pace(BaseModel):
    model_config = ConfigDict(extra="forbid")
    fps: float = Field(gt=0, le=240)
    idle: Any = None


class _Task(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    env: str
    kwargs: dict[str, Any] = {}
    max_steps: int | None = Field(default=None, gt=0, strict=True)
    success: str | dict[str, Any] = "reward > 0"
    instruction: str = ""
    controls: dict[str, Any] | None = None
    pace: str | _Pace = "turn"
    actions: list[str] = []
    expert: str | dict[str, Any] | None = None
    wrappers: list[str | dict[str, Any]] = []
    keys: dict[str, str] = {}
    blank_first_frame: bool = Field(default=False, strict=True)


class _Evaluation(BaseModel):
    model_config = ConfigDict(extra="forbid")
    episodes: int = Field(default=512, gt=0, strict=True)


class _Suite(BaseModel):
    model_config = ConfigDict(extra="forbid")
    suite: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    imports: list[str] = []
    families: list[Any] = []
    tasks: list[_Task] = Field(min_length=1)
    evaluation: _Evaluation = _Evaluation()


def load_suite(name_or_path: str | Path, rules: Mapping[str, str] | None = None) -> Suite:
    """Load one of the package's suites by name, or any YAML file by path.

    A suite of an installed package (entry points `tutelage.suites`) is loaded by its name too. A registered
    Gymnasium id (`CartPole-v1`), or a module and an id that it registers (`ale_py:ALE/Pong-v5`), stands
    for a suite of that one task. Modules named in the argument are trusted, as are modules named in a
    file if they were installed for Gymnasium; those of stores and checkpoints are not. Keys missing in
    the tasks are filled in from the tables of known families and from the registry, and are part of the
    suite's document from then on. `rules` maps task ids to success rules, for files that leave them
    out. Raises TutelageError naming the file, the place and the remedy.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        try:
            document = with_model_files(read_yaml(path), path.parent)
            suite = _trust_modules(suite_from(document, str(path)))
            note_suite_folder(path.parent)
            return _completed(suite, str(path), rules or {})
        except FileNotFoundError:
            raise TutelageError(f"expected a suite file at {path}, found none; check the path") from None
    shipped, brought = suite_names(), installed_suites()
    name = str(name_or_path)
    if name in shipped:
        text = resources.files(__package__).joinpath("suites", f"{name}.yaml").read_text("utf-8")
        return suite_from(parse_yaml(text, f"suite {name}"), f"suite {name}")
    if name in brought:
        document, where = installed_document(name)
        return _completed(_trust_modules(suite_from(document, where)), where, rules or {})
    if _MODULE_ID.fullmatch(name) or is_registered(name):
        task_id = re.sub(r"[^A-Za-z0-9._-]", ".", name.rpartition(":")[2])
        document = {"suite": task_id, "tasks": [{"id": task_id, "env": name}]}
        return _completed(_trust_modules(suite_from(document), is_named=True), name, {})
    from .registry import registry, unregistered

    raise TutelageError(
        f"expected a suite ({', '.join([*shipped, *brought])}), a .yaml file, a registered Gymnasium id or "
        f"MODULE:ID, got {unregistered(name, registry(), [*shipped, *brought])}"
    )


def complete_suite(document: Mapping[str, Any], where: str) -> Suite:
    """Build a suite from a document that its caller wrote, and complete its tasks as those of a file are."""
    return _completed(_trust_modules(suite_from(document, where)), where, {})


def suite_names() -> list[str]:
    """Return the names of the package's suites."""
    folder = resources.files(__package__).joinpath("suites")
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def suite_summaries() -> list[dict[str, Any]]:
    """List the suites that come along, and those that installed packages bring. Makes no task.

    Of each: its name, what is said about it, and the ids of its tasks; `problem` where it cannot be loaded.
    """
    summaries, shipped = [], suite_names()
    for name in shipped:
        text = resources.files(__package__).joinpath("suites", f"{name}.yaml").read_text("utf-8")
        suite = suite_from(parse_yaml(text, f"suite {name}"), f"suite {name}")
        head = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
        about = " ".join(line.lstrip("# ") for line in head)
        summaries.append({"suite": name, "about": about, "tasks": [task.id for task in suite]})
    return [*summaries, *(_installed_summary(name) for name in installed_suites() if name not in shipped)]


def _installed_summary(name: str) -> dict[str, Any]:
    summary: dict[str, Any] = {"suite": name, "about": f"of the package {package_of(name)}", "tasks": []}
    try:
        document, where = installed_document(name)
        return summary | {"tasks": [task.id for task in suite_from(document, where)]}
    except TutelageError as error:
        return summary | {"about": f"cannot be loaded: {error}", "problem": str(error)}


def suite_from(document: Any, where: str = "the suite") -> Suite:
    """Build a suite from a parsed YAML document; `where` prefixes error messages."""
    if not isinstance(document, dict):
        raise TutelageError(f"{where}: expected keys suite and tasks, got {type(document).__name__}")
    document = _with_families(document, where)
    try:
        parsed = _Suite.model_validate(document)
    except ValidationError as error:
        raise TutelageError(f"{where}: {_explain(error)}") from None
    if place := next(_not_finite(document), ""):
        raise TutelageError(
            f"{where}: at {place!r}: expected a finite number, which every file and page can hold, got NaN "
            "or an infinity; write a large number such as 1.0e300, or leave the key out"
        )
    ids = [task.id for task in parsed.tasks]
    duplicates = sorted({task_id for task_id in ids if ids.count(task_id) > 1})
    if duplicates:
        raise TutelageError(f"{where}: expected unique task ids, got {duplicates[0]!r} twice; rename one")
    for module in parsed.imports:
        if not _MODULE.fullmatch(module):
            raise TutelageError(f"{where}: expected names of modules under imports, got {module!r}")
    tasks = tuple(
        replace(_task(task, f"{where}: task {task.id!r}"), imports=tuple(parsed.imports))
        for task in parsed.tasks
    )
    return Suite(parsed.suite, tasks, parsed.evaluation.episodes, document)


def _not_finite(value: Any, place: str = "") -> Iterator[str]:
    """Yield the places of non-finite numbers in a document; tasks are named by their id."""
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        yield place
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _not_finite(part, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            name = part["id"] if place == "tasks" and isinstance(part, Mapping) else index
            yield from _not_finite(part, f"{place}.{name}")


def is_registered(env_id: str) -> bool:
    """Return whether an environment id is registered, after importing the packages that we know."""
    from .registry import registry_with

    return env_id in registry_with(env_id)


_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_MODULE_ID = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z0-9][\w./-]*")


def _trust_modules(suite: Suite, is_named: bool = False) -> Suite:
    """Trust a suite's modules that were installed for Gymnasium or Tutelage; all if the user named them.

    Model files of its experts are trusted too: suites of stores and checkpoints do not come through here.
    """
    modules = [module for task in suite for module in (*task.imports, task.env.rpartition(":")[0]) if module]
    specs = [spec for task in suite for spec in task.objects]
    modules += [spec.module for spec in specs if spec.module]
    trust([module for module in dict.fromkeys(modules) if is_named or is_installed_extension(module)])
    experts = [spec for task in suite if (spec := task.expert_spec) is not None]
    trust([file for spec in experts if Path(file := model_file(spec)).is_file()])  # never a whole folder
    return suite


def _with_families(document: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a suite's document with its own `families` applied to its tasks."""
    tasks = document.get("tasks")
    if "families" not in document or not isinstance(tasks, list):
        return document
    entries = checked(document["families"], where)
    rest = {key: value for key, value in document.items() if key != "families"}
    return rest | {"tasks": [completed(task, entries) if isinstance(task, dict) else task for task in tasks]}


def _completed(suite: Suite, where: str, rules: Mapping[str, str]) -> Suite:
    """Fill in the missing keys of a suite's tasks from rules by id, the family tables and the registry.

    Imports trusted modules, since they register reward thresholds.
    """
    from .registry import register

    task_documents = []
    for task, document in zip(suite.tasks, suite.source["tasks"], strict=True):
        rule = {"success": rules[task.id]} if task.id in rules else {}
        task_document = completed(rule | document, tables())
        if "success" not in task_document:
            module, _, env_id = task.env.rpartition(":")
            register([name for name in (*task.imports, module) if name and trusts_module(name)])
            task_document["success"] = rule_of(env_id, task.max_steps)
        task_documents.append(task_document)
    return suite_from({**suite.source, "tasks": task_documents}, where)


def _task(parsed: _Task, where: str) -> Task:
    if isinstance(parsed.pace, str) and parsed.pace != "turn":
        raise TutelageError(f"{where}: expected pace turn or {{fps: ..., idle: ...}}, got {parsed.pace!r}")
    pace = parsed.pace if isinstance(parsed.pace, _Pace) else None
    if pace is not None and pace.idle is None and parsed.controls is not None:
        raise TutelageError(
            f"{where}: expected an idle action beside fps, got none; say what is done while no key is "
            f"pressed: pace: {{fps: {pace.fps:g}, idle: 0}}"
        )
    is_unrated = parsed.env == ENV_ID and "success" not in parsed.model_fields_set
    try:
        rule = SuccessRule(UNKNOWN if is_unrated else rule_text(parsed.success))
        if parsed.expert is not None:
            parse_object(parsed.expert, "expert", names=None)
        for wrapper in parsed.wrappers:
            parse_object(wrapper, "a wrapper")
    except TutelageError as error:
        raise TutelageError(f"{where}: {error}") from None
    return Task(
        id=parsed.id,
        env=parsed.env,
        kwargs=parsed.kwargs,
        max_steps=parsed.max_steps,
        success=rule,
        instruction=parsed.instruction,
        controls=parsed.controls,
        fps=pace.fps if pace else None,
        idle=pace.idle if pace else None,
        action_names=tuple(parsed.actions),
        expert=parsed.expert,
        wrappers=tuple(parsed.wrappers),
        keys=parsed.keys,
        blank_first_frame=parsed.blank_first_frame,
    )


def _explain(error: ValidationError) -> str:
    """Convert pydantic's first error into our form: place, expected, got, nearest."""
    first = error.errors()[0]
    if first["loc"][-2:] == ("pace", "str"):  # neither "turn" nor a sound mapping: explain the mapping
        mapping = (*first["loc"][:-1], "_Pace")
        inside = [detail for detail in error.errors() if detail["loc"][:-1] == mapping]
        if not inside:
            return f"expected pace turn or {{fps: ..., idle: ...}}, got {brief(first['input'])}"
        first = inside[0]
    return explain(first, _Suite)
