"""TFRecord files of `tf.train.Example` messages, written without TensorFlow.

Sources: tensorflow.org/tutorials/load_data/tfrecord, protobuf.dev/programming-guides/encoding, RFC 3720.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit

_POLYNOMIAL = 0x82F63B78
_MASK = 0xA282EAD8


def _table() -> np.ndarray:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, (values >> 1) ^ np.uint32(_POLYNOMIAL), values >> 1).astype(np.uint32)
    return values


_TABLE = _table()


def record(data: bytes) -> bytes:
    """Frame one message: its length and its bytes, each followed by its masked CRC-32C."""
    length = struct.pack("<Q", len(data))
    return b"".join([length, _masked_crc(length), data, _masked_crc(data)])


def example(features: Mapping[str, np.ndarray | Sequence[bytes]]) -> bytes:
    """Encode an Example: bool and integer arrays as int64, float arrays as float32, bytes unchanged."""
    entries = [
        _field(1, _field(1, name.encode()) + _field(2, _feature(values))) for name, values in features.items()
    ]
    return _field(1, b"".join(entries))


def _feature(values: np.ndarray | Sequence[bytes]) -> bytes:
    """Encode a Feature: its bytes list has field number 1, floats 2, integers 3."""
    if not isinstance(values, np.ndarray):
        return _field(1, b"".join(_field(1, value) for value in values))
    flat = values.ravel()
    if flat.dtype.kind == "f":
        return _field(2, _field(1, flat.astype("<f4").tobytes()))
    return _field(3, _field(1, _varints(flat)))


def _field(number: int, data: bytes) -> bytes:
    """Encode a length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varints(values: np.ndarray) -> bytes:
    if values.dtype.kind in "bu" and not (values > 127).any():
        return values.astype(np.uint8).tobytes()
    return b"".join(map(_varint, values.tolist()))


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers: two's complement
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def _masked_crc(data: bytes) -> bytes:
    crc = int(_crc(np.frombuffer(data, np.uint8), _TABLE))
    rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + _MASK) & 0xFFFFFFFF)


def _crc_of(data: np.ndarray, table: np.ndarray) -> Any:
    """Return the CRC-32C of bytes `[n]` uint8; compiled, since it is sequential."""
    crc = np.uint32(0xFFFFFFFF)
    for value in data:
        crc = table[(crc ^ value) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)


_crc: Any = njit(cache=True)(_crc_of)
