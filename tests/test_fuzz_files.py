"""Any file that a user hands over ends in an answer or in one line, in bounded time and memory."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tutelage.tests.support.fuzz_files import VERBS, Fuzzer
from tutelage.tests.support.fuzz_seals import seal

pytestmark = pytest.mark.xdist_group("fuzz")  # the specimens are made once

CASES = 40
SOAK_CASES = 10_000
_BLOCK = 20
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzer]:
    """Give specimens of every kind, and what runs verbs on spoiled copies of them."""
    fuzzer = Fuzzer(tmp_path_factory.mktemp("fuzz"))
    yield fuzzer
    fuzzer.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "often", [True, pytest.param(False, marks=pytest.mark.soak)], ids=["often", "seldom"]
)
def test_every_verb_takes_the_sound_specimens(fuzzer: Fuzzer, often: bool) -> None:
    for verb in dict.fromkeys(verb for _, verb, weight in VERBS if (weight > 3) == often):
        with fuzzer.copy(verb) as folder:
            outcome = fuzzer.judge(0, "nothing", verb, folder)
            assert not outcome.faults, outcome
            assert outcome.answer["status"] == 0, outcome


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, CASES, _BLOCK))
def test_spoiled_files_end_in_one_line(fuzzer: Fuzzer, first: int) -> None:
    outcomes = [fuzzer.case(number) for number in range(first, first + _BLOCK)]
    assert not [str(outcome) for outcome in outcomes if outcome.faults]


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_ten_thousand_spoiled_files_end_in_one_line(fuzzer: Fuzzer) -> None:
    outcomes = (fuzzer.case(number) for number in range(CASES, SOAK_CASES))
    assert not [str(outcome) for outcome in outcomes if outcome.faults]


def _bomb(path: Path) -> None:
    path.write_text(BOMB, "utf-8")


def _digits(path: Path) -> None:
    path.write_text("suite: " + "9" * 200_000, "utf-8")


def _not_text(path: Path) -> None:
    path.write_bytes(b"suite: \xff\xfe")


def _pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


TEXTS = [
    ("suite.yaml", "tasks suite.yaml"),
    ("pilot.yaml", "serve pilot.yaml --check"),
    ("store/dataset.yaml", "inspect store --workers 1"),
    ("config.yaml", "train store -o out --config config.yaml --workers 1"),
    ("run/kept/policy.yaml", "evaluate run -o out --episodes 1 --actor random"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil", [_bomb, _digits, _not_text, _pipe, _device], ids=lambda function: function.__name__[1:]
)
@pytest.mark.parametrize(("place", "verb"), TEXTS, ids=[place for place, _ in TEXTS])
def test_a_bomb_of_yaml_goes_off_nowhere(
    fuzzer: Fuzzer, place: str, verb: str, spoil: Callable[[Path], None]
) -> None:
    with fuzzer.copy(verb) as folder:
        spoil(folder / place)
        outcome = fuzzer.judge(0, spoil.__name__, verb, folder)
    assert not outcome.faults, outcome
    assert outcome.answer["status"] == 2, outcome


def test_eight_kilobytes_of_parquet_are_refused_before_they_are_gigabytes(fuzzer: Fuzzer) -> None:
    verb = "inspect store --workers 1"
    with fuzzer.copy(verb) as folder:
        part = sorted((folder / "store").glob("part-*"))[0]
        table = pq.read_table(part)
        text = pa.DictionaryArray.from_arrays(np.zeros(20_000, np.int8), pa.array(["x" * (1 << 20)]))
        rows = {
            name: pa.array([table[name][0].as_py()] * 20_000, table[name].type) for name in table.column_names
        }
        schema = table.schema.set(table.schema.get_field_index("notes"), pa.field("notes", text.type))
        pq.write_table(
            pa.table(rows | {"notes": text}, schema=schema), part, compression="zstd", store_schema=False
        )
        seal(part)
        outcome = fuzzer.judge(0, "a text of 1 MB, 20,000 times", verb, folder)
    assert not outcome.faults, outcome
    assert outcome.answer["status"] == 2, outcome


def test_a_gigabyte_in_a_recording_is_counted_as_unusable(fuzzer: Fuzzer) -> None:
    verb = "import miniwob-turk raw -o out"
    with fuzzer.copy(verb) as folder:
        file = next((folder / "raw").rglob("*.json.gz"))
        file.write_bytes(gzip.compress(b" " * (16 << 20), 1) * 64)
        outcome = fuzzer.judge(0, "a gigabyte of spaces", verb, folder)
    assert not outcome.faults, outcome
    assert "beyond a limit" in outcome.answer["out"]


@pytest.mark.slow
def test_the_same_number_is_the_same_case(fuzzer: Fuzzer) -> None:
    first, again = fuzzer.case(7), fuzzer.case(7)
    assert (first.done, first.verb, first.answer["status"]) == (
        again.done,
        again.verb,
        again.answer["status"],
    )
    assert random.Random(7).random() == random.Random(7).random()
