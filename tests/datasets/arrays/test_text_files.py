"""Texts of a cache come back as they were, and only those that are asked for are decoded."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tutelage.datasets.arrays.text_files import MappedTexts, TextFiles, Texts
from tutelage.errors import TutelageError

any_text = st.text(st.characters(codec=None), max_size=12)  # lone surrogates too


def written(name: Path, texts: list[str]) -> np.ndarray:
    files = TextFiles(name)
    codes = np.array([files.number(text) for text in texts], np.int32)
    files.close()
    return codes


@given(st.lists(any_text, max_size=20), st.lists(st.integers(0, 19), max_size=10))
def test_texts_on_disk_are_those_in_memory(texts: list[str], rows: list[int]) -> None:
    memory = Texts()
    codes = np.array([memory.number(text) for text in texts], np.int32)
    with TemporaryDirectory() as folder:
        assert np.array_equal(written(Path(folder) / "0", texts), codes)
        leaf = MappedTexts(Path(folder) / "0").leaf(codes)
        chosen = np.array([row for row in rows if row < len(texts)], np.int64)
        assert len(leaf) == len(texts)
        assert leaf.take(chosen, axis=0).tolist() == [texts[row] for row in chosen]
        assert leaf[1:5].tolist() == texts[1:5]
        assert np.asarray(leaf).tolist() == texts
        if texts:
            assert memory.leaf(codes).tolist() == texts


def test_equal_texts_are_one_object(tmp_path: Path) -> None:
    codes = written(tmp_path / "0", ["page", "other", "page"])
    first, _, third = MappedTexts(tmp_path / "0").leaf(codes).take(np.arange(3))
    assert first is third


@pytest.mark.parametrize("ends", [[3, 2, 8], [3, 4], [3, 4, 9], [-1, 4, 8]])
def test_files_that_do_not_fit_are_refused(tmp_path: Path, ends: list[int]) -> None:
    written(tmp_path / "0", ["abc", "d", "efgh"])
    np.save(tmp_path / "0.ends.npy", np.array(ends, np.int64))
    with pytest.raises(TutelageError, match=r"ends of texts in 0\.ends\.npy that do not"):
        MappedTexts(tmp_path / "0")


def test_ends_of_another_type_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "0", ["abc"])
    np.save(tmp_path / "0.ends.npy", np.array([3.0]))
    with pytest.raises(TutelageError, match="do not fit"):
        MappedTexts(tmp_path / "0")
