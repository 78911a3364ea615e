"""One Chromium for a process, started when first needed, restarted when it is gone; its tabs are many."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...console.signals import signals
from ...errors import TutelageError
from .devtools import (
    BrowserLost,
    Conversation,
    Conversations,
    ConversationState,
    DevToolsCall,
    DevToolsPipe,
    Result,
)

PROGRAMS = (
    "chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
)
PROGRAM = "TUTELAGE_CHROMIUM"
"""The environment variable that names another Chromium."""
RESTARTS = 3
_FLAGS = (
    *("--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check", "--disable-extensions"),
    *("--disable-background-networking", "--disable-sync", "--disable-component-update", "--mute-audio"),
    *("--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-gpu"),
    *("--disable-backgrounding-occluded-windows", "--disable-ipc-flooding-protection", "--disable-breakpad"),
    *("--disable-dev-shm-usage", "--lang=en-US", "--disable-smooth-scrolling", "--block-new-web-contents"),
    # no name and no address leads anywhere, not even to this machine; pages come over the pipe, see `origin`
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--dns-prefetch-disable", "--no-pings"),
    *("--proxy-server=http://nowhere.invalid:9", "--proxy-bypass-list=<-loopback>"),
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    *("--disable-domain-reliability", "--disable-client-side-phishing-detection", "--disable-default-apps"),
    # text is as wide on every machine that has the same fonts
    *("--font-render-hinting=none", "--force-device-scale-factor=1", "--force-color-profile=srgb"),
    "--disable-features=Translate,PaintHolding,OptimizationHints,MediaRouter,IsolateOrigins,DnsOverHttps,"
    "AsyncDns,HttpsUpgrades,Prerender2,PreconnectToSearch,NetworkTimeServiceQuerying,WebBluetooth",
)


class Browser:
    """A Chromium process and the DevTools pipe to it.

    Nothing listens on the network, and the browser ends when this process does, however it ends.
    `generation` counts the processes: a tab of an older one is gone. `patience` is how long a page may take
    to answer, in seconds.
    """

    def __init__(self, program: str | None = None, patience: float = 30.0) -> None:
        self.program = program or find_program()
        self.patience = patience
        self.generation = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._pipe: DevToolsPipe | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.RLock()
        self._is_abandoned = False
        self._owner = 0  # a forked child must leave its parent's browser alone

    def talk(self, conversations: Sequence[Conversation[Result]]) -> list[Result]:
        """Hold conversations with tabs, all at once; returns what each returned, in order.

        Where the browser dies, another is started and each conversation under way is thrown a TabLost.
        Raises the first exception that a conversation raised, when all are over.
        """
        turns = [ConversationState(one) for one in conversations]
        lost = None
        with self._lock:
            if self.process is not None and self.process.poll() is not None:
                self._stop()  # it ended while idle: no conversation is affected
            for _ in range(RESTARTS + 1):
                try:
                    if self._pipe is None:
                        self._start()
                    assert self._pipe is not None
                    Conversations(self._pipe, self.patience).hold(
                        [one for one in turns if not one.over], lost
                    )
                    break
                except BrowserLost:
                    self._stop()
                    lost = "the browser is gone"
            else:
                raise TutelageError(
                    f"expected {self.program} to run, but it ended {RESTARTS + 1} times in a row; "
                    "run it by hand"
                )
        for turn in turns:
            if isinstance(turn.result, Exception):
                raise turn.result
        return [turn.result for turn in turns]

    def talk_alone(self, conversation: Conversation[Result]) -> Result:
        """Hold one conversation."""
        return self.talk([conversation])[0]

    def answer(self, session: str, answers: Callable[[Mapping[str, Any]], DevToolsCall]) -> None:
        """Let `answers` answer the requests of a tab's pages; to be called while it is talked to."""
        assert self._pipe is not None
        self._pipe.answers[session] = answers

    def close(self) -> None:
        """End the browser; the next conversation starts another."""
        with self._lock:
            self._stop()

    def abandon(self) -> None:
        """End the browser at once, from any thread, also while it is talked to; it is not used again."""
        self._is_abandoned = True  # who talks to it, in another thread, would start the next one
        process, folder = self.process, self._folder
        if process is not None and self._owner == os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.3)
            if folder is not None:
                for _ in range(5):  # its other processes may still have been writing
                    shutil.rmtree(folder.name, ignore_errors=True)

    def _start(self) -> None:
        if self._is_abandoned:
            raise TutelageError("expected a process that goes on to start a browser, got one that ends")
        self._folder = tempfile.TemporaryDirectory(prefix="tutelage-chromium-", ignore_cleanup_errors=True)
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        # the browser reads from 3 and writes to 4; its ends must not lie there already
        ends = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in (theirs_in, theirs_out)]
        for one in (theirs_in, theirs_out):
            os.close(one)
        try:
            self.process = subprocess.Popen(
                [self.program, *_flags(self.program, self._folder.name)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"TZ": "UTC", "LANGUAGE": "en_US", "HOME": self._folder.name},
                start_new_session=True,
                pass_fds=(3, 4),
                preexec_fn=functools.partial(_lay_ends, *ends),
            )
        except OSError as error:
            raise TutelageError(f"expected to start {self.program}, got {error}") from None
        finally:
            for one in ends:
                os.close(one)
        self._pipe, self._owner = DevToolsPipe(ours_in, ours_out), os.getpid()
        self.generation += 1

    def _stop(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self.process is not None and self._owner == os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None
        if self._folder is not None and self._owner == os.getpid():
            self._folder.cleanup()
        self._folder = None


def shared() -> Browser:
    """Return this process's browser; a forked child has one of its own."""
    return _of_process(os.getpid())


def close_shared() -> None:
    """End this process's browser, if it has one; for a process that ends without what `atexit` does."""
    if _of_process.cache_info().currsize:
        shared().close()


def abandon_shared() -> None:
    """End this process's browser at once, if it has one; for a process that is about to end."""
    if _of_process.cache_info().currsize:
        shared().abandon()


def find_program() -> str:
    """Find a Chromium; raises TutelageError where there is none."""
    if named := os.environ.get(PROGRAM):
        if shutil.which(named) is None:
            raise TutelageError(f"expected {PROGRAM} to name a Chromium, got {named!r}, which cannot be run")
        return named
    for program in PROGRAMS:
        if (found := shutil.which(program)) is not None:
            return found
    raise TutelageError(
        f"expected one of {', '.join(PROGRAMS)} on the PATH, found none; install one "
        f"(Debian: apt install chromium-headless-shell) or name one in {PROGRAM}"
    )


@functools.lru_cache(maxsize=1)
def _of_process(_pid: int) -> Browser:
    browser = Browser()
    atexit.register(browser.close)
    signals.on_end(browser.abandon)
    return browser


def _flags(program: str, folder: str) -> list[str]:
    flags = [*_FLAGS, f"--user-data-dir={folder}"]
    if "headless-shell" not in Path(program).name:
        flags.append("--headless")
    if os.geteuid() == 0:  # the sandbox refuses to run for root
        flags.append("--no-sandbox")
    return flags


def _lay_ends(reading: int, writing: int) -> None:
    os.dup2(reading, 3)
    os.dup2(writing, 4)
