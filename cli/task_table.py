"""What `tutelage tasks` shows: one row a task, for people and for machines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.text import Text

from ..console.folded_table import Column, FoldedTable
from ..console.printable import printable
from ..envs.recorded import ENV_ID, is_recorded_only
from ..envs.spaces import Leaf, leaves
from ..envs.suite import Suite
from ..envs.task import Task
from ..envs.task_env import TaskEnv
from ..errors import TutelageError


def describe(task: Task, suite: Suite) -> dict[str, Any]:
    """Describe a task from its suite and its environment; `problem` says why one cannot be made."""
    row: dict[str, Any] = {
        "suite": suite.name,
        "task": task.id,
        "env": task.env,
        "success": task.success.text,
        "pace": f"{task.fps:g} fps" if task.fps else "turn",
        "expert": task.expert,
    }
    try:
        return row | _described(task)
    except TutelageError as error:
        return row | {"problem": str(error)}


def _described(task: Task) -> dict[str, Any]:
    environment = TaskEnv(task)
    try:
        if is_recorded_only(task):
            sees = {leaf.path: _declared(leaf) for leaf in leaves(environment.observation_space)}
            keys = {}
        else:
            observation = environment.reset(0).observation
            sees = {path: _shape(value) for path, value in observation.items()}
            keys = {"+".join(binding.codes): binding.label for binding in environment.controls().bindings}
        return {
            "limit": environment.limit,
            "instruction": environment.instruction,
            "sees": {path or "observation": shape for path, shape in sees.items()},
            "does": str(environment.action_space),
            "keys": keys,
        }
    finally:
        environment.close()


def suites_table(summaries: Iterable[dict[str, Any]]) -> FoldedTable:
    """Lay suites out for a terminal, a line each; see `suite.suite_summaries`."""
    caption = "`tutelage tasks SUITE` lists the tasks of one: environments, rules, keys"
    drawn = FoldedTable([Column("suite"), Column("tasks"), Column("about", words=True)], caption=caption)
    for summary in summaries:
        drawn.add_row(summary["suite"], f"{len(summary['tasks']):,}", summary["about"])
    return drawn


def table(rows: Iterable[dict[str, Any]]) -> FoldedTable:
    """Lay the tasks of a suite out for a terminal, with a line for each key."""
    words = [Column(name, words=True) for name in ("instruction", "keys", "success", "pace")]
    drawn = FoldedTable([Column("task"), *words, Column("steps")])
    for row in rows:
        name = Text.assemble(printable(row["task"]), "\n", (printable(row["env"]), "dim"))
        if "problem" in row:
            drawn.add_row(name, Text("cannot be made", style="red"), "", "", "", "")
            continue
        keys, limit = _keys(row["keys"]), str(row["limit"])
        if row["env"] == ENV_ID:
            keys, limit = Text("recordings only"), ""
        drawn.add_row(name, row["instruction"], keys, row["success"], row["pace"], limit)
    return drawn


def _keys(labels: dict[str, str]) -> Text:
    lines = [
        Text.assemble(printable(_short(codes)), " ", (printable(label), "dim"))
        for codes, label in labels.items()
    ]
    return Text("\n").join(lines)


def _short(codes: str) -> str:
    signs = {"ArrowLeft": "←", "ArrowRight": "→", "ArrowUp": "↑", "ArrowDown": "↓"}
    return "+".join(
        signs.get(code, code.removeprefix("Key").removeprefix("Digit")) for code in codes.split("+")
    )


def _declared(leaf: Leaf) -> str:
    return "text" if leaf.is_text else f"{leaf.space.dtype}{list(leaf.space.shape or ())}"


def _shape(value: Any) -> str:
    return "text" if isinstance(value, str) else f"{value.dtype}{list(value.shape)}"
