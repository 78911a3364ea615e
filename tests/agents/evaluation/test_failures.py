"""One environment's error costs its own episodes; the others are measured, and a rerun does the rest."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from tutelage.agents.evaluation.actors import ChanceActor, ExpertActor
from tutelage.agents.evaluation.compare import EvaluationResult
from tutelage.agents.evaluation.evaluate import Evaluation, evaluate
from tutelage.agents.evaluation.report.report import write_report
from tutelage.agents.evaluation.rows import read_rows
from tutelage.agents.evaluation.saved_evaluation import read_evaluation
from tutelage.agents.evaluation.table_files import table_markdown
from tutelage.agents.evaluation.tables import console_table, summary
from tutelage.agents.training.run_log import read_rounds
from tutelage.cli.main import app
from tutelage.console.terminal import SafeConsole
from tutelage.datasets.store import Store
from tutelage.datasets.workers.parallel import JobDied, spread_safely
from tutelage.envs.suite import Suite, load_suite, suite_from
from tutelage.envs.task import TEST
from tutelage.errors import EnvironmentFailure, TutelageError
from tutelage.foreign_code.trust import VARIABLE
from tutelage.tests.support import toy_faults
from typer.testing import CliRunner

assert toy_faults.Fragile
ENV = "tutelage.tests.support.toy_faults:toys/Fragile-v0"
BAD = TEST.start + 2
FACTS = {"policies": {}}


def suite(**tasks: dict[str, Any]) -> Suite:
    """Make a suite of fragile tasks: task id → arguments."""
    return suite_from(
        {
            "suite": "fragile",
            "tasks": [
                {"id": name, "env": ENV, "success": "return > 3", "kwargs": kwargs}
                for name, kwargs in tasks.items()
            ],
        }
    )


EIGHT = {
    "made": {"fails": "make"},
    "well": {},
    "begun": {"fails": "reset"},
    "stepped": {"fails": "step", "seeds": [BAD]},
    "fine": {},
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOY_FAULTS", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "tutelage")
    return tmp_path


def measured(made: Suite, out: Path, **options: Any) -> Evaluation:
    return evaluate(
        made, [ChanceActor(), ChanceActor("other", 1)], episodes=4, out=out, facts=FACTS, **options
    )


def resets(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def test_broken_tasks_say_so_and_the_others_are_measured(tmp_path: Path) -> None:
    made = suite(**EIGHT)
    result = measured(made, tmp_path / "out")
    assert {pair[0] for pair in result.failures} == {"made", "begun", "stepped"}
    rows = read_rows(tmp_path / "out" / "rows.parquet")
    assert rows.equals(result.rows)
    assert len(rows) == 5 * 2 * 4
    good = rows.filter(pc.equal(rows["failed"], ""))
    assert len(good) == 2 * 2 * 4 + 2 * 3
    assert result.failures["stepped", "random"].startswith("1 of 4 episodes: ")
    for pair, phase in ((("made", "other"), "when it was made"), (("begun", "random"), "in reset")):
        assert f"failed {phase}: RuntimeError: the simulator is not running" in result.failures[pair]
    assert Store.open(tmp_path / "out" / "episodes").verify() == []
    figures = summary(rows, made)
    assert figures["tasks"]["made"]["random"]["failed"] == result.failures["made", "random"]
    assert figures["tasks"]["well"]["random"]["success"]["estimate"] == 1.0
    assert "success" not in figures["tasks"]["stepped"]["random"]
    json.dumps(figures, allow_nan=False)
    console = SafeConsole(width=160, record=True, file=io.StringIO())
    console.print(console_table(rows, made))
    assert console.export_text().count("failed:") >= 3
    assert table_markdown(rows, made).count("failed:") == 6
    options: dict[str, Any] = {"trajectories": result.trajectories, "train_runs": [], "stores": []}
    report = write_report(tmp_path / "report.html", suite=made, rows=rows, title="t", **options)
    assert report.read_text().count("failed:") == 6


def test_where_everything_fails_there_is_a_table_of_failures(tmp_path: Path) -> None:
    made = suite(made={"fails": "make"})
    result = measured(made, tmp_path / "out")
    assert set(result.failures) == {("made", "random"), ("made", "other")}
    assert summary(result.rows, made)["tasks"]["made"].keys() == {"random", "other"}
    assert "failed:" in table_markdown(result.rows, made)
    assert read_evaluation(tmp_path / "out").rows.equals(result.rows)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_rerun_computes_only_what_is_missing(workers: int, tmp_path: Path, folder: Path) -> None:
    kind = "step" if workers == 1 else "process"
    made = suite(
        well={"log": "well"},
        ill={"log": "ill", "fails": kind, "switch": "on", "seeds": [BAD]},
        fine={"log": "fine"},
    )
    (folder / "on").touch()
    first = measured(made, tmp_path / "out", workers=workers, batch=2)
    assert {task for task, _ in first.failures} == {"ill"}
    lost = first.rows.filter(pc.not_equal(first.rows["failed"], ""))
    assert set(lost["seed"].to_pylist()) == ({BAD} if workers == 1 else {BAD, BAD + 1})
    (folder / "on").unlink()
    for name in ("well", "ill", "fine"):
        (folder / name).unlink(missing_ok=True)
    again = measured(made, tmp_path / "out", workers=1, batch=2)
    assert again.failures == {}
    assert sorted(resets(folder / "ill")) == sorted(2 * set_of(lost["seed"].to_pylist()))
    assert resets(folder / "well") == resets(folder / "fine") == []
    assert len(again.rows) == 3 * 2 * 4
    assert again.resumed == 24 - len(lost)
    assert read_evaluation(tmp_path / "out").rows.equals(again.rows)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("episodes", "evaluation.yaml", "rows.parquet")
    ]


def set_of(seeds: list[int]) -> list[int]:
    return sorted(set(seeds))


class Stops(ChanceActor):
    """An actor whose person presses Ctrl-C in the midst of the second task."""

    def begin(self, environments: Any, task: Any, seeds: Any) -> None:
        if task.id == "second" and self.seed:
            raise KeyboardInterrupt
        super().begin(environments, task, seeds)


def test_what_was_played_before_a_stop_is_not_played_again(tmp_path: Path, folder: Path) -> None:
    made = suite(first={"log": "first"}, second={"log": "second"})
    with pytest.raises(KeyboardInterrupt):
        evaluate(made, [Stops("random", 1)], episodes=3, out=tmp_path / "out", facts=FACTS)
    begun = tmp_path / "out" / ".new"
    assert len(read_evaluation(begun).rows) == 3  # sealed as an evaluation that has ended
    with pytest.raises(KeyboardInterrupt):  # with another seed, it is another evaluation
        evaluate(made, [Stops("random", 1)], episodes=3, out=tmp_path / "out", facts={"seed": 5})
    assert len(resets(folder / "first")) == 6
    again = evaluate(made, [Stops("random", 0)], episodes=3, out=tmp_path / "out", facts={"seed": 5})
    assert len(resets(folder / "first")) == 6
    assert (len(again.rows), again.resumed, begun.exists()) == (6, 3, False)


def test_an_evaluation_without_failures_is_done_anew(tmp_path: Path, folder: Path) -> None:
    made = suite(well={"log": "well"})
    for count in (8, 16):
        measured(made, tmp_path / "out")
        assert len(resets(folder / "well")) == count


def test_a_job_that_ends_its_process_costs_itself_only() -> None:
    results = list(spread_safely(toy_faults.square, range(8), workers=2))
    assert [result for result in results if not isinstance(result, JobDied)] == [0, 1, 4, 16, 25, 36, 49]
    assert isinstance(results[3], JobDied)
    assert [*spread_safely(toy_faults.square, [3], workers=2)] == [JobDied()]


def test_choosing_a_checkpoint_outlives_a_task_that_fails() -> None:
    from tutelage.agents.evaluation.evaluate import best_of_select
    from tutelage.tests.agents.evaluation.test_evaluate import Leaner

    class Taught(Leaner):
        tasks = ("ill", "well")

        def act(self, task_id: str, observations: Any, memory: None, **options: Any) -> Any:
            return observations[""][:, None] * 0.0, memory

    told: dict[str, str] = {}
    rates = best_of_select(Taught(), suite(ill={"fails": "reset"}, well={}), 3, tell=told.setdefault)
    assert rates == {"ill": 0.0, "well": 1.0}
    assert list(told) == ["ill"]
    assert "3 of 3 episodes: " in told["ill"]


POLES = """
suite: poles
tasks:
  - id: ill
    env: "tutelage.tests.support.toy_faults:toys/FragilePole-v0"
    kwargs: {seeds: [2, 1500000001]}
    expert: cartpole
    success: reward > 0
  - id: lost
    env: "tutelage.tests.support.toy_faults:toys/Fragile-v0"
    kwargs: {fails: make}
    expert: cartpole
    success: reward > 0
  - {id: well, env: CartPole-v1, max_steps: 12, expert: cartpole, success: reward > 0}
