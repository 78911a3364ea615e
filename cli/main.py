"""The command line: one verb a function; each verb imports its work inside."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console.printable import printable
from ..console.progress import counting, waiting
from ..console.signals import signals
from ..console.terminal import SafeConsole, log_to_stderr
from ..console.wording import counted
from ..errors import TutelageError
from .defects import describe as describe_defect
from .defects import message_of
from .edit import browse, edit
from .exchange import export_, import_
from .json_output import print_json
from .named_objects import named_actors, trusting
from .people import payments, person
from .report import report
from .safety import reads_files
from .store import repair
from .study import Address, Port, Proxies, forget, serve
from .tasks import COMPLETE_VARIABLE, completion, prepare_completion, suite_completions, tasks
from .train_options import with_flags

if TYPE_CHECKING:
    from ..datasets.store import Store
    from ..envs.task import SeedRange

app = typer.Typer(
    help="What people do, turned into one policy, and measured against the same people.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
_UsageError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
console = SafeConsole()
errors = SafeConsole(stderr=True, soft_wrap=True)

SUITE = "A suite that comes along, a .yaml file, or a Gymnasium id."
SuiteName = Annotated[str, typer.Argument(help=SUITE, autocompletion=suite_completions)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines instead of tables.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random here.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that play or replay at once.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where to write.")]
Folder = Annotated[Path, typer.Argument(help="A store: the folder that demonstrations are kept in.")]


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit status 2."""
    log_to_stderr()
    if COMPLETE_VARIABLE in os.environ:
        prepare_completion()
    with signals.installed():
        line, status = _outcome()
        if signals.number:  # what else went wrong then went wrong because of it
            line, status = signals.say(), signals.status
            signals.end_others()
        if line:
            errors.print(f"tutelage: {line}", style="" if signals.number else "red")
        sys.exit(status)


def _outcome() -> tuple[str, int]:
    """Run a verb; return the line that is said about its end, "" after a good one, and the exit status."""
    try:
        status = app(standalone_mode=False)
    except TutelageError as error:
        return message_of(error), 2
    except _UsageError as error:
        # a group without a verb has shown its help
        is_told = not error.format_message() or os.environ.get("RANK", "0") != "0"
        return "" if is_told else printable(_usage(error)), 2
    except (KeyboardInterrupt, typer.Abort):
        return "stopped", 130
    except Exception as error:  # not a blanket: what bad input can cause is a TutelageError where it is read
        return ("", 0) if signals.number else describe_defect(error)
    return "", status if isinstance(status, int) else 0


