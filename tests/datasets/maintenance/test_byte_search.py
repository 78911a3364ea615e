"""Words are found wherever they stand: across blocks, in what is compressed, in the names of files."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tutelage.datasets.maintenance import byte_search
from tutelage.datasets.maintenance.byte_search import ByteSearch, needles
from tutelage.datasets.store import Store
from tutelage.datasets.trajectory import Trajectory

WORD = "person-c0ffee"


def found(folder: Path, *words: str) -> list[str]:
    search = ByteSearch(words or (WORD,))
    search.folder(folder)
    return search.found


def test_a_word_is_found_wherever_the_blocks_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_search, "_BLOCK", 16)
    for at in range(40):
        (tmp_path / "file").write_bytes(b"x" * at + WORD.encode() + b"x" * 20)
        assert found(tmp_path) == [str(tmp_path / "file")], at
        (tmp_path / "file").write_bytes(b"x" * at + WORD[:-1].encode() + b"x" * 20)
        assert found(tmp_path) == [], at


@pytest.mark.parametrize("text", ["a/b c", "Zoë", 'quo"te', "\N{SNOWMAN}"])
def test_a_word_is_found_as_json_and_addresses_write_it(text: str, tmp_path: Path) -> None:
    for form in needles([text]):
        (tmp_path / "file").write_bytes(b"[" + form + b"]")
        assert found(tmp_path, text) == [str(tmp_path / "file")]
    assert text.encode() in needles([text])


def test_what_is_compressed_is_read(store: Store, record: Callable[..., Trajectory]) -> None:
    part = store.append([record(seed=at, demonstrator=WORD if at == 7 else "ann") for at in range(30)])
    assert found(store.path) == [str(part)]
    store.forget(WORD)
    assert found(store.path) == []
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("people.csv", WORD * 100)
    with zipfile.ZipFile(store.path / "outer.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.zip", inner.getvalue())
    (store.path / "log.gz").write_bytes(gzip.compress(WORD.encode() * 100))
    assert found(store.path) == [str(store.path / name) for name in ("log.gz", "outer.zip")]


def test_what_cannot_be_unpacked_is_named_for_somebody_to_look_at(tmp_path: Path) -> None:
    for name in ("a.zip", "b.gz", "c.parquet"):
        (tmp_path / name).write_bytes(b"no such thing" * 10)
    assert [one.split(", perhaps")[0] for one in found(tmp_path)] == [
        str(tmp_path / name) for name in ("a.zip", "b.gz", "c.parquet")
    ]


def test_names_are_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / f"log-of-{WORD}").mkdir()
    assert found(tmp_path) == [f"the name of {tmp_path / f'log-of-{WORD}'}"]
