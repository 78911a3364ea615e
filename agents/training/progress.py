"""Progress of training: steps, loss, success on select seeds, time left; see `console.progress`."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from ...console.progress import Progress


class TrainingProgress:
    """Progress bar of training steps with the latest figures; silent unless `is_visible`."""

    def __init__(self, steps: int, step: int, is_visible: bool) -> None:
        self._progress = Progress("training", shown=is_visible, transient=False)
        self._steps, self._step = steps, step
        self._trained = self._figures = ""

    def figures(self, select: Mapping[str, float], loss: float | None = None, speed: float = 0.0) -> None:
        """Show mean success on select seeds, and the loss and steps a second if given."""
        if loss is not None:
            self._trained = f"loss {loss:.3f}, {speed:.2g} steps/s"
        mean = f"select {sum(select.values()) / len(select):.2f}" if select else ""
        self._figures = ", ".join(filter(None, (self._trained, mean)))
        self._progress.note(self._figures)

    def selecting(self) -> None:
        """Show that select seeds are being played, until the next call of `figures`."""
        self._progress.note(", ".join(filter(None, (self._figures, "playing select seeds"))))

    def advance(self) -> None:
        """Advance by one training step."""
        self._progress.advance()

    def __enter__(self) -> TrainingProgress:
        self._progress.__enter__()
        self._progress.add(total=self._steps, done=self._step)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)
