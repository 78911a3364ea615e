"""One Chromium per process with many tabs, started on first use and restarted after a crash."""

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
"""Environment variable with the path or name of another Chromium."""
RESTARTS = 3
_FLAGS = (
    *("--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check", "--disable-extensions"),
    *("--disable-background-networking", "--disable-sync", "--disable-component-update", "--mute-audio"),
    *("--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-gpu"),
    *("--disable-backgrounding-occluded-windows", "--disable-ipc-flooding-protection", "--disable-breakpad"),
    *("--disable-dev-shm-usage", "--lang=en-US", "--disable-smooth-scrolling", "--block-new-web-contents"),
    # no network, not even this machine: pages are served over the pipe, see `origin`
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--dns-prefetch-disable", "--no-pings"),
    *("--proxy-server=http://nowhere.invalid:9", "--proxy-bypass-list=<-loopback>"),
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    *("--disable-domain-reliability", "--disable-client-side-phishing-detection", "--disable-default-apps"),
    # equal text widths on all machines with the same fonts
    *("--font-render-hinting=none", "--force-device-scale-factor=1", "--force-color-profile=srgb"),
    "--disable-features=Translate,PaintHolding,OptimizationHints,MediaRouter,IsolateOrigins,DnsOverHttps,"
    "AsyncDns,HttpsUpgrades,Prerender2,PreconnectToSearch,NetworkTimeServiceQuerying,WebBluetooth",
)


class Browser:
    """A Chromium process and the DevTools pipe to it.

    No port is opened, and the browser ends with this process, however that ends. `generation` counts browser
    processes: tabs of an older generation are lost. `patience` is the time limit for an answer of a page, in
    seconds.
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
        """Run conversations with tabs concurrently; returns their results, in order.

        If the browser dies, a new one is started and each unfinished conversation is thrown a TabLost.
        Raises the first exception that a conversation raised, when all are over.
        """
        states = [ConversationState(conversation) for conversation in conversations]
        lost = None
        with self._lock:
            if self.process is not None and self.process.poll() is not None:
                self._stop()  # it died while idle: no conversation is affected
            for _ in range(RESTARTS + 1):
                try:
                    if self._pipe is None:
                        self._start()
                    assert self._pipe is not None
                    Conversations(self._pipe, self.patience).hold(
                        [conversation for conversation in states if not conversation.over], lost
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
        for state in states:
            if isinstance(state.result, Exception):
                raise state.result
        return [state.result for state in states]

    def talk_alone(self, conversation: Conversation[Result]) -> Result:
        """Run one conversation."""
        return self.talk([conversation])[0]

    def answer(self, session: str, answers: Callable[[Mapping[str, Any]], DevToolsCall]) -> None:
        """Set the handler of requests of a tab's pages; call it within a conversation."""
        assert self._pipe is not None
        self._pipe.answers[session] = answers

    def close(self) -> None:
        """Stop the browser; the next conversation starts a new one."""
        with self._lock:
            self._stop()

    def abandon(self) -> None:
        """Kill the browser, from any thread, also during a conversation; it cannot be used again."""
        self._is_abandoned = True  # a conversation in another thread must not start the next one
        process, folder = self.process, self._folder
        if process is not None and self._owner == os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.3)
            if folder is not None:
                for _ in range(5):  # its child processes may still be writing
                    shutil.rmtree(folder.name, ignore_errors=True)

    def _start(self) -> None:
        if self._is_abandoned:
            raise TutelageError("expected a process that goes on to start a browser, got one that ends")
        self._folder = tempfile.TemporaryDirectory(prefix="tutelage-chromium-", ignore_cleanup_errors=True)
        browser_in, our_out = os.pipe()
        our_in, browser_out = os.pipe()
        # the browser reads from 3 and writes to 4: move its ends away from these numbers first
        browser_ends = [
            fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10) for descriptor in (browser_in, browser_out)
        ]
        for descriptor in (browser_in, browser_out):
            os.close(descriptor)
        try:
            self.process = subprocess.Popen(
                [self.program, *_flags(self.program, self._folder.name)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"TZ": "UTC", "LANGUAGE": "en_US", "HOME": self._folder.name},
                start_new_session=True,
                pass_fds=(3, 4),
                preexec_fn=functools.partial(_place_descriptors, *browser_ends),
            )
        except OSError as error:
            raise TutelageError(f"expected to start {self.program}, got {error}") from None
        finally:
            for descriptor in browser_ends:
                os.close(descriptor)
        self._pipe, self._owner = DevToolsPipe(our_in, our_out), os.getpid()
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
    """Return the browser of this process; a forked child gets its own."""
    return _browser_of_process(os.getpid())


def close_shared() -> None:
    """Stop the browser of this process, if any; for processes that end without running `atexit`."""
    if _browser_of_process.cache_info().currsize:
        shared().close()


def abandon_shared() -> None:
    """Kill the browser of this process, if any; for a process that is about to end."""
    if _browser_of_process.cache_info().currsize:
        shared().abandon()


def find_program() -> str:
    """Return the path of a Chromium; raises TutelageError if there is none."""
    if named := os.environ.get(PROGRAM):
        if shutil.which(named) is None:
            raise TutelageError(f"expected {PROGRAM} to name a Chromium, got {named!r}, which cannot be run")
        return named
    for program in PROGRAMS:
        if (path := shutil.which(program)) is not None:
            return path
    raise TutelageError(
        f"expected one of {', '.join(PROGRAMS)} on the PATH, found none; install one "
        f"(Debian: apt install chromium-headless-shell) or name one in {PROGRAM}"
    )


@functools.lru_cache(maxsize=1)
def _browser_of_process(_pid: int) -> Browser:
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


def _place_descriptors(reading: int, writing: int) -> None:
    os.dup2(reading, 3)
    os.dup2(writing, 4)
