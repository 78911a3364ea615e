"""Make the pictures of README from the running program: the recorder in play, and the report of a demo.

    python docs/make_pictures.py demo/report.html

Needs Chromium and Playwright, which the extra `dev` brings. Writes docs/pictures/*.png.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

PICTURES = Path(__file__).parent / "pictures"
SIZE: ViewportSize = {"width": 1080, "height": 720}
FLAGS = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
TURNS = ("ArrowLeft", "ArrowRight", "ArrowRight", "ArrowLeft")


@contextmanager
def recorder() -> Iterator[str]:
    """Serve the recorder from a folder of its own; yields its address."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-c",
            "from tutelage.cli.main import main; main()",
            "record",
            "first-steps",
        ]
        options = ["-o", f"{folder}/store", "--port", "0", "--no-browser"]
        server = subprocess.Popen(
            [*command, *options], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert server.stdout is not None
        try:
            for line in server.stdout:
                if address := re.search(r"http://127\.0\.0\.1:\d+\S*", line):
                    yield address[0]
                    break
        finally:
            server.terminate()
            server.wait()


def play(page: Page, address: str) -> None:
    """Take a few turns in a grid world."""
    page.goto(address)
    page.click("#tasks button[data-task=goto-local]")
    page.wait_for_selector("#play:not([hidden])")
    page.wait_for_timeout(1000)
    for key in TURNS:
        page.keyboard.press(key)
        page.wait_for_timeout(150)
    page.wait_for_timeout(500)


def main() -> None:
    """Write the pictures."""
    (report,) = sys.argv[1:]
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport=SIZE)
        with recorder() as address:
            play(page, address)
            page.screenshot(path=PICTURES / "recorder.png")
        page.goto(Path(report).resolve().as_uri())
        page.wait_for_timeout(500)
        page.screenshot(path=PICTURES / "report.png")
        browser.close()


if __name__ == "__main__":
    main()
