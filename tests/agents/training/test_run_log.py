"""What came of rounds of self-imitation is read as it was written, or the changed line is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from tutelage.agents.training.run_log import SelfImitationRound, read_rounds, write_rounds
from tutelage.agents.training.sealed_lines import seal_lines
from tutelage.errors import TutelageError
from tutelage.tests.support.damage import flip_bit, for_any_bit

ROUNDS = [
    SelfImitationRound(1, {"go": 0.25}, 7, {"go": 0.75}),
    SelfImitationRound(2, {"go": 0.5}, 9, {"go": 1.0}),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_rounds(folder, ROUNDS)
    return folder


def test_rounds_survive_a_file(run: Path, tmp_path: Path) -> None:
    assert read_rounds(run) == ROUNDS
    assert read_rounds(tmp_path) == []
    write_rounds(tmp_path, [])
    assert read_rounds(tmp_path) == []


@for_any_bit(150, cut=st.booleans())
def test_any_flipped_bit_and_any_cut_is_found(
    run: Path, tmp_path: Path, where: float, bit: int, cut: bool
) -> None:
    data, path = (run / "self_imitation.jsonl").read_bytes(), tmp_path / "self_imitation.jsonl"
    path.write_bytes(data[: int(where * len(data))] if cut else data)
    if not cut:
        flip_bit(path, where, bit)
    with pytest.raises(TutelageError, match=r"self_imitation\.jsonl.*the rounds are done again"):
        read_rounds(tmp_path)


@pytest.mark.parametrize(
    "records",
    [
        [{"number": 1}, {"rounds": 1}],
        [{"number": "x", "tried": {}, "kept": 1, "select": {}}, {"rounds": 1}],
        [{"number": 1, "tried": {"go": None}, "kept": 1, "select": {}}, {"rounds": 1}],
        [{"rounds": 5}],
        [],
    ],
    ids=str,
)
def test_sealed_lines_that_are_no_rounds_are_refused(records: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "self_imitation.jsonl").write_text(seal_lines(records))
    with pytest.raises(TutelageError, match=r"self_imitation\.jsonl"):
        read_rounds(tmp_path)
