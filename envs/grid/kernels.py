"""The decorators of every kernel here: numba, with fewer versions and a cache that is never stale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit, types

Function = TypeVar("Function", bound=Callable[..., Any])

_SOURCES = tuple(
    (file.name, file.stat().st_mtime_ns, file.stat().st_size)
    for file in sorted(Path(__file__).parent.rglob("*.py"))
)


def kernel(function: Function) -> Function:
    """Compile a function with numba at its first call; later processes find it in the cache on disk.

    Numba would compile it anew for every constant and every width of integer that another kernel calls it
    with; here those are all one int64 (or bool), which halves the time of a first use. And numba would
    find a function in its cache after something that it calls was changed in another file; here the cache
    is good for as long as no file of this folder and below has changed.

    References are not counted: numba would do so, atomically, at every array that is taken out of a record
    or a NamedTuple, which costs three times as long as all that a step does. So a kernel makes no arrays.
    """
    return _compiled(function, _nrt=False)


def inlined(function: Function) -> Function:
    """Compile a small kernel into whatever calls it: a call costs some thirty arguments."""
    return _compiled(function, _nrt=False, forceinline=True)


def allocating(function: Function) -> Function:
    """Compile a kernel that makes arrays, or is given one by a kernel that does; it counts references."""
    return _compiled(function, _nrt=True)


def _compiled(function: Function, **options: bool) -> Function:
    settings: Any = {"cache": True, "nogil": True, **options}
    compiled: Any = njit(**settings)(function)
    template = compiled.get_call_template

    def for_wide_types(args: Any, kws: Any) -> Any:
        return template([_widened(one) for one in args], {name: _widened(one) for name, one in kws.items()})

    compiled.get_call_template = for_wide_types
    file = compiled._cache._cache_file
    file._source_stamp = _SOURCES
    # read first: the rest of a file that another version wrote may name types that are elsewhere now
    file._version = (file._version, _SOURCES)
    return compiled  # type: ignore[no-any-return]


def _widened(one: Any) -> Any:
    one = types.unliteral(one)
    return types.int64 if one in types.integer_domain and one.bitwidth < 64 else one
