"""Suites from anything that describes one: a name, file, document, environment id or environment factory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..envs.extensions.own_environment import task_of
from ..envs.suite import Suite, complete_suite
from ..envs.suite import load_suite as load_named
from ..errors import TutelageError
from ..foreign_code.objects import name_of
from ..foreign_code.trust import trust

SuiteSource = Suite | str | Path | Mapping[str, Any] | Callable[..., Any]
"""What `load_suite` takes."""


def load_suite(source: SuiteSource, **task: Any) -> Suite:
    """Return a suite of tasks.

    `source` is the name of a suite that comes along (`"first-steps"`), the path of a YAML file, a registered
    Gymnasium id (`"CartPole-v1"` or `"package:Id-v0"`), a mapping with the keys of a suite file, a class or
    function that makes a `gymnasium.Env`, or a suite. Of an id and of a factory, keywords are keys of its
    task, such as `success="return >= 100"`, `max_steps`, `instruction` or `expert`; an expert or success
    function may be given as a class or function. Raises TutelageError for
    what is none of these.
    """
    task = {key: _named(value) if callable(value) else value for key, value in task.items()}
    if isinstance(source, Suite):
        _expect_no_keys(task, "a suite")
        return source
    if isinstance(source, str | Path):
        suite = load_named(source)
        if not task:
            return suite
        if len(suite) > 1 or Path(source).suffix in (".yaml", ".yml"):
            _expect_no_keys(task, f"suite {suite.name!r}")
        (document,) = suite.source["tasks"]
        return complete_suite({**suite.source, "tasks": [document | task]}, str(source))
    if isinstance(source, Mapping):
        _expect_no_keys(task, "a mapping")
        return complete_suite(dict(source), "the suite")
    if not callable(source):
        raise TutelageError(
            f"expected a suite's name, path, mapping, environment id or environment factory, got {source!r}"
        )
    document = task_of(source) | task
    if factory := document.get("kwargs", {}).get("factory"):
        trust([factory.partition(":")[0]])  # the caller has it in hand
    return complete_suite({"suite": document["id"], "tasks": [document]}, f"factory {document['id']!r}")


def _named(target: Callable[..., Any]) -> str:
    """Return the name `module:Object` of a class or function that the caller has in hand, and trust it."""
    name = name_of(target)
    if name is None:
        raise TutelageError(
            f"expected a class or function at the top of a module, got {target!r}; give it a name there"
        )
    trust([name.partition(":")[0]])
    return name


def _expect_no_keys(task: Mapping[str, Any], what: str) -> None:
    if task:
        raise TutelageError(
            f"expected keys of a task beside an environment id or factory alone, got {next(iter(task))!r} "
            f"beside {what}; write it into the suite"
        )
