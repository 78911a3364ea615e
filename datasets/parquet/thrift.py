"""Read Thrift's compact protocol, which encodes Parquet's footers and page headers, within bounds.

Covers: structs of numbers, flags, binaries, lists, sets and structs. Does not cover: maps; Parquet has none.
"""

from __future__ import annotations

from typing import Any

_DEPTH = 16
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)

Struct = dict[int, Any]
"""Field number → value: int, bool, bytes, list or another struct."""


class ThriftError(ValueError):
    """The bytes are not a Thrift struct, or end inside one."""


class CompactReader:
    """Sequential reader of values; `at` is the offset of the next byte."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        self.at = 0

    def struct(self, depth: int = _DEPTH, last: int | None = None) -> Struct:
        """Read a struct; with `last`, stop after that field. Raises ThriftError."""
        if not depth:
            raise ThriftError("structs are nested too deeply")
        fields: Struct = {}
        number = 0
        while (head := self._byte()) != _STOP:
            kind, step = head & 15, head >> 4
            number = number + step if step else self._integer()
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth - 1)
            if number == last:
                break
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind == _STRUCT:
            return self.struct(depth)
        if kind in (_LIST, _SET):
            return self._list(depth)
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind == _DOUBLE:
            return self._bytes(8)
        raise ThriftError(f"no type has the number {kind}")

    def _list(self, depth: int) -> list[Any]:
        if not depth:
            raise ThriftError("lists are nested too deeply")
        head = self._byte()
        kind, size = head & 15, head >> 4
        size = self._varint() if size == 15 else size
        if size > len(self._data) - self.at:  # every value takes at least one byte
            raise ThriftError("a list is longer than the bytes")
        return [self._value(kind, depth - 1) for _ in range(size)]

    def _byte(self) -> int:
        if self.at >= len(self._data):
            raise ThriftError("the bytes end inside a struct")
        self.at += 1
        return self._data[self.at - 1]

    def _bytes(self, size: int) -> bytes:
        if size > len(self._data) - self.at:
            raise ThriftError("the bytes end inside a struct")
        self.at += size
        return bytes(self._data[self.at - size : self.at])

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
            if shift > 63:
                raise ThriftError("an integer has more than 64 bits")

    def _integer(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)