"""


def status(*arguments: object) -> tuple[int, str, str]:
    """Run the command line here; return its status, stdout and stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, TutelageError):
        return 2, result.stdout, str(result.exception)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.slow
def test_a_crowd_plays_what_can_be_played_and_goes_on_where_it_stopped(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "poles.yaml").write_text(POLES)
    (folder / "switch").touch()
    call = ("simulate", tmp_path / "poles.yaml", "-o", tmp_path / "crowd", "-n", 15, "--workers", 1)
    code, _, told = status(*call)
    assert code == 1
    lines = [line for line in told.splitlines() if "failed:" in line]
    assert len(lines) == 2
    assert "task 'ill': failed: 1 episode: " in "".join(lines)
    assert "the pole fell off its cart" in told
    assert "task 'lost': failed: " in told
    store = Store.open(tmp_path / "crowd")
    assert (len(store), store.verify()) == (4 + 5, [])
    (folder / "switch").unlink()
    code, out, _ = status(*call[:-1], 1, "--task", "ill", "--task", "well", "-n", 10)
    assert (code, out.split()[0]) == (0, "1")
    assert len(Store.open(tmp_path / "crowd")) == 10
    code, _, told = status(*call, "--task", "lost")
    assert (code, "task 'lost': failed: " in told) == (2, True)


