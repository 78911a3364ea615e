"""Check, before an environment is made, that the pages, modules and files which its task names are trusted.

A task may come from an untrusted suite, store, checkpoint or dataset. Its environment id must be registered
already; its arguments may hold numbers, words and lists of them. Anything in them that runs, imports or reads
something on this machine must be trusted by name, see `trust`.

Covers: pages that are not the package miniwob's, `module:Id`, experts, wrappers and success functions,
the old package gym behind Gymnasium's compatibility environments, arguments that name a module, a file, a
folder or an address, and arguments that `gymnasium.make` consumes itself. Does not cover: what a
registered environment does with plain words and numbers; its package was installed by the user.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, NamedTuple

from ..console.printable import printable
from ..errors import TutelageError
from ..foreign_code.objects import ObjectSpec
from ..foreign_code.trust import trusts_module, trusts_path, untrusted
from .extensions.wrappers import is_harmless
from .recorded import is_recorded_only
from .suite import Suite
from .task import Task
from .web.page_sources import in_miniwob, miniwob_tasks

SHOWN = "TUTELAGE_TRUST_SHOWN"
"""Environment variable with the lines announced so far, inherited by processes started later."""

_GYMNASIUM_OWN = {
    **dict.fromkeys(("id", "disable_env_checker", "order_enforce", "autoreset"), "leave it out"),
    "apply_api_compatibility": "leave it out",
    **dict.fromkeys(("num_envs", "vectorization_mode", "vector_kwargs", "wrappers"), "leave it out"),
    **dict.fromkeys(
        ("additional_wrappers", "entry_point", "vector_entry_point"),
        "register an environment in a module of your own",
    ),
    "max_episode_steps": "use the task's own key max_steps",
}
_OLD_GYM = re.compile(r"(?:^|/)GymV\d+Environment(?:-v\d+)?$")
_MODULE_KEYS = frozenset(("env_id", "env_name", "env", "module", "modules", "package", "import", "imports"))
_WITH_ATTRIBUTE = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_]")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$")
_DRIVE = re.compile(r"[A-Za-z]:")


class ForeignAct(NamedTuple):
    """A side effect of making a task's environment: description, the name to trust for it, the line shown."""

    what: str
    name: str
    shown: str
    is_module: bool = False

    @property
    def is_trusted(self) -> bool:
        return trusts_module(self.name) if self.is_module else trusts_path(self.name)


def admit(task: Task) -> None:
    """Admit a task's environment; raises Untrusted for a side effect that is not trusted.

    Shows trusted side effects on stderr, once. Raises TutelageError for arguments that are Gymnasium's own.
    """
    subject = f"task {printable(task.id)!r}"
    for key, remedy in _GYMNASIUM_OWN.items():
        if key in task.kwargs:
            raise TutelageError(f"{subject}: expected arguments of {task.env} alone, got {key}; {remedy}")
    _admit(acts_of(task), subject)


def admit_expert(task: Task) -> None:
    """Allow a task's expert to be made, as `admit` does its environment; built-in ones always are."""
    if (spec := task.expert_spec) is not None:
        _admit(acts_of_object(spec), f"task {printable(task.id)!r}")


def _admit(acts: Iterable[ForeignAct], subject: str) -> None:
    for act in acts:
        if not act.is_trusted:
            raise untrusted(act.what, act.name, subject)
        _show(f"trusting {act.name}: {act.shown}")


def admit_all(suite: Suite) -> Suite:
    """Apply `admit` to every task of a suite, before anything is written; returns the suite."""
    for task in suite:
        admit(task)
    return suite


def acts_of(task: Task) -> list[ForeignAct]:
    """List what making a task's environment runs, imports or reads beyond its registered package."""
    module, _, env_id = task.env.rpartition(":")
    acts = [_import(name) for name in dict.fromkeys([*task.imports, *([module] if module else [])])]
    if _OLD_GYM.search(env_id):
        acts.append(ForeignAct("make an environment of the package gym", "gym", "package gym will run", True))
    acts += [act for spec in task.wrapper_specs for act in acts_of_object(spec)]
    if (judge := task.success.function) is not None:  # its `infos` are places in info, no modules
        kwargs = {name: value for name, value in judge.kwargs.items() if name != "infos"}
        acts += acts_of_object(ObjectSpec(judge.name, kwargs))
    words = {} if is_recorded_only(task) else task.kwargs  # names and sizes of spaces
    return [*dict.fromkeys(acts), *_acts_in(words, "")]


def acts_of_object(spec: ObjectSpec) -> list[ForeignAct]:
    """List what loading an object and calling it with its arguments would run, import or read.

    An installed entry point, and a wrapper of Gymnasium's own, are no such thing; their arguments may be.
    """
    acts = [_import(spec.module)] if spec.module and not is_harmless(spec) else []
    return [*acts, *_acts_in(spec.kwargs, "")]


def _acts_in(value: Any, key: str) -> Iterator[ForeignAct]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _acts_in(name, "")
            yield from _acts_in(inner, str(name))
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _acts_in(inner, key)
    elif isinstance(value, str | bytes | os.PathLike) and (act := _act_of(os.fsdecode(value), key)):
        yield act


def _act_of(text: str, key: str) -> ForeignAct | None:
    """Return the side effect of a string among the arguments; None for a plain word."""
    if key == "task" and text in miniwob_tasks():
        return None
    if text.endswith((".html", ".htm")):
        return None if in_miniwob(text) else _page(text)
    if _names_file(text):
        text_shown = printable(text)
        return ForeignAct(
            f"use the file or address {text_shown}", os.path.expanduser(text), f"{text_shown} will be used"
        )
    if attribute := _WITH_ATTRIBUTE.match(text):
        return _import(attribute[1]) if _can_import(attribute[1]) else None
    if (_DOTTED.match(text) or (key in _MODULE_KEYS and text.isidentifier())) and _can_import(text):
        return _import(text)
    return None


def _page(text: str) -> ForeignAct:
    path = Path(os.path.expanduser(text))
    path_shown = printable(text)
    try:
        folder = str(path.resolve().parent)
    except (OSError, ValueError, RuntimeError):
        folder = text
    return ForeignAct(f"run the page {path_shown}", folder, f"page {printable(path.name)} will run")


def _import(module: str) -> ForeignAct:
    return ForeignAct(
        f"import the module {printable(module)}", module, f"module {printable(module)} will run", True
    )


def _names_file(text: str) -> bool:
    if any(mark in text for mark in "/\\\0") or text.startswith("~") or _DRIVE.match(text):
        return True
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):
        return False


def _can_import(module: str) -> bool:
    """Return whether the module, or a package that may contain it, exists; imports nothing."""
    top = module.partition(".")[0]
    try:
        return top in sys.modules or importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


def _show(line: str) -> None:
    """Print a line to stderr once; worker processes print nothing."""
    announced = os.environ.get(SHOWN, "").split("\n")
    if parent_process() is None and line not in announced:
        os.environ[SHOWN] = "\n".join([*announced, line]).strip("\n")
        print(printable(line), file=sys.stderr, flush=True)
