"""Bound the memory of a Parquet column from its page headers alone, before any page is decoded.

A page header gives the number of values and bytes after decompression. Repeated values cost almost nothing in
the file: a few bytes may encode a billion numbers, or a long text a million times.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa

from .thrift import CompactReader, Struct, ThriftError

_HEADER, _LARGEST_HEADER = 512, 1 << 20
_VALUE_OVERHEAD = 16
"""Bytes per value in addition to its data: levels, offset, validity."""
_LOOSE = 16 << 20
"""Up to this bound in bytes, a dictionary's size stands for its longest text; above, that is measured."""
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_FROM_DICTIONARY = (2, 8)
_DELTA_STRINGS = 7  # texts share prefixes with the one before: a page may grow with the square of its bytes


class UnreadablePagesError(ValueError):
    """The pages of a column do not match the footer."""


@dataclass(frozen=True)
class _Page:
    kind: int
    values: int
    encoding: int
    size: int
    compressed: int
    begin: int  # offset of the data after the header


def schema_depth(footer: bytes, most: int) -> tuple[int, int]:
    """Return the number of schema elements of a footer, and their nesting depth.

    Raises UnreadablePagesError for an invalid tree, or for more than `most` elements.
    """
    try:
        elements = CompactReader(footer).struct(last=2).get(2)
    except ThriftError as error:
        raise UnreadablePagesError(f"a footer that cannot be read ({error})") from None
    if not isinstance(elements, list) or not elements or len(elements) > most:
        raise UnreadablePagesError("a footer without a schema, or with too large a one")
    deepest, waiting = 0, [1]
    for element in elements:
        while waiting and not waiting[-1]:
            waiting.pop()
        if not waiting or not isinstance(element, dict):
            raise UnreadablePagesError("a schema that is no tree")
        waiting[-1] -= 1
        children = element.get(5, 0)
        if not isinstance(children, int) or not 0 <= children <= len(elements):
            raise UnreadablePagesError("a schema that is no tree")
        waiting.append(children)
        deepest = max(deepest, len(waiting) - 1)
    return len(elements), deepest


def column_bytes(file: IO[bytes], chunk: Any, width: int, file_size: int) -> int:
    """Return an upper bound of a column chunk's bytes in memory; raises UnreadablePagesError.

    `chunk` is pyarrow's column chunk metadata, `width` the length in bytes of a fixed-length type.
    """
    values, size, from_dictionary = 0, 0, 0
    dictionary: _Page | None = None
    for page in _pages(file, chunk, file_size):
        size += page.size
        if page.kind == _DICTIONARY:
            dictionary = page
            continue
        if page.encoding == _DELTA_STRINGS:
            raise UnreadablePagesError("texts in an encoding that may grow without bounds (DELTA_BYTE_ARRAY)")
        values += page.values
        from_dictionary += page.values if page.encoding in _FROM_DICTIONARY else 0
    values = max(values, chunk.num_values)
    size += values * _VALUE_OVERHEAD
    if chunk.physical_type != "BYTE_ARRAY":
        return size + values * _WIDTHS.get(chunk.physical_type, width)
    if dictionary is None:
        return size
    longest = max(0, dictionary.size - 4 * dictionary.values)
    if from_dictionary * longest > _LOOSE:
        longest = min(longest, _longest_text(file, chunk, dictionary))
    return size + from_dictionary * longest


def _pages(file: IO[bytes], chunk: Any, file_size: int) -> Iterator[_Page]:
    if not chunk.total_compressed_size:  # a table without rows
        return
    begin = chunk.data_page_offset
    if (
        chunk.has_dictionary_page
        and chunk.dictionary_page_offset > 0
        and not 0 < begin < chunk.dictionary_page_offset
    ):
        begin = chunk.dictionary_page_offset
    end = begin + chunk.total_compressed_size
    if not 4 <= begin <= end <= file_size:
        raise UnreadablePagesError("a column that lies outside of the file")
    while begin < end:
        page = _read_page(file, begin, end)
        yield page
        begin = page.begin + page.compressed


def _read_page(file: IO[bytes], begin: int, end: int) -> _Page:
    header, behind = _read_header(file, begin, end)
    kind = header.get(1, -1)
    inner = header.get({_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}.get(kind, 0), {})
    encoding = inner.get(4 if kind == _DATA_V2 else 2, 0) if isinstance(inner, dict) else 0
    numbers = [header.get(2, -1), header.get(3, -1), inner.get(1, 0) if isinstance(inner, dict) else -1]
    if not all(isinstance(number, int) and number >= 0 for number in [kind, encoding, *numbers]):
        raise UnreadablePagesError("a page header without its sizes")
    size, compressed, values = numbers
    if behind + compressed > end:
        raise UnreadablePagesError("a page that is longer than its column")
    return _Page(kind, values, encoding, size, compressed, behind)


def _read_header(file: IO[bytes], begin: int, end: int) -> tuple[Struct, int]:
    """Read a page header; return it and the offset after it. Statistics may make one long."""
    length = _HEADER
    while True:
        file.seek(begin)
        data = file.read(min(length, end - begin))
        reader = CompactReader(data)
        try:
            return reader.struct(), begin + reader.at
        except ThriftError as error:
            if len(data) < length or length >= _LARGEST_HEADER:
                raise UnreadablePagesError(f"a page header that cannot be read ({error})") from None
            length *= 8


def _longest_text(file: IO[bytes], chunk: Any, page: _Page) -> int:
    """Return the bytes of the longest text of a dictionary page, or the page's size if unreadable."""
    file.seek(page.begin)
    data: Any = file.read(page.compressed)
    if chunk.compression != "UNCOMPRESSED":
        try:
            codec = pa.Codec(chunk.compression.lower())
            data = memoryview(codec.decompress(data, decompressed_size=page.size))
        except (pa.ArrowException, ValueError, OSError):
            return page.size
    offset, longest = 0, 0
    while offset + 4 <= len(data):
        (length,) = struct.unpack_from("<I", data, offset)
        longest, offset = max(longest, length), offset + 4 + length
    return longest
