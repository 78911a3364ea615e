"""Ctrl-C and SIGTERM: the first ends the work where it stands, and the process within two seconds."""

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
"""After a signal, how long work may take to unwind before the process is ended from another thread."""

_RESCUE_SECONDS = 10.0
"""How much longer the process may live where a rescue is under way: a large file on a slow disk."""

AGAIN = "run the same command again"
"""How to go on where nothing says better."""


class Stopped(KeyboardInterrupt):
    """The signal `number` arrived; the message says how to go on."""

    def __init__(self, number: int, advice: str = "") -> None:
        super().__init__(advice)
        self.number = number
        self.advice = advice


class Signals:
    """What has arrived in this process, and what is to be done about it.

    A signal raises `Stopped` in the main thread, except within `held`. Whatever runs then (a long call into
    C, a thread that is waited for) has `GRACE_SECONDS`; then rescues and enders run in another thread, and
    the process ends. Data are never lost by that: files are written whole or not at all.
    """

    def __init__(self) -> None:
        self.number = 0
        self._advice: list[str] = []
        self._is_held = False
        self._is_lost = False  # a callback of C has swallowed the exception
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
        """Let signals stop this process while the context is open; nothing where they do already.

        Only the main thread can; elsewhere, the context does nothing.
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
        """Say `text` about how to go on, should the work inside be stopped; the innermost counts."""
        self._advice.append(text)
        try:
            yield
        finally:
            # after a signal it is said at the end
            if not (self.number and self._installed) and text in self._advice:
                self._advice.remove(text)

    def conclude(self, advice: str) -> Stopped:
        """Return what to raise where a stop was handled: it says `advice`."""
        self._advice = [advice]
        return Stopped(self.number or signal.SIGINT, advice)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let no signal interrupt the work inside, but in `let_in`; one that came is raised at the end."""
        before, self._is_held = self._is_held, True
        try:
            yield
        finally:
            self._is_held = before
        self._raise_pending()

    @contextlib.contextmanager
    def let_in(self) -> Iterator[None]:
        """Let signals interrupt the work inside, also within `held`."""
        before, self._is_held = self._is_held, False
        try:
            self._raise_pending()
            yield
        finally:
            self._is_held = before

    @contextlib.contextmanager
    def rescue(self, save: Callable[[], None]) -> Iterator[None]:
        """Call `save` before the process ends, where the main thread could not in time. It has a thread's
        own view: whatever it reads must be whole, or locked."""
        self._rescues.append(save)
        try:
            yield
        finally:
            self._rescues.remove(save)

    def on_end(self, end: Callable[[], None]) -> None:
        """Call `end` when a stopped process ends: it ends at once what runs beside the process."""
        self._enders.append(end)

    def off_end(self, end: Callable[[], None]) -> None:
        """Take back what `on_end` was told."""
        self._enders.remove(end)

    def say(self) -> str:
        """Return the line that a stopped process says, once; "" when it was said."""
        if self._was_said:
            return ""
        self._was_said = True
        return f"stopped; {self._text}"

    def end_others(self) -> None:
        """End everything that this process has started."""
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
            _thread.start_new_thread(self._watch, ())  # of threading's, a lock may be held right here
        self._is_lost = False
        if not self._is_held:
            raise Stopped(number, self._text)

    def _raise_pending(self) -> None:
        if self.number and not self._is_held:
            raise Stopped(self.number, self._text)

    def _watch(self) -> None:
        """End the process where it has not ended by itself in time."""
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
        if not self._installed:  # it was taken out while this slept: the process goes on
            return
        if line := self.say():
            shown = "\x1b[?25h\r\x1b[K" if sys.stderr.isatty() else ""  # a progress bar has hidden the cursor
            os.write(2, f"{shown}tutelage: {line}\n".encode(errors="backslashreplace"))
        self.end_others()
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(self.status)

    def _unraisable(self, before: Callable[[Any], Any]) -> Callable[[Any], None]:
        def told(unraisable: Any) -> None:
            if isinstance(unraisable.exc_value, Stopped):
                self._is_lost = True
                _thread.start_new_thread(self._interrupt_outside, (told.__code__,))
            else:
                before(unraisable)

        return told

    def _interrupt_outside(self, hook: CodeType) -> None:
        """Interrupt the main thread once more when it has left the hook, in which that would be lost too."""
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
"""Those of this process."""


@contextlib.contextmanager
def inherited_by_none() -> Iterator[None]:
    """Start processes that Ctrl-C and SIGTERM do not reach: what starts them ends them.

    A terminal sends Ctrl-C to all processes of a command, also to those that are still importing. A process
    that is started here calls `leave_to_parent` first.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    is_main = threading.current_thread() is threading.main_thread()
    # the mask is this thread's, for what it starts; another thread may still take the signal
    with signals.held() if is_main else contextlib.nullcontext():
        resource_tracker.ensure_running()  # it unblocks both when it is started
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Ignore Ctrl-C and SIGTERM in this process, and block them no longer: its parent ends it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def stop_quietly_until_main() -> None:
    """In the command's own process, end without a traceback until its `main` has been imported."""
    is_command = os.path.basename(sys.argv[0] if sys.argv else "").removesuffix(".exe") == "tutelage"
    if not is_command or multiprocessing.parent_process() is not None:
        return
    if threading.current_thread() is not threading.main_thread():
        return

    def end(number: int, _: object) -> None:
        os.write(2, f"tutelage: stopped; {AGAIN}\n".encode())
        os._exit(128 + number)

    for number, default in zip(SIGNALS, (signal.default_int_handler, signal.SIG_DFL), strict=True):
        if signal.getsignal(number) is default:
            signal.signal(number, end)
