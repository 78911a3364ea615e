"""Objects of other packages that a suite or a flag names: `package.module:Object`, or an entry point.

Naming an object imports nothing. `ObjectSpec.load` does, after the module was trusted (see `trust`); an entry
point counts as trusted, since the package that declares it was installed by the person at the keyboard.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..console.printable import printable
from ..errors import TutelageError, brief, nearest
from ..files.bounded_files import parse_yaml
from ..files.finite_json import exact_json, json_text
from .own_modules import remedy_for
from .trust import trusts_module, untrusted

EXPERTS, ACTORS, SUITES, FORMATS = (f"tutelage.{name}" for name in ("experts", "actors", "suites", "formats"))
"""The groups of entry points that are looked at."""

FORM = "package.module:Object"
_NAME = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<attribute>[A-Za-z_]\w*)")
_DOTTED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\.([A-Za-z_]\w*)")


@dataclass(frozen=True)
class ObjectSpec:
    """The name of an object, `package.module:Object` or a plain word, and keyword arguments for it.

    What a plain word names is up to the place that reads it: an object of ours, or an entry point.
    """

    name: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.name, exact_json(self.kwargs, is_sorted=True, default=repr)))

    def __str__(self) -> str:
        """Return the form that `parse_text` reads."""
        document = self.document()
        return document if isinstance(document, str) else json_text(document, is_ascii=False)

    @property
    def module(self) -> str:
        """The module that holds the object; "" where a plain word names it."""
        return self.name.rpartition(":")[0]

    @property
    def short_name(self) -> str:
        """What the object is called in its module."""
        return self.name.rpartition(":")[2]

    def document(self) -> str | dict[str, Any]:
        """Return the form that YAML and JSON hold: the name, or `{name: {keyword: value}}`."""
        return {self.name: dict(self.kwargs)} if self.kwargs else self.name

    def load(self, group: str = "", who: str = "") -> Any:
        """Import the object, or the entry point of `group` that a plain word names.

        `who` begins the error. Raises Untrusted for a module that was not trusted, and TutelageError for one
        that cannot be imported or holds no such object.
        """
        if self.module:
            return _imported(self, who)
        return _loaded(entry_point(group, self.name), who)


def parse_object(value: Any, what: str, names: Iterable[str] | None = ()) -> ObjectSpec:
    """Read a name, or a mapping of one name to keyword arguments, as YAML holds them.

    `what` says in an error what is named; `names` are the plain words that name something, None where
    they are looked up later. Raises TutelageError.
    """
    form = f"{FORM} or {{{FORM}: {{keyword: value}}}}"
    if isinstance(value, Mapping):
        if len(value) != 1:
            raise TutelageError(f"expected {what} to be {form}, got {len(value)} entries; give it one")
        (name, kwargs), *_ = value.items()
        kwargs = {} if kwargs is None else kwargs
        if not isinstance(kwargs, Mapping) or not all(isinstance(key, str) for key in kwargs):
            raise TutelageError(
                f"expected keyword arguments {{keyword: value}} for {what} {brief(name)}, got {brief(kwargs)}"
            )
    else:
        name, kwargs = value, {}
    if not isinstance(name, str) or not name:
        raise TutelageError(f"expected {what} to be a name, {form}, got {brief(value)}")
    if names is None and ":" not in name:
        return ObjectSpec(name, dict(kwargs))
    words = list(names or ())
    if not _NAME.fullmatch(name) and name not in words:
        raise TutelageError(
            f"expected {what} to be {' or '.join([', '.join(words), form] if words else [form])}, "
            f"got {brief(name)}{_hint(name, words)}"
        )
    return ObjectSpec(name, dict(kwargs))


def parse_text(text: str, what: str, names: Iterable[str] | None = ()) -> ObjectSpec:
    """Read what a flag or a text names: a name, or a mapping in YAML or JSON; see `parse_object`."""
    is_mapping = text.lstrip().startswith("{")
    return parse_object(parse_yaml(text, what) if is_mapping else text, what, names)


def is_object_text(text: str) -> bool:
    """Say whether a text has the form of `module:Object`, or of a mapping."""
    return bool(_NAME.fullmatch(text.strip())) or text.lstrip().startswith("{")


def entry_points(group: str) -> dict[str, importlib.metadata.EntryPoint]:
    """Return the installed entry points of a group by name; of several of one name, the first."""
    points: dict[str, importlib.metadata.EntryPoint] = {}
    for point in importlib.metadata.entry_points(group=group):
        points.setdefault(point.name, point)
    return points


def entry_point(group: str, name: str) -> importlib.metadata.EntryPoint:
    """Return an installed entry point.

    Raises TutelageError where none has this name, and where those of several packages have it.
    """
    named = [point for point in importlib.metadata.entry_points(group=group) if point.name == name]
    places = sorted({point.value for point in named})
    if len(places) > 1:
        raise TutelageError(
            f"expected one installed entry point {name!r} of {group}, got {', '.join(places)}; "
            f"name the one that you mean as {FORM}"
        )
    if not named:
        names = list(entry_points(group))
        listed = f" ({', '.join(names)})" if names else ""
        raise TutelageError(
            f"expected an installed entry point of {group}{listed}, got {name!r}{_hint(name, names)}; "
            f"install the package that brings it, or write {FORM}"
        )
    return named[0]


def _loaded(point: importlib.metadata.EntryPoint, who: str) -> Any:
    prefix = f"{who}: " if who else ""
    what = f"{point.value}, the entry point {point.name!r} of {point.group}"
    with foreign_errors(f"{prefix}expected to import {what}, got ", "; mend or reinstall its package"):
        return point.load()


def _imported(spec: ObjectSpec, who: str) -> Any:
    """Import an object of a trusted module; a class or function must come from that package too."""
    prefix = f"{who}: " if who else ""
    if not trusts_module(spec.module):
        raise untrusted(f"import the module {printable(spec.module)}", spec.module, who)
    try:
        with foreign_errors(
            f"{prefix}expected to import {spec.module}, got ", "; mend it", passing=ModuleNotFoundError
        ):
            module = importlib.import_module(spec.module)
    except ModuleNotFoundError as error:
        raise TutelageError(
            f"{prefix}expected to import {spec.module}, got {error}; {remedy_for(error, spec.module)}"
        ) from None
    try:
        target = getattr(module, spec.short_name)
    except AttributeError:
        names = [name for name in vars(module) if not name.startswith("_")]
        raise TutelageError(
            f"{prefix}expected {spec.short_name!r} in the module {spec.module}, found none"
            f"{nearest(spec.short_name, names) or '; check the name'}"
        ) from None
    home = _home(target)
    is_elsewhere = home and home.partition(".")[0] != spec.module.partition(".")[0]
    if is_elsewhere and not trusts_module(home):  # `my.module:remove`, imported from os, is of os
        raise untrusted(f"use {printable(spec.name)}, of the module {printable(home)}", home, who)
    return target


def name_of(target: Any) -> str | None:
    """Return the name `module:Object` by which a class or function can be imported; None without one."""
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", "")
    if not module or not _NAME.fullmatch(text := f"{module}:{name}"):
        return None
    return text if getattr(sys.modules.get(module), name, None) is target else None


def _home(target: Any) -> str:
    """Return the module that a class or function was defined in; "" for other objects."""
    if inspect.isclass(target) or inspect.isroutine(target):
        return str(getattr(target, "__module__", None) or "builtins")
    return ""


def _hint(name: str, names: Iterable[str]) -> str:
    """Return what may be meant: a known name, or the same with a colon before the object."""
    if near := nearest(name, names):
        return near
    dotted = _DOTTED.fullmatch(name)
    return f"; did you mean '{dotted[1]}:{dotted[2]}'?" if dotted else ""


@contextmanager
def foreign_errors(
    before: str,
    after: str = "",
    *,
    raised: type[TutelageError] = TutelageError,
    passing: type[BaseException] | tuple[type[BaseException], ...] = (),
) -> Iterator[None]:
    """Turn whatever the code of another package raises into one line: `before`, the error, `after`.

    TutelageError and what is `passing` go through as they are.
    """
    try:
        yield
    except TutelageError:
        raise
    except passing:
        raise
    except (Exception, SystemExit) as error:  # the program does not end because foreign code says so
        raise raised(f"{before}{described(error)}{after}") from error


def described(error: BaseException) -> str:
    """Return the kind of an error and its message, in one line."""
    message = " ".join(str(error).split())[:300] or "nothing more"
    return f"{type(error).__name__}: {message}"
