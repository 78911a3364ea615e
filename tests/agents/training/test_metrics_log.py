"""The figures of a run go on behind what was written; nothing changed among them is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tutelage.agents.training.metrics_log import MetricsLog, read_log
from tutelage.errors import TutelageError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that logged steps 10 to 40."""
    log = MetricsLog(tmp_path, 0, fail)
    for step in (10, 20, 30, 40):
        log.write(step, {"loss": 1 / step, "task_loss": {"go": 2 / step}})
    log.close()
    return tmp_path


def fail(text: str) -> None:
    raise AssertionError(text)


def steps(run: Path) -> list[int]:
    return [record["step"] for record in read_log(run).records]


def test_tensorboard_reads_the_same_figures(run: Path) -> None:
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [scalar.step for scalar in events.Scalars("loss")] == [10, 20, 30, 40]
    assert [scalar.value for scalar in events.Scalars("task_loss/go")] == pytest.approx(
        [0.2, 0.1, 1 / 15, 0.05]
    )


def test_what_came_after_the_state_is_written_anew(run: Path) -> None:
    log = MetricsLog(run, 20, fail)
    log.write(30, {"loss": 5.0})
    log.close()
    assert steps(run) == [10, 20, 30]
    assert read_log(run).records[-1]["loss"] == 5.0
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [scalar.step for scalar in events.Scalars("loss")] == [10, 20, 30]


def test_an_unfinished_last_line_is_dropped_and_said(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 50, "los')
    notices: list[str] = []
    log = MetricsLog(run, 40, notices.append)
    log.write(50, {"loss": 0.1})
    log.close()
    assert steps(run) == [10, 20, 30, 40, 50]
    assert ["unfinished last line" in line for line in notices] == [True]


def test_a_damaged_line_in_the_middle_is_named(run: Path) -> None:
    path = run / "metrics.jsonl"
    path.write_text(path.read_text().replace('"step": 20, "loss": 0.05', '"step": 20, "loss": 0.04'))
    with pytest.raises(TutelageError, match=r"expected line 2 of .*metrics\.jsonl as it was written"):
        MetricsLog(run, 40, fail)


def test_lines_that_are_missing_from_the_end_are_missed(run: Path) -> None:
    path = run / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(TutelageError, match=r"figures up to step 40 .* none after step 20"):
        MetricsLog(run, 40, fail)
    assert steps(run) == [10, 20], "nothing was touched"


def test_the_remedy_works_a_run_goes_on_without_its_figures(run: Path) -> None:
    (run / "metrics.jsonl").unlink()
    notices: list[str] = []
    log = MetricsLog(run, 40, notices.append)
    log.write(50, {"loss": 0.1})
    log.close()
    assert steps(run) == [50]
    assert "curves begin at step 40" in notices[0]


def test_a_line_without_a_step_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"loss": 0.5}) + "\n")
    with pytest.raises(TutelageError, match="line 1"):
        read_log(tmp_path)


def test_files_of_one_second_are_read_in_the_order_they_were_begun(run: Path) -> None:
    for name in ("abc.x", "12x.y", f"{'9' * 200}.z"):  # of somebody else
        (run / "tensorboard" / f"events.out.tfevents.{name}").write_bytes(b"")
    for step in range(40, 170, 10):  # begun anew more often than a number has digits
        log = MetricsLog(run, step, fail)
        log.write(step + 10, {"loss": 1.0})
        log.close()
    for path in (run / "tensorboard").glob("*tfevents.*"):
        if not path.stat().st_size:
            path.unlink()
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [scalar.step for scalar in events.Scalars("loss")] == list(range(10, 180, 10))
