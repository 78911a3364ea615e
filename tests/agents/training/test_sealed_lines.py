"""Lines of a log are what was written, or the changed one is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tutelage.agents.training.sealed_lines import read_lines, seal_lines
from tutelage.errors import TutelageError

RECORDS = [{"step": step, "loss": 1 / (step + 1), "task_loss": {"go": 0.5}} for step in range(8)]
WHOLE = seal_lines(RECORDS).encode()


def test_what_was_written_is_read_and_any_reader_of_json_lines_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(WHOLE)
    assert read_lines(path, "").records == RECORDS
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == list(range(8))
    assert read_lines(tmp_path / "absent.jsonl", "").records == []


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.integers(0, len(WHOLE) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_never_changes_a_record(tmp_path: Path, where: int, bit: int) -> None:
    data = bytearray(WHOLE)
    data[where] ^= 1 << bit
    path = tmp_path / "log.jsonl"
    path.write_bytes(bytes(data))
    if where == len(WHOLE) - 1:  # without its line feed the last line counts as unfinished
        read = read_lines(path, "do this")
        assert (read.records, read.torn) == (RECORDS[:-1], True)
    else:
        with pytest.raises(TutelageError, match=r"log\.jsonl"):
            read_lines(path, "do this")


@pytest.mark.parametrize("change", ["removed", "doubled", "swapped"])
def test_a_line_that_is_removed_doubled_or_swapped_is_named(change: str, tmp_path: Path) -> None:
    lines = WHOLE.decode().splitlines(keepends=True)
    changed = {
        "removed": lines[:3] + lines[4:],
        "doubled": lines[:4] + lines[3:],
        "swapped": [*lines[:3], lines[4], lines[3], *lines[5:]],
    }[change]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(changed))
    with pytest.raises(
        TutelageError, match=rf"line {5 if change == 'doubled' else 4} of .*log\.jsonl.*do this"
    ):
        read_lines(path, "do this")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, len(WHOLE)))
def test_a_file_that_is_cut_gives_the_whole_lines_before_the_cut(tmp_path: Path, size: int) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(WHOLE[:size])
    read = read_lines(path, "")
    assert read.records == RECORDS[: WHOLE[:size].count(b"\n")]
    assert read.torn == (size > 0 and not WHOLE[:size].endswith(b"\n"))
