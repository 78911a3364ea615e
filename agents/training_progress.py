"""What a person sees while a policy is trained: a bar, the loss, success on select seeds, time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..envs.console import SafeConsole


class TrainingProgress:
    """A progress bar with the latest figures; silent when `shown` is False."""

    def __init__(self, steps: int, done: int, shown: bool) -> None:
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=SafeConsole(stderr=True),
            disable=not shown,
        )
        self._task = self._bar.add_task("training", total=steps, completed=done, figures="")
        self._speed = 0.0

    def figures(self, loss: float, select: Mapping[str, float], speed: float | None) -> None:
        """Show the latest loss, mean success on select seeds, and steps a second."""
        self._speed = speed or self._speed
        mean = f"  select {sum(select.values()) / len(select):.2f}" if select else ""
        self._bar.update(self._task, figures=f"loss {loss:.3f}{mean}  {self._speed:.1f} steps/s")

    def advance(self) -> None:
        """Move on by one training step."""
        self._bar.advance(self._task)

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    @staticmethod
    @contextmanager
    def counting(what: str, total: int, shown: bool) -> Iterator[Callable[[int], None] | None]:
        """Show how much of the work around training is done; yields `advance(n)`."""
        if not shown:
            yield None
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=SafeConsole(stderr=True)) as bar:
            task = bar.add_task(what, total=total)
            yield lambda count: bar.advance(task, count)
