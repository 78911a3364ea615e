"""What a page says while its server is stopped, and that it goes on from where things stand afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from tutelage.tests.support.nursery import Nursery, Server

LAKE = {
    "id": "lake",
    "env": "FrozenLake-v1",
    "kwargs": {"is_slippery": False},
    "controls": {"ArrowLeft": 0, "ArrowDown": 1, "ArrowRight": 2, "ArrowUp": 3},
}


@contextlib.contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Stop the server's process for a while; the system still takes connections and bytes for it."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.mark.slow
def test_a_server_that_is_silent_is_told_after_5_s_and_taken_for_lost_after_15_s(
    nursery: Nursery, browser: Browser, tmp_path: Path
) -> None:
    server = nursery.start("recorder", tmp_path / "store", suite={"suite": "lakes", "tasks": [LAKE]})
    page = browser.new_page()
    page.goto(f"http://{server.address}/")
    connection, step, veil = page.locator("#connection"), page.locator("#step"), page.locator("#veil")
    expect(connection).to_have_text("Connected")
    page.click("[data-task=lake]")
    page.wait_for_selector("canvas[data-frame]:visible")

    with stopped(server):
        page.keyboard.press("ArrowDown")
        pressed = time.monotonic()
        expect(connection).to_have_text("No answer yet")
        assert time.monotonic() - pressed >= 4.5
        expect(step).to_have_attribute("data-step", "0")
        expect(veil).to_be_hidden()
    expect(connection).to_have_text("Connected")
    expect(step).to_have_attribute("data-step", "1")

    with stopped(server):
        page.keyboard.press("ArrowDown")
        pressed = time.monotonic()
        expect(connection).to_have_text("No answer yet")
        expect(connection).to_have_text("Connection lost, trying again")
        assert time.monotonic() - pressed >= 14.5
        expect(veil).to_contain_text("Connection lost, trying again")
        page.keyboard.press("ArrowRight")  # meant for another picture: it is not sent
    expect(connection).to_have_text("Connected")
    expect(veil).to_be_hidden()
    expect(step).to_have_attribute("data-step", "2")
    page.keyboard.press("ArrowRight")
    expect(step).to_have_attribute("data-step", "3")
    expect(connection).to_have_text("Connected")
    assert server.complaints == []
    page.close()
    server.stop()