def _usage(error: Any) -> str:
    """Say in one line what is wrong with a command line, and where its help is."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "tutelage"
    message = error.format_message().rstrip(".")
    return f"{message[:1].lower()}{message[1:]}; see: {command} --help"


def version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        from .. import __version__

        console.print(f"tutelage {__version__}")
        raise typer.Exit


@app.callback()
def options(
    show: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """What people do, turned into one policy, and measured against the same people."""


app.command()(reads_files(tasks))


@app.command()
@reads_files
def record(
    suite: SuiteName,
    out: Out,
    seeds: Annotated[str, typer.Option(help="Seeds from: record, select or test.")] = "record",
    demonstrator: Annotated[str, typer.Option(help="Your pseudonym; random if not given.")] = "",
    episodes: Annotated[int, typer.Option(min=1, help="Episodes a task that a person is asked for.")] = 10,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Port = 8000,
    address: Address = "",
    proxy: Proxies = None,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    as_json: Json = False,
) -> None:
    """Serve tasks to play in the browser; every step is journaled, kept episodes go to the store."""
    from ..crowd.hosting.reachable_pace import pace_notes
    from ..crowd.server.recorder_app import record as serve_recorder
    from ..envs.preflight import rehearse
    from ..envs.suite import load_suite
    from ..files.folder_kinds import STORE, expect_place

    chosen = load_suite(suite)
    expect_place(out, STORE)
    failed: dict[str, str] = {}
    with trying():
        notes = rehearse(chosen, people=True, failures=failed)
        notes += pace_notes(task for task in chosen if task.id not in failed)
    left_out = [f"task {task!r} is left out: {why}" for task, why in failed.items()]
    if len(failed) == len(chosen):
        task, why = next(iter(failed.items()))
        others = len(failed) - 1
        rest = f"; the other {counted(others, 'task')} failed too" if others else ""
        raise TutelageError(f"task {task!r}: {why}{rest}")
    _tell([*left_out, *notes])
    kept: Counter[str] = Counter()
    more: dict[str, Any] = {"say": errors.print} if as_json else {}
    ended = serve_recorder(
        chosen,
        out,
        seeds=_seed_range(seeds),
        host=host,
        port=port,
        address=address,
        proxies=proxy or [],
        open_browser=browser,
        demonstrator=demonstrator or None,
        episodes=episodes,
        on_kept=lambda trajectory: kept.update([trajectory.task]),
        unavailable=failed,
        **more,
    )
    if as_json:
        served: dict[str, Any] = {"store": out, "suite": chosen.name, "kept": dict(kept)}
        print_json("record", {**served, "ended": ended, "problems": left_out})


app.command()(reads_files(serve))
app.command()(reads_files(person))
app.command()(reads_files(payments))
app.command()(reads_files(forget))


@app.command()
@reads_files
def simulate(
    suite: Annotated[str, typer.Argument(help=SUITE, metavar="suite")] = "",
    out: Out = Path("demonstrations"),
    demonstrations: Annotated[
        int, typer.Option("--demonstrations", "-n", min=1, help="Episodes in all, dealt evenly to the tasks.")
    ] = 1000,
    named: Annotated[str, typer.Option("--suite", help="The suite, if not given as the argument.")] = "",
    task: Annotated[list[str] | None, typer.Option(help="Only this task; may be given again.")] = None,
    seeds: Annotated[str, typer.Option(help="Seeds from: record, select or test.")] = "record",
    skip: Annotated[int, typer.Option(min=0, help="Seeds to pass over first.")] = 0,
    who: Annotated[
        list[str] | None, typer.Option(help="A profile, expert, or MODULE:PROFILE; again: more.")
    ] = None,
    workers: Workers = 2,
    ray: Annotated[str | None, typer.Option(help="Over a Ray cluster: an address, auto, or local.")] = None,
    as_json: Json = False,
) -> None:
    """Let a simulated crowd (careful, noisy, slow, lazy, mistaken, hostile) play, and store what it did."""
    from ..datasets.simulation import simulated_crowd
    from ..datasets.store import Store
    from ..envs.preflight import rehearse
    from ..envs.suite import load_suite
    from ..files.folder_kinds import STORE, expect_place

    chosen, within = load_suite(suite or named), _seed_range(seeds)
    people = simulated_crowd.crowd(dict.fromkeys(trusting(who), 1)) if who else None
    ids = [chosen[name].id for name in task or [listed.id for listed in chosen]]
    counts = simulated_crowd.deal(demonstrations, ids)
    failed: dict[str, str] = {}
    expect_place(out, STORE)
    with trying():
        notes = rehearse(chosen, experts=counts, failures=failed)
    _tell(notes)
    failures = [f"task {task!r}: failed: {failed[task]}" for task in counts if task in failed]
    if len(failures) == len(counts):
        raise TutelageError(failures[0])
    counts = {task: count for task, count in counts.items() if task not in failed}
    store = Store.create(out, chosen)
    going_on = f"what was played is in {out}, the same command plays what is missing"
    with signals.advice(going_on), counting("playing", demonstrations) as advance:
        options: dict[str, Any] = {"seeds": within, "skip": skip, "workers": workers, "ray": ray}
        options |= {"demonstrators": people, "progress": lambda _, count: advance(count)}
        options["tell"] = lambda task, reasons: failures.append(
            f"task {task!r}: failed: {counted(len(reasons), 'episode')}: {next(iter(reasons.values()))}"
        )
        stored = simulated_crowd.simulate(chosen, store, counts, **options)
    if as_json:
        print_json(
            "simulate",
            {"store": out, "suite": chosen.name, "demonstrations": stored, "failures": failures},
        )
    else:
        console.print(f"{counted(stored, 'demonstration')}, each proven by replay, in {out}")
    _end_with(failures)


@app.command()
@reads_files
def inspect(
    folder: Folder,
    verify: Annotated[bool, typer.Option(help="Check every part, and replay every episode.")] = True,
    workers: Workers = 2,
    as_json: Json = False,
) -> None:
    """Show what a store holds: tasks, people, outcomes, hours, bytes; and prove it by replay."""
    from ..datasets.inspection import inspect as look
    from ..datasets.store import Store

    store = Store.open(folder)
    with counting("replaying", sum(store.listed().values()) if verify else 0) as advance:
        found = look(store, verify=verify, workers=workers, progress=advance)
    print_json("inspect", found.to_dict()) if as_json else console.print(found)
    if found.problems:
        raise TutelageError(f"expected a sound store at {folder}, found: {found.problems[0]}")


app.command()(reads_files(browse))
app.add_typer(edit, name="edit")
app.command()(reads_files(repair))
app.command(name="export")(reads_files(export_))
app.command(name="import")(reads_files(import_))


@app.command()
@reads_files
def quality(
    folder: Folder,
    experts: Annotated[bool, typer.Option(help="Set solved episodes beside the expert's.")] = True,
    as_json: Json = False,
) -> None:
    """Report the quality of each demonstrator of a store: findings and a verdict, beside the others."""
    from ..datasets.quality.quality_table import view

    store = _store(folder)
    with counting("reading", len(store)) as advance:
        seen = view(store, experts=experts, progress=advance)
    print_json("quality", {"people": seen.to_list()}) if as_json else console.print(seen)


@app.command()
@reads_files
@with_flags
def train(
    folders: list[Path],
    out: Path,
    config: Path | None,
    parent: Path | None,
    resume: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train one policy on everything in the stores; flags override the YAML given with --config."""
    from .train import train_stores

    _end_with(train_stores(folders, out, config, flags, parent, resume, as_json))


