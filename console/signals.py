"""Handle Ctrl-C and SIGTERM: the first signal interrupts the work and ends the process within two seconds."""

from __future__ import annotations

import _thread
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)

GRACE_SECONDS = 1.2
"""Time after a signal for the work to unwind, before another thread ends the process."""

_RESCUE_SECONDS = 10.0
"""Further time for rescues, e.g. to write a large file to a slow disk."""

AGAIN = "run the same command again"
"""Default advice on how to continue."""


class Stopped(KeyboardInterrupt):
    """Signal `number` arrived; the message says how to continue."""

    def __init__(self, number: int, advice: str = "") -> None:
        super().__init__(advice)
        self.number = number
        self.advice = advice


class Signals:
    """The signals received by this process, and their handling.

    A signal raises `Stopped` in the main thread, except within `held`. If the main thread does not react (a
    long call into C, a join) within `GRACE_SECONDS`, another thread runs the rescues and end callbacks and
    ends the process. No data are lost: files are written whole or not at all.
    """

    def __init__(self) -> None:
        self.number = 0
        self._advice: list[str] = []
        self._is_held = False
        self._is_lost = False  # a callback from C swallowed the exception
        self._is_late = False
        self._was_said = False
        self._installed = False
        self._rescues: list[Callable[[], None]] = []
        self._enders: list[Callable[[], None]] = []
        self._before: dict[int, Any] = {}

    @property
    def status(self) -> int:
        """The exit status of a process that was stopped: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.number

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Install the handlers within the context; does nothing if they are installed already.

        Works in the main thread only; elsewhere, the context does nothing.
        """
        if self._installed or threading.current_thread() is not threading.main_thread():
            yield
            return
        hook = sys.unraisablehook
        sys.unraisablehook = self._unraisable(hook)
        self._before = {number: signal.signal(number, self._arrived) for number in SIGNALS}
        self._installed, advice = True, [*self._advice]
        self.number, self._is_late, self._was_said = 0, False, False
        try:
            yield
        finally:
            self._installed, self._advice = False, advice
            sys.unraisablehook = hook
            for number, before in self._before.items():
                signal.signal(number, before if before is not None else signal.SIG_DFL)

    @contextlib.contextmanager
    def advice(self, text: str) -> Iterator[None]:
        """Set the advice on how to continue if the work inside is stopped; the innermost context counts."""
        self._advice.append(text)
        try:
            yield
        finally:
            # after a signal the advice is kept: it is shown at the end
            if not (self.number and self._installed) and text in self._advice:
                self._advice.remove(text)

    def conclude(self, advice: str) -> Stopped:
        """Return the exception to raise after a stop was handled, with `advice`."""
        self._advice = [advice]
        return Stopped(self.number or signal.SIGINT, advice)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Defer signals to the end of the context, except within `let_in`."""
        before, self._is_held = self._is_held, True
        try:
            yield
        finally:
            self._is_held = before
        self._raise_pending()

    @contextlib.contextmanager
    def let_in(self) -> Iterator[None]:
        """Allow signals to interrupt the work inside, also within `held`."""
        before, self._is_held = self._is_held, False
        try:
            self._raise_pending()
            yield
        finally:
            self._is_held = before

    @contextlib.contextmanager
    def rescue(self, save: Callable[[], None]) -> Iterator[None]:
        """Call `save` before the process ends if the main thread does not unwind in time.

        It runs in another thread: the data that it reads must be consistent at any time, or locked.
        """
        self._rescues.append(save)
        try:
            yield
        finally:
            self._rescues.remove(save)

    def on_end(self, end: Callable[[], None]) -> None:
        """Register `end`, called when a stopped process ends, to end its child processes at once."""
        self._enders.append(end)

    def off_end(self, end: Callable[[], None]) -> None:
        """Unregister a callback of `on_end`."""
        self._enders.remove(end)

    def say(self) -> str:
        """Return the line for a stopped process to print; "" after the first call."""
        if self._was_said:
            return ""
        self._was_said = True
        return f"stopped; {self._text}"

    def hush(self) -> None:
        """Print no line when this process is stopped: another process of the same command does."""
        self._was_said = True

    def end_others(self) -> None:
        """End all processes that this process started."""
        for end in list(self._enders):
            with contextlib.suppress(Exception):
                end()
        for child in multiprocessing.active_children():
            with contextlib.suppress(Exception):
                child.kill()

    @property
    def _text(self) -> str:
        return self._advice[-1] if self._advice else AGAIN

    def _arrived(self, number: int, _: object) -> None:
        if self.number and not self._is_lost:
            if self._is_late:
                self._die()
            return
        if not self.number:
            self.number = number
            _thread.start_new_thread(
                self._watch, ()
            )  # not threading.Thread: the interrupted code may hold its lock
        self._is_lost = False
        if not self._is_held:
            raise Stopped(number, self._text)

    def _raise_pending(self) -> None:
        if self.number and not self._is_held:
            raise Stopped(self.number, self._text)

    def _watch(self) -> None:
        """End the process if it has not ended by itself in time."""
        time.sleep(GRACE_SECONDS)
        self._is_late = True
        if self._rescues:
            saving = threading.Thread(target=self._rescue, daemon=True)
            saving.start()
            saving.join(_RESCUE_SECONDS)
        self._die()

    def _rescue(self) -> None:
        for save in reversed(self._rescues):
            with contextlib.suppress(Exception):
                save()

    def _die(self) -> None:
        if not self._installed:  # the handlers were removed during the sleep: the process goes on
            return
        if line := self.say():
            restore_cursor = (
                "\x1b[?25h\r\x1b[K" if sys.stderr.isatty() else ""
            )  # a progress bar hides the cursor
            os.write(2, f"{restore_cursor}tutelage: {line}\n".encode(errors="backslashreplace"))
        self.end_others()
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(self.status)

    def _unraisable(self, previous_hook: Callable[[Any], Any]) -> Callable[[Any], None]:
        def hook(unraisable: Any) -> None:
            if isinstance(unraisable.exc_value, Stopped):
                self._is_lost = True
                _thread.start_new_thread(self._interrupt_outside, (hook.__code__,))
            else:
                previous_hook(unraisable)

        return hook

    def _interrupt_outside(self, hook: CodeType) -> None:
        """Interrupt the main thread again once it has left the hook, where the exception would be lost."""
        main = threading.main_thread().ident or 0
        while _is_running(hook, main):
            time.sleep(0.001)
        _thread.interrupt_main(signal.Signals(self.number))


def _is_running(code: CodeType, thread: int) -> bool:
    frame = sys._current_frames().get(thread)
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


signals = Signals()
"""The signal state of this process."""


@contextlib.contextmanager
def inherited_by_none() -> Iterator[None]:
    """Start child processes within this context to shield them from Ctrl-C and SIGTERM; the parent ends them.

    A terminal sends Ctrl-C to all processes of a command, also to those that are still importing. A process
    started here must call `leave_to_parent` first.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    is_main = threading.current_thread() is threading.main_thread()
    # the mask applies to this thread and its children; another thread may still take the signal
    with signals.held() if is_main else contextlib.nullcontext():
        resource_tracker.ensure_running()  # starting it unblocks both signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Ignore and unblock Ctrl-C and SIGTERM in this process: its parent ends it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def stop_quietly_until_main() -> None:
    """In the command's own process, end on a signal without a traceback until `main` has been imported."""
    is_command = os.path.basename(sys.argv[0] if sys.argv else "").removesuffix(".exe") == "tutelage"
    is_command = is_command or (sys.argv[:1] == ["-m"] and "tutelage" in sys.orig_argv)  # python -m tutelage
    if not is_command or multiprocessing.parent_process() is not None:
        return
    if threading.current_thread() is not threading.main_thread():
        return

    def end(number: int, _: object) -> None:
        if os.environ.get("RANK", "0") == "0":  # of several processes of one run, the first tells
            os.write(2, f"tutelage: stopped; {AGAIN}\n".encode())
        os._exit(128 + number)

    for number, default in zip(SIGNALS, (signal.default_int_handler, signal.SIG_DFL), strict=True):
        if signal.getsignal(number) is default:
            signal.signal(number, end)
