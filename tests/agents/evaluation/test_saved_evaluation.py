"""An evaluation is read as it was written, or what was changed in it is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor
from tutelage.agents.evaluation.compare import measure, report_on
from tutelage.agents.evaluation.evaluate import evaluate
from tutelage.agents.evaluation.rows import read_rows
from tutelage.agents.evaluation.saved_evaluation import read_evaluation
from tutelage.datasets.sealed_yaml import seal_of
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError
from tutelage.tests.support.damage import copied, flip_bit, for_any_bit

TASK = {"id": "pole", "env": "CartPole-v1", "expert": "cartpole", "max_steps": 10}
SUITE = suite_from({"suite": "toy", "tasks": [TASK]})
ACTORS = [ExpertActor(), ChanceActor()]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation") / "measured"
    evaluate(SUITE, ACTORS, episodes=3, out=folder)
    return folder


def test_a_sound_evaluation_is_read(written: Path) -> None:
    saved = read_evaluation(written)
    assert len(saved.rows) == len(saved.store) == 6
    assert sorted(path.name for path in written.iterdir()) == ["episodes", "evaluation.yaml", "rows.parquet"]


@pytest.mark.slow
@for_any_bit(120)
def test_any_flipped_bit_in_the_rows_is_found(written: Path, tmp_path: Path, where: float, bit: int) -> None:
    folder = copied(written, tmp_path)
    flip_bit(folder / "rows.parquet", where, bit)
    with pytest.raises(TutelageError, match=r"rows\.parquet as it was written"):
        read_evaluation(folder)


@for_any_bit(60)
def test_a_flipped_bit_in_the_manifest_is_found_or_says_the_same(
    written: Path, tmp_path: Path, where: float, bit: int
) -> None:
    folder = copied(written, tmp_path)
    flip_bit(folder / "evaluation.yaml", where, bit)
    try:
        manifest = read_evaluation(folder).manifest
    except TutelageError as error:
        message = str(error)
    else:
        message = ""
        assert manifest == read_evaluation(written).manifest
    assert not message or "evaluation.yaml" in message


@pytest.mark.parametrize("change", ["flipped", "removed", "added"])
def test_episodes_that_are_not_those_of_the_evaluation_are_named(
    change: str, written: Path, tmp_path: Path
) -> None:
    folder = copied(written, tmp_path)
    part = sorted((folder / "episodes").glob("part-*"))[0]
    if change == "flipped":
        flip_bit(part, 0.5)
    elif change == "removed":
        part.unlink()
    else:
        store = Store.open(folder / "episodes")
        store.append([replace(next(store.trajectories()), episode="0" * 32)])
    with pytest.raises(TutelageError, match=r"episodes"):
        report_on(folder, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("name", ["rows.parquet", "evaluation.yaml"])
def test_a_missing_file_is_named(name: str, written: Path, tmp_path: Path) -> None:
    folder = copied(written, tmp_path)
    (folder / name).unlink()
    with pytest.raises(TutelageError, match="tutelage evaluate"):
        read_evaluation(folder)


def test_rows_of_another_evaluation_are_refused(written: Path, tmp_path: Path) -> None:
    folder = copied(written, tmp_path)
    evaluate(SUITE, [ChanceActor(seed=9)], episodes=2, out=tmp_path / "other")
    shutil.copy(tmp_path / "other" / "rows.parquet", folder)
    with pytest.raises(TutelageError, match="SHA-256"):
        read_evaluation(folder)


class Stops(ChanceActor):
    """An actor that fails in the middle of an evaluation."""

    def act(self, steps: object, alive: object) -> object:  # type: ignore[override]
        raise KeyboardInterrupt


def test_an_evaluation_that_is_stopped_leaves_the_one_before_it(written: Path, tmp_path: Path) -> None:
    folder = copied(written, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        evaluate(SUITE, [ExpertActor(), Stops()], episodes=3, out=folder)
    assert read_evaluation(folder).rows.equals(read_evaluation(written).rows)
    assert not (folder / ".new").exists()
    with pytest.raises(KeyboardInterrupt):
        evaluate(SUITE, [Stops()], episodes=3, out=tmp_path / "first")
    assert not (tmp_path / "first").exists()


def test_what_an_evaluation_left_that_was_killed_is_cleared_away(written: Path, tmp_path: Path) -> None:
    folder = copied(written, tmp_path)
    shutil.copytree(folder / "episodes", folder / ".new" / "episodes")
    evaluate(SUITE, [ChanceActor()], episodes=2, out=folder)
    assert len(read_evaluation(folder).rows) == 2
    assert sorted(path.name for path in folder.iterdir()) == ["episodes", "evaluation.yaml", "rows.parquet"]


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("kind", "alien", "expected kinds"),
        ("task", None, "in column 'task'"),
        ("success", None, "in column 'success'"),
        ("steps", 0, "steps and seconds"),
        ("seconds", float("nan"), "steps and seconds"),
        ("actor", "x" * 2000, "letters in actor|bytes of memory"),
    ],
)
def test_rows_that_no_episode_gives_are_refused(
    column: str, value: object, complaint: str, written: Path, tmp_path: Path
) -> None:
    rows = pq.read_table(written / "rows.parquet").to_pylist()
    rows[2][column] = value
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(written / "rows.parquet")), path)
    with pytest.raises(TutelageError, match=complaint):
        read_rows(path)


def test_rows_of_another_type_are_refused(written: Path, tmp_path: Path) -> None:
    rows = [row | {"seed": "many"} for row in pq.read_table(written / "rows.parquet").to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    with pytest.raises(TutelageError, match=r"rows of episodes in .*rows\.parquet"):
        read_rows(tmp_path / "rows.parquet")


def test_a_megabyte_that_is_repeated_is_measured_before_it_is_unpacked(tmp_path: Path, written: Path) -> None:
    schema = pq.read_schema(written / "rows.parquet")
    row = pq.read_table(written / "rows.parquet").slice(0, 1).to_pylist()[0] | {"actor": "x" * 1_000_000}
    table = pa.Table.from_pylist([row], schema)
    many = pa.Table.from_arrays(
        [pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), column.combine_chunks())
         if name == "actor" else pa.concat_arrays([column.combine_chunks()] * 5000)
         for name, column in zip(schema.names, table.columns, strict=True)],
        names=schema.names,
    )  # fmt: skip
    pq.write_table(many, tmp_path / "rows.parquet")
    assert (tmp_path / "rows.parquet").stat().st_size < 2_000_000
    with pytest.raises(TutelageError, match=r"letters in actor|bytes of memory"):
        read_rows(tmp_path / "rows.parquet")


def test_a_manifest_of_another_version_or_content_is_refused(written: Path, tmp_path: Path) -> None:
    folder = copied(written, tmp_path)
    manifest = dict(read_evaluation(written).manifest)
    for change, complaint in (({"version": 1}, "evaluation version 2"), ({"parts": None}, "evaluation.yaml")):
        document = {name: value for name, value in (manifest | change).items() if name != "seal"}
        (folder / "evaluation.yaml").write_text(json.dumps(document | {"seal": seal_of(document)}))
        with pytest.raises(TutelageError, match=complaint):
            read_evaluation(folder)


@pytest.mark.parametrize(
    ("policies", "seed", "complaint"),
    [
        ([], 0, "at least one policy"),
        ([Path("x")], -1, "--seed from 0"),
        ([Path("x")], 10**30, "--seed from 0"),
    ],
)
def test_an_evaluation_that_cannot_be_is_refused(
    policies: list[Path], seed: int, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(TutelageError, match=complaint):
        measure(policies, tmp_path / "out", seed=seed)
    assert not (tmp_path / "out").exists()


def test_a_run_without_figures_is_named(written: Path, tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match=r"expected a training run at .*nowhere"):
        report_on(written, tmp_path / "report.html", runs=[tmp_path / "nowhere"])
