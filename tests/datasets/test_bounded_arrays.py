"""What a few bytes unpack to is known before it is unpacked: Parquet, NumPy, gzip, zip, HDF5, tensors."""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tutelage.agents.policy.bounded_tensors import parse_tensors
from tutelage.datasets.formats.bounded_hdf5 import check_hdf5
from tutelage.datasets.maintenance.byte_search import ByteSearch
from tutelage.datasets.parquet.bounded_parquet import BoundedParquet, read_table
from tutelage.datasets.parquet.thrift import CompactReader, ThriftError
from tutelage.errors import TutelageError
from tutelage.files.bounded_archives import gunzip, gunzip_blocks, open_zip, read_npz, zip_blocks
from tutelage.files.bounded_files import VARIABLE


@pytest.fixture(autouse=True)
def _without_memory() -> Iterator[None]:
    """Hold the test to 512 MB more than there was: a bomb that goes off is seen."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 512 << 10, f"{grown >> 10} MB more than before"


def repeated(value: object, kind: pa.DataType, count: int) -> pa.Array:
    """Give a column of one value, many times, which takes no room in a file, and little in memory here."""
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int8), pa.array([value], kind))


def written(path: Path, column: pa.Array, **options: object) -> Path:
    pq.write_table(pa.table({"bomb": column}), path, row_group_size=1 << 30, compression="zstd", **options)
    return path


def nulls(count: int) -> pa.Array:
    return pa.nulls(count, pa.list_(pa.int64()))


READ: list[Callable[[BoundedParquet], object]] = [
    lambda file: file.read(),
    lambda file: file.read_row_group(0),
    lambda file: [*file.iter_batches(8)],
]


@pytest.mark.parametrize("read", READ, ids=["whole", "a row group", "batches"])
@pytest.mark.parametrize(
    ("column", "factor"),
    [
        (repeated("x" * (1 << 20), pa.string(), 100_000), "1"),
        (repeated(b"x" * (1 << 12), pa.binary(1 << 12), 20_000), "0.01"),
        (repeated(7, pa.int64(), 4_000_000), "0.01"),
        (nulls(5_000_000), "0.01"),
    ],
    ids=["one long text", "one wide value", "one number", "nothing at all"],
)
def test_a_value_that_a_dictionary_repeats_is_counted_before_it_is_repeated(
    tmp_path: Path,
    column: pa.Array,
    factor: str,
    read: Callable[[BoundedParquet], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = written(tmp_path / "bomb.parquet", column, store_schema=False)
    assert path.stat().st_size < 300_000
    monkeypatch.setenv(VARIABLE, factor)
    file = BoundedParquet(path)
    with pytest.raises(TutelageError, match=r"expected at most .* bytes of memory .*--limits"):
        read(file)


def test_a_table_of_many_groups_is_read_by_groups_and_not_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.parquet"
    pq.write_table(pa.table({"number": np.zeros(1 << 20)}), path, row_group_size=1 << 16)
    monkeypatch.setenv(VARIABLE, "0.003")  # 3 MB at once, 12 MB in all
    file = BoundedParquet(path)
    assert sum(len(file.read_row_group(at)) for at in range(file.num_row_groups)) == 1 << 20
    with pytest.raises(TutelageError, match="--limits"):
        file.read()
    monkeypatch.setenv(VARIABLE, "1")
    assert len(BoundedParquet(path).read()) == 1 << 20


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "brotli", "zstd", "lz4"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_what_honest_files_take_is_never_said_too_low(tmp_path: Path, compression: str, version: str) -> None:
    generator = np.random.default_rng(0)
    texts = ["a text of some length " * int(n) for n in generator.integers(0, 9, 5000)]
    table = pa.table(
        {
            "text": texts,
            "flag": generator.random(5000) < 0.5,
            "list": [[1.5] * int(n) for n in generator.integers(0, 9, 5000)],
            "nested": [{"a": [n, None], "b": "x"} for n in range(5000)],
            "blob": pa.array([bytes(3)] * 5000, pa.binary(3)),
        }
    )
    path = tmp_path / "honest.parquet"
    pq.write_table(
        table,
        path,
        compression=compression,
        data_page_version=version,
        row_group_size=1000,
        data_page_size=999,
    )
    file = BoundedParquet(path)
    assert file.read().equals(table)
    assert sum(file._sizes.values()) >= table.nbytes
    assert sum(file._sizes.values()) < 8 * table.nbytes, "and not far too high"


def test_a_table_without_rows_is_one(tmp_path: Path) -> None:
    schema = pa.schema([("text", pa.string()), ("list", pa.list_(pa.int64()))])
    pq.write_table(schema.empty_table(), tmp_path / "empty.parquet")
    file = BoundedParquet(tmp_path / "empty.parquet")
    assert file.read().equals(schema.empty_table())
    assert [*file.iter_batches(8, ["text"])] == []
    assert len(read_table(tmp_path / "empty.parquet", schema)) == 0


def test_texts_that_grow_with_the_square_of_their_bytes_are_refused(tmp_path: Path) -> None:
    column = pa.array(["x" * 100] * 10)
    options = {"use_dictionary": False, "column_encoding": {"bomb": "DELTA_BYTE_ARRAY"}}
    path = written(tmp_path / "bomb.parquet", column, **options)
    with pytest.raises(TutelageError, match="DELTA_BYTE_ARRAY"):
        read_table(path)


def test_text_that_is_no_utf_8_and_columns_of_another_type_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.parquet"
    odd = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(struct.pack("<ii", 0, 2)), pa.py_buffer(b"\xff\xfe")]
    )
    pq.write_table(pa.table({"text": odd}), path)
    with pytest.raises(TutelageError, match=r"UTF-?8"):
        BoundedParquet(path).read()
    with pytest.raises(TutelageError, match=r"expected column 'text' of .* to be int64, got string"):
        read_table(path, pa.schema([("text", pa.int64())]))


def test_a_footer_that_nests_deeply_never_reaches_arrow(tmp_path: Path) -> None:
    # FileMetaData with field 2, a list of structs {3: repetition, 4: name, 5: children}
    element = b"\x35\x02\x18\x01a\x15\x02\x00"
    footer = b"\x15\x02\x19\xfc" + b"\xd0\x0f" + element * 2000 + b"\x00"
    path = tmp_path / "deep.parquet"
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(TutelageError, match="nesting"):
        BoundedParquet(path)


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_struct_or_one_error(data: bytes) -> None:
    try:
        CompactReader(data).struct()
    except ThriftError:
        return


@pytest.mark.parametrize("name", ["pipe", "folder", "empty", "short", "zeros"])
def test_what_is_no_parquet_file_is_said_so(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif name == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes({"empty": b"", "short": b"PAR1PAR1", "zeros": bytes(5000)}[name])
    with pytest.raises(TutelageError, match="expected a"):
        BoundedParquet(path)


def npz(*members: tuple[str, bytes], compressed: bool = True) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def npy(shape: str, descr: str = "'<f8'", data: bytes = b"") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (npz(("leaf/a.npy", npy("(1000000000,)"))), "8,000,000,000"),
        (npz(("leaf/a.npy", npy("(3, 1)", "'<U1000000000'"))), "expected a NumPy array"),
        (npz(*[(f"leaf/{n}.npy", npy("(80000000,)")) for n in range(3)]), "640,000,000|another number"),
        (npz(("leaf/a.npy", npy("(2,)", data=bytes(8)))), "another number"),
        (npz(("leaf/a.npy", npy("(2,)", data=bytes(24)))), "another number"),
        (npz(("leaf/a.npy", npy("(-2,)"))), "expected numbers or text"),
        (npz(("leaf/a.npy", npy("(1,)", "'|O'"))), "expected numbers or text"),
        (npz(("leaf/a.npy", npy("(1,)", "[('a', '<f8')]"))), "expected numbers or text"),
        (npz(("leaf/a.npy", npy("(" * 3000))), "expected a NumPy array"),
        (npz(("leaf/a.npy", b"x")), "expected a NumPy array"),
        (b"", "archive"),
        (npz(("leaf/a.npy", npy("(2,)", data=bytes(16))))[:-30], "archive"),
    ],
    ids=range(12),
)
def test_an_npz_is_refused_by_what_its_headers_say(data: bytes, what: str) -> None:
    with pytest.raises(TutelageError, match=what):
        read_npz(data, "the episode")


def test_a_list_of_a_million_members_is_not_read() -> None:
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, 500 << 20, 0, 0)
    with pytest.raises(TutelageError, match="list of members"):
        open_zip(io.BytesIO(bytes(100) + end), "it")


@given(st.lists(st.sampled_from(["<f8", "<i4", "|u1", "<U7", "|b1"]), max_size=4), st.booleans())
def test_honest_arrays_come_back_as_they_were(kinds: list[str], fortran: bool) -> None:
    arrays = {str(n): np.arange(12).reshape(3, 4).astype(kind) for n, kind in enumerate(kinds)}
    if fortran:
        arrays = {name: np.asfortranarray(array) for name, array in arrays.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    again = read_npz(buffer.getvalue(), "it")
    assert {*again} == {*arrays}
    assert all(np.array_equal(again[name], arrays[name]) for name in arrays)


def zeros(gigabytes: int) -> bytes:
    """Give .gz bytes of so many gigabytes of zeros: packed files one after another are one."""
    return gzip.compress(bytes(64 << 20), 1) * (16 * gigabytes)


def test_gzip_is_unpacked_to_its_limit_and_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TutelageError, match="expected at most 67,108,864 bytes, unpacked"):
        gunzip(zeros(1), "it")
    monkeypatch.setenv(VARIABLE, "0.1")
    (tmp_path / "bomb.gz").write_bytes(zeros(1))
    search = ByteSearch(("somebody",))
    search.folder(tmp_path)
    assert len(search.found) == 1
    assert "--limits" in search.found[0]


@pytest.mark.parametrize("tail", [b"", b"\0" * 512])
def test_honest_gzip_is_unpacked_whole_members_and_padding_too(tail: bytes) -> None:
    data = gzip.compress(b"a" * 3_000_000) + gzip.compress(b"b" * 5) + tail
    assert gunzip(data, "it") == b"a" * 3_000_000 + b"b" * 5
    for cut in (1, 9, 20, 200):
        with pytest.raises(TutelageError, match=r"\.gz"):
            b"".join(gunzip_blocks(io.BytesIO(gzip.compress(b"abc" * 99)[:-cut]), "it"))


def test_a_zip_within_a_zip_is_looked_into_and_a_tower_of_them_is_not(tmp_path: Path) -> None:
    inner = npz(("deep.txt", b"x somebody x"))
    (tmp_path / "two.zip").write_bytes(npz(("one.zip", inner)))
    search = ByteSearch(("somebody",))
    search.folder(tmp_path)
    assert search.found == [str(tmp_path / "two.zip")]
    for _ in range(8):
        inner = npz(("next.zip", inner))
    with zipfile.ZipFile(io.BytesIO(inner)) as archive:
        assert b"".join(zip_blocks(archive, "next.zip", "it")).startswith(b"PK")
    (tmp_path / "two.zip").write_bytes(inner)
    again = ByteSearch(("nobody",))
    again.folder(tmp_path)
    assert len(again.found) == 1, "what cannot be looked into may hold anything"


Change = Callable[[h5py.File], object]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda file: file.__setitem__("out", h5py.ExternalLink("/etc/passwd", "/")), "link"),
        (lambda file: file.__setitem__("out", h5py.SoftLink("/a")), "link"),
        (
            lambda file: file.create_dataset("b", (10,), "u1", external=[("/etc/passwd", 0, 10)]),
            "other files",
        ),
        (
            lambda file: file.create_dataset("b", (10**10,), "f8", chunks=(100,), compression="gzip"),
            "80,000,000,000",
        ),
        (lambda file: file.create_dataset("b", (4,), h5py.ref_dtype), "numbers or text"),
        (lambda file: file.create_dataset("b", (4,), h5py.vlen_dtype(np.int32)), "numbers or text"),
    ],
    ids=["external link", "soft link", "external numbers", "large", "references", "lists"],
)
def test_hdf5_that_leaves_its_file_or_its_limits_is_refused(
    tmp_path: Path, change: Change, what: str
) -> None:
    path = tmp_path / "data.hdf5"
    with h5py.File(path, "w") as file:
        file.create_group("episode").create_dataset("a", data=np.arange(5), compression="gzip", shuffle=True)
        file["episode"]["words"] = ["some", "words"]
        file["episode"].attrs["seed"] = 3
    check_hdf5(path)
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(TutelageError, match=what):
        check_hdf5(path)


def test_virtual_numbers_of_another_file_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.hdf5", "w") as file:
        file["a"] = np.arange(5)
    layout = h5py.VirtualLayout((5,), "i8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.hdf5"), "a", (5,))
    with h5py.File(tmp_path / "data.hdf5", "w") as file:
        file.create_virtual_dataset("b", layout)
    with pytest.raises(TutelageError, match="other files"):
        check_hdf5(tmp_path / "data.hdf5")


def test_a_truncated_hdf5_file_is_one_line(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "data.hdf5", "w") as file:
        file["a"] = np.arange(5000)
    data = (tmp_path / "data.hdf5").read_bytes()
    for size in (0, 7, 600, len(data) // 2):
        (tmp_path / "data.hdf5").write_bytes(data[:size])
        with pytest.raises(TutelageError, match="expected an HDF5 file"):
            check_hdf5(tmp_path / "data.hdf5")


def tensors(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        (1 << 40).to_bytes(8, "little") + b"{}",
        tensors([]),
        tensors({"a": 3}),
        tensors({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4]}}, bytes(4)),
        tensors({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
        tensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}}, bytes(4)),
        tensors({"a": {"dtype": "F9", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        tensors({"__metadata__": {"facts": 3}}),
        b"\x05\0\0\0\0\0\0\0[[[[[",
    ],
    ids=range(11),
)
def test_tensors_that_their_header_does_not_fit_are_refused(data: bytes) -> None:
    with pytest.raises(TutelageError, match=r"\bit\b.*got"):
        parse_tensors(data, "it")
