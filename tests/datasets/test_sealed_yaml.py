"""A sealed document is read as it was written, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tutelage.datasets.sealed_yaml import read_sealed, seal_of, sealed
from tutelage.errors import TutelageError

DOCUMENT = {"version": 1, "edges": [-0.014759831654373556, 1e-05, 3.0], "name": "pole", "flags": [True, None]}


@pytest.mark.slow
def test_every_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    data = sealed(DOCUMENT)
    for place in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(TutelageError):
            read_sealed(path, 1, "checkpoint")
    path.write_bytes(data)
    assert read_sealed(path, 1, "checkpoint") == DOCUMENT | {"seal": seal_of(DOCUMENT)}


@pytest.mark.parametrize("line", ["file_sha256: ''\n", "file_sha256:\n", f"file_sha256: {'0' * 64}\n"])
def test_another_last_line_is_refused(line: str, tmp_path: Path) -> None:
    lines = sealed(DOCUMENT).decode().splitlines(keepends=True)
    (tmp_path / "policy.yaml").write_text("".join(lines[:-1]) + line)
    with pytest.raises(TutelageError, match="got other bytes"):
        read_sealed(tmp_path / "policy.yaml", 1, "checkpoint")


def test_a_document_of_before_is_read_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump({**DOCUMENT, "seal": seal_of(DOCUMENT)}))
    assert read_sealed(path, 1, "checkpoint")["name"] == "pole"
    path.write_text(yaml.safe_dump({**DOCUMENT, "name": "cart", "seal": seal_of(DOCUMENT)}))
    with pytest.raises(TutelageError, match="got other bytes"):
        read_sealed(path, 1, "checkpoint")
