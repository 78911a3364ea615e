"""The verb that lists suites and tasks, and the one that lets a shell complete command lines."""

from __future__ import annotations

import enum
import importlib
from typing import Annotated, Any

import typer

from ..console.printable import printable
from ..console.progress import waiting
from ..console.terminal import SafeConsole
from .json_output import print_json

console = SafeConsole()
errors = SafeConsole(stderr=True, soft_wrap=True)

COMPLETE_VARIABLE = "_TUTELAGE_COMPLETE"
"""Set by a shell that asks what may follow on a command line."""


def suite_completions(incomplete: str) -> list[str]:
    """Return the suites that come along or are installed, and begin like `incomplete`, for a shell."""
    from ..envs.extensions.own_suites import installed_suites
    from ..envs.suite import suite_names

    return [name for name in [*suite_names(), *installed_suites()] if name.startswith(incomplete)]


def tasks(
    suite: Annotated[
        str,
        typer.Argument(
            help="A suite, a .yaml file, or a Gymnasium id; without it, every suite that comes along.",
            autocompletion=suite_completions,
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")] = False,
) -> None:
    """List the built-in suites, or the tasks of one suite: environments, rules, keys.

    What is wrong with a task is one line on stderr, and the exit status is 2 then.
    """
    from ..envs.suite import load_suite, suite_summaries
    from .task_table import describe, suites_table, table

    if not suite:
        with waiting("looking at the suites"):
            summaries = suite_summaries()
        if as_json:
            print_json("tasks", {"suites": summaries})
        else:
            console.print(suites_table(summaries))
        return
    with waiting("looking at the tasks"):
        loaded = load_suite(suite)
        rows = [describe(task, loaded) for task in loaded]
    problems = [_problem(row) for row in rows if "problem" in row]
    if as_json:
        print_json("tasks", {"suite": loaded.name, "tasks": rows, "problems": problems})
    else:
        console.print(table(rows))
    _end_with(problems)


def _problem(row: dict[str, Any]) -> str:
    """Say what is wrong with a task, and with which, where the sentence does not."""
    name, problem = f"task {row['task']!r}", str(row["problem"])
    return problem if name in problem else f"{name}: {problem}"


def _end_with(problems: list[str]) -> None:
    """Print one line for each problem on stderr, and end with status 2 where there are any."""
    for problem in problems:
        errors.print(f"tutelage: {printable(problem)}", style="red")
    if problems:
        raise typer.Exit(2)


class Shell(enum.StrEnum):
    """The shells that completion is written for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell that runs the script.")]) -> None:
    """Print a script by which a shell completes verbs, flags and suites.

    Bash: eval "$(tutelage completion bash)" in ~/.bashrc. Zsh: the same with zsh in ~/.zshrc, after compinit.
    Fish: tutelage completion fish > ~/.config/fish/completions/tutelage.fish.
    """
    write = _typer_completion().get_completion_script
    print(write(prog_name="tutelage", complete_var=COMPLETE_VARIABLE, shell=shell.value))


def prepare_completion() -> None:
    """Let the command line answer a shell's questions in the way that `completion` asks them."""
    _typer_completion().completion_init()


def _typer_completion() -> Any:
    """Import what typer's own flags for completion call; its types do not export it."""
    return importlib.import_module("typer.completion")