@app.command()
@reads_files
def evaluate(
    policies: Annotated[list[Path], typer.Argument(help="Checkpoints: RUN, RUN/kept or RUN/last.")],
    out: Out,
    suite: Annotated[str, typer.Option(help="Another suite than the one the policy was trained on.")] = "",
    episodes: Annotated[int, typer.Option(min=0, help="Seeds a task; 0 takes the suite's number.")] = 0,
    seeds: Annotated[str, typer.Option(help="test reports; select chooses.")] = "test",
    people: Annotated[list[Path] | None, typer.Option(help="Store of people who played these seeds.")] = None,
    actor: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|MODULE:OBJECT",
            help="expert, crowd, random, or one of your own; again: more. Default: all three; none: no one.",
        ),
    ] = None,
    sampled: Annotated[bool, typer.Option(help="Draw actions instead of taking the likeliest.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the tasks.")] = 1,
    device: Annotated[
        str, typer.Option(help="auto (an accelerator if there is one), cpu, cuda, mps or xpu.")
    ] = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure policies beside people, the expert, the crowd and random actions, on the same unseen seeds."""
    from ..files.folder_kinds import EVALUATION, expect_place

    expect_place(out, EVALUATION)  # above all: what comes now takes torch, and its time
    from ..agents.evaluation.compare import measure
    from ..agents.evaluation.evaluate import progress_bars

    going_on = f"what was played is kept in {out}, the same command plays the rest"
    with signals.advice(going_on), progress_bars() as bars:
        measured = measure(
            policies,
            out,
            suite=suite,
            episodes=episodes,
            seeds=_seed_range(seeds),
            people=[_store(folder) for folder in people or []],
            actors=named_actors(actor),
            greedy=not sampled,
            seed=seed,
            workers=workers,
            device=device,
            progress=bars,
        )
    _tell(measured.notes)
    print_json("evaluate", measured.summary()) if as_json else console.print(measured.table())
    _end_with(measured.failures)


app.command()(reads_files(report))


@app.command()
@reads_files
def demo(
    out: Out = Path("demo"),
    quick: Annotated[bool, typer.Option(help="A tenth of everything, in under two minutes.")] = False,
    play: Annotated[
        bool | None, typer.Option(help="Then serve the recorder; default: at a terminal.")
    ] = None,
    port: Port = 8000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Run the whole pipeline: a simulated crowd plays, one policy is trained, all are evaluated."""
    from ..files.folder_kinds import DEMO, expect_place

    expect_place(out, DEMO)
    from .demo import run_demo

    wants_play = sys.stdout.isatty() if play is None else play
    made = run_demo(
        out, quick=quick, play=wants_play, port=port, seed=seed, console=errors if as_json else console
    )
    if as_json:
        about = {"report": made.page, "kept": made.kept, "seconds": made.seconds}
        print_json("demo", {**about, "evaluation": made.measured.summary()})


app.command()(completion)


def _tell(notes: Iterable[str]) -> None:
    """Print notes for the person on stderr, a line each."""
    for note in notes:
        errors.print(f"note: {printable(note)}", style="yellow")


def _end_with(failures: Sequence[str]) -> None:
    """Print a line for each failure on stderr, and end with status 1 if there are any."""
    for failure in failures:
        errors.print(f"tutelage: {printable(failure)}", style="red")
    if failures:
        raise typer.Exit(1)


def trying() -> AbstractContextManager[Any]:
    """Show that the tasks are being tried; the first time, kernels are compiled for half a minute."""
    return waiting("trying the tasks (a first time takes half a minute)")


def _store(folder: Path) -> Store:
    from ..datasets.store import Store

    return Store.open(folder)


def _seed_range(name: str) -> SeedRange:
    from ..envs.task import seed_range

    return seed_range(name, "--seeds")
