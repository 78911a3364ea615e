"""Read untrusted files: regular files only, with bounded bytes, nodes, depth and digits.

Every limit is multiplied by the environment variable TUTELAGE_LIMITS, which `--limits` sets.

Covers: file size, YAML aliases and merges (counted expanded), nesting, huge integers, text that is not UTF-8,
FIFOs, devices and folders. Does not cover: what a C library does with bytes inside these limits.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Hashable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import yaml

from ..errors import TutelageError

VARIABLE = "TUTELAGE_LIMITS"
"""Environment variable with a factor for every limit; worker processes inherit it."""


@dataclass(frozen=True)
class Limits:
    """Limits on the content of one file.

    `text_bytes` limits YAML and JSON, `expanded_bytes` the total unpacked size of a file, `allocation_bytes`
    a single allocation: a row group, an array, a member of an archive.
    """

    text_bytes: int = 64 << 20
    expanded_bytes: int = 4 << 30
    nodes: int = 2_000_000
    depth: int = 100
    digits: int = 400
    allocation_bytes: int = 1 << 30

    @classmethod
    def current(cls) -> Limits:
        """Return the limits times TUTELAGE_LIMITS; raises TutelageError if that is not a valid factor."""
        text = os.environ.get(VARIABLE, "1")
        try:
            factor = float(text)
        except ValueError:
            factor = 0.0
        if not 0 < factor < 1e6:
            raise TutelageError(f"expected {VARIABLE} to be a factor like 4, got {text!r}")
        default = cls()
        return cls(*(int(getattr(default, name) * factor) for name in cls.__dataclass_fields__))


def too_large(where: object, quantity: str, limit: int) -> TutelageError:
    """Return the error for a file beyond a limit; `quantity` is a noun such as "bytes"."""
    return TutelageError(
        f"expected at most {limit:,} {quantity} in {where}, got more; "
        f"if you trust it, raise the limit with --limits 4"
    )


def open_regular(path: str | Path) -> BufferedReader:
    """Open a regular file for reading, without blocking on a FIFO or device.

    Raises FileNotFoundError if there is none; TutelageError if it is not a regular file or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise TutelageError(f"expected to read {path}, got: {error}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise TutelageError(f"expected a file at {path}, got something else (a folder, pipe or device)")
    return os.fdopen(handle, "rb")


def real_path(path: str | Path) -> Path:
    """Return the absolute path with links resolved; a link loop stays as it is.

    Raises TutelageError for an invalid path. (Python's `Path.resolve` raises other errors.)
    """
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:
        raise TutelageError(f"expected a path, got {str(path)!r:.200} ({error})") from None


def read_bytes(path: str | Path, limit: int | None = None) -> bytes:
    """Read a regular file of at most `limit` bytes (default: `expanded_bytes`). Errors as `open_regular`."""
    most = Limits.current().expanded_bytes if limit is None else limit
    with open_regular(path) as file:
        try:
            # `read` allocates what it is asked for, which a limit on the process's memory may forbid
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(size, most) + 1)
            if size < len(data) <= most:  # it has grown
                data += file.read(most + 1 - len(data))
        except OSError as error:
            raise TutelageError(f"expected to read {path}, got: {error}") from None
    if len(data) > most:
        raise too_large(path, "bytes", most)
    return data


def read_text(path: str | Path) -> str:
    """Read a UTF-8 text file of at most `text_bytes`. Errors as `open_regular`."""
    return decode_text(read_bytes(path, Limits.current().text_bytes), path)


def decode_text(data: bytes, where: object) -> str:
    """Decode UTF-8; raises TutelageError with the position of the first invalid byte."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TutelageError(f"expected UTF-8 text in {where}, got another byte at {error.start}") from None


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file. Errors as `parse_yaml` and `open_regular`."""
    return parse_yaml(read_text(path), str(path))


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML with standard tags only; raises TutelageError if it is invalid or beyond a limit."""
    limits = Limits.current()
    if len(text) > limits.text_bytes:
        raise too_large(where, "letters of YAML", limits.text_bytes)
    try:
        loader = _BoundedLoader(text)
        loader.limits, loader.where = limits, where
        return loader.get_single_data()
    except yaml.YAMLError as error:
        raise TutelageError(f"{where}: expected YAML, got {' '.join(str(error).split())}") from None
    except (ValueError, OverflowError, RecursionError, TypeError, AttributeError) as error:
        raise TutelageError(f"{where}: expected YAML, got a value that cannot be read ({error})") from None


def read_json(path: str | Path) -> Any:
    """Read a JSON file. Errors as `parse_json` and `open_regular`."""
    return parse_json(read_text(path), str(path))


def parse_json(text: str | bytes, where: str) -> Any:
    """Parse JSON; raises TutelageError if it is invalid or beyond a limit."""
    limits = Limits.current()
    if len(text) > limits.text_bytes:
        raise too_large(where, "bytes of JSON", limits.text_bytes)
    plain = decode_text(text, where) if isinstance(text, bytes) else text
    try:
        return json.loads(plain, parse_int=_bounded_integer)
    except RecursionError:
        raise too_large(where, "levels of nesting", limits.depth) from None
    except ValueError as error:
        raise TutelageError(f"{where}: expected JSON, got: {error}") from None


_PLAIN_DIGITS = 18
"""Integers up to this many digits are parsed without looking up the limit."""


def _bounded_integer(digits: str) -> int:
    if len(digits) <= _PLAIN_DIGITS:
        return int(digits)
    most = Limits.current().digits
    if len(digits) > most:
        raise ValueError(f"an integer of {len(digits)} digits, where {most} are allowed")
    return int(digits)


class _BoundedLoader(yaml.SafeLoader):
    """The safe loader with limits; nodes are counted with every alias expanded."""

    limits: Limits
    where: str

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None:
            _expanded_size(node, self.limits, self.where)
        return node

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth = getattr(self, "_depth", 0) + 1
        if self._depth > self.limits.depth:
            raise too_large(self.where, "levels of nesting", self.limits.depth)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_yaml_int(self, node: Any) -> int:
        if len(str(node.value)) > self.limits.digits:
            raise too_large(self.where, "digits in an integer", self.limits.digits)
        return int(super().construct_yaml_int(node))

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        if isinstance(node, yaml.MappingNode):
            keys: set[tuple[str, str]] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    continue
                if (key.tag, key.value) in keys:
                    raise TutelageError(
                        f"{self.where}: expected every key once, got {key.value!r} twice; remove one"
                    )
                keys.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


_BoundedLoader.add_constructor("tag:yaml.org,2002:int", _BoundedLoader.construct_yaml_int)


def _expanded_size(root: Any, limits: Limits, where: str) -> int:
    """Count the nodes below `root` with aliases expanded; raises TutelageError beyond the limit."""
    sizes: dict[int, int] = {}
    inside: set[int] = set()

    def count(node: Any) -> int:
        key = id(node)
        if key in sizes:
            return sizes[key]
        if key in inside:
            raise TutelageError(f"{where}: expected a tree, got an alias that contains itself")
        inside.add(key)
        total = 1
        if isinstance(node, yaml.MappingNode):
            total += sum(count(name) + count(value) for name, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            total += sum(count(item) for item in node.value)
        inside.discard(key)
        if total > limits.nodes:
            raise too_large(where, "nodes of YAML, aliases written out", limits.nodes)
        sizes[key] = total
        return total

    return count(root)
