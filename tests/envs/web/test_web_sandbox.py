"""The browser of a user who is not root keeps its sandbox, and its pages play; root's cannot have one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from tutelage.envs.web.actions import WebAction
from tutelage.envs.web.browser import PROGRAM, Browser, find_program
from tutelage.envs.web.devtools import Conversation
from tutelage.envs.web.environment import WebEnv
from tutelage.tests.envs.web.showing import at

AS_NOBODY = """#!/bin/sh
for word; do case $word in --user-data-dir=*) chown -R nobody "${word#*=}";; esac; done
exec setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME=/tmp CHROMIUM "$@"
"""
FILTERED = 2  # /proc/PID/status: a filter of system calls


def playing(env: WebEnv) -> Conversation[float]:
    seen, _ = yield from env.beginning(0)
    _, reward, *_ = yield from env.acting(WebAction("click", at(seen, id="subbtn")))
    return reward


def test_a_page_of_a_plain_user_is_drawn_inside_of_the_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:  # the same browser, started as it is for somebody else, by somebody else
        script = tmp_path / "chromium-headless-shell"
        script.write_text(AS_NOBODY.replace("CHROMIUM", find_program()))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv(PROGRAM, str(script))
        monkeypatch.setattr(os, "geteuid", lambda: 65534)
    browser = Browser()
    try:
        [reward] = browser.talk([playing(WebEnv("click-test", browser=browser))])
        assert browser.process is not None
        processes = processes_of(browser.process.pid)
    finally:
        browser.close()
    assert -1 <= reward <= 1
    assert reward != 0
    renderers = [words for words in processes if "--type=renderer" in words]
    assert renderers
    assert all(processes[words] == FILTERED for words in renderers)
    assert not any("--no-sandbox" in words for words in processes)


def processes_of(session: int) -> dict[str, int]:
    """Return the words and the mode of system calls of every process of a session."""
    modes = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            # pid (name) state parent group session
            numbers = status.with_name("stat").read_text().rpartition(")")[2].split()
            words = status.with_name("cmdline").read_text().replace("\0", " ")
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except OSError:
            continue
        if int(numbers[3]) == session:
            modes[words] = int(lines["Seccomp"])
    return modes
