"""Decorators of the kernels: numba with fewer specializations and a disk cache that is never stale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit, types

Function = TypeVar("Function", bound=Callable[..., Any])

# stamp of every source file of the kernels, part of the key of each cached function
_SOURCES = tuple(
    (file.name, file.stat().st_mtime_ns, file.stat().st_size)
    for file in sorted(Path(__file__).parent.rglob("*.py"))
)


def kernel(function: Function) -> Function:
    """Compile a function with numba at its first call; later processes load it from the disk cache.

    Numba would specialize on every constant and integer width that another kernel passes; here all integer
    arguments become int64 (or bool), which halves the time of the first use. Numba would also keep a cached
    function after a callee in another file changed; here the cache is valid until any file of this folder or
    below changes.

    Reference counting is off: numba counts atomically at every array taken out of a record or a NamedTuple,
    which costs three times as long as the rest of a step. So a kernel must not allocate arrays.
    """
    return _compiled(function, _nrt=False)


def inlined(function: Function) -> Function:
    """Compile a small kernel and inline it into its callers: a call passes about thirty arguments."""
    return _compiled(function, _nrt=False, forceinline=True)


def allocating(function: Function) -> Function:
    """Compile a kernel that allocates arrays, or receives one from such a kernel; it counts references."""
    return _compiled(function, _nrt=True)


def _compiled(function: Function, **options: bool) -> Function:
    settings: Any = {"cache": True, "nogil": True, **options}
    compiled: Any = njit(**settings)(function)
    original_template = compiled.get_call_template

    # called for calls from other kernels: widen the argument types before numba picks a specialization
    def template_of_wide_types(args: Any, kws: Any) -> Any:
        return original_template(
            [_widened(argument_type) for argument_type in args],
            {name: _widened(argument_type) for name, argument_type in kws.items()},
        )

    compiled.get_call_template = template_of_wide_types
    file = compiled._cache._cache_file
    file._source_stamp = _SOURCES
    # numba reads the version first: the rest of an older cache file may name types that have moved since
    file._version = (file._version, _SOURCES)
    return compiled  # type: ignore[no-any-return]


def _widened(argument_type: Any) -> Any:
    argument_type = types.unliteral(argument_type)
    return (
        types.int64
        if argument_type in types.integer_domain and argument_type.bitwidth < 64
        else argument_type
    )