@pytest.mark.slow
def test_practice_and_the_choice_of_a_checkpoint_outlive_a_task_that_fails(
    tmp_path: Path, folder: Path
) -> None:
    poles = POLES.replace("[2, 1500000001]", "[1000000001, 300000001, 1500000001]").replace(
        "fails: make", "fails: ''"
    )
    (tmp_path / "poles.yaml").write_text(poles)
    store = tmp_path / "crowd"
    call = ("simulate", tmp_path / "poles.yaml", "-o", store, "-n", 8, "--task", "ill", "--task", "well")
    assert status(*call, "--workers", 1)[0] == 0
    (folder / "switch").touch()
    run = tmp_path / "run"
    small = ("--size", 1, "--steps", 4, "--batch-steps", 64, "--threads", 1, "--evaluate-every", 4)
    practice = (
        "--select-episodes",
        2,
        "--self-imitation",
        1,
        "--self-imitation-episodes",
        20,
        "--self-imitation-steps",
        4,
    )
    code, out, told = status("train", store, "-o", run, *small, *practice, "--workers", 1)
    assert code == 1, told
    assert "kept policy" in out
    assert "task 'ill': failed: 1 of 2 episodes: " in told
    [result] = read_rounds(run)
    assert result.failed.keys() == {"ill"}
    assert result.tried.keys() == {"ill", "well"}
    attempts = (run / "attempts.yaml").read_text()
    assert "well" in attempts
    assert "ill" not in attempts  # what failed is tried again, were the round stopped
    again = ("evaluate", run, "-o", tmp_path / "out", "--episodes", 2, "--actor", "random", "--json")
    code, out, told = status(*again)
    assert code == 1
    for actor in ("policy", "random"):
        assert f"tutelage: ill · {actor}: failed: 1 of 2 episodes: " in told
    failed = json.loads(out)["tasks"]["ill"]
    assert all(
        cell["failed"].endswith("RuntimeError: the pole fell off its cart") for cell in failed.values()
    )
    (folder / "switch").unlink()
    code, out, told = status(*again)
    assert (code, json.loads(out)["failures"]) == (0, [])
    assert "8 episodes were there already" in told  # of 10: the policy was not taught the third task
    assert status("report", tmp_path / "out", "-o", tmp_path / "report.html")[0] == 0


def test_evaluate_ends_with_status_1_and_a_line_for_each_failure(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "poles.yaml").write_text(POLES)
    poles = load_suite(tmp_path / "poles.yaml")
    (folder / "switch").touch()
    result = evaluate(poles, [ExpertActor()], episodes=2, out=tmp_path / "out", facts=FACTS)
    assert {task for task, _ in result.failures} == {"ill", "lost"}
    lines = EvaluationResult(poles, result.rows, result.trajectories).failures
    assert [line.split(":")[0] for line in lines] == ["ill · expert", "lost · expert"]


def test_an_environment_that_fails_where_nobody_asks_for_failures_is_one_error() -> None:
    from tutelage.agents.evaluation.rollout import rollout

    [task] = suite(ill={"fails": "step"})
    with pytest.raises(
        EnvironmentFailure, match=r"task 'ill': .* failed in step: RuntimeError: the simulator"
    ):
        rollout(ChanceActor(), task, [1, 2], suite_name="fragile")
